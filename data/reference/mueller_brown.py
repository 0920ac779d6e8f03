"""The Müller–Brown potential (Müller & Brown 1979) and its Langevin data, in the potential's own units."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...model.dynamics import langevin
from ...model.dynamics.langevin import Bath
from ...model.keys import key_of
from ..config import MuellerBrownConfig
from ..dataset import shards

_HEIGHTS = (-200.0, -100.0, -170.0, 15.0)
_XX = (-1.0, -1.0, -6.5, 0.7)
_XY = (0.0, 0.0, 11.0, 0.6)
_YY = (-10.0, -10.0, -6.5, 0.7)
_CENTRES = ((1.0, 0.0), (0.0, 0.5), (-0.5, 1.5), (-1.0, 1.0))

START = (-0.558, 1.442)
"""The deepest minimum, where every trajectory starts."""


def potential(x: Float[Array, "2"]) -> Float[Array, ""]:
    """U(x) = Σₖ Aₖ exp(aₖ Δx² + bₖ Δx Δy + cₖ Δy²)."""
    heights, xx, xy, yy, centres = (
        jnp.asarray(part, x.dtype) for part in (_HEIGHTS, _XX, _XY, _YY, _CENTRES)
    )
    dx, dy = (x - centres).T
    return jnp.sum(heights * jnp.exp(xx * dx**2 + xy * dx * dy + yy * dy**2))


def force(x: Float[Array, "chains 2"]) -> Float[Array, "chains 2"]:
    """−∇U of every chain."""
    return -jax.vmap(jax.grad(potential))(x)


def write(config: MuellerBrownConfig, directory: Path, source: Mapping[str, Any]) -> shards.Dataset:
    """Simulate frames for training and as many as an independent reference, each with a seed of its own."""
    seeds = {"train": 2 * config.seed, "reference": 2 * config.seed + 1}
    return shards.write(directory, source, {split: generate(config, seed) for split, seed in seeds.items()})


def generate(config: MuellerBrownConfig, seed: int) -> Float[np.ndarray, "frames 2"]:
    """Frames of Langevin dynamics, the chains after their burn-in one after another.

    Equal seeds give equal frames.
    """
    return np.asarray(_generate(config, key_of(seed, "mueller-brown")))


@partial(jax.jit, static_argnums=0)
def _generate(config: MuellerBrownConfig, key: Array) -> Float[Array, "frames 2"]:
    bath = Bath(config.temperature, config.mass, config.friction, config.timestep)
    start = jnp.broadcast_to(jnp.asarray(START, jnp.float32), (config.chains, 2))
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(config.chains))
    state = langevin.init(force, bath, start, keys)
    state = langevin.advance(config.integrator, force, bath, state, keys, config.burn_in)
    frames = config.frames // config.chains
    _, trajectory = langevin.simulate(config.integrator, force, bath, state, keys, frames, config.stride)
    return trajectory.position.swapaxes(0, 1).reshape(config.frames, 2)
