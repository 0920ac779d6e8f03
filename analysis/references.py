"""What simulations are compared to, reduced once: then any number of them are, without its frames."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from .reduction import Blocks, Reduction, Totals, cells_of, merged, reduce
from .series import CoreSets, Series
from .statistics.cores import States
from .systems import System


@dataclass(frozen=True, eq=False)
class Reference:
    """Frames of a system in independent parts (trajectories, or blocks of them)."""

    system: System
    reductions: tuple[Reduction, ...]
    """One of each part."""
    totals: Totals
    ess: tuple[float, ...]
    """Independent frames that they are worth, by projection."""
    states: tuple[States, ...] = ()
    """Of the unbroken trajectories, by core sets, in order of time; none where that is not known."""
    spacing: float | None = None
    """Time between states (ps)."""

    @classmethod
    def of(
        cls,
        system: System,
        blocks: Blocks,
        sizes: Sequence[int],
        spacing: float | None = None,
        cores: CoreSets | None = None,
        trajectories: Sequence[int] = (),
    ) -> "Reference":
        """Of finite frames, in parts of these sizes, one after another.

        With `cores`, and the `spacing` (ps) of frames in order of time, kinetics can be compared as well.
        `trajectories` are the frames of each unbroken one, where parts are not these but blocks of them.
        Raises ValueError for no frames.
        """
        if not sum(sizes):
            raise ValueError(f"the reference of {system.name} has no frames")
        timed, lengths = cores if spacing is not None else None, trajectories or sizes
        series, begins, ends = Series(system, lengths, timed), np.cumsum([0, *lengths]), np.cumsum(sizes)
        parts: list[list[Reduction]] = [[] for _ in sizes]
        begin = 0
        for frames in blocks():
            numbers = np.arange(begin, begin + len(frames))
            part = np.searchsorted(ends, numbers, side="right")
            chain = np.searchsorted(begins, numbers, side="right") - 1
            series.add(frames, chain, numbers - begins[chain])
            for one in np.unique(part):
                own = frames[part == one]
                found = reduce(system, own, np.zeros(len(own), int), 1)
                parts[one] = [compacted(system, [*parts[one], found])]
            begin += len(frames)
        reductions = tuple(part[0] for part in parts if part)
        every = np.ones(len(lengths), bool)
        axes = series.mixing(every)
        return cls(
            system,
            reductions,
            Totals(system, reductions),
            tuple(float(np.min([axis.ess for axis in own.values()])) for own in axes),
            tuple(series.states(every)) if timed else (),
            spacing * series.state_stride if spacing is not None else None,
        )


def compacted(system: System, several: Sequence[Reduction]) -> Reduction:
    """One of the same parts, whose frames are those of all, with each bin once and in order."""
    one, cells = merged(several), cells_of(system)[1][-1]
    key, count = _summed(one.part * cells + one.cell, one.count)
    length, lengths = _summed(one.length, one.lengths)
    return Reduction(
        **{
            **vars(one),
            "part": key // cells,
            "cell": key % cells,
            "count": count,
            "length": length,
            "lengths": lengths,
        }
    )


def _summed(
    keys: Int[np.ndarray, "entries"], counts: Int[np.ndarray, "entries"]
) -> tuple[Int[np.ndarray, "bins"], Int[np.ndarray, "bins"]]:
    found, inverse = np.unique(keys, return_inverse=True)
    sums = np.zeros(len(found), np.int64)
    np.add.at(sums, inverse, counts)
    return found, sums
