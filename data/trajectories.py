"""Frames of a molecule in files that other programs open."""

from pathlib import Path

import mdtraj
import numpy as np
from jaxtyping import Float

from .beads import Beads
from .extents import extent_of
from .files import FileError, replacing
from .opening import quietly, writable
from .residues import MoleculeError

_FARTHEST = 1e6
"""In nm: XTC has 32 bits for multiples of 0.001 nm, and keeps what is not finite as −2,147,484 nm."""
_FARTHEST_IN_PDB = 99.0
"""In nm."""


def write(beads: Beads, frames: Float[np.ndarray, "frames beads 3"], path: Path) -> int:
    """Write frames (nm) as an XTC file, and the first of them beside it as PDB, whose atoms are the beads.

    XTC keeps 0.001 nm. Chains follow one another. Both files appear whole or not at all. Frames that are not
    finite, or out of all bounds, are left out; gives their number. Raises MoleculeError if no other is there,
    FileError for what cannot be written.
    """
    with np.errstate(invalid="ignore"):
        good = (np.abs(frames) < _FARTHEST).all(axis=(1, 2))
    if not good.any():
        raise MoleculeError(f"{path}: none of {len(frames)} frames is finite: there is nothing to write")
    kept, topology = frames[good], beads.topology()
    for target, part in ((path, kept), (path.with_suffix(".pdb"), _in_view(kept[:1]))):
        with replacing(target) as partial:
            _save(mdtraj.Trajectory(part, topology), partial, target)
    return int((~good).sum())


def _in_view(frame: Float[np.ndarray, "1 beads 3"]) -> Float[np.ndarray, "1 beads 3"]:
    """As it is if PDB has digits enough for it, which a molecule that has drifted far or burst is not."""
    if np.abs(frame).max() < _FARTHEST_IN_PDB:
        return frame
    return np.clip(frame - frame.mean(axis=1, keepdims=True), -_FARTHEST_IN_PDB, _FARTHEST_IN_PDB)


def _save(trajectory: mdtraj.Trajectory, partial: Path, target: Path) -> None:
    """Write, and see whether all is there: on a full disk mdtraj writes less and says nothing."""
    with quietly(), writable(partial) as name:
        trajectory.save(name)
    extent = extent_of(partial)
    if partial.suffix == ".xtc":
        complete = extent is not None and extent.problem is None and extent.frames == len(trajectory)
    else:
        complete = partial.read_bytes().rstrip().endswith(b"END")
    if not complete:
        raise FileError(
            f"{target} cannot be written: less than {len(trajectory)} frames have arrived: nothing is "
            "half-written; free some space, or choose another place, and go on"
        )
