"""Help: every setting with its value and unit, within 80 columns."""

import re
import shlex
from typing import get_args

import pytest

from fokker.launch import usage
from fokker.launch.arguments import METHODS, RECIPES, parse
from fokker.launch.config import Method, Recipe
from fokker.launch.presets import PRESETS
from fokker.launch.settings import option, settings

COMMANDS = ("run", "data", "train", "sample", "simulate", "evaluate", "report")
PHYSICAL = {"timestep", "temperature", "mass", "friction"}


def entries(text: str) -> dict[str, str]:
    """Option with its value to description, with the heading of its section before it."""
    found = {}
    for block in text.split("\n\n"):
        heading, *parts = re.split(r"\n  (?=--)", block)
        for name, *description in (part.splitlines() for part in parts):
            found[name] = " ".join(" ".join([heading, *description]).split())
    return found


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("recipe", get_args(Recipe))
@pytest.mark.parametrize("method", get_args(Method))
def test_help_of_a_preset_has_every_setting_with_its_value(preset: str, method: Method, recipe: Recipe):
    config = PRESETS[preset](method, recipe)
    text = usage.preset_help("run", config)
    assert max(map(len, text.splitlines())) <= 80
    found = entries(text)
    for path, setting in settings(config).items():
        entry = found[f"{option(path)} {setting.shown}"]
        assert " ".join(setting.description.split()) in entry
        assert all(choice in entry for choice in setting.choices)


def test_help_names_the_units_of_physical_settings():
    """In the text of the setting, or in the heading above a section that has one system of units."""
    config = PRESETS["mueller-brown"]("both", "fokker")
    found = entries(usage.preset_help("run", config))
    physical = [path for path in settings(config) if path.rpartition(".")[2] in PHYSICAL]
    assert {path.split(".")[0] for path in physical} == {"data", "simulate"}
    for path in physical:
        (entry,) = (text for name, text in found.items() if name.startswith(f"{option(path)} "))
        assert re.search(r"natural units|\bps\b", entry), entry


@pytest.mark.parametrize(
    "text",
    [
        usage.overview(),
        usage.reproduce_help(),
        usage.export_help(),
        *(usage.run_help(command) for command in COMMANDS),
    ],
)
def test_other_helps_fit_80_columns(text: str):
    assert max(map(len, text.splitlines())) <= 80
    assert not text.endswith("\n")


def test_help_names_every_method_recipe_command_and_preset():
    text = " ".join(usage.run_help("run").split())
    assert all(name in text for name in (*METHODS, *RECIPES, *PRESETS))
    assert all(f"\n  {command} " in usage.overview() for command in (*COMMANDS, "reproduce"))
    assert all(table in usage.reproduce_help() for table in usage.TABLES)


def test_commands_that_help_recommends_are_commands(capsys: pytest.CaptureFixture[str]):
    recommended = [
        line.strip().replace("[--method M] [--recipe R]", "--method score --recipe paper")
        for text in (usage.run_help("train"), usage.reproduce_help().replace("see the settings: ", "\n"))
        for line in text.splitlines()
        if re.match(r" *fokker .* --help$", line)
    ]
    assert len(recommended) == 2
    for line in recommended:
        with pytest.raises(SystemExit) as caught:
            parse(shlex.split(line)[1:])
        assert caught.value.code == 0
        assert "--train.batch-size" in capsys.readouterr().out
