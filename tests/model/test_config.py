import subprocess
import sys

import pytest

from fokker.model.config import (
    ExpertConfig,
    GraphTransformerConfig,
    MLPConfig,
    ObjectiveConfig,
    SampleConfig,
    SimulateConfig,
    check_cover,
    require_springs,
)

from .conftest import INTERVALS, expert_config


def cover(*intervals: tuple[float, float]) -> None:
    check_cover(tuple(expert_config(interval) for interval in intervals))


def test_times_of_training_are_the_interval_but_for_the_first_instant():
    assert expert_config((0, 0.1)).times == (1e-5, 0.1)
    assert expert_config((0.1, 0.6)).times == (0.1, 0.6)
    assert expert_config((0.1, 0.6), train_interval=(0.099, 0.6)).times == (0.099, 0.6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"interval": (0.5, 0.5)}, r"interval \[0.5, 0.5\) is empty: the start must be below the end"),
        ({"interval": (0.6, 0.1)}, r"interval \[0.6, 0.1\) is empty"),
        ({"interval": (0, 1.5)}, r"interval.1\n.*less than or equal to 1"),
        ({"interval": (-0.1, 1)}, r"interval.0\n.*greater than or equal to 0"),
        ({"train_interval": (0.02, 1)}, r"train_interval \[0.02, 1\] is not that of the interval \[0, 1\)"),
        ({"train_interval": (1e-5, 0.9)}, r"its ends may differ by 0.01 at most"),
        ({"train_interval": (0, 1)}, r"train_interval.0\n.*greater than 0"),
        ({"midpoint": 1}, r"midpoint 1 must lie inside \(1e-05, 1\)"),
        ({"midpoint": 0}, r"midpoint 0 must lie inside"),
        ({"hidden": ()}, r"hidden names no layer"),
        ({"hidden": (64, 0)}, r"hidden.1\n.*greater than 0"),
        ({"epochs": 0}, r"epochs\n.*greater than 0"),
        ({"epochs": 1.5}, r"epochs\n.*integer"),
        ({"consistency_weight": -1}, r"consistency_weight\n.*greater than or equal to 0"),
        ({"consistency_weight": float("nan")}, r"consistency_weight\n"),
        ({"consistency_weight": 1e-3, "conservative": False}, r"consistency_weight needs conservative=true"),
        ({"widths": (64,)}, r"widths\n.*[Uu]nexpected"),
    ],
)
def test_an_expert_that_cannot_be_is_refused_by_the_name_of_its_field(changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        expert_config(**changes)


def test_the_midpoint_must_halve_what_is_trained():
    """Between the start of the interval and that of training there are no times to weigh."""
    ExpertConfig(interval=(0, 0.1), hidden=(8,), epochs=1, midpoint=0.009, train_interval=(0.008, 0.1))
    with pytest.raises(ValueError, match=r"midpoint 0.007 must lie inside"):
        ExpertConfig(interval=(0, 0.1), hidden=(8,), epochs=1, midpoint=0.007, train_interval=(0.008, 0.1))


def test_intervals_that_meet_from_0_to_1_are_accepted():
    cover(*INTERVALS)
    cover((0, 1))


@pytest.mark.parametrize(
    ("intervals", "message"),
    [
        ([], "experts is empty"),
        ([(0.1, 1)], "experts.0.interval must start at 0, not 0.1"),
        ([(0, 0.1), (0.1, 0.9)], "experts.1.interval must end at 1, not 0.9"),
        ([(0, 0.1), (0.2, 1)], "experts.1.interval starts at 0.2, but experts.0.interval ends at 0.1: gap"),
        ([(0, 0.1), (0.1, 0.6), (0.5, 1)], "experts.2.interval starts at 0.5, .* ends at 0.6: overlap"),
        ([(0.1, 1), (0, 0.1)], "experts.0.interval must start at 0"),
    ],
)
def test_gaps_and_overlaps_are_refused(intervals: list[tuple[float, float]], message: str):
    with pytest.raises(ValueError, match=message):
        cover(*intervals)


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        (SampleConfig, {"samples": 10, "chunk": 4}, "samples 10 is not a multiple of chunk 4"),
        (SampleConfig, {"evaluations": 1}, "evaluations"),
        (SimulateConfig, {"inner_steps": 0}, "inner_steps"),
        (
            SimulateConfig,
            {"inner_steps": 2, "integrator": "langevin"},
            "inner_steps 2 needs integrator=baoab",
        ),
        (SampleConfig, {"final_time": 0}, "final_time"),
        (SimulateConfig, {"chains": 10, "chunk": 4}, "chains 10 is not a multiple of chunk 4"),
        (
            SimulateConfig,
            {"frames": 25, "chains": 10, "chunk": 5},
            "frames 25 is not a multiple of chains 10",
        ),
        (SimulateConfig, {"timestep": -1e-3}, "timestep"),
        (SimulateConfig, {"integrator": "verlet"}, "integrator\n.*'langevin' or 'baoab'"),
        (ObjectiveConfig, {"consistency_fraction": 0}, "consistency_fraction"),
        (ObjectiveConfig, {"consistency_start": 1}, "consistency_start"),
        (ObjectiveConfig, {"estimator": "hutchison"}, "estimator\n.*'weak', 'hutchinson' or 'exact'"),
    ],
)
def test_a_value_out_of_range_is_refused_by_the_name_of_its_field(config: type, changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        config(**changes)


def test_inner_steps_need_a_network_with_springs():
    springs = GraphTransformerConfig(springs=True)
    require_springs(SimulateConfig(inner_steps=2), springs)
    for network in (MLPConfig(precondition=True), GraphTransformerConfig()):
        require_springs(SimulateConfig(), network)
        with pytest.raises(ValueError, match=r"^inner_steps 2 needs network.springs=true"):
            require_springs(SimulateConfig(inner_steps=2), network)


def test_settings_are_read_without_loading_jax():
    code = "import sys, fokker.model.config; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
