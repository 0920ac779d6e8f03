"""Settings are what their configuration says, and what is shown can be typed."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from fokker.data import config as data_config
from fokker.distributed import config as distributed_config
from fokker.launch import config as launch_config
from fokker.launch.arguments import RunArguments, parse
from fokker.launch.config import Method, Recipe
from fokker.launch.presets import PRESETS
from fokker.launch.settings import Setting, option, sections, settings
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
        for name, info in part.__pydantic_fields__.items()
        if not (info.description or name in groups or name == "kind") or not part.__doc__
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
    typed = [f"{option(path)}={setting.shown}" for path, setting in settings(config).items()]
    arguments = parse(["run", preset, "--method", method, "--recipe", recipe, *typed])
    assert isinstance(arguments, RunArguments)
    assert arguments.config == config


def test_paths_name_sections_experts_and_fields():
    assert [*sections(CONFIG)] == [
        *("", "data", "experts.0", "experts.1", "experts.2"),
        *("network", "objective", "train", "sample", "simulate", "cluster"),
    ]
    found = settings(CONFIG)
    assert found["seed"].value == 0
    assert found["experts.1.hidden"].value == (64, 64)
    assert not {"preset", "method", "recipe", "experts", "data"} & found.keys()
    assert option("experts.0.consistency_weight") == "--experts.0.consistency-weight"


def test_choices_are_those_of_the_type():
    found = settings(CONFIG)
    assert found["sample.solver"].choices == ("euler-maruyama", "dpm-solver")
    assert found["network.precondition"].choices == ("true", "false")
    assert found["train.batch_size"].choices == ()


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("cluster.address", "null", None),
        ("cluster.address", "NONE", None),
        ("cluster.address", "auto", "auto"),
        ("experts.0.train_interval", "none", None),
        ("experts.0.train_interval", "0.1,0.2", ["0.1", "0.2"]),
        ("experts.0.hidden", "64", ["64"]),
        ("train.batch_size", "null", "null"),
        ("data.integrator", "none", "none"),
    ],
)
def test_typed_text_becomes_a_plain_value(path: str, text: str, value: Any):
    assert settings(CONFIG)[path].read(text) == value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        *((None, "null"), (True, "true"), (1e-05, "1e-05"), (1000.0, "1000")),
        *(((0.0, 0.1), "0,0.1"), ((64,), "64"), ("auto", "auto"), (5, "5")),
    ],
)
def test_values_are_shown_as_they_are_typed(value: Any, shown: str):
    assert Setting("a.b", Any, "", value).shown == shown
