"""A run: one configuration and the directory that holds everything made from it.

The length is that of its one class, which knows where all of it lies.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...analysis.systems import System
from ...data import archive, fence
from ...data.dataset.shards import MANIFEST, Dataset
from ...data.errors import FokkerError
from ...data.files import read_json, sha256, sha256_of, write_json
from ...model.config import SampleConfig, SimulateConfig
from ..training import parameters
from ..training.job import ExpertJob, write_model
from .config import Config, ConfigError, load, save, to_dict
from .results import Origin, Result, Results

if TYPE_CHECKING:
    from ..campaigns.works import Sampling, Simulation

LOCK = ".lock"
CONFIG = "config.json"
METRICS = "metrics.json"
TIMINGS = "timings.json"
SAMPLES, SIMULATION = "sample", "simulate"
FIXED = (
    "preset",
    "method",
    "recipe",
    "seed",
    "data",
    "reference",
    "experts",
    "network",
    "objective",
    "train",
)
"""Settings that a run keeps for life; other settings of sampling and simulation make results of their own."""


class BusyError(FokkerError):
    """Another process is at work on a directory."""


class StageError(FokkerError):
    """A stage that cannot start or did not end well; the message says what to do."""


@contextmanager
def locked(directory: Path) -> Iterator[str]:
    """Create the directory and keep other processes out of it; the kernel opens it again at any death.

    Without locks, as file systems of networks can be, who began before stops when it next looks: what is
    yielded says so. Raises BusyError if another process is in it, ConfigError if it cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        handle = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise ConfigError(f"{directory} cannot be written: {error.strerror}") from None
    note = ""
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(
                f"{directory}: another fokker is at work on it; wait for it, or take another --name"
            ) from None
        except OSError:
            other = fence.last(directory)
            note = f"{directory} has no file locks" + (f": {other}, is to stop now" if other else "")
        attempt = fence.take(directory)
        try:
            yield note
        finally:
            fence.let_go(attempt)
    finally:
        os.close(handle)


def is_locked(directory: Path) -> bool:
    """Whether a process is in it, as far as the lock says; also where there are no locks."""
    with open(directory / LOCK, "a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


@dataclass(frozen=True)
class Run:
    """Where the parts of a run lie, and the work that they are made by.

    Work names its places in full: the processes of a cluster that was joined have a folder of their own.
    """

    config: Config
    directory: Path
    shared_data: Path | None = None
    """Data of several runs; otherwise the run has its own."""
    label: str = ""
    """Tells this run from others that go on at the same time."""
    allowed: tuple[str, ...] = ()
    """Settings, or groups of them, that may differ from those that the run began with."""
    result: int | None = None
    """Number of the samples and of the simulation that are judged; the last ones unless given."""

    @property
    def data(self) -> Path:
        """Directory of the dataset."""
        return self.shared_data or self.directory / "data"

    @property
    def name(self) -> str:
        """What it is called where there are several."""
        return self.label or self.directory.name

    @cached_property
    def systems(self) -> tuple[System, ...]:
        """What is sampled, simulated and judged. DatasetError if the data are not there."""
        dataset, data = Dataset(self.data.absolute()), self.config.data
        names = dataset.systems_of(self.split)
        return tuple(System.of(dataset, name, data) for name in names)

    @cached_property
    def training_systems(self) -> tuple[System, ...]:
        """What was trained on, where nothing of it is judged; otherwise none."""
        dataset, data = Dataset(self.data.absolute()), self.config.data
        names = dataset.systems_with("train")
        if {*names} & {*dataset.systems_of(self.split)}:
            return ()
        return tuple(System.of(dataset, name, data) for name in names)

    @property
    def split(self) -> str:
        """Split that they are judged by."""
        return self.config.data.evaluate

    @cached_property
    def jobs(self) -> tuple[ExpertJob, ...]:
        """Training of each expert."""
        c = self.config
        return tuple(
            ExpertJob(
                f"{self.label} {expert.interval[0]:g}-{expert.interval[1]:g}".strip(),
                index,
                self.directory.absolute() / "experts" / str(index),
                self.data.absolute(),
                expert,
                c.network,
                c.objective,
                c.train,
                c.seed,
                other_data=any(name.split(".")[0] == "data" for name in self.allowed),
                profile=c.cluster.profile,
                run=self.name,
            )
            for index, expert in enumerate(c.experts)
        )

    @property
    def trained(self) -> bool:
        """Whether all experts are, to their end."""
        return all(job.trained for job in self.jobs)

    @property
    def samples(self) -> Results[SampleConfig]:
        """All sets of independent samples."""
        return Results(self.directory.absolute() / SAMPLES, SampleConfig)

    @property
    def simulations(self) -> Results[SimulateConfig]:
        """All simulations."""
        return Results(self.directory.absolute() / SIMULATION, SimulateConfig)

    @property
    def origin(self) -> Origin:
        """What samples and simulations are made from. FileNotFoundError unless all experts are trained."""
        model = sha256_of([sha256(job.directory / parameters.FILE) for job in self.jobs])
        return Origin(model, Dataset(self.data.absolute()).fingerprint, self.config.seed, self.split)

    @property
    def model(self) -> Path:
        """File of the trained model."""
        return self.directory.absolute() / archive.FILE

    def save_model(self) -> None:
        """Write the trained model as one file. FileNotFoundError unless all experts are trained."""
        config = self.config
        write_model(self.model, self.jobs, config.data, config.sample, config.simulate)

    def sampling(self, result: Result[SampleConfig]) -> "tuple[Sampling, ...]":
        """The work that a set of samples is made by, for each system."""
        from ..campaigns.works import (
            Sampling,  # With Ray, which takes seconds, and who only trains needs not.
        )

        folder, seed = self.samples.folder(result), result.origin.seed
        return tuple(
            Sampling(self.model, self.name, one, result.settings, folder / one.name, seed, result.identity)
            for one in self.systems
        )

    def training_sampling(self, result: Result[SampleConfig]) -> "tuple[Sampling, ...]":
        """The work that samples of a few training systems are made by: no more than each has frames."""
        from ..campaigns.works import Sampling

        settings, every, dataset = result.settings, self.training_systems, Dataset(self.data)
        count = min(settings.training_peptides, len(every))
        chosen = [every[i * (len(every) - 1) // max(1, count - 1)] for i in range(count)]
        chunks = [-(-len(dataset.split("train", one.name)) // settings.chunk) for one in chosen]
        folder, seed = self.samples.folder(result), result.origin.seed
        return tuple(
            Sampling(
                *(self.model, self.name, one),
                replace(settings, samples=min(settings.samples, number * settings.chunk)),
                *(folder / one.name, seed, result.identity),
            )
            for one, number in zip(chosen, chunks, strict=True)
        )

    def simulation(self, result: Result[SimulateConfig]) -> "tuple[Simulation, ...]":
        """The work that a simulation is made by, for each system."""
        from ..campaigns.starts import FromData, FromSamples, Start, Stratified
        from ..campaigns.works import Simulation

        folder, origin = self.simulations.folder(result), result.origin
        settings, place = result.settings, (self.data.absolute(), origin.split)
        start: Start = FromData(*place, settings.first_phi_positive)
        if settings.start == "stratified":
            start = Stratified(*place)
        elif settings.start == "samples":
            start = FromSamples(archive.read(self.model).description.sample)
        return tuple(
            Simulation(
                *(self.model, self.name, system, start, result.settings),
                *(folder / system.name, origin.seed, result.identity),
            )
            for system in self.systems
        )

    def timings(self) -> dict[str, float]:
        """Seconds that each stage took, over all attempts."""
        path = self.directory / TIMINGS
        return read_json(path) if path.exists() else {}

    def add_timing(self, stage: str, seconds: float) -> None:
        """Add to the seconds of a stage."""
        timings = self.timings()
        timings[stage] = timings.get(stage, 0.0) + seconds
        write_json(self.directory / TIMINGS, timings)

    def changes(self) -> list[tuple[str, Any, Any]]:
        """Settings that differ from the saved ones, as (dotted name, saved, wanted).

        Raises ConfigError if the directory holds data or experts of other settings that are not `allowed`.
        """
        path = self.directory / CONFIG
        differing = _differences(to_dict(load(path)), to_dict(self.config)) if path.exists() else []
        begun = (self.data / MANIFEST).exists() or (self.directory / "experts").exists()
        for name, old, new in differing:
            allowed = any(f"{name}.".startswith(f"{one}.") for one in self.allowed)
            if begun and name.split(".")[0] in FIXED and not allowed:
                raise ConfigError(
                    f"{self.directory} was made with {old}, not {new}: take another --name, the old value, "
                    f"or go on with the new one by --allow-changed {name}",
                    field=name,
                )
        return differing

    def claim(self) -> list[str]:
        """Save the configuration in the directory; lines that say what `changes` mean for what is there.

        Nothing is removed: what was trained, or made as data, with settings that now change is put aside
        under a number, with the configuration that it was made with.
        """
        changes = self.changes()
        fixed = [change for change in changes if change[0].split(".")[0] in FIXED]
        path, notes = self.directory / CONFIG, []
        if kept := self._outdated(fixed):
            number = next(n for n in count(1) if not path.with_stem(f"{path.stem}-{n}").exists())
            aside = [(part, part.with_stem(f"{part.stem}-{number}")) for part in (*kept, path)]
            for part, place in aside:
                part.rename(place)
            listed = ", ".join(str(place.relative_to(self.directory)) for _, place in aside)
            words = ", ".join(f"{name} {old} → {new}" for name, old, new in fixed)
            notes.append(f"{words}: what was made with the old settings is kept as {listed}")
        if changes or not path.exists():
            save(path, self.config)
        return notes

    def _outdated(self, fixed: Sequence[tuple[str, Any, Any]]) -> list[Path]:
        """Finished experts, which go on from their checkpoints, and data that are made anew."""
        if not fixed:
            return []
        found = sorted(self.directory.glob(f"experts/*/{parameters.FILE}"))
        found += [self.model] if self.model.exists() else []
        if any(name.startswith("data.") for name, _, _ in fixed) and self.shared_data is None:
            found += [self.data] if self.data.exists() else []
        return found

    def require_saved(self) -> None:
        """ConfigError unless the settings are those saved, but for where it runs and how evaluate judges.

        ConfigError as well if there is no such run.
        """
        path = self.directory / CONFIG
        saved = to_dict(load(path))
        differing = _differences(saved, to_dict(self.config))
        changed = [change for change in differing if not change[0].startswith(("cluster.", "umbrella."))]
        if changed:
            name, old, new = changed[0]
            part = name.split(".")[0]
            make = f"`fokker {part}` with it adds a result" if part in (SAMPLES, SIMULATION) else ""
            raise ConfigError(
                f"{self.directory} was made with {old}, not {new}, and evaluate and report only read: leave "
                f"it out{f' ({make})' if make else ''}, or name the run alone: --name {self.directory.name}",
                field=name,
            )


def _differences(saved: Any, wanted: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """Settings that differ, as (dotted name, saved, wanted)."""
    if isinstance(saved, dict) and isinstance(wanted, dict):
        keys = [*wanted, *(key for key in saved if key not in wanted)]
        parts = [(key, saved.get(key), wanted.get(key)) for key in keys]
    elif isinstance(saved, list) and isinstance(wanted, list) and len(saved) == len(wanted):
        parts = [(str(i), a, b) for i, (a, b) in enumerate(zip(saved, wanted, strict=True))]
    else:
        return [(name, saved, wanted)] if saved != wanted else []
    return [d for key, a, b in parts for d in _differences(a, b, f"{name}.{key}" if name else key)]
