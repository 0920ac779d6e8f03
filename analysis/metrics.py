"""How far a set of points is from a reference, on a plane such as (x, y) or (φ, ψ).

Each metric is named by its definition: `paper` is what the authors' code computes, so that numbers compare;
`corrected` is what it should have been. Where they agree, both hold the same value.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import pi
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial.distance import jensenshannon

Points = Float[np.ndarray, "_ 2"]  # Sets that are compared may differ in size.
Counts = Int[np.ndarray, "bins bins"]
PartCounts = Int[np.ndarray, "_ bins bins"]
Rectangle = tuple[tuple[float, float], tuple[float, float]]
Definition = Literal["paper", "corrected", "text"]
DEFINITIONS: tuple[Definition, ...] = ("paper", "corrected")
"""Those that are reported."""
COLUMNS = (("iid", "js"), ("sim", "js"), ("iid", "pmf"), ("sim", "pmf"))
"""What a table of results shows of each definition, in the order of the paper."""

EMPTY = 1e-6
"""Proportion of an empty bin in the PMF error."""


@dataclass(frozen=True)
class Plane:
    """The plane where distributions are compared, and its bins a side.

    `limits` bound the bins; beyond `physical` a simulation has left the system.
    """

    labels: tuple[str, str]
    limits: Rectangle
    physical: Rectangle
    js_bins: int
    pmf_bins: int = 64


# The longest reference trajectories stay between (−3.0, −0.9) and (1.3, 3.0).
MUELLER_BROWN = Plane(("x", "y"), ((-1.8, 1.1), (-0.5, 2.0)), ((-4.0, 2.0), (-2.0, 4.0)), js_bins=100)
RAMACHANDRAN = Plane(("φ", "ψ"), ((-pi, pi), (-pi, pi)), ((-pi, pi), (-pi, pi)), js_bins=64)


def physical(points: Float[np.ndarray, "*batch 2"], plane: Plane) -> Bool[np.ndarray, "*batch"]:
    """Whether each point lies within the physical range; what is not finite does not."""
    low, high = np.transpose(plane.physical)
    return ((points >= low) & (points <= high)).all(axis=-1)


def histogram(points: Points, plane: Plane, bins: int) -> Counts:
    """Counts on `bins` fixed bins a side; what lies outside is counted in the outermost bins.

    The histograms of parts add up to that of the whole. Raises ValueError for points that are not finite.
    """
    return _count(points, plane, [np.linspace(*limit, bins + 1)[1:-1] for limit in plane.limits])


def pmf_histogram(points: Points, plane: Plane) -> Counts:
    """Counts on `pmf_bins` a side, of which the outer two collect what lies outside the limits."""
    return _count(points, plane, [np.linspace(*limit, plane.pmf_bins - 1) for limit in plane.limits])


def _count(points: Points, plane: Plane, inner_edges: list[np.ndarray]) -> Counts:
    if not np.isfinite(points).all():
        raise ValueError("points that are not finite must be counted and dropped before they are compared")
    x, y = (np.searchsorted(edges, points[:, i], side="right") for i, edges in enumerate(inner_edges))
    shape = len(inner_edges[0]) + 1, len(inner_edges[1]) + 1
    return np.bincount(x * shape[1] + y, minlength=shape[0] * shape[1]).reshape(shape)


def js_divergence(p: Counts, q: Counts) -> float:
    """Jensen–Shannon divergence (nats) of two histograms. ValueError if one is empty."""
    for name, counts in (("first", p), ("second", q)):
        if not counts.any():
            raise ValueError(f"the {name} histogram is empty")
    return float(jensenshannon(p.ravel(), q.ravel()) ** 2)


def js_floor(first: PartCounts, second: PartCounts) -> float:
    """JS divergence (nats) to expect of two sets of one distribution, each given as independent parts of it.

    ⅛ Σ_b [Var(p̂_b) + Var(q̂_b)]/m_b over the occupied bins b, with the mean m of both proportions: the second
    order of the divergence. The variances are those of the mean over parts (chains, trajectories), by how the
    parts spread; of a set that is one part, those of independent frames, p (1 − p)/n. For independent frames
    it is (K − 1)/8 (1/n₁ + 1/n₂) with K occupied bins.
    """
    (p, p_variance), (q, q_variance) = (_proportions(parts) for parts in (first, second))
    mean = 0.5 * (p + q)
    occupied = mean > 0
    return float(np.sum((p_variance + q_variance)[occupied] / mean[occupied]) / 8)


def _proportions(parts: PartCounts) -> tuple[np.ndarray, np.ndarray]:
    """Proportion of each bin, and its variance; parts may differ in size."""
    sizes = parts.sum(axis=(1, 2))
    total, count = sizes.sum(), np.count_nonzero(sizes)
    pooled = parts.sum(axis=0) / total
    if count < 2:
        return pooled, pooled * (1 - pooled) / total
    spread = np.sum((parts - sizes[:, None, None] * pooled) ** 2, axis=0)
    return pooled, count / (count - 1) * spread / total**2


def js(reference: Points, points: Points, plane: Plane, definition: Definition) -> float:
    """Jensen–Shannon divergence (nats) of two sets of points.

    `paper`: bins between the pooled extremes, so one stray point changes every bin. `corrected`: fixed bins.
    `text`: the paper's bins with one more count in each, as its appendix B.1 says.
    Raises ValueError for a set that is empty or not finite.
    """
    if not (len(reference) and len(points)):
        raise ValueError(f"no points to compare: {len(reference)} of the reference, {len(points)} others")
    if definition == "corrected":
        p, q = (histogram(part, plane, plane.js_bins) for part in (reference, points))
        return js_divergence(p, q)
    pooled = np.concatenate([reference, points])
    limits = list(zip(pooled.min(axis=0), pooled.max(axis=0), strict=True))
    p, q = (
        np.histogram2d(part[:, 0], part[:, 1], bins=plane.js_bins, range=limits)[0].astype(int)
        for part in (reference, points)
    )
    more = 1 if definition == "text" else 0
    return js_divergence(p + more, q + more)


def pmf_error(reference: Counts, points: Counts) -> float:
    """Σ w (ln p − ln q)² with w ∝ (p + q)/2 over the bins that either occupies; an empty one counts as 1e-6.

    Takes the histograms of `pmf_histogram`. ValueError if one is empty.
    """
    for name, counts in (("reference", reference), ("points", points)):
        if not counts.any():
            raise ValueError(f"the histogram of the {name} is empty")
    occupied = (reference > 0) | (points > 0)
    p, q = (counts[occupied] / counts.sum() for counts in (reference, points))
    weight = (p + q) / (p + q).sum()
    difference = np.log(np.where(p > 0, p, EMPTY)) - np.log(np.where(q > 0, q, EMPTY))
    return float(np.sum(weight * difference**2))


def compare(reference: Points, points: Points, plane: Plane) -> dict[str, dict[str, float]]:
    """Both metrics in both definitions: {"paper": {"js": …, "pmf": …}, "corrected": {…}}."""
    pmf = pmf_error(pmf_histogram(reference, plane), pmf_histogram(points, plane))
    return {
        definition: {"js": js(reference, points, plane, definition), "pmf": pmf} for definition in DEFINITIONS
    }


def free_energy(counts: Int[np.ndarray, "*bins"]) -> Float[np.ndarray, "*bins"]:
    """−ln p in units of kT, its minimum at 0; empty bins are infinite."""
    with np.errstate(divide="ignore"):
        energy = -np.log(counts / counts.sum())
    return energy - energy.min()


def reported(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The part of metrics.json, or of one system in it, that `table` shows."""
    return {definition: metrics[definition] for definition in DEFINITIONS}


def table(metrics: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[tuple[str, ...]]:
    """Rows of metrics.json for people, below `TABLE_HEADER`; what is not known is left empty."""
    rows = []
    for definition, values in metrics.items():
        for metric in ("js", "pmf"):
            iid, sim, floor = (values[kind][metric] for kind in ("iid", "sim", "floor"))
            numbers = (f"{iid:.4f}", f"{sim:.4f}", f"{floor:.4f}", f"{iid / floor:.2f}", f"{sim / floor:.2f}")
            own = values.get("floor_sim", {}).get(metric)
            rows.append((definition, metric.upper(), *numbers, "" if own is None else f"{own:.4f}"))
    return rows


TABLE_HEADER = ("definition", "metric", "iid", "sim", "floor", "iid/floor", "sim/floor", "sim floor")
