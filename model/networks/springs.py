"""Harmonic bonds and angles of beads, as they are known from the data: what a network need not learn.

Stiff terms make up most of the log-density's curvature near t = 0, and a network that is smooth elsewhere
fits them badly. Given as a prior (Wang et al. 2019, CGnets), the network learns what they leave.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..diffusion.schedule import NoiseSchedule
from .mlp import Time

REACH = 0.1
"""Noise σ at which the springs have lost most of their weight: beyond it noise bends them, and beads that
two springs share no longer move them independently."""


class Springs(NamedTuple):
    """Springs of one molecule in normalised units; with a leading axis, of several. Padding has no stiffness.

    `angle_noise` is the squared length of the gradient of each cosine.
    """

    bonds: Int[Array, "*batch bonds 2"]
    lengths: Float[Array, "*batch bonds"]
    length_variances: Float[Array, "*batch bonds"]
    angles: Int[Array, "*batch angles 3"]
    cosines: Float[Array, "*batch angles"]
    cosine_variances: Float[Array, "*batch angles"]
    angle_noise: Float[Array, "*batch angles"]


def log_density(
    springs: Springs, schedule: NoiseSchedule, x: Float[Array, "beads 3"], t: Float[Array, ""]
) -> Float[Array, ""]:
    """−½ Σ [f(σ) (q − q₀)²/(s² + g σ²/α²) + log(α² s² + g σ²)] over lengths and cosines q of x/α.

    g = |∇q|² is how much noise a coordinate takes up: 2 for a length. f = (1 + σ²/REACH²)⁻². The logarithms
    are the normalisation, which denoising does not see and the Fokker–Planck residual does.
    """
    variance, alpha = schedule.variance(t), schedule.alpha(t)
    relative = variance / alpha**2
    position = x / alpha
    lengths = _norm(position[springs.bonds[:, 1]] - position[springs.bonds[:, 0]])
    stretched = (lengths - springs.lengths) ** 2 / (springs.length_variances + 2 * relative)
    first, centre, last = (position[springs.angles[:, end]] for end in range(3))
    one, other = first - centre, last - centre
    cosines = jnp.sum(one * other, axis=-1) / (_norm(one) * _norm(other))
    bent = (cosines - springs.cosines) ** 2 / (springs.cosine_variances + springs.angle_noise * relative)
    energy = (jnp.sum(stretched) + jnp.sum(bent)) / (1 + variance / REACH**2) ** 2
    widths = [(springs.length_variances, 2.0), (springs.cosine_variances, springs.angle_noise)]
    return -0.5 * (energy + sum(_log_width(s2, g, alpha**2, variance) for s2, g in widths))


def _log_width(
    own: Float[Array, "count"], noise: float | Float[Array, "count"], alpha2: Time, sigma2: Time
) -> Float[Array, ""]:
    """Σ log(α² s² + g σ²) but for padding."""
    real = jnp.isfinite(own)
    return jnp.sum(jnp.where(real, jnp.log(alpha2 * jnp.where(real, own, 1) + noise * sigma2), 0))


def _norm(vectors: Float[Array, "count 3"]) -> Float[Array, "count"]:
    # Padding joins a bead to itself, where the gradient of a plain norm is not finite.
    return jnp.sqrt(jnp.sum(vectors**2, axis=-1) + 1e-12)
