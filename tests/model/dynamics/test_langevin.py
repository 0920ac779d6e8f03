"""Both integrators on a harmonic force −k (x − c), for which the moments of the discrete chain are known.

`langevin` (v ← a v − g ω² x + noise, x ← x + h v, with a = e⁻ᵞʰ, g = (1 − a)/γ, ω² = k/m) has the stationary
⟨m v²⟩ = kT/(1 − g ω² h/(2(1 + a))) and ⟨k x²⟩ = ⟨m v²⟩ h (1 + a)/(2 g), both kT but for O(h²): one step
has to leave ⟨x²⟩, ⟨x v⟩ and ⟨v²⟩ as they are. `baoab` has ⟨k x²⟩ = kT at every h, and
⟨m v²⟩ = kT (1 − h² ω²/4) (Leimkuhler & Matthews 2013); at half steps ⟨m v²⟩ = kT at every h. With
⟨x v⟩ = ⟨v²⟩ h/2, the half kick of `langevin` leaves ⟨m v²⟩ (1 − h² ω²/2) + ⟨k x²⟩ h² ω²/4.
"""

from dataclasses import replace
from functools import cache
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fokker.model.config import Integrator
from fokker.model.dynamics.langevin import (
    STEPS,
    Bath,
    State,
    Trajectory,
    advance,
    init,
    kinetic_temperatures,
    simulate,
)

from ..conftest import deviation

INTEGRATORS = get_args(Integrator)
CHAINS = 2000
CENTRE = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, -1.0]])
MASS = np.array([[0.5], [3.0]])
FREQUENCY = np.array([[2.0, 4.0, 7.0], [2.0, 3.0, 5.0]])
STIFFNESS = MASS * FREQUENCY**2
BATH = Bath(kT=2.5, mass=jnp.asarray(MASS, jnp.float32), friction=2.0, timestep=0.1)


def keys_of(seed: int, chains: int = CHAINS) -> jax.Array:
    return jax.vmap(lambda chain: jax.random.fold_in(jax.random.key(seed), chain))(jnp.arange(chains))


def spring(x: jax.Array) -> jax.Array:
    return -jnp.asarray(STIFFNESS) * (x - CENTRE)


@cache
def equilibrium(integrator: Integrator) -> tuple[State, Trajectory]:
    """Frames of independent chains after 30 time units, in which the slowest correlation falls by e⁻³⁰."""

    @jax.jit
    def run(keys):
        state = init(spring, BATH, jnp.zeros((CHAINS, 2, 3)), keys)
        state = advance(integrator, spring, BATH, state, keys, 300)
        return simulate(integrator, spring, BATH, state, keys, 40, 10)

    return run(keys_of(0))


def known(integrator: Integrator) -> tuple[np.ndarray, np.ndarray]:
    """⟨k x²⟩ and ⟨m v²⟩ of every coordinate, of the velocities in the state."""
    h, squared = BATH.timestep, FREQUENCY**2
    if integrator == "baoab":
        return np.full_like(squared, BATH.kT), BATH.kT * (1 - h**2 * squared / 4)
    decay = np.exp(-BATH.friction * h)
    gain = (1 - decay) / BATH.friction
    kinetic = BATH.kT / (1 - gain * squared * h / (2 * (1 + decay)))
    return kinetic * h * (1 + decay) / (2 * gain), kinetic


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_configurations_have_the_mean_and_the_covariance_of_the_potential(integrator: Integrator):
    """Every chain's average over its frames is one independent value."""
    _, trajectory = equilibrium(integrator)
    moved = np.asarray(trajectory.position, np.float64) - CENTRE
    assert deviation(moved.mean(axis=0), 0) < 4
    scaled = (moved * np.sqrt(STIFFNESS)).reshape(len(moved), CHAINS, 6)
    covariance = np.einsum("fci,fcj->cij", scaled, scaled) / len(moved)
    assert deviation(covariance, np.diag(known(integrator)[0].reshape(-1))) < 4


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_kinetic_temperatures_at_half_steps_and_at_the_steps(integrator: Integrator):
    _, trajectory = equilibrium(integrator)
    position, kinetic = known(integrator)
    turn = (BATH.timestep * FREQUENCY) ** 2
    half, on = np.full_like(kinetic, BATH.kT), kinetic
    if integrator == "langevin":
        half, on = kinetic, kinetic * (1 - turn / 2) + position * turn / 4
    assert deviation(trajectory.kinetic_temperature.mean(axis=0), half.mean()) < 4
    assert deviation(trajectory.step_temperature.mean(axis=0), on.mean()) < 4
    # What is said of the step: 2 √(1 − on/half), exact for BAOAB, but for the friction in the other.
    rms = 2 * np.sqrt(1 - on.mean() / half.mean())
    assert rms == pytest.approx(np.sqrt(turn.mean()), rel=1e-12 if integrator == "baoab" else 0.05)
    assert rms > 0.3, "a difference that a test can see"


def test_before_its_last_half_kick_a_velocity_of_baoab_is_maxwells_at_any_stable_step():
    """From configurations and velocities as known at the steps, exactly and mode by mode: ⟨m v²⟩ = kT."""
    bath = replace(BATH, timestep=0.28)  # ω dt is 1.96 for the fastest mode, and 2 is the limit.
    random, turn = np.random.default_rng(0), (bath.timestep * FREQUENCY) ** 2
    x = CENTRE + random.normal(size=(400 * CHAINS, 2, 3)) * np.sqrt(bath.kT / STIFFNESS)
    v = random.normal(size=x.shape) * np.sqrt(bath.kT * (1 - turn / 4) / MASS)
    position = jnp.asarray(x, jnp.float32)
    steps, keys = jnp.zeros(len(x), jnp.int32), keys_of(0, len(x))
    state = State(position, jnp.asarray(v, jnp.float32), spring(position), steps)
    after = jax.jit(lambda state: STEPS["baoab"](spring, bath, state, keys))(state)
    for here in (state, after):
        half = np.asarray(here.velocity - 0.5 * bath.timestep * spring(here.position) / MASS, np.float64)
        assert deviation(MASS * half**2, bath.kT) < 4.5
        found, on = kinetic_temperatures("baoab", bath, here)
        np.testing.assert_allclose(found, (MASS * half**2).mean(axis=(1, 2)), rtol=1e-4)
        assert deviation(on, (bath.kT * (1 - turn / 4)).mean()) < 4.5


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_without_friction_the_energy_stays_and_little_of_it_changes_nothing(integrator: Integrator):
    """Both are then forms of Verlet, whose energy, that at half steps too, swings and does not drift."""
    free, nearly = (
        replace(BATH, timestep=0.01, friction=friction, kT=kT) for friction, kT in ((0.0, 2.5), (1e-6, 0.0))
    )
    keys = keys_of(0, 5)
    state = init(spring, free, jnp.zeros((5, 2, 3)), keys)
    last, trajectory = jax.jit(lambda s: simulate(integrator, spring, free, s, keys, 20, 50))(state)
    stretched = np.asarray(STIFFNESS * (trajectory.position - CENTRE) ** 2).mean(axis=(-1, -2))
    energy = stretched + trajectory.step_temperature
    np.testing.assert_allclose(energy, np.broadcast_to(energy[:1], energy.shape), rtol=5e-3)
    assert np.ptp(stretched, axis=0).min() > 0.1, "it moves"
    damped, _ = simulate(integrator, spring, nearly, state, keys, 20, 50)
    np.testing.assert_allclose(damped.position, last.position, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("stride", [1, 3])
def test_a_longer_simulation_begins_with_the_shorter_one_bit_by_bit(stride: int):
    keys = keys_of(0, 5)
    state = init(spring, BATH, jnp.zeros((5, 2, 3)), keys)

    def frames(count: int) -> Trajectory:
        return jax.jit(lambda keys: simulate("baoab", spring, BATH, state, keys, count, stride)[1])(keys)

    longest = frames(10)
    for count in (1, 5):
        found = frames(count)
        np.testing.assert_array_equal(found.position, longest.position[:count])
        np.testing.assert_allclose(found.kinetic_temperature, longest.kinetic_temperature[:count], rtol=1e-6)


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_a_simulation_is_computed_in_the_type_of_its_positions(integrator: Integrator):
    """Also where masses and kT come as NumPy's float64, as from a data set."""
    keys = keys_of(0, 4)
    bath = replace(BATH, kT=np.float64(2.5), mass=jnp.asarray(MASS))

    def of_type(dtype) -> Trajectory:
        start, force = jnp.zeros((4, 2, 3), dtype), lambda x: -jnp.asarray(STIFFNESS, x.dtype) * x

        @jax.jit
        def run(keys):
            state = advance(integrator, force, bath, init(force, bath, start, keys), keys, 4)
            return simulate(integrator, force, bath, state, keys, 3, 2)[1]

        return run(keys)

    plain = of_type(jnp.float32)
    with jax.enable_x64(True):
        bath = replace(BATH, kT=np.float64(2.5), mass=jnp.asarray(MASS))
        for dtype in (jnp.float32, jnp.float64):
            found = of_type(dtype)
            assert {part.dtype for part in found[:-1] if part is not None} == {jnp.dtype(dtype)}
            if dtype == jnp.float32:
                for part, same in zip(found, plain, strict=True):
                    np.testing.assert_array_equal(part, same)


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_every_bead_has_the_velocities_of_its_mass(integrator: Integrator):
    state, _ = equilibrium(integrator)
    kinetic = MASS * np.asarray(state.velocity, np.float64) ** 2
    assert deviation(kinetic, known(integrator)[1]) < 4


def test_chains_start_with_maxwell_velocities_and_the_force_at_their_positions():
    position = jnp.asarray(np.random.default_rng(0).normal(size=(CHAINS, 2, 3)), jnp.float32)
    state = init(spring, BATH, position, keys_of(1))
    np.testing.assert_array_equal(state.position, position)
    np.testing.assert_allclose(state.force, spring(position))
    assert deviation(state.velocity, 0) < 4
    assert deviation(MASS * np.asarray(state.velocity) ** 2, BATH.kT) < 4


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_free_velocities_decay_by_the_friction(integrator: Integrator):
    """⟨v(0) v(n h)⟩ = kT/m e⁻ᵞⁿʰ, at any step: the harmonic moments hardly depend on the friction."""

    def free(x: jax.Array) -> jax.Array:
        return jnp.zeros_like(x)

    keys = keys_of(0, 20 * CHAINS)
    state = init(free, BATH, jnp.zeros((20 * CHAINS, 2, 1)), keys)
    later, _ = jax.jit(lambda state, keys: simulate(integrator, free, BATH, state, keys, 1, 4))(state, keys)
    products = MASS * np.asarray(state.velocity) * np.asarray(later.velocity)
    assert deviation(products, BATH.kT * np.exp(-0.8)) < 4


def one_step(integrator: Integrator, friction: float) -> State:
    """A step of h = 0.2 in the force −3 x from x = 1, v = 0.5, for the mass 2, without noise."""
    bath = Bath(kT=0.0, mass=2.0, friction=friction, timestep=0.2)
    state = State(jnp.array([[1.0]]), jnp.array([[0.5]]), jnp.array([[-3.0]]), jnp.array([0], jnp.int32))
    return jax.jit(lambda state: STEPS[integrator](lambda x: -3 * x, bath, state, keys_of(0, 1)))(state)


def test_one_step_of_each_integrator_by_hand():
    a = np.exp(-0.2)
    state = one_step("langevin", friction=1.0)
    velocity = a * 0.5 - (1 - a) * 3 / 2
    position = 1 + 0.2 * velocity
    np.testing.assert_allclose(np.ravel(state[:3]), [position, velocity, -3 * position], rtol=1e-6)
    state = one_step("baoab", friction=1.0)
    kicked = 0.5 - 0.1 * 3 / 2
    position = 1 + 0.1 * kicked + 0.1 * a * kicked
    velocity = a * kicked - 0.1 * 3 * position / 2
    np.testing.assert_allclose(np.ravel(state[:3]), [position, velocity, -3 * position], rtol=1e-6)


def test_without_friction_a_step_is_newtons():
    """(1 − a)/γ tends to h; the difference 1 − a itself has no digits left in float32."""
    state = one_step("langevin", friction=1e-8)
    np.testing.assert_allclose(state.velocity, 0.5 - 0.2 * 3 / 2, rtol=1e-6)


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_a_simulation_is_its_steps_one_after_another(integrator: Integrator):
    keys, frames, stride = keys_of(1, 5), 3, 4
    state = init(spring, BATH, jnp.zeros((5, 2, 3)), keys)
    run = jax.jit(lambda state, keys: simulate(integrator, spring, BATH, state, keys, frames, stride))
    last, trajectory = run(state, keys)
    step = jax.jit(lambda state, keys: STEPS[integrator](spring, BATH, state, keys))
    positions, velocities, temperatures = [], [], []
    for number in range(frames * stride):
        state = step(state, jax.vmap(lambda key, number=number: jax.random.fold_in(key, number))(keys))
        if (number + 1) % stride == 0:
            positions.append(state.position)
            velocities.append(state.velocity)
            temperatures.append(kinetic_temperatures(integrator, BATH, state))
    np.testing.assert_allclose(trajectory.position, np.stack(positions), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(trajectory.velocity, np.stack(velocities), rtol=1e-4, atol=1e-5)
    for found, wanted in zip(trajectory[2:4], zip(*temperatures, strict=True), strict=True):
        np.testing.assert_allclose(found, np.stack(wanted), rtol=1e-4)
    np.testing.assert_array_equal(trajectory.steps, np.tile([[4], [8], [12]], (1, 5)))
    np.testing.assert_allclose(last.velocity, state.velocity, rtol=1e-4, atol=1e-5)


def test_a_trajectory_follows_its_keys_and_chains_differ():
    def run(seed: int) -> np.ndarray:
        keys = keys_of(seed, 2)
        state = init(spring, BATH, jnp.zeros((2, 2, 3)), keys)
        return np.asarray(simulate("baoab", spring, BATH, state, keys, 2, 2)[1].position)

    first, again, other = map(run, (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.isclose(first, other).any()
    assert not np.isclose(first[:, 0], first[:, 1]).any()


def test_a_chain_does_not_depend_on_its_neighbours():
    """Nor on its place among them."""
    keys, x = keys_of(1, 6), jnp.asarray(np.random.default_rng(0).normal(size=(6, 2, 3)), jnp.float32)
    run = jax.jit(
        lambda x, keys: simulate("baoab", spring, BATH, init(spring, BATH, x, keys), keys, 5, 3)[1].position
    )
    others = jnp.array([0, 3, 2, 5, 4, 1])
    np.testing.assert_array_equal(run(x, keys)[:, others], run(x[others], keys[others]))


@pytest.mark.parametrize("integrator", INTEGRATORS)
def test_without_frames_a_simulation_is_the_same(integrator: Integrator):
    keys = keys_of(1, 5)
    state = init(spring, BATH, jnp.zeros((5, 2, 3)), keys)
    last, _ = jax.jit(lambda s: simulate(integrator, spring, BATH, s, keys, 3, 4))(state)
    run = jax.jit(lambda s, steps: advance(integrator, spring, BATH, s, keys, steps))
    for found in (run(state, 12), run(run(state, 5), 7)):
        for one, other in zip(found, last, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_chain_that_goes_bad_stays_at_its_last_good_step_and_its_neighbours_do_not_notice():
    """One meets a wall, one a force that is not a number; all within one compiled program."""
    keys, start = keys_of(1, 4), np.zeros((4, 2, 3), np.float32)
    start[1], start[2] = 15.0, -50.0

    def force(x: jax.Array) -> jax.Array:
        return jnp.where(x < -40, jnp.nan, spring(x))

    def healthy(x: jax.Array) -> jax.Array:
        wall = (x[:, 0, 0] > 8) & (x[:, 0, 0] < 12)
        return jnp.isfinite(x).all(axis=(1, 2)) & ~wall

    @jax.jit
    def run(x):
        state = init(force, BATH, x, keys)
        return simulate("baoab", force, BATH, state, keys, 6, 2, healthy)

    end, found = run(jnp.asarray(start))
    calm, alone = run(jnp.zeros_like(start))
    for place in (0, 3):
        np.testing.assert_array_equal(found.position[:, place], alone.position[:, place])
        assert end.steps[place] == calm.steps[place] == 12
    assert np.isfinite(found.position).all()
    assert 0 < end.steps[1] < 12, "the wall is on its way to the centre, and thicker than a step"
    assert end.steps[2] == 0
    np.testing.assert_array_equal(found.position[0, 2], start[2])
    np.testing.assert_array_equal(np.minimum(found.steps[:, 1], end.steps[1]), found.steps[:, 1])
