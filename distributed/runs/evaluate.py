"""Judging a run: metrics of its samples and its simulation beside the reference, and the report of them."""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from itertools import chain, zip_longest

import numpy as np
import ray

from ...analysis import evaluation, results, transfer
from ...analysis.metrics import Points
from ...analysis.profiles import Profile, profiles_of
from ...analysis.reduction import BLOCK, FrameSet, Totals, in_parts
from ...analysis.report import figures
from ...analysis.results import FrameCounts, MadeFrom, Metrics, RunResult, SimulationCounts, SystemResult
from ...analysis.systems import System
from ...data import trajectories
from ...data.dataset.shards import Dataset
from ...data.files import FileError, sha256, write_json
from .. import tasks
from ..campaigns import pool
from ..campaigns.segments import Store, Summary
from ..campaigns.works import Sampling, Simulation, Work
from ..cluster import joining
from . import board, gallery, reporting
from .chosen import Chosen
from .display import Display
from .run import METRICS, SAMPLES, SIMULATION, Run, StageError

TRAJECTORIES = "trajectories"
FIRST = "samples 1, simulation 1"
ERROR_TIMES = np.concatenate([np.geomspace(1e-5, 0.1, 24), np.linspace(0.15, 0.99, 12)]).astype(np.float32)
TRAIN = "train"
INDEPENDENT = "reference"
"""Split that is an independent reference, where a dataset has one."""
Sets = Mapping[str, Mapping[str, FrameSet]]
"""By system, then by kind: reference, iid, sim."""


def evaluate(runs: Sequence[Run], display: Display) -> None:
    """Compare samples and simulations with the training data: metrics.json."""
    every = [Chosen.of(run, "evaluate") for run in runs]
    wanted = [chosen for chosen in every if _of(chosen.run) != chosen.made_from]
    if not wanted:
        display.stage("evaluate", "skipped: metrics.json is of these samples and this simulation")
    else:
        display.stage(
            "evaluate", "metrics, the Fokker-Planck error of every conservative expert, and barriers of φ"
        )
        joining.connect(runs[0].config.cluster)
    of_experts = {
        chosen.run.directory: (
            tasks.submit(tasks.fokker_planck_curves, chosen.run.jobs, ERROR_TIMES),
            tasks.submit(tasks.largest_steps, chosen.simulated),
            *(_umbrella(chosen, work) for work in chosen.simulated),
        )
        for chosen in wanted
        if chosen.current
    }
    for chosen in wanted:
        sets = sets_of(chosen)
        result, umbrellas = _result(chosen, sets), list[Profile | None]()
        if chosen.run.directory in of_experts:
            curves, margins, *umbrellas = ray.get([*of_experts[chosen.run.directory]])
            result = _with_margins(replace(result, fokker_planck_error=curves), margins)
        result = _with_profiles(chosen.run, result, sets, umbrellas)
        _write_trajectories(chosen)
        _put_aside(chosen)
        write_json(chosen.run.directory / METRICS, results.to_json(result))
        _board(chosen, result, sets)
    for chosen in every:
        run, result = chosen.run, results.read(chosen.run.directory / METRICS)
        if chosen.words != FIRST:
            display.stage("", chosen.words)
        display.metrics(run.name, result)
        for name, of_system in result.systems.items():
            if len(result.systems) > 1:
                display.metrics(name, of_system)
            if of_system.molecule and of_system.molecule.profiles:
                display.barriers(of_system.molecule.profiles)
        display.transfer(result)


def _of(run: Run) -> MadeFrom | None:
    """What the metrics of a run that are there were made from; None where they have to be made again."""
    try:
        return results.read(run.directory / METRICS).made_from
    except (FileNotFoundError, FileError):
        return None


def _of_these_frames(found: MadeFrom | None, wanted: MadeFrom) -> bool:
    """Whether metrics are of these samples and this simulation, however they were judged."""
    return found is not None and replace(found, umbrella=None) == replace(wanted, umbrella=None)


def _put_aside(chosen: Chosen) -> None:
    """Keep the metrics and the report of other results, under the numbers of those."""
    made_from = _of(chosen.run)
    if not made_from:
        return
    numbers = f"{made_from.sample.result}-{made_from.simulate.result}"
    if numbers == f"{chosen.samples.number}-{chosen.simulation.number}":
        return
    for name in (METRICS, reporting.REPORT, reporting.FIGURES):
        path = chosen.run.directory / name
        if path.exists():
            kept = path.with_stem(f"{path.stem}-{numbers}")
            shutil.rmtree(kept) if kept.is_dir() else kept.unlink(missing_ok=True)
            path.rename(kept)


def _result(chosen: Chosen, sets: Sets) -> RunResult:
    """Metrics of every system, and their means."""
    run = chosen.run
    plane = transfer.pooled_plane(_training(run), max(map(_count, sets.values())), run.config.data.seed)
    systems = {
        sampling.system.name: _of_system(run, sampling, simulation, sets[sampling.system.name], plane)
        for sampling, simulation in zip(chosen.sampling, chosen.simulated, strict=True)
    }
    every = [*systems.values()]
    means = Metrics.mean(every)
    half, step = (
        _mean_of(getattr(result.simulate, f"{kind}_temperature") for result in every)
        for kind in ("kinetic", "step")
    )
    return RunResult(
        means.paper,
        means.corrected,
        sd=Metrics.deviation(every) if len(every) > 1 else None,
        sample=_added([result.sample for result in every]),
        simulate=SimulationCounts(
            **vars(_added([result.simulate for result in every])),
            temperature=run.config.data.temperature,
            kinetic_temperature=half,
            step_temperature=step,
            inner_steps=chosen.simulation.settings.inner_steps,
            start=chosen.simulation.settings.start_words,
        ),
        systems=systems,
        fokker_planck_error={},
        made_from=chosen.made_from,
        data_fingerprint=Dataset(run.data).fingerprint,
        trained={sampling.system.name: _of_trained(run, sampling) for sampling in chosen.training},
    )


def _count(sets: Mapping[str, FrameSet]) -> int:
    """Frames that a floor is that of: fewer lie farther from any reference."""
    return min(sets["iid"].totals.frames, sets["sim"].totals.frames)


def _training(run: Run) -> Iterator[FrameSet]:
    """What was trained on, where nothing of it is judged; without lengths, which take the most time."""
    for system in run.training_systems:
        yield _split(run, replace(system, bonds=(), far_pairs=(), hands=()), TRAIN)


def _of_trained(run: Run, sampling: Sampling) -> Metrics:
    """Metrics of samples of a molecule that was trained on, beside their floor."""
    system = sampling.system
    reference, iid = _split(run, system, TRAIN), Store(sampling.directory).frames(system)
    _require_finite(run, SAMPLES, iid)
    floor = evaluation.floor_of(reference, iid.totals.frames, run.config.data.seed)
    every = zip(evaluation.compared(reference, iid), floor, strict=True)
    return Metrics.mean([Metrics.of({"iid": one, "floor": lowest}) for one, lowest in every])


def _require_finite(run: Run, stage: str, one: FrameSet) -> None:
    if not one.totals.frames:
        raise StageError(
            f"evaluate: {run.directory / stage} holds no finite frame: the model is not trained well, or "
            f"one of the settings {stage}.* asks too much of it"
        )


def _added(counts: Sequence[FrameCounts]) -> FrameCounts:
    return FrameCounts(*(sum(getattr(each, f.name) for each in counts) for f in fields(FrameCounts)))


def _with_margins(result: RunResult, largest: Mapping[str, float]) -> RunResult:
    """With the largest ω dt of every system, and of all."""
    systems = {
        name: replace(one, simulate=replace(one.simulate, largest_omega_dt=largest[name]))
        for name, one in result.systems.items()
    }
    greatest = float(np.max([*largest.values()]))
    return replace(result, systems=systems, simulate=replace(result.simulate, largest_omega_dt=greatest))


def _umbrella(chosen: Chosen, work: Simulation) -> ray.ObjectRef:
    """The task of the umbrella windows of one system."""
    run, on_gpu = chosen.run, chosen.run.config.cluster.device == "gpu"
    asked = work, run.config.umbrella, run.data.absolute(), run.split
    return tasks.submit(tasks.umbrella_profile, *asked, on_gpu=on_gpu)


def _with_profiles(run: Run, result: RunResult, sets: Sets, umbrellas: Sequence[Profile | None]) -> RunResult:
    """With the free energies along φ of every molecule that has one."""
    dataset, systems = Dataset(run.data), dict(result.systems)
    for system, umbrella in zip_longest(run.systems, umbrellas):
        one, torsion = systems[system.name], system.torsion
        if torsion is None or one.molecule is None:
            continue
        biased = dataset.description(system.name).get("phi", {}).get(run.split, {})
        totals = {kind: own.totals for kind, own in sets[system.name].items()}
        found = profiles_of(system, totals, biased.get(str(torsion.residue)), umbrella)
        systems[system.name] = replace(one, molecule=replace(one.molecule, profiles=found))
    return replace(result, systems=systems)


def _mean_of(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def sets_of(chosen: Chosen) -> Sets:
    """Of every system, the reference and what is judged by it; their sums are made here, and once."""
    found = {}
    for sampling, simulation in zip(chosen.sampling, chosen.simulated, strict=True):
        system = sampling.system
        found[system.name] = {
            "reference": _split(chosen.run, system, chosen.run.split, evaluation.RESAMPLES),
            "iid": Store(sampling.directory).frames(system),
            "sim": Store(simulation.directory).frames(system, evaluation.RESAMPLES),
        }
    return found


def _split(run: Run, system: System, name: str, draws: int = 0) -> FrameSet:
    split = Dataset(run.data).split(name, system.name)
    sizes = evaluation.parts_of(system, name, len(split))
    return in_parts(system, lambda: split.blocks(BLOCK), sizes, draws)


def _of_system(
    run: Run,
    sampling: Work,
    simulation: Simulation,
    sets: Mapping[str, FrameSet],
    plane: Points,
) -> SystemResult:
    system, (reference, iid, sim) = sampling.system, sets.values()
    for stage, one in ((SAMPLES, iid), (SIMULATION, sim)):
        _require_finite(run, stage, one)
    count = _count(sets)
    if system.name in Dataset(run.data).systems_with(INDEPENDENT):
        independent = _split(run, system, INDEPENDENT)
        floor = evaluation.floor_against(reference, independent, count)
    else:
        floor = evaluation.floor_of(reference, count, run.config.data.seed)
    samples, simulated = (_summary_of(work) for work in (sampling, simulation))
    kept = simulated.frames - simulated.not_finite
    half, step = (
        value / kept / system.temperature_unit if kept else None
        for value in (simulated.temperature_sum, simulated.step_temperature_sum)
    )
    heat = {"temperature": run.config.data.temperature, "kinetic_temperature": half, "step_temperature": step}
    settings = simulation.config
    own = {"inner_steps": settings.inner_steps, "start": settings.start_words}
    counts = SimulationCounts(**vars(_counts(simulated)), **heat, **own)
    return evaluation.judge(
        *(system, reference, iid, sim, floor, _counts(samples), counts, simulated.crossings),
        pooled=transfer.against_pooled(plane, reference, count),
    )


def _summary_of(work: Work) -> Summary:
    total = pool.tally(work).total
    assert total is not None
    return total


def _counts(total: Summary) -> FrameCounts:
    return FrameCounts(
        total.frames, total.not_finite, total.chains, total.chains_left, total.chains_not_finite
    )


def _write_trajectories(chosen: Chosen) -> None:
    """Join samples and simulations of molecules to files that other programs open."""
    for kind, works, result in (
        (SAMPLES, chosen.sampling, chosen.samples),
        (SIMULATION, chosen.simulated, chosen.simulation),
    ):
        for work in works:
            if work.system.beads is not None:
                path = chosen.run.directory / TRAJECTORIES / f"{work.system.name}-{kind}-{result.number}.xtc"
                parts = chain.from_iterable(Store(work.directory).parts())
                trajectories.join(work.system.beads, parts, path)


def drawn(sets: Sets) -> dict[str, dict[str, Totals]]:
    """Of every system, the three sets whose free energies are drawn side by side."""
    titles = figures.SET_NAMES
    return {
        "" if len(sets) == 1 else name: {title: own[kind].totals for kind, title in titles.items()}
        for name, own in sets.items()
    }


def _board(chosen: Chosen, result: RunResult, sets: Sets) -> None:
    """Metrics and free energies for TensorBoard."""
    scalars = {
        f"{metric}_{definition}/{kind}": value
        for definition, sets in result
        for kind, scores in sets.items()
        if kind != "pooled"  # Of the data alone, the same in every run.
        for metric, value in vars(scores).items()
        if np.isfinite(value)
    }
    _, figure = next(iter(figures.free_energies(drawn(sets)).values()))
    board.evaluated(chosen.run, scalars, {"free_energy": figures.to_rgb_array(figure)})


def report(runs: Sequence[Run], display: Display) -> None:
    """Write report.html and the figures of every run."""
    for run in runs:
        chosen, source = Chosen.of(run, "report"), run.directory / METRICS
        if not _of_these_frames(_of(run), chosen.made_from):
            number = "" if run.result is None else f" --result {run.result}"
            raise StageError(
                f"report: {source} is missing or not of {chosen.words}: run `fokker evaluate{number}` first"
            )
        path, digest = run.directory / reporting.REPORT, sha256(source)
        if reporting.made_from(path) == digest:
            display.stage("report", f"skipped: {path} is of these metrics")
            continue
        shown = drawn(sets_of(chosen)), gallery.Gallery.of(chosen)
        reporting.write(run, results.read(source), digest, *shown)
        display.stage("report", str(path))
