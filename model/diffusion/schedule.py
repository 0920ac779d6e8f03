"""The variance-preserving noise schedule (Song et al. 2021; Plainer et al. 2025, A.1)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Times = Float[Array, "*batch"]


@dataclass(frozen=True)
class NoiseSchedule:
    """β(t) = β_min + t (β_max − β_min) for diffusion times t in (0, 1), all dimensionless."""

    beta_min: float = 0.1
    beta_max: float = 20.0

    def beta(self, t: Times) -> Times:
        """Noise rate β(t) = g(t)²."""
        return self.beta_min + t * (self.beta_max - self.beta_min)

    def integral(self, t: Times) -> Times:
        """∫₀ᵗ β(s) ds."""
        return t * (self.beta_min + 0.5 * t * (self.beta_max - self.beta_min))

    def alpha(self, t: Times) -> Times:
        """Signal scale α(t) = exp(−½ ∫₀ᵗ β)."""
        return jnp.exp(-0.5 * self.integral(t))

    def variance(self, t: Times) -> Times:
        """σ² = 1 − α², by `expm1` as the difference cancels near t = 0; smooth through t = 0, unlike σ."""
        return -jnp.expm1(-self.integral(t))

    def sigma(self, t: Times) -> Times:
        """Noise scale σ(t)."""
        return jnp.sqrt(self.variance(t))

    def log_signal_to_noise(self, t: Times) -> Times:
        """Half log signal-to-noise ratio, log(α/σ) = −½ log(exp(∫β) − 1)."""
        return -0.5 * jnp.log(jnp.expm1(self.integral(t)))

    def log_sigma_rate(self, t: Times) -> Times:
        """d log σ/dt = ½ β α²/σ²."""
        return 0.5 * self.beta(t) / jnp.expm1(self.integral(t))

    def time_of_sigma(self, sigma: Times) -> Times:
        """Diffusion time at which σ has the given value: the inverse of `sigma`."""
        return self.time_of_integral(-jnp.log1p(-(sigma**2)))

    def time_of_log_signal_to_noise(self, value: Times) -> Times:
        """Diffusion time at which log(α/σ) has the given value: the inverse of `log_signal_to_noise`."""
        return self.time_of_integral(jax.nn.softplus(-2 * value))

    def time_of_integral(self, integral: Times) -> Times:
        """Diffusion time up to which ∫β has the given value: the inverse of `integral`."""
        # The root of ½ Δ t² + β_min t = integral in the form that does not cancel for a small integral.
        slope = self.beta_max - self.beta_min
        return 2 * integral / (self.beta_min + jnp.sqrt(self.beta_min**2 + 2 * slope * integral))
