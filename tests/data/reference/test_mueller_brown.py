"""The potential has its published shape, and its Langevin data the Boltzmann distribution."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from scipy.special import expit

from fokker.data.config import MuellerBrownConfig
from fokker.data.reference import mueller_brown
from fokker.data.reference.mueller_brown import START
from fokker.model.config import Integrator

SHORT = MuellerBrownConfig(frames=6000, chains=200, stride=1, burn_in=0, timestep=1e-3)
SPEED = (SHORT.temperature / SHORT.mass) ** 0.5
"""Spread of a component of the velocity in the bath."""

Array = np.ndarray


def energy(x: Array, y: Array) -> Array:
    """The four terms of Müller and Brown (1979), written out."""
    return (
        -200 * np.exp(-((x - 1) ** 2) - 10 * y**2)
        - 100 * np.exp(-(x**2) - 10 * (y - 0.5) ** 2)
        - 170 * np.exp(-6.5 * (x + 0.5) ** 2 + 11 * (x + 0.5) * (y - 1.5) - 6.5 * (y - 1.5) ** 2)
        + 15 * np.exp(0.7 * (x + 1) ** 2 + 0.6 * (x + 1) * (y - 1) + 0.7 * (y - 1) ** 2)
    )


def somewhere(count: int) -> Array:
    return np.random.default_rng(0).uniform((-1.8, -0.5), (1.1, 2.0), (count, 2))


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def test_potential_is_the_published_sum(float64):
    points = somewhere(200)
    ours = jax.vmap(mueller_brown.potential)(jax.numpy.asarray(points))
    np.testing.assert_allclose(ours, energy(*points.T), rtol=1e-12)


@pytest.mark.parametrize(
    ("position", "value", "falling_directions"),
    [
        ((-0.55822363, 1.44172584), -146.69951721, 0),
        ((0.62349941, 0.02803776), -108.16672412, 0),
        ((-0.05001082, 0.46669410), -80.76781813, 0),
        ((-0.82200156, 0.62431280), -40.66484351, 1),
        ((0.21248658, 0.29298833), -72.24894012, 1),
    ],
)
def test_known_minima_and_saddles(
    float64, position: tuple[float, float], value: float, falling_directions: int
):
    x = jax.numpy.asarray(position)
    assert float(mueller_brown.potential(x)) == pytest.approx(value, abs=1e-8)
    # Eight digits of the position times a curvature of 4,000.
    assert np.abs(jax.grad(mueller_brown.potential)(x)).max() < 1e-4
    curvatures = np.linalg.eigvalsh(jax.hessian(mueller_brown.potential)(x))
    assert (curvatures < 0).sum() == falling_directions


def test_force_is_minus_the_gradient_of_every_chain(float64):
    points, h = somewhere(50), 1e-5
    differences = [
        (energy(*(points - step).T) - energy(*(points + step).T)) / (2 * h) for step in h * np.eye(2)
    ]
    force = mueller_brown.force(jax.numpy.asarray(points))
    np.testing.assert_allclose(force, np.transpose(differences), rtol=1e-6, atol=1e-5)


def test_trajectories_start_in_the_deepest_minimum():
    x, y = np.meshgrid(np.linspace(-1.8, 1.1, 291), np.linspace(-0.5, 2, 251), indexing="ij")
    lowest = np.argmin(energy(x, y))
    np.testing.assert_allclose((x.flat[lowest], y.flat[lowest]), START, atol=0.01)


def frames_of(config: MuellerBrownConfig, seed: int = 0) -> Array:
    """The chains side by side, in float64."""
    frames = np.asarray(mueller_brown.generate(config, seed))
    assert frames.shape == (config.frames, 2)
    assert frames.dtype == np.float32
    return frames.reshape(config.chains, -1, 2).astype(np.float64)


def test_equal_seeds_give_equal_frames():
    first, again, other = (frames_of(SHORT, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not (first == other).all(axis=-1).any()


def test_chains_stand_one_after_another():
    chains, step = frames_of(SHORT), 6 * SPEED * SHORT.timestep
    # A frame is one step away from the one before, and the first of each chain from the start.
    assert np.abs(chains[:, 0] - START).max() < step
    assert np.abs(np.diff(chains, axis=1)).max() < step
    assert np.median(np.abs(chains[:, -1] - START).max(axis=1)) > step
    assert len(np.unique(chains[:, 0], axis=0)) == SHORT.chains


def test_stride_is_the_number_of_steps_between_frames():
    # Over so short a time a particle keeps its velocity.
    for stride in (1, 4):
        config = replace(SHORT, stride=stride, timestep=1e-5)
        moved = np.diff(frames_of(config)[:, :2], axis=1) / (stride * config.timestep)
        assert moved.std() == pytest.approx(SPEED, rel=4 / np.sqrt(2 * moved.size))  # four standard errors


def test_burn_in_is_dropped():
    step = 6 * SPEED * SHORT.timestep
    whole, rest = (frames_of(replace(SHORT, burn_in=steps))[:, 0] - START for steps in (0, 300))
    assert np.abs(whole).max() < step < np.median(np.abs(rest).max(axis=1))


def boltzmann(kT: float) -> tuple[Array, Array]:
    """Points of a fine grid and their probabilities; at its border they are below 1e-15."""
    x, y = np.meshgrid(np.linspace(-4, 2, 1201), np.linspace(-2, 4, 1201), indexing="ij")
    u = energy(x, y)
    p = np.exp(-(u - u.min()) / kT)
    return np.stack([x, y], axis=-1).reshape(-1, 2), p.ravel() / p.sum()


def observables(points: Array) -> dict[str, tuple[Array, Array]]:
    """Values of interest and their weights: all points, or the upper basin alone.

    Smooth, so that sums over the grid are integrals to many digits.
    """
    x, y = points[..., 0], points[..., 1]
    everywhere, upper = np.ones_like(y), expit((y - 0.8) / 0.05)
    # Along the valley of the deepest minimum and across it: its soft direction and its stiff one.
    along, across = x - START[0] + y - START[1], x - START[0] - y + START[1]
    return {
        "x": (x, everywhere),
        "y": (y, everywhere),
        "upper basin": (upper, everywhere),
        "right basin": ((1 - upper) * expit((x - 0.25) / 0.05), everywhere),
        "energy": (energy(x, y), upper),
        "ahead": (np.tanh(along / 0.4), upper),
        "length": (np.tanh(along / 0.4) ** 2, upper),
        "beside": (np.tanh(across / 0.1), upper),
        "width": (np.tanh(across / 0.1) ** 2, upper),
    }


@pytest.mark.parametrize(
    # The paper's integrator widens a harmonic well by (ω dt)²/4. With ω = 90 in the stiff direction of the
    # deepest minimum that is 5% at the usual step, 0.5% here.
    ("integrator", "timestep"),
    [("baoab", 5e-3), ("langevin", 1.5e-3)],
)
def test_frames_have_the_boltzmann_distribution(integrator: Integrator, timestep: float):
    """Within four standard errors, from the spread over 400 independent chains.

    The basins exchange with a time constant of about 7, of which the burn-in takes eight.
    """
    chains, kept, apart = 400, 160, 0.25
    config = MuellerBrownConfig(
        frames=chains * kept,
        chains=chains,
        stride=round(apart / timestep),
        burn_in=round(56 / timestep),
        integrator=integrator,
        timestep=timestep,
    )
    grid, probability = boltzmann(config.temperature)
    expected, found = observables(grid), observables(frames_of(config, seed=2))
    for name, (value, weight) in found.items():
        on_grid, weight_on_grid = expected[name]
        mean = np.average(on_grid, weights=weight_on_grid * probability)
        deviations = (weight * (value - mean)).mean(axis=1)
        assert abs(deviations.mean()) < 4 * deviations.std(ddof=1) / np.sqrt(chains), name
