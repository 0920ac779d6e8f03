"""The segments of a work that have arrived up to a step, and what of them is read when results are made."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...analysis.reduction import Reduction
from ...analysis.references import compacted
from ...analysis.series import Series
from ...analysis.transitions import cores_of
from .ledger import GIVEN_UP, Ledger
from .segments import Loss, Segment, Store, Summary
from .works import Work, lanes_of

TOGETHER = 16
"""Reductions of segments that are in memory before they are added up."""


@dataclass(frozen=True)
class Arrived:
    """The segments of a work that end at a step or before it."""

    work: Work
    until: int | None = None

    @cached_property
    def store(self) -> Store:
        """As it was when it was first asked for."""
        return Store(self.work.directory)

    @cached_property
    def lanes(self) -> dict[tuple[int, int], list[Segment]]:
        """Those of chains that advance together; none of them is empty."""
        kept = {
            chains: [segment for segment in lane if self.until is None or segment.end <= self.until]
            for chains, lane in self.store.lanes.items()
        }
        return {chains: lane for chains, lane in kept.items() if lane}

    @property
    def end(self) -> int:
        """The step that the farthest chains are at."""
        return max((lane[-1].end for lane in self.lanes.values()), default=0)

    @cached_property
    def given_up(self) -> dict[tuple[int, int], int]:
        """Chains whose next segment was given up, and the step where they stay."""
        failed = [line for line in Ledger(self.store).failures() if line["event"] == GIVEN_UP]
        found = {}
        for segment in filter(None, (Segment.of(line["segment"]) for line in failed)):
            own = self.store.lanes.get((segment.first, segment.count), ())
            stands = own[-1].end if own else 0
            if segment.begin == stands and (self.until is None or stands < self.until):
                found[segment.first, segment.count] = stands
        return found

    def frames(self, lane: Sequence[Segment]) -> int:
        """Of each of its chains."""
        return sum(len(self.work.frame_steps(segment)) for segment in lane)

    def summary(self) -> Summary:
        """Of all segments together."""
        kept = {segment for lane in self.lanes.values() for segment in lane}
        return sum((of for segment, of in Ledger(self.store).done().items() if segment in kept), Summary())

    def rounds(self) -> list[int]:
        """Steps that all chains have come to, but for those that were given up."""
        every = [lane for lane in lanes_of(self.work, self.store.lanes) if lane not in self.given_up]
        ends = [{segment.end for segment in self.lanes.get(lane, ())} for lane in every]
        return sorted(set.intersection(*ends)) if ends else []

    def reduced(self, ends: Sequence[int]) -> Iterator[list[Reduction]]:
        """What the frames of each lane add up to, up to each of these steps in turn."""
        begin, found = 0, dict[tuple[int, int], Reduction]()
        for end in ends:
            for chains, lane in self.lanes.items():
                new = [segment for segment in lane if begin < segment.end <= end]
                for place in range(0, len(new), TOGETHER):
                    several = [self.store.reduction(segment) for segment in new[place : place + TOGETHER]]
                    before = [found[chains]] if chains in found else []
                    found[chains] = compacted(self.work.system, before + several)
            yield [found[chains] for chains in self.lanes if chains in found]
            begin = end

    def missing_of_given_up(self) -> int:
        """Frames that the chains would have had which were given up."""
        end, count = self.end if self.until is None else self.until, 0
        for (first, chains), step in self.given_up.items():
            while (segment := self.work.following(first, chains, step)) and segment.end <= end:
                count, step = count + chains * len(self.work.frame_steps(segment)), segment.end
        return count

    def series(self) -> Series:
        """Points of all chains, lane after lane."""
        system, lengths = self.work.system, []
        for (_, count), lane in self.lanes.items():
            lengths += [self.frames(lane)] * count
        found, begin = Series(system, lengths, cores_of(system) if self.spacing else None), 0
        for (_, count), lane in self.lanes.items():
            before = 0
            for segment in lane:
                length, place = len(self.work.frame_steps(segment)), 0
                for frames in self.store.frames_of(segment, system):
                    chain, number = divmod(np.arange(place, place + len(frames)), length)
                    found.add(frames, begin + chain, before + number)
                    place += len(frames)
                before += length
            begin += count
        return found

    @cached_property
    def spacing(self) -> float | None:
        """Time between frames (ps); None of samples, which have no time."""
        for lane in self.lanes.values():
            for segment in lane:
                steps = self.work.frame_steps(segment)
                if len(steps) > 1 or (len(steps) and self.frames(lane) > 1):
                    return steps.step * self.work.timestep
        return None

    @cached_property
    def losses(self) -> list[Loss]:
        """Of chains, those that were given up after those that went bad; each is lost once."""
        found = [loss for lane in self.lanes.values() for one in lane for loss in self.store.losses(one)]
        gone = {loss.chain for loss in found}
        for (first, count), step in self.given_up.items():
            found += [
                Loss(chain, step, GIVEN_UP) for chain in range(first, first + count) if chain not in gone
            ]
        return found

    def lost(self) -> dict[str, int]:
        """Chains by why they were lost."""
        return dict(Counter(loss.reason for loss in self.losses))

    def frozen_steps(self) -> int:
        """Steps that were counted of chains which had been lost."""
        ends = {first: (count, lane[-1].end) for (first, count), lane in self.lanes.items()}
        found = 0
        for loss in self.losses:
            for first, (count, end) in ends.items():
                if first <= loss.chain < first + count and loss.reason != GIVEN_UP:
                    found += end - loss.step
        return found
