"""Files that are cut anywhere tell how many frames are whole, and give exactly these."""

import struct
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from fokker.data.molecules.residues import MoleculeError
from fokker.data.readers.arrays import CutShort, StoredArray
from fokker.data.readers.extents import AKMA, extent_of
from fokker.data.readers.formats import Positions, Trajectory
from fokker.data.readers.opening import quietly

from ..examples import made_up

FEW, FRAMES = made_up("AC", frames=23)
"""Molecules of more than nine atoms, which XTC compresses, and of fewer."""
SMALL, SMALL_FRAMES = made_up("A", frames=23)
TIMED = (".xtc", ".trr", ".nc")


def save(path: Path, frames: np.ndarray = FRAMES, topology: mdtraj.Topology = FEW) -> bytes:
    with quietly():
        box = np.full((len(frames), 3), 5.0), np.full((len(frames), 3), 90.0)
        mdtraj.Trajectory(frames, topology, 2.5 * np.arange(len(frames)), *box).save(str(path))
    return path.read_bytes()


def whole(positions: Positions, topology: mdtraj.Topology, size: int = 7) -> tuple[np.ndarray, bool]:
    """All frames that can be had, and whether the file was said to be cut."""
    blocks = [np.zeros((0, topology.n_atoms, 3), np.float32)]
    try:
        for _, block in positions.blocks(size, topology):
            blocks.append(block)
    except CutShort:
        return np.concatenate(blocks), True
    return np.concatenate(blocks), False


@pytest.mark.parametrize("ending", [".xtc", ".trr", ".dcd", ".nc"])
@pytest.mark.parametrize("small", [False, True])
def test_frames_and_times_are_those_that_mdtraj_finds(ending: str, small: bool, tmp_path: Path):
    topology, frames = (SMALL, SMALL_FRAMES) if small else (FEW, FRAMES)
    path = tmp_path / f"a{ending}"
    save(path, frames, topology)
    extent = extent_of(path)
    assert (extent.frames, extent.problem) == (23, None)
    if ending in TIMED:
        assert extent.times is not None
        np.testing.assert_allclose(extent.times, 2.5 * np.arange(23))
    with quietly():
        expected = mdtraj.load(str(path), top=topology).xyz
    found, cut = whole(Trajectory(path), topology)
    np.testing.assert_allclose(found, expected, atol=1e-7)
    assert not cut


@pytest.mark.parametrize("ending", [".xtc", ".trr", ".dcd", ".nc"])
def test_a_file_cut_at_any_byte_gives_its_whole_frames_and_says_that_it_is_cut(ending: str, tmp_path: Path):
    path = tmp_path / f"a{ending}"
    content = save(path)
    with quietly():
        expected = mdtraj.load(str(path), top=FEW).xyz
    counts = set()
    for size in [*range(8, len(content), 97), len(content) - 1]:
        path.write_bytes(content[:size])
        extent = extent_of(path)
        # Of a cut between two frames only a header tells that counts them.
        if extent.problem is None:
            assert ending in (".xtc", ".trr")
        found, cut = whole(Trajectory(path), FEW)
        assert len(found) == extent.frames
        assert cut == (extent.problem is not None)
        np.testing.assert_allclose(found, expected[: len(found)], atol=1e-7)
        counts.add(len(found))
    assert max(counts) == 22
    assert len(counts) > 10


@pytest.mark.parametrize("ending", [".xtc", ".trr", ".dcd", ".nc"])
def test_a_file_cut_between_two_frames_is_read_to_its_end(ending: str, tmp_path: Path):
    path, part = tmp_path / f"a{ending}", tmp_path / f"b{ending}"
    content, rest = save(path), save(part, FRAMES[:20])
    path.write_bytes(content[: len(rest)])
    found, cut = whole(Trajectory(path), FEW)
    np.testing.assert_allclose(found, FRAMES[:20], atol=6e-4)
    assert cut == (ending in (".dcd", ".nc")), "where the header promises more"


@pytest.mark.parametrize("ending", [".xyz", ".mdcrd", ".lammpstrj"])
def test_text_that_is_cut_loses_no_frame_without_a_word(ending: str, tmp_path: Path):
    path = tmp_path / f"a{ending}"
    content = save(path)
    assert whole(Trajectory(path), FEW)[1] is False
    lines = content.splitlines(keepends=True)
    for count in range(len(lines) - 8, len(lines) - 1):
        path.write_bytes(b"".join(lines[:count]))
        found, cut = whole(Trajectory(path), FEW)
        assert cut == (len(found) < 23) or ending == ".mdcrd"
        np.testing.assert_allclose(found, FRAMES[: len(found)], atol=1e-3)


def test_an_array_that_is_cut_gives_its_whole_frames(tmp_path: Path):
    path = tmp_path / "a.npy"
    np.save(path, FRAMES)
    path.write_bytes(path.read_bytes()[:-300])
    found, cut = whole(StoredArray.in_npy(path), FEW)
    assert cut
    np.testing.assert_array_equal(found, FRAMES[:20])


@pytest.mark.parametrize("ending", [".xtc", ".trr", ".dcd", ".nc", ".xyz", ".h5", ".pdb"])
def test_an_empty_file_has_no_frame(ending: str, tmp_path: Path):
    (tmp_path / f"a{ending}").write_bytes(b"")
    assert len(whole(Trajectory(tmp_path / f"a{ending}"), FEW)[0]) == 0


@pytest.mark.parametrize("ending", [".xtc", ".trr", ".dcd", ".nc"])
def test_a_file_that_is_something_else_is_refused(ending: str, tmp_path: Path):
    (tmp_path / f"a{ending}").write_bytes(b"<!DOCTYPE html><html>not found</html>" * 9)
    with pytest.raises(MoleculeError, match=f"a{ending}: frame 0 or a later one cannot be read"):
        list(Trajectory(tmp_path / f"a{ending}").blocks(10, FEW))


def test_a_damaged_frame_in_the_middle_ends_what_can_be_read(tmp_path: Path):
    path = tmp_path / "a.xtc"
    first = len(save(path, FRAMES[:9]))
    content = bytearray(save(path))
    content[first : first + 4] = b"????"
    path.write_bytes(content)
    extent = extent_of(path)
    assert extent.problem == "frame 8 is damaged, and what follows cannot be read"
    assert len(whole(Trajectory(path), FEW)[0]) == 8


@pytest.mark.parametrize("frame", [0, 4, 22])
@pytest.mark.parametrize(
    ("where", "code", "value"),
    [
        (52, "i", 500_000_000),
        (56, "f", np.nan),
        (60, "i", -(2**31)),
        (72, "i", -(2**31)),
        (84, "i", 200),
        (84, "i", -1),
        (88, "i", -4),
    ],
)
def test_a_frame_of_xtc_that_would_crash_mdtraj_is_never_given_to_it(
    frame: int, where: int, code: str, value: float, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    path = tmp_path / "a.xtc"
    begin = len(save(path, FRAMES[:frame])) if frame else 0
    content = bytearray(save(path))
    struct.pack_into(f">{code}", content, begin + where, value)
    path.write_bytes(content)
    positions = Trajectory(path)
    assert positions.cut is not None
    assert positions.cut.problem == f"frame {frame} is damaged, and what follows cannot be read"
    assert positions.atoms == (FEW.n_atoms if frame else None)
    assert len(whole(positions, FEW)[0]) == frame
    assert capfd.readouterr() == ("", "")


def test_what_the_reader_of_xtc_complains_of_is_told_in_one_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    path = tmp_path / "a.xtc"
    begin = len(save(path, FRAMES[:4]))
    content = bytearray(save(path))
    content[begin + 92 : begin + 120] = bytes([255]) * 28
    path.write_bytes(content)
    frames, cut = whole(Trajectory(path), FEW)
    assert (len(frames), cut) == (4, True)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("step", "known"), [(0.04, True), (1.0, False), (0.0, False)])
def test_the_time_step_in_a_dcd_is_taken_where_it_can_be_one(step: float, known: bool, tmp_path: Path):
    """OpenMM, NAMD and CHARMM write 0.04 for 2 fs; mdtraj and others write 1 whatever it is."""
    path = tmp_path / "a.dcd"
    content = bytearray(save(path))
    content[16:20] = np.int32(500).tobytes()
    content[44:48] = np.float32(step).tobytes()
    path.write_bytes(content)
    times = Trajectory(path).times
    assert (times is not None) == known
    if times is not None:
        np.testing.assert_allclose(times, AKMA * step * 500 * np.arange(23), rtol=1e-6)
