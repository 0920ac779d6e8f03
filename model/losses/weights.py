"""Weights that make equilibrium of frames from dynamics under a bias V(φ) (Torrie & Valleau 1977).

A frame x₀ of biased dynamics counts exp(V(x₀)/kT), which is exact for every loss. Denoising has a minimum of
its own at each noised x_t, which no factor g(x_t) moves: so exp(V(x₀)/kT) g(x_t) is exact as well, and with
g = exp(−V(x_t)/kT) near 1 where the noise hardly moves φ. Frames on a barrier, to which the bias has brought
them, then count as much as others.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..molecules import torsion

NEAR = 0.03
"""Largest σ at which the weight is taken relative to that of the noised frame."""

Rows = Float[Array, "batch"]


class Bias(NamedTuple):
    """log of the weight along each biased torsion, of every system, padded with zeros."""

    beads: Int[Array, "systems torsions 4"]
    tables: Float[Array, "systems walkers torsions bins"]
    """Values at −π, −π + 2π/bins … of each walker, which add up to those of frames."""

    def rows(self, system: Int[Array, "batch"], log_weight: Rows, walker: Int[Array, "batch"]) -> "Biased":
        """What is known of frames, by their system and the walker that made them."""
        return Biased(log_weight, self.beads[system], self.tables[system, walker])


class Biased(NamedTuple):
    """The frames of a batch."""

    log_weight: Rows
    """V(x₀)/kT, less what makes the mean weight of the walker 1."""
    beads: Int[Array, "batch torsions 4"]
    tables: Float[Array, "batch torsions bins"]

    def weight(self) -> Rows:
        """exp(V(x₀)/kT), normalised."""
        return jnp.exp(self.log_weight)

    def denoising_weight(self, x: Float[Array, "batch *shape"], sigma: Rows) -> Rows:
        """The same, relative to exp(V(x_t)/kT) where the noise is small; α does not change a torsion."""
        if not self.beads.shape[1]:
            return self.weight()

        def noised(
            x: Float[Array, "*shape"], beads: Int[Array, "torsions 4"], tables: Float[Array, "torsions bins"]
        ) -> Float[Array, ""]:
            return jnp.sum(jax.vmap(lambda four, table: along(table, torsion(x, four)))(beads, tables))

        there = jax.vmap(noised)(x, self.beads, self.tables)
        return jnp.exp(self.log_weight - jnp.where(sigma <= NEAR, there, 0.0))


def along(table: Float[Array, "bins"], angle: Float[Array, ""]) -> Float[Array, ""]:
    """A periodic table of values at −π, −π + 2π/bins … at an angle (radians), linear in between."""
    place = (angle + jnp.pi) * (len(table) / (2 * jnp.pi))
    below = jnp.floor(place)
    part, first = place - below, below.astype(jnp.int32) % len(table)
    return (1 - part) * table[first] + part * table[(first + 1) % len(table)]
