"""Proteins are made of L-amino acids, and their mirror images of D."""

from pathlib import Path

import mdtraj
import numpy as np
import pytest

from fokker.data.molecules import chirality
from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads

from ..examples import REAL, coarse_grain, real

BACKBONE = BeadMap.parse("backbone")
TRPZIP = Path(__file__).parents[3] / ".." / "shared" / "data" / "public" / "trpzip2"


def chiral_centres(molecule: mdtraj.Topology | Beads) -> tuple[np.ndarray, tuple[str, ...]]:
    topology = molecule.topology() if isinstance(molecule, Beads) else molecule
    return chirality.chiral_centres(topology)


def wrong_hand(molecule: mdtraj.Topology | Beads, frames: np.ndarray) -> np.ndarray:
    return chirality.wrong_hand(chiral_centres(molecule)[0], frames)


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("spec", ["backbone", "name N or name CA or name C or name HA"])
def test_every_residue_of_the_reference_data_is_l_and_its_mirror_image_d(name: str, spec: str):
    topology, positions = real(name, frames=1000)
    frames, beads = coarse_grain(positions, topology, BeadMap.parse(spec))
    for molecule, given in ((topology, positions), (beads, frames)):
        assert not wrong_hand(molecule, given).any()
        for mirror in (-1, [1, 1, -1]):
            assert wrong_hand(molecule, given * mirror).all()
        assert wrong_hand(molecule, given).shape == (1000, 1 if name == "alanine-dipeptide" else 2)


def test_the_residue_and_the_frame_are_told():
    topology, positions = real("ET")
    frames, beads = coarse_grain(positions, topology, BACKBONE)
    assert chiral_centres(beads)[1] == ("GLU1", "THR2")
    # CB goes to the other side of the plane of N, CA and C, where HA was.
    n, ca, cb, c = (beads.labels.index(f"THR2-{atom}") for atom in ("N", "CA", "CB", "C"))
    normal = np.cross(frames[4, n] - frames[4, ca], frames[4, c] - frames[4, ca])
    normal /= np.linalg.norm(normal)
    frames[4, cb] -= 2 * normal * np.dot(frames[4, cb] - frames[4, ca], normal)
    assert np.argwhere(wrong_hand(beads, frames)).tolist() == [[4, 1]]
    frames[5] = np.nan
    assert np.argwhere(wrong_hand(beads, frames)).tolist() == [[4, 1]]


def test_glycine_and_models_without_the_atoms_have_no_hand():
    for sequence, spec in (
        ("GG", "backbone"),
        ("ACE-GLY-NME", "backbone"),
        ("AC", "calpha"),
        ("AC", ["N", "CA", "C"]),
    ):
        beads = Beads.from_sequence(sequence, BeadMap.parse(spec))
        assert chiral_centres(beads)[0].shape == (0, 4)
        assert wrong_hand(beads, np.zeros((3, len(beads), 3))).shape == (3, 0)
    assert chiral_centres(Beads.from_sequence("GAG", BACKBONE))[1] == ("ALA2",)


def test_a_hairpin_of_twelve_residues_is_l():
    if not TRPZIP.is_dir():
        pytest.skip("../shared/data/public has no trpzip2")
    topology = mdtraj.load_topology(str(TRPZIP / "tz2.parm7"))
    assert topology is not None
    assert len(chiral_centres(topology)[1]) == 11  # And a glycine.
