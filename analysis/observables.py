"""What is measured on the frames of a molecule: torsions and distances."""

from math import pi

import numpy as np
from jaxtyping import Float, Int

Frames = Float[np.ndarray, "frames beads 3"]


def dihedrals(
    frames: Frames, quadruples: Int[np.ndarray, "dihedrals 4"]
) -> Float[np.ndarray, "frames dihedrals"]:
    """Torsion angles (radians, −π to π) of quadruples of beads, in IUPAC's sign."""
    a, b, c, d = (frames[:, quadruples[:, i]].astype(np.float64) for i in range(4))
    first, axis, last = b - a, c - b, d - c
    one, other = np.cross(first, axis), np.cross(axis, last)
    sine = np.sum(np.linalg.norm(axis, axis=-1)[..., None] * first * other, axis=-1)
    return np.arctan2(sine, np.sum(one * other, axis=-1))


def distances(frames: Frames, pairs: Int[np.ndarray, "pairs 2"]) -> Float[np.ndarray, "frames pairs"]:
    """Distances between pairs of beads, in the unit of the frames."""
    return np.linalg.norm(frames[:, pairs[:, 0]].astype(np.float64) - frames[:, pairs[:, 1]], axis=-1)


def sign_changes(angles: Float[np.ndarray, "chains frames"]) -> int:
    """How often an angle of a chain changes its sign through 0, not through ±π: crossings between modes."""
    before, after = angles[:, :-1], angles[:, 1:]
    return int(np.sum((before * after < 0) & (np.abs(after - before) < pi)))
