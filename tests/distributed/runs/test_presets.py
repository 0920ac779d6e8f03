"""Presets are the paper's experiments, and change only where a golden file changes with them."""

import json
import os
from pathlib import Path
from typing import get_args

import pytest

from fokker.data.config import MoleculesConfig, MuellerBrownConfig
from fokker.distributed.runs.config import Method, Recipe, from_dict, to_dict
from fokker.distributed.runs.presets import PRESETS
from fokker.model.config import GraphTransformerConfig, VectorTransformerConfig

GOLDEN = Path(__file__).parent / "golden"
REWRITE = "FOKKER_REWRITE_GOLDEN"
CASES = [
    (name, method, recipe)
    for name in PRESETS
    for method in get_args(Method)
    for recipe in get_args(Recipe)
    if name == "mueller-brown" or method == "both"  # Tests below say how the methods of molecules differ.
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
    assert isinstance(config.data, MuellerBrownConfig)
    assert config.data.frames == 100_000
    intervals = [expert.interval for expert in config.experts]
    assert intervals == ([(0, 1)] if len(hidden) == 1 else [(0, 0.1), (0.1, 0.6), (0.6, 1)])


@pytest.mark.parametrize("recipe", get_args(Recipe))
@pytest.mark.parametrize("method", get_args(Method))
def test_only_the_smallest_expert_is_regularised(method: Method, recipe: Recipe):
    first, *others = mueller_brown(method, recipe).experts
    assert first.consistency_weight == (5e-4 if method in ("fokker-planck", "both") else 0)
    assert all(expert.consistency_weight == 0 for expert in others)


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
    assert (config.objective.estimator, config.objective.consistency_fraction) == ("weak", 1)
    assert (sample.solver, sample.evaluations, sample.samples) == ("euler-maruyama", 1000, 100_000)
    assert (simulate.integrator, simulate.timestep, simulate.friction) == ("langevin", 5e-3, 1)
    assert (simulate.stride, simulate.frames, simulate.force_time) == (50, 100_000, 1e-5)
    assert not config.network.precondition


def test_data_of_the_paper_is_one_trajectory():
    data = mueller_brown("both", "paper").data
    assert isinstance(data, MuellerBrownConfig)
    assert (data.chains, data.burn_in, data.integrator) == (1, 0, "langevin")
    assert data.frames * data.stride == 5_000_000
    assert (data.temperature, data.timestep, data.mass, data.friction) == (23, 5e-3, 0.5, 1)


MOLECULES = [name for name in PRESETS if name != "mueller-brown"]
OURS = [0.25, 0.6, 1], [0.075, 0.42, 0.8]
"""Ends of the intervals of our experts of molecules, and their midpoints."""


@pytest.mark.parametrize("recipe", get_args(Recipe))
@pytest.mark.parametrize("method", get_args(Method))
@pytest.mark.parametrize(
    ("name", "widths", "layers", "epochs", "single"),
    [
        ("alanine-dipeptide", (96, 96, 96), (2, 2, 2), [7000, 2000, 1000], 10_000),
        ("dipeptides", (128, 96, 96), (3, 2, 2), [100, 20, 10], 120),
    ],
)
def test_sizes_are_those_of_tables_4_and_5(
    name: str, widths, layers, epochs: list[int], single: int, method: Method, recipe: Recipe
):
    config = PRESETS[name](method, recipe)
    several = method in ("mixture", "both")
    hidden = [(width,) * depth for width, depth in zip(widths, layers, strict=True)]
    assert [expert.hidden for expert in config.experts] == (hidden if several else hidden[:1])
    # Ours noises each frame twice: as many rows in a step, and as many steps.
    twice = config.objective.draws
    assert twice == (1 if recipe == "paper" else 2)
    assert [twice * expert.epochs for expert in config.experts] == (epochs if several else [single])
    assert config.objective.rows(config.train.batch_size) == 1024
    network = config.network
    assert isinstance(network, GraphTransformerConfig if recipe == "paper" else VectorTransformerConfig)
    assert (network.heads, network.head_width) == (8, 64)


@pytest.mark.parametrize("name", MOLECULES)
@pytest.mark.parametrize("recipe", get_args(Recipe))
@pytest.mark.parametrize("method", get_args(Method))
def test_of_several_experts_of_molecules_the_smallest_alone_is_an_energy(
    name: str, method: Method, recipe: Recipe
):
    config = PRESETS[name](method, recipe)
    first, *others = config.experts
    assert first.conservative == (method != "score")
    assert not any(expert.conservative or expert.consistency_weight for expert in others)
    residual, classified = {"fokker-planck": 5e-4, "both": 1e-4}, {"fokker-planck": 0.02, "both": 1.0}
    weights = residual if recipe == "paper" else classified
    assert first.consistency_weight == weights.get(method, 0)
    ends, midpoints = ([0.1, 0.6, 1], [0.03, 0.35, 0.8]) if recipe == "paper" else OURS
    assert [expert.interval[1] for expert in config.experts] == (ends if others else [1])
    assert [expert.midpoint for expert in config.experts] == (midpoints if others else [0.3])
    assert config.simulate.force_time == (0.02 if method == "two-for-one" else 1e-5)
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.parametrize("name", MOLECULES)
def test_protocol_of_the_paper_for_molecules(name: str):
    config = PRESETS[name]("both", "paper")
    train, sample, simulate = config.train, config.sample, config.simulate
    assert (train.learning_rate, train.ema_decay, train.restart_from_ema) == (3e-4, 0.995, True)
    objective = config.objective
    assert (objective.estimator, objective.consistency_fraction, objective.consistency_start) == (
        "weak",
        1,
        0,
    )
    assert objective.log_sigma_fraction == 0
    assert (sample.solver, sample.evaluations) == ("euler-maruyama", 1000)
    assert (simulate.integrator, simulate.friction) == ("langevin", 1)
    assert isinstance(config.network, GraphTransformerConfig)
    assert (config.network.precondition, config.network.centred) == (False, False)
    assert [expert.times for expert in config.experts] == [(1e-5, 0.099), (0.099, 0.6), (0.6, 1)]


@pytest.mark.parametrize(
    ("name", "temperature", "chains", "picoseconds"),
    [
        ("alanine-dipeptide", 300, 100, 1_200_000),
        ("alanine-dipeptide-small", 300, 400, 50_000),
        ("dipeptides", 310, 10, 30_000),
        ("dipeptides-small", 310, 200, 5000),
    ],
)
def test_simulations_of_molecules_are_as_long_as_promised(
    name: str, temperature: float, chains: int, picoseconds: float
):
    config = PRESETS[name]("both", "fokker")
    simulate = config.simulate
    assert isinstance(config.data, MoleculesConfig)
    assert config.data.temperature == temperature
    assert simulate.chains == chains
    steps = simulate.burn_in * chains + simulate.frames * simulate.stride
    assert steps * simulate.timestep == pytest.approx(picoseconds, rel=0.25)
