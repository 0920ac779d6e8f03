"""The training loss: denoising score matching plus a consistency term."""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray

from ..config import ExpertConfig, ObjectiveConfig
from ..diffusion.schedule import NoiseSchedule
from ..experts import Expert, Parameters
from ..molecules import Molecule
from .consistency import consistency, neighbours
from .weights import Biased

Times = Float[Array, "batch"]
GOLDEN_RATIO = (5**0.5 - 1) / 2


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
    probes: Key[Array, "batch"]
    """A key for each row."""
    partner: Times
    """The time that each regularised row is told from (DiffCLF); its own for the others."""


def draw(
    expert: Expert[ExpertConfig],
    config: ObjectiveConfig,
    shape: tuple[int, ...],
    molecules: Molecule | None,
    key: PRNGKeyArray,
    dtype: Any = float,
) -> Noise:
    """Diffusion times of the expert, their weights, and the noise of rows of this shape and type.

    Antithetic rows are neighbours, which are to be of one frame.
    """
    times_key, noise_key, probe_key = jax.random.split(key, 3)
    frames = shape[0] // config.draws
    t, importance = draw_times(
        times_key, frames, expert.config.times, config.log_sigma_fraction, expert.schedule, dtype
    )
    weight = importance * denoising_weight(t, expert.config.interval, expert.config.midpoint)
    noise = jax.random.normal(noise_key, (frames, *shape[1:]), dtype)
    if config.antithetic:
        t, weight = jnp.repeat(t, 2), jnp.repeat(weight, 2)
        noise = jnp.stack([noise, -noise], axis=1).reshape(shape)
    noise = jax.vmap(expert.space.project)(noise, molecules)
    # For the whole batch, so that it makes no difference in how many parts its loss is taken.
    grouped = t.reshape(config.groups(shape[0]), -1)
    count = config.regularised_rows(shape[0]) // len(grouped)
    taken = grouped[:, :count].reshape(-1)
    partner = grouped.at[:, :count].set(taken[neighbours(taken)].reshape(-1, count)).reshape(-1)
    return Noise(t, weight, noise, jax.random.split(probe_key, shape[0]), partner)


def draw_times(
    key: PRNGKeyArray,
    count: int,
    ends: tuple[float, float],
    log_sigma_fraction: float,
    schedule: NoiseSchedule,
    dtype: Any = float,
) -> tuple[Times, Times]:
    """Diffusion times, and the density of uniform ones over that of these.

    `log_sigma_fraction` of them are uniform in log σ, each place equally often, and spread such that the rows
    on which the consistency term is taken have their share, whichever they are. All are weighed by the
    mixture of both densities (the balance heuristic of Veach 1997), so that no weight exceeds that of the
    uniform part.
    """
    start, end = ends
    uniform = jax.random.uniform(key, (count,), dtype)
    t = start + (end - start) * uniform
    by_sigma = round(log_sigma_fraction * count)
    if not by_sigma:
        return t, jnp.ones_like(t)
    first, last = jnp.log(schedule.sigma(jnp.asarray([start, end], t.dtype)))
    log_sigma = first + (last - first) * uniform
    # Ranks of multiples of the golden ratio: every regular part of them is spread evenly.
    rank = np.argsort(np.argsort(np.arange(count) * GOLDEN_RATIO % 1))
    place = rank + jax.random.randint(jax.random.fold_in(key, 0), (), 0, count, jnp.int32)
    t = jnp.where(place % count < by_sigma, schedule.time_of_sigma(jnp.exp(log_sigma)), t)
    fraction = by_sigma / count
    density = schedule.log_sigma_rate(t) * (end - start) / (last - first)
    return t, 1 / (1 - fraction + fraction * density)


def loss(
    parameters: Parameters,
    expert: Expert[ExpertConfig],
    config: ObjectiveConfig,
    x0: Float[Array, "batch *shape"],
    drawn: Noise,
    molecules: Molecule | None = None,
    biased: Biased | None = None,
    *,
    regularised: bool,
) -> tuple[Float[Array, ""], Losses]:
    """Denoising loss, plus λ times the consistency term if `regularised`, on one batch of normalised frames.

    Denoising (eq. 5): mean of w(t) ‖σ s(x_t, t) + ε‖² / D, by networks in `config.compute`. The term, such as
    the mean of w(t) R·R′ / D² (eq. 13), is over the first rows of each of `config.groups`, whose scores come
    with it in float32. Rows of `biased` frames are weighed as `weights` says.
    """
    t, weight, noise, probes, partner = drawn
    batch, schedule = x0.shape[0], expert.schedule
    wide = (batch, *(1 for _ in x0.shape[1:]))
    sigma = schedule.sigma(t).reshape(wide)
    x = schedule.alpha(t).reshape(wide) * x0 + sigma * noise

    counts = weight if biased is None else weight * biased.denoising_weight(x, schedule.sigma(t))
    of_frame = None if biased is None else biased.weight()
    dimension = jnp.asarray(expert.space.dimension(molecules))
    count = config.regularised_rows(batch) if regularised else 0
    groups = config.groups(batch) if regularised else batch

    def rows(part: slice) -> Any:
        def take(a: Array) -> Array:
            # Two beads have no angles, and of an empty array −1 is no length.
            grouped = a.reshape(groups, len(a) // groups, *a.shape[1:])
            return jax.lax.collapse(grouped[:, part], 0, 2)

        return jax.tree.map(take, (x, t, molecules, weight, probes, partner, of_frame))

    first, rest = (rows(part) for part in (np.s_[: count // groups], np.s_[count // groups :]))
    coarse = replace(expert, compute=config.compute)
    scores = jax.vmap(partial(coarse.score, parameters))(*rest[:3])
    term = jnp.zeros((), x.dtype)
    if count:
        term, taken = consistency(parameters, expert, config, *first)
        both = (part.reshape(groups, -1, *x.shape[1:]) for part in (taken, scores))
        scores = jnp.concatenate([*both], axis=1).reshape(x.shape)
    errors = jnp.sum((sigma * scores + noise) ** 2, axis=tuple(range(1, x.ndim))) / dimension
    denoising = jnp.mean(counts * errors)
    return denoising + expert.config.consistency_weight * term, Losses(denoising, term)
