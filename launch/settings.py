"""Every setting of a run as a page says it: its option, what it does, and what it is in each preset."""

from collections.abc import Mapping
from typing import Any, get_args

from ..data.config import MoleculesConfig, MuellerBrownConfig, ReferenceConfig
from ..distributed.config import ClusterConfig, TrainConfig
from ..distributed.runs.config import Config, Recipe
from ..distributed.runs.presets import PRESETS
from ..model.config import (
    ExpertConfig,
    GraphTransformerConfig,
    MLPConfig,
    ObjectiveConfig,
    SampleConfig,
    SimulateConfig,
    UmbrellaConfig,
    VectorTransformerConfig,
)
from .cli.options import Field, fields
from .cli.values import shown

GROUPS: tuple[tuple[str, str, type], ...] = (
    ("Data of Müller–Brown", "data", MuellerBrownConfig),
    ("Data of molecules", "data", MoleculesConfig),
    ("A reference that fokker makes", "reference", ReferenceConfig),
    ("Experts", "experts", ExpertConfig),
    ("Network of Müller–Brown", "network", MLPConfig),
    ("Network of molecules, recipe fokker", "network", VectorTransformerConfig),
    ("Network of molecules, recipe paper", "network", GraphTransformerConfig),
    ("Loss", "objective", ObjectiveConfig),
    ("Training", "train", TrainConfig),
    ("Samples", "sample", SampleConfig),
    ("Simulation", "simulate", SimulateConfig),
    ("Barriers", "umbrella", UmbrellaConfig),
    ("Cluster", "cluster", ClusterConfig),
)
"""Title of each group, its name in a configuration, and its dataclass."""
Key = tuple[Recipe, str]
"""Recipe and preset."""


def markdown() -> str:
    """A section for each group of settings, and an entry for each of them."""
    configs = {(r, name): make("both", r) for r in get_args(Recipe) for name, make in PRESETS.items()}
    return "\n\n".join(_section(*group, configs) for group in GROUPS)


def _section(title: str, name: str, kind: type, configs: Mapping[Key, Config]) -> str:
    found = {
        key: group for key, config in configs.items() if isinstance(group := getattr(config, name), kind)
    }
    of_each = name == "experts"
    entries = [
        _entry(field, f"{name}.N." if of_each else f"{name}.", {} if of_each else found)
        for field in fields(kind)
        if not field.is_hidden
    ]
    about = " ".join((kind.__doc__ or "").split())
    return "\n".join([f"## {title}", "", about, "", *entries])


def _entry(field: Field, prefix: str, groups: Mapping[Key, Any]) -> str:
    names = ", ".join(f"`{name}`" for name in field.option(prefix).names)
    values = {key: _word(getattr(group, field.name)) for key, group in groups.items()}
    return f"- {names}: {field.about()}" + (f" *{_said(values)}.*" if values else "")


def _word(value: Any) -> str:
    words = ("yes" if value else "no",) if isinstance(value, bool) else shown(value)
    return f"`{' '.join(words) or 'nothing'}`"


def _said(values: Mapping[Key, str]) -> str:
    """What a setting is unless it is given."""
    recipes = {
        recipe: _by_preset({preset: word for (one, preset), word in values.items() if one == recipe})
        for recipe in get_args(Recipe)
    }
    ours, paper = (recipes[recipe] for recipe in ("fokker", "paper"))
    if not (ours and paper) or ours == paper:
        return f"Default: {ours or paper}"
    return f"Default: {ours}; of the paper's recipe {paper}"


def _by_preset(words: Mapping[str, str]) -> str:
    of: dict[str, list[str]] = {}
    for preset, word in words.items():
        of.setdefault(word, []).append(preset)
    *rarer, usual = sorted(of, key=lambda word: len(of[word])) or [""]
    return ", ".join(
        [*(f"{word} ({', '.join(of[word])})" for word in rarer), f"else {usual}" if rarer else usual]
    )
