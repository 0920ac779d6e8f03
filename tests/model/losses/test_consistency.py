"""Every term is zero, or smallest, for an exact density, and is not for another one."""

from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fokker.model.config import Consistency, MLPConfig, ObjectiveConfig
from fokker.model.diffusion.schedule import NoiseSchedule
from fokker.model.losses.consistency import NEIGHBOUR, consistency, diffclf, neighbours, rne
from fokker.model.losses.residual import FokkerPlanck

from ..conftest import MixtureExpert, deviation, expert_config, mixture

SCHEDULE = NoiseSchedule()
DATA = mixture(3, 3)
EXPERT = MixtureExpert(expert_config((0, 0.1)), MLPConfig(bond_width=0.3), (3,))


def noised(count: int, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Configurations of the mixture at times of which every scale of noise has its share."""
    keys = jax.random.split(key, 4)
    component = jax.random.categorical(keys[0], jnp.asarray(DATA["log_weight"]), shape=(count,))
    along = jnp.sqrt(jnp.asarray(DATA["variance"]))[component] * jax.random.normal(keys[1], (count, 3))
    x0 = jnp.asarray(DATA["mean"])[component] + jnp.einsum(
        "bij,bj->bi", jnp.asarray(DATA["axes"])[component], along
    )
    t = jnp.exp(jax.random.uniform(keys[2], (count,), minval=np.log(1e-3), maxval=np.log(0.1)))
    alpha, sigma = SCHEDULE.alpha(t)[:, None], SCHEDULE.sigma(t)[:, None]
    return alpha * x0 + sigma * jax.random.normal(keys[3], x0.shape), t


class Wrong(MixtureExpert):
    """Modes whose weights change with the noise, as they do where a network is blind to them."""

    def log_density(self, parameters, x, t, molecule=None):
        moved = parameters["log_weight"] + 16 * t * jnp.array([1.0, -1.0, 0.0])
        return super().log_density({**parameters, "log_weight": moved}, x, t)


@pytest.mark.parametrize("term", get_args(Consistency))
def test_a_term_is_smaller_for_the_exact_density(float64: None, term: Consistency):
    config, weight = ObjectiveConfig(consistency=term), jnp.ones(512)

    def value(kind: type[MixtureExpert], key: jax.Array):
        x, t = noised(512, key)
        expert = kind(EXPERT.config, EXPERT.network, (3,))
        return consistency(
            DATA, expert, config, x, t, None, weight, jax.random.split(key, 512), t[neighbours(t)]
        )[0]

    keys = jax.random.split(jax.random.key(0), 40)
    right, wrong = (
        jax.jit(jax.vmap(lambda key, kind=kind: value(kind, key)))(keys) for kind in (MixtureExpert, Wrong)
    )
    assert deviation(wrong - right, 0) > 4
    assert np.mean(wrong) > np.mean(right)
    if term == "fokker-planck":
        assert np.abs(right).max() < 1e-12
    elif term == "rne":
        assert deviation(right, 0) < 4, "two independent estimates of nothing"


@pytest.mark.parametrize("term", get_args(Consistency))
def test_a_term_gives_the_scores_as_well(float64: None, term: Consistency):
    x, t = noised(64, jax.random.key(1))
    config = ObjectiveConfig(consistency=term)
    probes = jax.random.split(jax.random.key(2), 64)
    _, scores = consistency(DATA, EXPERT, config, x, t, None, jnp.ones(64), probes, t[neighbours(t)])
    expected = jax.vmap(lambda y, s: EXPERT.score(DATA, y, s))(x, t)
    np.testing.assert_allclose(scores, expected, rtol=1e-10)


def test_rne_of_the_standard_normal_is_zero_for_any_step(float64: None):
    for t in (1e-4, 0.05, 0.9):
        found = rne(
            lambda x, t: -0.5 * jnp.sum(x**2),
            SCHEDULE,
            jnp.array([1.0, -2.0, 0.5]),
            jnp.asarray(t),
            jax.random.key(0),
            lambda key: jax.random.normal(key, (3,)),
            0.3,
        )
        assert abs(found.first) < 1e-6
        assert abs(found.second) < 1e-6


@pytest.mark.parametrize("expert", [EXPERT, Wrong(EXPERT.config, EXPERT.network, (3,))])
def test_the_mean_of_rne_is_the_residual(float64: None, expert: MixtureExpert):
    x, t = jnp.array([0.3, -0.4, 0.8]), jnp.asarray(0.02)

    def log_density(y, s):
        return expert.log_density(DATA, y, s)

    def draw(key):
        return jax.random.normal(key, (3,))

    keys = jax.random.split(jax.random.key(3), 20_000)
    found = jax.jit(jax.vmap(lambda key: rne(log_density, SCHEDULE, x, t, key, draw, 0.3)))(keys)
    truth = float(FokkerPlanck(log_density, SCHEDULE).exact(x, t).first)
    scale = float(jnp.std(found.first))
    # The step is finite, and what it leaves is small beside the noise of one estimate.
    assert abs(float(jnp.mean(found.first)) - truth) < 0.05 * (scale + abs(truth))
    assert abs(float(jnp.mean(found.second)) - truth) < 0.05 * (scale + abs(truth))
    assert abs(np.corrcoef(found.first, found.second)[0, 1]) < 0.03


def test_pairs_of_levels_are_mutual_and_apart_by_a_part_of_the_batch():
    t = jax.random.uniform(jax.random.key(0), (64,))
    other = np.asarray(neighbours(t))
    np.testing.assert_array_equal(other[other], np.arange(64))
    rank = np.argsort(np.argsort(t))
    assert set(np.abs(rank[other] - rank)) == {round(NEIGHBOUR * 64)}
    odd = np.asarray(neighbours(t[:44]))
    np.testing.assert_array_equal(odd[odd], np.arange(44))
    assert 0 < np.sum(odd == np.arange(44)) <= 8


def test_the_classification_has_the_loss_of_a_classifier():
    p, q = np.array([0.2, 3.0]), np.array([0.6, 1.0])
    expected = -np.log(p / (p + q))
    np.testing.assert_allclose(diffclf(jnp.log(p), jnp.log(q)), expected, rtol=1e-6)
