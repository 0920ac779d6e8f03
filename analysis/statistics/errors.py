"""Standard errors of metrics, by how much they change when one chain is left out, and their floor.

Chains are independent and their frames are not, so only chains are left out: the delete-one jackknife
(Efron and Stein, 1981). Histograms of thousands of chains stay sparse; a block of them at a time is dense.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array, vstack
from scipy.special import rel_entr

from ..metrics import EMPTY, Counts
from ..reduction import Reduction, cells_of, lengths_of, wasserstein_in_bins
from ..systems import System

DENSE = 2**20
"""Numbers of a block of chains that are in memory at a time, in each of a few arrays."""

Parts = csr_array
"""Counts of independent parts (chains, trajectories), one a row; one row is a set without parts."""
Shares = Float[np.ndarray, "bins"]
Rows = Float[np.ndarray, "rows bins"]
Metric = Callable[[Rows, Shares], Float[np.ndarray, "rows"]]


@dataclass(frozen=True)
class Estimate:
    """A metric of a set against a reference, in the unit of the metric."""

    value: float
    error: float
    """Standard error; not a number for one chain."""
    corrected: float
    """Without the bias that falls with the number of chains as 1/n; not a number where the bias does not."""


def histograms(
    system: System,
    reductions: Iterable[Reduction],
    place: int,
    kind: Literal["js", "pmf"],
    alike: bool = False,
) -> Parts:
    """Of each part, on the bins of JS or of the PMF error, of the projection at `place` of the system.

    All reductions are of the same parts where they are `alike`; otherwise each has parts of its own.
    Raises ValueError for no reduction.
    """
    row = 3 * place + (0 if kind == "js" else 2)
    begin, end = cells_of(system)[1][row : row + 2]

    def matrix(one: Reduction) -> Parts:
        own = (one.cell >= begin) & (one.cell < end)
        return csr_array(
            (one.count[own], (one.part[own], one.cell[own] - begin)), shape=(one.parts, end - begin)
        )

    matrices = [matrix(one) for one in reductions]
    if not matrices:
        raise ValueError("no reduction: a metric needs frames")
    return csr_array(sum(matrices[1:], matrices[0]) if alike else vstack(matrices, format="csr"))


def lengths(reductions: Iterable[Reduction], pair: int) -> Parts:
    """Of a length, by the place of its pair among all: each reduction is one part, as its lengths are."""
    found = [lengths_of(one, pair) for one in reductions]
    bins = [places for places, _ in found] or [np.zeros(0, int)]
    counts = [often for _, often in found] or [np.zeros(0, int)]
    ends = np.cumsum([0, *map(len, bins)])
    shape = (len(ends) - 1, max(int(places.max(initial=0)) for places in bins) + 1)
    return csr_array((np.concatenate(counts), np.concatenate(bins), ends), shape=shape)


def pooled(counts: Int[np.ndarray, "entries"], bins: Int[np.ndarray, "entries"] | None = None) -> Parts:
    """A set that is known as a whole, by its counts on all bins or on those of some numbers."""
    places = np.arange(len(counts)) if bins is None else bins
    shape = (1, int(places.max(initial=0)) + 1)
    return csr_array((counts, places, np.array([0, len(counts)])), shape=shape)


def js_estimate(chains: Parts, reference: Parts) -> Estimate:
    """Jensen–Shannon divergence (nats) from the `histograms` of both, with its error.

    Its bias of about (K − 1)/8 (1/n₁ + 1/n₂) is what `corrected` is free of, for both sets if both have
    parts; it may fall below 0. Near the floor JS is a square of noise, and its error as large as itself.
    Raises ValueError for a set without frames, as the other estimates do.
    """
    (rows, shares), _ = _on_common_bins(chains, reference)
    return _estimate(_js, rows, shares)


def pmf_estimate(chains: Parts, reference: Parts, projections: int = 1) -> Estimate:
    """Σ w (ln p − ln q)² of `metrics.pmf_error` (no unit), with its error.

    Of bins of several `projections` side by side, each with every frame, it is the mean over them.

    A bin that one chain alone occupies jumps to the proportion of an empty one when that chain is left out:
    the error has these jumps in it, and nothing corrects for them.
    """
    (rows, shares), _ = _on_common_bins(chains, reference)
    found = _estimate(partial(_pmf, empty=EMPTY / projections), rows, shares)
    return Estimate(found.value, found.error, np.nan)


def wasserstein_estimate(chains: Parts, reference: Parts, width: float) -> Estimate:
    """W1 from counts on bins of a width, in its unit, with its error; of the `lengths` of both, in nm.

    Of a length of a system take `reduction.width_of`. The bias of a distance falls slower than 1/n.
    """
    (rows, shares), bins = _on_common_bins(chains, reference)
    found = _estimate(lambda many, one: width * wasserstein_in_bins(bins, many - one), rows, shares)
    return Estimate(found.value, found.error, np.nan)


def effective_js_floor(first: Counts, second: Counts, frames: tuple[float, float]) -> float:
    """JS (nats) that as many independent frames of one distribution have: (K − 1)/8 (1/n₁ + 1/n₂).

    K are the bins that either occupies; `frames` are effective ones (`Convergence.ess`). Those of the slowest
    observable give a floor that is too high, as chains decorrelate faster within a mode; `metrics.js_floor`
    is that by how parts spread. Raises ValueError for numbers of frames that are not positive.
    """
    if not all(each > 0 for each in frames):
        raise ValueError(f"effective frames are positive, and these are {frames[0]} and {frames[1]}")
    occupied = int(np.count_nonzero((first > 0) | (second > 0)))
    return (occupied - 1) / 8 * (1 / frames[0] + 1 / frames[1])


def _on_common_bins(chains: Parts, reference: Parts) -> tuple[tuple[Parts, Parts], np.ndarray]:
    """Without parts and bins that are empty, and the numbers of those bins."""
    for name, parts in (("chains", chains), ("reference", reference)):
        if not parts.data.any():
            raise ValueError(f"no frames of the {name}")
    bins = np.union1d(chains.indices, reference.indices)

    def packed(parts: Parts) -> Parts:
        columns = np.searchsorted(bins, parts.indices)
        full = csr_array((parts.data, columns, parts.indptr), shape=(_count(parts), len(bins)))
        return full[np.flatnonzero(full.sum(axis=1))]

    return (packed(chains), packed(reference)), bins


def _count(parts: Parts) -> int:
    return len(parts.indptr) - 1


def _estimate(metric: Metric, chains: Parts, reference: Parts) -> Estimate:
    """Variances and biases of both sets add up; a reference of one part counts as exact."""
    own, other = (parts.sum(axis=0) / parts.sum() for parts in (chains, reference))
    value = float(metric(own[None], other)[0])
    variance, bias = _jackknife(metric, value, chains, other)
    if _count(reference) > 1:
        more = _jackknife(metric, value, reference, own)
        variance, bias = variance + more[0], bias + more[1]
    return Estimate(value, float(np.sqrt(variance)), value - bias)


def _jackknife(metric: Metric, value: float, parts: Parts, other: Shares) -> tuple[float, float]:
    """Variance (n − 1)/n Σ (θ₍ᵢ₎ − θ̄)² and bias (n − 1)(θ̄ − θ), where θ₍ᵢ₎ is without part i."""
    count, total = _count(parts), parts.sum(axis=0)
    if count < 2:
        return np.nan, np.nan
    step = max(1, DENSE // len(total))
    without = []
    for begin in range(0, count, step):
        left = total - parts[begin : begin + step].toarray()
        without.append(metric(left / left.sum(axis=1, keepdims=True), other))
    found = np.concatenate(without)
    variance = (count - 1) * float(np.mean((found - found.mean()) ** 2))
    return variance, (count - 1) * (float(found.mean()) - value)


def _js(many: Rows, one: Shares) -> Float[np.ndarray, "rows"]:
    mean = (many + one) / 2
    return (rel_entr(many, mean) + rel_entr(one, mean)).sum(axis=1) / 2


def _pmf(many: Rows, one: Shares, empty: float) -> Float[np.ndarray, "rows"]:
    difference = np.log(np.where(many > 0, many, empty)) - np.log(np.where(one > 0, one, empty))
    return ((many + one) / 2 * difference**2).sum(axis=1)
