"""How far a log-density is from solving the Fokker–Planck equation, over diffusion time."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..model.schedule import NoiseSchedule

Residual = Callable[[Float[Array, "*shape"], Float[Array, ""]], Float[Array, ""]]


def fokker_planck_error(
    residual: Residual,
    frames: Float[Array, "frames *shape"],
    times: Float[Array, "times"],
    key: PRNGKeyArray,
    schedule: NoiseSchedule,
) -> Float[Array, "times"]:
    """Mean |R(x_t, t)|/D over the frames noised to each time, x_t = α x₀ + σ ε (the paper's figure 6).

    `residual` is R of one configuration with an exact or many-probe divergence; D counts coordinates.
    """
    dimension = frames[0].size

    def error(inputs: tuple[Float[Array, ""], PRNGKeyArray]) -> Float[Array, ""]:
        t, key = inputs
        noised = schedule.alpha(t) * frames + schedule.sigma(t) * jax.random.normal(key, frames.shape)
        return jnp.mean(jnp.abs(jax.vmap(residual, in_axes=(0, None))(noised, t))) / dimension

    return jax.jit(lambda: jax.lax.map(error, (times, jax.random.split(key, len(times)))))()
