"""The stages of a run, each of which skips what is done and leaves nothing half-written."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import ray

from ...data.config import MoleculesConfig, MuellerBrownConfig, ReferenceConfig
from ...data.dataset.shards import MANIFEST, Dataset
from ...data.molecules.residues import MoleculeError
from ...data.reference import mueller_brown
from ...data.reference.building import require_openmm
from ...data.reference.dynamics import Reference
from .. import tasks
from ..campaigns import pool
from ..campaigns.works import Work
from ..cluster import joining
from ..groups import events, training
from ..training.job import ExpertJob
from . import board, checks, datasets, evaluate
from .config import ConfigError, from_dict, to_dict
from .display import Display
from .results import Result, Results, Settings
from .run import SAMPLES, SIMULATION, Run, StageError

REFERENCE = "reference"
PLACES = ("path", "topology")
"""Settings of data that may change: the same data elsewhere are the same data."""
UNITS = {"mueller-brown": "natural", "molecules": "nm"}


def data(runs: Sequence[Run], display: Display) -> None:
    """Generate or convert the dataset, which the runs share."""
    run = runs[0]
    config = run.config.data
    settings = to_dict(run.config)["data"]
    if run.config.reference is not None and settings.get("path", "given") is None:
        settings["reference"] = to_dict(run.config)["reference"]
    for place in PLACES:
        settings.pop(place, None)
    source = {"name": run.config.preset, "units": UNITS[config.kind], "settings": settings}
    if (run.data / MANIFEST).exists():
        dataset = Dataset(run.data)
        found = dataset.manifest["source"].get("settings")
        # Of a dataset that was given, only its beads are known.
        if found and _as_now(found, config) != settings:
            raise StageError(f"{run.data} was made with other settings: take another --name, or remove it")
        display.stage("data", f"skipped: {run.data} is there ({dataset.fingerprint[:12]})")
        return
    if isinstance(config, MuellerBrownConfig):
        display.stage("data", f"{config.frames} frames for training and as many as an independent reference")
        joining.connect(run.config.cluster)
        made: Any = ray.get(tasks.submit(mueller_brown.write, config, run.data.absolute(), source))
        fingerprint = made.fingerprint
    else:
        fingerprint = _molecules(run, config, source, display)
    display.stage("", f"fingerprint {fingerprint[:12]}")


def _as_now(found: dict[str, Any], config: MuellerBrownConfig | MoleculesConfig) -> dict[str, Any] | None:
    """Settings that such data were made with, and of later ones the defaults; None if they cannot be."""
    own = {name: value for name, value in found.items() if name != "reference"}
    try:
        known = to_dict(from_dict(own, type(config)))
        if "reference" in found:
            known["reference"] = to_dict(from_dict(found["reference"], ReferenceConfig))
    except ConfigError:
        return None
    return {name: value for name, value in known.items() if name not in PLACES}


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
    data, trained = run.config.data, run.config.reference
    assert isinstance(data, MoleculesConfig)
    assert trained is not None
    folder = run.directory.absolute() / REFERENCE
    times, held_out = data.held_out_factor, data.held_out or ()
    judged = replace(trained, production=times * trained.production, frames=times * trained.frames)
    return [
        Reference(sequence, judged if sequence in held_out else trained, folder / split)
        for split, sequence in checks.peptides(data)
    ]


def train(runs: Sequence[Run], display: Display) -> None:
    """Train all experts of all runs at once."""
    jobs = [job for run in runs for job in run.jobs if not job.trained]
    skipped = sum(len(run.jobs) for run in runs) - len(jobs)
    if skipped:
        display.stage("train", f"skipped: {skipped} experts are trained")
    if not jobs:
        _require_models(runs)
        return
    for run in runs:
        if not (run.data / MANIFEST).exists():
            raise StageError(f"train: {run.data} is not there, run `fokker data` first")
    display.stage("train", "1 expert" if len(jobs) == 1 else f"{len(jobs)} experts")
    for data in dict.fromkeys(run.data for run in runs if run.config.train.frames == "biased"):
        frames, weights = Dataset(data).training("biased")
        kind = (
            "of equilibrium, as not every system has biased ones" if weights is None else "biased, weighted"
        )
        display.stage("", f"{len(frames)} frames, {kind}")
    joining.connect(runs[0].config.cluster)
    at_once = max(len(run.jobs) for run in runs)
    of_job = {job.directory: run for run in runs for job in run.jobs}
    unfinished = [run for run in runs if not run.trained]
    for run in unfinished:
        board.begun(run)

    def record(job: ExpertJob, event: events.Event) -> None:
        run = of_job[job.directory]
        event.append(run.directory)
        board.happened(run, event)
        display.event(event)

    with display.watching():
        outcomes = training.train_experts(jobs, runs[0].config.cluster, at_once, display.training, record)
    for run in (run for run in unfinished if run.trained):
        run.save_model()
        board.trained(run)
    for name, outcome in outcomes.items():
        if outcome.error:
            display.stage("", f"[{name}] {outcome.error}")
    failed = [name for name, outcome in outcomes.items() if outcome.error]
    if failed:
        raise StageError(f"{len(failed)} of {len(jobs)} experts failed: {', '.join(failed)}")


def sample(runs: Sequence[Run], display: Display) -> None:
    """Draw independent samples of every run."""
    _require_trained(SAMPLES, runs)
    results = [_asked(SAMPLES, run, run.samples, run.config.sample, display) for run in runs]
    works = [
        run.sampling(result) + run.training_sampling(result)
        for run, result in zip(runs, results, strict=True)
    ]
    _segments(SAMPLES, works, runs, display, unit="evaluations")


def simulate(runs: Sequence[Run], display: Display) -> None:
    """Simulate every run."""
    _require_trained(SIMULATION, runs)
    works = [
        run.simulation(_asked(SIMULATION, run, run.simulations, run.config.simulate, display)) for run in runs
    ]
    _segments(SIMULATION, works, runs, display, unit="steps")


def _require_trained(stage: str, runs: Sequence[Run]) -> None:
    for job in (job for run in runs for job in run.jobs if not job.trained):
        raise StageError(f"{stage}: expert {job.name} is not trained to its end, run `fokker train` first")
    _require_models(runs)


def _require_models(runs: Sequence[Run]) -> None:
    """The model of each is a file, also where the driver was lost before it could write it."""
    for run in runs:
        if not run.model.exists():
            run.save_model()


def _asked(
    stage: str, run: Run, results: Results[Settings], settings: Settings, display: Display
) -> Result[Settings]:
    result = results.ask(settings, run.origin)
    if result.number > 1:
        display.stage(stage, f"result {result.number} of {run.name}, beside the others")
    return result


def _segments(
    stage: str, of_runs: Sequence[Sequence[Work]], runs: Sequence[Run], display: Display, unit: str
) -> None:
    works = [*chain(*of_runs)]
    tallies = [*map(pool.tally, works)]
    total = sum(tally.segments for tally in tallies)
    if all(tally.done == tally.segments for tally in tallies):
        display.stage(stage, f"skipped: {total} segments are there")
        return
    display.stage(stage, f"{total} segments")
    joining.connect(runs[0].config.cluster)
    names = [
        f"{run.label} {work.system.name if len(own) > 1 else ''}".strip()
        for run, own in zip(runs, of_runs, strict=True)
        for work in own
    ]
    with display.watching():
        pool.run(
            works,
            runs[0].config.cluster,
            lambda tallies: display.segments(names, tallies, unit),
            lambda text: display.stage("", text),
        )


STAGES: dict[str, Callable[[Sequence[Run], Display], None]] = {
    "data": data,
    "train": train,
    "sample": sample,
    "simulate": simulate,
    "evaluate": evaluate.evaluate,
    "report": evaluate.report,
}
