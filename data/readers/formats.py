"""Trajectories in whatever format mdtraj opens, read block by block."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
from jaxtyping import Float

from ..molecules.residues import MoleculeError
from .arrays import ArchivedArray, Block, CutShort, StoredArray, cut_short
from .extents import extent_of, lines_left
from .opening import (
    HDF5,
    IN_NM,
    MDCRD,
    STRUCTURES,
    ending_of,
    load_structure,
    one_line,
    quietly,
    readable,
    require_reader,
)


@dataclass(frozen=True)
class Trajectory:
    """A trajectory in a format of mdtraj, which gives nm of formats that have a unit."""

    path: Path

    @property
    def unit(self) -> str:
        """The unit that mdtraj takes the numbers of the file for."""
        return "nm" if ending_of(self.path) in IN_NM else "angstrom"

    @property
    def atoms(self) -> int | None:
        """Atoms of a frame; None if the file is its own topology."""
        require_reader(self.path)
        extent = extent_of(self.path)
        if extent.frames == 0:
            return None
        if extent.positions is not None:
            return extent.positions.shape[0]
        try:
            with _opened(self.path) as file, quietly():
                first = file.read(n_frames=1)
            return (first[0] if isinstance(first, tuple) else first).shape[1]
        except Exception:  # Formats that hold topologies read otherwise, and damage shows with the blocks.
            return None

    @property
    def frames(self) -> int | None:
        """How many whole ones, of formats that tell."""
        require_reader(self.path)
        extent = extent_of(self.path)
        if extent.frames is None:
            # Some formats tell only at the end, some readers not at all.
            with suppress(Exception), _opened(self.path) as file:
                return len(file)
        return extent.frames

    @property
    def cut(self) -> CutShort | None:
        """As in `Positions`, of formats that tell."""
        extent = extent_of(self.path)
        return cut_short(self.path, extent.frames or 0, extent.problem) if extent.problem else None

    @property
    def times(self) -> Float[np.ndarray, "frames"] | None:
        """As in `Positions`."""
        extent = extent_of(self.path)
        if extent.frames is None and ending_of(self.path) in HDF5:
            # The file may have none, or is damaged, which shows when blocks are read.
            with suppress(Exception), _opened(self.path) as file:
                return np.asarray(file.root.time, np.float64)
        return extent.times

    def cell(self, topology: mdtraj.Topology) -> Float[np.ndarray, "3 3"] | None:
        """Vectors of the periodic box of the first frame in nm, of files that have one."""
        try:
            with quietly(), readable(self.path) as name:
                first = next(mdtraj.iterload(name, chunk=1, top=topology))
        except Exception:  # Each format has its own.
            return None
        return None if first.unitcell_vectors is None else np.asarray(first.unitcell_vectors[0])

    def blocks(self, size: int, topology: mdtraj.Topology) -> Iterator[Block]:
        """As in `Positions`. mdtraj holds a whole PDB, GRO or mmCIF file in memory."""
        require_reader(self.path)
        extent, start = extent_of(self.path), 0
        if extent.frames == 0:
            chunks = iter(())
        elif extent.positions is not None:
            chunks = self._records(size, topology, extent.positions.of(self.path))
        elif ending_of(self.path) in STRUCTURES:
            chunks = self._models(size, topology)
        else:
            chunks = self._read(size, topology, extent.frames)
        for frames in chunks:
            yield np.arange(start, start + len(frames)), frames
            start += len(frames)
        if extent.problem:
            raise cut_short(self.path, start, extent.problem)

    def _records(self, size: int, topology: mdtraj.Topology, array: np.ndarray) -> Iterator[np.ndarray]:
        if array.shape[1] != topology.n_atoms:
            raise self._damaged(0, topology, f"its frames have {array.shape[1]} atoms")
        for start in range(0, len(array), size):
            yield 0.1 * array[start : start + size].astype(np.float32)

    def _models(self, size: int, topology: mdtraj.Topology) -> Iterator[np.ndarray]:
        try:
            whole, cut = load_structure(self.path)
        except Exception as error:  # Each format has its own.
            raise self._damaged(0, topology, error) from None
        for start in range(0, len(whole), size):
            yield np.asarray(whole.xyz)[start : start + size]
        if cut:
            raise cut_short(self.path, len(whole), f"the file ends in the middle of frame {len(whole)}")

    def _read(self, size: int, topology: mdtraj.Topology, count: int | None) -> Iterator[np.ndarray]:
        """Frame by frame where a block cannot be read, so that all before the damage come out."""
        start, size = 0, size if count is None else min(size, count)
        while True:
            try:
                for frames in _chunks_of(self.path, topology, start, size, count):
                    yield frames
                    start += len(frames)
                break
            except Exception as error:  # Each format has its own.
                if size == 1 and start == 0:
                    raise self._damaged(start, topology, error) from None
                if size == 1:
                    problem = f"frame {start} cannot be read ({one_line(error)})"
                    raise cut_short(self.path, start, problem) from None
                size //= 2
        if count is None and lines_left(self.path, topology.n_atoms, start):
            raise cut_short(self.path, start, f"the file ends in the middle of frame {start}")

    def _damaged(self, start: int, topology: mdtraj.Topology, error: Any) -> MoleculeError:
        return MoleculeError(
            f"{self.path}: frame {start} or a later one cannot be read with a topology of "
            f"{topology.n_atoms} atoms ({one_line(error)}): the file is damaged, or the topology is that of "
            "another molecule"
        )


@contextmanager
def _opened(path: Path, **options: Any) -> Iterator[Any]:
    """mdtraj's file; VMD's plugin speaks while it opens one."""
    with ExitStack() as stack:
        with quietly():
            file = stack.enter_context(mdtraj.open(stack.enter_context(readable(path)), **options))
        yield file


def _chunks_of(
    path: Path, topology: mdtraj.Topology, skip: int, size: int, count: int | None
) -> Iterator[np.ndarray]:
    """Frames in nm from one on, as mdtraj reads them; not more than `count` in all."""
    start, atoms = 0, {"n_atoms": topology.n_atoms} if ending_of(path) in MDCRD else {}
    with _opened(path, **atoms) as file:
        while count is None or start < count:
            wanted = size if count is None else min(size, count - start)
            wanted = min(wanted, skip - start) if start < skip else wanted
            with quietly():
                if ending_of(path) in HDF5:
                    # At the end it gives an empty list.
                    frames = np.asarray(getattr(file.read(n_frames=wanted), "coordinates", ()))
                else:
                    frames = np.asarray(file.read_as_traj(topology, n_frames=wanted).xyz)
            if not len(frames):
                return
            before, start = start, start + len(frames)
            frames = frames[max(0, skip - before) :]
            # DTR comes at once, whatever is asked.
            yield from (frames[at : at + size] for at in range(0, len(frames), size))


Positions = StoredArray | ArchivedArray | Trajectory
"""The frames of one trajectory, in the unit of the file.

`frames` and `atoms` are their numbers as far as the file tells them at once, `times` those of all frames in
ps, `cut` the error of a file that ends before it should. `blocks(size, topology)` gives all whole frames in
order, at most `size` at a time, `topology` being that of a frame, and then raises CutShort if there should be
more.
"""
