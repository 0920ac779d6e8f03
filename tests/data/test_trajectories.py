"""Frames come back from the files as they were, wherever these lie; what cannot be kept is counted."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mdtraj
import numpy as np
import pytest
from mdtraj.formats import XTCTrajectoryFile

from fokker.data import trajectories
from fokker.data.files import FileError
from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads
from fokker.data.molecules.residues import MoleculeError
from fokker.data.readers.opening import readable
from fokker.data.trajectories import Part

BEADS = Beads.from_sequence("KF", BeadMap.parse("backbone"))
FRAMES = 0.3 * np.random.default_rng(0).normal(size=(7, len(BEADS), 3)).astype(np.float32)


def test_a_written_trajectory_is_read_back_by_mdtraj(tmp_path):
    assert trajectories.write(BEADS, FRAMES, tmp_path / "new/KF.xtc") == 0
    found = mdtraj.load(tmp_path / "new/KF.xtc", top=tmp_path / "new/KF.pdb")
    np.testing.assert_allclose(found.xyz, FRAMES, atol=6e-4)
    assert [atom.name for atom in found.topology.atoms] == list(BEADS.atoms)
    assert [residue.name for residue in found.topology.residues] == ["LYS", "PHE"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["KF.pdb", "KF.xtc"]


def test_names_of_any_letters_can_be_written(tmp_path: Path):
    path = tmp_path / "Läufe λ" / "α ü.xtc"
    trajectories.write(BEADS, FRAMES, path)
    with readable(path) as xtc, readable(path.with_suffix(".pdb")) as pdb:
        np.testing.assert_allclose(mdtraj.load(xtc, top=pdb).xyz, FRAMES, atol=6e-4)
    assert sorted(file.name for file in path.parent.iterdir()) == ["α ü.pdb", "α ü.xtc"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e6, 1e30])
def test_what_xtc_cannot_keep_is_left_out_and_counted(value: float, tmp_path: Path):
    frames = FRAMES.copy()
    frames[0, 3, 1] = frames[4, 0, 0] = value
    assert trajectories.write(BEADS, frames, tmp_path / "a.xtc") == 2
    found = mdtraj.load(tmp_path / "a.xtc", top=tmp_path / "a.pdb")
    np.testing.assert_allclose(found.xyz, FRAMES[[1, 2, 3, 5, 6]], atol=6e-4)
    np.testing.assert_allclose(mdtraj.load(tmp_path / "a.pdb").xyz[0], FRAMES[1], atol=6e-4)


def test_no_frame_to_keep_leaves_what_was_there(tmp_path: Path):
    trajectories.write(BEADS, FRAMES, tmp_path / "a.xtc")
    before = (tmp_path / "a.xtc").read_bytes()
    with pytest.raises(MoleculeError, match=r"a\.xtc: none of 7 frames is finite"):
        trajectories.write(BEADS, FRAMES * np.nan, tmp_path / "a.xtc")
    assert (tmp_path / "a.xtc").read_bytes() == before


def test_a_molecule_that_has_drifted_far_has_a_pdb_file_all_the_same(tmp_path: Path):
    trajectories.write(BEADS, FRAMES + 5000, tmp_path / "a.xtc")
    found = mdtraj.load(tmp_path / "a.xtc", top=tmp_path / "a.pdb").xyz
    np.testing.assert_allclose(found, FRAMES + 5000, atol=2e-3)


@pytest.mark.parametrize("lost", [1, 40, 300])
def test_less_than_was_written_is_an_error_and_leaves_nothing(
    lost: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As on a full disk, of which mdtraj says nothing."""

    @contextmanager
    def cut(name: str, mode: str) -> Iterator[XTCTrajectoryFile]:
        with XTCTrajectoryFile(name, mode) as file:
            yield file
        Path(name).write_bytes(Path(name).read_bytes()[:-lost])

    monkeypatch.setattr(trajectories, "XTCTrajectoryFile", cut)
    with pytest.raises(FileError, match=r"a\.xtc cannot be written: less than 7 frames") as error:
        trajectories.write(BEADS, FRAMES, tmp_path / "a.xtc")
    assert error.value.full
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_full_is_said_to_be(small_disk: Path):
    frames = np.random.default_rng(0).normal(size=(60_000, len(BEADS), 3)).astype(np.float32)
    for write in (
        lambda: trajectories.write_part(frames, small_disk / "a.xtc"),
        lambda: trajectories.write(BEADS, frames, small_disk / "a.xtc"),
    ):
        with pytest.raises(FileError) as error:
            write()
        assert error.value.full
        assert not list(small_disk.iterdir())


def whole(path: Path) -> Part:
    return Part(path, 0, path.stat().st_size)


def test_parts_that_are_joined_are_one_trajectory_of_numbered_frames(tmp_path: Path):
    """Whoever wrote them and when; frames that cannot be kept leave gaps in the numbers."""
    parts = [tmp_path / f"{number}.xtc" for number in range(3)]
    frames = np.stack([FRAMES, 2 * FRAMES, 3 * FRAMES])
    frames[1, 2, 3, 0] = np.nan
    for number in (2, 0, 1):
        steps = np.arange(7 * number, 7 * number + 7)
        (end,) = trajectories.write_part(frames[number], parts[number], steps, timestep=0.5)
        assert end == parts[number].stat().st_size
    trajectories.join(BEADS, map(whole, parts), tmp_path / "new/all.xtc")
    found = mdtraj.load(tmp_path / "new/all.xtc", top=tmp_path / "new/all.pdb")
    kept = np.delete(np.arange(21), 9)
    np.testing.assert_allclose(found.xyz, frames.reshape(21, -1, 3)[kept], atol=6e-4)
    np.testing.assert_array_equal(found.time, 0.5 * kept)
    with XTCTrajectoryFile(str(tmp_path / "new/all.xtc")) as file:
        _, time, step, _ = file.read()
    np.testing.assert_array_equal(time, 0.5 * kept)
    np.testing.assert_array_equal(step, kept)
    np.testing.assert_allclose(mdtraj.load(tmp_path / "new/all.pdb").xyz[0], FRAMES[0], atol=6e-4)
    assert (tmp_path / "new/all.xtc").read_bytes() == b"".join(part.read_bytes() for part in parts)


def test_each_chain_of_a_part_can_be_joined_alone(tmp_path: Path):
    frames = np.concatenate([FRAMES, 2 * FRAMES, 3 * FRAMES])
    frames[7:14] = np.nan
    frames[20] = np.nan
    ends = trajectories.write_part(frames, tmp_path / "part.xtc", chains=3)
    assert ends[0] == ends[1] < ends[2] == (tmp_path / "part.xtc").stat().st_size
    for number, kept in ((0, np.arange(7)), (2, np.arange(14, 20))):
        begin = ends[number - 1] if number else 0
        trajectories.join(BEADS, [Part(tmp_path / "part.xtc", begin, ends[number])], tmp_path / "one.xtc")
        found = mdtraj.load(tmp_path / "one.xtc", top=tmp_path / "one.pdb")
        np.testing.assert_allclose(found.xyz, frames[kept], atol=6e-4)
        np.testing.assert_array_equal(found.time, kept)


def test_parts_without_a_frame_join_to_nothing(tmp_path: Path):
    trajectories.write_part(FRAMES * np.nan, tmp_path / "0.xtc")
    with pytest.raises(MoleculeError, match=r"all\.xtc: no frame is finite"):
        trajectories.join(BEADS, [whole(tmp_path / "0.xtc")], tmp_path / "all.xtc")
    assert not (tmp_path / "all.xtc").exists()


@pytest.mark.parametrize("kept", [None, 0, -1])
def test_a_part_that_is_gone_or_cut_short_is_named_and_nothing_joined(kept: int | None, tmp_path: Path):
    parts = []
    for number in range(2):
        trajectories.write_part(FRAMES, tmp_path / f"{number}.xtc")
        parts.append(whole(tmp_path / f"{number}.xtc"))
    damaged = parts[1].path
    damaged.unlink() if kept is None else damaged.write_bytes(damaged.read_bytes()[:kept])
    with pytest.raises(FileError, match=r"1\.xtc is gone or cut short: remove 1\.npz beside it"):
        trajectories.join(BEADS, iter(parts), tmp_path / "all.xtc")
    assert not (tmp_path / "all.xtc").exists()
