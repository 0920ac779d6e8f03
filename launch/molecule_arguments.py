"""The command lines that concern molecules alone: references, datasets, exported models, foreign samples."""

import re
from dataclasses import dataclass
from pathlib import Path

from ..data.config import MoleculesConfig, ReferenceConfig
from .usage import TAKEN_OPTIONS, data_help, taken_help
from .words import Options, UsageError, only, path, print_and_exit, settings_of, take


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
    force: bool
    """Replace what is there."""


@dataclass(frozen=True)
class JudgeArguments:
    """Frames of any program, and the reference that they are judged by."""

    samples: Path
    reference: Path
    out: Path
    config: MoleculesConfig


Arguments = GenerateArguments | ConvertArguments | InspectArguments | TakenArguments | JudgeArguments


def is_model(words: list[str]) -> bool:
    """Whether the words name an exported model."""
    return len(words) == 1 and words[0].endswith(".safetensors")


def taken(command: str, words: list[str], options: Options) -> TakenArguments:
    """Those of `fokker sample|simulate MODEL`. Raises UsageError."""
    if "--help" in options:
        print_and_exit(taken_help(command))
    if (model := only(words, "model")) is None:
        raise UsageError(f"name a model: fokker {command} model.safetensors --sequence AC")
    if "--sequence" not in options:
        raise UsageError(f"{model} is a model: say of what, such as --sequence AC or ACE-ALA-NME")
    if not path(model).exists():
        raise UsageError(f"{model} does not exist: name what fokker export wrote, or a run's folder")
    if options.get("--force") is not None:
        raise UsageError(f"--force takes no value, not {options['--force']!r}")
    known = TAKEN_OPTIONS[command]
    for name in options:
        if name not in known:
            raise UsageError(f"unknown option {name}: {model} is a model, which has {', '.join(known)}")

    def whole(name: str, least: int) -> int | None:
        if name not in options:
            return None
        text = take(options, name, "100")
        if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < least:
            raise UsageError(f"{name}: must be a whole number, at least {least}, not {text!r}")
        return int(text)

    out = Path(take(options, "--out", "FILE.xtc")).expanduser() if "--out" in options else None
    if out is not None and (out.suffix != ".xtc" or not out.absolute().parent.is_dir()):
        raise UsageError(f"--out: {out} has to end with .xtc, in a folder that is there")
    return TakenArguments(
        command,
        path(model),
        take(options, "--sequence", "AC"),
        whole("--count", 1) or whole("--chains", 1) or (1000 if command == "sample" else 100),
        whole("--frames", 1) or 100,
        whole("--stride", 1),
        whole("--burn-in", 0),
        whole("--seed", 0) or 0,
        out,
        "--force" in options,
    )


def judge(words: list[str], options: Options) -> JudgeArguments:
    """Those of `fokker evaluate --samples`. Raises UsageError."""
    if words:
        raise UsageError(f"unexpected {words[0]!r}: --samples and --reference say all, a run has its own")
    paths = []
    for name in ("--samples", "--reference"):
        if name not in options:
            raise UsageError(
                f"{name} is missing: fokker evaluate --samples TRAJECTORY --reference PATH [--topology PDB]"
            )
        paths.append(Path(take(options, name, "PATH")))
        if not paths[-1].exists():
            raise UsageError(f"{name}: {paths[-1]} does not exist")
    out = Path(take(options, "--out", "metrics.json"))
    if out.suffix != ".json" or not out.absolute().parent.is_dir():
        raise UsageError(f"--out: {out} has to end with .json, in a folder that is there")
    config = settings_of(MoleculesConfig(), options, ["--samples", "--reference", "--out"])
    samples, reference = paths
    return JudgeArguments(samples, reference, out, config)


def generate(words: list[str], options: Options) -> GenerateArguments:
    """Those of `fokker data generate`. Raises UsageError."""
    if "--help" in options:
        print_and_exit(data_help("generate", ReferenceConfig()))
    out = take(options, "--out", "peptides/train")
    if not words:
        raise UsageError("name the peptides: fokker data generate AC ACE-ALA-NME --out peptides/train")
    config = settings_of(ReferenceConfig(), options, ["--out"])
    return GenerateArguments(tuple(dict.fromkeys(words)), Path(out), config)


def convert(words: list[str], options: Options) -> ConvertArguments:
    """Those of `fokker data convert`. Raises UsageError."""
    if "--help" in options:
        print_and_exit(data_help("convert", MoleculesConfig()))
    out = Path(take(options, "--out", "dataset"))
    if (path := only(words, "path")) is None:
        raise UsageError("name the trajectories: fokker data convert PATH --out dataset")
    config = settings_of(MoleculesConfig(path=path), options, ["--out"])
    return ConvertArguments(config, out)


def inspect(words: list[str], options: Options) -> InspectArguments:
    """Those of `fokker data inspect`. Raises UsageError."""
    if "--help" in options:
        print_and_exit(data_help("inspect", MoleculesConfig()))
    figure = take(options, "--figure", "ramachandran.png") if "--figure" in options else None
    if (path := only(words, "path")) is None:
        raise UsageError("name a dataset, a run or trajectories: fokker data inspect PATH")
    if not Path(path).exists():
        raise UsageError(f"{path} does not exist")
    config = settings_of(MoleculesConfig(path=path), options, ["--figure"])
    return InspectArguments(Path(path), None if figure is None else Path(figure), config)


DATA = {"generate": generate, "convert": convert, "inspect": inspect}
"""What reads the commands of `fokker data`."""
