"""What remains of frames when they are counted: reductions of segments, whose sums are those of the whole.

Metrics of any number of frames need no more: histograms on the bins of every projection, how those of
independent parts (chains, trajectories) spread, extremes, and lengths on bins so fine that the mean distance
of two distributions (W1) is exact to a thousandth of their width.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array

from ..data.molecules.chirality import wrong_hand
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

Blocks = Callable[[], Iterator[Frames]]
"""Finite frames, a block at a time, as often as they are asked for."""


@dataclass(frozen=True)
class Reduction:
    """Of some frames of a system, in independent parts; only occupied bins are listed, some of them twice."""

    parts: int
    part: Int[np.ndarray, "entries"]
    cell: Int[np.ndarray, "entries"]
    """Place of the bin in the row of `cells_of`."""
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


def cells_of(system: System) -> tuple[list[tuple[int, ...]], list[int]]:
    """One row for all histograms: of each projection that of JS, what of it lies beyond the limits, PMF's.

    Their shapes, and where each begins and the last one ends.
    """
    grids = [projection.grid for projection in system.projections]
    shapes = [grid.shape(bins) for grid in grids for bins in (grid.js_bins, grid.js_bins, grid.pmf_bins)]
    return shapes, [*accumulate((int(np.prod(shape)) for shape in shapes), initial=0)]


def reduce(system: System, frames: Frames, part: Int[np.ndarray, "frames"], parts: int) -> Reduction:
    """Count frames of a system, each of a part by its number from 0; what is not finite is left out."""
    finite, (_, begins) = system.finite(frames), cells_of(system)
    kept, of = frames[finite], part[finite]
    low, high, keys = [], [], []
    for number, projection in enumerate(system.projections):
        points, grid = projection(kept), projection.grid
        low.append(points.min(axis=0, initial=np.inf))
        high.append(points.max(axis=0, initial=-np.inf))
        least, most = np.transpose(grid.limits)
        beyond = ((points < least) | (points > most)).any(axis=1)
        js, outside, pmf = (of * begins[-1] + begin for begin in begins[3 * number : 3 * number + 3])
        bins = bins_of(points, grid)
        rows = js + bins, (outside + bins)[beyond], pmf + pmf_bins_of(points, grid)
        keys += [np.unique(row, return_counts=True) for row in rows]
    key, count = (np.concatenate(arrays) for arrays in zip(*keys, strict=True))
    lengths, wrong = np.zeros((len(kept), len(system.pairs))), np.zeros((len(kept), len(system.hands)), bool)
    for number, (_, pair) in enumerate(system.pairs):
        lengths[:, number] = distances(kept, [pair])[:, 0]
    for number, (_, centre) in enumerate(system.hands):
        wrong[:, number] = wrong_hand(np.array([centre]), kept)[:, 0]
    bins = np.minimum(lengths / _widths(system), _FAR - 1).astype(np.int64)
    length, often = np.unique(bins + _FAR * np.arange(len(system.pairs)), return_counts=True)
    return Reduction(
        parts=parts,
        part=key // begins[-1],
        cell=key % begins[-1],
        count=count,
        low=np.concatenate(low),
        high=np.concatenate(high),
        length=length,
        lengths=often,
        moments=np.stack([lengths.sum(axis=0), (lengths**2).sum(axis=0)]),
        wrong_hands=wrong.sum(axis=0),
        mirror_images=int(wrong.any(axis=1).sum()),
        phi_positive=int((system.phi(kept) > 0).sum()),
    )


def merged(several: Sequence[Reduction]) -> Reduction:
    """One of the same parts, whose frames are those of all."""

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(one, name) for one in several])

    return Reduction(
        parts=several[0].parts,
        low=np.min([one.low for one in several], axis=0),
        high=np.max([one.high for one in several], axis=0),
        moments=np.sum([one.moments for one in several], axis=0),
        wrong_hands=np.sum([one.wrong_hands for one in several], axis=0),
        mirror_images=sum(one.mirror_images for one in several),
        phi_positive=sum(one.phi_positive for one in several),
        **{name: joined(name) for name in ("part", "cell", "count", "length", "lengths")},
    )


def _widths(system: System) -> Float[np.ndarray, "pairs"]:
    return np.repeat([BOND_BIN, DISTANCE_BIN], [len(system.bonds), len(system.far_pairs)])


def width_of(system: System, pair: int) -> float:
    """Of the bins (nm) of a length, by the place of its pair among all."""
    return float(_widths(system)[pair])


def lengths_of(reduction: Reduction, pair: int) -> tuple[Int[np.ndarray, "bins"], Int[np.ndarray, "bins"]]:
    """Occupied bins of a length, in their order, and how often each is."""
    begin, end = np.searchsorted(reduction.length, [pair * _FAR, (pair + 1) * _FAR])
    return reduction.length[begin:end] % _FAR, reduction.lengths[begin:end]


class Totals:
    """What the reductions of a set add up to; lists have an entry for each projection of the system."""

    def __init__(
        self,
        system: System,
        reductions: Iterable[Reduction],
        draws: Int[np.ndarray, "draws parts"] | None = None,
        alike: bool = False,
    ):
        """All reductions are of the same parts where they are `alike`; otherwise each has parts of its own.

        `draws` say how often each part counts in each of some draws of parts.
        """
        self.system, self._draws, self._begun = system, draws, 0
        count, (_, ends) = 0 if draws is None else len(draws), cells_of(system)
        self._rows, self._sizes, common = np.zeros((3 + count, ends[-1]), int), np.zeros(3, int), None
        axes = sum(len(projection.grid.limits) for projection in system.projections)
        low, high = np.full((2, axes), [[np.inf], [-np.inf]], np.float32)  # Of more digits they get them.
        self.moments, self.wrong_hands = np.zeros((2, len(system.pairs))), np.zeros(len(system.hands), int)
        self._lengths = csr_array((1, max(1, len(system.pairs)) * _FAR), dtype=int)
        self.mirror_images = self.phi_positive = 0
        for one in reductions:
            matrix = csr_array((one.count, (one.part, one.cell)), shape=(one.parts, ends[-1]))
            if alike:
                common = matrix if common is None else common + matrix
            else:
                self._add(matrix)
            low, high = np.minimum(low, one.low), np.maximum(high, one.high)
            place = np.zeros_like(one.length), one.length
            more = csr_array((one.lengths, place), shape=self._lengths.shape)
            self._lengths = csr_array(self._lengths + more)
            self.moments, self.wrong_hands = self.moments + one.moments, self.wrong_hands + one.wrong_hands
            self.mirror_images += one.mirror_images
            self.phi_positive += one.phi_positive
        if common is not None:
            self._add(common)
        self._split(np.stack([low, high], axis=1))

    def _add(self, matrix: csr_array) -> None:
        """Add histograms of parts, of which the first has all frames."""
        own = matrix[:, : cells_of(self.system)[1][1]].sum(axis=1)
        self._sizes += own.sum(), (own**2).sum(), np.count_nonzero(own)
        self._rows[0] += matrix.sum(axis=0)
        self._rows[1] += matrix.power(2).sum(axis=0)
        self._rows[2] += matrix.T @ own
        if self._draws is not None:
            self._rows[3:] += (matrix.T @ self._draws[:, self._begun : self._begun + len(own)].T).T
        self._begun += len(own)

    def _split(self, extremes: Float[np.ndarray, "axes 2"]) -> None:
        """Into what belongs to each projection."""
        shapes, ends = cells_of(self.system)
        rows, sizes = self._rows, [*map(int, self._sizes)]
        parts = [
            rows[:, a:b].reshape(len(rows), *s) for (a, b), s in zip(pairwise(ends), shapes, strict=True)
        ]
        js, outside, pmf = parts[::3], parts[1::3], parts[2::3]
        self.frames = sizes[0]
        self.js, self.pmf = [each[0] for each in js], [each[0] for each in pmf]
        self.inside = [all_of[0] - beyond[0] for all_of, beyond in zip(js, outside, strict=True)]
        self.spreads = [Spread(*each[:3], *sizes) for each in js]
        self.drawn = [(one[3:], other[3:]) for one, other in zip(js, pmf, strict=True)]
        axes = [len(projection.grid.limits) for projection in self.system.projections]
        self.extremes: list[Limits] = np.split(extremes, np.cumsum(axes)[:-1])

    @property
    def shown(self) -> Counts:
        """Of the projection that stands for all, what lies within its limits."""
        return self.inside[self.system.projections.index(self.system.shown)]

    def mean_and_spread(self, pair: int) -> tuple[float, float]:
        """Mean and standard deviation (nm) of a length, by the place of its pair among all."""
        mean, square = self.moments[:, pair] / self.frames
        return float(mean), float(np.sqrt(max(square - mean**2, 0)))

    def lengths(self, pair: int) -> tuple[Int[np.ndarray, "bins"], Int[np.ndarray, "bins"]]:
        """Occupied bins of a length, in their order, and how often each is."""
        begin, end = np.searchsorted(self._lengths.indices, [pair * _FAR, (pair + 1) * _FAR])
        return self._lengths.indices[begin:end] % _FAR, self._lengths.data[begin:end]


def wasserstein(first: Totals, second: Totals, pair: int) -> float:
    """W1 (nm) of a length in two sets, as if the frames of a bin were spread over it evenly."""
    (places, counts), (others, other_counts) = first.lengths(pair), second.lengths(pair)
    bins, inverse = np.unique(np.concatenate([places, others]), return_inverse=True)
    weights = np.concatenate([counts / first.frames, -other_counts / second.frames])
    width = width_of(first.system, pair)
    return float(width * wasserstein_in_bins(bins, np.bincount(inverse, weights)))


def wasserstein_in_bins(
    bins: Int[np.ndarray, "bins"], difference: Float[np.ndarray, "*sets bins"]
) -> Float[np.ndarray, "*sets"]:
    """W1, in widths of a bin, of two distributions by how much their shares of these bins differ."""
    after = np.cumsum(difference, axis=-1)
    before = np.concatenate([np.zeros_like(after[..., :1]), after[..., :-1]], axis=-1)
    # Within a bin the difference of both distributions runs from `before` to `after`, and may cross zero.
    both = np.abs(before) + np.abs(after)
    crossing = before * after < 0
    within = np.where(crossing, (before**2 + after**2) / np.where(both > 0, both, 1), both) / 2
    gaps = np.diff(bins) - 1
    return np.asarray(within.sum(axis=-1) + (gaps * np.abs(after[..., :-1])).sum(axis=-1))


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

        bare = replace(self.totals.system, bonds=(), far_pairs=(), hands=())
        return in_parts(bare, blocks, [len(numbers)])


def in_parts(system: System, blocks: Blocks, sizes: Sequence[int], draws: int = 0) -> FrameSet:
    """A set of finite frames that consists of parts of these sizes, one after another.

    With `draws`, the sums of so many draws of whole parts as well, where there are several parts.
    """

    def reductions() -> Iterator[Reduction]:
        ends, begin = np.cumsum(sizes), 0
        for frames in blocks():
            part = np.searchsorted(ends, np.arange(begin, begin + len(frames)), side="right")
            yield reduce(system, frames, part, len(sizes))
            begin += len(frames)

    drawn = draws_of(len(sizes), draws) if draws and len(sizes) > 1 else None
    return FrameSet(Totals(system, reductions(), drawn, alike=True), blocks)


def held(system: System, frames: Frames) -> FrameSet:
    """A set of finite frames that are in memory, as one part."""
    starts = range(0, len(frames), BLOCK)
    return in_parts(system, lambda: (frames[begin : begin + BLOCK] for begin in starts), [len(frames)])


def draws_of(parts: int, draws: int) -> Int[np.ndarray, "draws parts"]:
    """How often each part is drawn, in each of some draws of as many parts as there are."""
    random = np.random.default_rng(0)
    return np.stack([np.bincount(random.integers(parts, size=parts), minlength=parts) for _ in range(draws)])
