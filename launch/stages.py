"""The stages of a run, each of which skips what is done and leaves nothing half-written."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import ray

from ..analysis import evaluation, figures, trajectories
from ..analysis.metrics import DEFINITIONS, compare
from ..analysis.systems import System
from ..data.building import require_openmm
from ..data.config import MoleculesConfig, MuellerBrownConfig
from ..data.files import read_json, write_json
from ..data.reference import Reference
from ..data.residues import MoleculeError
from ..data.shards import MANIFEST, Dataset
from ..distributed import cluster, events, pool, tasks, training
from ..distributed.chunks import ChunkStore
from ..distributed.job import ExpertJob
from . import board, datasets, reporting
from .config import to_dict
from .display import Display
from .run import SAMPLES, SIMULATION, Run

REFERENCE, TRAJECTORIES = "reference", "trajectories"
UNITS = {"mueller-brown": "natural", "molecules": "nm"}
ERROR_TIMES = np.concatenate([np.geomspace(1e-5, 0.1, 24), np.linspace(0.15, 0.99, 12)]).astype(np.float32)


class StageError(RuntimeError):
    """A stage that cannot start or did not end well; the message says what to do."""


def data(runs: Sequence[Run], display: Display) -> None:
    """Generate or convert the dataset, which the runs share."""
    run = runs[0]
    config = run.config.data
    settings = to_dict(run.config)["data"]
    if run.config.reference is not None and settings.get("path", "given") is None:
        settings["reference"] = to_dict(run.config)["reference"]
    for place in ("path", "topology"):  # The same data elsewhere are the same data.
        settings.pop(place, None)
    source = {"name": run.config.preset, "units": UNITS[config.kind], "settings": settings}
    if (run.data / MANIFEST).exists():
        dataset = Dataset(run.data)
        found = dataset.manifest["source"].get("settings")
        if found not in (None, settings):  # Of a dataset that was given, only its beads are known.
            raise StageError(f"{run.data} was made with other settings: take another --name, or remove it")
        display.stage("data", f"skipped: {run.data} is there ({dataset.fingerprint[:12]})")
        return
    if isinstance(config, MuellerBrownConfig):
        display.stage("data", f"{config.frames} frames for training and as many as an independent reference")
        cluster.connect(run.config.cluster)
        seeds = {"train": 2 * config.seed, "reference": 2 * config.seed + 1}
        fingerprint = ray.get(
            tasks.submit(tasks.generate_mueller_brown, config, run.data.absolute(), seeds, source)
        )
    else:
        fingerprint = _molecules(run, config, source, display)
    display.stage("", f"fingerprint {fingerprint[:12]}")


def _molecules(run: Run, config: MoleculesConfig, origin: dict, display: Display) -> str:
    """Convert the user's trajectories, or those of a reference that is made here; the fingerprint."""
    if config.path is None:
        if run.config.reference is None or not config.sequences:
            raise StageError("data: where are the trajectories? Name their file or folder with --data PATH")
        try:
            require_openmm()
        except MoleculeError as error:
            raise StageError(
                f"data: name your trajectories with --data PATH, or let OpenMM make them: {error}"
            ) from None
        made = references(run)
        display.stage("data", f"references of {len(made)} peptides with OpenMM")
        datasets.generate(made, run.config.cluster, display)
        config = replace(config, path=str(run.directory.absolute() / REFERENCE))
    return datasets.convert(config, run.data, origin, run.config.cluster, display)


def references(run: Run) -> list[Reference]:
    """What a run of molecules without data simulates: its peptides, those of the judged split last."""
    config, settings = run.config.data, run.config.reference
    assert isinstance(config, MoleculesConfig) and settings is not None  # noqa: PT018
    splits = (("train", config.sequences), (config.evaluate, config.held_out))
    return [
        Reference(sequence, settings, run.directory.absolute() / REFERENCE / split)
        for split, sequences in splits
        for sequence in sequences or ()
    ]


def train(runs: Sequence[Run], display: Display) -> None:
    """Train all experts of all runs at once."""
    jobs = [job for run in runs for job in run.jobs if not job.trained]
    skipped = sum(len(run.jobs) for run in runs) - len(jobs)
    if skipped:
        display.stage("train", f"skipped: {skipped} experts are trained")
    if not jobs:
        return
    for run in runs:
        if not (run.data / MANIFEST).exists():
            raise StageError(f"train: {run.data} is not there, run `fokker data` first")
    display.stage("train", "1 expert" if len(jobs) == 1 else f"{len(jobs)} experts")
    cluster.connect(runs[0].config.cluster)
    at_once = max(len(run.jobs) for run in runs)
    homes = {job.directory: run.directory for run in runs for job in run.jobs}

    def record(job: ExpertJob, event: events.Event) -> None:
        event.append(homes[job.directory])
        display.event(event)

    with display.watching():
        outcomes = training.train_experts(jobs, runs[0].config.cluster, at_once, display.training, record)
    for name, outcome in outcomes.items():
        if outcome.error:
            display.stage("", f"[{name}] {outcome.error}")
    failed = [name for name, outcome in outcomes.items() if outcome.error]
    if failed:
        raise StageError(f"{len(failed)} of {len(jobs)} experts failed: {', '.join(failed)}")


def sample(runs: Sequence[Run], display: Display) -> None:
    """Draw independent samples of every run."""
    _require_trained("sample", runs)
    _chunks("sample", [work for run in runs for work in run.sampling], runs, display, unit="evaluations")


def simulate(runs: Sequence[Run], display: Display) -> None:
    """Simulate every run."""
    _require_trained("simulate", runs)
    _chunks("simulate", [work for run in runs for work in run.simulation], runs, display, unit="steps")


def _require_trained(stage: str, runs: Sequence[Run]) -> None:
    for run in runs:
        for job in run.jobs:
            if not job.trained:
                raise StageError(
                    f"{stage}: expert {job.name} is not trained to its end, run `fokker train` first"
                )


def _chunks(stage: str, works: Sequence[pool.Work], runs: Sequence[Run], display: Display, unit: str) -> None:
    if not any(missing for _, missing in map(pool.tally, works)):
        display.stage(stage, f"skipped: {sum(work.chunks for work in works)} chunks are there")
        return
    display.stage(stage, f"{sum(work.chunks for work in works)} chunks")
    cluster.connect(runs[0].config.cluster)
    names = [_label(run, system) for run in runs for system in run.systems]
    with display.watching():
        pool.run(works, runs[0].config.cluster, lambda tallies: display.chunks(names, tallies, unit))


def evaluate(runs: Sequence[Run], display: Display) -> None:
    """Compare samples and simulations with the training data: metrics.json."""
    wanted = [run for run in runs if not _newer(run.directory / "metrics.json", _results(run, "evaluate"))]
    if not wanted:
        display.stage("evaluate", "skipped: metrics.json is newer than the samples and the simulation")
    else:
        display.stage("evaluate", "metrics and the Fokker-Planck error of every conservative expert")
        cluster.connect(runs[0].config.cluster)
    curves = [tasks.submit(tasks.fokker_planck_curves, run.jobs, ERROR_TIMES) for run in wanted]
    for run, curve in zip(wanted, curves, strict=True):
        metrics = _metrics(run)
        metrics["fokker_planck_error"] = ray.get(curve)
        _write_trajectories(run)
        write_json(run.directory / "metrics.json", metrics)
        _board(run, metrics)
    for run in runs:
        metrics = read_json(run.directory / "metrics.json")
        display.metrics(run.label or run.directory.name, metrics)
        if len(metrics["systems"]) > 1:
            for name, result in metrics["systems"].items():
                display.metrics(name, result)


def _results(run: Run, stage: str) -> list[Path]:
    """Every chunk of samples and simulation. StageError, in the name of a stage, if one is missing."""
    paths = []
    if not (run.data / MANIFEST).exists():
        raise StageError(f"{stage}: {run.data} is not there, run `fokker data` first")
    for source, works in (("sample", run.sampling), ("simulate", run.simulation)):
        for work in works:
            store = ChunkStore(work.directory)
            paths += [store.path(index) for index in range(work.chunks)]
        missing = [path for path in paths if not path.exists()]
        if missing:
            raise StageError(f"{stage}: {missing[0]} is missing, run `fokker {source}` first")
    return paths


def _newer(target: Path, sources: Sequence[Path]) -> bool:
    return target.exists() and all(target.stat().st_mtime >= source.stat().st_mtime for source in sources)


def _metrics(run: Run) -> dict:
    """Metrics of every system, and their means at the top."""
    dataset = Dataset(run.data)
    systems = {
        system.name: _system_metrics(run, dataset, system, sampling, simulation)
        for system, sampling, simulation in zip(run.systems, run.sampling, run.simulation, strict=True)
    }
    metrics: dict = evaluation.mean([*systems.values()])
    for stage in (SAMPLES, SIMULATION):
        counts = [result[stage] for result in systems.values()]
        metrics[stage] = {
            key: sum(part[key] for part in counts) for key in counts[0] if "temperature" not in key
        }
    metrics[SIMULATION] |= {
        "kinetic_temperature": _mean_of(
            result[SIMULATION]["kinetic_temperature"] for result in systems.values()
        ),
        "temperature": run.config.data.temperature,
    }
    return metrics | {"systems": systems, "data_fingerprint": dataset.fingerprint}


def _mean_of(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _system_metrics(
    run: Run, dataset: Dataset, system: System, sampling: pool.Work, simulation: pool.Work
) -> dict:
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
    result = evaluation.judge(system, reference, samples, chains, floor)
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
            measured = total.temperature_sum / finite / system.temperature_unit if finite else None
            result[name]["kinetic_temperature"] = measured
    return result


def _write_trajectories(run: Run) -> None:
    """Samples and simulations of molecules as files that other programs open."""
    for works in (run.sampling, run.simulation):
        for work in works:
            if work.system.beads is not None:
                frames = ChunkStore(work.directory).read(work.chunks)
                path = run.directory / TRAJECTORIES / f"{work.system.name}-{work.directory.parent.name}.xtc"
                trajectories.write(work.system.beads, frames, path)


def surfaces(run: Run) -> dict[str, dict[str, np.ndarray]]:
    """Of every system, the three sets of points whose free energies are drawn side by side."""
    dataset, found = Dataset(run.data), {}
    for system, sampling, simulation in zip(run.systems, run.sampling, run.simulation, strict=True):
        frames = {
            "reference": dataset.split(run.split, system.name).read(),
            "iid": ChunkStore(sampling.directory).read(sampling.chunks),
            "simulation": ChunkStore(simulation.directory).read(simulation.chunks),
        }
        label = "" if len(run.systems) == 1 else system.name
        found[label] = {kind: system.points(part) for kind, part in frames.items()}
    return found


def _board(run: Run, metrics: dict) -> None:
    """Metrics and free-energy surfaces for TensorBoard."""
    scalars = {
        f"{metric}_{definition}/{kind}": value
        for definition in DEFINITIONS
        for kind, values in metrics[definition].items()
        for metric, value in values.items()
    }
    figure = figures.free_energy_surfaces(surfaces(run), run.systems[0].plane)
    board.write(run.directory / "evaluate", scalars, {"free_energy": figures.to_rgb_array(figure)})


def report(runs: Sequence[Run], display: Display) -> None:
    """Write report.html and the figures of every run."""
    for run in runs:
        path, source = run.directory / "report.html", run.directory / "metrics.json"
        if not _newer(source, _results(run, "report")):
            raise StageError(f"report: {source} is missing or out of date, run `fokker evaluate` first")
        if _newer(path, [source]):
            display.stage("report", f"skipped: {path} is newer than metrics.json")
            continue
        reporting.write(run, read_json(source), surfaces(run))
        display.stage("report", str(path))


def _label(run: Run, system: System) -> str:
    several = len(run.systems) > 1
    return f"{run.label} {system.name if several else ''}".strip()


STAGES: dict[str, Callable[[Sequence[Run], Display], None]] = {
    "data": data,
    "train": train,
    "sample": sample,
    "simulate": simulate,
    "evaluate": evaluate,
    "report": report,
}
