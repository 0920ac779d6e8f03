"""The residual is R = ½ β [div s + ‖s‖² + x·s + D] − ∂ₜ log p, which vanishes for the p_t of any data."""

from math import prod
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fokker.model.config import Estimator
from fokker.model.diffusion.schedule import NoiseSchedule
from fokker.model.losses import residual
from fokker.model.losses.residual import FokkerPlanck

from ..conftest import (
    PLAIN,
    PRECONDITIONED,
    MixtureExpert,
    deviation,
    expert_config,
    make_expert,
    mixture,
    precisions,
    random_parameters,
)

SCHEDULE = NoiseSchedule()
ESTIMATORS = get_args(Estimator)
KEYS = 20_000
SHAPES = [(2,), (2, 3)]  # The exact divergence is unrolled up to three coordinates, and vmapped above.


def network(*shape: int, config=PRECONDITIONED):
    """log p(x, t) of a random network."""
    expert = make_expert(*shape, network=config)
    parameters = random_parameters(expert)
    return lambda x, t: expert.log_density(parameters, x, t)


def truth(*shape: int):
    """The exact log p_t of data from a mixture of three Gaussians."""
    expert = MixtureExpert(expert_config(), PLAIN, shape)
    parameters = mixture(prod(expert.shape), 3)
    return lambda x, t: expert.log_density(parameters, x, t)


def points(count: int, *shape: int) -> tuple[jax.Array, jax.Array]:
    random = np.random.default_rng(2)
    times = np.concatenate([[1e-4, 1e-3, 1e-2], random.uniform(0.02, 1, count - 3)])
    return jnp.asarray(random.normal(size=(count, *shape))), jnp.asarray(times)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("shape", SHAPES)
def test_the_residual_of_the_true_density_is_zero(shape):
    """The authors' code lacks the D of div f, and the residual of the truth is then −½ β D."""
    x, t = points(50, *shape)
    found = jax.jit(jax.vmap(lambda x, t: FokkerPlanck(truth(*shape), SCHEDULE).exact(x, t).first))(x, t)
    without = 0.5 * SCHEDULE.beta(t) * np.prod(shape)
    np.testing.assert_array_less(np.abs(found), 1e-9 * without)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("estimator", ["hutchinson", "weak"])
def test_the_probes_leave_the_residual_of_the_true_density_at_zero_in_the_mean(estimator: Estimator):
    x, t = jnp.array([0.7, -0.3]), jnp.asarray(0.2)
    keys = jax.random.split(jax.random.key(0), KEYS)
    equation = FokkerPlanck(truth(2), SCHEDULE)
    found = jax.jit(jax.vmap(lambda key: equation.estimate(estimator, x, t, key)))(keys)
    assert deviation(found.first, 0) < 4
    assert deviation(found.first * found.second, 0) < 4


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_flat_density_leaves_the_divergence_of_the_drift(estimator: Estimator):
    """s = 0, so R = ½ β D: at t = ½, where β = 10.05, three beads make 9 × 5.025."""

    @jax.jit
    def of_flat(x, t):
        return FokkerPlanck(lambda x, t: 0 * x.sum(), SCHEDULE).estimate(estimator, x, t, jax.random.key(0))

    flat = of_flat(jnp.ones((3, 3)), jnp.asarray(0.5))
    np.testing.assert_allclose(flat.first, 45.225, rtol=1e-6)
    np.testing.assert_allclose(flat.second, 45.225, rtol=1e-6)


def by_differences(log_density, x: jax.Array, t: jax.Array, h: float = 1e-4) -> jax.Array:
    """R with every derivative of log p from central differences."""
    steps = h * jnp.eye(x.size).reshape(x.size, *x.shape)
    value = log_density(x, t)
    ahead, behind = (jax.vmap(log_density, in_axes=(0, None))(x + sign * steps, t) for sign in (1, -1))
    score = ((ahead - behind) / (2 * h)).reshape(x.shape)
    divergence = jnp.sum(ahead - 2 * value + behind) / h**2
    derivative = (log_density(x, t + h / 10) - log_density(x, t - h / 10)) / (h / 5)
    drift = divergence + jnp.sum(score**2) + jnp.sum(x * score) + x.size
    return 0.5 * SCHEDULE.beta(t) * drift - derivative


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("shape", "config"), [((2,), PLAIN), ((2, 3), PRECONDITIONED)])
def test_the_residual_of_a_network_is_that_of_finite_differences(shape, config):
    log_density = network(*shape, config=config)
    x, t = points(20, *shape)
    found = jax.jit(jax.vmap(lambda x, t: FokkerPlanck(log_density, SCHEDULE).exact(x, t)))(x, t)
    expected = jax.jit(jax.vmap(lambda x, t: by_differences(log_density, x, t)))(x, t)
    # Second differences round at 1e-16/h² = 1e-8 of log p, times ½ β ≤ 10.
    np.testing.assert_allclose(found.first, expected, rtol=1e-6, atol=1e-5)
    np.testing.assert_array_equal(found.first, found.second)


def test_every_estimator_returns_the_score_at_x():
    log_density, x, t = network(2, 3), jnp.ones((2, 3)), jnp.asarray(0.3)

    @jax.jit
    def scores(x, t):
        found = [FokkerPlanck(log_density, SCHEDULE).estimate(e, x, t, jax.random.key(0)) for e in ESTIMATORS]
        return [each.score for each in found], jax.grad(log_density)(x, t)

    found, expected = scores(x, t)
    for score in found:
        np.testing.assert_allclose(score, expected, rtol=1e-5, atol=1e-6)


@pytest.fixture
def exact_time_derivative(monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of the finite difference of `weak`, so that nothing but its divergence is estimated."""

    def derivative(log_density, x, t, value):
        return jax.grad(log_density, argnums=1)(x, t)

    monkeypatch.setattr(residual, "_finite_difference", derivative)


def waves(x: jax.Array, t: jax.Array) -> jax.Array:
    """A log-density with much curvature, also across coordinates."""
    return (1 + t) * jnp.sin(3 * x).sum() + jnp.sin(2 * x.sum()) - 0.5 * jnp.cos(t) * jnp.sum(x * x)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("shape", SHAPES)
def test_hutchinsons_estimate_is_unbiased_for_the_exact_residual(shape):
    x, t = 0.3 * jnp.ones(shape), jnp.asarray(0.3)
    keys = jax.random.split(jax.random.key(3), KEYS)
    found = jax.jit(jax.vmap(lambda key: FokkerPlanck(waves, SCHEDULE).hutchinson(x, t, key)))(keys)
    true = FokkerPlanck(waves, SCHEDULE).exact(x, t).first
    assert deviation(found.first, true) < 4
    assert deviation(found.second, true) < 4
    assert deviation(found.first * found.second, true**2) < 4
    # One probe for both would add its variance to the loss.
    assert deviation(found.first**2, true**2) > 10


@pytest.mark.usefixtures("float64", "exact_time_derivative")
@pytest.mark.parametrize("width", [1e-4, 0.3])
def test_the_weak_estimate_is_unbiased_for_the_mean_of_the_residual_around_x(width: float, monkeypatch):
    """Theorem 3.1. At the paper's width the mean is R(x) but for 1e-8, at the large one it is far from it."""
    monkeypatch.setattr(residual, "WEAK_WIDTH", width)
    x, t = jnp.array([0.5, 0.4]), jnp.asarray(0.3)
    keys = jax.random.split(jax.random.key(3), KEYS)
    found = jax.jit(jax.vmap(lambda key: FokkerPlanck(waves, SCHEDULE).weak(x, t, key)))(keys)
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)
    around = x + width * jnp.asarray(np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2))
    values = jax.vmap(lambda y: FokkerPlanck(waves, SCHEDULE).exact(y, t).first)(around)
    mean = np.outer(weights, weights).reshape(-1) @ np.asarray(values) / weights.sum() ** 2
    assert deviation(found.first, mean) < 4
    assert deviation(found.second, mean) < 4
    assert deviation(found.first * found.second, mean**2) < 4
    assert (deviation(found.first, FokkerPlanck(waves, SCHEDULE).exact(x, t).first) > 10) == (width == 0.3)


@pytest.mark.usefixtures("float64")
def test_the_time_derivative_of_weak_keeps_its_value_down_to_the_first_instant():
    """Clipped at t = 0, as in the authors' code, the steps give 0.67 and 0.73 of it at the first two."""

    @jax.jit
    @jax.vmap
    def derivative(t):
        flat = FokkerPlanck(lambda x, t: jnp.exp(3 * t) + 0 * x.sum(), SCHEDULE)
        found = flat.weak(jnp.zeros(2), t, jax.random.key(0))
        return SCHEDULE.beta(t) - found.first

    t = jnp.array([1e-5, 2e-4, 1e-3, 0.5])
    np.testing.assert_allclose(derivative(t), 3 * np.exp(3 * t), rtol=1e-5)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("config", [PLAIN, PRECONDITIONED])
def test_the_finite_difference_of_weak_steps_below_zero_with_either_network(config):
    """To second order: its error is h_s h_d/6 of the third derivative in t, and next to nothing else."""
    log_density, x = network(2, config=config), jnp.ones(2)

    @jax.jit
    @jax.vmap
    def three(t):
        difference = residual._finite_difference(log_density, x, t, log_density(x, t))
        true = jax.grad(log_density, argnums=1)(x, t)
        third = jax.grad(jax.grad(jax.grad(log_density, argnums=1), argnums=1), argnums=1)(x, t)
        return difference, true, third

    difference, true, third = three(jnp.array([1e-5, 5e-4, 2e-3]))
    np.testing.assert_allclose(difference - true, 1e-3 * 5e-4 / 6 * third, rtol=0.05)


@pytest.mark.usefixtures("exact_time_derivative")
def test_in_float32_weak_loses_the_digits_that_exact_keeps():
    """A difference of scores over 2 σ_v magnifies their rounding, 6e-8, by 1/σ_v = 1e4."""
    random = np.random.default_rng(4)
    x, t = random.normal(size=(200, 2)).astype(np.float32), random.uniform(1e-5, 0.1, 200).astype(np.float32)
    keys = jax.random.split(jax.random.key(1), 200)
    probes = np.asarray(jax.vmap(lambda key: jax.random.normal(jax.random.split(key)[0], (2,)))(keys))

    @jax.jit
    @jax.vmap
    def single(x, t, key):
        log_density = network(2, config=PLAIN)
        found = FokkerPlanck(log_density, SCHEDULE).weak(x, t, key)
        return FokkerPlanck(log_density, SCHEDULE).exact(x, t).first, found.first

    @jax.jit
    @jax.vmap
    def double(x, t, probe):
        """R(x), and R̃(v) of the first weak estimate's probe with vᵀ(∂s)v in place of the difference."""
        log_density = network(2, config=PLAIN)
        ahead = x + residual.WEAK_WIDTH * probe
        curvature = jax.hessian(log_density)(ahead, t)
        correction = probe @ curvature @ probe - jnp.trace(curvature)
        at_x, at_ahead = (FokkerPlanck(log_density, SCHEDULE).exact(y, t).first for y in (x, ahead))
        return at_x, at_ahead + 0.5 * SCHEDULE.beta(t) * correction

    found = [np.asarray(each) for each in single(x, t, keys)]
    with jax.enable_x64(True):
        true = [np.asarray(each) for each in double(*(a.astype(np.float64) for a in (x, t, probes)))]
    exact_error, weak_error = (
        np.sqrt(np.mean((a - b) ** 2) / np.mean(b**2)) for a, b in zip(found, true, strict=True)
    )
    assert exact_error < 1e-5
    assert weak_error > 5e-5


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_products_of_a_residual_are_taken_at_the_highest_precision(estimator: Estimator):
    """Also those of a log-density that does not ask for it."""
    weights = jnp.ones((4, 4))

    def log_density(x, t):
        return jnp.sum(jnp.tanh(weights @ (t * x)))

    def pinned(x, t):
        return FokkerPlanck(log_density, SCHEDULE).estimate(estimator, x, t, jax.random.key(0))

    x, t = jnp.ones(4), jnp.asarray(0.3)
    assert set(precisions(pinned, x, t)) == {"highest"}
    assert set(precisions(log_density, x, t)) == {"default"}
