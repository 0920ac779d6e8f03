"""Caps in CHARMM's manner give what caps of their own give, in every format and order of atoms."""

import pickle
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads, map_beads
from fokker.data.molecules.bonds import Bonds, check_bonds
from fokker.data.molecules.chains import standard_topology
from fokker.data.molecules.patches import split_patches
from fokker.data.molecules.residues import MoleculeError
from fokker.data.readers.formats import Trajectory
from fokker.data.readers.sources import Source, coarse_frames

from ..examples import coarse_grain, made_up, real

BACKBONE = BeadMap.parse("backbone")
ACETYL = {"CH3": "CAY", "C": "CY", "O": "OY", "H1": "HY1", "H2": "HY2", "H3": "HY3"}
METHYL = {"N": "NT", "H": "HNT", "C": "CAT", "H1": "HT1", "H2": "HT2", "H3": "HT3"}
AMIDE = {"N": "NT", "HN1": "HT1", "HN2": "HT2"}


def patched(topology: mdtraj.Topology) -> mdtraj.Topology:
    """The same atoms and bonds, the caps within the amino acids beside them, as CHARMM has them."""
    new, owners = mdtraj.Topology(), {}
    chain, inner = new.add_chain(), [r for r in topology.residues if r.name not in ("ACE", "NME", "NH2")]
    residues = {r.index: new.add_residue(r.name, chain, number, "PEP") for number, r in enumerate(inner, 1)}
    for residue in topology.residues:
        table = {"ACE": ACETYL, "NME": METHYL, "NH2": AMIDE}.get(residue.name, {"H": "HN"})
        owner = residues.get(residue.index, residues[inner[0 if residue.name == "ACE" else -1].index])
        owners |= {atom.index: (table.get(atom.name, atom.name), owner) for atom in residue.atoms}
    atoms = [new.add_atom(owners[a.index][0], a.element, owners[a.index][1]) for a in topology.atoms]
    for first, second in topology.bonds:
        new.add_bond(atoms[first.index], atoms[second.index])
    return new


def write_psf(path: Path, topology: mdtraj.Topology) -> None:
    lines = ["PSF", "", "       1 !NTITLE", " REMARKS a test", "", f"{topology.n_atoms:8d} !NATOM"]
    for atom in topology.atoms:
        residue, mass = atom.residue, atom.element.mass
        lines.append(
            f"{atom.index + 1:8d} PEP  {residue.resSeq:<4d} {residue.name:4s} {atom.name:4s} X    "
            f"0.000000 {mass:13.4f}           0"
        )
    numbers = [str(atom.index + 1) for bond in topology.bonds for atom in bond]
    lines += [
        "",
        f"{topology.n_bonds:8d} !NBOND: bonds",
        *(" ".join(numbers[i : i + 8]) for i in range(0, len(numbers), 8)),
    ]
    path.write_text("\n".join([*lines, "", "       0 !NTHETA: angles", ""]))


def write(folder: Path, ending: str, topology: mdtraj.Topology, frames: np.ndarray) -> Source:
    """A source of these frames with the topology in this format, and no bonds but in PSF."""
    bare = topology.copy()
    bare._bonds = []
    if ending == "psf":
        write_psf(folder / "x.psf", topology)
    else:
        mdtraj.Trajectory(frames[:1], bare).save(str(folder / f"x.{ending}"))
    mdtraj.Trajectory(frames, bare).save_xtc(str(folder / "x.xtc"))
    return Source("x", "xtc", Trajectory(folder / "x.xtc"), folder / f"x.{ending}")


@pytest.mark.parametrize("ending", ["psf", "pdb", "gro"])
def test_patched_caps_give_all_that_caps_of_their_own_give(ending: str, tmp_path: Path):
    topology, frames = real("alanine-dipeptide")
    source = write(tmp_path, ending, patched(topology), frames)
    assert source.sequence == "ACE-ALA-NME"
    for spec in ("alanine-dipeptide", "backbone", "not element H"):
        bead_map = BeadMap.parse(spec)
        indices, beads = map_beads(topology, bead_map, "x")
        assert source.beads(bead_map) == beads
        np.testing.assert_allclose(
            np.concatenate([*source.coarse_blocks(bead_map)]), frames[:, indices], atol=6e-4
        )
    assert {tuple(pair) for pair in Bonds.of(source.topology).pairs.tolist()} == {
        tuple(pair) for pair in Bonds.of(topology).pairs.tolist()
    }
    names = [f"{atom.residue.name}-{atom.name}" for atom in source.topology.atoms]
    assert names == [f"{atom.residue.name}-{atom.name}" for atom in topology.atoms]


@pytest.mark.parametrize("ending", ["psf", "pdb", "gro"])
@pytest.mark.parametrize(
    "sequence", ["ACE-ALA-GLY-SER-NME", "ACE-VAL-NH2", "ACE-ALA-CYS", "ALA-LEU-NME", "GLY-NH2"]
)
def test_each_end_may_be_patched(sequence: str, ending: str, tmp_path: Path):
    topology, frames = made_up(sequence)
    source = write(tmp_path, ending, patched(topology), frames)
    assert source.beads(BACKBONE) == Beads.from_sequence(sequence, BACKBONE, "x")
    assert coarse_frames(source, BACKBONE).shape == (20, len(source.beads(BACKBONE)), 3)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ending", ["psf", "memory"])
def test_atoms_of_a_residue_need_not_follow_one_another(ending: str, seed: int, tmp_path: Path):
    topology, frames = real("alanine-dipeptide")
    order = np.random.default_rng(seed).permutation(topology.n_atoms)
    merged, shuffled = patched(topology), mdtraj.Topology()
    residue = shuffled.add_residue("ALA", shuffled.add_chain(), 1)
    atoms = [shuffled.add_atom(merged.atom(i).name, merged.atom(i).element, residue) for i in order]
    place = np.argsort(order)
    for first, second in merged.bonds:
        shuffled.add_bond(atoms[place[first.index]], atoms[place[second.index]])
    for spec in ("backbone", "not element H", "calpha", ["N", "CB"]):
        expected, beads = coarse_grain(frames, topology, BeadMap.parse(spec), "x")
        found, same = coarse_grain(frames[:, order], shuffled, BeadMap.parse(spec), "x")
        assert same == beads
        np.testing.assert_array_equal(found, expected)
    check_bonds(frames[:, order], Bonds.of(shuffled))
    if ending == "psf":
        source = write(tmp_path, "psf", shuffled, frames[:, order])
        np.testing.assert_allclose(
            np.concatenate([*source.coarse_blocks(BACKBONE)]),
            coarse_grain(frames, topology, BACKBONE)[0],
            atol=6e-4,
        )
        again = pickle.loads(pickle.dumps(source))
        assert again.beads(BACKBONE) == source.beads(BACKBONE)


def residue_of(name: str, atoms: str, bonds: str = "") -> mdtraj.Topology:
    topology = mdtraj.Topology()
    residue = topology.add_residue(name, topology.add_chain(), 5)
    for atom in atoms.split():
        topology.add_atom(atom, mdtraj.element.get_by_symbol(atom[0]), residue)
    found = list(topology.atoms)
    for pair in bonds.split():
        first, second = pair.split("-")
        topology.add_bond(found[int(first)], found[int(second)])
    return topology


def split(topology: mdtraj.Topology) -> list[str]:
    return [f"{r.name}: {' '.join(atom.name for atom in r.atoms)}" for r in split_patches(topology).residues]


def test_hydrogens_of_one_name_go_where_they_are_bound_or_stand():
    """A charged N, CT2 and CT3 call their hydrogens alike, and readers rename them all to H, H2, H3."""
    charged = "N HT1 HT2 HT3 CA HA CB C O NT HNT CAT HT1 HT2 HT3"
    middle = "ALA: N HT1 HT2 HT3 CA HA CB C O"
    assert split(residue_of("ALA", charged)) == [middle, "NME: N H C H1 H2 H3"]
    renamed = "N H H2 H3 CA HA CB C O NT HNT CAT H H2 H3"
    assert split(residue_of("ALA", renamed)) == [
        middle.replace("HT1 HT2 HT3", "H H2 H3"),
        "NME: N H C H1 H2 H3",
    ]
    assert split(residue_of("ALA", "N CA CB C O NT HT1 HT2")) == ["ALA: N CA CB C O", "NH2: N HN1 HN2"]
    # Hydrogens behind all others: only bonds tell to which atom they belong.
    last = "N CA CB C O NT CAT HNT HT1 HT2 HT3 HT1 HT2 HT3"
    bonds = "0-1 1-2 1-3 3-4 3-5 5-6 5-7 0-8 0-9 0-10 6-11 6-12 6-13"
    assert split(residue_of("ALA", last, bonds)) == ["ALA: N CA CB C O HT1 HT2 HT3", "NME: N C H H1 H2 H3"]


def test_alanine_dipeptide_as_one_residue_is_three():
    atoms = "CL HL1 HL2 HL3 CLP OL NL HL CA HA CB HB1 HB2 HB3 CRP OR NR HR CR HR1 HR2 HR3"
    for name in ("ALAD", "ALA"):  # In the columns of a PDB file three letters are left.
        beads = map_beads(residue_of(name, atoms), BACKBONE)[1]
        assert beads == Beads.from_sequence("ACE-ALA-NME", BACKBONE)
    found = split_patches(residue_of("ALAD", atoms))
    assert [(res.name, res.resSeq) for res in found.residues] == [("ACE", 4), ("ALA", 5), ("NME", 6)]
    assert found.n_bonds == 21


def test_charged_and_neutral_ends_are_no_caps():
    for atoms in ("N HT1 HT2 HT3 CA CB C OT1 OT2", "N HN1 HN2 CA CB C O", "N HT1 HT2 CA CB C OT1 OT2 HT2"):
        topology = residue_of("ALA", atoms)
        assert split_patches(topology) is topology
        assert map_beads(topology, BACKBONE)[1] == Beads.from_sequence("A", BACKBONE)


def test_an_ester_is_none_of_the_caps():
    topology = residue_of("ALA", "N HN CA HA CB C OT1 OT2 CT HT1 HT2 HT3")
    with pytest.raises(MoleculeError, match=r"^a\.psf: residue ALA5 has CT, .*CT1, a methyl ester"):
        map_beads(topology, BACKBONE, source="a.psf")


def test_what_is_standard_stays_as_it_is():
    topology, _ = real("alanine-dipeptide")
    assert standard_topology(topology) is topology
    once = standard_topology(patched(topology))
    assert standard_topology(once) is once


def test_a_patched_molecule_is_checked_bond_by_bond():
    topology, frames = real("alanine-dipeptide")
    check_bonds(frames, Bonds.of(patched(topology)))
    with pytest.raises(MoleculeError, match="another molecule, or to atoms in another order"):
        check_bonds(frames[:, ::-1], Bonds.of(patched(topology)))
