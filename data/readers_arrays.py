"""Positions in files, read block by block: NumPy's archives and arrays, and whatever mdtraj opens.

Memory holds one block, whatever the size of the file.
"""

import importlib.util
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import IO, Any

import mdtraj
import numpy as np
from jaxtyping import Float, Int

from .residues import MoleculeError

HDF5 = (".h5", ".hdf5", ".lh5")

Block = tuple[Int[np.ndarray, "frames"], Float[np.ndarray, "frames atoms 3"]]
"""Frames with their numbers in the file, from 0."""
Stream = IO[bytes] | BufferedIOBase


def _layout(path: Path, what: str, shape: tuple[int, ...], dtype: np.dtype) -> tuple[int, int]:
    """Frames and atoms of an array of shape (T, N, 3) or (T, 3N)."""
    flat = len(shape) == 2 and shape[1] % 3 == 0
    if dtype.kind != "f" or not (flat or (len(shape) == 3 and shape[2] == 3)):
        raise MoleculeError(
            f"{path}: {what} is {dtype} of shape {shape}, and positions are floats of shape "
            "(frames, atoms, 3) or (frames, 3 atoms)"
        )
    return shape[0], shape[1] // 3 if flat else shape[1]


@dataclass(frozen=True)
class StoredArray:
    """An array that stands as plain bytes in a file, or is at hand."""

    path: Path
    what: str
    """Its name in messages."""
    dtype: str
    shape: tuple[int, ...]
    fortran: bool
    offset: int = 0
    content: bytes | None = None

    @classmethod
    def in_npy(cls, path: Path) -> "StoredArray":
        """The array of a .npy file; MoleculeError if it is damaged or holds pickled objects."""
        try:
            with open(path, "rb") as file:
                shape, fortran, dtype = read_header(file)
                offset = file.tell()
        except (OSError, ValueError) as error:
            raise MoleculeError(f"{path}: not a .npy file ({error})") from None
        return cls(path, "the array", dtype.str, shape, fortran, offset)

    @property
    def frames(self) -> int:
        """Length of the array."""
        return _layout(self.path, self.what, self.shape, np.dtype(self.dtype))[0]

    @property
    def atoms(self) -> int:
        """Atoms of a frame."""
        return _layout(self.path, self.what, self.shape, np.dtype(self.dtype))[1]

    def open(self) -> np.ndarray:
        """The array: a memory map, unless it is at hand."""
        order = "F" if self.fortran else "C"
        if self.content is not None:
            return np.frombuffer(self.content, self.dtype).reshape(self.shape, order=order)
        try:
            return np.memmap(self.path, self.dtype, "r", self.offset, self.shape, order)
        except (OSError, ValueError) as error:
            raise MoleculeError(
                f"{self.path}: {self.what} is cut short ({error}): get the file again"
            ) from None

    def blocks(self, size: int, topology: mdtraj.Topology) -> Iterator[Block]:
        """As in `Positions`."""
        array = self.open()
        for start in range(0, self.frames, size):
            frames = np.array(array[start : start + size]).reshape(-1, self.atoms, 3)
            yield np.arange(start, start + len(frames)), frames


def read_header(file: Stream) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether in Fortran's order, and type of a .npy file; the file then stands at the content."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


@dataclass(frozen=True)
class ArchivedArray:
    """An array in an .npz archive, compressed or not, read as a stream."""

    path: Path
    member: str = "positions"
    every: int | None = None
    """Keep only frames whose `step` is a multiple of this."""

    @property
    def frames(self) -> int:
        """Length of the array, less what is left out."""
        count = self._layout[0]
        return count if self.every is None else int(self._kept(count).sum())

    @property
    def atoms(self) -> int:
        """Atoms of a frame."""
        return self._layout[1]

    @property
    def _layout(self) -> tuple[int, int]:
        with _member(self.path, self.member) as (_, shape, _, dtype):
            return _layout(self.path, self.member, shape, dtype)

    def _kept(self, frames: int) -> np.ndarray:
        if self.every is None:
            return np.ones(frames, bool)
        with _member(self.path, "step") as (file, shape, _, dtype):
            step = np.frombuffer(file.read(), dtype)
        kept = step % self.every == 0
        if shape != (frames,) or not kept.any():
            raise MoleculeError(
                f"{self.path}: steps of shape {shape}, none a multiple of {self.every}, for {frames} "
                "frames: no frame is a regular one, so read all of them, without `regular`"
            )
        return kept

    def blocks(self, size: int, topology: mdtraj.Topology) -> Iterator[Block]:
        """As in `Positions`."""
        frames, atoms = self._layout
        kept = self._kept(frames)
        with _member(self.path, self.member) as (file, _, fortran, dtype):
            if fortran and frames > 1:
                raise MoleculeError(f"{self.path}: {self.member} is in Fortran's order: save it in C's")
            for start in range(0, frames, size):
                count = min(size, frames - start)
                content = file.read(count * atoms * 3 * dtype.itemsize)
                numbers = start + np.flatnonzero(kept[start : start + count])
                yield numbers, np.frombuffer(content, dtype).reshape(count, atoms, 3)[numbers - start]


@contextmanager
def _member(path: Path, name: str) -> Iterator[tuple[Stream, tuple[int, ...], bool, np.dtype]]:
    """The stream of a member behind its header."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            yield file, *read_header(file)
    except KeyError:
        known = ", ".join(sorted(members(path)))
        raise MoleculeError(f"{path}: no array {name!r} in it, only {known}") from None
    except MoleculeError:
        raise
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise MoleculeError(f"{path}: {name!r} cannot be read ({error}): get the file again") from None


def members(path: Path) -> set[str]:
    """Names of the arrays in an .npz archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()}
    except (OSError, zipfile.BadZipFile) as error:
        raise MoleculeError(f"{path}: not an .npz archive ({error}): get the file again") from None


@dataclass(frozen=True)
class Trajectory:
    """A trajectory in a format of mdtraj, which gives nm of formats that have a unit."""

    path: Path

    @property
    def atoms(self) -> int | None:
        """Atoms of a frame; None if the file is its own topology."""
        require_reader(self.path)
        try:
            with mdtraj.open(str(self.path)) as file:
                first = file.read(n_frames=1)
            return (first[0] if isinstance(first, tuple) else first).shape[1]
        except (
            Exception
        ):  # Formats that hold topologies read otherwise, and damage shows when blocks are read.
            return None

    @property
    def frames(self) -> int | None:
        """How many, of formats that tell."""
        require_reader(self.path)
        try:
            with mdtraj.open(str(self.path)) as file:
                return len(file)
        except Exception:  # Some formats tell only at the end, some readers not at all.
            return None

    def blocks(self, size: int, topology: mdtraj.Topology) -> Iterator[Block]:
        """As in `Positions`. mdtraj holds a whole PDB file in memory."""
        require_reader(self.path)
        chunks, start = mdtraj.iterload(str(self.path), chunk=size, top=topology), 0
        while True:
            try:
                chunk = next(chunks, None)
            except Exception as error:  # Each format has its own.
                raise MoleculeError(
                    f"{self.path}: frame {start} or a later one cannot be read with a topology of "
                    f"{topology.n_atoms} atoms ({_one_line(error)}): the file is damaged, or the topology is "
                    "that of another molecule"
                ) from None
            if chunk is None:
                return
            yield np.arange(start, start + len(chunk)), np.asarray(chunk.xyz)
            start += len(chunk)


Positions = StoredArray | ArchivedArray | Trajectory
"""The frames of one trajectory, in the unit of the file.

`frames` and `atoms` are their numbers as far as the file tells them at once; `blocks(size, topology)` gives
all frames in order, at most `size` at a time, `topology` being that of a whole frame.
"""


def require_reader(path: Path) -> None:
    """MoleculeError if the file is missing or needs a package that is not installed."""
    if not path.exists():
        raise MoleculeError(f"{path} is missing")
    if path.suffix in HDF5 and importlib.util.find_spec("tables") is None:
        raise MoleculeError(
            f"{path}: HDF5 needs the package tables: pip install 'fokker[hdf5]', or convert to .xtc and .pdb"
        )


def load_topology(path: Path) -> mdtraj.Topology:
    """A topology in any format of mdtraj; MoleculeError if there is none."""
    require_reader(path)
    problem = "it is empty"
    try:
        topology = mdtraj.load_topology(str(path))
        if topology is not None:
            return topology
    except Exception as error:  # Each format has its own.
        problem = _one_line(error)
    raise MoleculeError(f"{path}: mdtraj finds no topology in it ({problem}): a .pdb file is the surest")


def _one_line(error: Any) -> str:
    return " ".join(str(error).split())
