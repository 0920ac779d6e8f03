"""What a configuration is to the diffusion: which of its numbers are coordinates, and what a network is told.

A network of a toy sees a point as it is; one of molecules sees beads, of which padding is no coordinate and,
where noise does not move it, neither is the centre. Methods take one configuration; batch with `jax.vmap`.
"""

from dataclasses import dataclass
from math import prod
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .diffusion.schedule import NoiseSchedule
from .molecules import Molecule, centre, random_rotations
from .networks import springs
from .networks.mlp import Time

Configuration = Float[Array, "*shape"]
Batch = Float[Array, "batch *shape"]


@dataclass(frozen=True)
class Point:
    """A point of Rⁿ, each number of which is a coordinate."""

    shape: tuple[int, ...]

    def dimension(self, molecule: Molecule | None = None) -> int:
        """D, the number of coordinates: all numbers."""
        return prod(self.shape)

    def project(self, x: Configuration, molecule: Molecule | None = None) -> Configuration:
        """The part of x along the coordinates, which is what noise has: as it is."""
        return x

    def centre(self, x: Configuration, molecule: Molecule | None = None) -> Configuration:
        """The part of x that a score may have: as it is."""
        return x

    def augment(self, x: Batch, key: PRNGKeyArray) -> Batch:
        """A batch changed at random in what changes no log-density: as it is."""
        return x

    def prior(
        self, schedule: NoiseSchedule, x: Configuration, t: Time, molecule: Molecule | None
    ) -> Float[Array, ""]:
        """The part of log p(x, t) that is known before any training: nothing."""
        return jnp.zeros((), x.dtype)

    def inputs(
        self, x: Configuration, features: Float[Array, "features"], molecule: Molecule | None
    ) -> tuple[Any, ...]:
        """What the network is given, `features` being those of the time: one vector."""
        return (jnp.concatenate([x.reshape(-1), features]),)

    def example(self) -> tuple[Configuration, None]:
        """A configuration by whose shape parameters are made: the origin."""
        return jnp.zeros(self.shape, jnp.float32), None


@dataclass(frozen=True)
class BeadSpace:
    """Positions of the beads of a molecule, which is given to every method."""

    shape: tuple[int, ...]
    centred: bool
    """Noise moves no centre of mass."""
    springs: bool
    """Bonds and angles are known as springs."""

    def dimension(self, molecule: Molecule | None = None) -> int | Int[Array, "*batch"]:
        """Three for each real bead, less those of a centre that does not move."""
        return 3 * (_given(molecule).beads - (1 if self.centred else 0))

    def project(self, x: Configuration, molecule: Molecule | None = None) -> Configuration:
        """Without padding and, where noise does not move it, without the centre."""
        mask = _given(molecule).mask
        return centre(x, mask) if self.centred else jnp.where(mask[:, None], x, 0)

    def centre(self, x: Configuration, molecule: Molecule | None = None) -> Configuration:
        """Less the mean over the real beads, as no log-density depends on it."""
        return centre(x, _given(molecule).mask)

    def augment(self, x: Batch, key: PRNGKeyArray) -> Batch:
        """Each turned at random."""
        return jnp.einsum("bij,bnj->bni", random_rotations(key, len(x), x.dtype), x)

    def prior(
        self, schedule: NoiseSchedule, x: Configuration, t: Time, molecule: Molecule | None
    ) -> Float[Array, ""]:
        """Harmonic springs, if the network starts from them. ValueError for a molecule without."""
        if not self.springs:
            return jnp.zeros((), x.dtype)
        known = _given(molecule).springs
        if known is None:
            raise ValueError("network.springs needs molecules with springs: convert the data again")
        return springs.log_density(known, schedule, x, t)

    def inputs(
        self, x: Configuration, features: Float[Array, "features"], molecule: Molecule | None
    ) -> tuple[Any, ...]:
        """Positions, time and molecule."""
        return x, features, molecule

    def example(self) -> tuple[Configuration, Molecule]:
        """Beads of no kind, all at one place."""
        beads = self.shape[0]
        molecule = Molecule(jnp.zeros((beads, 4), jnp.int32), jnp.ones(beads, bool))
        return jnp.zeros(self.shape, jnp.float32), molecule


Space = Point | BeadSpace


def _given(molecule: Molecule | None) -> Molecule:
    if molecule is None:
        raise ValueError("beads are of a molecule, and none is given")
    return molecule
