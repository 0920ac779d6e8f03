"""A run: one configuration and the directory that holds everything made from it."""

import json
import os
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..analysis.metrics import MUELLER_BROWN, Plane
from ..distributed.expert import ExpertJob
from ..distributed.pool import Sampling, Simulation
from .config import Config, ConfigError, load, to_dict

TIMINGS = "timings.json"
SAMPLES, SIMULATION = "sample", "simulate"
FIXED = ("preset", "method", "recipe", "seed", "data", "experts", "network", "objective", "train")
"""Settings that a run keeps for life; those of sampling and simulation may change, their results go then."""


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, whole or not at all."""
    partial = path.with_name(f".{path.name}")
    partial.write_text(json.dumps(value, indent=2) + "\n")
    os.replace(partial, path)


@dataclass(frozen=True)
class Run:
    """Where the parts of a run lie, and the work that they are made by."""

    config: Config
    directory: Path
    shared_data: Path | None = None
    """Data of several runs; otherwise the run has its own."""
    label: str = ""
    """Tells this run from others that go on at the same time."""

    @property
    def data(self) -> Path:
        """Directory of the dataset."""
        return self.shared_data or self.directory / "data"

    @property
    def plane(self) -> Plane:
        """Where distributions are compared."""
        return MUELLER_BROWN

    @cached_property
    def jobs(self) -> tuple[ExpertJob, ...]:
        """Training of each expert."""
        c = self.config
        return tuple(
            ExpertJob(
                f"{self.label} {expert.interval[0]:g}-{expert.interval[1]:g}".strip(),
                index,
                self.directory / "experts" / str(index),
                self.data,
                expert,
                c.network,
                c.objective,
                c.train,
                c.seed,
            )
            for index, expert in enumerate(c.experts)
        )

    @cached_property
    def sampling(self) -> Sampling:
        """Independent samples."""
        return Sampling(self.jobs, self.config.sample, self.directory / SAMPLES, self.plane, self.config.seed)

    @cached_property
    def simulation(self) -> Simulation:
        """Langevin dynamics."""
        c = self.config
        return Simulation(
            self.jobs,
            c.simulate,
            self.directory / SIMULATION,
            self.plane,
            c.seed,
            kT=c.data.temperature,
            mass=c.data.mass,
        )

    def timings(self) -> dict[str, float]:
        """Seconds that each stage took, over all attempts."""
        path = self.directory / TIMINGS
        return json.loads(path.read_text()) if path.exists() else {}

    def add_timing(self, stage: str, seconds: float) -> None:
        """Add to the seconds of a stage."""
        timings = self.timings()
        timings[stage] = timings.get(stage, 0.0) + seconds
        write_json(self.directory / TIMINGS, timings)

    def claim(self) -> list[str]:
        """Create the directory and save the configuration; lines that say what changed settings undo.

        Raises ConfigError if the directory holds a run with other settings of data or training.
        """
        path, notes = self.directory / "config.json", []
        wanted = to_dict(self.config)
        if path.exists():
            saved = to_dict(load(path))
            differing = [
                (name, old, new)
                for name, old, new in _differences(saved, wanted)
                if name.split(".")[0] in FIXED
            ]
            if differing:
                name, old, new = differing[0]
                raise ConfigError(
                    f"{self.directory} was made with {old}, not {new}: take another --name, or the old value",
                    field=name,
                )
            for part in (SAMPLES, SIMULATION):
                changed = [(n, a, b) for n, a, b in _differences(saved, wanted) if n.startswith(f"{part}.")]
                if changed and (self.directory / part).exists():
                    text = ", ".join(f"{n} {a} → {b}" for n, a, b in changed)
                    notes.append(f"{part}: {text}; what was made with the old settings is dropped")
                    shutil.rmtree(self.directory / part)
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            write_json(path, wanted)
        except OSError as error:
            raise ConfigError(f"{self.directory} cannot be written: {error.strerror}") from None
        return notes


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
