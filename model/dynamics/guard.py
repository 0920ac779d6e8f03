"""Which configurations a simulation may reach: a chain that leaves them is lost, and goes no further."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int


class Guard(NamedTuple):
    """Limits of coordinates and of distances between pairs of beads: a pytree, as programs are shared."""

    low: Float[Array | np.ndarray | np.floating, "*#shape"]
    high: Float[Array | np.ndarray | np.floating, "*#shape"]
    pairs: Int[Array | np.ndarray, "pairs 2"]
    """Of beads; none for what is no molecule."""
    nearest: Float[Array | np.ndarray, "pairs"]
    farthest: Float[Array | np.ndarray, "pairs"]

    def __call__(self, x: Float[Array, "chains *shape"]) -> Bool[Array, "chains"]:
        """Whether each configuration is finite and within all limits."""
        inside = ((x >= self.low.astype(x.dtype)) & (x <= self.high.astype(x.dtype))).reshape(len(x), -1)
        healthy = inside.all(axis=1)
        if len(self.pairs):
            first, second = self.pairs.T
            squares = jnp.sum((x[:, first] - x[:, second]) ** 2, axis=-1)
            apart = (squares >= self.nearest.astype(x.dtype) ** 2) & (
                squares <= self.farthest.astype(x.dtype) ** 2
            )
            healthy &= apart.all(axis=1)
        return healthy
