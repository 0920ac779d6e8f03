"""How far a log-density is from solving the Fokker–Planck equation, over diffusion time."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ..model.diffusion.schedule import NoiseSchedule

Residuals = Callable[[Float[Array, "frames *shape"], Float[Array, ""]], Float[Array, "frames"]]
Noise = Callable[[PRNGKeyArray], Float[Array, "frames *shape"]]


def fokker_planck_error(
    residuals: Residuals,
    noise: Noise,
    frames: Float[Array, "frames *shape"],
    times: Float[Array, "times"],
    key: PRNGKeyArray,
    schedule: NoiseSchedule,
) -> Float[Array, "times"]:
    """Mean |R(x_t, t)|/D over the frames noised to each time, x_t = α x₀ + σ ε (the paper's figure 6).

    `residuals` gives R/D of every configuration, with an exact or many-probe divergence; `noise` draws ε.
    """

    def error(inputs: tuple[Float[Array, ""], PRNGKeyArray]) -> Float[Array, ""]:
        t, key = inputs
        noised = schedule.alpha(t) * frames + schedule.sigma(t) * noise(key)
        return jnp.mean(jnp.abs(residuals(noised, t)))

    return jax.jit(lambda: jax.lax.map(error, (times, jax.random.split(key, len(times)))))()
