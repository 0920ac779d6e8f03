"""Terms that tie the log-densities of different times to one diffusion, beside the denoising loss.

Denoising sees the gradient in x alone, and hardly the weights of separate modes; these see ∂ₜ log p, or
differences of log p. Each is zero, or smallest, for an exact density with its normalisation:

- `fokker-planck`, the residual of the Fokker–Planck equation (Plainer et al. 2025), by one of the estimators
  of `residual`;
- `rne` (arXiv 2506.05668), the same residual over a finite step, from the ratio of the step's kernels forward
  and backward: values of log p and one score, no second derivative;
- `diffclf` (arXiv 2601.21025), the logistic loss of telling two noise levels apart.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray

from ..config import ExpertConfig, ObjectiveConfig
from ..diffusion.schedule import NoiseSchedule
from ..experts import Expert, Parameters
from ..molecules import Molecule
from .residual import Configuration, FokkerPlanck, LogDensity, Residuals, Scalar

Batch = Float[Array, "batch *shape"]
Times = Float[Array, "batch"]

RNE_STEP = 0.1
"""Noise of a step of RNE over √(σ² + b²), with b the narrowest width of the data; its square is at most this
part of σ²."""
NEIGHBOUR = 1 / 8
"""Part of the batch's times between the two levels that DiffCLF tells apart."""


def consistency(
    parameters: Parameters,
    expert: Expert[ExpertConfig],
    config: ObjectiveConfig,
    x: Batch,
    t: Times,
    molecules: Molecule | None,
    weight: Times,
    probes: Key[Array, "batch"],
    partner: Times,
    of_frame: Times | None = None,
) -> tuple[Scalar, Batch]:
    """The term at noised configurations x, before its λ, and their scores, which it needs anyway.

    Residuals count as w(t) R·R′/D², the classification from the `partner` times in nats. `probes` are keys.
    The classification is of densities, so that its rows carry the weights `of_frame` of biased frames. A
    residual is zero at every x, whatever lies there: without weights, it is looked for on barriers as well.
    """
    if config.consistency == "diffclf":
        log_density = partial(expert.log_density, parameters)
        values, scores = jax.vmap(jax.value_and_grad(log_density))(x, t, molecules)
        others = jax.vmap(log_density)(x, partner, molecules)
        nats = diffclf(values, others)
        return jnp.mean(nats if of_frame is None else of_frame * nats), scores

    def residuals(x: Configuration, t: Scalar, molecule: Molecule | None, key: PRNGKeyArray) -> Residuals:
        log_density = partial(expert.log_density, parameters, molecule=molecule)
        if config.consistency == "rne":

            def noise(key: PRNGKeyArray) -> Configuration:
                return expert.space.project(jax.random.normal(key, x.shape, x.dtype), molecule)

            return rne(log_density, expert.schedule, x, t, key, noise, expert.network.bond_width)
        equation = FokkerPlanck(log_density, expert.schedule, expert.space.dimension(molecule))
        return equation.estimate(config.estimator, x, t, key)

    found = jax.vmap(residuals)(x, t, molecules, probes)
    squares = found.first * found.second / jnp.asarray(expert.space.dimension(molecules)) ** 2
    return jnp.mean(weight * squares), found.score


def rne(
    log_density: LogDensity,
    schedule: NoiseSchedule,
    x: Configuration,
    t: Scalar,
    key: PRNGKeyArray,
    noise: Callable[[PRNGKeyArray], Configuration],
    width: float,
) -> Residuals:
    """Two independent estimates of the Fokker–Planck residual, and the score, at one configuration.

    With a = α(t)/α(s) and v = 1 − a² for an s just below t, y ~ r(y|x) = N((x + v s(x, t))/a, v), and
    q(x|y) = N(a y, v): [log p(y, s) + log q(x|y) − log p(x, t) − log r(y|x)]/(t − s), whose mean over y is R
    to first order in t − s; exact for any step where p is the standard normal. `noise` draws standard normal
    numbers for x's coordinates, `width` is that of the narrowest direction of the data.
    """
    with jax.default_matmul_precision("highest"):
        sigma2 = schedule.variance(t)
        variance = jnp.minimum(RNE_STEP**2 * (sigma2 + width**2), RNE_STEP * sigma2)
        earlier = schedule.time_of_integral(schedule.integral(t) + jnp.log1p(-variance))
        decay = jnp.sqrt(1 - variance)
        value, score = jax.value_and_grad(log_density)(x, t)
        mean = (x + variance * score) / decay

        def one(key: PRNGKeyArray) -> Scalar:
            # Where y lies is not to be learned, only the log-density there.
            y = jax.lax.stop_gradient(mean + jnp.sqrt(variance) * noise(key))
            back, forth = y - mean, x - decay * y
            ratio = (jnp.vdot(back, back) - jnp.vdot(forth, forth)) / (2 * variance)
            return (log_density(y, earlier) - value + ratio) / (t - earlier)

        first, second = jax.vmap(one)(jax.random.split(key))
    return Residuals(first, second, score)


def neighbours(t: Times) -> Int[Array, "batch"]:
    """For each time of a batch another of it, `NEIGHBOUR` of the batch higher or lower; pairs are mutual.

    As each of a pair has its own configuration, drawn without regard to the pairing, both levels are equally
    likely of either. What is left over at the end is paired with itself, which says nothing.
    """
    count = len(t)
    step, rank = max(1, round(NEIGHBOUR * count)), jnp.arange(count)
    other = rank + jnp.where(rank // step % 2 == 0, step, -step)
    order = jnp.argsort(t)
    return jnp.zeros(count, order.dtype).at[order].set(order[jnp.where(other < count, other, rank)])


def diffclf(own: Times, other: Times) -> Times:
    """−log [p(x, t)/(p(x, t) + p(x, t′))] from log p at x's own time t and at another one t′."""
    return jax.nn.softplus(other - own)
