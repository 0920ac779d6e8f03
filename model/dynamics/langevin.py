"""Underdamped Langevin dynamics: M dv = F dt − γ M v dt + √(2 γ kT M) dW.

A simulation is an `init` and a `step`, as pure functions of many chains at once; units are those of the
caller as long as kT, mass, length and time agree (nm, ps, amu, kJ/mol for molecules). All is computed in the
type of the positions.

Random numbers belong to a chain: those of a step are of the chain's key and of the number of steps that it
has taken. So no chain depends on its neighbours, nor on how often a simulation was interrupted.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import exp, expm1, sqrt
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from ..config import Integrator

Positions = Float[Array, "chains *shape"]
Force = Callable[[Positions], Positions]
Keys = Key[Array, "chains"]
Healthy = Callable[[Positions], Bool[Array, "chains"]]
Mass = float | Float[Array | np.ndarray, "#beads 1"] | Float[Array, ""]


class Parts(NamedTuple):
    """Forces at some positions."""

    known: Positions
    """Stiff, and nearly free of cost."""
    learned: Positions
    """Softer, and costly: what a network adds."""


@dataclass(frozen=True)
class Split:
    """Forces of which those that are known act in every inner step, and all others at the ends of a step."""

    known: Force
    learned: Force

    def __call__(self, x: Positions) -> Parts:
        """Both at these positions."""
        return Parts(self.known(x), self.learned(x))


class State(NamedTuple):
    """Positions, velocities, the forces at these positions, and the steps taken so far, of every chain."""

    position: Positions
    velocity: Positions
    force: Positions | Parts
    steps: Int[Array, "chains"]


@dataclass(frozen=True)
class Bath:
    """Heat bath, masses and time step. `mass` broadcasts against one chain's positions.

    What has an infinite mass, such as padding, stays where it is and has no temperature.
    """

    kT: float
    mass: Mass
    friction: float
    timestep: float
    inner_steps: int = 1
    """Parts of a step in the forces of a `Split`."""

    @property
    def inner(self) -> "Bath":
        """That of an inner step."""
        return replace(self, timestep=self.timestep / self.inner_steps, inner_steps=1)

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


_VELOCITIES = np.uint32(2**32 - 1)
"""Number of the step, which no chain takes, whose random numbers are the velocities at the start."""


def init(force: Force | Split, bath: Bath, position: Positions, keys: Keys) -> State:
    """Chains at the given positions with Maxwell velocities."""
    velocity = _noise(bath, 1.0, jax.vmap(lambda key: jax.random.fold_in(key, _VELOCITIES))(keys), position)
    return State(position, velocity, force(position), jnp.zeros(len(position), jnp.int32))


def langevin_step(force: Force, bath: Bath, state: State, keys: Keys) -> State:
    """The paper's scheme (OpenMM's LangevinIntegrator).

    v ← a v + (1 − a)/γ F/m + √(kT (1 − a²)/m) ξ, x ← x + v dt, with a = exp(−γ dt).
    """
    assert not isinstance(state.force, Parts)
    push = bath.gain * state.force / bath.mass_like(state.force)
    velocity = bath.decay * state.velocity + push + _kick(bath, keys, state.velocity)
    position = state.position + float(bath.timestep) * velocity
    return State(position, velocity, force(position), state.steps + 1)


def baoab_step(force: Force, bath: Bath, state: State, keys: Keys) -> State:
    """BAOAB (Leimkuhler & Matthews 2013): exact configurations for a harmonic force at any stable step."""
    assert not isinstance(state.force, Parts)
    half = 0.5 * float(bath.timestep)
    velocity = state.velocity + _half_kick(bath, state.force)
    position = state.position + half * velocity
    velocity = bath.decay * velocity + _kick(bath, keys, velocity)
    position = position + half * velocity
    forces = force(position)
    return State(position, velocity + _half_kick(bath, forces), forces, state.steps + 1)


def split_step(force: Split, bath: Bath, state: State, keys: Keys) -> State:
    """Impulse splitting (r-RESPA, Tuckerman, Berne & Martyna 1992) about BAOAB, with n inner steps.

    B_learned(dt/2) [B_known A O A B_known](dt/n)ⁿ B_learned(dt/2): the learned force is computed once. Where
    it is none, configurations are exact for a harmonic force at any stable inner step. Unstable where dt is
    about half the period of a mode of the known forces, or a multiple of that (resonance), whatever n.
    """
    inner = bath.inner
    assert isinstance(state.force, Parts)

    def one(number: Int[Array, ""], state: State) -> State:
        return baoab_step(force.known, inner, state, _at_step(keys, number))

    velocity = state.velocity + _half_kick(bath, state.force.learned)
    begun = State(state.position, velocity, state.force.known, state.steps)
    position, velocity, known, _ = jax.lax.fori_loop(0, bath.inner_steps, one, begun)
    learned = force.learned(position)
    velocity = velocity + _half_kick(bath, learned)
    return State(position, velocity, Parts(known, learned), state.steps + 1)


def _half_kick(bath: Bath, force: Positions) -> Positions:
    """Change of the velocities in half a step, F dt/(2m)."""
    return 0.5 * float(bath.timestep) * force / bath.mass_like(force)


def _kick(bath: Bath, keys: Keys, like: Positions) -> Positions:
    """Velocity noise of one step, √(kT (1 − a²)/m) ξ."""
    return _noise(bath, -expm1(-2 * bath.friction * bath.timestep), keys, like)


def _noise(bath: Bath, part: float, keys: Keys, like: Positions) -> Positions:
    """Velocities whose mean squares are a part of Maxwell's."""
    spread = sqrt(bath.kT * part) / jnp.sqrt(bath.mass_like(like))
    return spread * jax.vmap(lambda key: jax.random.normal(key, like.shape[1:], like.dtype))(keys)


STEPS: dict[Integrator, Callable[[Force, Bath, State, Keys], State]] = {
    "langevin": langevin_step,
    "baoab": baoab_step,
}


def step(integrator: Integrator, force: Force | Split, bath: Bath, state: State, keys: Keys) -> State:
    """The next step of every chain, by keys of that step; of a `Split`, which is of BAOAB, in inner steps."""
    if isinstance(force, Split):
        return split_step(force, bath, state, keys)
    return STEPS[integrator](force, bath, state, keys)


class Trajectory(NamedTuple):
    """Kept configurations, and each chain's kinetic temperatures kT there (2 E_kin / D, units of energy)."""

    position: Float[Array, "frames chains *shape"]
    velocity: Float[Array, "frames chains *shape"] | None
    """None where they are not asked for."""
    kinetic_temperature: Float[Array, "frames chains"]
    """Of the velocities half a step, or half an inner step, before the configuration."""
    step_temperature: Float[Array, "frames chains"]
    """Of the velocities at its time, colder by (ω dt)²/4 for each harmonic mode ω; of a `Split`, those before
    the learned forces act, and the dt of an inner step and the ω of the known forces."""
    steps: Int[Array, "frames chains"]
    """Taken until then: fewer than by others where a chain was stopped."""


def kinetic_temperatures(
    integrator: Integrator, bath: Bath, state: State
) -> tuple[Float[Array, "chains"], Float[Array, "chains"]]:
    """Kinetic temperatures kT of each chain: half a step before, and at the time of its configuration.

    For a harmonic force BAOAB samples ⟨k x²⟩ = kT, ⟨m v²⟩ = kT (1 − (ω dt)²/4) and ⟨x v⟩ = 0 (Leimkuhler &
    Matthews 2013). Before its last half kick the velocity was v − F dt/(2m) = v + ω² x dt/2, whose
    ⟨m v²⟩ = kT (1 − (ω dt)²/4) + (ω dt)²/4 kT = kT, at any step. The paper's scheme holds half-step
    velocities, which that half kick brings to the configuration's time.

    Of a `Split` both are of the last inner step, without the learned forces' half kick after it. So the
    first is kT for harmonic known forces at any stable inner step, where nothing is learned. Where a harmonic
    force of frequency Ω is, no velocity of the step is exact, as each inner step has random numbers: with
    many of them and little friction this one is kT (1 − (Ω dt)²/6 + (Ω dt)²/4 · Ω²/(ω² + Ω²)) to the second
    order of the whole step dt, ω being that of the known force.
    """
    velocity, force = state.velocity, state.force
    if isinstance(force, Parts):
        velocity = velocity - _half_kick(bath, force.learned)
        force, bath = force.known, bath.inner
    kick = _half_kick(bath, force)
    half, on = (velocity - kick, velocity) if integrator == "baoab" else (velocity, velocity + kick)
    mass = jnp.broadcast_to(bath.mass_like(velocity), velocity.shape[1:])
    moves = jnp.isfinite(mass)

    def mean(velocity: Positions) -> Float[Array, "chains"]:
        squares = jnp.where(moves, mass * velocity**2, 0)
        return jnp.sum(squares, axis=tuple(range(1, velocity.ndim))) / jnp.sum(moves)

    return mean(half), mean(on)


def advance(
    integrator: Integrator,
    force: Force | Split,
    bath: Bath,
    state: State,
    keys: Keys,
    steps: int | Int[Array, ""],
    healthy: Healthy | None = None,
) -> State:
    """Advance all chains by so many steps.

    A chain whose next configuration is not `healthy` stays as it was before that step, and takes no other;
    its neighbours do not notice. One that has taken fewer steps than others has been stopped so.
    """
    move, first = partial(_move, integrator, force, bath, healthy), state.steps.max()
    if isinstance(steps, int) and steps * len(keys) <= _KEYS:
        numbers = first + jnp.arange(steps, dtype=first.dtype)
        drawn = jax.vmap(partial(_at_step, keys))(numbers)  # Together: cheaper than one after another.
        state, _ = jax.lax.scan(lambda state, at: (move(state, *at), None), state, (numbers, drawn))
        return state

    def step(i: Int[Array, ""], state: State) -> State:
        return move(state, first + i, _at_step(keys, first + i))

    return jax.lax.fori_loop(0, steps, step, state)


_KEYS = 2**22
"""Keys that may be in memory at a time."""


def _at_step(keys: Keys, number: Int[Array, ""]) -> Keys:
    return jax.vmap(jax.random.fold_in, (0, None))(keys, number)


def _move(
    integrator: Integrator,
    force: Force | Split,
    bath: Bath,
    healthy: Healthy | None,
    state: State,
    number: Int[Array, ""],
    keys: Keys,
) -> State:
    """The step of this number, of the chains that have taken all before it."""
    new = step(integrator, force, bath, state, keys)
    if healthy is None:
        return new
    goes = healthy(new.position) & (state.steps == number)
    return jax.tree.map(lambda a, b: jnp.where(goes.reshape(-1, *[1] * (a.ndim - 1)), a, b), new, state)


def simulate(
    integrator: Integrator,
    force: Force | Split,
    bath: Bath,
    state: State,
    keys: Keys,
    frames: int,
    stride: int,
    healthy: Healthy | None = None,
    velocities: bool = True,
) -> tuple[State, Trajectory]:
    """Advance all chains by frames · stride steps, as `advance`; the last state and every stride-th frame.

    What goes on from the last state is what a longer simulation would have had.
    """

    def stretch(state: State, _: None) -> tuple[State, Trajectory]:
        # A loop of one round is unrolled: fused with what is around it, it would be rounded otherwise.
        state = jax.lax.optimization_barrier(state)
        state = jax.lax.optimization_barrier(advance(integrator, force, bath, state, keys, stride, healthy))
        heat = kinetic_temperatures(integrator, bath, state)
        return state, Trajectory(
            state.position, state.velocity if velocities else None, *heat, steps=state.steps
        )

    return jax.lax.scan(stretch, state, length=frames)
