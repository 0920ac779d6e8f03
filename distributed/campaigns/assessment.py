"""What is known of a work from the segments that have arrived, up to a step: made in an actor or a task.

It reads files alone, and holds a block of frames at a time beside what `analysis.series` keeps of them.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Bool
from pydantic import Field
from pydantic.dataclasses import dataclass

from ...analysis.campaign_results import Course, ProjectionResult, WorkResult
from ...analysis.comparing import Chains, compare, lengths_of, mean_js, phi_positive
from ...analysis.evaluation import parts_of
from ...analysis.reduction import BLOCK, Reduction, Totals, cells_of
from ...analysis.references import Reference
from ...analysis.results import SimulationCounts
from ...analysis.systems import System
from ...analysis.transitions import cores_of, kinetics_of
from ...data.dataset.shards import Dataset
from ...model.config import STRICT, Positive
from .arrived import Arrived
from .segments import Summary
from .works import Work

ROUNDS = 12
"""Of a course."""


@dataclass(frozen=True, config=STRICT)
class Stop:
    """When a system is known well enough: all of these, after two rounds of segments one after another."""

    metric: Literal["js", "pmf"] = "js"
    """Whose error counts."""
    error: Positive | None = 0.005
    """The most that the standard error of the metric's mean over projections may be (none: any)."""
    min_ess: Positive | None = 400.0
    """Effective samples, at least (none: any)."""
    rhat: Annotated[float, Field(gt=1)] | None = 1.01
    """The most that R̂ may be (none: any)."""
    observable: str | None = None
    """Projection whose R̂ and effective samples count (none: each)."""


def passes(result: WorkResult, stop: Stop) -> list[str]:
    """The conditions that do not hold, in words; none of a work that is known well enough.

    Raises ValueError for an observable that the system does not have.
    """
    if stop.observable is not None and stop.observable not in result.projections:
        raise ValueError(
            f"{result.system} has no observable {stop.observable}: it has {', '.join(result.projections)}"
        )
    failed = []
    if stop.error is not None:
        if result.mean is None:
            failed.append(f"{stop.metric} has no error: there is no reference")
        else:
            error = getattr(result.mean, stop.metric).error
            if not error <= stop.error:
                failed.append(f"the error of {stop.metric} is {error:.4g}, above {stop.error:g}")
    for name, one in result.projections.items():
        if stop.observable in (None, name):
            if stop.min_ess is not None and not one.ess >= stop.min_ess:
                failed.append(f"ESS of {name} is {one.ess:.4g}, below {stop.min_ess:g}")
            if stop.rhat is not None and not one.rhat <= stop.rhat:
                failed.append(f"R̂ of {name} is {one.rhat:.4f}, above {stop.rhat:g}")
    return failed


def reference_of(data: Path, split: str, system: System) -> Reference:
    """A split of a dataset as what simulations are compared to; ValueError for one without frames.

    With kinetics, where the dataset tells the time between frames.
    """
    dataset = Dataset(data)
    name = system.named_in(dataset) or system.name
    frames, (trajectories, spacing) = dataset.split(split, name), dataset.trajectories(name, split)
    known = replace(system, trajectories=tuple((split, count) for count in trajectories))
    sizes = parts_of(known if trajectories else system, split, len(frames))
    return Reference.of(system, lambda: frames.blocks(BLOCK), sizes, spacing, cores_of(system), trajectories)


def examine(
    work: Work, reference: Reference | None, until: int | None = None, name: str = "", whole: bool = True
) -> tuple[WorkResult, Totals]:
    """What is known of a work from the segments that end at step `until` or before, and what they add up to.

    Figures are drawn of the sums. Without a reference nothing is compared; where no frame has arrived
    neither. `whole` says whether the course of JS over the rounds and the kinetics belong to it, which
    stopping does not need. Raises FileError for a segment that is damaged.
    """
    arrived, system = Arrived(work, until), work.system
    summary, course, reductions = arrived.summary(), None, list[Reduction]()
    if reference and whole:
        course, reductions = course_of(arrived, reference)
    else:
        reductions = next(arrived.reduced([arrived.end]))
    totals = Totals(system, reductions)
    unbroken, missing = _unbroken(arrived, reductions, summary)
    series = arrived.series()
    axes = series.mixing(unbroken)
    ess = [ProjectionResult(own, None).ess for own in axes]
    chains = Chains(system, reductions, totals, unbroken, missing, ess)
    named = [projection.name for projection in system.projections]
    result = _counted(arrived, summary, chains, name or system.name, series.stride)
    projections = {key: ProjectionResult(own, None) for key, own in zip(named, axes, strict=True)}
    if totals.frames:
        bonds, distances = lengths_of(chains, reference)
        result = replace(result, bonds=bonds, distances=distances)
        result = replace(result, phi_positive=phi_positive(chains, reference))
        if reference:
            every, mean = compare(chains, reference)
            result = replace(result, mean=mean, course=course)
            for key, against in zip(named, every, strict=True):
                projections[key] = replace(projections[key], against=against)
        if whole and arrived.spacing and (cores := cores_of(system)) and unbroken.any():
            spacing = arrived.spacing * series.state_stride
            kinetics = kinetics_of(cores, series.states(unbroken), spacing, reference)
            result = replace(result, kinetics=kinetics)
    return replace(result, projections=projections), totals


def course_of(arrived: Arrived, reference: Reference) -> tuple[Course, list[Reduction]]:
    """JS over rounds of segments, and the reductions up to the end."""
    rounds = arrived.rounds()
    chosen = {
        rounds[i] for i in np.linspace(0, len(rounds) - 1, min(ROUNDS, len(rounds))).round().astype(int)
    }
    course, last = Course([], [], []), list[Reduction]()
    ends = sorted(chosen | {arrived.end})
    for end, last in zip(ends, arrived.reduced(ends), strict=True):
        if end in chosen and any(one.count.size for one in last):
            found = mean_js(arrived.work.system, last, reference)
            course.time.append(end * arrived.work.timestep)
            course.js.append(found.value)
            course.errors.append(found.error)
    return course, last


def _unbroken(
    arrived: Arrived, reductions: Sequence[Reduction], summary: Summary
) -> tuple[Bool[np.ndarray, "chains"], float]:
    """Which chains have all their frames, lane after lane, and the share of all frames that is missing."""
    ends, lost = cells_of(arrived.work.system)[1], {loss.chain for loss in arrived.losses}
    whole = [np.zeros(0, bool)]
    for one, ((first, count), lane) in zip(reductions, arrived.lanes.items(), strict=True):
        own = one.cell < ends[1]
        frames = np.bincount(one.part[own], one.count[own], minlength=count)
        kept = [chain not in lost for chain in range(first, first + count)]
        whole.append((frames == arrived.frames(lane)) & kept)
    given_up = arrived.missing_of_given_up()
    wanted = summary.frames + given_up
    return np.concatenate(whole), (summary.not_finite + given_up) / wanted if wanted else 0.0


def _counted(arrived: Arrived, summary: Summary, chains: Chains, name: str, stride: int) -> WorkResult:
    """What needs no statistics."""
    work, system = arrived.work, arrived.work.system
    kept = summary.frames - summary.not_finite
    sums = (summary.temperature_sum, summary.step_temperature_sum)
    half, step = (value / kept / system.temperature_unit if kept and value else None for value in sums)
    bath, losses = system.kT / system.temperature_unit, arrived.lost()
    begun = len(chains.unbroken) + sum(
        n for (first, n) in arrived.given_up if (first, n) not in arrived.lanes
    )
    counts = SimulationCounts(summary.frames, summary.not_finite, begun, 0, 0, bath, half, step)
    return WorkResult(
        name=name,
        system=system.name,
        tags=work.tags,
        until=arrived.end if arrived.until is None else arrived.until,
        time=(summary.steps - arrived.frozen_steps()) * work.timestep,
        frames=kept,
        chains=begun,
        missing=chains.missing,
        lost=losses,
        stride=stride,
        projections={},
        mean=None,
        bonds={},
        distances={},
        phi_positive=None,
        temperature=bath,
        kinetic_temperature=half,
        step_temperature=step,
        rms_omega_dt=counts.rms_omega_dt,
        steps=summary.steps,
        evaluations=summary.steps,
        seconds=summary.seconds,
        time_unit=system.time_unit,
    )
