from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from fokker.model.diffusion.schedule import NoiseSchedule

SCHEDULE = NoiseSchedule()
TIMES = (1e-5, 1e-3, 0.05, 0.3, 0.77, 1.0)


def test_the_rate_grows_linearly_between_its_ends():
    np.testing.assert_allclose(SCHEDULE.beta(jnp.array([0.0, 0.5, 1.0])), [0.1, 10.05, 20.0], rtol=1e-6)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("t", TIMES)
def test_the_scales_solve_the_forward_diffusion(t: float):
    """dx = −½ β x dt + √β dW: α = exp(−½ ∫₀ᵗ β), and noise of variance β ds at s has decayed by α(t)/α(s)."""

    def rate(s: float) -> float:
        return 0.1 + 19.9 * s

    def alpha(start: float) -> float:
        return np.exp(-0.5 * quad(rate, start, t, epsabs=0)[0])

    at = jnp.asarray(t)
    variance = quad(lambda s: rate(s) * alpha(s) ** 2, 0, t, epsabs=0)[0]
    np.testing.assert_allclose(SCHEDULE.integral(at), quad(rate, 0, t, epsabs=0)[0], rtol=1e-12)
    np.testing.assert_allclose(SCHEDULE.alpha(at), alpha(0), rtol=1e-12)
    np.testing.assert_allclose(SCHEDULE.sigma(at), np.sqrt(variance), rtol=1e-10)
    ratio = np.log(alpha(0) / np.sqrt(variance))
    np.testing.assert_allclose(SCHEDULE.log_signal_to_noise(at), ratio, rtol=1e-10, atol=1e-10)


def test_the_noise_does_not_cancel_near_the_data():
    """In float32, √(1 − α²) is a multiple of 2.4e-4 at most, and wrong by a fifth at t = 1e-5."""
    t = np.geomspace(1e-5, 1e-2, 50).astype(np.float32)
    exact = np.sqrt(-np.expm1(-(0.1 * t.astype(np.float64) + 9.95 * t.astype(np.float64) ** 2)))
    np.testing.assert_allclose(SCHEDULE.sigma(jnp.asarray(t)), exact, rtol=1e-6)
    cancelled = jnp.sqrt(1 - SCHEDULE.alpha(jnp.asarray(t)) ** 2)
    assert np.max(np.abs(cancelled / exact - 1)) > 0.01


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("t", TIMES)
def test_a_time_comes_back_from_its_noise(t: float):
    # At t = 1, σ is 1 − 2e-5: a digit of it costs four of the time's.
    np.testing.assert_allclose(SCHEDULE.time_of_sigma(SCHEDULE.sigma(jnp.asarray(t))), t, rtol=1e-11)


@pytest.mark.usefixtures("float64")
def test_log_sigma_grows_by_the_integral_of_its_rate():
    for start, end in pairwise(TIMES):
        growth = quad(lambda t: float(SCHEDULE.log_sigma_rate(jnp.asarray(t))), start, end)[0]
        first, last = SCHEDULE.sigma(jnp.asarray([start, end]))
        np.testing.assert_allclose(growth, np.log(last / first), rtol=1e-8)


@pytest.mark.parametrize("t", TIMES)
def test_a_time_comes_back_from_its_signal_to_noise(t: float):
    at = jnp.asarray(t)
    value = SCHEDULE.log_signal_to_noise(at)
    # At large t the ratio falls by 10 a unit, at small t by 1/2t: one digit of t costs few of the ratio's.
    np.testing.assert_allclose(SCHEDULE.time_of_log_signal_to_noise(value), t, rtol=1e-5)
    with jax.enable_x64(True):
        value = SCHEDULE.log_signal_to_noise(jnp.asarray(t))
        np.testing.assert_allclose(SCHEDULE.time_of_log_signal_to_noise(value), t, rtol=1e-12)
