"""What remains of frames when they are counted: reductions of chunks, whose sums are those of the whole.

Metrics of any number of frames need no more: histograms on the bins of every projection, how those of
independent parts (chains, trajectories) spread, extremes, and lengths on bins so fine that the mean distance
of two distributions (W1) is exact to a thousandth of their width.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
from jaxtyping import Float, Int

from ..data.chirality import wrong_hand_at
from .metrics import Counts, Limits, Spread, bins_of, histogram_within, pmf_bins_of
from .observables import distances
from .projections import Frames
from .systems import System

BLOCK = 2**14
"""Frames that are in memory at a time."""
BOND_BIN, DISTANCE_BIN = 2.0**-15, 2.0**-13
"""Width in nm of the bins of bond lengths and of other distances. Where each set has a thousand frames, W1 is
wrong by less than a thousandth of their standard deviation, above 0.002 and 0.01 nm."""
_FAR = 2**40
"""Bins of a pair, and more than any length has."""

Row = Int[np.ndarray, "cells"]
"""Counts on the bins of all projections."""
Blocks = Callable[[], Iterator[Frames]]
"""Finite frames, a block at a time, as often as they are asked for."""


@dataclass(frozen=True)
class Reduction:
    """Of some frames of a system, in parts that are independent; only occupied bins are listed."""

    sizes: Int[np.ndarray, "parts"]
    """Finite frames of each part."""
    part: Int[np.ndarray, "entries"]
    cell: Int[np.ndarray, "entries"]
    """Place of the bin in the row of `Cells`."""
    count: Int[np.ndarray, "entries"]
    low: Float[np.ndarray, "axes"]
    """Least point along each axis of all projections, in the type of the points, whose rounding bins feel."""
    high: Float[np.ndarray, "axes"]
    length: Int[np.ndarray, "lengths"]
    """Bins of lengths: the number of the pair times `_FAR`, and the bin."""
    lengths: Int[np.ndarray, "lengths"]
    """How often."""
    moments: Float[np.ndarray, "2 pairs"]
    """Sums of the lengths and of their squares."""
    wrong_hands: Int[np.ndarray, "hands"]
    mirror_images: int
    """Frames with at least one wrong hand."""
    phi_positive: int


class Cells:
    """The bins of all projections of a system in one row: those of JS, of JS beyond the limits, of PMF."""

    def __init__(self, system: System):
        self._grids = [projection.grid for projection in system.projections]
        shapes = [grid.shape(n) for grid in self._grids for n in (grid.js_bins, grid.js_bins, grid.pmf_bins)]
        ends = [*accumulate((int(np.prod(shape)) for shape in shapes), initial=0)]
        self.count = ends[-1]
        self._shapes, self.begins = shapes, ends[:-1]

    def js(self, row: Row, projection: int, inside: bool = False) -> Counts:
        """The histogram of a projection on the bins of JS; what lies `inside` the limits alone."""
        found = self._of(row, 3 * projection)
        return found - self._of(row, 3 * projection + 1) if inside else found

    def pmf(self, row: Row, projection: int) -> Counts:
        """The histogram on the bins of the PMF error."""
        return self._of(row, 3 * projection + 2)

    def _of(self, row: Row, place: int) -> Counts:
        begin, shape = self.begins[place], self._shapes[place]
        return row[begin : begin + int(np.prod(shape))].reshape(shape)

    def places(
        self, points: Sequence[np.ndarray]
    ) -> Iterator[tuple[Int[np.ndarray, "n"], np.ndarray | slice]]:
        """Of the points on every projection: cells, and which of the points they are of."""
        for number, (grid, those) in enumerate(zip(self._grids, points, strict=True)):
            js, outside, pmf = self.begins[3 * number : 3 * number + 3]
            bins, (low, high) = bins_of(those, grid), np.transpose(grid.limits)
            beyond = ((those < low) | (those > high)).any(axis=1)
            yield js + bins, slice(None)
            yield outside + bins[beyond], beyond
            yield pmf + pmf_bins_of(those, grid), slice(None)


def reduce(system: System, frames: Frames, part: Int[np.ndarray, "frames"]) -> Reduction:
    """Count frames of a system, each of a part by its number from 0; what is not finite is left out."""
    finite = system.finite(frames)
    kept, of = frames[finite], part[finite]
    points, cells = [projection(kept) for projection in system.projections], Cells(system)
    entries = [_counted(of[chosen] * cells.count + cell) for cell, chosen in cells.places(points)]
    key, count = (np.concatenate(arrays) for arrays in zip(*entries, strict=True))
    lengths = np.zeros((len(kept), len(system.pairs)))
    for number, (_, pair) in enumerate(system.pairs):
        lengths[:, number] = distances(kept, np.array([pair]))[:, 0]
    wrong = np.zeros((len(kept), len(system.hands)), bool)
    for number, (_, centre) in enumerate(system.hands):
        wrong[:, number] = wrong_hand_at(np.array([centre]), kept)[:, 0]
    length, often = _counted(_bins_of_lengths(system, lengths))
    return Reduction(
        sizes=np.bincount(of, minlength=int(part.max(initial=-1)) + 1),
        part=key // cells.count,
        cell=key % cells.count,
        count=count,
        low=np.concatenate([those.min(axis=0, initial=np.inf) for those in points]),
        high=np.concatenate([those.max(axis=0, initial=-np.inf) for those in points]),
        length=length,
        lengths=often,
        moments=np.stack([lengths.sum(axis=0), (lengths**2).sum(axis=0)]),
        wrong_hands=wrong.sum(axis=0),
        mirror_images=int(wrong.any(axis=1).sum()),
        phi_positive=int((system.phi(kept) > 0).sum()),
    )


def _counted(keys: Int[np.ndarray, "n"]) -> tuple[Int[np.ndarray, "m"], Int[np.ndarray, "m"]]:
    return np.unique(keys, return_counts=True)


def _bins_of_lengths(system: System, lengths: Float[np.ndarray, "n pairs"]) -> Int[np.ndarray, "entries"]:
    bins = np.minimum(lengths / _widths(system), _FAR - 1).astype(np.int64)
    return (bins + _FAR * np.arange(lengths.shape[1])).ravel()


def _widths(system: System) -> Float[np.ndarray, "pairs"]:
    return np.repeat([BOND_BIN, DISTANCE_BIN], [len(system.bonds), len(system.far_pairs)])


class Totals:
    """The sum of reductions, which come in the order of their parts."""

    def __init__(self, system: System, draws: Int[np.ndarray, "draws parts"] | None = None):
        self.system, self.cells = system, Cells(system)
        self._draws = np.zeros((0, 0), int) if draws is None else draws
        """How often each part counts in each of some draws of parts."""
        self._counts, self._squares, self._products, self._last = np.zeros((4, self.cells.count), np.int64)
        self.drawn = np.zeros((len(self._draws), self.cells.count), np.int64)
        self._begun = self._occupied = self._last_size = self.frames = self._squared_frames = 0
        # Of the least exact type, so that theirs stays.
        self.low, self.high = np.array(np.inf, np.float32), np.array(-np.inf, np.float32)
        self._length, self._lengths = np.zeros((2, 0), np.int64)
        self.moments, self.wrong_hands = np.zeros((2, 1)), np.zeros(1, np.int64)
        self.mirror_images = self.phi_positive = 0

    def add(self, one: Reduction, goes_on: bool = False) -> "Totals":
        """With one more; its first part `goes_on` from the last one of those before."""
        self._begun -= goes_on
        last, size = (self._last, self._last_size) if goes_on else (np.zeros_like(self._last), 0)
        sizes, counts = one.sizes.copy(), one.count
        # (a + b)² is what the whole part adds, and a² is there.
        before = np.where(one.part == 0, last[one.cell], 0)
        self._add(self._counts, one.cell, counts)
        self._add(self._squares, one.cell, counts * (counts + 2 * before))
        self._add(self._products, one.cell, counts * (sizes[one.part] + np.where(one.part == 0, size, 0)))
        self._products += sizes[0] * last
        self.frames += int(sizes.sum())
        self._squared_frames += int((sizes**2).sum() + 2 * sizes[0] * size)
        self._occupied += int(np.count_nonzero(sizes)) - bool(sizes[0] and size)
        for draw, times in zip(self.drawn, self._draws, strict=True):
            self._add(draw, one.cell, counts * times[self._begun + one.part])
        ends = one.part == len(sizes) - 1
        self._last = last.copy() if len(sizes) == 1 else np.zeros_like(last)
        self._add(self._last, one.cell[ends], counts[ends])
        self._last_size = int(sizes[-1]) + (size if len(sizes) == 1 else 0)
        self._begun += len(sizes)
        self.low, self.high = np.minimum(self.low, one.low), np.maximum(self.high, one.high)
        keys = np.concatenate([self._length, one.length])
        self._length, inverse = np.unique(keys, return_inverse=True)
        weights = np.concatenate([self._lengths, one.lengths])
        self._lengths = np.bincount(inverse, weights, minlength=len(self._length)).astype(np.int64)
        self.moments = self.moments + one.moments
        self.wrong_hands = self.wrong_hands + one.wrong_hands
        self.mirror_images += one.mirror_images
        self.phi_positive += one.phi_positive
        return self

    def _add(self, row: Row, cell: Int[np.ndarray, "n"], count: Int[np.ndarray, "n"]) -> None:
        # Whole numbers below 2⁵³ are exact as weights.
        row += np.bincount(cell, count, minlength=len(row)).astype(np.int64)

    def js(self, projection: int, inside: bool = False) -> Counts:
        """The histogram of a projection on the bins of JS; what lies `inside` the limits alone."""
        return self.cells.js(self._counts, projection, inside)

    def shown(self) -> Counts:
        """Of the projection that stands for all, what lies inside its limits, on the bins of JS."""
        return self.js(self.system.projections.index(self.system.shown), inside=True)

    def pmf(self, projection: int) -> Counts:
        """The histogram of a projection on the bins of the PMF error."""
        return self.cells.pmf(self._counts, projection)

    def spread(self, projection: int) -> Spread:
        """How the parts spread on the bins of JS."""
        counts, squares, products = (
            self.cells.js(row, projection) for row in (self._counts, self._squares, self._products)
        )
        return Spread(counts, squares, products, self.frames, self._squared_frames, self._occupied)

    def extremes(self, projection: int) -> Limits:
        """Least and greatest point along each axis of a projection."""
        axes = [len(each.grid.limits) for each in self.system.projections]
        place = slice(sum(axes[:projection]), sum(axes[: projection + 1]))
        return np.stack([self.low[place], self.high[place]], axis=1)

    def mean_and_spread(self, pair: int) -> tuple[float, float]:
        """Mean and standard deviation (nm) of a length, by the place of its pair among all."""
        mean, square = self.moments[:, pair] / self.frames
        return float(mean), float(np.sqrt(max(square - mean**2, 0)))

    def lengths(self, pair: int) -> tuple[Int[np.ndarray, "bins"], Int[np.ndarray, "bins"]]:
        """Occupied bins of a length, in their order, and how often each is."""
        begin, end = np.searchsorted(self._length, [pair * _FAR, (pair + 1) * _FAR])
        return self._length[begin:end] % _FAR, self._lengths[begin:end]


def wasserstein(first: Totals, second: Totals, pair: int) -> float:
    """W1 (nm) of a length in two sets, as if the frames of a bin were spread over it evenly."""
    (places, counts), (others, other_counts) = first.lengths(pair), second.lengths(pair)
    bins, inverse = np.unique(np.concatenate([places, others]), return_inverse=True)
    weights = np.concatenate([counts / first.frames, -other_counts / second.frames])
    after = np.cumsum(np.bincount(inverse, weights))
    before = np.concatenate([[0.0], after[:-1]])
    # Within a bin the difference of both distributions runs from `before` to `after`, and may cross zero.
    both = np.abs(before) + np.abs(after)
    crossing = before * after < 0
    within = np.where(crossing, (before**2 + after**2) / np.where(both > 0, both, 1), both) / 2
    gaps = np.diff(bins) - 1
    return float(_widths(first.system)[pair] * (within.sum() + (gaps * np.abs(after[:-1])).sum()))


@dataclass(frozen=True, eq=False)
class FrameSet:
    """Frames of a system that need not be held: what they add up to, and the finite ones again, in blocks."""

    totals: Totals
    blocks: Blocks

    def within(self, limits: Sequence[Limits]) -> list[Counts]:
        """Histograms between these limits, of every projection."""
        projections = self.totals.system.projections
        found = [np.zeros(each.grid.shape(each.grid.js_bins), int) for each in projections]
        for frames in self.blocks():
            for counts, projection, between in zip(found, projections, limits, strict=True):
                counts += histogram_within(projection(frames), between, projection.grid)
        return found

    def some(self, numbers: Int[np.ndarray, "some"]) -> "FrameSet":
        """The frames of these numbers, in one part; of their totals the histograms alone."""
        chosen = np.zeros(self.totals.frames, bool)
        chosen[numbers] = True

        def blocks() -> Iterator[Frames]:
            begin = 0
            for frames in self.blocks():
                yield frames[chosen[begin : begin + len(frames)]]
                begin += len(frames)

        return in_parts(replace(self.totals.system, bonds=(), far_pairs=(), hands=()), blocks, [len(numbers)])


def in_parts(system: System, blocks: Blocks, sizes: Sequence[int]) -> FrameSet:
    """A set of finite frames that consists of parts of these sizes, one after another."""
    totals, ends, begin, last = Totals(system), np.cumsum(sizes), 0, -1
    for frames in blocks():
        if len(frames):
            part = np.searchsorted(ends, np.arange(begin, begin + len(frames)), side="right")
            totals.add(reduce(system, frames, part - part[0]), goes_on=bool(part[0] == last))
            begin, last = begin + len(frames), part[-1]
    return FrameSet(totals, blocks)


def held(system: System, frames: Frames) -> FrameSet:
    """A set of finite frames that are in memory, as one part."""
    starts = range(0, len(frames), BLOCK)
    return in_parts(system, lambda: (frames[begin : begin + BLOCK] for begin in starts), [len(frames)])


def draws_of(parts: int, draws: int) -> Int[np.ndarray, "draws parts"]:
    """How often each part is drawn, in each of some draws of as many parts as there are."""
    random = np.random.default_rng(0)
    return np.stack([np.bincount(random.integers(parts, size=parts), minlength=parts) for _ in range(draws)])
