"""The training loss: denoising score matching plus a consistency term."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .config import ObjectiveConfig
from .consistency import consistency
from .experts import Expert, Parameters
from .molecules import Molecule
from .schedule import NoiseSchedule

Times = Float[Array, "batch"]


class Losses(NamedTuple):
    """The two parts of the loss, the second before its weight λ."""

    denoising: Float[Array, ""]
    consistency: Float[Array, ""]


def denoising_weight(t: Times, interval: tuple[float, float], midpoint: float) -> Times:
    """w(t): both sides of the midpoint m of [a, b] get the same total weight."""
    (a, b), m = interval, midpoint
    return jnp.where(t <= m, (b - a) / (2 * (m - a)), (b - a) / (2 * (b - m)))


class Noise(NamedTuple):
    """What is drawn for one batch."""

    t: Times
    weight: Times
    """w(t), over how often such a time is drawn."""
    noise: Float[Array, "batch *shape"]
    probes: PRNGKeyArray


def draw(
    expert: Expert,
    config: ObjectiveConfig,
    shape: tuple[int, ...],
    molecules: Molecule | None,
    key: PRNGKeyArray,
) -> Noise:
    """Diffusion times of the expert, their weights, and the noise of a batch of this shape."""
    times_key, noise_key, probe_key = jax.random.split(key, 3)
    t, importance = draw_times(
        times_key, shape[0], expert.config.times, config.log_sigma_fraction, expert.schedule
    )
    weight = importance * denoising_weight(t, expert.config.interval, expert.config.midpoint)
    noise = jax.vmap(expert.project)(jax.random.normal(noise_key, shape), molecules)
    return Noise(t, weight, noise, probe_key)


def draw_times(
    key: PRNGKeyArray,
    count: int,
    ends: tuple[float, float],
    log_sigma_fraction: float,
    schedule: NoiseSchedule,
) -> tuple[Times, Times]:
    """Diffusion times, and the density of uniform ones over that of these.

    `log_sigma_fraction` of them are uniform in log σ, each place of the batch equally often, as the
    consistency term is taken on the first of them only. All are weighed by the mixture of both densities (the
    balance heuristic of Veach 1997), so that no weight exceeds that of the uniform part.
    """
    start, end = ends
    uniform = jax.random.uniform(key, (count,))
    t = start + (end - start) * uniform
    by_sigma = round(log_sigma_fraction * count)
    if not by_sigma:
        return t, jnp.ones(count)
    first, last = jnp.log(schedule.sigma(jnp.asarray([start, end])))
    log_sigma = first + (last - first) * uniform
    place = by_sigma * jnp.arange(count) + jax.random.randint(jax.random.fold_in(key, 0), (), 0, count)
    t = jnp.where(place % count < by_sigma, schedule.time_of_sigma(jnp.exp(log_sigma)), t)
    fraction = by_sigma / count
    density = schedule.log_sigma_rate(t) * (end - start) / (last - first)
    return t, 1 / (1 - fraction + fraction * density)


def loss(
    parameters: Parameters,
    expert: Expert,
    config: ObjectiveConfig,
    x0: Float[Array, "batch *shape"],
    drawn: Noise,
    molecules: Molecule | None = None,
    *,
    regularised: bool,
) -> tuple[Float[Array, ""], Losses]:
    """Denoising loss, plus λ times the consistency term if `regularised`, on one batch of normalised frames.

    Denoising (eq. 5): mean of w(t) ‖σ s(x_t, t) + ε‖² / D. The term, such as the mean of w(t) R·R′ / D²
    (eq. 13), is over the first `consistency_fraction` of the batch, whose scores come with it.
    """
    t, weight, noise, probe_key = drawn
    batch, schedule = x0.shape[0], expert.schedule
    wide = (batch, *(1 for _ in x0.shape[1:]))
    sigma = schedule.sigma(t).reshape(wide)
    x = schedule.alpha(t).reshape(wide) * x0 + sigma * noise

    dimension = jnp.asarray(expert.dimension(molecules))
    count = max(1, round(config.consistency_fraction * batch)) if regularised else 0
    parts: Any = (
        jax.tree.map(lambda a, part=part: a[part], (x, t, molecules))
        for part in (np.s_[:count], np.s_[count:])
    )
    first, rest = parts
    scores = jax.vmap(partial(expert.score, parameters))(*rest)
    term = jnp.zeros(())
    if count:
        term, taken = consistency(
            parameters, expert, config, first[0], first[1], weight[:count], first[2], probe_key
        )
        scores = jnp.concatenate([taken, scores])
    errors = jnp.sum((sigma * scores + noise) ** 2, axis=tuple(range(1, x.ndim))) / dimension
    denoising = jnp.mean(weight * errors)
    return denoising + expert.config.consistency_weight * term, Losses(denoising, term)
