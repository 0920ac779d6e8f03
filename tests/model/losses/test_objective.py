from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import kstest

from fokker.model.config import Estimator, ObjectiveConfig
from fokker.model.diffusion.schedule import NoiseSchedule
from fokker.model.experts import Expert
from fokker.model.losses.objective import denoising_weight, draw, draw_times

from ..conftest import PLAIN, MixtureExpert, deviation, expert_config, loss_of, make_expert, random_parameters

EXACT = ObjectiveConfig(estimator="exact")


@pytest.mark.parametrize(
    ("interval", "midpoint"), [((0.0, 1.0), 0.3), ((0.0, 0.1), 0.05), ((0.1, 0.6), 0.35), ((0.6, 1.0), 0.8)]
)
def test_both_sides_of_the_midpoint_have_half_of_the_weight_of_the_interval(interval, midpoint):
    def weight(t: float) -> float:
        return float(denoising_weight(jnp.array([t]), interval, midpoint)[0])

    (a, b), half = interval, (interval[1] - interval[0]) / 2
    assert quad(weight, a, midpoint)[0] == pytest.approx(half, rel=1e-6)
    assert quad(weight, midpoint, b)[0] == pytest.approx(half, rel=1e-6)


def test_the_weight_jumps_at_the_midpoint():
    """By hand: 1/(2 · 0.3) up to 0.3 and 1/(2 · 0.7) after it."""
    weights = denoising_weight(jnp.array([0.0, 0.3, 0.31, 1.0]), (0.0, 1.0), 0.3)
    np.testing.assert_allclose(weights, [5 / 3, 5 / 3, 5 / 7, 5 / 7], rtol=1e-6)


def test_the_denoising_loss_of_a_gaussian_score_is_its_expectation():
    """For data N(μ, v) and the score of N(μ, u), the error of one coordinate is at time t in the mean

    E (σ s + ε)² = 1 − 2 σ²/U + σ² V/U², with V = α² v + σ² the variance of x_t, and U = α² u + σ².
    """
    believed = np.array([0.2, 0.5, 1, 2, 0.1, 0.7])
    mean, spread = np.linspace(-1, 1, 6), np.linspace(0.3, 1.3, 6)
    config = expert_config((0.1, 0.6), midpoint=0.2)
    expert = MixtureExpert(config, PLAIN, (2, 3))
    parameters = {
        "log_weight": np.zeros(1),
        "mean": mean[None],
        "axes": np.eye(6)[None],
        "variance": believed[None],
    }

    def expected(t: float) -> float:
        signal = np.exp(-0.1 * t - 9.95 * t**2)
        noise = 1 - signal
        thought = signal * believed + noise
        errors = 1 - 2 * noise / thought + noise * (signal * spread**2 + noise) / thought**2
        return (0.5 / 0.2 if t <= 0.2 else 0.5 / 0.8) * errors.mean()

    @jax.jit
    @jax.vmap
    def losses(key):
        data_key, key = jax.random.split(key)
        x0 = jnp.reshape(mean + spread * jax.random.normal(data_key, (256, 6)), (256, 2, 3))
        return loss_of(parameters, expert, EXACT, x0, key, regularised=False)[1].denoising

    total = quad(expected, 0.1, 0.2)[0] + quad(expected, 0.2, 0.6)[0]
    assert deviation(losses(jax.random.split(jax.random.key(0), 400)), total / 0.5) < 4


class Fenced(Expert):
    """A score of 1/100 between the times `low` and `high`, else infinite."""

    def score(self, parameters, x, t, molecule=None):
        inside = (parameters["low"] <= t) & (t <= parameters["high"])
        return jnp.where(inside, jnp.full_like(x, 0.01), jnp.inf)


@pytest.mark.parametrize(
    "changes",
    [
        {"interval": (0, 0.1), "train_interval": (1e-5, 0.095)},
        {"interval": (0.1, 0.6), "train_interval": (0.095, 0.6)},
        {"interval": (0.6, 1)},
    ],
)
def test_times_are_drawn_from_the_whole_training_interval_and_from_nowhere_else(changes):
    config = expert_config(**changes)
    first, last = config.times

    def denoising(low: float, high: float) -> float:
        parameters = {"low": jnp.asarray(low), "high": jnp.asarray(high)}
        expert = Fenced(config, PLAIN, (2,))
        total, _ = loss_of(
            parameters, expert, EXACT, jnp.zeros((4096, 2)), jax.random.key(0), regularised=False
        )
        return float(total)

    near = 0.005 * (last - first)
    assert np.isfinite(denoising(first, last))
    assert np.isinf(denoising(first + near, last))
    assert np.isinf(denoising(first, last - near))


def small(**changes) -> Expert:
    return make_expert(2, **{"hidden": (8,), "interval": (0, 0.1), "midpoint": 0.05} | changes)


@pytest.mark.parametrize("by_sigma", [0.0, 0.25])
def test_the_residual_on_a_fraction_of_the_batch_has_the_same_mean(by_sigma: float):
    """Also where some of the times are drawn in log σ: then the fraction must hold its share of them."""
    expert = small()
    parameters = random_parameters(expert)

    @jax.jit
    @jax.vmap
    def parts(key):
        data_key, key = jax.random.split(key)
        x0 = jax.random.normal(data_key, (8, 2))
        whole = ObjectiveConfig(estimator="hutchinson", log_sigma_fraction=by_sigma)
        configs = (replace(whole, consistency_fraction=0.25), whole)
        return [loss_of(parameters, expert, each, x0, key, regularised=True)[1] for each in configs]

    quarter, whole = parts(jax.random.split(jax.random.key(1), 4000))
    assert deviation(quarter.consistency - whole.consistency, 0) < 4
    assert np.std(quarter.consistency) > 1.5 * np.std(whole.consistency), "of fewer terms"
    np.testing.assert_allclose(quarter.denoising, whole.denoising, rtol=1e-4)


def test_the_residual_is_weighed_like_the_denoising_and_taken_per_squared_dimension():
    """A flat log-density has R = ½ β D, whatever x; the weight is 2.5 up to t = 0.02 and 0.625 from there."""
    expert = small(midpoint=0.02)
    flat = jax.tree.map(jnp.zeros_like, random_parameters(expert))

    @jax.jit
    @jax.vmap
    def residuals(key):
        return loss_of(flat, expert, EXACT, jnp.ones((256, 2)), key, regularised=True)[1].consistency

    found = residuals(jax.random.split(jax.random.key(0), 200))
    early, late = (
        quad(lambda t: 0.25 * (0.1 + 19.9 * t) ** 2, *ends)[0] for ends in ((0, 0.02), (0.02, 0.1))
    )
    expected = (2.5 * early + 0.625 * late) / 0.1
    assert deviation(found, expected) < 4


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("estimator", ["weak", "exact"])
def test_the_loss_is_its_parts_and_its_gradient_that_of_both(estimator: Estimator):
    """The gradient along one random direction of the parameters against a difference of losses."""
    expert = small(consistency_weight=0.3)
    parameters, direction = random_parameters(expert), random_parameters(expert, seed=1)
    x0 = jnp.asarray(np.random.default_rng(0).normal(size=(8, 2)))
    config = ObjectiveConfig(estimator=estimator, consistency_fraction=0.5)

    def losses(step):
        moved = jax.tree.map(lambda p, d: p + step * d, parameters, direction)
        return loss_of(moved, expert, config, x0, jax.random.key(0), regularised=True)

    values_and_slopes = jax.jit(lambda step: jax.jvp(losses, (step,), (jnp.ones(()),)))
    (total, parts), (_, slopes) = values_and_slopes(jnp.zeros(()))
    np.testing.assert_allclose(total, parts.denoising + 0.3 * parts.consistency, rtol=1e-12)
    ahead, behind = (values_and_slopes(jnp.asarray(step))[0][1] for step in (1e-5, -1e-5))
    for slope, a, b in zip(slopes, ahead, behind, strict=True):
        np.testing.assert_allclose(slope, (a - b) / 2e-5, rtol=1e-6)
        assert abs(slope) > 1e-3


def test_without_regularisation_there_is_no_residual_and_the_same_denoising():
    expert = small(consistency_weight=0.3)
    parameters, x0 = random_parameters(expert), jnp.ones((8, 2))

    @jax.jit
    def both(key):
        return [loss_of(parameters, expert, EXACT, x0, key, regularised=r) for r in (False, True)]

    (plain, without), (_, regularised) = both(jax.random.key(0))
    assert without.consistency == 0
    assert plain == without.denoising
    assert regularised.consistency != 0
    np.testing.assert_allclose(without.denoising, regularised.denoising, rtol=1e-5)


def test_antithetic_rows_are_the_two_of_one_frame():
    drawn = draw(small(), replace(EXACT, antithetic=True), (8, 2), None, jax.random.key(0))
    first, second = (jax.tree.map(lambda a, k=k: np.asarray(a)[k::2], drawn[:3]) for k in (0, 1))
    np.testing.assert_array_equal(second[0], first[0])
    np.testing.assert_array_equal(second[1], first[1])
    np.testing.assert_array_equal(second[2], -first[2])
    assert len(set(first[0].tolist())) == 4


def test_antithetic_noise_gives_the_same_gradient_with_less_noise():
    """The fewer the smaller σ is: the noise of the targets is what cancels."""
    expert = small(interval=(0, 0.001), midpoint=0.0005)
    parameters, direction = random_parameters(expert), random_parameters(expert, seed=1)

    @jax.jit
    @jax.vmap
    def slopes(key):
        data_key, key = jax.random.split(key)
        frames = jax.random.normal(data_key, (8, 2))
        pairs = jnp.repeat(frames[:4], 2, axis=0)

        def slope(config: ObjectiveConfig, x0):
            def of(step):
                moved = jax.tree.map(lambda p, d: p + step * d, parameters, direction)
                return loss_of(moved, expert, config, x0, key, regularised=False)[0]

            return jax.grad(of)(0.0)

        return slope(EXACT, frames), slope(replace(EXACT, antithetic=True), pairs)

    plain, antithetic = map(np.asarray, slopes(jax.random.split(jax.random.key(1), 4000)))
    assert deviation(antithetic - plain, 0) < 4
    assert np.std(antithetic) < 0.3 * np.std(plain)


def test_a_batch_of_pairs_is_never_parted_within_one():
    whole = ObjectiveConfig(antithetic=True)
    assert whole.rows(8) == 16
    assert [parts for parts in range(1, 17) if whole.divides(8, parts)] == [1, 2, 4, 8]
    quarter = replace(whole, consistency_fraction=0.25)
    assert [parts for parts in range(1, 17) if quarter.divides(8, parts)] == [1, 2, 4]


def test_at_least_one_configuration_is_regularised():
    expert = small()
    config = replace(EXACT, consistency_fraction=1e-3)
    take = jax.jit(lambda p, x, key: loss_of(p, expert, config, x, key, regularised=True)[1].consistency)
    assert take(random_parameters(expert), jnp.ones((8, 2)), jax.random.key(0)) != 0


@pytest.mark.parametrize("fraction", [0.25, 0.75])
def test_times_drawn_in_log_sigma_give_the_means_of_uniform_ones(fraction: float):
    """Weighed, the mean of any function of t is its mean over the interval; no weight is above 1/(1 − f)."""
    ends = (1e-5, 0.1)
    functions = (np.sqrt, lambda t: 1 / (t + 1e-3), lambda t: t > 0.05)

    @jax.jit
    @jax.vmap
    def draws(key):
        return draw_times(key, 64, ends, fraction, NoiseSchedule())

    t, weight = (np.asarray(part, np.float64) for part in draws(jax.random.split(jax.random.key(0), 2000)))
    assert ends[0] * 0.99 <= t.min() <= t.max() <= ends[1] * 1.01
    assert 0 < weight.max() <= 1 / (1 - fraction) + 1e-4
    assert (t < 1e-3).mean() > 0.15 * fraction, "that is what they are for"
    for function in functions:
        expected = quad(lambda t, f=function: float(f(t)), *ends, points=[0.05])[0] / (ends[1] - ends[0])
        assert deviation((weight * function(t)).mean(axis=1), expected) < 4


def test_times_drawn_in_log_sigma_alone_are_uniform_in_it():
    schedule, ends = NoiseSchedule(), (0.1, 0.6)
    t, _ = draw_times(jax.random.key(0), 4000, ends, 1.0, schedule)
    log_sigma = np.log(schedule.sigma(t))
    first, last = np.log(schedule.sigma(jnp.asarray(ends)))
    assert kstest((log_sigma - first) / (last - first), "uniform").pvalue > 1e-3


def test_every_place_of_a_batch_gets_times_of_the_mixture():
    """Below 0.001 lie a hundredth of the uniform times and more of those in log σ, 0.25 of all."""
    ends, schedule = (1e-5, 0.1), NoiseSchedule()
    keys = jax.random.split(jax.random.key(0), 4000)
    t, weight = jax.jit(jax.vmap(lambda key: draw_times(key, 8, ends, 0.25, schedule)))(keys)
    first, edge, last = np.log(schedule.sigma(jnp.asarray([ends[0], 1e-3, ends[1]])))
    share = 0.25 * (edge - first) / (last - first) + 0.75 * (1e-3 - ends[0]) / (ends[1] - ends[0])
    assert np.max(deviation(t < 1e-3, share)) < 4
    assert deviation(weight, 1) < 4


def test_times_are_uniform_and_weigh_the_same_unless_it_is_said():
    t, weight = draw_times(jax.random.key(0), 4000, (0.1, 0.6), 0.0, NoiseSchedule())
    assert kstest((t - 0.1) / 0.5, "uniform").pvalue > 1e-3
    assert (weight == 1).all()
