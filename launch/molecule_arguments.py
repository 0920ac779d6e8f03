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
    trajectories: bool
    """Whether every trajectory has a row of its own."""


@dataclass(frozen=True)
class InspectArguments:
    """What to look at, and the picture of its Ramachandran planes."""

    path: Path
    figure: Path | None
    config: MoleculesConfig
    trajectories: bool
    """Whether every trajectory has a row of its own."""


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

    samples: str
    """A path, or several with commas between."""
    reference: str
    out: Path
    config: MoleculesConfig
    temperature: float | None
    """In K, if it is given."""
    force: bool
    """Whether to replace a result that is there."""


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
        paths.append(_there(take(options, name, "PATH"), f"{name}: "))
    out = _output("--out", take(options, "--out", "metrics.json"), ".json")
    asked, force = "--temperature" in options, _flag(options, "--force")
    config = settings_of(MoleculesConfig(), options, ["--samples", "--reference", "--out"])
    samples, reference = paths
    return JudgeArguments(samples, reference, out, config, config.temperature if asked else None, force)


def _there(text: str, option: str = "") -> str:
    """One path or several with commas between, all of which are there."""
    for part in [text] if path(text).exists() else text.split(","):
        if not path(part.strip()).exists():
            raise UsageError(f"{option}{part} does not exist")
    return text


def _output(option: str, text: str, ending: str) -> Path:
    """A file in a folder that is there."""
    path = Path(text).expanduser()
    if path.suffix != ending or not path.absolute().parent.is_dir() or path.is_dir():
        raise UsageError(f"{option}: {text} has to end with {ending}, in a folder that is there")
    return path


def generate(words: list[str], options: Options) -> GenerateArguments:
    """Those of `fokker data generate`. Raises UsageError."""
    if "--help" in options:
        print_and_exit(data_help("generate", ReferenceConfig()))
    out = take(options, "--out", "peptides/train")
    if not words:
        raise UsageError("name the peptides: fokker data generate AC ACE-ALA-NME --out peptides/train")
    config = settings_of(ReferenceConfig(), options, ["--out"])
    return GenerateArguments(tuple(dict.fromkeys(words)), Path(out).expanduser(), config)


def convert(words: list[str], options: Options) -> ConvertArguments:
    """Those of `fokker data convert`. Raises UsageError."""
    if "--help" in options:
        print_and_exit(data_help("convert", MoleculesConfig()))
    out = Path(take(options, "--out", "dataset")).expanduser()
    each = _flag(options, "--trajectories")
    if not words:
        raise UsageError("name the trajectories: fokker data convert PATH ... --out dataset")
    config = settings_of(MoleculesConfig(path=",".join(words)), options, ["--out", "--trajectories"])
    return ConvertArguments(config, out, each)


def inspect(words: list[str], options: Options) -> InspectArguments:
    """Those of `fokker data inspect`. Raises UsageError."""
    if "--help" in options:
        print_and_exit(data_help("inspect", MoleculesConfig()))
    figure = take(options, "--figure", "ramachandran.png") if "--figure" in options else None
    each = _flag(options, "--trajectories")
    if not words:
        raise UsageError("name a dataset, a run or trajectories: fokker data inspect PATH ...")
    path = _there(",".join(words))
    config = settings_of(MoleculesConfig(path=path), options, ["--figure", "--trajectories"])
    picture = None if figure is None else _output("--figure", figure, ".png")
    return InspectArguments(Path(path).expanduser(), picture, config, each)


def _flag(options: Options, name: str) -> bool:
    return name in options and (options.pop(name) or "true") == "true"


DATA = {"generate": generate, "convert": convert, "inspect": inspect}
"""What reads the commands of `fokker data`."""
