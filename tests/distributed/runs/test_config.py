"""Settings go to plain values and back, and a wrong one is named."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from fokker.distributed.runs import config as config_module
from fokker.distributed.runs.config import ConfigError, Method, Recipe, from_dict, load, save, to_dict
from fokker.distributed.runs.presets import PRESETS

CONFIG = PRESETS["mueller-brown"]("both", "fokker")
JARGON = ("Input should", "valid integer", "keyword", "Field required", "pydantic", "dictionary", "instance")


def changed(path: str, value: Any) -> dict[str, Any]:
    """The plain values of a preset with one of them changed."""
    values = to_dict(CONFIG)
    group: Any = values
    *parents, last = path.split(".")
    for part in parents:
        group = group[int(part) if isinstance(group, list) else part]
    group[last] = value
    return values


@pytest.mark.parametrize("recipe", get_args(Recipe))
@pytest.mark.parametrize("method", get_args(Method))
def test_plain_values_and_back(method: Method, recipe: Recipe):
    config = PRESETS["mueller-brown"](method, recipe)
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


def test_strings_become_what_the_field_is():
    assert from_dict(changed("train.batch_size", "64")).train.batch_size == 64
    assert from_dict(changed("experts.0.hidden", ["8", "16"])).experts[0].hidden == (8, 16)
    assert from_dict(changed("train.restart_from_ema", "true")).train.restart_from_ema is True


@pytest.mark.parametrize(
    ("path", "value", "field", "problem"),
    [
        ("train.batch_size", "many", "train.batch_size", "must be a whole number, not 'many'"),
        ("train.batch_size", 1.5, "train.batch_size", "must be a whole number, not 1.5"),
        ("train.batch_size", None, "train.batch_size", "must be a whole number, not None"),
        ("train.batch_size", -3, "train.batch_size", "must be above 0, not -3"),
        ("train.clip", "wide", "train.clip", "must be a number, not 'wide'"),
        ("train.clip", "nan", "train.clip", "must be a finite number, not 'nan'"),
        ("train.ema_decay", 1, "train.ema_decay", "must be below 1, not 1"),
        ("objective.consistency_fraction", 2, "objective.consistency_fraction", "must be at most 1, not 2"),
        ("sample.evaluations", 1, "sample.evaluations", "must be at least 2, not 1"),
        ("train.restart_from_ema", "often", "train.restart_from_ema", "must be true or false, not 'often'"),
        ("cluster.address", 7, "cluster.address", "must be text, not 7"),
        ("recipe", "ours", "recipe", "must be 'paper' or 'fokker', not 'ours'"),
        ("train", 3, "train", "must be a group of settings, not 3"),
        ("experts", 3, "experts", "must be a list of values, not 3"),
        ("experts.1.interval", [0.1], "experts.1.interval.1", "must have at least 2 values, not [0.1]"),
        ("experts.1.interval", [0, 1, 2], "experts.1.interval", "must have 2 values, not [0, 1, 2]"),
        ("train.bach_size", 64, "train.bach_size", "is not a setting"),
        ("seed", -1, "seed", "must be at least 0, not -1"),
        ("seed", 2**32, "seed", "must be below 4294967296, not 4294967296"),
        # A __post_init__ names the field at the beginning of its message.
        ("experts.1.midpoint", 0.7, "experts.1.midpoint", "0.7 must lie inside"),
        ("simulate.inner_steps", 0, "simulate.inner_steps", "must be above 0, not 0"),
        ("simulate.inner_steps", 4, "simulate.inner_steps", "4 needs network.springs=true"),
        ("simulate.frames", 100_001, "simulate.frames", "100001 is not a multiple of chains 200"),
        ("train.batch_size", 200_000, "train.batch_size", "200000 is larger than the data"),
        (
            "experts.1.interval",
            [0.2, 0.6],
            "experts.1.interval",
            "starts at 0.2, but experts.0.interval ends at 0.1: gap",
        ),
        ("experts", [], "experts", "empty"),
    ],
)
def test_a_wrong_value_is_named(path: str, value: Any, field: str, problem: str):
    with pytest.raises(ConfigError) as caught:
        from_dict(changed(path, value))
    assert caught.value.field == field
    assert problem in caught.value.problem
    assert str(caught.value) == f"{field}: {caught.value.problem}"
    assert "\n" not in str(caught.value)
    assert not any(word in str(caught.value) for word in JARGON)


def test_inner_steps_are_for_networks_with_springs_and_for_baoab():
    springs, paper = (PRESETS["dipeptides-small"]("both", recipe) for recipe in ("fokker", "paper"))
    assert springs.replace({"simulate.inner_steps": "4"}).simulate.inner_steps == 4
    for config, changes, problem in (
        (paper, {}, "needs integrator=baoab: langevin has no inner steps"),
        (paper, {"simulate.integrator": "baoab"}, "needs network.springs=true"),
        (springs, {"simulate.integrator": "langevin"}, "needs integrator=baoab"),
    ):
        with pytest.raises(ConfigError, match=rf"^simulate.inner_steps: 4 {problem}"):
            config.replace({"simulate.inner_steps": 4} | changes)


def test_a_missing_group_is_named_without_the_rest():
    values = to_dict(CONFIG)
    del values["train"]
    with pytest.raises(ConfigError, match=r"^train: is missing$"):
        from_dict(values)


def test_load_reads_what_was_saved(tmp_path: Path):
    path = tmp_path / "config.json"
    save(path, CONFIG)
    assert load(path) == CONFIG


def test_an_earlier_format_goes_through_every_migration_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As if `seed` had been called `start`."""

    def rename(values: dict) -> dict:
        return {"seed" if name == "start" else name: value for name, value in values.items()}

    monkeypatch.setattr(config_module, "MIGRATIONS", (rename,))
    values = to_dict(CONFIG)
    for number, name in ((1, "start"), (2, "seed")):
        old = {"format": number, name: values["seed"]} | {k: v for k, v in values.items() if k != "seed"}
        (tmp_path / "config.json").write_text(json.dumps(old))
        assert load(tmp_path / "config.json") == CONFIG


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[]", "was saved before runs had a format: begin a new run"),
        (b'{"preset": "mueller-brown"}', "was saved before runs had a format: begin a new run"),
        (b'{"format": "x"}', "was saved before runs had a format"),
        (b'{"format": 2}', "is of format 2: it needs a newer fokker"),
        (b'{"format": 1, "preset": "mueller-brown"}', "was edited, or is damaged: method: is missing"),
        (None, "does not exist"),
    ],
)
def test_load_names_the_file(tmp_path: Path, content: bytes | None, problem: str):
    path = tmp_path / "config.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value).startswith(str(path))
    assert problem in str(caught.value)


def test_load_names_what_cannot_be_read(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("preset", "recipe", "problem"),
    [
        ("alanine-dipeptide-small", "paper", "needs network.embedding=features"),
        ("mueller-brown", "fokker", "needs molecules: a toy has no residues"),
    ],
)
def test_residues_are_hidden_only_where_they_are_known(preset: str, recipe: Recipe, problem: str):
    """Otherwise a training would end, and have no model."""
    with pytest.raises(ConfigError, match=f"^train.hide_residues: {problem}"):
        PRESETS[preset]("both", recipe).replace({"train.hide_residues": 0.3})
