"""Positions in NumPy's archives and arrays, read block by block.

Memory holds one block, whatever the size of the file.
"""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import IO, ClassVar

import mdtraj
import numpy as np
from jaxtyping import Float, Int

from ..molecules.residues import MoleculeError

Block = tuple[Int[np.ndarray, "frames"], Float[np.ndarray, "frames atoms 3"]]
"""Frames with their numbers in the file, from 0."""
Stream = IO[bytes] | BufferedIOBase


class CutShort(MoleculeError):
    """A file that ends before it should, after frames that are whole."""

    problem: str
    """What is wrong with it, without the name of the file."""


def cut_short(path: Path, frames: int, problem: str) -> CutShort:
    """The error after so many whole frames."""
    remedy = "get the file again"
    if frames:
        remedy += ", or go on with the whole frames by --skip-damaged"
    whole = "1 frame is" if frames == 1 else f"{frames or 'no'} frames are"
    error = CutShort(f"{path}: {whole} whole, then {problem}: {remedy}")
    error.problem = problem
    return error


def _layout(path: Path, what: str, shape: tuple[int, ...], dtype: np.dtype) -> tuple[int, int]:
    """Frames and atoms of an array of shape (T, N, 3) or (T, 3N)."""
    # (atoms, 3) is one frame without its axis, and not many frames of one atom.
    flat = len(shape) == 2 and shape[1] % 3 == 0 and shape[1] != 3
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
    times: ClassVar[None] = None

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
    def _layout(self) -> tuple[int, int]:
        return _layout(self.path, self.what, self.shape, np.dtype(self.dtype))

    @property
    def frames(self) -> int:
        """Length of the array, or of what is there of it."""
        count, atoms = self._layout
        if self.content is not None or self.fortran:
            return count
        frame = max(1, np.dtype(self.dtype).itemsize * 3 * atoms)
        return min(count, max(0, self.path.stat().st_size - self.offset) // frame)

    @property
    def cut(self) -> CutShort | None:
        """As in `Positions`."""
        whole = self.frames
        if whole == self.shape[0]:
            return None
        return cut_short(self.path, whole, f"the file ends in the middle of frame {whole}")

    @property
    def atoms(self) -> int:
        """Atoms of a frame."""
        return self._layout[1]

    def open(self) -> np.ndarray:
        """The array: a memory map, unless it is at hand."""
        order = "F" if self.fortran else "C"
        if self.content is not None:
            return np.frombuffer(self.content, self.dtype).reshape(self.shape, order=order)
        shape = (self.frames, *self.shape[1:])
        if 0 in shape:
            return np.zeros(shape, self.dtype)
        try:
            return np.memmap(self.path, self.dtype, "r", self.offset, shape, order)
        except (OSError, ValueError) as error:
            raise MoleculeError(
                f"{self.path}: {self.what} is cut short ({error}): get the file again"
            ) from None

    def blocks(self, size: int, topology: mdtraj.Topology) -> Iterator[Block]:
        """As in `Positions`."""
        atoms, array = self.atoms, self.open()
        for start in range(0, len(array), size):
            frames = np.array(array[start : start + size]).reshape(-1, atoms, 3)
            yield np.arange(start, start + len(frames)), frames
        if self.cut:
            raise self.cut


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
    cut: ClassVar[None] = None
    """An archive that is cut cannot be opened at all."""

    @property
    def frames(self) -> int:
        """Length of the array."""
        return self._layout[0]

    @property
    def atoms(self) -> int:
        """Atoms of a frame."""
        return self._layout[1]

    @property
    def times(self) -> Float[np.ndarray, "frames"] | None:
        """As in `Positions`, from the member `time`."""
        count = self._layout[0]
        if "time" not in members(self.path):
            return None
        with _member(self.path, "time") as (file, shape, _, dtype):
            if shape != (count,) or dtype.kind not in "fiu":
                return None
            return np.frombuffer(file.read(), dtype).astype(np.float64)

    @property
    def _layout(self) -> tuple[int, int]:
        with _member(self.path, self.member) as (_, shape, _, dtype):
            return _layout(self.path, self.member, shape, dtype)

    def blocks(self, size: int, topology: mdtraj.Topology) -> Iterator[Block]:
        """As in `Positions`."""
        frames, atoms = self._layout
        with _member(self.path, self.member) as (file, _, fortran, dtype):
            if fortran and frames > 1:
                raise MoleculeError(f"{self.path}: {self.member} is in Fortran's order: save it in C's")
            for start in range(0, frames, size):
                count = min(size, frames - start)
                content = file.read(count * atoms * 3 * dtype.itemsize)
                yield np.arange(start, start + count), np.frombuffer(content, dtype).reshape(count, atoms, 3)


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
