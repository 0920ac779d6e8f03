"""What a report shows of a run beside its metrics: molecules that move, convergence, and chains that failed.

Frames are read a block at a time; of those that are shown a few are kept.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from ...analysis.campaign_results import Course
from ...analysis.projections import Frames
from ...analysis.report.view import CHAIN, SAMPLES, View
from ..campaigns.arrived import Arrived
from ..campaigns.assessment import course_of, reference_of
from ..campaigns.segments import Loss, Store
from ..campaigns.works import Work
from .chosen import Chosen


@dataclass(frozen=True)
class Gallery:
    """By system, but for the views, of which each names its own."""

    views: Sequence[View] = ()
    courses: Mapping[str, Course] = field(default_factory=dict)
    """Mean JS over simulated time, where there is more than one point of it."""
    losses: Mapping[str, Sequence[Loss]] = field(default_factory=dict)
    """Chains that failed."""

    @classmethod
    def of(cls, chosen: Chosen) -> "Gallery":
        """Of samples and a simulation that are complete. FileError for a segment that is damaged."""
        pairs = [*zip(chosen.sampling, chosen.simulated, strict=True)]
        arrived = [Arrived(simulation) for _, simulation in pairs]
        courses = {one.work.system.name: _course(chosen, one) for one in arrived}
        losses = {one.work.system.name: one.losses for one in arrived}
        views = [view for sampling, simulation in pairs if (view := _view(sampling, simulation))]
        return cls(
            views,
            {name: course for name, course in courses.items() if len(course.time) > 1},
            {name: lost for name, lost in losses.items() if lost},
        )


def _course(chosen: Chosen, simulation: Arrived) -> Course:
    run = chosen.run
    reference = reference_of(run.data.absolute(), run.split, simulation.work.system)
    return course_of(simulation, reference)[0]


def _view(sampling: Work, simulation: Work) -> View | None:
    """Of a molecule, the first samples and a chain; None without a frame to be shown, and of a toy."""
    system = simulation.system
    if system.beads is None:
        return None
    chain, stride = _chain(simulation)
    blocks = (frames[:SAMPLES] for frames in Store(sampling.directory).blocks(system))
    samples = np.array([*islice((frame for frames in blocks for frame in frames), SAMPLES)])
    if not len(samples) or not len(chain):
        return None
    return View(system.name, system.beads, samples, chain, stride * (Arrived(simulation).spacing or 0.0))


def _chain(work: Work) -> tuple[Frames, int]:
    """Frames of the first chain that was not lost, or of the first one, and every how many-th they are."""
    store, system = Store(work.directory), work.system
    lane = next(iter(store.lanes.values()))
    lost = {loss.chain for segment in lane for loss in store.losses(segment)}
    number = next((n for n in range(lane[0].count) if lane[0].first + n not in lost), 0)
    lengths = [len(work.frame_steps(segment)) for segment in lane]
    stride = max(1, sum(lengths) // CHAIN)
    kept, skipped = [], 0
    for segment, length in zip(lane, lengths, strict=True):
        own = range(number * length + skipped, (number + 1) * length, stride)
        kept += _numbered(store.frames_of(segment, system), own)
        skipped = (skipped - length) % stride
    frames = np.array(kept).reshape(-1, *system.shape)
    return frames[system.finite(frames)], stride


def _numbered(blocks: Iterable[Frames], numbers: range) -> Iterator[Frames]:
    """The frames of these numbers; blocks after the last of them are not read."""
    begin = 0
    for frames in blocks:
        if begin >= numbers.stop:
            return
        yield from (frames[n - begin] for n in numbers if begin <= n < begin + len(frames))
        begin += len(frames)
