"""The stages of a run, each of which skips what is done and leaves nothing half-written."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import ray
from tensorboardX import SummaryWriter

from ..analysis import figures
from ..analysis.metrics import compare
from ..data.shards import MANIFEST, Dataset
from ..distributed import cluster, pool, tasks, training
from ..distributed import parameters as trained
from ..distributed.chunks import ChunkStore
from . import reporting
from .config import to_dict
from .display import Display
from .run import Run, write_json

DEFINITIONS = ("paper", "corrected")
ERROR_TIMES = np.concatenate([np.geomspace(1e-5, 0.1, 24), np.linspace(0.15, 0.99, 12)]).astype(np.float32)


class StageError(RuntimeError):
    """A stage that cannot start or did not end well; the message says what to do."""


def data(runs: Sequence[Run], display: Display) -> None:
    """Generate the dataset, which the runs share."""
    run = runs[0]
    config = run.config.data
    system = {"name": run.config.preset, "units": "natural", "settings": to_dict(run.config)["data"]}
    if (run.data / MANIFEST).exists():
        dataset = Dataset(run.data)
        if dataset.manifest["system"] != system:
            raise StageError(f"{run.data} was made with other settings: take another --name, or remove it")
        display.stage("data", f"skipped: {run.data} is there ({dataset.fingerprint[:12]})")
        return
    display.stage("data", f"{config.frames} frames for training and as many as an independent reference")
    cluster.connect(run.config.cluster)
    seeds = {"train": 2 * config.seed, "reference": 2 * config.seed + 1}
    fingerprint = ray.get(
        tasks.submit(tasks.generate_mueller_brown, config, run.data.absolute(), seeds, system)
    )
    display.stage("", f"fingerprint {fingerprint[:12]}")


def train(runs: Sequence[Run], display: Display) -> None:
    """Train all experts of all runs at once."""
    jobs = [job for run in runs for job in run.jobs if not (job.directory / trained.FILE).exists()]
    skipped = sum(len(run.jobs) for run in runs) - len(jobs)
    if skipped:
        display.stage("train", f"skipped: {skipped} experts are trained")
    if not jobs:
        return
    for run in runs:
        if not (run.data / MANIFEST).exists():
            raise StageError(f"train: {run.data} is not there, run `fokker data` first")
    display.stage("train", f"{len(jobs)} experts")
    cluster.connect(runs[0].config.cluster)
    at_once = max(len(run.jobs) for run in runs)
    with display.watching():
        outcomes = training.train_experts(jobs, runs[0].config.cluster, at_once, display.training)
    for name, outcome in outcomes.items():
        if outcome.error:
            display.stage("", f"[{name}] {outcome.error}")
    failed = [name for name, outcome in outcomes.items() if outcome.error]
    if failed:
        raise StageError(f"{len(failed)} of {len(jobs)} experts failed: {', '.join(failed)}")


def sample(runs: Sequence[Run], display: Display) -> None:
    """Draw independent samples of every run."""
    _chunks("sample", [run.sampling for run in runs], runs, display, unit="evaluations")


def simulate(runs: Sequence[Run], display: Display) -> None:
    """Simulate every run."""
    _chunks("simulate", [run.simulation for run in runs], runs, display, unit="steps")


def _chunks(stage: str, works: Sequence[pool.Work], runs: Sequence[Run], display: Display, unit: str) -> None:
    for run in runs:
        for job in run.jobs:
            if not (job.directory / trained.FILE).exists():
                raise StageError(
                    f"{stage}: expert {job.name} is not trained to its end, run `fokker train` first"
                )
    if not any(missing for _, missing in map(pool.tally, works)):
        display.stage(stage, f"skipped: {sum(work.chunks for work in works)} chunks are there")
        return
    display.stage(stage, f"{sum(work.chunks for work in works)} chunks")
    cluster.connect(runs[0].config.cluster)
    names = [run.label for run in runs]
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
        write_json(run.directory / "metrics.json", metrics)
        _board(run, metrics)
    for run in runs:
        metrics = json.loads((run.directory / "metrics.json").read_text())
        display.metrics(run.label or run.directory.name, metrics)


def _results(run: Run, stage: str) -> list[Path]:
    """Every chunk of samples and simulation. StageError, in the name of a stage, if one is missing."""
    paths = []
    for source, work in (("sample", run.sampling), ("simulate", run.simulation)):
        store = ChunkStore(work.directory)
        paths += [store.path(index) for index in range(work.chunks)]
        missing = [path for path in paths if not path.exists()]
        if missing:
            raise StageError(f"{stage}: {missing[0]} is missing, run `fokker {source}` first")
    return paths


def _newer(target: Path, sources: Sequence[Path]) -> bool:
    return target.exists() and all(target.stat().st_mtime >= source.stat().st_mtime for source in sources)


def _metrics(run: Run) -> dict:
    dataset = Dataset(run.data)
    reference, independent = dataset.split("train").read(), dataset.split("reference").read()
    sets = {"iid": _frames(run.sampling), "sim": _frames(run.simulation)}
    for stage, kind in (("sample", "iid"), ("simulate", "sim")):
        if not len(sets[kind]):
            raise StageError(
                f"evaluate: {run.directory / stage} holds no finite frame: the model is not trained well, or "
                f"one of the settings {stage}.* asks too much of it"
            )
    # A floor is that of as many frames: fewer lie farther from any reference.
    count = min(len(independent), *map(len, sets.values()))
    sets["floor"] = np.random.default_rng(0).choice(independent, count, replace=False)
    compared = {kind: compare(reference, points, run.plane) for kind, points in sets.items()}
    metrics: dict = {
        definition: {kind: values[definition] for kind, values in compared.items()}
        for definition in DEFINITIONS
    }
    for name, work in (("sample", run.sampling), ("simulate", run.simulation)):
        total = pool.tally(work)[0].total
        assert total is not None
        metrics[name] = {
            "frames": total.frames,
            "frames_not_finite": total.not_finite,
            "chains": total.chains,
            "chains_left_range": total.chains_left,
            "chains_not_finite": total.chains_not_finite,
        }
        if name == "simulate":
            finite = total.chains - total.chains_not_finite
            metrics[name]["kinetic_temperature"] = total.temperature_sum / finite if finite else None
            metrics[name]["temperature"] = run.config.data.temperature
    metrics["data_fingerprint"] = dataset.fingerprint
    return metrics


def _frames(work: pool.Work) -> np.ndarray:
    return ChunkStore(work.directory).read(work.chunks)


def surfaces(run: Run) -> dict[str, np.ndarray]:
    """The three sets of points whose free energies are drawn side by side."""
    reference = Dataset(run.data).split("train").read()
    return {"reference": reference, "iid": _frames(run.sampling), "simulation": _frames(run.simulation)}


def _board(run: Run, metrics: dict) -> None:
    """Metrics and free-energy surfaces for TensorBoard."""
    with SummaryWriter(str(run.directory / "evaluate")) as board:
        for definition in DEFINITIONS:
            for kind, values in metrics[definition].items():
                for metric, value in values.items():
                    board.add_scalar(f"{metric}_{definition}/{kind}", value, 0)
        figure = figures.free_energy_surfaces({"": surfaces(run)}, run.plane)
        board.add_image("free_energy", figures.to_rgb_array(figure), 0, dataformats="HWC")


def report(runs: Sequence[Run], display: Display) -> None:
    """Write report.html and the figures of every run."""
    for run in runs:
        path, source = run.directory / "report.html", run.directory / "metrics.json"
        if not _newer(source, _results(run, "report")):
            raise StageError(f"report: {source} is missing or out of date, run `fokker evaluate` first")
        if _newer(path, [source]):
            display.stage("report", f"skipped: {path} is newer than metrics.json")
            continue
        reporting.write(run, json.loads(source.read_text()), surfaces(run))
        display.stage("report", str(path))


STAGES: dict[str, Callable[[Sequence[Run], Display], None]] = {
    "data": data,
    "train": train,
    "sample": sample,
    "simulate": simulate,
    "evaluate": evaluate,
    "report": report,
}
