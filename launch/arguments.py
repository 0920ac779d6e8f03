"""What was typed, as a configuration: `parse` knows every command, option and setting of `fokker`.

Free of JAX and Ray, so that help and errors appear at once. Not argparse: the settings depend on the
preset, values may be negative numbers, and unknown names deserve a suggestion.
"""

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from fokker import __version__

from ..data.files import NAME_BYTES
from . import clean, deploy_arguments, plan_arguments, slurm_arguments, submit
from . import molecule_arguments as molecules
from .config import Config, ConfigError, Method, Recipe, load
from .presets import PRESETS
from .settings import settings
from .usage import (
    COMMANDS,
    DATA_COMMANDS,
    REPRODUCE_OPTIONS,
    SIZES,
    TABLE_METHODS,
    TABLE_SEEDS,
    TABLES,
    TAKEN_OPTIONS,
    checkpoint_help,
    export_help,
    options_of,
    overview,
    preset_help,
    reproduce_help,
    run_help,
)
from .words import Options, UsageError, choice, only, override, path, print_and_exit, split, take

METHODS: tuple[Method, ...] = get_args(Method)
RECIPES: tuple[Recipe, ...] = get_args(Recipe)
ELSEWHERE = ("plan", "deploy", "slurm")
"""Commands that write nothing into the folder of a run."""


@dataclass(frozen=True)
class RunArguments:
    """One run of all stages or of one."""

    command: str
    """"run" or the name of a stage."""
    config: Config
    directory: Path
    """Where everything of the run lives."""
    allowed: tuple[str, ...] = ()
    """Settings, or groups of them, in which it may differ from how the run began."""
    given: tuple[str, ...] = ()
    """Settings that were typed."""
    result: int | None = None
    """Which samples and simulation are judged; the last ones unless given."""


@dataclass(frozen=True)
class ReproduceArguments:
    """One table of the paper: every method, with several seeds."""

    table: str
    seeds: int
    """Number of seeds: 0, 1, …"""
    configs: dict[Method, Config]
    """Each method's configuration, with seed 0."""
    directory: Path
    given: tuple[str, ...] = ()
    """Settings that were typed."""


@dataclass(frozen=True)
class CheckpointArguments:
    """What to do with the checkpoints of which run."""

    command: str
    run: Path


@dataclass(frozen=True)
class ExportArguments:
    """A trained run, and the file that its model is written to."""

    run: Path
    file: Path
    """New, unless one may be replaced."""


OtherArguments = (
    ReproduceArguments
    | ExportArguments
    | CheckpointArguments
    | clean.CleanArguments
    | submit.SubmitArguments
    | plan_arguments.PlanArguments
    | deploy_arguments.RenderArguments
    | molecules.Arguments
)


def parse(argv: Sequence[str]) -> RunArguments | slurm_arguments.Arguments | OtherArguments:
    """What `argv` (without the program's name) asks for.

    Creates nothing. Raises SystemExit: 0 after printing help or the version, 2 after one line on stderr.
    """
    command, *rest = argv or [""]
    if command in ("-h", "--help"):
        print_and_exit(overview())
    if command == "--version":
        print_and_exit(f"fokker {__version__}")
    program = f"fokker {command}" if command in COMMANDS else "fokker"
    try:
        if not command:
            raise UsageError(f"name a command: {', '.join(COMMANDS)}")
        choice("command", command, tuple(COMMANDS))
        if command == "submit":
            return submit.parse(rest)
        words, options = split(rest)
        if command == "reproduce":
            return _reproduce(words, options)
        if command == "export":
            return _export(words, options)
        if command == "checkpoint":
            return _checkpoint(words, options)
        if command == "clean":
            return clean.parse(words, options)
        if command == "plan":
            return plan_arguments.plan(words, options, _run)
        if command == "deploy":
            return deploy_arguments.deploy(words, options, _run)
        if command == "slurm":
            return slurm_arguments.slurm(words, options, _run)
        if command == "data" and words and words[0] in DATA_COMMANDS:
            program = f"{program} {words[0]}"
            return molecules.DATA[words[0]](words[1:], options)
        if command in TAKEN_OPTIONS and ("--sequence" in options or molecules.is_model(words)):
            return molecules.taken(command, words, options)
        if command == "evaluate" and ("--samples" in options or "--reference" in options):
            return molecules.judge(words, options)
        return _run(command, words, options)
    except OSError as error:  # Of a path that cannot be looked at: its name is too long, or a loop of links.
        print(f"{program}: error: {error.filename}: {(error.strerror or '').lower()}", file=sys.stderr)
        raise SystemExit(2) from None
    except (UsageError, ConfigError) as error:
        print(f"{program}: error: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None


def _run(command: str, words: list[str], options: Options) -> RunArguments:
    preset = only(words, "preset")
    if "--help" in options:
        if preset is None:
            print_and_exit(run_help(command))
        print_and_exit(preset_help(command, _preset(preset, options)))
    runs = take(options, "--runs-dir", "runs")
    if "--data" in options:  # For short: where the user's trajectories lie.
        options["--data.path"] = options.pop("--data")
    if "--profile" in options:
        options["--cluster.profile"] = take(options, "--profile", "100:200").replace(":", ",")
    allowed = take(options, "--allow-changed", "train.clip") if "--allow-changed" in options else ""
    result = _result(options) if command in ("evaluate", "report") else None
    if preset is not None:
        config = _preset(preset, options)
        directory = _directory(runs, take(options, "--name", _default_name(config)), command not in ELSEWHERE)
    elif "--name" not in options:
        raise UsageError(f"name a preset ({', '.join(PRESETS)}), or with --name a run that has started")
    else:
        directory = _directory(runs, take(options, "--name", "NAME"), command not in ELSEWHERE)
        for fixed in ("--method", "--recipe"):
            if fixed in options:
                raise UsageError(f"{fixed} needs a preset: without one, the run's saved settings hold")
        config = load(directory / "config.json")
    config = override(config, options, [*options_of(command)])
    return RunArguments(command, config, directory, _allowed(config, allowed), _paths(options), result)


def _paths(options: Options) -> tuple[str, ...]:
    """The dotted names of settings that options set."""
    return tuple(name.removeprefix("--").replace("-", "_") for name in options)


def _result(options: Options) -> int | None:
    if "--result" not in options:
        return None
    text = take(options, "--result", "1")
    if not re.fullmatch(r"0*[1-9][0-9]{0,5}", text):
        raise UsageError(f"--result: must be the number of a result, as the report names it, not {text!r}")
    return int(text)


def _allowed(config: Config, text: str) -> tuple[str, ...]:
    """Settings or groups of settings, separated by commas."""
    paths = [path.split(".") for path in settings(config)]
    known = list(dict.fromkeys(".".join(p[:i]) for p in paths for i in range(1, len(p) + 1)))
    names = text.replace("-", "_").split(",") if text else []
    return tuple(choice("--allow-changed", name, known) for name in names)


def _reproduce(words: list[str], options: Options) -> ReproduceArguments:
    table = only(words, "table")
    if "--help" in options:
        print_and_exit(reproduce_help())
    if table is None:
        raise UsageError(f"name a table: {', '.join(TABLES)}")
    name = TABLES[choice("table", table, tuple(TABLES))]
    size = choice("--size", take(options, "--size", "full"), SIZES)
    if size == "small":
        if f"{name}-small" not in PRESETS:
            raise UsageError(f"--size: {table} has its full size alone, which two cores carry out")
        name = f"{name}-small"
    preset = PRESETS[name]
    if "--data" in options:
        options["--data.path"] = options.pop("--data")
    seeds = take(options, "--seeds", TABLE_SEEDS[table])
    if not re.fullmatch(r"0*[1-9][0-9]{0,5}", seeds):
        raise UsageError(f"--seeds: must be a whole number above 0, not {seeds!r}")
    methods = _methods(take(options, "--methods", TABLE_METHODS[table]))
    recipe = choice("--recipe", take(options, "--recipe", "paper"), RECIPES)
    name = "-".join([table, *([recipe] if recipe != "paper" else []), *([size] if size != "full" else [])])
    directory = _directory(take(options, "--runs-dir", "runs"), take(options, "--name", name))
    others = [*REPRODUCE_OPTIONS]
    configs: dict[Method, Config] = {
        method: override(preset(method, recipe), options, others, without=("seed",)) for method in methods
    }
    return ReproduceArguments(table, int(seeds), configs, directory, _paths(options))


def _export(words: list[str], options: Options) -> ExportArguments:
    if "--help" in options:
        print_and_exit(export_help())
    force = options.pop("--force", "") is None
    if options:
        raise UsageError(f"unknown option {next(iter(options))}: export has --force alone, without a value")
    if len(words) != 2:
        raise UsageError("name a run's folder and a file: fokker export runs/NAME model.safetensors")
    run, file = map(path, words)
    if not run.is_dir():
        raise UsageError(f"{run} is not the folder of a run")
    if not file.absolute().parent.is_dir() or file.is_dir():
        raise UsageError(f"{file}: there is no folder for it, or it is one itself")
    if file.exists() and not force:
        raise UsageError(f"{file} exists: take another name, or --force to replace it")
    return ExportArguments(run, file)


def _checkpoint(words: list[str], options: Options) -> CheckpointArguments:
    if "--help" in options:
        print_and_exit(checkpoint_help())
    if options:
        raise UsageError(f"unknown option {next(iter(options))}: checkpoint has none")
    if len(words) != 2:
        raise UsageError("say what, and of which run: fokker checkpoint list|verify runs/NAME")
    command, run = choice("checkpoint", words[0], ("list", "verify")), path(words[1])
    if not run.is_dir():
        raise UsageError(f"{run} is not the folder of a run")
    return CheckpointArguments(command, run)


def _methods(text: str) -> list[Method]:
    methods: list[Method] = [choice("--methods", method, METHODS) for method in text.split(",")]
    for method in methods:
        if methods.count(method) > 1:
            raise UsageError(f"--methods: {method!r} is given twice")
    return methods


def _preset(name: str, options: Options) -> Config:
    """The preset, with the method and recipe taken from the options."""
    preset = PRESETS[choice("preset", name, tuple(PRESETS))]
    method = choice("--method", take(options, "--method", "both"), METHODS)
    return preset(method, choice("--recipe", take(options, "--recipe", "fokker"), RECIPES))


def _default_name(config: Config) -> str:
    method = "" if config.method == "both" else f"-{config.method}"
    return config.preset + method + ("-paper" if config.recipe == "paper" else "")


def _directory(runs: str, name: str, written: bool = True) -> Path:
    """The run's folder, after checking (without creating anything) that it can be `written`, if it is."""
    if not re.fullmatch(r"\w[\w.+-]{0,99}", name):
        raise UsageError(
            f"--name: must be a plain folder name, not {name!r}: "
            "up to 100 letters, digits, '_', '.', '+' and '-', the first a letter, a digit or '_'"
        )
    if len(os.fsencode(name)) > NAME_BYTES:
        raise UsageError(f"--name: has {len(os.fsencode(name))} bytes, and names at most {NAME_BYTES}")
    directory = path(runs) / name
    existing = next((path for path in (directory, *directory.parents) if os.path.lexists(path)), None)
    if existing is None:
        raise UsageError("the folder in which the command was started is gone: change to one that is there")
    problem = None
    if not existing.is_dir():
        problem = "is not a folder"
    elif written and not os.access(existing, os.W_OK | os.X_OK):
        problem = "is not writable"
    if problem:
        to_blame = f"--name {name}" if existing == directory else f"--runs-dir {runs}"
        raise UsageError(f"{to_blame}: {existing} {problem}; choose another place")
    return directory
