"""Judging a run: metrics of its samples and its simulation beside the reference, and the report of them."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import ray

from ..analysis import evaluation, figures
from ..analysis.metrics import DEFINITIONS, compare
from ..analysis.systems import System
from ..data import trajectories
from ..data.config import MuellerBrownConfig
from ..data.files import FileError, read_json, sha256, write_json
from ..data.shards import Dataset
from ..distributed import cluster, pool, tasks
from ..distributed.chunks import ChunkStore
from . import board, reporting
from .chosen import Chosen
from .display import Display
from .run import SAMPLES, SIMULATION, Run, StageError

METRICS, TRAJECTORIES = "metrics.json", "trajectories"
HEAT = ("kinetic_temperature", "step_temperature", "rms_omega_dt")
FIRST = "samples 1, simulation 1"
ERROR_TIMES = np.concatenate([np.geomspace(1e-5, 0.1, 24), np.linspace(0.15, 0.99, 12)]).astype(np.float32)


def evaluate(runs: Sequence[Run], display: Display) -> None:
    """Compare samples and simulations with the training data: metrics.json."""
    every = [Chosen.of(run, "evaluate") for run in runs]
    wanted = [chosen for chosen in every if _of(chosen.run) != chosen.made_from]
    if not wanted:
        display.stage("evaluate", "skipped: metrics.json is of these samples and this simulation")
    else:
        display.stage("evaluate", "metrics and the Fokker-Planck error of every conservative expert")
        cluster.connect(runs[0].config.cluster)
    of_experts = {
        chosen.run.directory: (
            tasks.submit(tasks.fokker_planck_curves, chosen.run.jobs, ERROR_TIMES),
            tasks.submit(tasks.largest_steps, chosen.simulated),
        )
        for chosen in wanted
        if chosen.current
    }
    for chosen in wanted:
        run, metrics = chosen.run, _metrics(chosen)
        metrics["fokker_planck_error"] = {}
        if run.directory in of_experts:
            metrics["fokker_planck_error"], margins = ray.get([*of_experts[run.directory]])
            _add_margins(metrics, margins)
        metrics["made_from"] = chosen.made_from
        _write_trajectories(chosen)
        _put_aside(run, chosen)
        write_json(run.directory / METRICS, metrics)
        _board(chosen, metrics)
    for chosen in every:
        run, metrics = chosen.run, read_json(chosen.run.directory / METRICS)
        if chosen.words != FIRST:
            display.stage("", chosen.words)
        display.metrics(run.name, metrics)
        if len(metrics["systems"]) > 1:
            for name, result in metrics["systems"].items():
                display.metrics(name, result)


def _of(run: Run) -> dict[str, Any] | None:
    """What the metrics of a run that are there were made from."""
    path = run.directory / METRICS
    if not path.exists():
        return None
    try:
        return read_json(path).get("made_from")
    except (FileError, AttributeError):
        return None  # Damaged: they are made again.


def _put_aside(run: Run, chosen: Chosen) -> None:
    """Keep the metrics and the report of other results, under the numbers of those."""
    made_from = _of(run)
    if not made_from:
        return
    numbers = "-".join(str(made_from[kind]["result"]) for kind in (SAMPLES, SIMULATION))
    if numbers == f"{chosen.samples.number}-{chosen.simulation.number}":
        return
    for name in (METRICS, reporting.REPORT, reporting.FIGURES):
        path = run.directory / name
        if path.exists():
            kept = path.with_stem(f"{path.stem}-{numbers}")
            shutil.rmtree(kept) if kept.is_dir() else kept.unlink(missing_ok=True)
            path.rename(kept)


def _metrics(chosen: Chosen) -> dict:
    """Metrics of every system, and their means at the top."""
    run, dataset = chosen.run, Dataset(chosen.run.data)
    systems = {
        sampling.system.name: _system_metrics(run, dataset, sampling, simulation)
        for sampling, simulation in zip(chosen.sampling, chosen.simulated, strict=True)
    }
    metrics: dict = evaluation.mean([*systems.values()])
    for stage in (SAMPLES, SIMULATION):
        counts = [result[stage] for result in systems.values()]
        metrics[stage] = {key: sum(part[key] for part in counts) for key in counts[0] if key not in HEAT}
    half, step = (
        _mean_of(result[SIMULATION][f"{kind}_temperature"] for result in systems.values())
        for kind in ("kinetic", "step")
    )
    metrics[SIMULATION] |= _heat(half, step) | {"temperature": run.config.data.temperature}
    return metrics | {"systems": systems, "data_fingerprint": dataset.fingerprint}


def _heat(half: float | None, step: float | None) -> dict[str, float | None]:
    """Kinetic temperatures at half steps and at the steps, and the root mean square of ω dt by them.

    BAOAB is colder at the steps by (ω dt)²/4 for each harmonic mode (`langevin.kinetic_temperatures`).
    """
    colder = 1 - step / half if half and step else -1.0
    return dict(zip(HEAT, (half, step, 2 * colder**0.5 if colder >= 0 else None), strict=True))


def _add_margins(metrics: dict, largest: Mapping[str, float]) -> None:
    """The largest ω dt of every system, and of all."""
    for name, value in largest.items():
        metrics["systems"][name][SIMULATION]["largest_omega_dt"] = value
    metrics[SIMULATION]["largest_omega_dt"] = float(np.max([*largest.values()]))


def _mean_of(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _system_metrics(run: Run, dataset: Dataset, sampling: pool.Work, simulation: pool.Work) -> dict:
    system = sampling.system
    reference = dataset.split(run.split, system.name).read()
    samples = ChunkStore(sampling.directory).read(sampling.chunks)
    chains = ChunkStore(simulation.directory).trajectories(simulation.chunks)
    simulated = int(system.finite(chains).sum())
    for stage, count in ((SAMPLES, len(samples)), (SIMULATION, simulated)):
        if not count:
            raise StageError(
                f"evaluate: {run.directory / stage} holds no finite frame: the model is not trained well, or "
                f"one of the settings {stage}.* asks too much of it"
            )
    # A floor is that of as many frames: fewer lie farther from any reference.
    count = min(len(samples), simulated)
    if system.beads is None:
        independent = dataset.split("reference", system.name).read()
        drawn = np.random.default_rng(0).choice(independent, min(count, len(independent)), replace=False)
        floor = compare(reference, drawn, system.plane)
    else:
        floor = evaluation.floor_of(system, reference, count, run.config.data.seed)
    lengths = _lengths(run, dataset, system)
    result = evaluation.judge(system, reference, samples, chains, floor, lengths)
    for name, work in ((SAMPLES, sampling), (SIMULATION, simulation)):
        total = pool.tally(work)[0].total
        assert total is not None
        result[name] = {
            "frames": total.frames,
            "frames_not_finite": total.not_finite,
            "chains": total.chains,
            "chains_left_range": total.chains_left,
            "chains_not_finite": total.chains_not_finite,
        }
        if name == SIMULATION:
            finite = total.chains - total.chains_not_finite
            sums = (total.temperature_sum, total.step_temperature_sum)
            half, step = (value / finite / system.temperature_unit if finite else None for value in sums)
            result[name] |= _heat(half, step)
    return result


def _lengths(run: Run, dataset: Dataset, system: System) -> tuple[int, ...]:
    """Frames of each trajectory of the reference, where they are known."""
    config = run.config.data
    if isinstance(config, MuellerBrownConfig):
        return (config.frames // config.chains,) * config.chains
    return evaluation.lengths_of(dataset.description(system.name), run.split)


def _write_trajectories(chosen: Chosen) -> None:
    """Samples and simulations of molecules as files that other programs open."""
    for works, result in ((chosen.sampling, chosen.samples), (chosen.simulated, chosen.simulation)):
        for work in works:
            if work.system.beads is not None:
                frames = ChunkStore(work.directory).read(work.chunks)
                kind = SAMPLES if isinstance(work, pool.Sampling) else SIMULATION
                name = f"{work.system.name}-{kind}-{result.number}.xtc"
                trajectories.write(work.system.beads, frames, chosen.run.directory / TRAJECTORIES / name)


def surfaces(chosen: Chosen) -> dict[str, dict[str, np.ndarray]]:
    """Of every system, the three sets of points whose free energies are drawn side by side."""
    run, dataset, found = chosen.run, Dataset(chosen.run.data), {}
    for sampling, simulation in zip(chosen.sampling, chosen.simulated, strict=True):
        system = sampling.system
        frames = {
            "reference": dataset.split(run.split, system.name).read(),
            "iid": ChunkStore(sampling.directory).read(sampling.chunks),
            "simulation": ChunkStore(simulation.directory).read(simulation.chunks),
        }
        label = "" if len(run.systems) == 1 else system.name
        found[label] = {kind: system.points(part) for kind, part in frames.items()}
    return found


def _board(chosen: Chosen, metrics: dict) -> None:
    """Metrics and free-energy surfaces for TensorBoard."""
    scalars = {
        f"{metric}_{definition}/{kind}": value
        for definition in DEFINITIONS
        for kind, values in metrics[definition].items()
        for metric, value in values.items()
        if np.isfinite(value)
    }
    figure = figures.free_energy_surfaces(surfaces(chosen), chosen.run.systems[0].plane)
    board.evaluated(chosen.run, scalars, {"free_energy": figures.to_rgb_array(figure)})


def report(runs: Sequence[Run], display: Display) -> None:
    """Write report.html and the figures of every run."""
    for run in runs:
        chosen, source = Chosen.of(run, "report"), run.directory / METRICS
        if _of(run) != chosen.made_from:
            number = "" if run.result is None else f" --result {run.result}"
            raise StageError(
                f"report: {source} is missing or not of {chosen.words}: run `fokker evaluate{number}` first"
            )
        path, digest = run.directory / reporting.REPORT, sha256(source)
        if reporting.made_from(path) == digest:
            display.stage("report", f"skipped: {path} is of these metrics")
            continue
        reporting.write(run, read_json(source), digest, surfaces(chosen))
        display.stage("report", str(path))
