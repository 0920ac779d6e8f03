"""`fokker run`, and `fokker data`, `train`, `sample`, `simulate`, `evaluate`, `report`: one of its stages."""

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args

import tyro
from pydantic import AfterValidator
from pydantic.dataclasses import dataclass

from ...data.errors import unknown
from ...data.files import NAME_BYTES
from ...distributed.runs.config import Config, Method, Recipe, load
from ...distributed.runs.presets import PRESETS
from ...model.config import STRICT, Count
from . import parsing
from .command import Command
from .options import FLAT, commands_with, options
from .values import HomePath, UsageError, choice, is_option, typed

if TYPE_CHECKING:
    from ...distributed.runs.display import Display
    from ...distributed.runs.run import Run

METHODS: tuple[Method, ...] = get_args(Method)
RECIPES: tuple[Recipe, ...] = get_args(Recipe)
READING = ("evaluate", "report")
"""Commands that change no setting of a run, and remove nothing."""


def _folder(name: str | None) -> str | None:
    """A name that a folder can have everywhere. Raises ValueError."""
    if name is not None and not re.fullmatch(r"\w[\w.+-]{0,99}", name):
        raise ValueError(
            f"must be a plain folder name, not {name!r}: up to 100 letters, digits, '_', '.', '+' and '-', "
            "the first a letter, a digit or '_'"
        )
    if name is not None and len(os.fsencode(name)) > NAME_BYTES:
        raise ValueError(f"has {len(os.fsencode(name))} bytes, and names at most {NAME_BYTES}")
    return name


FolderName = Annotated[str | None, AfterValidator(_folder)]


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Which:
    """A run is named by its preset, or by --name."""

    preset: tyro.conf.Positional[str | None] = None
    """The experiment."""
    method: Method = "both"
    """Row of the paper's tables."""
    recipe: Recipe = "fokker"
    """The paper's protocol, or ours."""
    name: FolderName = None
    """Name of the run (none: the preset, with the method and recipe if they are not the usual)."""
    runs_dir: HomePath = Path("runs")
    """Folder of all runs; this one lives in it under its name."""

    @property
    def directory(self) -> Path:
        """Where everything of the run lives."""
        method = "" if self.method == "both" else f"-{self.method}"
        recipe = "-paper" if self.recipe == "paper" else ""
        return self.runs_dir / (self.name or f"{self.preset}{method}{recipe}")


@dataclass(frozen=True, config=STRICT, kw_only=True)
class RunArguments(Which):
    """Without a preset, the settings hold that the run of this --name has saved.

    The same command again resumes a run.
    """

    config: Annotated[Config, FLAT]
    allow_changed: tuple[str, ...] = ()
    """Settings, or groups of them, that may differ from those the run began with, such as train.clip."""
    given: tyro.conf.Suppress[tuple[str, ...]] = ()
    """Dotted paths of what was typed."""

    @property
    def allowed(self) -> tuple[str, ...]:
        """Dotted paths of what may differ. Raises UsageError for what is no setting."""
        paths = [option.path.split(".") for option in options(self.config).values()]
        known = list(dict.fromkeys(".".join(p[:i]) for p in paths for i in range(1, len(p) + 1)))
        return tuple(choice("--allow-changed", name.replace("-", "_"), known) for name in self.allow_changed)

    def words(self, decided: Mapping[str, Any] | None = None) -> list[tuple[str, ...]]:
        """The run as it would be typed after a command: the preset, and each option with its value.

        Those that are `decided`, by their dotted paths, follow unless they were typed.
        """
        others = {field.name for field in fields(self)} - {field.name for field in fields(RunArguments)}
        known = {option.path: option for option in options(self).values()}
        typed = [known[path] for path in self.given if path not in others]
        told = [replace(known[p], value=value) for p, value in (decided or {}).items() if p not in self.given]
        return [*([(self.preset,)] if self.preset else []), *(option.words() for option in [*typed, *told])]


@dataclass(frozen=True, config=STRICT, kw_only=True)
class JudgedArguments(RunArguments):
    """Without a preset, the settings hold that the run of this --name has saved."""

    result: Count | None = None
    """Number of the samples and of the simulation to judge (none: those made last)."""


Of = TypeVar("Of", bound=Which)


def read(kind: type[Of], command: str, argv: Sequence[str], about: str = "", writes: bool = True) -> Of:
    """The arguments of a command that works on one run: first which run, then all else, by its settings.

    Creates nothing. Raises UsageError, also if its folder cannot be written although the command `writes`.
    """
    name, method, recipe = (typed(argv, option) for option in ("--name", "--method", "--recipe"))
    runs = Path(typed(argv, "--runs-dir") or "runs").expanduser()
    preset = _preset(argv, command, runs)
    if preset is None and name is None:
        if not {"-h", "--help"} & {*argv}:
            raise UsageError(_nameless(argv, kind))
        presets = f"Presets: {', '.join(PRESETS)}"
        data = "Of molecules, --data PATH names your trajectories (short for --data.path)."
        example = f"To see the settings: fokker {command} {next(iter(PRESETS))} [--method M] --help"
        raise parsing.Help(parsing.helped(kind, command, about="\n\n".join((about, presets, data, example))))
    default = None
    if issubclass(kind, RunArguments):
        config = _config(preset, method, recipe, runs, name)
        default = kind(config=config, preset=preset, method=config.method, recipe=config.recipe)
    arguments = parsing.read(kind, command, argv, default, about=about)
    if isinstance(arguments, RunArguments):
        _ = arguments.allowed
    require_place(arguments.directory, arguments.runs_dir, writes)
    return arguments


def _preset(argv: Sequence[str], command: str, runs: Path) -> str | None:
    """The preset: the first word, or one behind options with values."""
    words = [word for before, word in pairwise(["", *argv]) if not is_option(before) or "=" in before]
    named = next((word for word in words if word in PRESETS), None)
    if named is None and argv and not is_option(argv[0]):
        from . import COMMANDS  # They are made of what is here.

        ends = {name: name.split()[-1] for name in COMMANDS if name != command}
        others = [f"fokker {name}" for name, end in ends.items() if end in (argv[0], command)]
        if (runs / argv[0]).is_dir():
            others = [f"--name {argv[0]}"]
        raise UsageError(f"preset: {unknown(argv[0], tuple(PRESETS), others)}")
    return named


def _nameless(argv: Sequence[str], kind: type) -> str:
    """What is said where no run is named; perhaps an option tells that another command is meant."""
    for word in filter(is_option, argv):
        option = word.partition("=")[0].replace("_", "-")
        if option not in options(kind) and (others := commands_with(option)):
            return f"unknown option {option}: did you mean {' or '.join(others)}?"
    return f"name a preset ({', '.join(PRESETS)}), or with --name a run that has started"


def _config(
    preset: str | None, method: str | None, recipe: str | None, runs: Path, name: str | None
) -> Config:
    """The preset, of a method and recipe, or what a run has saved."""
    if preset is not None:
        make = PRESETS[preset]
        return make(
            choice("--method", method or "both", METHODS), choice("--recipe", recipe or "fokker", RECIPES)
        )
    for option, value in (("--method", method), ("--recipe", recipe)):
        if value is not None:
            raise UsageError(f"{option} needs a preset: without one, the run's saved settings hold")
    return load(runs / (name or "") / "config.json")


def on_devices(gpus: int) -> dict[str, Any]:
    """What a run is told of hosts that have so many GPUs, by dotted paths."""
    return {"cluster.device": "gpu", "cluster.devices_per_host": gpus} if gpus else {"cluster.device": "cpu"}


def require_place(directory: Path, runs: Path, writes: bool = True) -> None:
    """UsageError unless a run's folder can be written, if it is; creates nothing."""
    there = next((path for path in (directory, *directory.parents) if os.path.lexists(path)), None)
    if there is None:
        raise UsageError("the folder in which the command was started is gone: change to one that is there")
    writable = not writes or os.access(there, os.W_OK | os.X_OK)
    if not there.is_dir() or not writable:
        problem = "is not writable" if there.is_dir() else "is not a folder"
        blamed = f"--name {directory.name}" if there == directory else f"--runs-dir {runs}"
        raise UsageError(f"{blamed}: {there} {problem}; choose another place")


def carry_out(stage: str, arguments: RunArguments, display: "Display") -> None:
    """All stages of a run, or one."""
    from rich.pretty import Pretty

    from ...data.dataset.shards import MANIFEST
    from ...distributed.cluster import storage
    from ...distributed.runs import checks, settling
    from ...distributed.runs.run import Run, locked
    from ...distributed.runs.stages import STAGES

    directory, reads, config, notes = arguments.directory, stage in READING, arguments.config, []
    result = arguments.result if isinstance(arguments, JudgedArguments) else None
    if not reads or (directory / "data" / MANIFEST).exists():
        config, notes = settling.settled(config, directory / "data", arguments.given)
    this = Run(config, directory, allowed=arguments.allowed, result=result)
    judged = []
    if reads:
        this.require_saved()
    else:
        this.changes()  # Refuses before anything is created.
        storage.require_no_objects(directory)
        judged = checks.require_judgeable(this)
    with locked(directory) as note:
        notes = [*([note] if note else []), *([] if reads else this.claim()), *notes]
        display.console.print(Pretty(config, expand_all=False, max_string=80))
        if not reads:
            checks.require_room(this, judged)
        for note in notes:
            display.stage("note", note)
        execute(list(STAGES) if stage == "run" else [stage], [this], display)


def execute(stages: Sequence[str], runs: "Sequence[Run]", display: "Display") -> None:
    """The stages of several runs, each stage for all of them together."""
    from ...distributed.cluster import joining
    from ...distributed.runs import checks
    from ...distributed.runs.stages import STAGES

    with joining.leaving():
        if not {*stages} <= {*READING}:
            for note in checks.require_storage(runs[0].directory, runs[0].config.cluster):
                display.stage("note", note)
        for stage in stages:
            begin = time.perf_counter()
            STAGES[stage](runs, display)
            for this in runs:
                this.add_timing(stage, (time.perf_counter() - begin) / len(runs))


ABOUT = {
    "run": "carry out every stage below, from data to report",
    "data": "generate the training and the reference configurations",
    "train": "train the experts on them, all at the same time",
    "sample": "draw independent samples from the trained model",
    "simulate": "run Langevin dynamics in the learned potential",
    "evaluate": "compare samples and simulations with the reference",
    "report": "write the report and its figures",
}
COMMANDS = {
    name: Command(about, JudgedArguments if name in READING else RunArguments, partial(carry_out, name), read)
    for name, about in ABOUT.items()
}
