"""The Fokker–Planck residual of a log-density and its three estimators.

For the VP diffusion (Plainer et al. 2025, eq. 8), with s = ∇ₓ log p and D coordinates,

    R(x, t) = ½ β(t) [div s + ‖s‖² + x·s + D] − ∂ₜ log p.

An estimator returns two residuals R, R′ of independent noise, whose product is unbiased for R², and
the score at x, which the denoising loss needs as well.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ..config import Estimator
from ..diffusion.schedule import NoiseSchedule

Scalar = Float[Array, ""]
Configuration = Float[Array, "*shape"]
LogDensity = Callable[[Configuration, Scalar], Scalar]
Dimension = int | Int[Array, ""]

WEAK_WIDTH = 1e-4  # σ_v
WEAK_STEPS = (1e-3, 5e-4)  # (h_s, h_d)


class Residuals(NamedTuple):
    """Two independent estimates of the residual, and the score."""

    first: Scalar
    second: Scalar
    score: Configuration


@dataclass(frozen=True)
class FokkerPlanck:
    """The equation of one log-density. Residuals are those at one configuration x and time t."""

    log_density: LogDensity
    schedule: NoiseSchedule
    dimension: Dimension | None = None
    """D where x holds more numbers than coordinates: padding, or a centre that noise leaves."""

    def estimate(self, estimator: Estimator, x: Configuration, t: Scalar, key: PRNGKeyArray) -> Residuals:
        """Residuals by the named estimator."""
        with jax.default_matmul_precision("highest"):
            match estimator:
                case "weak":
                    return self.weak(x, t, key)
                case "hutchinson":
                    return self.hutchinson(x, t, key)
                case "exact":
                    return self.exact(x, t)

    def exact(self, x: Configuration, t: Scalar) -> Residuals:
        """The residual itself, the divergence from all D tangents of the score."""
        score, derivative, tangent = _linearised(self.log_density, x, t)
        basis = jnp.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)
        if x.size <= 3:  # Unrolled, XLA fuses the few tangents: a fifth less time for the step in the plane.
            divergence = jnp.asarray(sum(jnp.vdot(e, tangent(e)) for e in basis))
        else:
            divergence = jnp.sum(basis * jax.vmap(tangent)(basis))
        residual = self._residual(x, t, score, divergence, derivative)
        return Residuals(residual, residual, score)

    def hutchinson(self, x: Configuration, t: Scalar, key: PRNGKeyArray) -> Residuals:
        """One Rademacher probe for each of the two residuals: div s ≈ vᵀ (∂s) v (Hutchinson 1989)."""
        score, derivative, tangent = _linearised(self.log_density, x, t)
        probes = jax.random.rademacher(key, (2, *x.shape), x.dtype)
        first, second = (self._residual(x, t, score, jnp.vdot(v, tangent(v)), derivative) for v in probes)
        return Residuals(first, second, score)

    def weak(self, x: Configuration, t: Scalar, key: PRNGKeyArray) -> Residuals:
        """The paper's estimator (theorem 3.1 and eq. 14), whose mean over v ~ N(0, σ_v²) is E R(x + v).

        The finite difference in t steps below 0 near t = 0 instead of clipping there: clipped, as in the
        authors' code, it tends to 2/3 of the derivative.
        """

        def one(key: PRNGKeyArray) -> Scalar:
            direction = jax.random.normal(key, x.shape, x.dtype)
            ahead, behind = x + WEAK_WIDTH * direction, x - WEAK_WIDTH * direction
            value, score = jax.value_and_grad(self.log_density)(ahead, t)
            difference = score - jax.grad(self.log_density)(behind, t)
            divergence = jnp.vdot(direction, difference) / (2 * WEAK_WIDTH)
            derivative = _finite_difference(self.log_density, ahead, t, value)
            return self._residual(ahead, t, score, divergence, derivative)

        first, second = jax.vmap(one)(jax.random.split(key))
        return Residuals(first, second, jax.grad(self.log_density)(x, t))

    def _residual(
        self, x: Configuration, t: Scalar, score: Configuration, divergence: Scalar, derivative: Scalar
    ) -> Scalar:
        dimension = x.size if self.dimension is None else self.dimension
        drift = divergence + jnp.vdot(score, score) + jnp.vdot(x, score) + dimension
        return 0.5 * self.schedule.beta(t) * drift - derivative


def _linearised(log_density: LogDensity, x: Configuration, t: Scalar):
    """Score and exact ∂ₜ log p at x from one reverse pass, and the tangent map of the score."""

    def gradient(y: Configuration) -> tuple[Configuration, Scalar]:
        return jax.grad(log_density, argnums=(0, 1))(y, t)

    score, tangent, derivative = jax.linearize(gradient, x, has_aux=True)
    return score, derivative, tangent


def _finite_difference(log_density: LogDensity, x: Configuration, t: Scalar, value: Scalar) -> Scalar:
    """∂ₜ log p on the unequal stencil t − h_s, t, t + h_d (Fornberg 1988)."""
    back, ahead = WEAK_STEPS
    numerator = (
        back**2 * log_density(x, t + ahead)
        + (ahead**2 - back**2) * value
        - ahead**2 * log_density(x, t - back)
    )
    return numerator / (back * ahead * (back + ahead))
