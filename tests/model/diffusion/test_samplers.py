from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fokker.model.config import SampleConfig, Solver
from fokker.model.diffusion.samplers import euler_maruyama, sample
from fokker.model.diffusion.schedule import NoiseSchedule
from fokker.model.experts import Expert, gate

from ..conftest import INTERVALS, PLAIN, MixtureExpert, deviation, expert_config, mixture

SAMPLES = 40_000
FINAL_TIME = 1e-4
TRUTH = mixture(3, 1, seed=5)  # One Gaussian, with axes of its own and a mean away from zero.


class ExactExpert(MixtureExpert):
    """The exact score within its interval, and no number outside of it."""

    def score(self, parameters, x, t, molecule=None):
        start, end = self.config.interval
        mine = (t >= start) & ((t < end) | (end == 1))
        return jnp.where(mine, super().score(parameters, x, t), jnp.nan)


EXPERTS = [ExactExpert(expert_config(interval), PLAIN, (1, 3)) for interval in INTERVALS]


def config(solver: Solver, evaluations: int) -> SampleConfig:
    # Euler-Maruyama takes no step from its last point.
    points = evaluations + (solver == "euler-maruyama")
    return SampleConfig(solver=solver, evaluations=points, final_time=FINAL_TIME)


@cache
def errors(solver: Solver, evaluations: int) -> tuple[np.ndarray, np.ndarray]:
    """Errors of mean and covariance, in coordinates in which the truth is a standard normal."""

    @jax.jit
    def draw(key):
        return sample(EXPERTS, [TRUTH] * 3, config(solver, evaluations), key, SAMPLES)

    x = np.asarray(draw(jax.random.key(0)), np.float64)
    assert x.shape == (SAMPLES, 1, 3)
    white = (x.reshape(-1, 3) - TRUTH["mean"][0]) @ TRUTH["axes"][0] / np.sqrt(TRUTH["variance"][0])
    return white.mean(axis=0), np.cov(white.T) - np.eye(3)


# On a Gaussian a step is a linear map, so that the errors of the moments are known: for this truth and
# n ≥ 25 evaluations they are below 2.5/n (Euler-Maruyama) and 48/n² (DPM-Solver).
BOUNDS: dict[Solver, Callable[[int], float]] = {
    "euler-maruyama": lambda n: 2.5 / n,
    "dpm-solver": lambda n: 48 / n**2,
}
MEAN_ERROR, VARIANCE_ERROR = np.sqrt(1 / SAMPLES), np.sqrt(2 / SAMPLES)
COARSE = 25
FINE: dict[Solver, int] = {"euler-maruyama": 200, "dpm-solver": 100}


@pytest.mark.parametrize("solver", BOUNDS)
def test_a_gaussian_of_three_experts_is_reproduced(solver: Solver):
    """Within four standard errors and the discretisation, from evaluations by the right expert only."""
    for evaluations in (COARSE, FINE[solver]):
        mean, covariance = errors(solver, evaluations)
        assert np.abs(mean).max() < 4 * MEAN_ERROR + BOUNDS[solver](evaluations)
        assert np.abs(covariance).max() < 4 * VARIANCE_ERROR + BOUNDS[solver](evaluations)


@pytest.mark.parametrize(("solver", "order"), [("euler-maruyama", 1), ("dpm-solver", 2)])
def test_the_error_falls_with_the_order_of_the_solver(solver: Solver, order: int):
    coarse, fine = (np.diag(errors(solver, n)[1]).mean() for n in (COARSE, FINE[solver]))
    statistics = 4 * VARIANCE_ERROR / np.sqrt(3)
    assert coarse > 2 * statistics
    assert abs(fine) < 1.5 * coarse * (COARSE / FINE[solver]) ** order + statistics


class Normal(Expert):
    def score(self, parameters, x, t, molecule=None):
        return -x


def test_two_steps_of_euler_maruyama_by_hand():
    """dt = ½, βdt = 10 and 5.025: a step is x (1 − βdt/2), as s = −x, and noise of variance βdt."""
    expert = Normal(expert_config(), PLAIN, (1,))
    steps = jax.jit(lambda x, key: euler_maruyama([expert], [{}], x, key, 3))
    x = np.asarray(steps(jnp.ones((SAMPLES, 1)), jax.random.key(0)), np.float64)
    mean, variance = -4 * -1.5125, 10 * 1.5125**2 + 5.025
    assert deviation(x, mean) < 4
    assert deviation((x - mean) ** 2, variance) < 4


@dataclass(frozen=True)
class Recorder(Expert):
    """The score of a standard normal, which notes the times at which it is evaluated."""

    seen: list[float] = field(default_factory=list)

    def score(self, parameters, x, t, molecule=None):
        # Once for a batch, as t is the same for all of it.
        jax.debug.callback(lambda t: self.seen.append(float(t)), t)
        return -x


def times_of(solver: Solver, evaluations: int) -> np.ndarray:
    """Times of all evaluations, descending, each checked to be of the gate's expert."""
    recorders = [Recorder(expert_config(interval), PLAIN, (2,)) for interval in INTERVALS]
    jax.jit(lambda key: sample(recorders, [{}] * 3, config(solver, evaluations), key, 4))(jax.random.key(0))
    jax.effects_barrier()
    for number, recorder in enumerate(recorders):
        numbers = gate(jnp.asarray(recorder.seen), [each.config for each in recorders])
        assert set(numbers.tolist()) == {number}
    return np.sort(np.concatenate([recorder.seen for recorder in recorders]))[::-1]


def test_euler_maruyama_takes_each_equal_step_once_by_the_expert_of_its_interval():
    """Of twenty steps, two begin at the boundaries 0.6 and 0.1 themselves."""
    np.testing.assert_allclose(times_of("euler-maruyama", 20), np.arange(20, 0, -1) / 20, rtol=1e-6)


def test_dpm_solver_takes_each_step_once_at_equal_steps_of_signal_to_noise():
    """A hundred evaluations at the most are one score each."""
    times = jnp.asarray(times_of("dpm-solver", 100))
    assert len(times) == 100
    assert times[0] == 1
    steps = np.diff(NoiseSchedule().log_signal_to_noise(jnp.append(times, FINAL_TIME)))
    np.testing.assert_allclose(steps, steps.mean(), rtol=1e-3)


def test_samples_follow_the_key():
    chosen = SampleConfig(evaluations=2)
    draw = jax.jit(lambda key: sample(EXPERTS, [TRUTH] * 3, chosen, key, 4))
    first, again, other = (np.asarray(draw(jax.random.key(seed))) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.isclose(first, other).any()
