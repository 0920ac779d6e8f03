"""Carrying out a campaign: what is missing is computed, judged as it arrives, and ended when it is enough."""

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import jax
import numpy as np
import pydantic
import ray

from ...analysis.campaign_results import CampaignResult, WorkResult, read, to_json
from ...analysis.reduction import Totals
from ...analysis.references import Reference
from ...analysis.report.campaign import scalars
from ...analysis.report.campaign_page import page
from ...data import files
from ...data.errors import FokkerError
from ...model import trained
from ...model.config import STRICT
from .. import tasks
from ..campaigns import pool
from ..campaigns.assessment import Stop, examine, passes, reference_of
from ..campaigns.pool import PoolError, Tally
from ..campaigns.segments import Store
from ..campaigns.works import Simulation
from ..cluster import joining
from ..config import ClusterConfig
from . import board
from .campaign import Batching, Campaign, Replicas
from .config import ConfigError, from_dict, to_dict
from .display import Display

ROUNDS, RESULTS, REPORT = "rounds.json", "results.json", "report.html"
JUDGE_SECONDS = 60.0
"""Between two looks at what has arrived, at least."""
BATCHES = (25, 50, 100, 200, 400, 800, 1600)
"""Numbers of replicas that are tried together; the smallest is taken that is nearly as fast as any."""
NEARLY, PROBE_SECONDS, SEGMENT_SECONDS = 0.95, 0.5, 20.0


def measured(work: Simulation, most: int, frames: int) -> tuple[int, int]:
    """Replicas that should advance together, and frames of a segment; for a Ray task on such a device."""
    best, rates = 0.0, {}
    for batch in sorted({min(batch, most) for batch in BATCHES}):
        settings = replace(work.config, chunk=batch, chains=batch, frames=batch)
        rates[batch] = batch / seconds_of_a_step(replace(work, config=settings))
        if rates[batch] < 1.05 * best:
            break  # Larger ones are no faster.
        best = max(best, rates[batch])
    fastest = max(rates.values())
    batch = next(size for size, rate in rates.items() if rate >= NEARLY * fastest)
    of_frame = batch / rates[batch] * work.config.stride
    return batch, int(np.clip(round(SEGMENT_SECONDS / of_frame), 1, frames))


def seconds_of_a_step(work: Simulation) -> float:
    """Of all chains of a batch together, by a loop that takes about half a second."""
    model, molecule, mass = work._bound
    state, keys, steps = work.begin(0), work.keys(0), 8
    while True:
        begin = time.perf_counter()
        end = trained.advance(model, work.config, state, mass, keys, steps, None, molecule)
        jax.block_until_ready(end)
        seconds = time.perf_counter() - begin
        if steps > 8 and seconds > PROBE_SECONDS / 4:
            return seconds / steps
        # The first time it is compiled.
        steps = 64 if steps == 8 else int(steps * np.clip(PROBE_SECONDS / seconds, 2, 64))


def prepare(planned: Campaign, cluster: ClusterConfig, display: Display) -> Campaign:
    """A campaign as it was planned, in its folder; its batches are measured where they are new.

    Raises ConfigError if another process has changed it since.
    """
    config, found = planned.config, dict[str, Batching]()
    for model in planned.parts.models:
        if model in planned.batching:
            continue
        batch, segment = config.batch, config.segment
        if batch is None or segment is None:
            display.stage("measure", f"how many replicas of {model} should advance together")
            joining.connect(cluster)
            own = (one for one in planned.works if planned.model_of(one) == model)
            work = max(own, key=lambda one: len(one.system.masses))
            on_gpu = cluster.device == "gpu"
            most, frames = config.replicas, config.frames
            sizes: Any = ray.get(tasks.submit(measured, work, most, frames, on_gpu=on_gpu))
            batch, segment = batch or sizes[0], segment or sizes[1]
            display.stage("", f"{batch} together, segments of {segment} frames")
        found[model] = Batching(min(batch, config.replicas), min(segment, config.frames))
    return planned.settle(found)


class CampaignError(FokkerError):
    """A campaign that has come to its end, and whose systems did not all do well."""


def carry_out(campaign: Campaign, cluster: ClusterConfig, display: Display) -> CampaignResult:
    """Compute what is missing, and judge it as it arrives: results.json, report.html and TensorBoard.

    Raises PoolError for segments that were given up, when all else is done and judged.
    """
    works, watch = campaign.works, _Watch(campaign, display)
    joining.connect(cluster)
    error: PoolError | None = None
    with display.watching():
        try:
            rounds = watch.decide if campaign.config.stop_when else None
            pool.run(works, cluster, watch.arrived, lambda text: display.stage("", text), rounds)
        except PoolError as failed:
            error = failed
    for work in works:
        if step := stopped(campaign, work):
            display.stage("", f"{campaign.name_of(work)}: enough after {step:,} steps")
    result = watch.judged()
    if error is not None:
        raise error
    return result


def require_kept(campaign: Campaign, result: CampaignResult) -> None:
    """CampaignError if a system lost more of its frames than the campaign allows."""
    most = campaign.config.lost_share
    bad = [name for name, one in result.works.items() if one.missing > most]
    if bad:
        raise CampaignError(
            f"{len(bad)} of {len(result.works)} systems lost more than {most:.0%} of their frames "
            f"(lost_share): {', '.join(bad[:5])}; fokker campaign status lists the replicas, fokker campaign "
            "replay shows one"
        )


class _Watch:
    """What follows from segments as they arrive: results now and then, and after every round."""

    def __init__(self, campaign: Campaign, display: Display):
        self._campaign, self._display, self._works = campaign, display, campaign.works
        self._names = [campaign.name_of(work) for work in self._works]
        self._pending: dict[Any, str] = {}
        self._begun, self._next = 0.0, time.monotonic() + JUDGE_SECONDS
        self._found = {name: one for name, one in _known(campaign).items() if name in self._names}
        self._references: dict[tuple[str, str], Any] = {}

    def arrived(self, tallies: list[Tally]) -> None:
        """Show progress; judge what is there, now and then, while the work goes on."""
        self._display.segments(self._names, tallies, "steps")
        if self._pending:
            done, _ = ray.wait([*self._pending], num_returns=len(self._pending), timeout=0)
            for one in done:
                name = self._pending.pop(one)
                self._found[name] = ray.get(one)
            if done and not self._pending:
                self._write()
                # Judging shall take a tenth of the time at most.
                self._next = time.monotonic() + max(JUDGE_SECONDS, 9 * (time.monotonic() - self._begun))
        elif time.monotonic() > self._next:
            self._begun = time.monotonic()
            self._pending = {self._submit(number): name for number, name in enumerate(self._names)}

    def decide(self, number: int, step: int) -> bool:
        """Whether a work goes on after a round that all its replicas have done; what is found is kept."""
        work, stop = self._works[number], self._campaign.config.stop_when
        assert stop is not None
        if step <= work.config.burn_in:
            return True
        rounds = rounds_of(self._campaign, work)
        if step not in rounds:
            result: Any = ray.get(self._submit(number, step))
            self._found[self._names[number]] = result
            rounds[step] = passes(result, stop)
            content = Rounds(rounds, *_condition(self._campaign, work))
            files.write_json(work.directory / ROUNDS, to_dict(content))
            self._write()
        return not _enough(rounds, step)

    def judged(self) -> CampaignResult:
        """Results of all that is there, in the end, and the page that shows them."""
        for one in self._pending:
            ray.cancel(one)
        made: Any = ray.get([self._submit(number, drawn=True) for number in range(len(self._works))])
        there = [one for one in made if one is not None]
        self._found = {result.name: result for result, _ in there}
        result = self._write()
        files.write(
            self._campaign.directory / REPORT,
            page(
                self._campaign.directory.name,
                result,
                {one.name: sets for one, sets in there},
                to_dict(self._campaign.config),
            ),
        )
        return result

    def _submit(self, number: int, until: int | None = None, drawn: bool = False) -> Any:
        work = self._works[number]
        until = until or stopped(self._campaign, work)
        what = work, self._names[number], self._reference(work), until, drawn
        return tasks.submit(judge, *what, beside=True)

    def _reference(self, work: Replicas) -> Any:
        """What a system is compared with, reduced once for all that is judged by it."""
        model = self._campaign.model_of(work)
        key = model, work.system.name
        if key not in self._references:
            found = self._campaign.parts.reference(model, work.system)
            self._references[key] = found and tasks.submit(reference_of, *found, work.system, beside=True)
        return self._references[key]

    def _write(self) -> CampaignResult:
        directory, found = self._campaign.directory, [one for one in self._found.values() if one is not None]
        result = CampaignResult.of(found, datetime.now(UTC).isoformat(timespec="seconds"))
        files.write_json(directory / RESULTS, to_json(result))
        board.judged(directory, {one.name: (one.until, scalars(one)) for one in found})
        return result


def judge(
    work: Replicas, name: str, reference: Reference | None, until: int | None, drawn: bool
) -> WorkResult | tuple[WorkResult, dict[str, Totals]] | None:
    """What is known of a work, and the sums of what can be `drawn`; None while no frame is there.

    For a Ray task, as the driver sees no frame.
    """
    if not any(len(work.frame_steps(segment)) for segment in Store(work.directory).segments):
        return None
    result, totals = examine(work, reference, until, name, drawn)
    sets = {"reference": reference.totals} if reference else {}
    return (result, sets | {"simulation": totals}) if drawn else result


def read_results(campaign: Campaign) -> CampaignResult:
    """Those that are there."""
    path = campaign.directory / RESULTS
    return read(path) if path.exists() else CampaignResult.of([], "")


def _known(campaign: Campaign) -> Mapping[str, WorkResult]:
    """Results that are there, of which a damaged file is made again."""
    try:
        return read_results(campaign).works
    except files.FileError:
        return {}


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class Rounds:
    """What was found of a work at the ends of rounds, and under which condition."""

    failed: dict[int, list[str]]
    """By the steps at which rounds ended, what did not hold."""
    stop_when: Stop | None
    replicas: int
    reference: str | None


def _condition(campaign: Campaign, work: Replicas) -> tuple[Stop | None, int, str | None]:
    """What else the verdict on a round depends on: when it is enough, of how many replicas, beside what."""
    against = campaign.parts.reference_digest(campaign.model_of(work), work.system)
    return campaign.config.stop_when, work.replicas, against


def rounds_of(campaign: Campaign, work: Replicas) -> dict[int, list[str]]:
    """By the steps at which rounds ended, what did not hold; none that ended under another condition."""
    path = work.directory / ROUNDS
    if campaign.config.stop_when is None or not path.exists():
        return {}
    try:
        kept = from_dict(files.read_json(path), Rounds)
    except ConfigError:
        return {}
    return kept.failed if kept == Rounds(kept.failed, *_condition(campaign, work)) else {}


def _enough(rounds: Mapping[int, list[str]], step: int) -> bool:
    """Whether the rounds that ended at a step, and just before, failed no condition."""
    return [rounds[at] for at in sorted(rounds) if at <= step][-2:] == [[], []]


def stopped(campaign: Campaign, work: Replicas) -> int | None:
    """The step at which a work was found to be enough; None while it is not."""
    rounds = rounds_of(campaign, work)
    return next((step for step in sorted(rounds) if _enough(rounds, step)), None)
