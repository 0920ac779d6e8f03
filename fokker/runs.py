"""Training and runs from Python: the same loop as on a cluster, in this process and without Ray."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from .analysis.results import RunResult, read
from .data.reference import mueller_brown
from .data.molecules.bead_map import BeadMap
from .data.bound import Model, load
from .data.config import MuellerBrownConfig
from .data.dataset.convert import check, convert_all, finish_conversion, sources_of
from .data.errors import unknown
from .data.readers.pooling import pool
from .data.dataset.shards import MANIFEST
from .distributed.training.expert import train as train_expert
from .distributed.training.progress import Progress
from .distributed.runs import run as runs, settling
from .distributed.runs.config import Config, ConfigError, Method, Recipe
from .distributed.runs.config import load as load_config
from .distributed.runs.presets import PRESETS


@dataclass(frozen=True)
class Step:
    """Where the training of one expert stands; as text, a line for people."""

    expert: str
    """Its interval of diffusion time."""
    progress: Progress

    def __str__(self):
        now = self.progress
        return f"expert {self.expert}  step {now.step}/{now.steps}  loss {now.denoising:.4f}"


def preset(name: str, method: Method = "both", recipe: Recipe = "fokker") -> Config:
    """The settings of an experiment, such as "dipeptides-small". ConfigError for one that is unknown."""
    if name not in PRESETS:
        raise ConfigError(unknown(name, tuple(PRESETS)), "preset")
    return PRESETS[name](method, recipe)


def train(
    config: Config,
    data: str | Path | None = None,
    *,
    directory: str | Path | None = None,
    progress: Callable[[Step], Any] = lambda step: None,
) -> Model:
    """Train every expert, one after another in this process, and return the model.

    `data` are trajectories in any layout that is read, or a converted dataset; those of Müller–Brown are
    simulated. A `directory` becomes a run: the same call again goes on from its checkpoints, and the command
    goes on with it; without one nothing is kept. Raises what the `fokker` command says in a line.
    """
    if directory is None:
        with tempfile.TemporaryDirectory() as folder:
            return train(config, data, directory=folder, progress=progress)
    this = _run(config, data, Path(directory))
    with runs.locked(this.directory):
        this.claim()
        _make_data(this)
        for job in this.jobs:
            if not job.trained:
                train_expert(job, lambda now, name=job.name: progress(Step(name, now)), lambda: False)
        this.save_model()
    return load(this.directory)


def _run(config: Config, data: str | Path | None, folder: Path) -> runs.Run:
    """The run, which uses a converted dataset where it lies."""
    if data is None:
        return runs.Run(config, folder)
    if isinstance(config.data, MuellerBrownConfig):
        raise ValueError(f"data {data}: those of {config.preset} are simulated: leave it out")
    usual = preset(config.preset, config.method, config.recipe).data
    chosen = [f"data.{k}" for k in ("temperature", "evaluate") if getattr(config.data, k) != getattr(usual, k)]
    config = replace(config, data=replace(config.data, path=str(data)))
    config, _ = settling.settled(config, folder / "data", chosen)
    there = Path(data).expanduser()
    return runs.Run(config, folder, shared_data=there if (there / MANIFEST).exists() else None)


def _make_data(this: runs.Run) -> None:
    """Simulate or convert the data, unless they are there."""
    config = this.config.data
    if (this.data / MANIFEST).exists():
        return
    if isinstance(config, MuellerBrownConfig):
        mueller_brown.write(config, this.data, {"name": this.config.preset, "units": "natural"})
        return
    bead_map = BeadMap.parse(config.beads)
    pools = pool(sources_of(config), bead_map)
    check(pools)
    convert_all(pools, bead_map, this.data)
    origin = {"name": this.config.preset, "units": "nm", "beads": bead_map.to_json()}
    finish_conversion(this.data, pools, origin)


@dataclass(frozen=True)
class Run:
    """What a run has made, by its folder."""

    directory: str | Path

    @cached_property
    def config(self) -> Config:
        """Its settings. ConfigError if there is no such run."""
        return load_config(Path(self.directory) / runs.CONFIG)

    @property
    def losses(self) -> Mapping[str, Mapping[str, Sequence[float]]]:
        """Of every expert that has begun, by its interval: columns such as step, denoising and consistency."""
        jobs = runs.Run(self.config, Path(self.directory)).jobs
        return {job.name: losses for job in jobs if (losses := job.losses) is not None}

    @property
    def result(self) -> RunResult:
        """What it was judged to be. FileNotFoundError before `fokker evaluate`."""
        return read(Path(self.directory) / runs.METRICS)

    @property
    def model(self) -> Model:
        """What was trained. ArchiveError if it is not trained to its end."""
        return load(self.directory)
