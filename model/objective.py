"""The training loss: denoising score matching plus the Fokker–Planck residual."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .config import ObjectiveConfig
from .experts import Expert, Parameters
from .residual import estimate

Times = Float[Array, "batch"]


class Losses(NamedTuple):
    """The two parts of the loss, the second before its weight λ."""

    denoising: Float[Array, ""]
    fokker_planck: Float[Array, ""]


def denoising_weight(t: Times, interval: tuple[float, float], midpoint: float) -> Times:
    """w(t): both sides of the midpoint m of [a, b] get the same total weight."""
    (a, b), m = interval, midpoint
    return jnp.where(t <= m, (b - a) / (2 * (m - a)), (b - a) / (2 * (b - m)))


def loss(
    parameters: Parameters,
    expert: Expert,
    config: ObjectiveConfig,
    x0: Float[Array, "batch *shape"],
    key: PRNGKeyArray,
    *,
    regularised: bool,
) -> tuple[Float[Array, ""], Losses]:
    """Denoising loss, plus λ times the residual's if `regularised`, on one batch of normalised frames.

    Denoising (eq. 5): mean of w(t) ‖σ s(x_t, t) + ε‖² / D. Residual (eq. 13): mean of w(t) R·R′ / D² over
    the first `fp_fraction` of the batch, whose score comes from the same linearisation.
    """
    times_key, noise_key, probe_key = jax.random.split(key, 3)
    batch, shape, schedule = x0.shape[0], x0.shape[1:], expert.schedule
    start, end = expert.config.times
    t = jax.random.uniform(times_key, (batch,), minval=start, maxval=end)
    weight = denoising_weight(t, expert.config.interval, expert.config.midpoint)
    noise = jax.random.normal(noise_key, x0.shape)
    wide = (batch, *(1 for _ in shape))
    sigma = schedule.sigma(t).reshape(wide)
    x = schedule.alpha(t).reshape(wide) * x0 + sigma * noise

    def score(x: Float[Array, "*shape"], t: Float[Array, ""]) -> Float[Array, "*shape"]:
        return expert.score(parameters, x, t)

    def residuals(x: Float[Array, "*shape"], t: Float[Array, ""], key: PRNGKeyArray):
        return estimate(
            config.estimator, lambda y, s: expert.log_density(parameters, y, s), schedule, x, t, key
        )

    count = max(1, round(config.fp_fraction * batch)) if regularised else 0
    if count:
        keys = jax.random.split(probe_key, count)
        taken = jax.vmap(residuals)(x[:count], t[:count], keys)
        scores = jnp.concatenate([taken.score, jax.vmap(score)(x[count:], t[count:])])
        fokker_planck = jnp.mean(weight[:count] * taken.first * taken.second) / expert.dimension**2
    else:
        scores = jax.vmap(score)(x, t)
        fokker_planck = jnp.zeros(())
    errors = jnp.sum((sigma * scores + noise) ** 2, axis=tuple(range(1, x.ndim))) / expert.dimension
    denoising = jnp.mean(weight * errors)
    total = denoising + expert.config.fokker_planck * fokker_planck
    return total, Losses(denoising, fokker_planck)
