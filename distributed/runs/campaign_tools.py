"""What people ask of a campaign, while it runs and afterwards: how far it is, what was lost, its files."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import ray

from ...analysis.campaign_results import CampaignResult
from ...analysis.report.campaign import kinetics_table, table
from ...data import trajectories
from ...data.errors import FokkerError
from ...data.files import FileError, replacing
from ...model.config import START_WORDS
from .. import tasks
from ..campaigns import pool
from ..campaigns.ledger import Ledger
from ..campaigns.pool import Tally
from ..campaigns.segments import Made, Segment, State, Store, Summary
from ..campaigns.works import Simulation
from ..cluster import joining
from ..config import ClusterConfig
from .campaign import Campaign, Replicas
from .config import ConfigError
from .display import Display, clock, size


def missing_of(campaign: Campaign) -> list[tuple[str, Tally]]:
    """By the names of its works, how much is done and how much is to be done."""
    return [(campaign.name_of(work), pool.tally(work)) for work in campaign.works]


def verify(campaign: Campaign, count: int, seed: int) -> list[tuple[str, str, bool]]:
    """Compute some segments again, drawn at random: name, segment, and whether the bits are the same.

    On the cluster of RAY_ADDRESS, or one of its own. ConfigError if replicas would begin elsewhere.
    """
    there = [(work, segment) for work, store in _stores(campaign) for segment in store.segments]
    campaign.require_same_data()
    joining.connect(ClusterConfig())
    chosen = np.random.default_rng(seed).choice(len(there), min(count, len(there)), replace=False)
    picked = [there[index] for index in sorted(chosen)]
    same: Any = ray.get([tasks.submit(is_the_same, work, segment) for work, segment in picked])
    return [
        (campaign.name_of(work), segment.name.removesuffix(".npz"), bool(one))
        for (work, segment), one in zip(picked, same, strict=True)
    ]


def _stores(campaign: Campaign) -> list[tuple[Replicas, Store]]:
    """Of all works. FokkerError if none has a segment."""
    found = [(work, Store(work.directory)) for work in campaign.works]
    if not any(store.segments for _, store in found):
        raise FokkerError(f"{campaign.directory} has no segments yet: fokker campaign run computes them")
    return found


def is_the_same(work: Simulation, segment: Segment) -> bool:
    """Whether a segment that is computed again has the bits of the one on disk; for a Ray task."""
    store = Store(work.directory)
    made: Made = work.compute(segment, before_of(store, segment))
    # Of what lies there, as who changed it need not have changed the hash beside it.
    none = np.zeros((0, *work.system.shape), np.float32)
    frames = np.concatenate([none, *store.frames_of(segment, work.system)])
    there = replace(made, trajectories=frames, end=made.end and store.state(segment))
    return store.digest_of(made) == store.digest_of(there) == store.digest(segment)


def before_of(store: Store, segment: Segment) -> State | None:
    """Where the chains of a segment stand at its start; None at their own.

    FileError if the segment before it is gone.
    """
    if segment.begin == 0:
        return None
    lane = store.lanes.get((segment.first, segment.count), ())
    for one in lane:
        if one.end == segment.begin:
            return store.state(one)
    raise FileError(f"{store.path(segment)}: the segment before it is gone: fokker campaign run computes it")


@dataclass(frozen=True)
class Failure:
    """A replica that was lost, or a segment that was given up."""

    name: str
    work: Replicas
    line: dict[str, Any]

    def row(self, number: int) -> tuple[str, ...]:
        """For people."""
        chain, step = (str(self.line.get(key, "")) for key in ("chain", "step"))
        return str(number), self.name, self.line["event"], chain, step, self.line["reason"]


def failures(campaign: Campaign) -> list[Failure]:
    """All that are known, work after work."""
    return [
        Failure(campaign.name_of(work), work, line)
        for work in campaign.works
        for line in Ledger(Store(work.directory)).failures()
    ]


def replay(campaign: Campaign, failure: Failure, number: int, out: Path | None) -> tuple[Path, int]:
    """Write every step of a replica from the start of the segment in which it was lost; where, and how many.

    The last is the one that it was lost for. ConfigError for what is no replica, and for a file of another
    ending than its frames have.
    """
    segment = Segment.of(failure.line["segment"])
    if "chain" not in failure.line or segment is None:
        raise ConfigError("is a segment that was given up: the same campaign run tries it again", "FAILURE")
    work, chain, step = failure.work, failure.line["chain"], failure.line["step"]
    beads = work.system.beads
    ending = ".npy" if beads is None else ".xtc"
    path = out or campaign.directory / f"failure-{number}{ending}"
    if path.suffix != ending:
        raise ConfigError(f"{path} has to end with {ending}", "--out")
    campaign.require_same_data()
    joining.connect(ClusterConfig())
    found: Any = ray.get(tasks.submit(every_step, work, segment, chain, step))
    frames = np.asarray(found)
    if beads is None:
        with replacing(path) as partial:
            np.save(partial, frames)
    else:
        trajectories.write(beads, frames, path)
    return path, len(frames)


def every_step(work: Replicas, segment: Segment, chain: int, step: int) -> np.ndarray:
    """Frames of a replica from the start of a segment to the step after its last good one; for a Ray task."""
    settings = replace(work.config, stride=1, burn_in=0, ends_unless="finite")
    slow = replace(work, config=settings)
    start = before_of(Store(work.directory), segment)
    made = slow.compute(Segment(segment.first, segment.count, segment.begin, step + 1), start)
    return made.trajectories[chain - segment.first]


def export(campaign: Campaign, out: Path, states: bool) -> Iterator[tuple[str, int]]:
    """Write a trajectory for each replica that has frames, and where all stand; names, and how many.

    Raises FokkerError, before anything is written, where there is no segment, or one is damaged.
    """
    stores = _stores(campaign)
    for work, store in stores:
        for segment in store.segments:
            store.digest(segment)
        if work.system.beads:
            trajectories.require_whole(part for parts in store.parts() for part in parts)
    for work, store in stores:
        name, beads, count = campaign.name_of(work), work.system.beads, 0
        for number, parts in enumerate(store.parts() if beads else ()):
            if beads and any(part.end > part.begin for part in parts):
                trajectories.join(beads, parts, out / name / f"replica-{number:05d}.xtc")
                count += 1
        frames = [*store.blocks(work.system)] if beads is None else []
        if frames:
            with replacing(out / name / "frames.npy") as partial:
                np.save(partial, np.concatenate(frames))
            count = sum(lane[0].count for lane in store.lanes.values())
        if states and store.segments:
            ends = [store.state(lane[-1]) for lane in store.lanes.values()]
            with replacing(out / name / "states.npz") as partial:
                named = {key: np.concatenate([getattr(end, key) for end in ends]) for key in State._fields}
                np.savez(partial, allow_pickle=False, **named)
        yield name, count


def announce(campaign: Campaign, display: Display) -> None:
    """What will run: systems, replicas, segments, steps, bytes, and, as far as speeds are known, the time."""
    works, tallies = campaign.works, [pool.tally(work) for work in campaign.works]
    known = [tally.total or Summary() for tally in tallies]
    left = [max(w.chains * w.length - done.steps, 0) for w, done in zip(works, known, strict=True)]
    replicas, frames = campaign.config.replicas, campaign.config.frames
    what = (
        f"{len(works)} system{'s' if len(works) > 1 else ''} of {replicas:,} replicas, {frames:,} frames each"
    )
    if campaign.batching:
        done, every = sum(tally.done for tally in tallies), sum(tally.segments for tally in tallies)
        what += f": {every - done:,} of {every:,} segments to do"
    display.stage("campaign", what)
    # A frame stands in its segment, and in a file for other programs.
    kept = (frames * n / w.length * np.prod(w.system.shape) for w, n in zip(works, left, strict=True))
    rates = [done.seconds / done.steps for done in known if done.steps]
    time = f", {clock(float(np.mean(rates)) * sum(left))} of actors" if rates and sum(left) else ""
    display.stage("", f"{sum(left):,} steps, {size(6 * sum(kept))}{time}: {campaign.directory}")


def show(result: CampaignResult, start: str, display: Display) -> None:
    """What is known of every system, whose replicas `start` where the campaign says."""
    if result.works:
        for found in (table(result.works.values()), kinetics_table(result.works.values())):
            if found:
                header, *rows = found
                display.table(header, rows)
        display.stage("", f"replicas start at {START_WORDS.get(start, start)}")
