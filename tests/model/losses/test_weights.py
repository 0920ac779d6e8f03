"""Weighted losses over biased frames have the minima of those over equilibrium, and their mean gradients."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fokker.model.config import ObjectiveConfig
from fokker.model.losses import weights
from fokker.model.losses.objective import draw, loss
from fokker.model.losses.weights import Bias, Biased, along
from fokker.model.molecules import torsion

from ..conftest import PLAIN, MixtureExpert, deviation, expert_config

BINS, BATCH, COUNT = 72, 128, 200
GRID = -np.pi + 2 * np.pi * np.arange(BINS) / BINS
TABLE = -2 * (1 + np.cos(GRID - 0.4))
"""V/kT of a bias that keeps its frames around φ = 0.4, where those of equilibrium hardly are."""
FOUR = jnp.arange(4)
CHAIN = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def truth() -> dict[str, np.ndarray]:
    """Four beads in two modes, at φ = −0.8 and 1.6."""
    last = [[np.cos(angle), np.sin(angle), 1.0] for angle in (0.8, -1.6)]
    means = np.stack([np.concatenate([CHAIN, [end]]).reshape(-1) for end in last])
    return {
        "log_weight": np.log([0.7, 0.3]),
        "mean": means,
        "axes": np.stack([np.eye(12)] * 2),
        "variance": np.full((2, 12), 0.06),
    }


def wrong() -> dict[str, np.ndarray]:
    parameters = truth()
    return parameters | {"log_weight": np.log([0.5, 0.5]), "mean": 0.9 * parameters["mean"]}


def bias_of(x) -> np.ndarray:
    angles = torsion(jnp.asarray(x), FOUR)
    return np.asarray(jax.vmap(partial(along, jnp.asarray(TABLE)))(angles))


def frames(biased: bool) -> tuple[np.ndarray, np.ndarray]:
    """Frames of equilibrium, or of the biased dynamics, and their log-weights."""
    random, own = np.random.default_rng(int(biased)), truth()
    count = 40 * COUNT * BATCH if biased else COUNT * BATCH
    mode = random.random(count) < 0.3
    x = own["mean"][mode.astype(int)] + np.sqrt(0.06) * random.normal(size=(count, 12))
    x = x.reshape(-1, 4, 3).astype(np.float32)
    if not biased:
        return x, np.zeros(count)
    bias = bias_of(x)
    kept = np.flatnonzero(random.random(count) < np.exp(-bias + TABLE.min()))[: COUNT * BATCH]
    assert len(kept) == COUNT * BATCH
    return x[kept], bias[kept] - np.log(np.mean(np.exp(bias[kept])))


EQUILIBRIUM, BIASED = frames(False), frames(True)


def gradients(parameters, data, table, *, weighted: bool = True, clf: bool = False, end: float = 0.05):
    """Of each batch, by all means and by the weight of the modes."""
    config = expert_config((0.0, end), midpoint=end / 2, consistency_weight=float(clf))
    expert = MixtureExpert(config, PLAIN, (4, 3))
    objective = ObjectiveConfig(consistency="diffclf", consistency_fraction=0.5, antithetic=True)
    x, log_weight = data
    rows = BATCH // 2
    batches = (
        jnp.asarray(x.reshape(2 * COUNT, rows, 4, 3)),
        jnp.asarray(log_weight.reshape(2 * COUNT, rows), jnp.float32),
        jax.random.split(jax.random.key(7), 2 * COUNT),
    )
    bias = Bias(jnp.arange(4)[None, None], jnp.asarray(table, jnp.float32)[None, None, None])

    def one(batch):
        x0, log_weights, key = batch
        none = jnp.zeros(rows, int)
        own = bias.rows(none, log_weights, none)
        x0, own = jax.tree.map(lambda a: jnp.repeat(a, 2, axis=0), (x0, own))
        drawn = draw(expert, objective, x0.shape, None, key, jnp.float32)

        def of(free):
            known = {**truth(), **free}
            biased = own if weighted else None
            return loss(known, expert, objective, x0, drawn, None, biased, regularised=clf)[0]

        free = {name: jnp.asarray(parameters[name], jnp.float32) for name in ("mean", "log_weight")}
        found = jax.grad(of)(free)
        return jnp.concatenate([found["mean"].reshape(-1), found["log_weight"]])

    return np.asarray(jax.jit(lambda rows: jax.lax.map(one, rows))(batches), np.float64)


def difference(first: np.ndarray, second: np.ndarray) -> float:
    """Of two means, in standard errors."""
    error = np.sqrt(sum(values.var(axis=0, ddof=1) / len(values) for values in (first, second)))
    return np.max(np.abs(first.mean(axis=0) - second.mean(axis=0)) / error)


@pytest.mark.parametrize("clf", [False, True])
def test_the_weight_of_the_frame_gives_the_mean_gradient_of_equilibrium(clf, monkeypatch):
    monkeypatch.setattr(weights, "NEAR", 0.0)
    of = partial(gradients, wrong(), clf=clf, end=0.25)
    equilibrium = of(EQUILIBRIUM, TABLE, weighted=False)
    assert difference(of(BIASED, TABLE), equilibrium) < 4.5
    assert difference(of(BIASED, TABLE, weighted=False), equilibrium) > 10


@pytest.mark.parametrize("clf", [False, True])
@pytest.mark.parametrize("near", [0.0, 10.0])
def test_the_truth_is_the_minimum_by_both_weights(near, clf, monkeypatch):
    monkeypatch.setattr(weights, "NEAR", near)
    exact = gradients(truth(), BIASED, TABLE, clf=clf)
    assert deviation(exact, 0.0) < 4.5
    assert deviation(gradients(truth(), BIASED, TABLE, weighted=False, clf=clf), 0.0) > 6


def test_a_relative_weight_is_that_of_the_frame_and_a_factor_of_the_noised_one(monkeypatch):
    """Which equilibrium with the factor alone has as well; with another table the weights are others."""
    monkeypatch.setattr(weights, "NEAR", 10.0)
    equilibrium = gradients(wrong(), EQUILIBRIUM, TABLE)
    assert difference(gradients(wrong(), BIASED, TABLE), equilibrium) < 4.5
    assert difference(gradients(wrong(), BIASED, 0 * TABLE), equilibrium) > 10


def test_only_small_noise_is_weighed_by_where_it_leads():
    x = jnp.asarray(BIASED[0][:3])
    own = Biased(jnp.asarray([0.1, 0.2, 0.3]), jnp.tile(FOUR, (3, 1, 1)), jnp.tile(TABLE, (3, 1, 1)))
    found = own.denoising_weight(x, jnp.asarray([0.001, 0.03, 0.0301]))
    there = bias_of(x)
    np.testing.assert_allclose(found[:2], np.exp([0.1, 0.2] - there[:2]), rtol=1e-5)
    np.testing.assert_allclose(found[2], own.weight()[2], rtol=1e-6)


def test_tables_are_periodic_and_linear_in_between():
    table = jnp.asarray([0.0, 1.0, 4.0, 2.0])
    angles = jnp.pi * jnp.asarray([-1, -0.75, 0, 0.5, 0.75, 1])
    np.testing.assert_allclose([along(table, a) for a in angles], [0, 0.5, 4, 2, 1, 0], atol=1e-6)


def test_torsions_and_walkers_that_others_have_add_nothing():
    """As tables of several systems are padded."""
    x = jnp.asarray(BIASED[0][:2])
    beads = jnp.zeros((2, 2, 4), int).at[:, 0].set(FOUR)
    tables = jnp.zeros((2, 2, BINS)).at[:, 0].set(TABLE)
    alone = Biased(jnp.zeros(2), beads[:, :1], tables[:, :1])
    sigma = jnp.zeros(2)
    np.testing.assert_array_equal(
        Biased(jnp.zeros(2), beads, tables).denoising_weight(x, sigma), alone.denoising_weight(x, sigma)
    )
