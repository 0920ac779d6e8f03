import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fokker.model.networks.mlp import MLP, time_features

R2 = np.sqrt(0.5)


@pytest.mark.parametrize(
    ("t", "interval", "expected"),
    [
        # By hand: t − (b − a)/2, cos 2πt, sin 2πt, −cos 4πt, then the last three of τ = (t − a)/(b − a).
        (0.25, (0.0, 1.0), [-0.25, 0, 1, 1, 0, 1, 1]),
        (0.125, (0.0, 1.0), [-0.375, R2, R2, 0, R2, R2, 0]),
        (0.025, (0.0, 0.1), [-0.025, np.cos(np.pi / 20), np.sin(np.pi / 20), -np.cos(np.pi / 10), 0, 1, 1]),
        (0.5, (0.25, 0.75), [0.25, -1, 0, -1, -1, 0, -1]),
        (0.75, (0.5, 1.0), [0.5, 0, -1, 1, -1, 0, -1]),
    ],
)
def test_time_features_have_the_values_and_the_order_of_the_authors(
    t: float, interval: tuple, expected: list
):
    np.testing.assert_allclose(time_features(jnp.asarray(t), interval, True), expected, atol=1e-6)
    np.testing.assert_allclose(time_features(jnp.asarray(t), interval, False), expected[:4], atol=1e-6)


def test_the_network_is_swish_layers_and_a_linear_one():
    network = MLP((5, 4), 2)
    random = np.random.default_rng(0)
    widths = [(3, 5), (5, 4), (4, 2)]
    layers = [{"kernel": random.normal(size=width), "bias": random.normal(size=width[1])} for width in widths]
    x = random.normal(size=3)
    parameters = {f"Dense_{number}": layer for number, layer in enumerate(layers)}
    found = jax.jit(network.apply)({"params": parameters}, jnp.asarray(x))
    for number, layer in enumerate(layers):
        x = x @ layer["kernel"] + layer["bias"]
        x = x if number == 2 else x / (1 + np.exp(-x))
    np.testing.assert_allclose(np.asarray(found), x, rtol=1e-5)
