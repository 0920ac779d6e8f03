"""The learned potential in physical units: U = −kT log p(norm · x, t), forces kT · norm · s(norm · x, t)."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .experts import Expert, Parameters
from .langevin import Positions
from .molecules import Molecule


@dataclass(frozen=True)
class Potential:
    """Energy and forces of an expert read at one small diffusion time (Plainer et al. 2025, eq. 7).

    kT sets the unit of energy; `norm` is 1/length (1 for Müller–Brown). The energy's zero is arbitrary. All
    is computed in the type of the positions.
    """

    expert: Expert
    kT: float
    time: float
    norm: float = 1.0
    molecule: Molecule | None = None

    def energy(self, parameters: Parameters, x: Positions) -> Float[Array, "chains"]:
        """U(x) of every chain. ValueError if the expert is a score, which has no energy."""
        log_density = jax.vmap(self.expert.log_density, in_axes=(None, 0, None, None))
        return -float(self.kT) * log_density(parameters, *self._inputs(x), self.molecule)

    def force(self, parameters: Parameters, x: Positions) -> Positions:
        """−∇U(x) of every chain; for a score, the field that would be one."""
        score = jax.vmap(self.expert.score, in_axes=(None, 0, None, None))
        return float(self.kT * self.norm) * score(parameters, *self._inputs(x), self.molecule)

    def frequencies(
        self, parameters: Parameters, x: Positions, mass: float | Float[Array | np.ndarray, "#beads 1"]
    ) -> Float[Array, "chains modes"]:
        """ω of every mode at every configuration, ascending: √ of the mass-weighted Hessian's eigenvalues.

        Where the energy curves down, the square is negative and −√ of its size is returned. Of a score, whose
        Jacobian need not be symmetric, the symmetric part is taken.
        """

        def of_one(y: Float[Array, "*shape"]) -> Float[Array, "modes"]:
            jacobian = jax.jacfwd(lambda z: self.force(parameters, z[None])[0])(y).reshape(y.size, y.size)
            root = jnp.sqrt(jnp.broadcast_to(jnp.asarray(mass, y.dtype), y.shape).reshape(-1))
            squares = jnp.linalg.eigvalsh(-0.5 * (jacobian + jacobian.T) / (root[:, None] * root))
            return jnp.sign(squares) * jnp.sqrt(jnp.abs(squares))

        return jax.lax.map(of_one, x)

    def _inputs(self, x: Positions) -> tuple[Positions, Float[Array, ""]]:
        """Normalised positions, and the time."""
        return float(self.norm) * x, jnp.asarray(self.time, x.dtype)
