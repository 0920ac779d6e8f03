"""The page of settings holds every setting that there is, with its text and its values."""

import re
from typing import get_args

import pytest

from fokker.data.config import MoleculesConfig
from fokker.distributed.runs.config import Config, Recipe
from fokker.distributed.runs.presets import PRESETS
from fokker.launch import pages, settings
from fokker.launch.cli.options import options
from fokker.launch.cli.values import shown

TEXT = settings.markdown()
ENTRIES = dict(re.findall(r"^- `(--[\w.-]+)`(.*)$", TEXT, re.MULTILINE))
SECTIONS = dict(re.findall(r"^## (.*)\n((?:(?!## ).*\n?)*)", TEXT, re.MULTILINE))


@pytest.mark.parametrize("recipe", get_args(Recipe))
@pytest.mark.parametrize("preset", PRESETS)
def test_every_setting_of_a_preset_is_on_the_page(preset: str, recipe: Recipe):
    groups = {name: part for name, part in vars(PRESETS[preset]("both", recipe)).items() if name != "seed"}
    for group, part in groups.items():
        for number, one in enumerate(part if isinstance(part, tuple) else ()):
            for name in options(one, prefix=f"experts.{number}."):
                assert re.sub(r"experts\.\d", "experts.N", name) in TEXT
        if hasattr(part, "__pydantic_fields__"):
            for option in options(part, prefix=f"{group}.").values():
                assert f"`{option.names[0]}`" in TEXT, option.path


def test_an_entry_has_the_text_of_the_help_and_its_values():
    entry = ENTRIES["--train.learning-rate"]
    assert "Learning rate at the start of the cosine." in entry
    assert entry.endswith(
        "*Default: `0.001` (mueller-brown), else `0.002`; of the paper's recipe `0.0003`.*"
    ), entry
    assert ENTRIES["--train.accumulate"].endswith("*Default: `1`.*")
    assert "`--train.no-restart-from-ema`" in ENTRIES["--train.restart-from-ema"]
    assert "`--data`" in ENTRIES["--data.path"]


def test_values_are_those_of_the_presets():
    for name, make in PRESETS.items():
        value = " ".join(shown(make("both", "fokker").train.batch_size))
        found = ENTRIES["--train.batch-size"].partition("; of the paper")[0]
        assert re.search(rf"`{value}` \([^)]*\b{name}\b|else `{value}`", found), name


def test_each_group_of_a_configuration_has_a_section():
    kinds = {kind for _, _, kind in settings.GROUPS}
    for make in PRESETS.values():
        config = make("both", "fokker")
        for field in Config.__pydantic_fields__:  # type: ignore[attr-defined]
            part = getattr(config, field)
            if isinstance(part, tuple):
                part = part[0]
            assert not hasattr(part, "__pydantic_fields__") or type(part) in kinds, field
    assert MoleculesConfig in kinds
    assert all(text.strip() for text in SECTIONS.values())


def test_the_page_is_made_where_it_is_asked_for():
    assert settings.markdown() in pages.expanded(pages.source("settings"))
    assert pages.expanded("nothing of the kind") == "nothing of the kind"
