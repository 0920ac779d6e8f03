"""What was typed, as a configuration: `parse` knows every command, option and setting of `fokker`.

Free of JAX and Ray, so that help and errors appear at once. Not argparse: the settings depend on the
preset, values may be negative numbers, and unknown names deserve a suggestion.
"""

import difflib
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args

from fokker import __version__

from ..data.config import MoleculesConfig, ReferenceConfig
from .config import Config, ConfigError, Method, Recipe, from_dict, load, to_dict
from .presets import PRESETS
from .settings import Setting, option, settings
from .usage import (
    COMMANDS,
    DATA_COMMANDS,
    OPTIONS,
    REPRODUCE_OPTIONS,
    SIZES,
    TABLE_METHODS,
    TABLE_SEEDS,
    TABLES,
    TAKEN_OPTIONS,
    data_help,
    export_help,
    overview,
    preset_help,
    reproduce_help,
    run_help,
    taken_help,
)

METHODS: tuple[Method, ...] = get_args(Method)
RECIPES: tuple[Recipe, ...] = get_args(Recipe)

Choice = TypeVar("Choice", bound=str)
Group = TypeVar("Group", ReferenceConfig, MoleculesConfig)
Options = dict[str, str | None]
"""Option, with its dashes, to the text given; None where no value follows."""


@dataclass(frozen=True)
class RunArguments:
    """One run of all stages or of one."""

    command: str
    """"run" or the name of a stage."""
    config: Config
    directory: Path
    """Where everything of the run lives."""


@dataclass(frozen=True)
class ReproduceArguments:
    """One table of the paper: every method, with several seeds."""

    table: str
    seeds: int
    """Number of seeds: 0, 1, …"""
    configs: dict[Method, Config]
    """Each method's configuration, with seed 0."""
    directory: Path


@dataclass(frozen=True)
class ExportArguments:
    """A trained run, and the file that its model is written to."""

    run: Path
    file: Path


@dataclass(frozen=True)
class GenerateArguments:
    """Peptides, and the folder of a split that their reference dynamics go to."""

    sequences: tuple[str, ...]
    directory: Path
    config: ReferenceConfig


@dataclass(frozen=True)
class ConvertArguments:
    """Trajectories, and the folder of the dataset that they become."""

    config: MoleculesConfig
    directory: Path


@dataclass(frozen=True)
class InspectArguments:
    """What to look at, and the picture of its Ramachandran planes."""

    path: Path
    figure: Path | None
    config: MoleculesConfig


@dataclass(frozen=True)
class TakenArguments:
    """Samples or a simulation of a model that was taken away."""

    command: str
    """"sample" or "simulate"."""
    model: Path
    sequence: str
    count: int
    """Samples or chains."""
    frames: int
    """Of each chain."""
    stride: int | None
    burn_in: int | None
    seed: int
    out: Path | None


@dataclass(frozen=True)
class JudgeArguments:
    """Frames of any program, and the reference that they are judged by."""

    samples: Path
    reference: Path
    out: Path
    config: MoleculesConfig


OtherArguments = (
    ReproduceArguments
    | ExportArguments
    | GenerateArguments
    | ConvertArguments
    | InspectArguments
    | TakenArguments
    | JudgeArguments
)


class _UsageError(Exception):
    """What was typed cannot be carried out."""


def parse(argv: Sequence[str]) -> RunArguments | OtherArguments:
    """What `argv` (without the program's name) asks for.

    Creates nothing. Raises SystemExit: 0 after printing help or the version, 2 after one line on stderr.
    """
    command, *rest = argv or [""]
    if command in ("-h", "--help"):
        _print_and_exit(overview())
    if command == "--version":
        _print_and_exit(f"fokker {__version__}")
    program = f"fokker {command}" if command in COMMANDS else "fokker"
    try:
        if not command:
            raise _UsageError(f"name a command: {', '.join(COMMANDS)}")
        _choice("command", command, tuple(COMMANDS))
        words, options = _split(rest)
        if command == "reproduce":
            return _reproduce(words, options)
        if command == "export":
            return _export(words, options)
        if command == "data" and words and words[0] in DATA_COMMANDS:
            program = f"{program} {words[0]}"
            return {"generate": _generate, "convert": _convert, "inspect": _inspect}[words[0]](
                words[1:], options
            )
        if command in TAKEN_OPTIONS and ("--sequence" in options or _is_model(words)):
            return _taken(command, words, options)
        if command == "evaluate" and ("--samples" in options or "--reference" in options):
            return _judge(words, options)
        return _run(command, words, options)
    except (_UsageError, ConfigError) as error:
        print(f"{program}: error: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None


def _run(command: str, words: list[str], options: Options) -> RunArguments:
    preset = _only(words, "preset")
    if "--help" in options:
        if preset is None:
            _print_and_exit(run_help(command))
        _print_and_exit(preset_help(command, _preset(preset, options)))
    runs = _take(options, "--runs-dir", "runs")
    if "--data" in options:  # For short: where the user's trajectories lie.
        options["--data.path"] = options.pop("--data")
    if preset is not None:
        config = _preset(preset, options)
        directory = _directory(runs, _take(options, "--name", _default_name(config)))
    elif "--name" not in options:
        raise _UsageError(f"name a preset ({', '.join(PRESETS)}), or with --name a run that has started")
    else:
        directory = _directory(runs, _take(options, "--name", "NAME"))
        for fixed in ("--method", "--recipe"):
            if fixed in options:
                raise _UsageError(f"{fixed} needs a preset: without one, the run's saved settings hold")
        config = load(directory / "config.json")
    return RunArguments(command, _override(config, options, [*OPTIONS]), directory)


def _reproduce(words: list[str], options: Options) -> ReproduceArguments:
    table = _only(words, "table")
    if "--help" in options:
        _print_and_exit(reproduce_help())
    if table is None:
        raise _UsageError(f"name a table: {', '.join(TABLES)}")
    name = TABLES[_choice("table", table, tuple(TABLES))]
    size = _choice("--size", _take(options, "--size", "full"), SIZES)
    if size == "small":
        if f"{name}-small" not in PRESETS:
            raise _UsageError(f"--size: {table} has its full size alone, which two cores carry out")
        name = f"{name}-small"
    preset = PRESETS[name]
    if "--data" in options:
        options["--data.path"] = options.pop("--data")
    seeds = _take(options, "--seeds", TABLE_SEEDS[table])
    if not re.fullmatch(r"0*[1-9][0-9]{0,5}", seeds):
        raise _UsageError(f"--seeds: must be a whole number above 0, not {seeds!r}")
    methods = _methods(_take(options, "--methods", TABLE_METHODS[table]))
    recipe = _choice("--recipe", _take(options, "--recipe", "paper"), RECIPES)
    name = "-".join([table, *([recipe] if recipe != "paper" else []), *([size] if size != "full" else [])])
    directory = _directory(_take(options, "--runs-dir", "runs"), _take(options, "--name", name))
    others = [*REPRODUCE_OPTIONS]
    configs: dict[Method, Config] = {
        method: _override(preset(method, recipe), options, others, without=("seed",)) for method in methods
    }
    return ReproduceArguments(table, int(seeds), configs, directory)


def _export(words: list[str], options: Options) -> ExportArguments:
    if "--help" in options:
        _print_and_exit(export_help())
    if options:
        raise _UsageError(f"unknown option {next(iter(options))}: export has none")
    if len(words) != 2:
        raise _UsageError("name a run's folder and a file: fokker export runs/NAME model.safetensors")
    run, file = map(Path, words)
    if not run.is_dir():
        raise _UsageError(f"{run} is not the folder of a run")
    if not file.absolute().parent.is_dir() or file.is_dir():
        raise _UsageError(f"{file}: there is no folder for it, or it is one itself")
    return ExportArguments(run, file)


def _is_model(words: list[str]) -> bool:
    return len(words) == 1 and words[0].endswith(".safetensors")


def _taken(command: str, words: list[str], options: Options) -> TakenArguments:
    if "--help" in options:
        _print_and_exit(taken_help(command))
    if (model := _only(words, "model")) is None:
        raise _UsageError(f"name a model: fokker {command} model.safetensors --sequence AC")
    if "--sequence" not in options:
        raise _UsageError(f"{model} is a model: say of what, such as --sequence AC or ACE-ALA-NME")
    if not Path(model).exists():
        raise _UsageError(f"{model} does not exist: name what fokker export wrote, or a run's folder")
    known = TAKEN_OPTIONS[command]
    for name in options:
        if name not in known:
            raise _UsageError(f"unknown option {name}: {model} is a model, which has {', '.join(known)}")

    def whole(name: str, least: int) -> int | None:
        if name not in options:
            return None
        text = _take(options, name, "100")
        if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < least:
            raise _UsageError(f"{name}: must be a whole number, at least {least}, not {text!r}")
        return int(text)

    out = Path(_take(options, "--out", "FILE.xtc")) if "--out" in options else None
    if out is not None and (out.suffix != ".xtc" or not out.absolute().parent.is_dir()):
        raise _UsageError(f"--out: {out} has to end with .xtc, in a folder that is there")
    return TakenArguments(
        command,
        Path(model),
        _take(options, "--sequence", "AC"),
        whole("--count", 1) or whole("--chains", 1) or (1000 if command == "sample" else 100),
        whole("--frames", 1) or 100,
        whole("--stride", 1),
        whole("--burn-in", 0),
        whole("--seed", 0) or 0,
        out,
    )


def _judge(words: list[str], options: Options) -> JudgeArguments:
    if words:
        raise _UsageError(f"unexpected {words[0]!r}: --samples and --reference say all, a run has its own")
    paths = []
    for name in ("--samples", "--reference"):
        if name not in options:
            raise _UsageError(
                f"{name} is missing: fokker evaluate --samples TRAJECTORY --reference PATH [--topology PDB]"
            )
        paths.append(Path(_take(options, name, "PATH")))
        if not paths[-1].exists():
            raise _UsageError(f"{name}: {paths[-1]} does not exist")
    out = Path(_take(options, "--out", "metrics.json"))
    if out.suffix != ".json" or not out.absolute().parent.is_dir():
        raise _UsageError(f"--out: {out} has to end with .json, in a folder that is there")
    config = _settings_of(MoleculesConfig(), options, ["--samples", "--reference", "--out"])
    samples, reference = paths
    return JudgeArguments(samples, reference, out, config)


def _generate(words: list[str], options: Options) -> GenerateArguments:
    if "--help" in options:
        _print_and_exit(data_help("generate", ReferenceConfig()))
    out = _take(options, "--out", "peptides/train")
    if not words:
        raise _UsageError("name the peptides: fokker data generate AC ACE-ALA-NME --out peptides/train")
    config = _settings_of(ReferenceConfig(), options, ["--out"])
    return GenerateArguments(tuple(dict.fromkeys(words)), Path(out), config)


def _convert(words: list[str], options: Options) -> ConvertArguments:
    if "--help" in options:
        _print_and_exit(data_help("convert", MoleculesConfig()))
    out = Path(_take(options, "--out", "dataset"))
    if (path := _only(words, "path")) is None:
        raise _UsageError("name the trajectories: fokker data convert PATH --out dataset")
    config = _settings_of(MoleculesConfig(path=path), options, ["--out"])
    return ConvertArguments(config, out)


def _inspect(words: list[str], options: Options) -> InspectArguments:
    if "--help" in options:
        _print_and_exit(data_help("inspect", MoleculesConfig()))
    figure = _take(options, "--figure", "ramachandran.png") if "--figure" in options else None
    if (path := _only(words, "path")) is None:
        raise _UsageError("name a dataset, a run or trajectories: fokker data inspect PATH")
    if not Path(path).exists():
        raise _UsageError(f"{path} does not exist")
    config = _settings_of(MoleculesConfig(path=path), options, ["--figure"])
    return InspectArguments(Path(path), None if figure is None else Path(figure), config)


def _settings_of(group: Group, options: Options, others: list[str]) -> Group:
    """One group of settings with those of the options, which are named without their section."""
    known = {option(path): setting for path, setting in settings(group).items()}
    values = to_dict(group)
    for name, text in options.items():
        if name not in known:
            near = difflib.get_close_matches(name, [*others, *known], n=1, cutoff=0.6)
            hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join([*others, *known])}"
            raise _UsageError(f"unknown option {name}: {hint}")
        if text is None:
            raise _UsageError(f"{name} needs a value, such as {name} {known[name].shown}")
        values[known[name].path] = known[name].read(text)
    try:
        return from_dict(values, type(group))
    except ConfigError as error:
        raise _UsageError(_spelled(error, settings(group), [*options])) from None


def _methods(text: str) -> list[Method]:
    methods: list[Method] = [_choice("--methods", method, METHODS) for method in text.split(",")]
    for method in methods:
        if methods.count(method) > 1:
            raise _UsageError(f"--methods: {method!r} is given twice")
    return methods


def _split(tokens: list[str]) -> tuple[list[str], Options]:
    """Words and options of a command line; underscores in an option's name are dashes."""
    words: list[str] = []
    options: Options = {}
    rest = list(tokens)
    while rest:
        token = rest.pop(0)
        if not token.startswith("-"):
            words.append(token)
            continue
        name, equals, value = token.partition("=")
        name = "--help" if name == "-h" else name.replace("_", "-")
        if not equals and name != "--help" and rest and not rest[0].startswith("--"):
            value = rest.pop(0)
        if name in options and name != "--help":
            raise _UsageError(f"{name} is given twice: {options[name]!r} and {value!r}")
        options[name] = value or None
    return words, options


def _only(words: list[str], what: str) -> str | None:
    if len(words) > 1:
        raise _UsageError(f"unexpected {words[1]!r}: one {what} is enough, and {words[0]!r} is given")
    return words[0] if words else None


def _take(options: Options, name: str, default: str) -> str:
    """The option's value, removed from the options; the default where it is not given."""
    value = options.pop(name, default)
    if value is None:
        raise _UsageError(f"{name} needs a value, such as {name} {default}")
    return value


def _choice(what: str, text: str, choices: Sequence[Choice]) -> Choice:
    for choice in choices:
        if choice == text:
            return choice
    raise _UsageError(f"{what}: {_unknown(text, choices)}")


def _preset(name: str, options: Options) -> Config:
    """The preset, with the method and recipe taken from the options."""
    preset = PRESETS[_choice("preset", name, tuple(PRESETS))]
    method = _choice("--method", _take(options, "--method", "both"), METHODS)
    return preset(method, _choice("--recipe", _take(options, "--recipe", "fokker"), RECIPES))


def _default_name(config: Config) -> str:
    method = "" if config.method == "both" else f"-{config.method}"
    return config.preset + method + ("-paper" if config.recipe == "paper" else "")


def _directory(runs: str, name: str) -> Path:
    """The run's folder, after checking (without creating anything) that it can be written."""
    if not re.fullmatch(r"\w[\w.+-]{0,99}", name):
        raise _UsageError(
            f"--name: must be a plain folder name, not {name!r}: "
            "up to 100 letters, digits, '_', '.', '+' and '-', the first a letter, a digit or '_'"
        )
    directory = Path(runs) / name
    existing = next(path for path in (directory, *directory.parents) if os.path.lexists(path))
    problem = None
    if not existing.is_dir():
        problem = "is not a folder"
    elif not os.access(existing, os.W_OK | os.X_OK):
        problem = "is not writable"
    if problem:
        to_blame = f"--name {name}" if existing == directory else f"--runs-dir {runs}"
        raise _UsageError(f"{to_blame}: {existing} {problem}; choose another place")
    return directory


def _override(config: Config, options: Options, others: list[str], without: Sequence[str] = ()) -> Config:
    """The configuration with the settings of the options; `others` are what else could have been meant."""
    known = {name: setting for name, setting in settings(config).items() if name not in without}
    typed = {option(path): setting for path, setting in known.items()}
    values = to_dict(config)
    for name, text in options.items():
        setting = typed.get(name)
        if setting is None:
            raise _UsageError(_unknown_option(name, config, [*others, *typed]))
        if text is None and setting.annotation is not bool:
            raise _UsageError(f"{name} needs a value, such as {name} {setting.shown}")
        _assign(values, setting.path, setting.read("true" if text is None else text))
    try:
        return from_dict(values)
    except ConfigError as error:
        raise _UsageError(_spelled(error, known, [*options])) from None


def _assign(values: Any, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for part in parents:
        values = values[int(part) if isinstance(values, list) else part]
    values[last] = value


def _spelled(error: ConfigError, known: dict[str, Setting], given: list[str]) -> str:
    """The error with the settings as they are typed: train.batch_size becomes --train.batch-size.

    Where several settings disagree (a gap between experts), those among the options `given` are named.
    """
    field = error.field
    while field not in known and "." in field:
        field = field.rpartition(".")[0]
    section = field.rpartition(".")[0]

    def typed(match: re.Match[str]) -> str:
        word = match[0]
        path = next((path for path in (word, f"{section}.{word}") if path in known), None)
        return option(path) if path and re.search(r"[._]", word) else word

    blamed = [option(field)] if field in known else [name for name in given if name.startswith(f"--{field}.")]
    name = ", ".join(blamed) or field
    problem = re.sub(r"\w+(?:\.\w+)*", typed, error.problem)
    return f"{name}: {problem}" if name else problem


def _unknown_option(name: str, config: Config, known: list[str]) -> str:
    expert = re.match(r"--experts\.(\d+)\.", name)
    count = len(config.experts)
    if expert and int(expert[1]) >= count:
        last = f"experts.0 to experts.{count - 1}" if count > 1 else "experts.0 only"
        return f"{name}: method {config.method} has {last}"
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
    # --batch-size is a setting without its section, --train a section without its setting.
    near = near or [path for path in known if path.endswith(f".{name[2:]}") or path.startswith(f"{name}.")]
    near = near or difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    if near:
        return f"unknown option {name}: did you mean {' or '.join(near[:3])}?"
    return f"unknown option {name}: see 'fokker run {config.preset} --help'"


def _unknown(text: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(text, known, n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return f"unknown {text!r}{hint}; choose from {', '.join(known)}"


def _print_and_exit(text: str) -> NoReturn:
    print(text)
    raise SystemExit(0)
