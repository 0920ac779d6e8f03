"""What a network is told of a molecule, and the geometry that all molecules share."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from .config import UNKNOWN, VOCABULARY
from .networks.springs import Springs

Mask = Bool[Array, "beads"]
Torsion = Int[Array, "4"]
"""The beads, one after another, whose torsion it is."""


class Molecule(NamedTuple):
    """The beads of one molecule, padded to a common number; with a leading axis, of several.

    Feature columns: residue type (above UNKNOWN a hidden one), atom name, element, residue index.
    """

    features: Int[Array, "*batch beads 4"]
    mask: Bool[Array, "*batch beads"]
    springs: Springs | None = None
    """Needed only by networks that start from them."""

    @property
    def beads(self) -> Int[Array, "*batch"]:
        """Number of real beads."""
        return jnp.sum(self.mask, axis=-1)


def centre(x: Float[Array, "beads *rest"], mask: Mask) -> Float[Array, "beads *rest"]:
    """x less its mean over the real beads; zero at the padding."""
    real = mask.reshape(-1, *(1 for _ in x.shape[1:]))
    mean = jnp.sum(jnp.where(real, x, 0), axis=0) / jnp.sum(mask)
    return jnp.where(real, x - mean, 0)


def hide_residues(molecules: Molecule, key: PRNGKeyArray, share: float) -> Molecule:
    """Several molecules, in each of which a residue's type is hidden with this probability."""
    residue = molecules.features[..., 3]
    hidden = jax.random.bernoulli(key, share, (*residue.shape[:-1], VOCABULARY[3]))
    hidden = jnp.take_along_axis(hidden, residue, axis=-1)
    kinds = molecules.features[..., 0]
    kinds = jnp.where(hidden & (kinds < UNKNOWN), UNKNOWN + 1 + kinds, kinds)
    return molecules._replace(features=molecules.features.at[..., 0].set(kinds))


def random_rotations(key: PRNGKeyArray, count: int, dtype: Any = float) -> Float[Array, "count 3 3"]:
    """Rotations drawn uniformly, from unit quaternions (Shoemake 1992)."""
    quaternion = jax.random.normal(key, (count, 4), dtype)
    w, x, y, z = (quaternion / jnp.linalg.norm(quaternion, axis=1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def torsion(x: Float[Array, "*batch beads 3"], beads: Torsion) -> Float[Array, "*batch"]:
    """Torsion angle (radians, −π to π) of four beads, in IUPAC's sign; without a gradient on a line."""
    a, b, c, d = (x[..., beads[place], :] for place in range(4))
    first, axis, last = b - a, c - b, d - c
    one, other = jnp.cross(first, axis), jnp.cross(axis, last)
    sine = jnp.sum(jnp.linalg.norm(axis, axis=-1, keepdims=True) * first * other, axis=-1)
    return jnp.arctan2(sine, jnp.sum(one * other, axis=-1))
