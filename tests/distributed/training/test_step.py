import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from fokker.data.molecules.arrays import molecule_of
from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads
from fokker.data.molecules.springs import measure, pool
from fokker.distributed.config import TrainConfig
from fokker.distributed.training.step import (
    ADAM_SIZE,
    AXIS,
    Batch,
    TrainState,
    init_state,
    learning_rate,
    make_train_step,
    train_block,
)
from fokker.model.config import ExpertConfig, GraphTransformerConfig, MLPConfig, ObjectiveConfig
from fokker.model.experts import Expert

CONFIG = TrainConfig(ema_decay=0.9)
KEY = jax.random.key(1)
SMALL = ExpertConfig(interval=(0, 0.1), hidden=(8, 8), epochs=1, midpoint=0.05)
EXPERT = Expert(SMALL, MLPConfig(), (2,))
REGULARISED = Expert(replace(SMALL, consistency_weight=1e-3), MLPConfig(), (2,))
OBJECTIVE = ObjectiveConfig()
STEPS = 12


def batches(steps: int) -> Batch:
    frames = 0.5 * jax.random.normal(jax.random.key(5), (steps, 16, 2))
    return Batch(frames, jnp.zeros((steps, 16), jnp.int32))


def batch(number: int) -> Batch:
    return jax.tree.map(lambda part: part[number], batches(number + 1))


def make_step(expert: Expert, config: TrainConfig = CONFIG, objective: ObjectiveConfig = OBJECTIVE):
    """Steps of epochs of three."""
    return make_train_step(expert, objective, config, STEPS, 3)


@cache
def compiled_step(expert: Expert, config: TrainConfig = CONFIG):
    return jax.jit(make_step(expert, config))


def initial(expert: Expert, config: TrainConfig = CONFIG) -> TrainState:
    return init_state(expert, config, STEPS, jax.random.key(0))


def flat(tree) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def trajectory(config: TrainConfig, count: int) -> list[TrainState]:
    states = [initial(EXPERT, config)]
    for number in range(count):
        states.append(compiled_step(EXPERT, config)(states[-1], batch(number), KEY)[0])
    return states


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("start", [0.0, 0.25])
def test_training_where_jax_computes_in_float64_is_the_same_training(accumulate: int, start: float):
    """Data and parameters are float32, and they decide: also before the term sets in, and in parts."""
    objective = replace(OBJECTIVE, consistency_start=start, log_sigma_fraction=0.5)
    config = replace(CONFIG, accumulate=accumulate, restart_from_ema=True)

    def trained() -> tuple[TrainState, list]:
        step = make_train_step(REGULARISED, objective, config, STEPS, 3)
        state = init_state(REGULARISED, config, STEPS, jax.random.key(0))
        data = Batch(jnp.asarray(frames), jnp.asarray(systems))
        return jax.jit(lambda state: train_block(step, state, data, 4, KEY))(state)

    frames, systems = (np.asarray(part) for part in batches(4)[:2])
    state, metrics = trained()
    with jax.enable_x64(True):
        double, found = trained()
    for one, other in zip(jax.tree.leaves((state, metrics)), jax.tree.leaves((double, found)), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=1e-6)


def test_metrics_of_the_first_step_are_the_golden_ones():
    _, metrics = compiled_step(REGULARISED)(initial(REGULARISED), batch(0), KEY)
    # Denoising, residual, gradient norm, as this code printed them when the losses had been checked.
    golden = (0.8261207, 12.91751, 0.09301137)
    np.testing.assert_allclose(np.array(metrics), golden, rtol=2e-5)


def test_average_is_the_moving_average_of_the_parameters_and_not_inverted():
    states = trajectory(CONFIG, 6)
    expected = flat(states[0].parameters).astype(np.float64)
    for state in states[1:]:
        expected = 0.9 * expected + 0.1 * flat(state.parameters)
    np.testing.assert_allclose(flat(states[-1].average), expected, rtol=1e-6, atol=1e-7)
    # The authors weigh the new parameters with the decay, so that their average follows the last step.
    lag = np.abs(flat(states[-1].average) - flat(states[-1].parameters)).max()
    step = np.abs(flat(states[-1].parameters) - flat(states[-2].parameters)).max()
    assert lag > 2 * step


def test_parameters_restart_from_their_average_at_the_end_of_an_epoch_only():
    states = trajectory(replace(CONFIG, restart_from_ema=True), 6)
    same = [np.array_equal(flat(s.parameters), flat(s.average)) for s in states[1:]]
    assert same == [False, False, True, False, False, True]


def test_a_block_is_its_steps_one_after_another():
    block = jax.jit(partial(train_block, make_step(EXPERT)))
    state, metrics = block(initial(EXPERT), batches(5), 5, KEY)
    expected, denoising = initial(EXPERT), []
    for number in range(5):
        expected, each = compiled_step(EXPERT)(expected, batch(number), KEY)
        denoising.append(each.denoising)
    np.testing.assert_allclose(flat(state), flat(expected), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(metrics.denoising, denoising, rtol=1e-5)


def test_a_shorter_block_takes_its_steps_only_and_by_the_same_program():
    block = jax.jit(partial(train_block, make_step(EXPERT)))
    whole, _ = block(initial(EXPERT), batches(5), 5, KEY)
    part, metrics = block(initial(EXPERT), batches(5), 3, KEY)
    assert int(part.step) == 3
    assert not np.any(metrics.denoising[3:])
    rest, _ = block(part, jax.tree.map(lambda part: jnp.roll(part, -3, axis=0), batches(5)), 2, KEY)
    np.testing.assert_array_equal(flat(rest), flat(whole))
    assert block._cache_size() == 1  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.long
@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_beads_which_have_no_angles_are_trained(accumulate: int):
    beads = Beads.from_sequence("AA", BeadMap.parse("calpha"))
    frames = np.random.default_rng(0).normal(size=(16, 2, 3)).astype(np.float32)
    springs = pool([measure(beads, frames)])
    molecules = jax.tree.map(lambda part: part[None], molecule_of(beads, springs))
    network = GraphTransformerConfig(precondition=True, bond_width=0.1, heads=2, head_width=4, springs=True)
    expert = Expert(replace(SMALL, hidden=(8,), consistency_weight=1e-3), network, (2, 3))
    config = replace(CONFIG, accumulate=accumulate)
    step = make_train_step(
        expert, replace(OBJECTIVE, consistency_fraction=0.125), config, STEPS, 3, molecules
    )
    state, metrics = jax.jit(step)(
        initial(expert, config), Batch(jnp.asarray(frames), jnp.zeros(16, jnp.int32)), KEY
    )
    assert np.isfinite(metrics.denoising)
    assert metrics.consistency != 0
    assert np.isfinite(flat(state)).all()


def test_residual_counts_from_its_start_on():
    step = make_step(REGULARISED, objective=ObjectiveConfig(consistency_start=0.5))
    _, metrics = train_block(step, initial(REGULARISED), batches(STEPS), STEPS, KEY)
    counted = np.asarray(metrics.consistency) != 0
    assert counted.tolist() == [False] * 6 + [True] * 6


def test_learning_rate_falls_along_a_cosine_between_the_configured_ends():
    schedule = learning_rate(CONFIG, 100)
    middle = 0.5 * (CONFIG.learning_rate + CONFIG.final_learning_rate)
    ends_and_middle = [np.asarray(schedule(step)) for step in (0, 50, 100)]
    expected = [CONFIG.learning_rate, middle, CONFIG.final_learning_rate]
    assert ends_and_middle == pytest.approx(expected, rel=1e-5)


def test_learning_rate_rises_first_where_it_is_to_warm_up():
    schedule = learning_rate(replace(CONFIG, warm_up=20), 100)
    half, peak, middle, last = (float(np.asarray(schedule(step))) for step in (10, 20, 60, 100))
    assert (half, peak) == pytest.approx((0.5 * CONFIG.learning_rate, CONFIG.learning_rate), rel=1e-5)
    assert middle == pytest.approx(0.5 * (CONFIG.learning_rate + CONFIG.final_learning_rate), rel=1e-5)
    assert last == pytest.approx(CONFIG.final_learning_rate, rel=1e-5)
    shorter = learning_rate(replace(CONFIG, warm_up=20), 5)
    assert float(np.asarray(shorter(4))) == pytest.approx(CONFIG.learning_rate, rel=1e-5)


def test_the_norm_of_the_gradient_is_bounded():
    """To a tenth and to a hundredth of Adam's epsilon: steps fall with it."""
    moved = []
    for bound in (1e-9, 1e-10):
        before, after = trajectory(replace(CONFIG, clip_norm=bound, weight_decay=0), 1)
        moved.append(np.abs(flat(after.parameters) - flat(before.parameters)).sum())
    assert moved[0] == pytest.approx(10 * moved[1], rel=0.2)


def test_gradient_elements_are_clipped():
    moved = {}
    for name, config in (("tight", replace(CONFIG, clip=1e-12)), ("loose", CONFIG)):
        before, after = trajectory(config, 1)
        moved[name] = np.abs(flat(after.parameters) - flat(before.parameters)).max()
    # Adam is indifferent to scale until the gradient falls to its epsilon, 1e-8.
    assert moved["tight"] < 0.01 * moved["loose"]


def test_muon_turns_matrices_by_orthogonal_updates_as_large_as_those_of_adamw():
    """The rest are AdamW's with Nesterov's momentum: the first updates of all numbers are of one size."""
    config = replace(CONFIG, optimiser="muon", weight_decay=0)
    before, after = trajectory(config, 1)
    updates = jax.tree.map(lambda a, b: np.asarray(b - a), before.parameters, after.parameters)
    for update in jax.tree.leaves(updates):
        if update.ndim == 1:
            moved = np.abs(update[update != 0])
            np.testing.assert_allclose(moved, 1.474 * config.learning_rate, rtol=1e-3)
        else:
            sizes = np.linalg.svd(update / config.learning_rate, compute_uv=False)
            one = ADAM_SIZE * np.sqrt(max(update.shape))
            # Its polynomial brings singular values near to one, no more, and ranks may be lost to dead units.
            assert sizes.max() < 1.3 * one
            assert np.median(sizes) > 0.5 * one


def test_noise_depends_on_the_step_and_not_on_history():
    state = initial(EXPERT)
    later = state._replace(step=jnp.asarray(3, jnp.int32))
    first, again, other = (compiled_step(EXPERT)(s, batch(0), KEY)[1] for s in (state, state, later))
    assert float(first.denoising) == float(again.denoising) != float(other.denoising)


RANDOM_TERMS = {
    "hutchinson": ObjectiveConfig(estimator="hutchinson", consistency_fraction=0.5),
    "rne": ObjectiveConfig(consistency="rne", consistency_fraction=0.5, log_sigma_fraction=0.5),
    "diffclf": ObjectiveConfig(consistency="diffclf", consistency_fraction=0.5, log_sigma_fraction=0.5),
    "antithetic": ObjectiveConfig(estimator="hutchinson", consistency_fraction=0.25, antithetic=True),
}


LAYOUTS = ((1, 1), (4, 1), (1, 4), (2, 2))
"""Parts one after another on each of so many devices."""


def metrics_of_layouts() -> dict[str, list[list[float]]]:
    """The metrics of a first step by each layout, for each term; for a process of four devices."""
    found = {term: [] for term in RANDOM_TERMS}
    for term, objective in RANDOM_TERMS.items():
        for accumulate, devices in LAYOUTS:
            mesh = Mesh(np.asarray(jax.devices()[:devices]), (AXIS,), axis_types=(AxisType.Auto,))
            rows, config = NamedSharding(mesh, P(AXIS)), replace(CONFIG, accumulate=accumulate)
            step = make_train_step(REGULARISED, objective, config, STEPS, 3, mesh=mesh)
            _, metrics = jax.jit(step)(initial(REGULARISED), jax.device_put(batch(0), rows), KEY)
            found[term].append([float(value) for value in metrics])
    return found


@pytest.fixture(scope="module")
def layouts() -> dict[str, list[list[float]]]:
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
    }
    command = [sys.executable, __file__]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("term", RANDOM_TERMS)
def test_a_batch_in_parts_takes_the_same_step(term: str, layouts: dict[str, list[list[float]]]):
    """Also where the term draws probes, or pairs rows with each other: they belong to rows, not to parts."""
    whole, *parts = layouts[term]
    assert len(parts) == len(LAYOUTS) - 1
    assert len(set(map(tuple, layouts[term]))) > 1, "sums in another order"
    for found in parts:
        np.testing.assert_allclose(found, whole, rtol=2e-5)


def test_bfloat16_is_for_the_denoising_part_alone():
    expert = replace(REGULARISED, config=replace(REGULARISED.config, hidden=(64, 64)))
    state = init_state(expert, CONFIG, STEPS, jax.random.key(0))
    exact = ObjectiveConfig(consistency_fraction=0.5)
    full, half = (
        jax.jit(make_step(expert, objective=replace(exact, compute=compute)))(state, batch(0), KEY)
        for compute in ("float32", "bfloat16")
    )
    assert full[1].consistency == half[1].consistency, "the residual keeps its digits"
    assert 0 < abs(float(full[1].denoising - half[1].denoising)) < 0.01 * float(full[1].denoising)
    assert {leaf.dtype for leaf in jax.tree.leaves(half[0].parameters)} == {np.dtype(np.float32)}


if __name__ == "__main__":
    print(json.dumps(metrics_of_layouts()))
