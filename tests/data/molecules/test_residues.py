"""Names as force fields and programs write them lead to the same residues, atoms and bonds."""

from collections.abc import Sequence

import mdtraj
import pytest

from fokker.data.molecules.residues import (
    AMINO_ACIDS,
    ATOMS,
    CODES,
    ELEMENTS,
    RESIDUES,
    MoleculeError,
    bonded_pairs,
    foreign_atoms,
    format_sequence,
    is_solvent,
    parse_sequence,
    sequence_topology,
    solute_atoms,
    standard_atoms,
    standard_residue,
    symbol_of,
)

from ..examples import REAL, real

RINGS = {"PRO": 1, "HIS": 1, "PHE": 1, "TYR": 1, "TRP": 2}
HEAVY = {  # Atoms but hydrogen of each residue within a chain, from the chemical formulae.
    "GLY": 4, "ALA": 5, "SER": 6, "CYS": 6, "PRO": 7, "VAL": 7, "THR": 7, "ASN": 8, "ASP": 8, "ILE": 8,
    "LEU": 8, "MET": 8, "GLN": 9, "GLU": 9, "LYS": 9, "HIS": 10, "PHE": 11, "ARG": 11, "TYR": 12, "TRP": 14,
}  # fmt: skip


def topology_of(*residues: tuple[str, str], chain_breaks: Sequence[int] = ()) -> mdtraj.Topology:
    """One chain of residues, each with the names of its atoms, and no bond."""
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    for number, (name, atoms) in enumerate(residues):
        after = sum(number >= place for place in chain_breaks)
        residue = topology.add_residue(name, chain, number + 1 + 10 * after)
        for atom in atoms.split():
            topology.add_atom(atom, mdtraj.element.get_by_symbol(atom.lstrip("123")[0]), residue)
    return topology


def named(topology: mdtraj.Topology, pairs: set[tuple[int, int]]) -> set[str]:
    atoms = list(topology.atoms)
    return {f"{atoms[first]} {atoms[second]}" for first, second in pairs}


def test_lists_keep_the_order_on_which_imported_weights_depend():
    order = "ALA ARG ASN ASP CYS GLN GLY GLU HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL"
    assert RESIDUES[:20] == tuple(order.split())
    assert ATOMS[:5] == ("N", "CA", "CB", "C", "O")
    assert ELEMENTS[:3] == ("C", "N", "O")


@pytest.mark.parametrize(
    ("name", "standard"),
    [
        *((name, name) for name in AMINO_ACIDS),
        *((name, "HIS") for name in ("HID", "HIE", "HIP", "HSD", "HSE", "HSP", "NHIE", "CHIP", " hie ")),
        *((name, "CYS") for name in ("CYX", "CYM", "CCYX", "NCYS")),
        ("LYN", "LYS"),
        ("ASH", "ASP"),
        ("GLH", "GLU"),
        ("NALA", "ALA"),
        ("CGLY", "GLY"),
        ("NMA", "NME"),
        ("NAC", "NME"),
        ("NHE", "NH2"),
    ],
)
def test_variants_are_the_residue_that_they_stand_for(name: str, standard: str):
    assert standard_residue(name) == standard


@pytest.mark.parametrize("name", ["", "NLE", "SEP", "MSE", "HOH", "NNME", "XALA", "ALAA", "N", "A"])
def test_other_names_are_unknown(name: str):
    assert standard_residue(name) is None


def test_a_sequence_has_the_atoms_and_bonds_of_chemistry():
    """A connected molecule has one bond less than atoms, and one more for every ring."""
    for code, name in CODES.items():
        topology = sequence_topology(f"G{code}G")
        residue = topology.residue(1)
        assert residue.n_atoms == HEAVY[name], name
        assert topology.n_bonds == topology.n_atoms - 1 + RINGS.get(name, 0), name
        neighbours = {atom: set() for atom in topology.atoms}
        for first, second in topology.bonds:
            neighbours[first].add(second)
            neighbours[second].add(first)
        reached, front = set(), {topology.atom(0)}
        while front:
            reached |= front
            front = {near for atom in front for near in neighbours[atom]} - reached
        assert len(reached) == topology.n_atoms, name


@pytest.mark.parametrize("name", REAL)
def test_a_sequence_has_the_heavy_atoms_and_bonds_of_a_real_structure(name: str):
    topology, _ = real(name)
    heavy = topology.subset(topology.select("not element H").tolist())
    ours = sequence_topology("ACE-ALA-NME" if name == "alanine-dipeptide" else name)
    assert {str(atom) for atom in heavy.atoms} == {str(atom) for atom in ours.atoms}
    assert bonds_of(heavy) == bonds_of(ours)


def bonds_of(topology: mdtraj.Topology) -> set[frozenset[str]]:
    return {frozenset((str(first), str(second))) for first, second in topology.bonds}


@pytest.mark.parametrize(
    ("sequence", "residues"),
    [
        ("AC", (("ALA", "CYS"),)),
        ("g", (("GLY",),)),
        ("ACE", (("ALA", "CYS", "GLU"),)),
        ("ACE-ALA-NME", (("ACE", "ALA", "NME"),)),
        ("ace-hie-nh2", (("ACE", "HIS", "NH2"),)),
        ("A-C", (("ALA", "CYS"),)),
        ("GI:FV", (("GLY", "ILE"), ("PHE", "VAL"))),
    ],
)
def test_sequences_are_letters_or_names(sequence: str, residues: tuple[tuple[str, ...], ...]):
    assert parse_sequence(sequence) == residues
    assert parse_sequence(format_sequence(residues)) == residues


@pytest.mark.parametrize(
    ("sequence", "message"),
    [
        ("AXC", "residue 2 is 'X'"),
        ("ALA-NLE", "residue 2 is 'NLE'"),
        ("ALA-ACE", "residue 2 is 'ACE'"),
        ("NME-ALA", "residue 1 is 'NME'"),
        ("ACE-NME", "no amino acid"),
        ("", "no amino acid"),
        ("AC:", "no amino acid"),
    ],
)
def test_an_impossible_sequence_is_refused_by_its_residue(sequence: str, message: str):
    with pytest.raises(MoleculeError, match=message):
        parse_sequence(sequence)


def test_the_ends_of_chains_and_isoleucine_have_their_standard_atoms():
    end = topology_of(
        ("CALA", "N CA CB C OC1 OC2"), ("ILE", "N CA CB CG1 CG2 CD C OT1 OT2"), ("ACE", "CY OY")
    )
    first, second, cap = (set(standard_atoms(residue)) for residue in end.residues)
    assert first == {"N", "CA", "CB", "C", "O", "OXT"}
    assert second == {"N", "CA", "CB", "CG1", "CG2", "CD1", "C", "O", "OXT"}
    assert cap == {"C", "O"}


@pytest.mark.parametrize(
    ("name", "atoms", "standard"),
    [
        ("ALA", "N CA CB C O1 O2", "N CA CB C O OXT"),  # OPLS and GROMOS.
        ("ALA", "N CA CB C O OT", "N CA CB C O OXT"),  # An acid in GROMACS.
        ("ALA", "N CA CB C OCT1 OCT2", "N CA CB C O OXT"),
        ("ALA", "N CA CB C O' O''", "N CA CB C O OXT"),
        ("ACE", "CH3 HH31 C O", "CH3 C O"),
        ("ACE", "CA C O", "CH3 C O"),  # GROMOS.
        ("ACE", "CAY HY1 CY OY", "CH3 C O"),
        ("NME", "N H CH3 HH31 HH32", "N C"),
        ("NME", "N H C H1 H2 H3", "N C"),
        ("NMA", "N CA 1HA", "N C"),
        ("NAC", "N H CH3", "N C"),
        ("NME", "NT HNT CAT", "N C"),
        ("NHE", "N HN1 HN2", "N"),
    ],
)
def test_the_same_atoms_have_many_names(name: str, atoms: str, standard: str):
    residue = topology_of((name, atoms)).residue(0)
    heavy = {label for label, atom in standard_atoms(residue).items() if symbol_of(atom, label) != "H"}
    assert heavy == set(standard.split())
    assert foreign_atoms(residue) == []


HYDROGENS = "1HB 2HB HB1 HG HG11 1HD1 HE HH HO HXT HN H1 3H 'HB1 DA HZ3 HD1"
MASSLESS = "LP1 LPA EP EP1 MN1 MCB1 M QB"


def test_hydrogens_and_sites_without_mass_are_not_foreign():
    for element in ("hydrogen", "mercury", "helium", "virtual"):
        residue = topology_of(("SER", "N CA CB OG C O")).residue(0)
        for name in HYDROGENS.split():
            residue.chain.topology.add_atom(name, getattr(mdtraj.element, element), residue)
        for name in MASSLESS.split():
            residue.chain.topology.add_atom(name, mdtraj.element.virtual, residue)
        assert foreign_atoms(residue) == []


@pytest.mark.parametrize("name", REAL)
def test_no_atom_of_the_reference_data_is_foreign(name: str):
    assert not any(foreign_atoms(residue) for residue in real(name)[0].residues)


@pytest.mark.parametrize(
    ("name", "atoms"),
    [("MET", "SE"), ("SER", "P"), ("ALA", "CG"), ("GLY", "CB"), ("ACE", "OXT"), ("NME", "O"), ("LYS", "C99")],
)
def test_what_a_residue_does_not_have_is_foreign(name: str, atoms: str):
    foreign = foreign_atoms(
        topology_of((name, f"N CA C O {atoms}" if name in CODES.values() else atoms)).residue(0)
    )
    assert [atom.name for atom in foreign] == [atoms]


def test_water_is_known_by_its_atoms():
    waters = (
        ("SPC", "OW HW1 HW2"), ("T4P", "OW HW1 HW2 MW"), ("SWM4", "OH2 DOH2 LP H1 H2"), ("DOD", "O D1 D2"),
        ("OPC", "O H1 H2 EPW"),
    )  # fmt: skip
    topology = topology_of(("ALA", "N CA"), *((name, "OW H H") for name, _ in waters))
    assert [is_solvent(residue) for residue in topology.residues] == [False] + [True] * len(waters)
    for name, atoms in waters:
        residue = mdtraj.Topology()
        inside = residue.add_residue(name, residue.add_chain())
        for atom in atoms.split():
            element = {"O": "oxygen", "H": "hydrogen", "D": "hydrogen"}.get(atom[0], "virtual")
            residue.add_atom(atom, getattr(mdtraj.element, element), inside)
        assert is_solvent(inside), name
    assert not is_solvent(topology_of(("MOH", "C O H H H H")).residue(0))
    assert not is_solvent(topology_of(("OH", "O H")).residue(0))


def test_water_and_ions_are_no_solute():
    topology = topology_of(("ALA", "N CA"), ("SOL", "OW HW1 HW2"), ("NA", "NA"), ("CA", "CA"), ("NLE", "CA"))
    assert [is_solvent(residue) for residue in topology.residues] == [False, True, True, True, False]
    assert solute_atoms(topology).tolist() == [0, 1, 7]


def test_residues_without_bonds_get_those_of_their_names():
    topology = topology_of(("NALA", "N CA CB C O"), ("CILE", "N CA CB CG1 CG2 CD C OC1 OC2"))
    assert named(topology, bonded_pairs(topology)) == {
        "NALA1-N NALA1-CA", "NALA1-CA NALA1-CB", "NALA1-CA NALA1-C", "NALA1-C NALA1-O", "NALA1-C CILE2-N",
        "CILE2-N CILE2-CA", "CILE2-CA CILE2-CB", "CILE2-CB CILE2-CG1", "CILE2-CB CILE2-CG2",
        "CILE2-CG1 CILE2-CD", "CILE2-CA CILE2-C", "CILE2-C CILE2-OC1", "CILE2-C CILE2-OC2",
    }  # fmt: skip


def test_bonds_that_the_file_gives_are_all_there_are():
    topology = topology_of(("ALA", "N CA C"), ("ALA", "N CA C"))
    atoms = list(topology.atoms)
    for first, second in ((0, 1), (1, 2), (3, 4), (5, 4)):
        topology.add_bond(atoms[first], atoms[second])
    assert bonded_pairs(topology) == {(0, 1), (1, 2), (3, 4), (4, 5)}


def test_only_residues_without_any_bond_get_more():
    topology = topology_of(("ALA", "N CA C"), ("ALA", "N CA C"))
    topology.add_bond(topology.atom(0), topology.atom(1))
    assert bonded_pairs(topology) == {(0, 1), (2, 3), (3, 4), (4, 5)}


def test_of_atoms_with_one_name_the_first_counts():
    residue = topology_of(("ALA", "N CA CB CB C O")).residue(0)
    assert standard_atoms(residue)["CB"].index == 2


def test_neighbours_left_apart_are_joined_from_ca_to_ca():
    topology = sequence_topology("AGC")
    kept = [atom.index for atom in topology.atoms if atom.name in ("CA", "CB")]
    assert named(topology, bonded_pairs(topology, kept)) == {
        "ALA1-CA ALA1-CB", "ALA1-CA GLY2-CA", "GLY2-CA CYS3-CA", "CYS3-CA CYS3-CB"
    }  # fmt: skip


def test_calpha_are_not_joined_over_a_gap_in_the_chain():
    chain = topology_of(*[("ALA", "CA")] * 4, chain_breaks=[2])
    assert bonded_pairs(chain) == {(0, 1), (2, 3)}
