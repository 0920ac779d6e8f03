"""The graph transformer as the authors write it: features of every pair of beads, at every layer."""

import jax
import jax.numpy as jnp


def edge_tensor_energy(parameters, x, nodes, mask, heads=3):
    """What `GraphTransformer` sums to with the same parameters."""
    p = parameters

    def dense(layer, inputs):
        return inputs @ layer["kernel"] + layer.get("bias", 0)

    def norm(layer, inputs):
        mean, variance = inputs.mean(-1, keepdims=True), inputs.var(-1, keepdims=True)
        return (inputs - mean) / jnp.sqrt(variance + 1e-6) * layer["scale"] + layer["bias"]

    def gated(layer, new, old):
        gate = jax.nn.sigmoid(dense(layer["Dense_0"], jnp.concatenate([new, old, new - old], -1)))
        return new * gate + old * (1 - gate)

    def split(inputs):
        return inputs.reshape(*inputs.shape[:-1], heads, -1)

    x = x - jnp.mean(x, axis=0, where=mask[:, None])
    edges = (x[None, :] - x[:, None]) @ p["edge_kernel"] + p["edge_bias"]
    nodes = dense(p["nodes"], nodes)
    for layer in (p[f"layer_{i}"] for i in range(sum(name.startswith("layer_") for name in p))):
        a, normal = layer["attention"], norm(layer["attention_norm"], nodes)
        pairs = split(edges @ a["edge_kernel"] + a["edge_bias"])
        query = split(dense(a["query"], normal))
        keys = split(dense(a["key"], normal))[None] + pairs
        values = split(dense(a["value"], normal))[None] + pairs
        logits = jnp.einsum("ihd,ijhd->hij", query, keys) / query.shape[-1] ** 0.5
        weights = jax.nn.softmax(jnp.where(mask, logits, -1e9))
        attended = jnp.einsum("hij,ijhd->ihd", weights, values).reshape(len(x), -1)
        nodes = gated(layer["attention_gate"], dense(a["out"], attended), nodes)
        wide = jax.nn.gelu(dense(layer["widen"], norm(layer["feed_forward_norm"], nodes)))
        nodes = gated(layer["feed_forward_gate"], dense(layer["narrow"], wide), nodes)
    return jnp.sum(dense(p["decoder"], nodes), where=mask[:, None])
