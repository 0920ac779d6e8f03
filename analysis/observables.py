"""What is measured on the frames of a molecule: torsions and distances."""

from collections.abc import Sequence
from math import pi

import numpy as np
from jaxtyping import Float

Frames = Float[np.ndarray, "*batch beads 3"]


def dihedrals(frames: Frames, quadruples: Sequence[Sequence[int]]) -> Float[np.ndarray, "*batch dihedrals"]:
    """Torsion angles (radians, −π to π) of quadruples of beads, in IUPAC's sign."""
    a, b, c, d = (frames[..., [*beads], :].astype(np.float64) for beads in zip(*quadruples, strict=True))
    first, axis, last = b - a, c - b, d - c
    one, other = np.cross(first, axis), np.cross(axis, last)
    sine = np.sum(np.linalg.norm(axis, axis=-1)[..., None] * first * other, axis=-1)
    return np.arctan2(sine, np.sum(one * other, axis=-1))


def distances(frames: Frames, pairs: Sequence[tuple[int, int]]) -> Float[np.ndarray, "*batch pairs"]:
    """Distances between pairs of beads, of which there may be none, in the unit of the frames."""
    first, second = np.asarray(pairs, int).reshape(-1, 2).T
    return np.linalg.norm(frames[..., first, :].astype(np.float64) - frames[..., second, :], axis=-1)


def sign_changes(angles: Float[np.ndarray, "chains frames"]) -> int:
    """How often an angle of a chain changes its sign through 0, not through ±π: crossings between modes."""
    before, after = angles[:, :-1], angles[:, 1:]
    return int(np.sum((before * after < 0) & (np.abs(after - before) < pi)))
