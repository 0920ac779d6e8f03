"""What projections of chains are in order of time, as far as memory allows, and whether the chains agree.

R̂ and the effective sample size need all chains at once. Frames are projected a block at a time, and of very
long or very many chains every so many-th frame is kept alone: what is left out can only make them seem worth
less.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from .campaign_results import Mixing
from .projections import Frames
from .statistics.convergence import LEAST_DRAWS, Convergence, convergence, nested_convergence
from .statistics.cores import NONE, States, Values, milestones
from .systems import System

MOST_DRAWS, MOST_NUMBERS = 2**22, 2**26
"""Frames of all chains together that are kept, and numbers of all their axes, of four bytes each."""
MOST_STATES = 2**25
"""Frames of which it is kept in which core they are."""
MANY_CHAINS, SUPERCHAINS = 64, 16
"""From so many chains on they are too short to agree one by one, and are put together into so many."""


@dataclass(frozen=True)
class CoreSets:
    """Metastable states of a system, along the projection that stands for all."""

    names: tuple[str, ...]
    find: Callable[[Values], Int[np.ndarray, "frames"]]
    """The state of points, −1 between them."""


def stride_for(frames: int, axes: int) -> int:
    """Every how many-th frame is kept of so many."""
    return max(1, -(-frames // MOST_DRAWS), -(-frames * axes // MOST_NUMBERS))


class Series:
    """Points of chains on all axes of a system, filled in a block at a time."""

    def __init__(self, system: System, lengths: Sequence[int], cores: CoreSets | None = None):
        """For chains of these numbers of frames; with `cores`, which of them each frame is in as well."""
        self.system, self._cores = system, cores
        axes = sum(len(projection.grid.limits) for projection in system.projections)
        self.stride = stride_for(sum(lengths), axes)
        self._begins = np.cumsum([0, *(-(-length // self.stride) for length in lengths)])
        self._points = np.full((self._begins[-1], axes), np.nan, np.float32)
        self.state_stride = max(1, -(-sum(lengths) // MOST_STATES))
        self._ends = np.cumsum([0, *(-(-length // self.state_stride) for length in lengths)])
        self._inside = np.full(self._ends[-1] if cores else 0, NONE, np.int8)

    def add(
        self, frames: Frames, chain: Int[np.ndarray, "frames"], number: Int[np.ndarray, "frames"]
    ) -> None:
        """Frames of chains, and their numbers in them; those that are not finite are left out."""
        finite = self.system.finite(frames)
        frames, chain, number = frames[finite], chain[finite], number[finite]
        if self._cores:
            seen = number % self.state_stride == 0
            places = self._ends[chain[seen]] + number[seen] // self.state_stride
            self._inside[places] = self._cores.find(self.system.shown(frames[seen]))
        kept = number % self.stride == 0
        points = [projection(frames[kept]) for projection in self.system.projections]
        self._points[self._begins[chain[kept]] + number[kept] // self.stride] = np.concatenate(points, axis=1)

    def states(self, unbroken: Bool[np.ndarray, "chains"]) -> list[States]:
        """The core that each unbroken chain visited last, at every `state_stride`-th frame."""
        ends = self._ends
        chains = [self._inside[ends[i] : ends[i + 1]] for i in np.flatnonzero(unbroken)]
        return [milestones(chain[:, None].astype(float), _first) for chain in chains]

    def mixing(self, unbroken: Bool[np.ndarray, "chains"]) -> list[dict[str, Mixing]]:
        """By projection and label of its axes; not a number where there is nothing to compare.

        Of chains that differ in length, as while a campaign runs, those count that together have the most
        frames of one length.
        """
        draws, found, axis = self._of_one_length(unbroken), [], 0
        for projection in self.system.projections:
            own = {}
            for label in projection.grid.labels:
                own[label] = mixing_of(draws[:, :, axis], projection.grid.periodic)
                axis += 1
            found.append(own)
        return found

    def _of_one_length(self, unbroken: Bool[np.ndarray, "chains"]) -> Float[np.ndarray, "kept draws axes"]:
        lengths = np.where(unbroken, np.diff(self._begins), 0)
        longest = np.sort(lengths)[::-1]
        together = longest * np.arange(1, len(longest) + 1)
        length = int(longest[np.argmax(together)]) if len(longest) else 0
        chosen = np.flatnonzero(lengths >= max(length, 1))
        rows = [self._points[begin : begin + length] for begin in self._begins[chosen]]
        return np.stack(rows) if rows else self._points[:0].reshape(0, 0, self._points.shape[1])


def mixing_of(draws: Float[np.ndarray, "chains draws"], periodic: bool) -> Mixing:
    """Whether chains agree on an axis, and what they are worth; single frames count as independent ones.

    Superchains of nested R̂ are chains that began near one another: chains that have not forgotten where they
    began differ as much as their superchains. Put together by chance, chains that never leave their place
    would agree. The first frame, by which they are sorted, is not compared.
    """
    chains, length = draws.shape
    if not draws.size:
        return Mixing.of(Convergence(np.nan, np.nan, chains, length))
    if length == 1:
        return Mixing.of(Convergence(np.nan, float(chains), chains, 1))
    found, nested = convergence(draws, periodic), np.nan
    if chains >= MANY_CHAINS and length > LEAST_DRAWS:
        superchains = np.empty(chains, int)
        superchains[np.argsort(draws[:, 0], kind="stable")] = np.arange(chains) * SUPERCHAINS // chains
        nested = nested_convergence(draws[:, 1:], superchains, periodic).rhat
    return Mixing.of(found, nested)


def _first(values: Values) -> Int[np.ndarray, "frames"]:
    return values[:, 0].astype(int)
