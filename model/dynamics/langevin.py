"""Underdamped Langevin dynamics: M dv = F dt − γ M v dt + √(2 γ kT M) dW.

A simulation is an `init` and a `step`, as pure functions of many chains at once; units are those of the
caller as long as kT, mass, length and time agree (nm, ps, amu, kJ/mol for molecules). All is computed in the
type of the positions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import exp, expm1, sqrt
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray

from ..config import Integrator

Positions = Float[Array, "chains *shape"]
Force = Callable[[Positions], Positions]
Mass = float | Float[Array | np.ndarray, "#beads 1"] | Float[Array, ""]


class State(NamedTuple):
    """Positions, velocities, and the forces at these positions, of every chain."""

    position: Positions
    velocity: Positions
    force: Positions


@dataclass(frozen=True)
class Bath:
    """Heat bath, masses and time step. `mass` broadcasts against one chain's positions.

    What has an infinite mass, such as padding, stays where it is and has no temperature.
    """

    kT: float
    mass: Mass
    friction: float
    timestep: float

    def mass_like(self, x: Positions) -> Float[Array, "#beads 1"] | Float[Array, ""]:
        """The masses in the type of these positions."""
        return jnp.asarray(self.mass, x.dtype)

    @property
    def decay(self) -> float:
        """exp(−γ dt), what friction leaves of a velocity after a step."""
        return exp(-self.friction * self.timestep)

    @property
    def gain(self) -> float:
        """(1 − exp(−γ dt))/γ, the time for which a force acts in a step: dt without friction."""
        if not self.friction:
            return self.timestep
        return -expm1(-self.friction * self.timestep) / self.friction  # expm1 keeps its digits.


def init(force: Force, bath: Bath, position: Positions, key: PRNGKeyArray) -> State:
    """Chains at the given positions with Maxwell velocities."""
    velocity = _noise(bath, 1.0, key, position)
    return State(position, velocity, force(position))


def langevin_step(force: Force, bath: Bath, state: State, key: PRNGKeyArray) -> State:
    """The paper's scheme (OpenMM's LangevinIntegrator).

    v ← a v + (1 − a)/γ F/m + √(kT (1 − a²)/m) ξ, x ← x + v dt, with a = exp(−γ dt).
    """
    push = bath.gain * state.force / bath.mass_like(state.force)
    velocity = bath.decay * state.velocity + push + _kick(bath, key, state.velocity)
    position = state.position + float(bath.timestep) * velocity
    return State(position, velocity, force(position))


def baoab_step(force: Force, bath: Bath, state: State, key: PRNGKeyArray) -> State:
    """BAOAB (Leimkuhler & Matthews 2013): exact configurations for a harmonic force at any stable step."""
    half = 0.5 * float(bath.timestep)
    velocity = state.velocity + _half_kick(bath, state.force)
    position = state.position + half * velocity
    velocity = bath.decay * velocity + _kick(bath, key, velocity)
    position = position + half * velocity
    forces = force(position)
    return State(position, velocity + _half_kick(bath, forces), forces)


def _half_kick(bath: Bath, force: Positions) -> Positions:
    """Change of the velocities in half a step, F dt/(2m)."""
    return 0.5 * float(bath.timestep) * force / bath.mass_like(force)


def _kick(bath: Bath, key: PRNGKeyArray, like: Positions) -> Positions:
    """Velocity noise of one step, √(kT (1 − a²)/m) ξ."""
    return _noise(bath, -expm1(-2 * bath.friction * bath.timestep), key, like)


def _noise(bath: Bath, part: float, key: PRNGKeyArray, like: Positions) -> Positions:
    """Velocities whose mean squares are a part of Maxwell's."""
    spread = sqrt(bath.kT * part) / jnp.sqrt(bath.mass_like(like))
    return spread * jax.random.normal(key, like.shape, like.dtype)


STEPS: dict[Integrator, Callable[[Force, Bath, State, PRNGKeyArray], State]] = {
    "langevin": langevin_step,
    "baoab": baoab_step,
}


class Trajectory(NamedTuple):
    """Kept configurations, and each chain's kinetic temperatures kT there (2 E_kin / D, units of energy)."""

    position: Float[Array, "frames chains *shape"]
    velocity: Float[Array, "frames chains *shape"]
    kinetic_temperature: Float[Array, "frames chains"]
    """Of the velocities half a step before the configuration."""
    step_temperature: Float[Array, "frames chains"]
    """Of the velocities at its time, colder by (ω dt)²/4 for each harmonic mode ω."""


def kinetic_temperatures(
    integrator: Integrator, bath: Bath, state: State
) -> tuple[Float[Array, "chains"], Float[Array, "chains"]]:
    """Kinetic temperatures kT of each chain: half a step before, and at the time of its configuration.

    For a harmonic force BAOAB samples ⟨k x²⟩ = kT, ⟨m v²⟩ = kT (1 − (ω dt)²/4) and ⟨x v⟩ = 0 (Leimkuhler &
    Matthews 2013). Before its last half kick the velocity was v − F dt/(2m) = v + ω² x dt/2, whose
    ⟨m v²⟩ = kT (1 − (ω dt)²/4) + (ω dt)²/4 kT = kT, at any step. The paper's scheme holds half-step
    velocities, which that half kick brings to the configuration's time.
    """
    kick = _half_kick(bath, state.force)
    velocity = state.velocity
    half, on = (velocity - kick, velocity) if integrator == "baoab" else (velocity, velocity + kick)
    mass = jnp.broadcast_to(bath.mass_like(velocity), velocity.shape[1:])
    moves = jnp.isfinite(mass)

    def mean(velocity: Positions) -> Float[Array, "chains"]:
        squares = jnp.where(moves, mass * velocity**2, 0)
        return jnp.sum(squares, axis=tuple(range(1, velocity.ndim))) / jnp.sum(moves)

    return mean(half), mean(on)


PARTS = ("velocities", "burn-in", "steps")
"""What keys are needed for: two by `begin`, in this order, and the last by `simulate`."""


def begin(
    integrator: Integrator,
    force: Force,
    bath: Bath,
    start: Positions,
    keys: Key[Array, "2"],
    burn_in: int,
) -> State:
    """Chains from their start, with Maxwell velocities, through `burn_in` steps."""
    state = init(force, bath, start, keys[0])
    if burn_in:
        state, _ = simulate(integrator, force, bath, state, keys[1], frames=1, stride=burn_in)
    return state


def simulate(
    integrator: Integrator,
    force: Force,
    bath: Bath,
    state: State,
    key: PRNGKeyArray,
    frames: int,
    stride: int,
    first: int | Int[Array, ""] = 0,
) -> tuple[State, Trajectory]:
    """Advance all chains by frames · stride steps; the last state and every stride-th configuration.

    The key of a frame is that of its number alone, counted from `first`: more frames begin with the same
    ones, and what goes on from the last state is what would have followed.
    """
    step = partial(STEPS[integrator], force, bath)

    def stretch(state: State, frame: Int[Array, ""]) -> tuple[State, Trajectory]:
        keys = jax.random.split(jax.random.fold_in(key, frame), stride)
        # A loop of one round is unrolled: fused with what is around it, it would be rounded otherwise.
        state, keys = jax.lax.optimization_barrier((state, keys))
        state, _ = jax.lax.scan(lambda state, key: (step(state, key), None), state, keys)
        state = jax.lax.optimization_barrier(state)
        heat = kinetic_temperatures(integrator, bath, state)
        return state, Trajectory(state.position, state.velocity, *heat)

    return jax.lax.scan(stretch, state, first + jnp.arange(frames, dtype=jnp.int32))
