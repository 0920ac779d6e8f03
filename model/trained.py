"""A trained model: the parameters of its experts as a pytree, and what they answer in physical units.

U = −kT log p(norm · x, t), forces kT · norm · s(norm · x, t) (Plainer et al. 2025, eq. 7). At every diffusion
time the expert of that time answers. Times are traced, and so are molecules: another time of the same expert,
or another molecule of the same padded size, compiles nothing. All is computed in the type of the positions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .config import (
    ArchitectureConfig,
    DynamicsConfig,
    NetworkConfig,
    SamplerConfig,
    require_springs,
)
from .diffusion import samplers
from .dynamics import langevin
from .dynamics.guard import Guard
from .dynamics.langevin import Force, Keys, Mass, Parts, Positions, Split
from .dynamics.umbrella import Ladder, Umbrella
from .experts import Expert, Parameters, active_at, gate
from .molecules import Molecule, torsion

Frames = Float[Array, "*batch_and_shape"]
"""Configurations, with any axes before theirs."""
Energies = Float[Array, "*batch"]
Time = float | int | Float[Array, ""]


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("parameters",),
    meta_fields=("experts", "network", "norm", "kT", "shape"),
)
@dataclass(frozen=True)
class Trained:
    """The experts in the order of their intervals, with their parameters."""

    parameters: tuple[Parameters, ...]
    experts: tuple[ArchitectureConfig, ...]
    network: NetworkConfig
    norm: float
    """What turns positions into normalised units (1/nm; 1 for Müller–Brown)."""
    kT: float
    """Thermal energy, whose unit is that of energies (kJ/mol)."""
    shape: tuple[int, ...] | None = None
    """Of a configuration; None where it is that of a molecule."""

    def of(self, molecule: Molecule | None) -> tuple[Expert, ...]:
        """The functions of all experts for a molecule, or for the system that is none."""
        shape = self.shape if molecule is None else (*molecule.mask.shape, 3)
        if shape is None:
            raise ValueError("this model is of molecules, and none is given")
        return tuple(Expert(expert, self.network, shape) for expert in self.experts)


def log_density(model: Trained, x: Frames, t: Time, molecule: Molecule | None = None) -> Energies:
    """Unnormalised log p(norm · x, t). Zeros of the densities of different experts differ.

    Raises ValueError for a time outside (0, 1), or one whose expert has no density.
    """
    return _evaluate("log_density", 1.0, model, x, t, molecule, _density_at(model, t))


def energy(model: Trained, x: Frames, t: Time, molecule: Molecule | None = None) -> Energies:
    """U(x), up to a constant. Raises what `log_density` does."""
    return _evaluate("log_density", -model.kT, model, x, t, molecule, _density_at(model, t))


def score(model: Trained, x: Frames, t: Time, molecule: Molecule | None = None) -> Frames:
    """∇ₓ log p(norm · x, t) by the positions as given (1/nm). ValueError for a time outside (0, 1)."""
    return _evaluate("score", model.norm, model, x, t, molecule, _active_at(model, t))


def forces(model: Trained, x: Frames, t: Time, molecule: Molecule | None = None) -> Frames:
    """−∇U(x); of a score, the field that would be one. ValueError for a time outside (0, 1)."""
    return _evaluate("score", model.kT * model.norm, model, x, t, molecule, _active_at(model, t))


def energy_and_forces(
    model: Trained, x: Frames, t: Time, molecule: Molecule | None = None
) -> tuple[Energies, Frames]:
    """Both, in one pass. Raises what `log_density` does."""
    scales = -model.kT, model.kT * model.norm
    return _evaluate("both", scales, model, x, t, molecule, _density_at(model, t))


@partial(jax.jit, static_argnames=("settings", "count"))
def sample(
    model: Trained, settings: SamplerConfig, key: PRNGKeyArray, count: int, molecule: Molecule | None = None
) -> Frames:
    """Independent samples, in the type of the parameters."""
    experts = model.of(molecule)
    return samplers.sample(experts, model.parameters, settings, key, count, molecule) / float(model.norm)


@partial(jax.jit, static_argnames="settings")
def begin(
    model: Trained,
    settings: DynamicsConfig,
    x: Positions,
    mass: Mass,
    keys: Keys,
    molecule: Molecule | None = None,
) -> langevin.State:
    """Chains at positions x, with Maxwell velocities; `mass` is infinite for padding."""
    return langevin.init(*_dynamics(model, settings, mass, molecule), x, keys)


@partial(jax.jit, static_argnames="settings")
def resume(
    model: Trained,
    settings: DynamicsConfig,
    position: Positions,
    velocity: Positions,
    steps: Int[Array, "chains"],
    molecule: Molecule | None = None,
) -> langevin.State:
    """Chains where they stood; their forces are computed anew."""
    return langevin.State(position, velocity, _force(model, settings, molecule)(position), steps)


@partial(jax.jit, static_argnames="settings")
def advance(
    model: Trained,
    settings: DynamicsConfig,
    state: langevin.State,
    mass: Mass,
    keys: Keys,
    steps: int | Array,
    guard: Guard | None = None,
    molecule: Molecule | None = None,
) -> langevin.State:
    """Langevin dynamics without frames, such as a burn-in; another number of steps compiles nothing.

    A chain that would leave what the guard allows stays where it was.
    """
    force, bath = _dynamics(model, settings, mass, molecule)
    return langevin.advance(settings.integrator, force, bath, state, keys, steps, guard)


@partial(jax.jit, static_argnames="settings")
def step(
    model: Trained,
    settings: DynamicsConfig,
    state: langevin.State,
    mass: Mass,
    keys: Keys,
    molecule: Molecule | None = None,
) -> langevin.State:
    """The next step of every chain, wherever it leads, also of those that `advance` has stopped."""
    force, bath = _dynamics(model, settings, mass, molecule)
    own = jax.vmap(jax.random.fold_in)(keys, state.steps)
    return langevin.step(settings.integrator, force, bath, state, own)


@partial(jax.jit, static_argnames=("settings", "frames", "velocities"))
def simulate(
    model: Trained,
    settings: DynamicsConfig,
    state: langevin.State,
    mass: Mass,
    keys: Keys,
    frames: int,
    guard: Guard | None = None,
    molecule: Molecule | None = None,
    velocities: bool = False,
) -> tuple[langevin.State, langevin.Trajectory]:
    """`advance`, and every stride-th frame: the state at the end, and the frames.

    From the state at the end, what follows is bit by bit what a longer simulation has.
    """
    force, bath = _dynamics(model, settings, mass, molecule)
    return langevin.simulate(
        settings.integrator, force, bath, state, keys, frames, settings.stride, guard, velocities
    )


@partial(jax.jit, static_argnames=("settings", "frames"))
def windows(
    model: Trained,
    settings: DynamicsConfig,
    x: Positions,
    mass: Mass,
    key: PRNGKeyArray,
    frames: int,
    ladder: Ladder,
    molecule: Molecule | None = None,
) -> Float[Array, "frames ladders windows"]:
    """Langevin dynamics in the windows of some ladders, from x with Maxwell velocities: their torsions.

    Every stride steps, after which chains are exchanged. Chains start at x, the windows of one ladder after
    those of another. The bias acts with the forces that are known: in every inner step.
    """
    places = jnp.arange(len(x)).reshape(-1, len(ladder.centres))
    keys, exchange = jax.random.split(key, len(x)), jax.random.fold_in(key, len(x))

    def stretch(carry: tuple, number: Int[Array, ""]) -> tuple[tuple, Float[Array, "ladders windows"]]:
        state, places = carry
        umbrella = ladder.at(places)
        force, bath = _dynamics(model, settings, mass, molecule, umbrella)
        state = langevin.advance(settings.integrator, force, bath, state, keys, settings.stride)
        angles = torsion(state.position, ladder.beads)[places]
        places = ladder.exchange(places, angles, model.kT, exchange, number)
        push = ladder.at(places).force(state.position) - umbrella.force(state.position)
        return (state._replace(force=_pushed(state.force, push)), places), angles

    begun = langevin.init(*_dynamics(model, settings, mass, molecule, ladder.at(places)), x, keys)
    return jax.lax.scan(stretch, (begun, places), jnp.arange(frames))[1]


def _pushed(force: Positions | Parts, push: Positions) -> Positions | Parts:
    """Forces and others that are known."""
    return force._replace(known=force.known + push) if isinstance(force, Parts) else force + push


@partial(jax.jit, static_argnames="t")
def frequencies(
    model: Trained, x: Frames, t: float, mass: Mass, molecule: Molecule | None = None
) -> Float[Array, "frames modes"]:
    """ω of every mode at every configuration, ascending: √ of the mass-weighted Hessian's eigenvalues.

    Where the energy curves down, the square is negative and −√ of its size is returned. Of a score, whose
    Jacobian need not be symmetric, the symmetric part is taken. What has an infinite mass has ω = 0.
    """

    def of_one(y: Float[Array, "*shape"]) -> Float[Array, "modes"]:
        jacobian = jax.jacfwd(lambda z: forces(model, z, t, molecule))(y)
        root = jnp.sqrt(jnp.broadcast_to(jnp.asarray(mass, y.dtype), y.shape).reshape(-1))
        square = jacobian.reshape(y.size, y.size)
        squares = jnp.linalg.eigvalsh(-0.5 * (square + square.T) / (root[:, None] * root))
        return jnp.sign(squares) * jnp.sqrt(jnp.abs(squares))

    return jax.lax.map(of_one, x)


def _dynamics(
    model: Trained,
    settings: DynamicsConfig,
    mass: Mass,
    molecule: Molecule | None,
    umbrella: Umbrella | None = None,
) -> tuple[Force | Split, langevin.Bath]:
    bath = langevin.Bath(model.kT, mass, settings.friction, settings.timestep, settings.inner_steps)
    return _force(model, settings, molecule, umbrella), bath


def _force(
    model: Trained, settings: DynamicsConfig, molecule: Molecule | None, umbrella: Umbrella | None = None
) -> Force | Split:
    """The forces of the dynamics; ValueError where inner steps are asked for, and nothing is known."""
    require_springs(settings, model.network)
    time = settings.force_time

    def biased(force: Force) -> Force:
        if (bias := umbrella) is None:
            return force
        return lambda x: force(x) + bias.force(x)

    if settings.inner_steps == 1:
        return biased(lambda x: forces(model, x, time, molecule))
    scale, active = model.kT * model.norm, _active_at(model, time)

    def of(what: Literal["known", "learned"]) -> Force:
        return lambda x: _evaluate(what, scale, model, x, time, molecule, active)

    return Split(biased(of("known")), of("learned"))


def _active_at(model: Trained, t: Time) -> int | None:
    """Number of the expert of a time, None where only the compiled program will know the time."""
    return None if isinstance(t, Tracer) else active_at(float(t), model.experts)


def _density_at(model: Trained, t: Time) -> int | None:
    """`_active_at`, if that expert has a density, or every one that it could be."""
    active = _active_at(model, t)
    asked = model.experts if active is None else model.experts[active : active + 1]
    scores = [_shown(expert) for expert in asked if not expert.conservative]
    if not scores:
        return active
    when = "a traced time" if active is None else f"time {float(t):g}"
    densities = [_shown(expert) for expert in model.experts if expert.conservative]
    right = f"ask for a time in {' or '.join(densities)}, or for forces" if densities else "ask for forces"
    raise ValueError(
        f"{when}: the expert of {scores[0]} is a score, which has no energy and no log-density: {right}"
    )


def _shown(expert: ArchitectureConfig) -> str:
    return "[{:g}, {:g})".format(*expert.interval)


@partial(jax.jit, static_argnames=("what", "scales", "active"))
def _evaluate(
    what: Literal["log_density", "score", "both", "known", "learned"],
    scales: float | tuple[float, float],
    model: Trained,
    x: Frames,
    t: Time,
    molecule: Molecule | None,
    active: int | None,
) -> Any:
    """What is asked for, times `scales`, at all configurations and one time.

    Of the expert `active`, or of that which the time selects when it is known.
    """
    experts = model.of(molecule)
    shape = experts[0].shape
    batch = x.shape[: x.ndim - len(shape)]
    rows, time = float(model.norm) * x.reshape(-1, *shape), jnp.asarray(t, x.dtype)

    def of(expert: Expert, parameters: Parameters) -> Callable[..., Any]:
        both = jax.value_and_grad(expert.log_density, argnums=1)
        functions = {
            "log_density": expert.log_density,
            "score": expert.score,
            "both": both,
            "known": lambda _, *about: expert.known_score(*about),
            "learned": expert.learned_score,
        }
        return jax.vmap(partial(functions[what], parameters), in_axes=(0, None, None))

    answers = [of(*each) for each in zip(experts, model.parameters, strict=True)]
    if active is None:
        found = jax.lax.switch(gate(time, model.experts), answers, rows, time, molecule)
    else:
        found = answers[active](rows, time, molecule)
    return jax.tree.map(
        lambda scale, part: float(scale) * part.reshape(*batch, *part.shape[1:]), scales, found
    )
