"""Costs of a step from the compiler, against closed forms."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from fokker.distributed.cluster.devices import Device
from fokker.distributed.config import TrainConfig
from fokker.distributed.planning.calibration import this_machine
from fokker.distributed.planning.prediction import NETWORK, StepCost, Steps
from fokker.distributed.training.step import init_state
from fokker.model.config import ExpertConfig, MLPConfig, ObjectiveConfig
from fokker.model.experts import Expert

ROWS = 512
SCORE = ExpertConfig(interval=(0, 1), hidden=(64, 64), epochs=1, midpoint=0.5, conservative=False)
ENERGY = replace(SCORE, hidden=(8,), conservative=True, consistency_weight=1e-3)
STEPS = Steps(MLPConfig(), ObjectiveConfig(), TrainConfig(batch_size=ROWS, block=4), (2,))
COST = StepCost(
    devices=4,
    flops=8e9,
    traffic=1e9,
    kernels=100,
    memory=5e8,
    parameters=1000,
    state=16_012,
)
DEVICE = Device("toy", 1e9, 1e12, 8e12, 1e11, 1e10)


def test_a_step_takes_as_long_as_what_is_slowest():
    gradients = 2 * 3 / 4 * 4000 / 1e10
    assert COST.seconds(DEVICE) == pytest.approx(1e-2 + gradients)  # memory
    assert COST.seconds(replace(DEVICE, bandwidth=1e13)) == pytest.approx(8e-3 + gradients)  # arithmetic
    assert COST.seconds(replace(DEVICE, bandwidth=1e13, launch=1e-3)) == pytest.approx(0.1 + gradients)
    reduced = replace(COST, compute="bfloat16")
    assert reduced.seconds(replace(DEVICE, bandwidth=1e13)) == pytest.approx(1e-3 + gradients)


def test_one_thread_does_one_thing_after_another():
    assert replace(COST, devices=1).seconds(replace(DEVICE, overlaps=False)) == pytest.approx(1.8e-2)


def test_between_hosts_gradients_go_over_the_network():
    fast = replace(DEVICE, interconnect=1e12)
    difference = COST.seconds(fast, hosts=2) - COST.seconds(fast)
    assert difference == pytest.approx(2 * 3 / 4 * 4000 * (1 / NETWORK - 1 / 1e12), rel=1e-3)


def test_other_numbers_of_devices_share_all_but_the_state():
    assert COST.on(4) == COST
    fewer = COST.on(1)
    assert fewer.flops == 4 * COST.flops
    assert fewer.traffic == pytest.approx(4 * COST.traffic - 3 * 2 * COST.state)


def test_flops_of_a_perceptron_are_those_of_its_products():
    """Two for each weight and row forwards, four backwards but for the first layer, whose input is fixed."""
    features = 2 + 7
    weights = features * 64 + 64 * 64 + 64 * 2
    products = ROWS * (6 * weights - 2 * features * 64)
    assert products < STEPS.cost(SCORE, 1).flops < 1.25 * products


def test_sizes_are_those_of_the_real_state():
    state = init_state(Expert(SCORE, STEPS.network, (2,)), STEPS.train, 1, jax.random.key(0))
    cost = STEPS.cost(SCORE, 1)
    assert cost.state == sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    assert cost.parameters == sum(np.size(leaf) for leaf in jax.tree.leaves(state.parameters))
    assert cost.memory > 2 * cost.state + ROWS * 12
    # The rest of this block of batches, and the next: 12 bytes a row.
    assert STEPS.waiting(1, 100) == 2 * STEPS.waiting(2, 100) == 7 * ROWS * 12
    assert STEPS.waiting(1, 2) == 3 * ROWS * 12


def test_alike_experts_are_compiled_once():
    other = replace(SCORE, interval=(0.1, 0.6), midpoint=0.2, epochs=7)
    assert STEPS.cost(other, 1) is STEPS.cost(SCORE, 1)


def test_parts_of_a_batch_need_less_memory_for_the_same_work():
    parts = replace(STEPS, train=replace(STEPS.train, batch_size=8 * ROWS, accumulate=8))
    whole = replace(parts, train=replace(parts.train, accumulate=1))
    one, several = whole.cost(SCORE, 1), parts.cost(SCORE, 1)
    assert several.flops == one.flops
    assert several.memory < one.memory
    assert several.kernels == 8 * one.kernels


def test_devices_share_the_rows_and_not_the_state():
    shared, alone = STEPS.cost(SCORE, 8), STEPS.cost(SCORE, 1)
    assert shared.flops == pytest.approx(alone.flops / 8, rel=0.15)
    assert shared.parameters == alone.parameters
    assert 2 * shared.state < shared.memory < alone.memory


def test_a_term_that_starts_later_is_weighed():
    later = replace(STEPS, objective=replace(STEPS.objective, consistency_start=0.75))
    shares = [(part, kind.cost(own, 1).flops) for part, kind, own in later.parts(ENERGY, 1000)]
    assert [part for part, _ in shares] == [0.75, 0.25]
    assert shares[0][1] == STEPS.cost(replace(ENERGY, consistency_weight=0.0), 1).flops
    assert shares[1][1] == STEPS.cost(ENERGY, 1).flops > 2 * shares[0][1]
    assert [part for part, *_ in STEPS.parts(ENERGY, 1000)] == [1.0]
    assert [own.consistency_weight for _, _, own in STEPS.parts(SCORE, 1000)] == [0.0]


def test_this_machine_is_a_device():
    """Whatever it is, between a slow and an impossible processor."""
    one, two = this_machine(), this_machine(2)
    assert 1e8 < one.float32 < 1e13
    assert 1e8 < one.bandwidth < 1e13
    assert one.memory == 2 * two.memory
    assert not one.overlaps
    assert COST.seconds(one) > COST.seconds(replace(one, overlaps=True)) > 0
