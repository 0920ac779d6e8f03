"""The network of the molecules: a transformer over beads (Plainer et al. 2025, appendix A.3).

The edge features x_j − x_i enter keys and values through linear maps only, so no array over pairs of beads
has to hold them. With W the product of both maps and c their bias, the logit q_i·(k_j + W x_j − W x_i + c)
differs from q_i·(k_j + W x_j) by a term that does not depend on j, which the softmax removes; and as the
weights a_ij sum to one, Σ_j a_ij (v_j + W x_j − W x_i + c) = Σ_j a_ij (v_j + W x_j) − W x_i + c.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from ..config import VOCABULARY
from ..molecules import Mask, Molecule, centre
from .mlp import reduced
from .residues import properties_of, shown_types

Nodes = Float[Array, "beads width"]
Positions = Float[Array, "beads 3"]

_KERNEL, _BIAS = nn.initializers.lecun_normal(), nn.initializers.zeros


EMBEDDING_WIDTH = 16
RESIDUES = "embedding_0"
"""Name of the embedding of the types of residues."""


class MoleculeNetwork(nn.Module):
    """A transformer of a molecule's configuration at a diffusion time."""

    transformer: nn.Module
    one_hot: bool
    residue_properties: bool = False
    """Add what is known of each residue to the embedding of its type."""

    @nn.compact
    def __call__(
        self, x: Positions, time: Float[Array, "features"], molecule: Molecule
    ) -> Float[Array, "beads outputs"]:
        """Outputs of every bead, told apart by their features or, if `one_hot`, by their number."""
        if self.one_hot:
            known = [jnp.eye(len(x), dtype=x.dtype)]
        else:
            kinds, *others = molecule.features.T
            known = [
                nn.Embed(size, EMBEDDING_WIDTH, name=f"embedding_{column}")(values)
                for column, (size, values) in enumerate(
                    zip(VOCABULARY, (shown_types(kinds), *others), strict=True)
                )
            ]
            if self.residue_properties:
                linear = nn.Dense(EMBEDDING_WIDTH, use_bias=False, name="residue_properties")
                known[0] += linear(properties_of(kinds))
        times = jnp.broadcast_to(time, (len(x), time.size))
        return self.transformer(x, jnp.concatenate([*known, times], axis=-1), molecule.mask)


class GraphTransformer(nn.Module):
    """A number of outputs for every bead, unchanged when all beads move by one vector.

    Layers of pre-norm attention and feed-forward, both with gated residuals. Padding (`mask` false) changes
    nothing for the other beads, and its own outputs are zero. Layers multiply in `compute`; positions, which
    need all their digits until they are differences, enter in their own type.
    """

    width: int
    layers: int
    outputs: int
    heads: int = 8
    head_width: int = 64
    compute: str = "float32"

    @nn.compact
    def __call__(
        self, x: Positions, nodes: Float[Array, "beads features"], mask: Mask
    ) -> Float[Array, "beads outputs"]:
        """From positions and what else is known of each bead, the diffusion time included."""
        x = centre(x, mask)
        edge = (
            self.param("edge_kernel", _KERNEL, (3, self.width), jnp.float32),
            self.param("edge_bias", _BIAS, (self.width,), jnp.float32),
        )
        dtype = reduced(self.compute)
        nodes = nn.Dense(self.width, name="nodes", dtype=dtype)(nodes)
        for layer in range(self.layers):
            nodes = _Layer(self.width, self.heads, self.head_width, dtype, name=f"layer_{layer}")(
                nodes, x, edge, mask
            )
        return jnp.where(mask[:, None], nn.Dense(self.outputs, name="decoder", dtype=dtype)(nodes), 0)


class _Layer(nn.Module):
    width: int
    heads: int
    head_width: int
    dtype: jnp.dtype | None

    @nn.compact
    def __call__(self, nodes: Nodes, x: Positions, edge: tuple[Array, Array], mask: Mask) -> Nodes:
        dtype = self.dtype
        normal = nn.LayerNorm(name="attention_norm", dtype=dtype)(nodes)
        attended = _Attention(self.width, self.heads, self.head_width, dtype, name="attention")(
            normal, x, edge, mask
        )
        nodes = gated(attended, nodes, "attention_gate", dtype)
        return fed_forward(nodes, self.width, dtype)


def fed_forward(nodes: Nodes, width: int, dtype: jnp.dtype | None) -> Nodes:
    """The second half of a layer, whose parameters are those of the module that calls this."""
    normal = nn.LayerNorm(name="feed_forward_norm", dtype=dtype)(nodes)
    wide = nn.gelu(nn.Dense(4 * width, name="widen", dtype=dtype)(normal))
    narrow = nn.Dense(width, name="narrow", dtype=dtype)(wide)
    return gated(narrow, nodes, "feed_forward_gate", dtype)


def gated(new: Nodes, old: Nodes, name: str, dtype: jnp.dtype | None) -> Nodes:
    """A residual with a learned gate, whose parameters are those of the module that calls this."""
    return _GatedResidual(dtype, name=name)(new, old)


class _Attention(nn.Module):
    width: int
    heads: int
    head_width: int
    dtype: jnp.dtype | None

    @nn.compact
    def __call__(self, nodes: Nodes, x: Positions, edge: tuple[Array, Array], mask: Mask) -> Nodes:
        inner = self.heads * self.head_width
        query, key, value = (
            nn.Dense(inner, name=name, dtype=self.dtype)(nodes) for name in ("query", "key", "value")
        )
        kernel = self.param("edge_kernel", _KERNEL, (self.width, inner), jnp.float32)
        bias = edge[1] @ kernel + self.param("edge_bias", _BIAS, (inner,), jnp.float32)
        # Both maps in one: it has no batch axis, so that a batch multiplies by three rows, not by `width`.
        moved, bias = (part.astype(value.dtype) for part in (x @ (edge[0] @ kernel), bias))
        query, key, moved_value = (self._split(part) for part in (query, key + moved, value + moved))
        logits = jnp.einsum("ihd,jhd->hij", query, key) / jnp.sqrt(self.head_width)
        weights = jax.nn.softmax(jnp.where(mask, logits, -jnp.inf))
        attended = jnp.einsum("hij,jhd->ihd", weights, moved_value).reshape(-1, inner)
        return nn.Dense(self.width, name="out", dtype=self.dtype)(attended - moved + bias)

    def _split(self, part: Float[Array, "beads inner"]) -> Float[Array, "beads heads head_width"]:
        return part.reshape(-1, self.heads, self.head_width)


class _GatedResidual(nn.Module):
    dtype: jnp.dtype | None

    @nn.compact
    def __call__(self, new: Nodes, old: Nodes) -> Nodes:
        both = jnp.concatenate([new, old, new - old], axis=-1)
        gate = nn.sigmoid(nn.Dense(1, use_bias=False, dtype=self.dtype)(both))
        return new * gate + old * (1 - gate)
