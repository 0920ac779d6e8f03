"""The plotted error is zero for a solution, and that of the training's equation for what is none."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fokker.analysis.fokker_planck import fokker_planck_error
from fokker.model.diffusion.schedule import NoiseSchedule
from fokker.model.losses.residual import FokkerPlanck, LogDensity

Residual = Callable[[jax.Array, jax.Array], jax.Array]
SCHEDULE = NoiseSchedule()
TIMES = (1e-5, 1e-3, 0.05, 0.3, 0.9)
MEAN, VARIANCE = np.array([0.7, -0.4, 0.1]), np.array([0.5, 0.1, 2.0])


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def errors(residual: Residual, frames: np.ndarray, times: tuple[float, ...] = TIMES) -> np.ndarray:
    def relative(x, t):
        return jax.vmap(residual, in_axes=(0, None))(x, t) / x[0].size

    def noise(key):
        return jax.random.normal(key, frames.shape)

    error = fokker_planck_error(
        relative, noise, jnp.asarray(frames), jnp.asarray(times), jax.random.key(0), SCHEDULE
    )
    return np.asarray(error)


def training_residual(log_density: LogDensity) -> Residual:
    return lambda x, t: FokkerPlanck(log_density, SCHEDULE).estimate("exact", x, t, jax.random.key(0)).first


def gaussian(x, t):
    """Log-density at time t of noised draws from N(MEAN, VARIANCE), a solution."""
    alpha, variance = SCHEDULE.alpha(t), SCHEDULE.alpha(t) ** 2 * VARIANCE + SCHEDULE.sigma(t) ** 2
    return -0.5 * jnp.sum((x - alpha * MEAN) ** 2 / variance + jnp.log(2 * jnp.pi * variance))


def draws(count: int) -> np.ndarray:
    return MEAN + np.sqrt(VARIANCE) * np.random.default_rng(0).normal(size=(count, 3))


def test_a_solution_has_no_error():
    np.testing.assert_allclose(errors(training_residual(gaussian), draws(100)), 0, atol=1e-10)


def test_a_scaled_solution_has_the_error_in_closed_form():
    # c log p with p_t = N(0, 1) at every t: R = ½β (1 − c)(D − c ‖x‖²), for c = −1 never negative, and
    # E R / D = 2β with the standard deviation β √(2D) / D.
    frames = np.random.default_rng(0).normal(size=(2000, 3))
    error = errors(training_residual(lambda x, t: 0.5 * jnp.vdot(x, x)), frames)
    beta = SCHEDULE.beta(jnp.asarray(TIMES))
    assert (np.abs(error - 2 * beta) < 4 * beta * np.sqrt(6 / 2000) / 3).all()


def handwritten(log_density: LogDensity) -> Residual:
    """The paper's equation 8 from second derivatives and a difference in time."""

    def residual(x, t):
        score, h = jax.grad(log_density)(x, t), 1e-6
        divergence = jnp.trace(jax.hessian(log_density)(x, t))
        change = (log_density(x, t + h) - log_density(x, t - h)) / (2 * h)
        return 0.5 * SCHEDULE.beta(t) * (divergence + score @ score + x @ score + x.size) - change

    return residual


def test_training_and_the_plotted_error_have_one_equation():
    """The authors plot another than they train with; here both are the paper's, term by term."""

    def log_density(x, t):
        return jnp.sin(3 * t) * jnp.sum(jnp.tanh(2 * x)) - jnp.sum(x**4) - jnp.cos(x[0] * x[1]) / (t + 0.1)

    frames = draws(200)
    trained = errors(training_residual(log_density), frames)
    assert trained.min() > 0.1
    np.testing.assert_allclose(trained, errors(handwritten(log_density), frames), rtol=1e-6)


def test_error_is_a_mean_of_magnitudes():
    # The noised first coordinate of ±100 frames is ±100 α, far from 0; a mean without magnitude would vanish.
    frames = np.outer(np.tile([1, -1], 50), [100, 0])
    error = errors(lambda x, t: 2 * x[0], frames.astype(float), (0.05,))
    alpha = SCHEDULE.alpha(jnp.asarray(0.05))
    np.testing.assert_allclose(error, 100 * alpha, rtol=4 / 100 / np.sqrt(100))  # four standard errors


def test_frames_are_noised_to_each_time():
    frames = np.full((4000, 1), 3.0)
    times = jnp.asarray(TIMES)
    alpha, sigma = np.asarray(SCHEDULE.alpha(times)), np.asarray(SCHEDULE.sigma(times))
    # Mean and variance about the mean, within four standard errors.
    shifted = errors(lambda x, t: x[0] + 100, frames) - 100
    assert (np.abs(shifted - 3 * alpha) < 4 * sigma / np.sqrt(4000)).all()
    squares = errors(lambda x, t: (x[0] - 3 * SCHEDULE.alpha(t)) ** 2, frames)
    assert (np.abs(squares - sigma**2) < 4 * sigma**2 * np.sqrt(2 / 4000)).all()


def test_every_time_has_noise_of_its_own():
    error = errors(lambda x, t: x[0], np.zeros((10, 2)), (0.3, 0.3))
    assert error[0] != error[1]
