"""Presets are the paper's experiments, and change only where a golden file changes with them."""

import json
import os
from pathlib import Path
from typing import get_args

import pytest

from fokker.launch.config import Method, Recipe, to_dict
from fokker.launch.presets import PRESETS

GOLDEN = Path(__file__).parent / "golden"
REWRITE = "FOKKER_REWRITE_GOLDEN"
CASES = [
    (name, method, recipe) for name in PRESETS for method in get_args(Method) for recipe in get_args(Recipe)
]

mueller_brown = PRESETS["mueller-brown"]


@pytest.mark.parametrize(("name", "method", "recipe"), CASES)
def test_resolved_preset_is_the_golden_one(name: str, method: Method, recipe: Recipe):
    path = GOLDEN / f"{name}-{method}-{recipe}.json"
    resolved = to_dict(PRESETS[name](method, recipe))
    if os.environ.get(REWRITE):
        path.write_text(json.dumps(resolved, indent=2) + "\n")
    assert path.exists(), f"no {path.name}: write it with {REWRITE}=1 pytest {__file__}"
    assert resolved == json.loads(path.read_text()), (
        f"the preset differs from {path.name}; if that is meant, "
        f"rewrite the files with {REWRITE}=1 pytest {__file__} and review their diff"
    )


def test_every_golden_file_has_its_preset():
    assert {path.stem for path in GOLDEN.glob("*.json")} == {"-".join(case) for case in CASES}


@pytest.mark.parametrize("recipe", get_args(Recipe))
@pytest.mark.parametrize(
    ("method", "hidden", "epochs"),
    [
        ("score", [(92, 92, 92)], [180]),
        ("diffusion", [(92, 92, 92)], [180]),
        ("two-for-one", [(92, 92, 92)], [180]),
        ("fokker-planck", [(92, 92, 92)], [180]),
        ("mixture", [(64, 64, 64), (64, 64), (54, 54)], [120, 30, 30]),
        ("both", [(64, 64, 64), (64, 64), (54, 54)], [120, 30, 30]),
    ],
)
def test_sizes_are_those_of_table_3(method: Method, recipe: Recipe, hidden: list, epochs: list[int]):
    config = mueller_brown(method, recipe)
    assert [expert.hidden for expert in config.experts] == hidden
    assert [expert.epochs for expert in config.experts] == epochs
    assert config.train.batch_size == 128
    assert config.data.frames == 100_000
    intervals = [expert.interval for expert in config.experts]
    assert intervals == ([(0, 1)] if len(hidden) == 1 else [(0, 0.1), (0.1, 0.6), (0.6, 1)])


@pytest.mark.parametrize("recipe", get_args(Recipe))
@pytest.mark.parametrize("method", get_args(Method))
def test_only_the_smallest_expert_is_regularised(method: Method, recipe: Recipe):
    first, *others = mueller_brown(method, recipe).experts
    assert first.fokker_planck == (5e-4 if method in ("fokker-planck", "both") else 0)
    assert all(expert.fokker_planck == 0 for expert in others)


@pytest.mark.parametrize("recipe", get_args(Recipe))
@pytest.mark.parametrize("method", get_args(Method))
def test_every_expert_of_mueller_brown_is_an_energy(method: Method, recipe: Recipe):
    experts = mueller_brown(method, recipe).experts
    assert all(expert.conservative == (method != "score") for expert in experts)


@pytest.mark.parametrize("recipe", get_args(Recipe))
def test_two_for_one_differs_from_diffusion_in_the_time_of_its_forces_alone(recipe: Recipe):
    ours, theirs = (to_dict(mueller_brown(method, recipe)) for method in ("diffusion", "two-for-one"))
    assert (ours["simulate"].pop("force_time"), theirs["simulate"].pop("force_time")) == (1e-5, 0.02)
    assert (ours.pop("method"), theirs.pop("method")) == ("diffusion", "two-for-one")
    assert ours == theirs


def test_times_of_the_paper():
    experts = mueller_brown("both", "paper").experts
    assert [expert.times for expert in experts] == [(1e-5, 0.099), (0.099, 0.6), (0.6, 1)]
    assert [expert.midpoint for expert in experts] == [0.05, 0.35, 0.8]
    assert [expert.relative_time for expert in experts] == [False, True, True]
    (single,) = mueller_brown("diffusion", "paper").experts
    assert (single.times, single.midpoint) == ((1e-5, 1), 0.5)


def test_protocol_of_the_paper():
    config = mueller_brown("both", "paper")
    train, sample, simulate = config.train, config.sample, config.simulate
    assert (train.learning_rate, train.final_learning_rate, train.weight_decay) == (3e-4, 1e-5, 1e-4)
    assert (train.clip, train.ema_decay, train.restart_from_ema) == (1e3, 0.995, True)
    assert (config.objective.estimator, config.objective.fp_fraction) == ("weak", 1)
    assert (sample.solver, sample.evaluations, sample.samples) == ("euler-maruyama", 1000, 100_000)
    assert (simulate.integrator, simulate.timestep, simulate.friction) == ("langevin", 5e-3, 1)
    assert (simulate.stride, simulate.frames, simulate.force_time) == (50, 100_000, 1e-5)
    assert not config.network.precondition


def test_data_of_the_paper_is_one_trajectory():
    data = mueller_brown("both", "paper").data
    assert (data.chains, data.burn_in, data.integrator) == (1, 0, "langevin")
    assert data.frames * data.stride == 5_000_000
    assert (data.temperature, data.timestep, data.mass, data.friction) == (23, 5e-3, 0.5, 1)
