"""Options are what their dataclasses say, and what is shown can be typed."""

import dataclasses
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from fokker.data import config as data_config
from fokker.distributed import config as distributed_config
from fokker.distributed.runs import config as launch_config
from fokker.distributed.runs.config import Method, Recipe
from fokker.distributed.runs.presets import PRESETS
from fokker.launch.cli import main, parse
from fokker.launch.cli.options import Option, options, plain
from fokker.launch.cli.run import RunArguments
from fokker.launch.cli.values import shown
from fokker.model import config as model_config

CONFIG = PRESETS["mueller-brown"]("both", "paper")


def dataclasses_of(*modules: Any) -> Iterator[type]:
    for module in modules:
        for value in vars(module).values():
            if (
                isinstance(value, type)
                and dataclasses.is_dataclass(value)
                and value.__module__ == module.__name__
            ):
                yield value


def described(part: Any, name: str) -> bool:
    """Where the field is defined, as pydantic reads its docstring there alone."""
    fields = (getattr(base, "__pydantic_fields__", {}).get(name) for base in part.__mro__)
    return any(field and field.description for field in fields)


def test_every_field_of_every_configuration_is_described():
    found = [*dataclasses_of(data_config, distributed_config, launch_config, model_config)]
    assert {"Config", "MuellerBrownConfig", "TrainConfig", "ExpertConfig"} <= {
        part.__name__ for part in found
    }
    groups = {field.name for field in dataclasses.fields(launch_config.Config)} & {
        *("data", "experts", "network", "objective", "train", "sample", "simulate", "cluster")
    }
    silent = [
        f"{part.__name__}.{name}"
        for part in found
        for name in part.__pydantic_fields__
        if not (described(part, name) or name in groups or name == "kind") or not part.__doc__
    ]
    assert silent == []


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("recipe", get_args(Recipe))
@pytest.mark.parametrize("method", get_args(Method))
def test_what_is_shown_can_be_typed(
    preset: str, method: Method, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    config = PRESETS[preset](method, recipe)
    typed = [word for option in dict.fromkeys(options(config).values()) for word in option.words()]
    arguments = parse(["run", preset, "--method", method, "--recipe", recipe, *typed])
    assert isinstance(arguments, RunArguments)
    assert arguments.config == config


@pytest.mark.parametrize(
    "typed",
    [
        ["mueller-brown", "--name", "mine", "--train.batch-size", "64", "--experts.0.hidden", "8", "8"],
        ["dipeptides", "--cluster.no-autoscaled", "--data=a=b c"],
        ["dipeptides", "--data.skip-damaged", "--method", "mixture", "--network.no-precondition"],
        [
            "mueller-brown",
            "--cluster.train-on",
            "none",
            "--profile",
            "5",
            "9",
            "--cluster.hosts",
            "2",
            "1",
            "1",
        ],
        ["dipeptides", "--data=-a b", "--allow-changed", "train.clip", "data", "--runs-dir", "~/ü"],
    ],
)
def test_a_run_handed_on_means_what_was_typed(
    typed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    arguments = parse(["run", *typed])
    assert isinstance(arguments, RunArguments)
    words = [word for group in arguments.words() for word in group]
    assert parse(["run", *words]) == arguments
    assert words[0] == typed[0]


def test_options_name_sections_experts_and_fields():
    found = options(CONFIG)
    assert found["--seed"].path == "seed"
    assert found["--experts.1.hidden"].value == (64, 64)
    assert found["--experts.0.consistency-weight"].path == "experts.0.consistency_weight"
    assert found["--network.no-precondition"] is found["--network.precondition"]
    assert found["--profile"] is found["--cluster.profile"]
    assert not {"--preset", "--method", "--recipe", "--experts", "--data", "--data.kind"} & found.keys()


@pytest.mark.parametrize(
    ("name", "words", "value"),
    [
        ("--cluster.address", ["none"], None),
        ("--cluster.address", ["NONE"], None),
        ("--cluster.address", ["auto"], "auto"),
        ("--cluster.hosts", ["auto"], "auto"),
        ("--cluster.hosts", ["2"], ["2"]),
        ("--experts.0.train-interval", ["none"], None),
        ("--experts.0.train-interval", ["0.1", "0.2"], ["0.1", "0.2"]),
        ("--experts.0.hidden", ["64"], ["64"]),
        ("--train.batch-size", ["none"], "none"),
        ("--data.integrator", ["none"], "none"),
    ],
)
def test_typed_words_become_a_plain_value(name: str, words: list[str], value: Any):
    assert plain(options(CONFIG)[name].annotation, words) == value


@pytest.mark.parametrize(
    ("value", "words"),
    [
        *((None, ["none"]), (1e-05, ["1e-05"]), (1000.0, ["1000"]), ("auto", ["auto"]), (5, ["5"])),
        *(((0.0, 0.1), ["0", "0.1"]), ((64,), ["64"]), (Path("a b"), ["a b"])),
    ],
)
def test_values_are_shown_as_they_are_typed(value: Any, words: list[str]):
    assert shown(value) == words
    assert Option("a.b", Any, value, ("--a.b",)).words() == ("--a.b", *words)


def test_flags_are_shown_as_they_are_typed():
    names = ("--a.b", "--a.no-b")
    assert [Option("a.b", bool, value, names).words() for value in (True, False)] == [names[:1], names[1:]]


def test_completions_know_commands_presets_options_and_settings(capsys: pytest.CaptureFixture[str]):
    """As bash itself takes the script."""
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out

    def complete(*words: str) -> list[str]:
        typed = " ".join(map(shlex.quote, words))
        asked = f"{script}COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}; _fokker; echo ${{COMPREPLY[*]}}"
        done = subprocess.run(["bash", "-euc", asked], capture_output=True, text=True, check=True)
        return done.stdout.split()

    assert complete("fokker", "da") == ["data", "dataset"]
    assert complete("fokker", "dataset", "") == ["generate", "convert", "inspect", "judge"]
    assert complete("fokker", "run", "muel") == ["mueller-brown"]
    assert complete("fokker", "help", "cluster-s") == ["cluster-slurm"]
    assert complete("fokker", "run", "mueller-brown", "--experts.0.h") == ["--experts.0.hidden"]
    assert complete("fokker", "data", "--data.held") == ["--data.held-out", "--data.held-out-factor"]
    assert complete("fokker", "dataset", "judge", "--ref") == ["--reference"]
    for shell in ("zsh", "fish"):
        assert main(["completion", shell]) == 0
        printed = capsys.readouterr().out
        assert all(word in printed for word in ("dataset", "judge", "mueller-brown", "--experts.0.hidden"))
