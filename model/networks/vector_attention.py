"""An exactly invariant transformer over beads: attention that gathers vectors beside features.

Each bead i has a node and VECTORS vectors V_i, none at first. With r_ij = x_j − x_i and d = √(‖r_ij‖² + ε²),
a head's logit is q_i·k_j/√w + s_i·φ(d) + u_i·r_ij, where s_i is linear in the node and u_i is a sum of the
V_i whose weights are. The term in x_i does not depend on j, so the softmax removes it: u_i·x_j stands for
u_i·r_ij, and Σ_j a_ij x_j − x_i for Σ_j a_ij r_ij. What a head gathers are values, mean vectors and mean
distances. New vectors are mixtures of the old ones and of those; the node learns of their dot products and,
as a molecule is not its mirror image, of triple products.

An energy is a sum over nodes. The vectors of a score are sums of the last V_i, weighted by the node: it turns
with the molecule, exactly. So nothing about rotations has to be learned from data.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ..molecules import Mask, centre
from .graph_transformer import Nodes, Positions, fed_forward, gated
from .mlp import reduced

VECTORS = 8
"""Of each bead."""
SOFTENING = 1e-3
"""ε², which keeps the distance of a bead from itself differentiable."""

Vectors = Float[Array, "beads vectors 3"]


class VectorTransformer(nn.Module):
    """One energy or one vector for every bead, the same however all beads are moved and turned.

    Padding (`mask` false) changes nothing for the other beads, and its own outputs are zero. Layers multiply
    in `compute`; positions, vectors and logits keep all their digits.
    """

    width: int
    layers: int
    vector: bool
    """A vector, which turns with the beads, instead of an energy."""
    heads: int = 4
    head_width: int = 16
    compute: str = "float32"

    @nn.compact
    def __call__(
        self, x: Positions, nodes: Float[Array, "beads features"], mask: Mask
    ) -> Float[Array, "beads outputs"]:
        """From positions and what else is known of each bead, the diffusion time included."""
        x, dtype = centre(x, mask), reduced(self.compute)
        squares = jnp.sum((x[:, None] - x) ** 2, axis=-1)
        distance = jnp.sqrt(squares + SOFTENING)
        radial = jnp.stack([squares / 10, distance, jnp.exp(-2 * squares), jnp.exp(-squares / 3)])
        nodes = nn.Dense(self.width, name="nodes", dtype=dtype)(nodes)
        vectors = jnp.zeros((len(x), 0, 3), x.dtype)
        for layer in range(self.layers):
            nodes, vectors = _Layer(self.width, self.heads, self.head_width, dtype, name=f"layer_{layer}")(
                nodes, vectors, x, radial, mask
            )
        if not self.vector:
            return jnp.where(mask[:, None], nn.Dense(1, name="decoder", dtype=dtype)(nodes), 0)
        weights = nn.Dense(VECTORS, name="decoder", dtype=dtype)(nodes).astype(x.dtype)
        return jnp.where(mask[:, None], jnp.einsum("ik,ikc->ic", weights, vectors), 0)


class _Layer(nn.Module):
    width: int
    heads: int
    head_width: int
    dtype: jnp.dtype | None

    @nn.compact
    def __call__(
        self,
        nodes: Nodes,
        vectors: Float[Array, "beads old 3"],
        x: Positions,
        radial: Float[Array, "functions beads beads"],
        mask: Mask,
    ) -> tuple[Nodes, Vectors]:
        normal = nn.LayerNorm(name="attention_norm", dtype=self.dtype)(nodes)
        attended, vectors = _Attention(self.width, self.heads, self.head_width, self.dtype, name="attention")(
            normal, vectors, x, radial, mask
        )
        nodes = gated(attended, nodes, "attention_gate", self.dtype)
        return fed_forward(nodes, self.width, self.dtype), vectors


class _Attention(nn.Module):
    width: int
    heads: int
    head_width: int
    dtype: jnp.dtype | None

    @nn.compact
    def __call__(
        self,
        nodes: Nodes,
        vectors: Float[Array, "beads old 3"],
        x: Positions,
        radial: Float[Array, "functions beads beads"],
        mask: Mask,
    ) -> tuple[Nodes, Vectors]:
        heads, (count, old, _) = self.heads, vectors.shape
        mixed = heads + old
        # All that is linear in the node, in one map: it is small, and what surrounds it costs more.
        sizes = [heads * self.head_width] * 3 + [heads * len(radial), VECTORS * mixed, heads * old]
        parts = nn.Dense(sum(sizes), name="linear", dtype=self.dtype)(nodes)
        ends = [sum(sizes[:n]) for n in range(1, len(sizes))]
        query, key, value, by_distance, mix, along = jnp.split(parts, ends, axis=-1)
        query, key, value = (part.reshape(count, heads, -1) for part in (query, key, value))
        by_distance, mix, along = (part.astype(x.dtype) for part in (by_distance, mix, along))

        logits = jnp.einsum("ihd,jhd->hij", query, key).astype(x.dtype) / jnp.sqrt(self.head_width)
        logits += jnp.einsum("ihf,fij->hij", by_distance.reshape(count, heads, -1), radial)
        if old:
            turned = jnp.einsum("ihk,ikc->ihc", along.reshape(count, heads, -1), vectors)
            logits += jnp.einsum("ihc,jc->hij", turned, x)
        weights = jax.nn.softmax(jnp.where(mask, logits, -jnp.inf))

        attended = jnp.einsum("hij,jhd->ihd", weights.astype(value.dtype), value).reshape(count, -1)
        gathered = jnp.einsum("hij,jc->ihc", weights, x) - x[:, None]
        distances = jnp.einsum("hij,ij->ih", weights, radial[1])
        gathered = jnp.concatenate([gathered, vectors], axis=1)
        new = jnp.einsum("ikl,ilc->ikc", mix.reshape(count, VECTORS, mixed), gathered)

        first, second = jnp.triu_indices(VECTORS)
        dots = jnp.einsum("ikc,ilc->ikl", new, new)[:, first, second]
        triples = jnp.sum(new * jnp.cross(jnp.roll(new, -1, axis=1), jnp.roll(new, -3, axis=1)), axis=-1)
        invariants = jnp.concatenate([distances, jnp.arcsinh(dots), jnp.arcsinh(triples)], axis=-1)
        known = jnp.concatenate([attended, invariants.astype(attended.dtype)], axis=-1)
        return nn.Dense(self.width, name="out", dtype=self.dtype)(known), new
