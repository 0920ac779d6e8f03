"""A bead map chooses the atoms it says, in its order, and tells which it misses."""

from typing import Any

import mdtraj
import pytest

from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.residues import MoleculeError, sequence_topology

from ..examples import real


def chosen(spec: Any, topology: mdtraj.Topology) -> list[str]:
    return [
        f"{residue}-{name}"
        for chain in BeadMap.parse(spec).choose(topology)
        for residue, atoms in chain
        for name in atoms
    ]


def with_extra(sequence: str, *residues: tuple[str, str]) -> mdtraj.Topology:
    """A peptide, and behind it other residues in the same chain, each with the names of its atoms."""
    topology = sequence_topology(sequence)
    for name, atoms in residues:
        residue = topology.add_residue(name, topology.chain(0), topology.n_residues + 1)
        for atom in atoms.split():
            topology.add_atom(atom, mdtraj.element.get_by_symbol(atom[0]), residue)
    return topology


@pytest.mark.parametrize(
    ("spec", "sequence", "beads"),
    [
        ("alanine-dipeptide", "ACE-ALA-NME", "ACE-C ALA-N ALA-CA ALA-C NME-N"),
        ("dipeptide", "GA", "GLY-N GLY-CA GLY-C GLY-O ALA-N ALA-CA ALA-CB ALA-C ALA-O"),
        ("backbone", "ACE-GLY-NME", "ACE-C ACE-O GLY-N GLY-CA GLY-C GLY-O NME-N"),
        ("backbone", "G-NH2", "GLY-N GLY-CA GLY-C GLY-O NH2-N"),
        ("calpha", "ACE-ALA-GLY-NME", "ALA-CA GLY-CA"),
        (["CB", "CA", "CG"], "GAF", "GLY-CA ALA-CB ALA-CA PHE-CB PHE-CA PHE-CG"),
        (["N", "C"], "ACE-ALA-NME", "ALA-N ALA-C"),
        ({"*": ["CA"], "PHE": ["cz", "CA"]}, "AF", "ALA-CA PHE-CZ PHE-CA"),
        ({"HIE": ["NE2"], "ALA": []}, "AH", "HIS-NE2"),
        # Side chains stand behind the carbonyl in files, and before it here.
        ("name CA or name CB or name O or name OXT", "AC", "ALA-CA ALA-CB ALA-O CYS-CA CYS-CB CYS-O CYS-OXT"),
        ("resid 1", "AG", "GLY-N GLY-CA GLY-C GLY-O GLY-OXT"),
    ],
)
def test_beads_stand_in_the_order_of_the_map(spec: Any, sequence: str, beads: str):
    assert chosen(spec, sequence_topology(sequence)) == beads.split()


@pytest.mark.parametrize(
    "spec", ["backbone", "calpha", ["N", "CA"], {"ALA": ["CB"]}, "name CA and resname ALA"]
)
def test_a_map_comes_back_from_json(spec: Any):
    bead_map = BeadMap.parse(spec)
    assert BeadMap.parse(bead_map.to_json()) == bead_map


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "names no atom"),
        ([], "names no atom"),
        ({"ALA": []}, "names no atom"),
        (["CA", "CA"], "list of different atom names"),
        ({"ALA": "CA"}, "list of different atom names"),
        ({"NLE": ["CA"]}, "unknown residue 'NLE': it has to be one of \\*, ALA, ARG"),
    ],
)
def test_an_impossible_map_is_refused(spec: Any, message: str):
    with pytest.raises(MoleculeError, match=message):
        BeadMap.parse(spec)


@pytest.mark.parametrize("spec", ["calfa", "backbone-", "name =="])
def test_a_word_that_is_no_map_is_refused(spec: str):
    with pytest.raises(
        MoleculeError, match=rf"a\.pdb: bead map '{spec}' is neither built in \(alanine-dipeptide, "
    ):
        BeadMap.parse(spec).choose(sequence_topology("A"), "a.pdb")


def test_a_missing_atom_is_named_with_its_residue_and_file():
    topology = sequence_topology("GA")
    topology = topology.subset([atom.index for atom in topology.atoms if str(atom) != "ALA2-CB"])
    with pytest.raises(
        MoleculeError, match=r"a\.pdb: residue ALA2 has no atom CB, only C, CA, N, O.*needs N, CA, CB"
    ):
        BeadMap.parse("backbone").choose(topology, "a.pdb")


@pytest.mark.parametrize(
    ("residue", "atom", "element", "words"),
    [
        ("MET", "SE", "selenium", "it is selenomethionine, .* call the atom SD"),
        ("SER", "P", "phosphorus", "it is phosphorylated"),
        ("SER", "O1P", "oxygen", "it is modified, or another molecule called SER"),
        ("LYS", "CX", "carbon", "it is modified"),
        ("CYS", "ZN", "zinc", "it is modified"),
    ],
)
def test_an_atom_that_its_residue_does_not_have_is_named(residue: str, atom: str, element: str, words: str):
    topology = sequence_topology(f"GLY-{residue}")
    topology.add_atom(atom, getattr(mdtraj.element, element), topology.residue(1))
    for spec in ("backbone", "calpha", {"*": ["CA"], residue: []}):
        with pytest.raises(
            MoleculeError,
            match=rf"^a\.pdb: residue {residue}2 has {atom}, which {residue} has not: {words}",
        ):
            BeadMap.parse(spec).choose(topology, "a.pdb")
    topology.add_atom("O1P", mdtraj.element.oxygen, topology.residue(1))
    if atom != "O1P":
        with pytest.raises(MoleculeError, match=rf"residue {residue}2 has {atom}, O1P, which.*: {words}"):
            BeadMap.parse("backbone").choose(topology, "a.pdb")
    # Who selects atoms knows them.
    assert chosen("name CA", topology) == ["GLY-CA", f"{residue}-CA"]


def test_a_name_that_no_residue_has_is_refused():
    with pytest.raises(MoleculeError, match="GLY1 has no atom CX"):
        BeadMap.parse(["CA", "CX"]).choose(sequence_topology("G"))


@pytest.mark.parametrize("spec", ["backbone", "calpha", ["N"], "all"])
def test_an_unknown_residue_is_named(spec: str):
    with pytest.raises(MoleculeError, match=r"a\.pdb: unknown residue NLE2: .*rename it"):
        BeadMap.parse(spec).choose(with_extra("A", ("NLE", "N CA CB C O")), "a.pdb")


def test_a_residue_that_the_map_lacks_is_named():
    with pytest.raises(MoleculeError, match="residue VAL2 is not in the bead map, only ACE, ALA, NME"):
        BeadMap.parse("alanine-dipeptide").choose(sequence_topology("ACE-VAL-NME"))


def test_water_ions_and_what_a_selection_leaves_out_are_no_beads():
    wet = with_extra("AC", ("HOH", "O"), ("CL", "CL"))
    assert chosen("calpha", wet) == ["ALA-CA", "CYS-CA"]
    assert chosen("name CA", with_extra("AC", ("LIG", "C1 C2"))) == ["ALA-CA", "CYS-CA"]


def test_caps_part_molecules_within_a_chain():
    two = with_extra("ACE-ALA-NME", ("ACE", "CH3 C O"), ("GLY", "N CA C O"), ("NME", "N C"))
    chains = BeadMap.parse("calpha").choose(two)
    assert [[name for name, _ in chain] for chain in chains] == [["ACE", "ALA", "NME"], ["ACE", "GLY", "NME"]]


def test_a_selection_may_take_hydrogens_of_a_real_structure():
    topology, _ = real("AV")
    # Hydrogens come last, in the order of the file.
    assert chosen("resid 0 and (name HA or name N or name H2)", topology) == ["ALA-N", "ALA-H2", "ALA-HA"]
