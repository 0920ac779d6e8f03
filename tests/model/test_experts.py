from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict

from fokker.distributed.runs.presets import PRESETS
from fokker.model.config import ExpertConfig
from fokker.model.diffusion.schedule import NoiseSchedule
from fokker.model.experts import Expert, gate

from .conftest import (
    INTERVALS,
    PLAIN,
    PRECONDITIONED,
    expert_config,
    make_expert,
    precisions,
    random_parameters,
)

PARITY = Path(__file__).parents[2] / ".." / "shared" / "parity"
TIMES = (1e-5, 1e-3, 0.05, 0.3, 0.9)


def points(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(1).normal(size=shape))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("network", [PLAIN, PRECONDITIONED])
@pytest.mark.parametrize("t", TIMES)
def test_the_score_is_the_gradient_of_the_log_density(network, t: float):
    expert = make_expert(2, 3, network=network)
    parameters = random_parameters(expert)
    x, at, h = points(2, 3), jnp.asarray(t), 1e-5
    steps = h * jnp.eye(6).reshape(6, 2, 3)
    values = jax.jit(jax.vmap(expert.log_density, in_axes=(None, 0, None)))
    differences = values(parameters, x + steps, at) - values(parameters, x - steps, at)
    score = jax.jit(expert.score)(parameters, x, at)
    np.testing.assert_allclose(score, (differences / (2 * h)).reshape(2, 3), rtol=1e-7, atol=1e-8)


def curl(expert: Expert) -> np.ndarray:
    """The antisymmetric part of the Jacobian of the score."""
    jacobian = jax.jit(jax.jacobian(expert.score, argnums=1))(
        random_parameters(expert), points(3), jnp.asarray(0.3)
    )
    return np.asarray(jacobian - jacobian.T)


@pytest.mark.parametrize("network", [PLAIN, PRECONDITIONED])
def test_only_a_conservative_score_is_free_of_curl(network):
    assert np.abs(curl(make_expert(3, network=network))).max() < 1e-6
    assert np.abs(curl(make_expert(3, network=network, conservative=False))).max() > 1e-2


def test_a_free_score_has_no_log_density():
    expert = make_expert(2, conservative=False, interval=(0.1, 0.6), midpoint=0.3)
    with pytest.raises(ValueError, match=r"expert of \(0.1, 0.6\) is a score, it has no log-density"):
        expert.log_density(random_parameters(expert), points(2), jnp.asarray(0.3))


def test_a_free_score_has_the_shape_of_its_configuration():
    expert = make_expert(4, 3, conservative=False)
    assert expert.space.dimension() == 12
    shape = jax.eval_shape(expert.score, random_parameters(expert), points(4, 3), jnp.asarray(0.3))
    assert shape.shape == (4, 3)


def constant(expert: Expert, value: float):
    """Parameters with which the network's output is `value` everywhere."""
    parameters = jax.tree.map(jnp.zeros_like, random_parameters(expert))
    last = max(parameters)
    return parameters | {last: parameters[last] | {"bias": jnp.full_like(parameters[last]["bias"], value)}}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("t", TIMES)
def test_preconditioning_adds_the_scaled_network_to_a_normal_density(t: float):
    """log p = −½‖x‖² + α h/√(σ² + α²b²) with h = −(output); its factor stays below 1/b (here 10)."""
    x, at = points(3), jnp.asarray(t)
    signal = np.exp(-0.1 * t - 9.95 * t**2)
    factor = np.sqrt(signal / (1 - signal + signal * 0.01))
    energy = make_expert(3, network=PRECONDITIONED)
    np.testing.assert_allclose(
        energy.log_density(constant(energy, 2.0), x, at), -0.5 * x @ x - factor * 2.0, rtol=1e-9
    )
    free = make_expert(3, network=PRECONDITIONED, conservative=False)
    np.testing.assert_allclose(free.score(constant(free, 2.0), x, at), -x + factor * 2.0, rtol=1e-9)
    assert factor < 10


def test_preconditioning_feeds_the_width_of_the_noise_as_one_more_feature():
    plain, more = (make_expert(2, network=network) for network in (PLAIN, PRECONDITIONED))
    sizes = [random_parameters(expert)["Dense_0"]["kernel"].shape for expert in (plain, more)]
    assert sizes == [(2 + 7, 16), (2 + 8, 16)]


@pytest.mark.parametrize("method", ["diffusion", "both"])
def test_the_paper_recipe_has_the_number_of_weights_that_the_paper_states(method):
    config = PRESETS["mueller-brown"](method, "paper")
    experts = [Expert(each, config.network, (2,)) for each in config.experts]
    shapes = [jax.eval_shape(expert.init, jax.random.key(0)) for expert in experts]
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == {"diffusion": 17_849, "both": 17_263}[method]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("folder", "number", "hidden"),
    # The middle expert of the parity files has the widths that the paper's Table 3 gives to the last.
    [("mueller-brown-expert", 0, (64, 64, 64)), ("mueller-brown-middle-expert", 1, (54, 54))],
)
def test_with_the_authors_parameters_an_expert_of_the_paper_recipe_is_theirs(folder, number, hidden):
    """Their outputs are in float64: all but rounding and the free constant has to agree."""
    if not (PARITY / folder).exists():
        pytest.skip(f"no {folder}: the authors' parameters and outputs lie outside of the repository")
    config = PRESETS["mueller-brown"]("both", "paper")
    expert = Expert(replace(config.experts[number], hidden=hidden), config.network, (2,))
    with np.load(PARITY / folder / "parameters.npz") as file:
        parameters = unflatten_dict({name: file[name] for name in file}, sep="/")
    with np.load(PARITY / folder / "probe.npz") as file:
        probe = dict(file)
    x, t = (jnp.asarray(probe[name], jnp.float64) for name in ("x", "t"))
    value = jax.vmap(expert.log_density, in_axes=(None, 0, 0))(parameters, x, t)
    gradient = jax.grad(expert.log_density, argnums=(1, 2))
    score, derivative = jax.vmap(gradient, in_axes=(None, 0, 0))(parameters, x, t)
    np.testing.assert_allclose(value - value[0], probe["log_density"] - probe["log_density"][0], atol=1e-12)
    np.testing.assert_allclose(score, probe["score"], rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(derivative, probe["time_derivative"], rtol=1e-11, atol=1e-12)


def experts() -> list[ExpertConfig]:
    return [expert_config(interval) for interval in INTERVALS]


def test_the_gate_covers_all_times_exactly_once():
    edges = [np.float32(start) for start, _ in INTERVALS[1:]]
    below = [np.nextafter(edge, np.float32(0)) for edge in edges]
    above = [np.nextafter(edge, np.float32(1)) for edge in edges]
    ends = [np.float32(1e-45), np.float32(1e-5), np.nextafter(np.float32(1), np.float32(0))]
    t = np.concatenate([edges, below, above, ends, np.linspace(0, 1, 5001, dtype=np.float32)[1:-1]])
    inside = np.stack([(t >= np.float32(start)) & (t < np.float32(end)) for start, end in INTERVALS])
    assert (inside.sum(axis=0) == 1).all()
    np.testing.assert_array_equal(gate(jnp.asarray(t), experts()), inside.argmax(axis=0))


def test_the_gate_gives_a_boundary_to_the_later_expert():
    t = jnp.array([0.05, 0.1, 0.3, 0.6, 0.9, 1.0])
    assert gate(t, experts()).tolist() == [0, 1, 1, 2, 2, 2]
    assert gate(t, experts()[:1]).tolist() == [0] * 6


@pytest.mark.parametrize("conservative", [True, False])
def test_products_of_an_expert_are_taken_at_the_highest_precision(conservative: bool):
    expert = make_expert(2, network=PRECONDITIONED, conservative=conservative)
    parameters = random_parameters(expert)

    def loss(parameters, x, t):
        return jnp.sum(expert.score(parameters, x, t) ** 2)

    for function in (expert.score, jax.grad(loss)):
        assert set(precisions(function, parameters, points(2), jnp.asarray(0.3))) == {"highest"}


def test_an_expert_of_another_schedule_scales_by_that_schedule():
    slow = Expert(expert_config(), PRECONDITIONED, (2,), NoiseSchedule(0.1, 0.1))
    signal = np.exp(-0.1)
    expected = -2 * np.sqrt(signal / (1 - signal + 0.01 * signal))
    value = slow.log_density(constant(slow, 2.0), jnp.zeros(2), jnp.asarray(1.0))
    np.testing.assert_allclose(value, expected, rtol=1e-5)
