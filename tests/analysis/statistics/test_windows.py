"""Windows that overlap give one distribution back, exactly where counts are what it expects."""

from math import pi

import numpy as np
import pytest

from fokker.analysis.statistics.windows import unbiased

BINS, WINDOWS, STRENGTH = 180, 24, 30.0
GRID = -pi + 2 * pi * (np.arange(BINS) + 0.5) / BINS
CENTRES = -pi + 2 * pi * (np.arange(WINDOWS) + 0.5) / WINDOWS
BIAS = STRENGTH * (1 - np.cos(GRID - CENTRES[:, None]))
ENERGY = 6 * np.cos(GRID) + 4 * np.cos(2 * GRID + 1) + 2 * np.sin(3 * GRID)
SHARE = np.exp(-ENERGY) / np.exp(-ENERGY).sum()


def expected(frames: np.ndarray) -> np.ndarray:
    """Counts of so many frames of each window."""
    shares = SHARE * np.exp(-BIAS)
    return frames[:, None] * shares / shares.sum(axis=1, keepdims=True)


def test_expected_counts_of_windows_of_any_size_give_the_distribution_back():
    sizes = np.random.default_rng(0).integers(10_000, 1_000_000, WINDOWS)
    counts = np.rint(1e6 * expected(sizes)).astype(int)
    assert np.ptp(np.log(SHARE)) > 15, "with barriers that no frame without a bias would see"
    np.testing.assert_allclose(unbiased(counts, BIAS), SHARE, rtol=1e-4)


def test_drawn_frames_scatter_about_it_and_empty_windows_do_nothing():
    random = np.random.default_rng(1)
    shares = SHARE * np.exp(-BIAS)
    counts = random.multinomial(2000, shares / shares.sum(axis=1, keepdims=True))
    counts[5] = 0
    found = unbiased(counts, BIAS)
    assert found.sum() == pytest.approx(1)
    assert np.log(found[found > 0] / SHARE[found > 0]).std() < 0.3
    side = GRID > 0
    assert np.log(found[side].sum() / SHARE[side].sum()) == pytest.approx(0, abs=0.3)


def test_two_windows_are_weighed_by_bennetts_acceptance_ratio():
    """Of two windows MBAR is BAR: Σ 1/(1 + n₁/n₀ e^(u₁ − u₀ − Δf)) over both is n₀."""
    counts, bias = np.array([[40, 30, 10], [5, 20, 45]]), np.array([[0.0, 0.5, 2.0], [1.5, 0.3, 0.0]])
    p = unbiased(counts, bias)
    f = -np.log((p * np.exp(-bias)).sum(axis=1))
    ratio = counts[1].sum() / counts[0].sum() * np.exp(bias[0] - bias[1] + f[1] - f[0])
    assert (counts.sum(axis=0) / (1 + ratio)).sum() == pytest.approx(counts[0].sum(), rel=1e-6)


def test_no_frame_at_all_is_refused():
    with pytest.raises(ValueError, match="no window has a frame"):
        unbiased(np.zeros((2, 3), int), np.zeros((2, 3)))
