"""The learned potential in physical units: U = −kT log p(norm · x, t), forces kT · norm · s(norm · x, t)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .experts import Expert, Parameters
from .langevin import Positions
from .molecules import Molecule


@dataclass(frozen=True)
class Potential:
    """Energy and forces of an expert read at one small diffusion time (Plainer et al. 2025, eq. 7).

    kT sets the unit of energy; `norm` is 1/length (1 for Müller–Brown). The energy's zero is arbitrary.
    """

    expert: Expert
    kT: float
    time: float
    norm: float = 1.0
    molecule: Molecule | None = None

    def energy(self, parameters: Parameters, x: Positions) -> Float[Array, "chains"]:
        """U(x) of every chain. ValueError if the expert is a score, which has no energy."""
        log_density = jax.vmap(self.expert.log_density, in_axes=(None, 0, None, None))
        return -self.kT * log_density(parameters, self.norm * x, jnp.asarray(self.time), self.molecule)

    def force(self, parameters: Parameters, x: Positions) -> Positions:
        """−∇U(x) of every chain; for a score, the field that would be one."""
        score = jax.vmap(self.expert.score, in_axes=(None, 0, None, None))
        return self.kT * self.norm * score(parameters, self.norm * x, jnp.asarray(self.time), self.molecule)
