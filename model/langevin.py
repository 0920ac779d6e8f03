"""Underdamped Langevin dynamics: M dv = F dt − γ M v dt + √(2 γ kT M) dW.

A simulation is an `init` and a `step`, as pure functions of many chains at once; units are those of the
caller as long as kT, mass, length and time agree (nm, ps, amu, kJ/mol for molecules).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PRNGKeyArray

from .config import Integrator

Positions = Float[Array, "chains *shape"]
Force = Callable[[Positions], Positions]


class State(NamedTuple):
    """Positions, velocities, and the forces at these positions, of every chain."""

    position: Positions
    velocity: Positions
    force: Positions


@dataclass(frozen=True)
class Bath:
    """Heat bath, masses and time step. `mass` broadcasts against one chain's positions."""

    kT: float
    mass: float | Float[Array, "#beads 1"]
    friction: float
    timestep: float


def init(force: Force, bath: Bath, position: Positions, key: PRNGKeyArray) -> State:
    """Chains at the given positions with Maxwell velocities."""
    thermal = jnp.sqrt(bath.kT / bath.mass)
    return State(position, thermal * jax.random.normal(key, position.shape), force(position))


def langevin_step(force: Force, bath: Bath, state: State, key: PRNGKeyArray) -> State:
    """The paper's scheme (OpenMM's LangevinIntegrator).

    v ← a v + (1 − a)/γ F/m + √(kT (1 − a²)/m) ξ, x ← x + v dt, with a = exp(−γ dt).
    """
    decay = jnp.exp(-bath.friction * bath.timestep)
    # (1 − a)/γ tends to dt without friction; expm1 keeps its digits.
    gain = -jnp.expm1(-bath.friction * bath.timestep) / bath.friction
    velocity = (
        decay * state.velocity + gain * state.force / bath.mass + _kick(bath, key, state.velocity.shape)
    )
    position = state.position + bath.timestep * velocity
    return State(position, velocity, force(position))


def baoab_step(force: Force, bath: Bath, state: State, key: PRNGKeyArray) -> State:
    """BAOAB (Leimkuhler & Matthews 2013): exact configurations for a harmonic force at any stable step."""
    half = 0.5 * bath.timestep
    velocity = state.velocity + half * state.force / bath.mass
    position = state.position + half * velocity
    decay = jnp.exp(-bath.friction * bath.timestep)
    velocity = decay * velocity + _kick(bath, key, velocity.shape)
    position = position + half * velocity
    forces = force(position)
    return State(position, velocity + half * forces / bath.mass, forces)


def _kick(bath: Bath, key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "*shape"]:
    """Velocity noise of one step, √(kT (1 − a²)/m) ξ."""
    spread = -jnp.expm1(-2 * bath.friction * bath.timestep)
    return jnp.sqrt(bath.kT * spread / bath.mass) * jax.random.normal(key, shape)


STEPS: dict[Integrator, Callable[[Force, Bath, State, PRNGKeyArray], State]] = {
    "langevin": langevin_step,
    "baoab": baoab_step,
}


class Trajectory(NamedTuple):
    """Kept configurations, and each chain's kinetic temperature kT there (2 E_kin / D, units of energy)."""

    position: Float[Array, "frames chains *shape"]
    kinetic_temperature: Float[Array, "frames chains"]


def simulate(
    integrator: Integrator,
    force: Force,
    bath: Bath,
    state: State,
    key: PRNGKeyArray,
    frames: int,
    stride: int,
) -> tuple[State, Trajectory]:
    """Advance all chains by frames · stride steps; the last state and every stride-th configuration."""
    step = partial(STEPS[integrator], force, bath)

    def stretch(state: State, key: PRNGKeyArray) -> tuple[State, Trajectory]:
        keys = jax.random.split(key, stride)
        state, _ = jax.lax.scan(lambda state, key: (step(state, key), None), state, keys)
        temperature = jnp.mean(bath.mass * state.velocity**2, axis=tuple(range(1, state.velocity.ndim)))
        return state, Trajectory(state.position, temperature)

    return jax.lax.scan(stretch, state, jax.random.split(key, frames))


def run(
    integrator: Integrator,
    force: Force,
    bath: Bath,
    start: Positions,
    keys: Key[Array, "3"],
    frames: int,
    stride: int,
    burn_in: int,
) -> Trajectory:
    """Chains from their start, through `burn_in` steps that are dropped, to the end of `simulate`.

    `keys` are three: of the first velocities, the burn-in, and what is kept.
    """
    velocity_key, burn_key, key = keys
    advance = partial(simulate, integrator, force, bath)
    state = init(force, bath, start, velocity_key)
    if burn_in:
        state, _ = advance(state, burn_key, frames=1, stride=burn_in)
    return advance(state, key, frames=frames, stride=stride)[1]
