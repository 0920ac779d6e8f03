"""The invariant transformer is what its equations say, over all pairs, and turns as molecules do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from fokker.model.molecules import random_rotations
from fokker.model.networks.vector_attention import SOFTENING, VECTORS, VectorTransformer

HEADS, WIDTH = 3, 24
ENERGY = VectorTransformer(WIDTH, layers=3, vector=False, heads=HEADS, head_width=8)
SCORE = VectorTransformer(WIDTH, layers=3, vector=True, heads=HEADS, head_width=8)
BEADS, FEATURES = 6, 5
EVERY = jnp.ones(BEADS, bool)


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def inputs(seed: int = 2):
    keys = jax.random.split(jax.random.key(seed))
    return jax.random.normal(keys[0], (BEADS, 3)), jax.random.normal(keys[1], (BEADS, FEATURES)), EVERY


def random_parameters(network: VectorTransformer):
    """Initialisation plus noise, so that no gate or bias is zero."""
    parameters = network.init(jax.random.key(0), *inputs())["params"]
    leaves, tree = jax.tree.flatten(parameters)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return tree.unflatten(
        [p + 0.1 * jax.random.normal(k, p.shape) for p, k in zip(leaves, keys, strict=True)]
    )


def outputs_of(network: VectorTransformer, parameters, x, nodes, mask) -> jax.Array:
    return network.apply({"params": parameters}, x, nodes, mask)  # pyright: ignore[reportReturnType]


def energy(parameters, x, nodes, mask) -> jax.Array:
    return jnp.sum(outputs_of(ENERGY, parameters, x, nodes, mask))


def over_all_pairs(parameters, x, nodes, vector: bool) -> np.ndarray:
    """The equations of the module, one pair of beads and one head after another."""

    def linear(name, values):
        return values @ np.asarray(name["kernel"]) + np.asarray(name.get("bias", 0))

    def normal(name, values):
        centred = values - values.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
        return scaled * np.asarray(name["scale"]) + np.asarray(name["bias"])

    def gate(name, new, old):
        open_ = 1 / (1 + np.exp(-linear(name["Dense_0"], np.concatenate([new, old, new - old], -1))))
        return new * open_ + old * (1 - open_)

    x, count = np.asarray(x), len(x)
    nodes, vectors = linear(parameters["nodes"], np.asarray(nodes)), np.zeros((count, 0, 3))
    for layer in range(ENERGY.layers):
        own = parameters[f"layer_{layer}"]
        old = vectors.shape[1]
        inner = HEADS * 8
        parts = linear(own["attention"]["linear"], normal(own["attention_norm"], nodes))
        sizes = np.cumsum([inner, inner, inner, HEADS * 4, VECTORS * (HEADS + old)])
        query, key, value, by_distance, mix, along = np.split(parts, sizes, axis=-1)
        query, key, value = (part.reshape(count, HEADS, 8) for part in (query, key, value))
        by_distance, along = by_distance.reshape(count, HEADS, 4), along.reshape(count, HEADS, old)
        known, new = np.zeros((count, inner + HEADS)), np.zeros((count, VECTORS, 3))
        for i in range(count):
            gathered = np.zeros((HEADS + old, 3))
            gathered[HEADS:] = vectors[i]
            for h in range(HEADS):
                logits, distances = np.zeros(count), np.zeros(count)
                for j in range(count):
                    apart = x[j] - x[i]
                    d2 = apart @ apart
                    distances[j] = np.sqrt(d2 + SOFTENING)
                    radial = np.array([d2 / 10, distances[j], np.exp(-2 * d2), np.exp(-d2 / 3)])
                    logits[j] = query[i, h] @ key[j, h] / np.sqrt(8) + by_distance[i, h] @ radial
                    logits[j] += sum(along[i, h, k] * vectors[i, k] @ apart for k in range(old))
                weights = np.exp(logits - logits.max())
                weights /= weights.sum()
                known[i, h * 8 : h * 8 + 8] = weights @ value[:, h]
                known[i, inner + h] = weights @ distances
                gathered[h] = sum(w * (x[j] - x[i]) for j, w in enumerate(weights))
            new[i] = mix[i].reshape(VECTORS, -1) @ gathered
        upper = np.triu_indices(VECTORS)
        dots = np.arcsinh(np.stack([(u @ u.T)[upper] for u in new]))
        k = np.arange(VECTORS)
        triples = [
            [u[a] @ np.cross(u[(a + 1) % VECTORS], u[(a + 3) % VECTORS]) for a in k.tolist()] for u in new
        ]
        attended = linear(own["attention"]["out"], np.concatenate([known, dots, np.arcsinh(triples)], -1))
        nodes, vectors = gate(own["attention_gate"], attended, nodes), new
        wide = linear(own["widen"], normal(own["feed_forward_norm"], nodes))
        nodes = gate(own["feed_forward_gate"], linear(own["narrow"], np.asarray(nn.gelu(wide))), nodes)
    last = linear(parameters["decoder"], nodes)
    return np.einsum("ik,ikc->ic", last, vectors) if vector else last


@pytest.mark.parametrize("network", [ENERGY, SCORE])
def test_it_is_what_its_equations_say(network: VectorTransformer):
    parameters, (x, nodes, mask) = random_parameters(network), inputs()
    ours = outputs_of(network, parameters, x, nodes, mask)
    theirs = over_all_pairs(parameters, x, nodes, network.vector)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9 * np.abs(theirs).max())


def test_turning_and_moving_all_beads_changes_no_energy_and_turns_the_vectors():
    x, nodes, mask = inputs()
    (turn,) = random_rotations(jax.random.key(3), 1)
    moved = x @ turn.T + jnp.asarray([0.3, -2.0, 1.0])
    parameters = random_parameters(ENERGY)
    np.testing.assert_allclose(
        energy(parameters, moved, nodes, mask), energy(parameters, x, nodes, mask), rtol=1e-10
    )
    parameters = random_parameters(SCORE)
    before, after = (outputs_of(SCORE, parameters, at, nodes, mask) for at in (x, moved))
    np.testing.assert_allclose(after, before @ turn.T, rtol=1e-8, atol=1e-10)
    assert np.abs(np.asarray(before)).max() > 1e-3


def test_a_mirror_image_is_another_molecule():
    x, nodes, mask = inputs()
    parameters = random_parameters(ENERGY)
    one, other = (float(energy(parameters, at, nodes, mask)) for at in (x, -x))
    assert abs(one - other) > 1e-3 * abs(one)
    flat = x.at[:, 2].set(0)  # Of four atoms in a plane there is no hand.
    np.testing.assert_allclose(
        energy(parameters, flat, nodes, mask), energy(parameters, -flat, nodes, mask), rtol=1e-10
    )


def test_the_order_of_the_beads_is_none():
    x, nodes, mask = inputs()
    parameters, order = random_parameters(SCORE), jnp.asarray([3, 0, 5, 1, 4, 2])
    np.testing.assert_allclose(
        outputs_of(SCORE, parameters, x[order], nodes[order], mask),
        outputs_of(SCORE, parameters, x, nodes, mask)[order],
        rtol=1e-9,
        atol=1e-11,
    )


@pytest.mark.parametrize("network", [ENERGY, SCORE])
def test_padding_changes_nothing_and_has_no_output_or_gradient(network: VectorTransformer):
    parameters, (x, nodes, _) = random_parameters(network), inputs()
    real = 4
    mask = jnp.arange(BEADS) < real

    def value(parameters, x, nodes, mask):
        return jnp.sum(outputs_of(network, parameters, x, nodes, mask) * jnp.asarray([[1.0, 2.0, 3.0]]))

    assert not outputs_of(network, parameters, x, nodes, mask)[real:].any()
    both = jax.jit(jax.value_and_grad(value, argnums=(0, 1, 2)))
    padded, alone = (both(parameters, x[:n], nodes[:n], mask[:n]) for n in (BEADS, real))
    np.testing.assert_allclose(padded[0], alone[0], rtol=1e-10)
    for of_padded, of_alone in zip(padded[1][1:], alone[1][1:], strict=True):
        np.testing.assert_allclose(of_padded[:real], of_alone, rtol=1e-8, atol=1e-12)
        assert not of_padded[real:].any()
    for a, b in zip(*(jax.tree.leaves(one[1][0]) for one in (padded, alone)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-12)


def test_beads_at_one_place_have_finite_derivatives():
    """As the padding, and the configuration that parameters are made by."""
    parameters, (x, nodes, mask) = random_parameters(ENERGY), inputs()

    def slope(parameters, x):
        return jnp.sum(jax.grad(energy, argnums=1)(parameters, x, nodes, mask) ** 2)

    for leaf in jax.tree.leaves(jax.jit(jax.grad(slope, argnums=(0, 1)))(parameters, jnp.zeros_like(x))):
        assert jnp.isfinite(leaf).all()
