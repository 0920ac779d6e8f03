"""Frames of a molecule in files that other programs open."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import mdtraj
import numpy as np
from jaxtyping import Bool, Float, Int
from mdtraj.formats import XTCTrajectoryFile

from .files import FileError, replacing
from .molecules.beads import Beads
from .molecules.residues import MoleculeError
from .readers.extents import extent_of
from .readers.opening import quietly, readable, writable

_FARTHEST = 1e6
"""In nm: XTC has 32 bits for multiples of 0.001 nm, and keeps what is not finite as −2,147,484 nm."""
_FARTHEST_IN_PDB = 99.0
"""In nm."""

Frames = Float[np.ndarray, "frames beads 3"]


class Part(NamedTuple):
    """Some frames of an XTC file, from one byte to before another."""

    path: Path
    begin: int
    end: int


def write(beads: Beads, frames: Frames, path: Path) -> int:
    """Write frames (nm) as an XTC file, and the first of them beside it as PDB, whose atoms are the beads.

    XTC keeps 0.001 nm. Chains follow one another. Both files appear whole or not at all. Frames that are not
    finite, or out of all bounds, are left out; gives their number. Raises MoleculeError if no other is there,
    FileError for what cannot be written.
    """
    good = _kept(frames)
    if not good.any():
        raise MoleculeError(f"{path}: none of {len(frames)} frames is finite: there is nothing to write")
    write_part(frames, path)
    _write_pdb(beads, frames[good][0], path.with_suffix(".pdb"))
    return int((~good).sum())


def write_part(
    frames: Frames,
    path: Path,
    steps: Int[np.ndarray, "frames"] | None = None,
    timestep: float = 1.0,
    chains: int = 1,
) -> list[int]:
    """Write the frames of some chains that XTC can keep, with their steps and times (ps).

    Without steps they are numbered. Gives the byte at which each chain ends: the parts of a chain are joined
    as bytes. Raises FileError.
    """
    good = _kept(frames)
    numbers = np.arange(len(frames)) if steps is None else steps
    with replacing(path) as partial:
        # On a full disk mdtraj writes less, and says nothing or raises RuntimeError.
        with (
            suppress(RuntimeError),
            quietly(),
            writable(partial) as name,
            XTCTrajectoryFile(name, "w") as file,
        ):
            if good.any():
                file.write(
                    np.asarray(frames[good], np.float32),
                    time=(numbers[good] * timestep).astype(np.float32),
                    step=numbers[good].astype(np.int32),
                )
        extent = extent_of(partial)
        if extent.problem or extent.frames != good.sum():
            raise _cut(path, int(good.sum()))
        begins = [0]
        if good.any():
            with quietly(), readable(partial) as name, XTCTrajectoryFile(name) as file:
                begins = [*map(int, file.offsets), partial.stat().st_size]
    return [begins[count] for count in good.reshape(chains, -1).sum(axis=1).cumsum().tolist()]


def join(beads: Beads, parts: Iterable[Part], path: Path) -> None:
    """Join parts of what `write_part` wrote; the first frame stands beside it as PDB, as after `write`.

    Raises MoleculeError if no frame is there, FileError for what cannot be read or written.
    """
    several = [*parts]
    require_whole(several)
    with replacing(path) as partial:
        with open(partial, "wb") as target:
            for part in several:
                with open(part.path, "rb") as source:
                    source.seek(part.begin)
                    target.write(source.read(part.end - part.begin))
        if not partial.stat().st_size:
            raise MoleculeError(f"{path}: no frame is finite: there is nothing to write")
    with quietly(), readable(path) as name, XTCTrajectoryFile(name) as file:
        first, *_ = file.read(n_frames=1)
    _write_pdb(beads, first[0], path.with_suffix(".pdb"))


def require_whole(parts: Iterable[Part]) -> None:
    """FileError for a part that is not all there."""
    for part in parts:
        if part.end > (part.path.stat().st_size if part.path.exists() else 0):
            raise FileError(
                f"{part.path} is gone or cut short: remove {part.path.with_suffix('.npz').name} beside it, "
                "and the command that made both makes them again"
            )


def _kept(frames: Frames) -> Bool[np.ndarray, "frames"]:
    with np.errstate(invalid="ignore"):
        return np.asarray((np.abs(frames) < _FARTHEST).all(axis=(1, 2)))


def _write_pdb(beads: Beads, frame: Float[np.ndarray, "beads 3"], path: Path) -> None:
    with replacing(path) as partial:
        with quietly(), writable(partial) as name:
            mdtraj.Trajectory(_in_view(frame)[None], beads.topology()).save(name)
        if not partial.read_bytes().rstrip().endswith(b"END"):
            raise _cut(path, 1)


def _in_view(frame: Float[np.ndarray, "beads 3"]) -> Float[np.ndarray, "beads 3"]:
    """As it is if PDB has digits enough for it, which a molecule that has drifted far or burst is not."""
    if np.abs(frame).max() < _FARTHEST_IN_PDB:
        return frame
    return np.clip(frame - frame.mean(axis=0), -_FARTHEST_IN_PDB, _FARTHEST_IN_PDB)


def _cut(target: Path, frames: int) -> FileError:
    found = FileError(
        f"{target} cannot be written: less than {frames} frames have arrived: nothing is "
        "half-written; free some space, or choose another place, and go on"
    )
    found.full = True  # Nothing else makes mdtraj write less, though it does not say so.
    return found
