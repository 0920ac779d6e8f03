"""The networks of the toy systems: multilayer perceptrons of the configuration and the diffusion time."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

Time = Float[Array, ""]


def time_features(t: Time, interval: tuple[float, float], relative: bool) -> Float[Array, "features"]:
    """Features of the diffusion time t, and of τ = (t − a)/(b − a) if `relative`.

    The order is that of the authors' network (t − (b−a)/2, cos 2πt, sin 2πt, −cos 4πt, …).
    """
    a, b = interval
    features = [t - (b - a) / 2, *_harmonics(t)]
    if relative:
        features += _harmonics((t - a) / (b - a))
    return jnp.stack(features)


def _harmonics(t: Time) -> list[Time]:
    return [jnp.cos(2 * jnp.pi * t), jnp.sin(2 * jnp.pi * t), -jnp.cos(4 * jnp.pi * t)]


class MLP(nn.Module):
    """Swish layers of the given widths and a linear last layer, which multiply in `compute`."""

    hidden: Sequence[int]
    outputs: int
    compute: str = "float32"

    @nn.compact
    def __call__(self, inputs: Float[Array, "inputs"]) -> Float[Array, "outputs"]:
        """Outputs of one input; batch with `jax.vmap`."""
        dtype = reduced(self.compute)
        for width in self.hidden:
            inputs = nn.swish(nn.Dense(width, dtype=dtype)(inputs))
        return nn.Dense(self.outputs, dtype=dtype)(inputs)


def reduced(compute: str) -> jnp.dtype | None:
    """The type that layers cast to, None where they keep that of their parameters (float64 in some tests)."""
    return None if compute == "float32" else jnp.dtype(compute)
