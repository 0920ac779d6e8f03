"""Impulse splitting on harmonic forces, of which −k (x − c) is known and −s (x − c) is learned.

A step is a linear map of (x, v) with noise, here put together anew in NumPy from its kicks, drifts and
frictions; the covariance that it leaves as it is is the truth. Where s is 0 that has ⟨k x²⟩ = kT exactly.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fokker.model.dynamics.langevin import Bath, Split, State, Trajectory, advance, init, simulate, step

from ..conftest import deviation

CHAINS = 2000
CENTRE = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]])
MASS = np.array([[0.5], [3.0]])
STIFF = np.array([[12.0, 9.0, 7.0], [12.0, 8.0, 0.0]])
"""Frequencies of the known forces; the last coordinate has none."""
SOFT = np.array([[3.0, 2.0, 4.0], [2.5, 0.0, 3.0]])
"""Those of the learned ones."""
BATH = Bath(kT=2.5, mass=jnp.asarray(MASS, jnp.float32), friction=2.0, timestep=0.2, inner_steps=3)


def keys_of(seed: int, chains: int = CHAINS) -> jax.Array:
    return jax.vmap(lambda chain: jax.random.fold_in(jax.random.key(seed), chain))(jnp.arange(chains))


def spring(frequency: np.ndarray) -> Callable[[jax.Array], jax.Array]:
    return lambda x: -jnp.asarray(MASS * frequency**2, x.dtype) * (x - jnp.asarray(CENTRE, x.dtype))


SPLIT = Split(spring(STIFF), spring(SOFT))
ALONE = Split(spring(np.where(STIFF, STIFF, 5.0)), spring(np.zeros_like(SOFT)))


def moments(stiff: float, soft: float, bath: Bath, mass: float) -> tuple[float, float, float]:
    """⟨x²⟩, and ⟨m v²⟩ half an inner step before and at the end of the last inner step."""
    part = bath.timestep / bath.inner_steps
    decay = np.exp(-bath.friction * part)
    drift = np.array([[1, part / 2], [0, 1]])
    rub = np.diag([1, decay])
    noise = np.diag([0, bath.kT * (1 - decay**2) / mass])

    def kick(frequency: float, time: float) -> np.ndarray:
        return np.array([[1, 0], [-(frequency**2) * time, 1]])

    moves = [kick(soft, bath.timestep / 2)]
    for _ in range(bath.inner_steps):
        moves += [kick(stiff, part / 2), drift, rub, drift, kick(stiff, part / 2)]
    moves.append(kick(soft, bath.timestep / 2))
    whole, added = np.eye(2), np.zeros((2, 2))
    for move in moves:
        whole, added = move @ whole, move @ added @ move.T + (noise if move is rub else 0)
    covariance = np.linalg.solve(np.eye(4) - np.kron(whole, whole), added.reshape(-1)).reshape(2, 2)
    back = np.linalg.inv(moves[-1])
    on = back @ covariance @ back.T
    back = np.linalg.inv(moves[-2])
    half = back @ on @ back.T
    return covariance[0, 0], mass * half[1, 1], mass * on[1, 1]


def equilibrium(force: Split, bath: Bath) -> Trajectory:
    @jax.jit
    def run(keys):
        state = init(force, bath, jnp.asarray(np.broadcast_to(CENTRE, (CHAINS, 2, 3)), jnp.float32), keys)
        state = advance("baoab", force, bath, state, keys, 150)
        return simulate("baoab", force, bath, state, keys, 40, 5)[1]

    return run(keys_of(0))


@pytest.mark.parametrize("inner_steps", [2, 5])
def test_configurations_of_springs_alone_are_exact_and_so_is_the_temperature(inner_steps: int):
    """The whole step is too long for BAOAB: ω dt is 2.4; half the shortest period is at π."""
    bath, stiff = Bath(2.5, BATH.mass, 2.0, 0.2, inner_steps), np.where(STIFF, STIFF, 5.0)
    found = equilibrium(ALONE, bath)
    moved = np.asarray(found.position, np.float64) - CENTRE
    assert deviation((moved**2 * MASS * stiff**2).mean(axis=0), bath.kT) < 4
    assert deviation(found.kinetic_temperature.mean(axis=0), bath.kT) < 4
    colder = bath.kT * (1 - (stiff * bath.timestep / inner_steps) ** 2 / 4)
    assert deviation(found.step_temperature.mean(axis=0), colder.mean()) < 4


def test_configurations_and_temperatures_with_learned_forces_are_those_of_the_linear_map():
    found = equilibrium(SPLIT, BATH)
    mass = np.broadcast_to(MASS, STIFF.shape)
    known = [moments(*each) for each in zip(STIFF.flat, SOFT.flat, [BATH] * 6, mass.flat, strict=True)]
    position, half, on = np.transpose(known)
    moved = np.asarray(found.position, np.float64) - CENTRE
    assert deviation((moved**2).mean(axis=0), position.reshape(2, 3)) < 4
    assert deviation(found.kinetic_temperature.mean(axis=0), half.mean()) < 4
    assert deviation(found.step_temperature.mean(axis=0), on.mean()) < 4


@pytest.mark.parametrize(("stiff", "soft"), [(0.0, 1.0), (1.0, 1.0), (20.0, 0.5), (20.0, 0.0)])
def test_the_temperature_is_off_by_as_much_as_is_said(stiff: float, soft: float):
    bath = Bath(kT=1.0, mass=1.0, friction=1e-4, timestep=0.1, inner_steps=50)
    turn = (soft * bath.timestep) ** 2
    said = 1 - turn / 6 + turn / 4 * soft**2 / (stiff**2 + soft**2)
    allowed = turn * (max(stiff, soft) * bath.timestep) ** 2 / 10 if soft else 0
    assert moments(stiff, soft, bath, 1.0)[1] == pytest.approx(said, abs=allowed + 0.02 * turn + 1e-8)


@pytest.mark.parametrize(("part", "bounded"), [(0.5, True), (0.9, True), (0.97, False), (1.15, True)])
def test_a_whole_step_of_half_the_stiff_period_resonates(part: float, bounded: bool):
    """Mode by mode the map is unstable where ω dt is from π (1 − Ω²/ω²) to π, about; here from 0.94 π."""
    stiff, soft = 10.0, 2.5
    bath = Bath(kT=1.0, mass=1.0, friction=0.0, timestep=part * np.pi / stiff, inner_steps=8)
    force = Split(lambda x: -(stiff**2) * x, lambda x: -(soft**2) * x)
    keys = keys_of(0, 8)
    state = init(force, bath, jnp.zeros((8, 1)), keys)
    end = jax.jit(lambda state: advance("baoab", force, bath, state, keys, 1000))(state)
    largest = np.abs(stiff * np.asarray(end.position)).max()
    assert (largest < 20) == bounded


def test_without_friction_the_energy_is_kept_to_second_order_of_the_step():
    with jax.enable_x64(True):
        keys, swings = keys_of(0, 5), []
        for timestep in (0.02, 0.01):
            bath = Bath(2.5, jnp.asarray(MASS), 0.0, timestep, 3)
            state = init(SPLIT, bath, jnp.zeros((5, 2, 3)), keys)

            def energy(state: State) -> jax.Array:
                moved = (state.position - CENTRE) ** 2 * (STIFF**2 + SOFT**2) + state.velocity**2
                return 0.5 * jnp.sum(MASS * moved, axis=(1, 2))

            def one(state: State, _: None, bath: Bath = bath) -> tuple[State, jax.Array]:
                state = step("baoab", SPLIT, bath, state, keys)
                return state, energy(state)

            _, after = jax.jit(lambda state, one=one: jax.lax.scan(one, state, length=500))(state)
            swings.append(np.ptp(np.asarray(after / energy(state)), axis=0))
    assert swings[0].max() < 0.02
    np.testing.assert_allclose(swings[0] / swings[1], 4, rtol=0.15)


def test_the_learned_force_is_computed_once_a_step_and_the_known_one_in_every_inner_step():
    asked = {"known": 0, "learned": 0}

    def counting(name: str, force: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
        def count() -> None:
            asked[name] += 1

        def counted(x: jax.Array) -> jax.Array:
            jax.debug.callback(count)
            return force(x)

        return counted

    force = Split(counting("known", SPLIT.known), counting("learned", SPLIT.learned))
    keys = keys_of(0, 4)
    state = init(force, BATH, jnp.zeros((4, 2, 3)), keys)
    jax.block_until_ready(jax.jit(lambda s: simulate("baoab", force, BATH, s, keys, 3, 4))(state))
    jax.effects_barrier()
    assert asked == {"known": 1 + 12 * 3, "learned": 1 + 12}


def test_inner_steps_of_a_step_have_random_numbers_of_their_own():
    """Without forces, and with all velocities lost in an inner step, a step adds up n drifts of noise."""
    bath = Bath(kT=1.0, mass=1.0, friction=1e3, timestep=0.4, inner_steps=4)
    nothing = Split(jnp.zeros_like, jnp.zeros_like)
    keys = keys_of(3)
    state = init(nothing, bath, jnp.zeros((CHAINS, 3)), keys)
    after = step("baoab", nothing, bath, state._replace(velocity=jnp.zeros((CHAINS, 3))), keys)
    # Each noise moves for half of its inner step and half of the next: 3 whole ones and a half.
    assert deviation(np.asarray(after.position) ** 2, 0.1**2 * (3 + 0.25)) < 4


def test_a_simulation_goes_on_bit_by_bit_and_does_not_depend_on_neighbours():
    keys = keys_of(1, 6)
    start = jnp.asarray(np.random.default_rng(0).normal(size=(6, 2, 3)), jnp.float32)

    def frames(state: State, keys: jax.Array, count: int) -> tuple[State, Trajectory]:
        return jax.jit(lambda s, k: simulate("baoab", SPLIT, BATH, s, k, count, 3))(state, keys)

    state = init(SPLIT, BATH, start, keys)
    _, whole = frames(state, keys, 6)
    middle, first = frames(state, keys, 2)
    again = State(middle.position, middle.velocity, SPLIT(middle.position), middle.steps)
    _, second = frames(again, keys, 4)
    np.testing.assert_array_equal(whole.position, np.concatenate([first.position, second.position]))
    others = jnp.array([0, 3, 2, 5, 4, 1])
    _, swapped = frames(init(SPLIT, BATH, start[others], keys[others]), keys[others], 6)
    np.testing.assert_array_equal(whole.position[:, others], swapped.position)


def test_a_chain_that_goes_bad_stays_at_its_last_good_step():
    keys = keys_of(1, 3)
    start = jnp.zeros((3, 2, 3)).at[1].set(np.nan)

    def healthy(x: jax.Array) -> jax.Array:
        return jnp.isfinite(x).all(axis=(1, 2))

    run = jax.jit(lambda s: advance("baoab", SPLIT, BATH, s, keys, 4, healthy))
    end = run(init(SPLIT, BATH, start, keys))
    assert end.steps.tolist() == [4, 0, 4]
    alone = run(init(SPLIT, BATH, jnp.zeros((3, 2, 3)), keys))
    np.testing.assert_array_equal(end.position[::2], alone.position[::2])
