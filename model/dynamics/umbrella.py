"""Umbrella windows along a torsion (Torrie & Valleau 1977), between which chains are exchanged.

A chain is held near the centre of its window. What is slow beside the torsion is stuck there, and most of all
on a barrier; so chains of neighbouring windows are exchanged by Metropolis's rule (Sugita et al. 2000).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ..molecules import Torsion, torsion

Places = Int[Array, "ladders windows"]
"""The chain that is in each window of each ladder."""


class Ladder(NamedTuple):
    """An even number of windows around the circle, with the bias K (1 − cos(φ − φᵢ)) in window i."""

    beads: Torsion
    centres: Float[Array, "windows"]
    """φᵢ (radians), in order."""
    strength: Float[Array, ""]
    """K, in the unit of energies."""

    def at(self, places: Places) -> "Umbrella":
        """The bias of every chain, where each is."""
        centres = jnp.broadcast_to(self.centres, places.shape)
        return Umbrella(
            self.beads,
            jnp.zeros(places.size, centres.dtype).at[places.reshape(-1)].set(centres.reshape(-1)),
            self.strength,
        )

    def exchange(
        self,
        places: Places,
        angles: Float[Array, "ladders windows"],
        kT: float,
        key: PRNGKeyArray,
        number: Int[Array, ""],
    ) -> Places:
        """Chains change places with their neighbours, by turns with those of the one side and of the other.

        With the probability min(1, exp(−ΔE/kT)) of the change of both biases. `angles` are those of `places`.
        """
        side = number % 2

        def pairs(values: Array) -> Array:
            rolled = jnp.roll(values, -side, axis=-1)
            return rolled.reshape(*rolled.shape[:-1], -1, 2)

        own, centres = pairs(angles), pairs(self.centres)
        kept, changed = (jnp.cos(own - each).sum(axis=-1) for each in (centres, centres[..., ::-1]))
        chance = jnp.exp(self.strength * (changed - kept) / float(kT))
        goes = jax.random.uniform(jax.random.fold_in(key, number), chance.shape, chance.dtype) < chance
        chains = pairs(places)
        chains = jnp.where(goes[..., None], chains[..., ::-1], chains)
        return jnp.roll(chains.reshape(places.shape), side, axis=-1)


class Umbrella(NamedTuple):
    """A bias of many chains at once: the energy K (1 − cos(φ − φᵢ)) for chain i."""

    beads: Torsion
    centre: Float[Array, "chains"]
    """φᵢ (radians)."""
    strength: Float[Array, ""]
    """K, in the unit of energies."""

    def energy(self, x: Float[Array, "chains beads 3"]) -> Float[Array, "chains"]:
        """The bias of each chain."""
        return self.strength * (1 - jnp.cos(torsion(x, self.beads) - self.centre))

    def force(self, x: Float[Array, "chains beads 3"]) -> Float[Array, "chains beads 3"]:
        """−∇ of it."""
        return -jax.grad(lambda y: jnp.sum(self.energy(y)))(x)
