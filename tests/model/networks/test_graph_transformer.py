"""The factorised transformer is the authors' network, without their arrays over pairs of beads."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from fokker.model.networks.graph_transformer import GraphTransformer, centre
from fokker.model.networks.mlp import time_features

from ..edge_tensor import edge_tensor_energy

PARITY = Path(__file__).parents[3] / ".." / "shared" / "parity"
NETWORK = GraphTransformer(width=24, layers=2, outputs=1, heads=3, head_width=8)
BEADS, FEATURES = 6, 5
EVERY = jnp.ones(BEADS, bool)


def random_parameters(network: GraphTransformer = NETWORK):
    """Initialisation plus noise, so that no gate or bias is zero."""
    x, nodes, _ = inputs()
    parameters = network.init(jax.random.key(0), x, nodes, EVERY)["params"]
    leaves, tree = jax.tree.flatten(parameters)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return tree.unflatten(
        [p + 0.1 * jax.random.normal(k, p.shape) for p, k in zip(leaves, keys, strict=True)]
    )


def inputs(seed: int = 2):
    keys = jax.random.split(jax.random.key(seed))
    return jax.random.normal(keys[0], (BEADS, 3)), jax.random.normal(keys[1], (BEADS, FEATURES)), EVERY


def outputs_of(parameters, x, nodes, mask, network: GraphTransformer = NETWORK) -> jax.Array:
    return network.apply({"params": parameters}, x, nodes, mask)  # pyright: ignore[reportReturnType]


def energy(parameters, x, nodes, mask) -> jax.Array:
    return jnp.sum(outputs_of(parameters, x, nodes, mask))


def close(ours, theirs, tolerance: float):
    """Equal within `tolerance` of the largest element: some gradients are zero but for rounding."""
    scale = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(theirs))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale)


def test_value_score_and_parameter_gradient_are_those_of_the_edge_tensor_network():
    everything = (random_parameters(), *inputs()[:2])
    ours, theirs = (
        jax.jit(jax.value_and_grad(lambda *known, f=f: f(*known, EVERY), argnums=(0, 1, 2)))(*everything)
        for f in (energy, edge_tensor_energy)
    )
    close(ours[0], theirs[0], 1e-5)
    for gradient, expected in zip(ours[1], theirs[1], strict=True):
        close(gradient, expected, 1e-5)


def test_no_array_over_pairs_of_beads_is_wider_than_the_heads():
    function = jax.grad(
        lambda x: jnp.sum(jax.grad(energy, argnums=1)(random_parameters(), x, *inputs()[1:]) ** 2)
    )
    shapes = [v.aval.shape for e in equations(jax.make_jaxpr(function)(inputs()[0]).jaxpr) for v in e.outvars]
    pairs = [shape for shape in shapes if list(shape).count(BEADS) >= 2]
    assert pairs, "the attention weights themselves are an array over pairs"
    assert max(np.prod(shape) for shape in pairs) == NETWORK.heads * BEADS**2


def equations(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            if hasattr(value, "jaxpr"):
                yield from equations(value.jaxpr)


def test_moving_all_beads_changes_nothing_and_the_score_sums_to_zero():
    parameters, (x, nodes, mask) = random_parameters(), inputs()
    both = jax.jit(jax.value_and_grad(energy, argnums=1))
    (value, score), (moved, score_moved) = (both(parameters, y, nodes, mask) for y in (x, x + 2.0**-3))
    # The mean of the moved beads is rounded differently: a few units in the last place.
    assert abs(moved - value) < 1e-5 * abs(value)
    close(score_moved, score, 1e-5)
    assert jnp.abs(score.sum(0)).max() < 1e-5 * jnp.abs(score).max()


def test_padding_changes_nothing_and_has_no_output_or_gradient():
    parameters, (x, nodes, _) = random_parameters(), inputs()
    real = 4
    mask = jnp.arange(BEADS) < real
    assert not outputs_of(parameters, x, nodes, mask)[real:].any()
    both = jax.jit(jax.value_and_grad(energy, argnums=(0, 1, 2)))
    (value, padded), (alone, own) = (both(parameters, x[:n], nodes[:n], mask[:n]) for n in (BEADS, real))
    close(value, alone, 1e-6)
    close(padded[0], own[0], 1e-5)
    for of_padded, of_own in zip(padded[1:], own[1:], strict=True):
        close(of_padded[:real], of_own, 1e-5)
        assert not of_padded[real:].any()


def test_centre_leaves_out_the_padding():
    x = jnp.asarray([[0.0, 1, 2], [2, 3, 4], [9, 9, 9]])
    mask = jnp.asarray([True, True, False])
    np.testing.assert_array_equal(centre(x, mask), [[-1, -1, -1], [1, 1, 1], [0, 0, 0]])


def named_as_ours(authors: dict[str, np.ndarray]) -> dict:
    """The authors' parameters under our names."""
    halves = ("attention", "feed_forward")
    renamed = {}
    for path, value in authors.items():
        *parents, leaf = path.split("/")
        kind, number = parents[-1 if len(parents) == 1 else 1].rsplit("_", 1)
        if kind == "edge":
            name = f"edge_{leaf}"
        elif kind == "node":
            name = f"{'nodes' if number == 'embedding' else 'decoder'}/{leaf}"
        elif kind == "PreNorm":
            name = f"layer_{int(number) // 2}/{halves[int(number) % 2]}_norm/{leaf}"
        elif kind == "GatedResidual":
            name = f"layer_{int(number) // 2}/{halves[int(number) % 2]}_gate/Dense_0/{leaf}"
        elif kind == "Dense":
            name = f"layer_{int(number) // 2}/{('widen', 'narrow')[int(number) % 2]}/{leaf}"
        else:
            part = ("query/", "key/", "value/", "edge_", "out/")[int(parents[2].removeprefix("Dense_"))]
            name = f"layer_{number}/attention/{part}{leaf}"
        renamed[name] = jnp.asarray(value)
    return unflatten_dict(renamed, sep="/")


@pytest.mark.parametrize(("name", "width", "layers"), [("alanine-dipeptide", 96, 2), ("dipeptide", 128, 3)])
def test_with_their_parameters_it_is_the_authors_network(name: str, width: int, layers: int):
    folder = PARITY / f"{name}-expert"
    if not folder.exists():
        pytest.skip(f"{folder} is not here: the authors' network is not compared")
    with jax.enable_x64(True):
        probe = {key: jnp.asarray(value) for key, value in np.load(folder / "probe.npz").items()}
        authors = {key: value.astype(np.float64) for key, value in np.load(folder / "parameters.npz").items()}
        embeddings = [authors.pop(k) for k in sorted(authors) if k.startswith("scalar_embedding")]
        x, t = probe["x"].astype(jnp.float64), probe["t"].astype(jnp.float64)
        beads = x.shape[1]
        known = jnp.eye(beads)
        if embeddings:
            known = jnp.concatenate([e[i] for e, i in zip(embeddings, probe["features"].T, strict=True)], -1)
        network, parameters = GraphTransformer(width, layers, outputs=1), named_as_ours(authors)

        def log_density(x, t):
            time = jnp.tile(time_features(t, (0.0, 0.1), relative=False), (beads, 1))
            nodes = jnp.concatenate([known, time], axis=-1)
            return -jnp.sum(outputs_of(parameters, x, nodes, jnp.ones(beads, bool), network))

        ours = jax.jit(jax.vmap(jax.value_and_grad(log_density, argnums=(0, 1))))(x, t)
        close(ours, (probe["log_density"], (probe["score"], probe["time_derivative"])), 1e-9)
        nothing = jnp.zeros((beads, len(parameters["nodes"]["kernel"])))
        made = jax.eval_shape(network.init, jax.random.key(0), x[0], nothing, jnp.ones(beads, bool))["params"]
        assert jax.tree.map(jnp.shape, made) == jax.tree.map(jnp.shape, parameters)
