"""Coarse-grained molecules are those atoms of the real ones, with their bonds, torsions and masses."""

import json
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fokker.data.molecules.beads import (
    BeadMap,
    Beads,
    Dihedral,
    map_beads,
    require_embeddable,
    require_torsions,
)
from fokker.data.molecules.residues import (
    AMINO_ACIDS,
    ATOMS,
    ELEMENTS,
    RESIDUES,
    MoleculeError,
    format_sequence,
    parse_sequence,
    sequence_topology,
)
from fokker.model.config import VOCABULARY

from ..examples import REAL, coarse_grain, made_up, real

BACKBONE = BeadMap.parse("backbone")
SPECS = ["backbone", "calpha", ["N", "CA", "C"], ["CB", "CA"], "name CA or name CG", "not element H"]


def test_a_dipeptide_bead_by_bead():
    beads = Beads.from_sequence("CG", BACKBONE)
    labels = " ".join(beads.labels)
    assert labels == "CYS1-N CYS1-CA CYS1-CB CYS1-C CYS1-O GLY2-N GLY2-CA GLY2-C GLY2-O"
    # Residue (CYS is the fifth, GLY the seventh), atom (N CA CB C O), element (C N O), residue index.
    assert beads.features.tolist() == [
        [4, 0, 1, 0], [4, 1, 0, 0], [4, 2, 0, 0], [4, 3, 0, 0], [4, 4, 2, 0],
        [6, 0, 1, 1], [6, 1, 0, 1], [6, 3, 0, 1], [6, 4, 2, 1],
    ]  # fmt: skip
    assert beads.bonds == ((0, 1), (1, 2), (1, 3), (3, 4), (3, 5), (5, 6), (6, 7), (7, 8))
    # The only peptide bond has φ of the second residue, C N CA C, and ψ of the first, N CA C N.
    psi, phi = Dihedral("psi", 0, (0, 1, 3, 5)), Dihedral("phi", 1, (3, 5, 6, 7))
    assert beads.dihedrals == (psi, phi)
    assert beads.ramachandran == ((phi, psi),)
    masses = [14.007, 12.011, 12.011, 12.011, 15.999, 14.007, 12.011, 12.011, 15.999]
    np.testing.assert_allclose(beads.masses, masses, atol=1e-3)
    assert (beads.sequence, beads.name, len(beads)) == ("CG", "CG", 9)


def test_alanine_dipeptide_is_five_atoms_with_both_torsions():
    topology, _ = real("alanine-dipeptide")
    indices, beads = map_beads(topology, BeadMap.parse("alanine-dipeptide"), "alanine dipeptide")
    assert indices.tolist() == [4, 6, 8, 14, 16]
    assert beads.bonds == ((0, 1), (1, 2), (2, 3), (3, 4))
    assert beads.dihedrals == (Dihedral("phi", 1, (0, 1, 2, 3)), Dihedral("psi", 1, (1, 2, 3, 4)))
    assert beads.ramachandran == (beads.dihedrals,)
    assert beads.features[:, 0].tolist() == [20, 0, 0, 0, 21]
    assert beads.features[:, 3].tolist() == [0, 1, 1, 1, 2]
    assert (beads.sequence, beads.name) == ("ACE-ALA-NME", "alanine dipeptide")


def test_coarse_frames_are_those_atoms():
    topology, positions = real("LA")
    frames, _ = coarse_grain(positions.astype(np.float64), topology, BACKBONE)
    by_hand = [0, 4, 8, 6, 7, 21, 23, 27, 25, 26]  # N CA CB C O, of the PDB file.
    np.testing.assert_array_equal(frames, positions[:, by_hand])
    assert frames.dtype == np.float32


@pytest.mark.parametrize("name", REAL)
def test_a_sequence_alone_gives_the_beads_of_a_real_structure(name: str):
    topology, _ = real(name)
    specs = [*SPECS, "alanine-dipeptide"] if name == "alanine-dipeptide" else SPECS
    for bead_map in map(BeadMap.parse, specs):
        _, beads = map_beads(topology, bead_map)
        assert Beads.from_sequence(beads.sequence, bead_map) == beads
        assert beads.sequence == ("ACE-ALA-NME" if name == "alanine-dipeptide" else name)


@pytest.mark.parametrize("name", REAL)
def test_torsions_of_the_beads_are_those_of_the_molecule(name: str):
    topology, positions = real(name)
    frames, beads = coarse_grain(positions, topology, BACKBONE)
    trajectory = mdtraj.Trajectory(positions, topology)
    for kind, truth in (("phi", mdtraj.compute_phi), ("psi", mdtraj.compute_psi)):
        mine = [list(dihedral.beads) for dihedral in beads.dihedrals if dihedral.kind == kind]
        assert len(mine) == 1
        angles = mdtraj.compute_dihedrals(mdtraj.Trajectory(frames, beads.topology()), mine)
        np.testing.assert_allclose(angles, truth(trajectory)[1], atol=1e-5)


@pytest.mark.parametrize("name", REAL)
def test_bonds_of_the_beads_are_those_of_the_molecule_and_have_their_length(name: str):
    topology, positions = real(name)
    indices, beads = map_beads(topology, BACKBONE)
    bonded = {frozenset((first.index, second.index)) for first, second in topology.bonds}
    assert {frozenset(indices[list(pair)].tolist()) for pair in beads.bonds} <= bonded
    assert sum(pair <= set(indices.tolist()) for pair in bonded) == len(beads.bonds)
    first, second = np.transpose(beads.bonds)
    lengths = np.linalg.norm(positions[:, indices[first]] - positions[:, indices[second]], axis=-1)
    assert lengths.min() > 0.11
    assert lengths.max() < 0.17


def test_a_longer_peptide_has_the_torsions_of_every_residue():
    beads = Beads.from_sequence("AGPWC", BACKBONE)
    found = {(dihedral.kind, dihedral.residue) for dihedral in beads.dihedrals}
    assert found == {("phi", r) for r in range(1, 5)} | {("psi", r) for r in range(4)}
    assert [(phi.residue, psi.residue) for phi, psi in beads.ramachandran] == [(1, 1), (2, 2), (3, 3)]
    for dihedral in beads.dihedrals:
        names = [beads.labels[bead] for bead in dihedral.beads]
        assert [name.split("-")[1] for name in names] == {
            "phi": ["C", "N", "CA", "C"],
            "psi": ["N", "CA", "C", "N"],
        }[dihedral.kind]
        bonded = {*beads.bonds, *(pair[::-1] for pair in beads.bonds)}
        assert set(zip(dihedral.beads, dihedral.beads[1:], strict=False)) <= bonded


def test_caps_give_the_ends_their_torsions():
    beads = Beads.from_sequence("ACE-GLY-NME", BACKBONE)
    assert [(dihedral.kind, dihedral.residue) for dihedral in beads.dihedrals] == [("phi", 1), ("psi", 1)]


def test_the_methyl_of_a_cap_is_no_end_of_a_torsion():
    beads = Beads.from_sequence("ACE-ALA-NME", BeadMap.parse("all"))
    labels = [[beads.labels[bead] for bead in dihedral.beads] for dihedral in beads.dihedrals]
    assert labels == [["ACE1-C", "ALA2-N", "ALA2-CA", "ALA2-C"], ["ALA2-N", "ALA2-CA", "ALA2-C", "NME3-N"]]


def test_calpha_are_joined_in_a_row_and_numbered_by_residue():
    beads = Beads.from_sequence("ACE-ALA-GLY-TRP-NME:GC", BeadMap.parse("calpha"))
    assert beads.bonds == ((0, 1), (1, 2), (3, 4))
    assert beads.residue_of == (1, 2, 3, 5, 6)
    assert beads.dihedrals == beads.ramachandran == ()


def test_neighbours_that_share_no_bond_are_joined_from_ca_to_ca():
    beads = Beads.from_sequence("AGC", BeadMap.parse(["CA", "CB"]))
    assert beads.labels == ("ALA1-CA", "ALA1-CB", "GLY2-CA", "CYS3-CA", "CYS3-CB")
    assert beads.bonds == ((0, 1), (0, 2), (2, 3), (3, 4))


def test_protonation_and_the_ends_of_force_fields_change_nothing():
    topology = sequence_topology("HKC")
    for residue, name in zip(topology.residues, ("NHIE", "LYN", "CCYX"), strict=True):
        residue.name = name
    assert map_beads(topology, BACKBONE)[1] == Beads.from_sequence("HKC", BACKBONE)


def test_the_carbonyl_of_a_charged_end_is_found_under_its_other_names():
    topology = sequence_topology("AC")
    for atom in topology.residue(1).atoms:
        atom.name = {"O": "OC1", "OXT": "OC2"}.get(atom.name, atom.name)
    assert map_beads(topology, BACKBONE)[1] == Beads.from_sequence("AC", BACKBONE)


def test_elements_come_from_names_where_files_are_wrong():
    topology = sequence_topology("AC")
    for atom in topology.atoms:
        wrong = mdtraj.element.calcium if atom.name == "CA" else mdtraj.element.virtual
        atom.element = wrong
    assert map_beads(topology, BACKBONE)[1] == Beads.from_sequence("AC", BACKBONE)


def test_every_feature_is_within_its_vocabulary():
    everything = Beads.from_sequence("ACE-ALA-NME:ACDEFGHIKLMNPQRSTVWY", BeadMap.parse("all"))
    assert (everything.features.max(axis=0)[:3] < (len(RESIDUES), len(ATOMS), len(ELEMENTS))).all()
    assert (everything.features >= 0).all()
    hydrogens = map_beads(real("AV")[0], BeadMap.parse("all"))[1]
    assert (hydrogens.features.max(axis=0)[:3] == (19, len(ATOMS) - 1, ELEMENTS.index("H"))).all()


def test_a_molecule_has_to_fit_the_embedding_of_a_network():
    limit = VOCABULARY[3]
    require_embeddable(Beads.from_sequence("A" * limit, BACKBONE))
    for sequence in ("A" * (limit + 1), ":".join(["A" * (limit // 2 + 1)] * 2)):
        beads = Beads.from_sequence(sequence, BeadMap.parse("calpha"), "long")
        require_embeddable(beads, "one-hot")
        with pytest.raises(
            MoleculeError, match=rf"^long: {len(beads.residues)} residues, .* places for {limit}: "
        ):
            require_embeddable(beads)
    everything = Beads.from_sequence("ACE-ALA-NME:ACDEFGHIKLMNPQRSTVWY", BeadMap.parse("all"))
    assert (everything.features.max(axis=0) < VOCABULARY).all()


def test_a_molecule_has_to_have_torsions_to_be_judged():
    for sequence, spec in (("AG", "backbone"), ("ACE-ALA-NME", "alanine-dipeptide")):
        require_torsions(Beads.from_sequence(sequence, BeadMap.parse(spec)))
    for sequence, spec in (("AG", "calpha"), ("A", "backbone"), ("A:G", "backbone"), ("AG", ["N", "CA"])):
        with pytest.raises(MoleculeError, match=r"^mine: its beads hold no pair of torsions φ and ψ"):
            require_torsions(Beads.from_sequence(sequence, BeadMap.parse(spec), "mine"))


@pytest.mark.parametrize("spec", SPECS)
def test_beads_come_back_from_json(spec: Any):
    beads = Beads.from_sequence("ACE-TRP-GLY-NME:CG", BeadMap.parse(spec), "mine")
    assert Beads.from_json(json.loads(json.dumps(beads.to_json()))) == beads


@pytest.mark.parametrize("ending", ["pdb", "xtc", "dcd"])
def test_bead_trajectories_open_elsewhere_as_they_were(ending: str, tmp_path: Path):
    topology, positions = made_up("AGCV")
    frames, beads = coarse_grain(positions, topology, BACKBONE)
    trajectory = mdtraj.Trajectory(frames, beads.topology())
    trajectory[0].save_pdb(str(tmp_path / "beads.pdb"))
    trajectory.save(str(tmp_path / f"frames.{ending}"))
    read = mdtraj.load(str(tmp_path / f"frames.{ending}"), top=str(tmp_path / "beads.pdb"))
    np.testing.assert_allclose(read.xyz, frames, atol=6e-4)  # XTC keeps a thousandth of a nm.
    again, same = coarse_grain(read.xyz, read.topology, BACKBONE)
    assert same == beads
    np.testing.assert_array_equal(again, read.xyz)


@pytest.mark.parametrize("spec", ["backbone", "calpha", "alanine-dipeptide"])
def test_the_topology_of_beads_gives_the_same_beads(spec: str):
    bead_map = BeadMap.parse(spec)
    beads = Beads.from_sequence("ACE-ALA-NME" if spec == "alanine-dipeptide" else "AGWC:GV", bead_map)
    assert map_beads(beads.topology(), bead_map)[1] == beads
    assert {(first.index, second.index) for first, second in beads.topology().bonds} == set(beads.bonds)


CHAINS = st.builds(
    lambda begin, middle, end: (*begin, *middle, *end),
    st.sampled_from([(), ("ACE",)]),
    st.lists(st.sampled_from(AMINO_ACIDS), min_size=1, max_size=6),
    st.sampled_from([(), ("NME",), ("NH2",)]),
)


@given(st.lists(CHAINS, min_size=1, max_size=3).map(tuple))
def test_any_sequence_comes_back_from_its_beads(chains: tuple[tuple[str, ...], ...]):
    sequence = format_sequence(chains)
    assert parse_sequence(sequence) == chains
    beads = Beads.from_sequence(sequence, BACKBONE)
    assert (beads.sequence, beads.residues) == (sequence, tuple(name for chain in chains for name in chain))
    assert map_beads(beads.topology(), BACKBONE)[1] == beads
    assert Beads.from_json(json.loads(json.dumps(beads.to_json()))) == beads


def test_residues_without_beads_are_not_in_the_topology():
    beads = Beads.from_sequence("ACE-ALA-GLY-NME", BeadMap.parse("calpha"))
    assert [str(atom) for atom in beads.topology().atoms] == ["ALA2-CA", "GLY3-CA"]
    assert beads.topology().n_residues == 2


def test_a_map_without_any_atom_of_the_molecule_is_refused():
    with pytest.raises(MoleculeError, match=r"a\.pdb: the bead map selects no atom"):
        map_beads(sequence_topology("AC"), BeadMap.parse("name CG"), source="a.pdb")


def test_a_bead_of_another_element_is_refused():
    topology = sequence_topology("A")
    topology.add_atom("ZN1", mdtraj.element.zinc, topology.residue(0))
    with pytest.raises(MoleculeError, match="ALA1-ZN1 is of element Zn"):
        map_beads(topology, BeadMap.parse("all"))
