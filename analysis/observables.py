"""What is measured on the frames of a molecule: torsions, bonds, and their distributions in one dimension."""

from math import pi

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import wasserstein_distance

from .metrics import free_energy

Frames = Float[np.ndarray, "frames beads 3"]
Values = Float[np.ndarray, "frames"]


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


def wasserstein(reference: Float[np.ndarray, "n"], values: Float[np.ndarray, "m"]) -> float:
    """W1, the mean distance by which one distribution has to be moved to become the other; in their unit."""
    return float(wasserstein_distance(reference, values))


def torsion_profile(angles: Values, bins: int = 64) -> Float[np.ndarray, "bins"]:
    """Free energy −ln p (kT) on equal bins of [−π, π], its minimum at 0; an empty bin is infinite."""
    counts, _ = np.histogram(angles, bins=bins, range=(-pi, pi))
    return free_energy(counts)


def sign_changes(angles: Float[np.ndarray, "chains frames"]) -> int:
    """How often an angle of a chain changes its sign through 0, not through ±π: crossings between modes."""
    before, after = angles[:, :-1], angles[:, 1:]
    return int(np.sum((before * after < 0) & (np.abs(after - before) < pi)))
