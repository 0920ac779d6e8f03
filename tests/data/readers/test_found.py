"""Hydrogens that are no beads and out of place are counted, and change nothing."""

from pathlib import Path

import numpy as np
import pytest

from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.residues import MoleculeError
from fokker.data.readers.arrays import ArchivedArray
from fokker.data.readers.found import Found
from fokker.data.readers.sources import Source, coarse_frames

from ..examples import real, save_structure

BACKBONE = BeadMap.parse("backbone")


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """Frames 3 and 11 have a hydrogen elsewhere, frame 9 has one nowhere, and frame 3 a second one."""
    topology, frames = real("AV")
    index = {str(atom): atom.index for atom in topology.atoms}
    save_structure(tmp_path / "AV.pdb", topology, frames[0])
    for frame, name, where in (
        (3, "VAL2-H", 5.0),
        (3, "ALA1-HB1", 5.0),
        (9, "ALA1-HA", np.nan),
        (11, "ALA1-HA", 1.0),
    ):
        frames[frame, index[name]] = where
    np.savez(tmp_path / "AV.npz", positions=frames)
    return Source("AV", "array", ArchivedArray(tmp_path / "AV.npz"), tmp_path / "AV.pdb")


@pytest.mark.parametrize("size", [None, 4])
def test_frames_with_stray_hydrogens_are_counted_and_kept(size: int | None, source: Source):
    found = Found()
    blocks = [*source.coarse_blocks(BACKBONE, size, found)]
    assert sum(map(len, blocks)) == found.frames == 20
    assert found.stray == 3
    assert found.first_stray.startswith("ALA1-HB1 is ")
    assert found.first_stray.endswith(" nm from ALA1-CB in frame 3")
    topology, frames = real("AV")
    indices = [atom.index for atom in topology.atoms if atom.name in ("N", "CA", "CB", "C", "O")]
    kept = frames[:, indices] - frames[:, indices].mean(axis=1, keepdims=True)
    np.testing.assert_allclose(np.sort(coarse_frames(source, BACKBONE), 1), np.sort(kept, 1), atol=1e-6)


def test_hydrogens_that_are_beads_stop_it(source: Source):
    with pytest.raises(MoleculeError, match="frame 3: the bond ALA1-CB to ALA1-HB1"):
        coarse_frames(source, BeadMap.parse("name CB or name HB1"))
    assert len(coarse_frames(source, BeadMap.parse("name CB or name HB2"))) == 20


def test_nothing_is_said_of_good_frames(source: Source):
    found = Found()
    for block in source.blocks(3, found=found):
        assert np.isfinite(block).all()
        break
    assert (found.frames, found.stray, found.first_stray) == (3, 0, "")


def test_frames_of_the_wrong_hand_are_counted(tmp_path: Path):
    topology, frames = real("AV")
    frames[[2, 5, 6]] *= -1
    save_structure(tmp_path / "AV.pdb", topology, frames[0])
    np.savez(tmp_path / "AV.npz", positions=frames)
    found = Found()
    source = Source("AV", "array", ArchivedArray(tmp_path / "AV.npz"), tmp_path / "AV.pdb")
    assert sum(map(len, source.blocks(4, found=found))) == len(frames)
    assert (found.mirrored, found.first_mirrored) == (3, "ALA1 in frame 2")
