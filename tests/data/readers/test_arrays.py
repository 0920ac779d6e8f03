"""Positions come block by block, all of them and in order, without the file in memory."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest

from fokker.data.molecules.residues import MoleculeError
from fokker.data.readers.arrays import ArchivedArray, StoredArray, members
from fokker.data.readers.formats import Positions, Trajectory
from fokker.data.readers.opening import load_topology

from ..examples import made_up, save_structure

TOPOLOGY, FRAMES = made_up("AC", frames=57)


def npy(path: Path, frames: np.ndarray) -> StoredArray:
    np.save(path / "a.npy", frames)
    return StoredArray.in_npy(path / "a.npy")


def npz(path: Path, frames: np.ndarray) -> ArchivedArray:
    np.savez_compressed(path / "a.npz", positions=frames)
    return ArchivedArray(path / "a.npz")


def plain_npz(path: Path, frames: np.ndarray) -> ArchivedArray:
    np.savez(path / "a.npz", positions=frames)
    return ArchivedArray(path / "a.npz")


def together(positions: Positions, size: int) -> np.ndarray:
    """All frames, whose blocks have been seen to be full but for the last and numbered in a row."""
    numbers, frames = zip(*positions.blocks(size, TOPOLOGY), strict=True)
    assert all(len(block) == size for block in frames[:-1])
    assert 0 < len(frames[-1]) <= size
    np.testing.assert_array_equal(np.concatenate(numbers), np.arange(len(FRAMES)))
    return np.concatenate(frames)


@pytest.mark.parametrize("make", [npy, npz, plain_npz])
@pytest.mark.parametrize("size", [1, 19, 20, 57, 1000])
@pytest.mark.parametrize("flat", [False, True])
def test_all_frames_come_in_order(make: Callable[..., Any], size: int, flat: bool, tmp_path: Path):
    positions = make(tmp_path, FRAMES.reshape(len(FRAMES), -1) if flat else FRAMES)
    assert (positions.frames, positions.atoms) == (57, 12)
    np.testing.assert_array_equal(together(positions, size), FRAMES)


@pytest.mark.parametrize("make", [npy, npz])
def test_the_type_of_the_file_is_kept(make: Callable[..., Any], tmp_path: Path):
    frames = together(make(tmp_path, FRAMES.astype(">f8")), 20)
    assert frames.dtype == np.float64
    np.testing.assert_array_equal(frames, FRAMES)


@pytest.mark.parametrize("make", [npy, npz])
def test_an_array_without_frames_has_no_block(make: Callable[..., Any], tmp_path: Path):
    positions = make(tmp_path, FRAMES[:0])
    assert positions.frames == 0
    assert not list(positions.blocks(10, TOPOLOGY))


def test_an_array_in_fortrans_order_is_read_right_or_refused(tmp_path: Path):
    np.testing.assert_array_equal(together(npy(tmp_path, np.asfortranarray(FRAMES)), 20), FRAMES)
    with pytest.raises(MoleculeError, match="in Fortran's order: save it in C's"):
        together(npz(tmp_path, np.asfortranarray(FRAMES)), 20)


@pytest.mark.parametrize("make", [npy, npz, plain_npz])
def test_memory_holds_a_block_and_not_the_file(make: Callable[..., Any], tmp_path: Path):
    frames = np.random.default_rng(0).normal(size=(20_000, 12, 3)).astype(np.float32)
    positions, size = make(tmp_path, frames), frames.nbytes
    tracemalloc.start()
    for _ in positions.blocks(200, TOPOLOGY):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < size / 5


@pytest.mark.parametrize("ending", ["xtc", "dcd", "trr", "xyz", "pdb"])
@pytest.mark.parametrize("size", [19, 20, 1000])
def test_whatever_mdtraj_opens_comes_in_order_and_nm(ending: str, size: int, tmp_path: Path):
    path = tmp_path / f"a.{ending}"
    mdtraj.Trajectory(FRAMES, TOPOLOGY).save(str(path))
    positions = Trajectory(path)
    assert positions.frames == 57
    assert positions.atoms == (None if ending == "pdb" else 12)
    np.testing.assert_allclose(together(positions, size), FRAMES, atol=6e-4)


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((5, 4, 2), np.float32),
        np.zeros((5, 4), np.float32),
        np.zeros((5, 3), np.float32),
        np.zeros(6, np.float32),
        np.zeros((5, 4, 3), int),
        np.zeros((5, 4, 3), complex),
        np.zeros((2, 5, 4, 3), np.float32),
    ],
)
@pytest.mark.parametrize("make", [npy, npz])
def test_an_array_that_cannot_be_positions_is_refused(
    make: Callable[..., Any], frames: np.ndarray, tmp_path: Path
):
    with pytest.raises(MoleculeError, match=rf"a\.np.: .*{frames.dtype} of shape \({frames.shape[0]},"):
        list(make(tmp_path, frames).blocks(10, TOPOLOGY))


def test_a_missing_array_is_named_beside_those_there(tmp_path: Path):
    np.savez(tmp_path / "a.npz", xyz=FRAMES, time=FRAMES[:, 0, 0])
    assert members(tmp_path / "a.npz") == {"xyz", "time"}
    with pytest.raises(MoleculeError, match=r"a\.npz: no array 'positions' in it, only time, xyz"):
        list(ArchivedArray(tmp_path / "a.npz").blocks(10, TOPOLOGY))


@pytest.mark.parametrize("make", [npy, npz, plain_npz])
def test_a_file_cut_short_is_refused(make: Callable[..., Any], tmp_path: Path):
    positions = make(tmp_path, FRAMES)
    content = positions.path.read_bytes()
    positions.path.write_bytes(content[: len(content) // 2])
    with pytest.raises(MoleculeError, match=r"a\.np.: .*get the file again"):
        list(positions.blocks(10, TOPOLOGY))


def test_a_damaged_archive_is_refused(tmp_path: Path):
    positions = plain_npz(tmp_path, FRAMES)
    content = bytearray(positions.path.read_bytes())
    content[len(content) // 2] ^= 255
    positions.path.write_bytes(content)
    with pytest.raises(MoleculeError, match=r"a\.npz: 'positions' cannot be read .*get the file again"):
        list(positions.blocks(10, TOPOLOGY))


def test_objects_in_an_archive_are_not_unpickled(tmp_path: Path):
    np.savez(tmp_path / "a.npz", positions=np.array([{}], object))
    with pytest.raises(MoleculeError, match="positions is object of shape"):
        list(ArchivedArray(tmp_path / "a.npz").blocks(10, TOPOLOGY))


def test_a_trajectory_of_another_molecule_is_refused_with_its_frame(tmp_path: Path):
    mdtraj.Trajectory(FRAMES, TOPOLOGY).save(str(tmp_path / "a.xtc"))
    with pytest.raises(MoleculeError, match=r"a\.xtc: frame 0 or a later one .* topology of 5 atoms"):
        list(Trajectory(tmp_path / "a.xtc").blocks(10, made_up("G")[0]))


def test_a_trajectory_cut_short_is_refused_with_its_frame(tmp_path: Path):
    path = tmp_path / "a.xtc"
    mdtraj.Trajectory(FRAMES, TOPOLOGY).save(str(path))
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(
        MoleculeError, match=r"a\.xtc: 56 frames are whole, then .* in the middle of frame 56"
    ):
        list(Trajectory(path).blocks(10, TOPOLOGY))


# mdtraj leaves a file open in which it fails.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_topology_is_read_from_its_file(tmp_path: Path):
    assert load_topology(save_structure(tmp_path / "a.pdb", TOPOLOGY, FRAMES[0])).n_atoms == 12
    for name, content in {"empty.pdb": "", "words.pdb": "no atom\n"}.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(MoleculeError, match=rf"{name}: mdtraj finds no topology in it"):
            load_topology(tmp_path / name)
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(MoleculeError, match=r"a\.txt: no topology: it has to be one of \.pdb"):
        load_topology(tmp_path / "a.txt")
    with pytest.raises(MoleculeError, match=r"none\.pdb is missing"):
        load_topology(tmp_path / "none.pdb")
