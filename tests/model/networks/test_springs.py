"""Springs are the closed form of the density that they stand for, whatever the padding and the noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fokker.model.config import GraphTransformerConfig
from fokker.model.diffusion.schedule import NoiseSchedule
from fokker.model.experts import Expert
from fokker.model.losses.residual import FokkerPlanck
from fokker.model.molecules import Molecule
from fokker.model.networks.springs import REACH, Springs, log_density

from ..conftest import expert_config, random_parameters

SCHEDULE = NoiseSchedule()
ANGLE = Springs(
    bonds=jnp.array([[0, 1], [1, 2]]),
    lengths=jnp.array([1.4, 1.5]),
    length_variances=jnp.array([0.03, 0.04]) ** 2,
    angles=jnp.array([[0, 1, 2]]),
    cosines=jnp.array([-0.4]),
    cosine_variances=jnp.array([0.05]) ** 2,
    angle_noise=jnp.array([1.3]),
)
X = jnp.array([[1.45, 0.1, 0.0], [0.0, 0.0, 0.2], [-0.5, 1.4, 0.1]])


def padded(springs: Springs) -> Springs:
    """With a bond and an angle that hold nothing."""
    extra = {
        "bonds": jnp.zeros((1, 2), jnp.int32),
        "angles": jnp.zeros((1, 3), jnp.int32),
        "length_variances": jnp.full(1, jnp.inf),
        "cosine_variances": jnp.full(1, jnp.inf),
    }
    parts = springs._asdict()
    return Springs(*(jnp.concatenate([parts[k], extra.get(k, jnp.zeros(1))]) for k in parts))


@pytest.mark.parametrize("t", [1e-5, 1e-3, 0.05, 0.6])
def test_it_is_harmonic_in_lengths_and_cosines_of_the_scaled_positions(t: float):
    alpha, variance = float(SCHEDULE.alpha(jnp.asarray(t))), float(SCHEDULE.variance(jnp.asarray(t)))
    y, relative = np.asarray(X) / alpha, variance / alpha**2
    one, other = y[0] - y[1], y[2] - y[1]
    lengths = np.linalg.norm(one), np.linalg.norm(other)
    energy = (lengths[0] - 1.4) ** 2 / (0.03**2 + 2 * relative)
    energy += (lengths[1] - 1.5) ** 2 / (0.04**2 + 2 * relative)
    energy += (one @ other / lengths[0] / lengths[1] + 0.4) ** 2 / (0.05**2 + 1.3 * relative)
    widths = alpha**2 * np.array([0.03, 0.04, 0.05]) ** 2 + variance * np.array([2, 2, 1.3])
    expected = -0.5 * (energy / (1 + variance / REACH**2) ** 2 + np.log(widths).sum())
    assert float(log_density(ANGLE, SCHEDULE, X, jnp.asarray(t))) == pytest.approx(expected, rel=1e-4)


def test_it_has_the_shape_of_the_density_of_noised_bonds(float64: None):
    """Where noise is as wide as the bond, a chain of two has nearly the score that it should have."""
    schedule, t = NoiseSchedule(), jnp.asarray(1e-3)
    sigma, alpha, random = float(schedule.sigma(t)), float(schedule.alpha(t)), np.random.default_rng(0)
    vectors = random.normal(size=(400_000, 3))
    vectors *= (1.5 + sigma * random.normal(size=(len(vectors), 1))) / np.linalg.norm(
        vectors, axis=1, keepdims=True
    )
    noised = alpha * vectors + sigma * np.sqrt(2) * random.normal(size=vectors.shape)
    lengths = np.linalg.norm(noised, axis=1)
    pair = jax.tree.map(lambda part: part[:0], ANGLE)._replace(
        bonds=ANGLE.bonds[:1], lengths=jnp.array([1.5]), length_variances=jnp.array([sigma**2])
    )
    grid = 1.5 * alpha + np.linspace(-2, 2, 9) * lengths.std()
    density = np.array([np.mean(np.abs(lengths - r) < 0.1 * lengths.std()) / r**2 for r in grid])
    given = np.array([float(log_density(pair, schedule, jnp.array([[0, 0, 0], [0, 0, r]]), t)) for r in grid])
    fade = (1 + sigma**2 / REACH**2) ** 2
    np.testing.assert_allclose(np.log(density / density[4]), fade * (given - given[4]), atol=0.1)


def test_padding_pulls_at_nothing():
    for t in (1e-5, 0.5):
        plain, more = (
            jax.value_and_grad(lambda x, s=s, t=t: log_density(s, SCHEDULE, x, jnp.asarray(t)))(X)
            for s in (ANGLE, padded(ANGLE))
        )
        assert float(more[0]) == pytest.approx(float(plain[0]), rel=1e-6)
        np.testing.assert_allclose(more[1], plain[1], rtol=1e-5)
    hessian = jax.hessian(lambda x: log_density(padded(ANGLE), SCHEDULE, x, jnp.asarray(1e-4)))(X)
    assert np.isfinite(hessian).all()


def test_they_fade_before_the_noise_bends_them():
    def pull(t: float) -> float:
        gradient = jax.grad(lambda x: log_density(ANGLE, SCHEDULE, x, jnp.asarray(t)))(X)
        return float(jnp.linalg.norm(gradient))

    pulls = [pull(t) for t in (1e-5, 0.02, 0.1, 0.9)]
    assert pulls == sorted(pulls, reverse=True)
    assert pulls[2] < 1e-2 * pulls[0]
    assert pulls[3] < 1e-3 * pulls[0]


def test_their_normalisation_is_that_of_the_fokker_planck_equation(float64: None):
    """A stiff bond: what is left of the residual is small beside what the missing logarithm would leave."""
    pair = jax.tree.map(lambda part: part[:0], ANGLE)._replace(
        bonds=ANGLE.bonds[:1], lengths=jnp.array([1.5]), length_variances=jnp.array([0.03**2])
    )
    t = jnp.asarray(1e-3)

    def given(x, t):  # The other five coordinates as of a standard normal density.
        axis = (x[1] - x[0]) / jnp.linalg.norm(x[1] - x[0]) / jnp.sqrt(2)
        along = jnp.vdot(axis, x[1] - x[0])
        return log_density(pair, SCHEDULE, x, t) - 0.5 * (jnp.sum(x**2) - along**2)

    x = jnp.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.5 * float(SCHEDULE.alpha(t))]])
    residual = float(FokkerPlanck(given, SCHEDULE).exact(x, t).first)
    missing = float(jax.grad(lambda t: log_density(pair, SCHEDULE, x, t))(t))
    assert abs(residual) < 0.1 * abs(missing)


@pytest.mark.parametrize("conservative", [True, False])
def test_an_expert_adds_them_to_what_it_learns(conservative: bool):
    network = GraphTransformerConfig(precondition=True, heads=2, head_width=4, springs=True)
    expert = Expert(expert_config(hidden=(8,), conservative=conservative), network, (3, 3))
    bare = Expert(expert.config, GraphTransformerConfig(precondition=True, heads=2, head_width=4), (3, 3))
    molecule = Molecule(jnp.zeros((3, 4), jnp.int32), jnp.ones(3, bool), ANGLE)
    weights, t = random_parameters(expert), jnp.asarray(1e-3)
    difference = expert.score(weights, X, t, molecule) - bare.score(weights, X, t, molecule)
    pull = jax.grad(lambda x: log_density(ANGLE, expert.schedule, x, t))(X)
    np.testing.assert_allclose(difference, pull, rtol=1e-3, atol=1e-3 * float(jnp.abs(pull).max()))
    with pytest.raises(ValueError, match=r"network.springs needs molecules with springs"):
        expert.score(weights, X, t, molecule._replace(springs=None))
