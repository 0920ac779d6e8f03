"""How far a set of points is from a reference, on one or two axes such as (x, y), (φ, ψ) or a length.

Each metric is named by its definition: `paper` is what the authors' code computes, so that numbers compare;
`corrected` is what it should have been. Where they agree, both hold the same value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.distance import jensenshannon

Points = Float[np.ndarray, "_ axes"]  # Sets that are compared may differ in size.
Counts = Int[np.ndarray, "*bins"]
Limits = Float[np.ndarray, "axes 2"]
"""Lower and upper end of each axis."""

EMPTY = 1e-6
"""Proportion of an empty bin in the PMF error."""


@dataclass(frozen=True)
class Grid:
    """Where distributions are compared: axes, their limits, and the number of bins along each."""

    labels: tuple[str, ...]
    limits: tuple[tuple[float, float], ...]
    js_bins: int
    pmf_bins: int = 64
    periodic: bool = False
    """Angles, whose limits are the same place."""

    def shape(self, bins: int) -> tuple[int, ...]:
        """Of a histogram with so many bins along each axis."""
        return (bins,) * len(self.limits)


# The longest reference trajectories stay between (−3.0, −0.9) and (1.3, 3.0).
MUELLER_BROWN = Grid(("x", "y"), ((-1.8, 1.1), (-0.5, 2.0)), js_bins=100)
RAMACHANDRAN = Grid(("φ", "ψ"), ((-pi, pi), (-pi, pi)), js_bins=64, periodic=True)


def bins_of(points: Points, grid: Grid) -> Int[np.ndarray, "_"]:
    """Number of the bin of each point among the `js_bins` a side; what lies outside is in the outermost.

    Raises ValueError for points that are not finite.
    """
    return _bins(points, [np.linspace(*limit, grid.js_bins + 1)[1:-1] for limit in grid.limits])


def pmf_bins_of(points: Points, grid: Grid) -> Int[np.ndarray, "_"]:
    """The same of the `pmf_bins` a side, of which the outer two collect what lies outside the limits."""
    return _bins(points, [np.linspace(*limit, grid.pmf_bins - 1) for limit in grid.limits])


def _bins(points: Points, inner_edges: Sequence[np.ndarray]) -> Int[np.ndarray, "_"]:
    if not np.isfinite(points).all():
        raise ValueError("points that are not finite must be counted and dropped before they are compared")
    found = np.zeros(len(points), np.int64)
    for axis, edges in enumerate(inner_edges):
        found = found * (len(edges) + 1) + np.searchsorted(edges, points[:, axis], side="right")
    return found


def histogram(points: Points, grid: Grid) -> Counts:
    """Counts on the bins of the JS divergence. The histograms of parts add up to that of the whole."""
    shape = grid.shape(grid.js_bins)
    return np.bincount(bins_of(points, grid), minlength=int(np.prod(shape))).reshape(shape)


def histogram_within(points: Points, limits: Limits, grid: Grid) -> Counts:
    """Counts on as many bins as JS has between other limits, which for the paper are the pooled extremes."""
    return np.histogramdd(points, bins=grid.js_bins, range=[(low, high) for low, high in limits])[0].astype(
        int
    )


def js_divergence(p: Counts, q: Counts) -> float:
    """Jensen–Shannon divergence (nats) of two histograms. ValueError if one is empty."""
    for name, counts in (("first", p), ("second", q)):
        if not counts.any():
            raise ValueError(f"the {name} histogram is empty")
    return float(jensenshannon(p.ravel(), q.ravel()) ** 2)


@dataclass(frozen=True)
class Spread:
    """What the histograms of independent parts of a set add up to: the variance of a bin needs no more."""

    counts: Counts
    squares: Counts
    """Of the counts of each part."""
    products: Counts
    """Of the counts of each part and its size."""
    frames: int
    squared_frames: int
    """Of the sizes of the parts."""
    parts: int
    """Those that are not empty."""

    def proportions(self) -> tuple[Float[np.ndarray, "*bins"], Float[np.ndarray, "*bins"]]:
        """Proportion of each bin, and its variance; parts may differ in size."""
        pooled = self.counts / self.frames
        if self.parts < 2:
            return pooled, pooled * (1 - pooled) / self.frames
        spread = self.squares - 2 * pooled * self.products + pooled**2 * self.squared_frames
        return pooled, self.parts / (self.parts - 1) * spread / self.frames**2


def js_floor(first: Spread, second: Spread) -> float:
    """JS divergence (nats) to expect of two sets of one distribution, each given by independent parts of it.

    ⅛ Σ_b [Var(p̂_b) + Var(q̂_b)]/m_b over the occupied bins b, with the mean m of both proportions: the second
    order of the divergence. The variances are those of the mean over parts (chains, trajectories), by how the
    parts spread; of a set that is one part, those of independent frames, p (1 − p)/n. For independent frames
    it is (K − 1)/8 (1/n₁ + 1/n₂) with K occupied bins.
    """
    (p, p_variance), (q, q_variance) = first.proportions(), second.proportions()
    mean = 0.5 * (p + q)
    occupied = mean > 0
    return float(np.sum((p_variance + q_variance)[occupied] / mean[occupied]) / 8)


def pmf_error(reference: Counts, points: Counts) -> float:
    """Σ w (ln p − ln q)² with w ∝ (p + q)/2 over the bins that either occupies; an empty one counts as 1e-6.

    Takes histograms on the bins of `pmf_bins_of`. ValueError if one is empty.
    """
    for name, counts in (("reference", reference), ("points", points)):
        if not counts.any():
            raise ValueError(f"the histogram of the {name} is empty")
    occupied = (reference > 0) | (points > 0)
    p, q = (counts[occupied] / counts.sum() for counts in (reference, points))
    weight = (p + q) / (p + q).sum()
    difference = np.log(np.where(p > 0, p, EMPTY)) - np.log(np.where(q > 0, q, EMPTY))
    return float(np.sum(weight * difference**2))


def free_energy(counts: Counts) -> Float[np.ndarray, "*bins"]:
    """−ln p in units of kT, its minimum at 0; empty bins are infinite."""
    with np.errstate(divide="ignore"):
        energy = -np.log(counts / counts.sum())
    return energy - energy.min()
