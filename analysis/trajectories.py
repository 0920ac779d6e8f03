"""Frames of a molecule in files that other programs open."""

from pathlib import Path

import mdtraj
import numpy as np
from jaxtyping import Float

from ..data.beads import Beads


def write(beads: Beads, frames: Float[np.ndarray, "frames beads 3"], path: Path) -> None:
    """Write frames (nm) as an XTC file, and the first of them beside it as PDB, whose atoms are the beads.

    XTC keeps 0.001 nm. Chains follow one another. Both files appear whole or not at all.
    """
    trajectory = mdtraj.Trajectory(frames, beads.topology())
    path.parent.mkdir(parents=True, exist_ok=True)
    for target, part in ((path, trajectory), (path.with_suffix(".pdb"), trajectory[0])):
        partial = target.with_name(f".partial-{target.name}")
        part.save(str(partial))
        partial.replace(target)
