"""Free energies along φ have the barriers and sides of a known potential, and say where nothing is known."""

from math import inf, isfinite, isnan, log, nan, pi

import numpy as np
import pytest

from fokker.analysis.profiles import CENTRES, FINE, Profile
from fokker.analysis.results import Estimate, Profiles
from fokker.data.reference.profiles import BINS, bins_of, weigh

KT = 2.5
GRID = -pi + 2 * pi * (np.arange(FINE * BINS) + 0.5) / (FINE * BINS)


def energy(phi: np.ndarray) -> np.ndarray:
    """In kT: minima near −90° and 90°, the latter 2 higher, with barriers of about 9 and 13 kT."""
    return 5 * np.cos(2 * phi) - 2 * np.cos(phi) + np.sin(phi)


def truth() -> np.ndarray:
    """Shares of the bins."""
    shares = np.exp(-energy(GRID)).reshape(BINS, FINE).sum(axis=1)
    return shares / shares.sum()


def known(share: np.ndarray) -> tuple[float, float, float]:
    """Both barriers and F(φ > 0) − F(φ < 0)."""
    half, lowest = BINS // 2, share[: BINS // 2].max()
    inner, outer = share[BINS // 4 : -BINS // 4].min(), np.r_[share[: BINS // 4], share[-BINS // 4 :]].min()
    return log(lowest / inner), log(lowest / outer), log(share[:half].sum() / share[half:].sum())


def drawn(potential: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Angles by the inverse of the cumulated density."""
    weights = np.cumsum(np.exp(-potential))
    return GRID[np.searchsorted(weights, weights[-1] * random.random(count))]


def close(found: Estimate, value: float, sigmas: float = 4.0) -> bool:
    return not found.at_least and abs(found.value - value) < sigmas * found.error < 1.5


def test_umbrella_windows_give_barriers_and_sides_of_the_potential_within_their_errors():
    random, strength = np.random.default_rng(0), 30.0
    centres = -pi + 2 * pi * (np.arange(24) + 0.5) / 24
    angles = np.stack(
        [
            drawn(energy(GRID) + strength * (1 - np.cos(GRID - centre)), 1600, random).reshape(200, 8)
            for centre in centres
        ],
        axis=2,
    )
    angles[100:, 2, 3] = nan
    profile = Profile.of_windows(angles, centres, strength)
    found, (inner, outer, sides) = profile.free_energy(), known(truth())
    assert inner > 6
    assert outer > inner + 2
    assert close(found.barrier, inner)
    assert close(found.outer_barrier, outer)
    assert close(found.difference, sides)
    right, errors = np.log(truth().max() / truth()), np.maximum(found.errors, 0.02)
    assert np.std((np.array(found.values) - right) / errors) < 2
    assert np.max(found.errors) < 0.5


def test_errors_are_those_that_other_draws_would_have_shown():
    random, several = np.random.default_rng(1), []
    for _ in range(60):
        angles = drawn(energy(GRID) / 4, 4000, random).reshape(10, 400)
        parts = np.stack([np.bincount(bins_of(part), minlength=BINS) for part in angles]).astype(float)
        several.append(Profile.of_parts(parts).free_energy().difference)
    values, errors = np.array([(one.value, one.error) for one in several]).T
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.3)


def test_biased_frames_show_the_barriers_that_frames_of_equilibrium_do_not():
    """A bias −U flattens all; the weights exp(V/kT) of its frames give U back."""
    random = np.random.default_rng(2)
    phi = random.uniform(-pi, pi, 40_000)
    weights = weigh(phi, np.exp(-energy(phi)))
    assert weights.sum() == pytest.approx(1)
    found, (inner, outer, sides) = Profile.of_parts(weights).free_energy(), known(truth())
    assert close(found.barrier, inner)
    assert close(found.outer_barrier, outer)
    assert close(found.difference, sides)
    plain = np.bincount(bins_of(drawn(energy(GRID), 5000, random)), minlength=BINS)
    frames = Profile.of_frames(plain).free_energy()
    assert frames.outer_barrier.at_least
    assert 5 < frames.outer_barrier.value < outer, "a bin that has no frame of 5,000 is not lower than that"
    assert isnan(frames.outer_barrier.error)
    assert isnan(frames.values[0])
    assert close(frames.difference, sides)
    assert not any(value == inf for value in frames.values)


def test_a_side_without_frames_is_known_to_be_no_lower_than_one_of_three():
    counts = np.where(CENTRES < 0, 100, 0)
    found = Profile.of_frames(counts).free_energy()
    assert found.difference.at_least
    assert found.difference.value == pytest.approx(log(counts.sum() / 3))
    assert found.barrier.at_least
    assert found.barrier.value == pytest.approx(log(100 / 3))
    other = Profile.of_frames(counts[::-1]).free_energy()
    for one in (other.barrier, other.outer_barrier, other.difference):
        assert not isfinite(one.value), "and without its minimum nothing is known"
        assert str(one) == "not known"


def test_a_walk_of_one_chain_has_no_errors():
    counts = 10 + np.arange(BINS)
    found = Profile.of_draws(counts, np.zeros((0, BINS), int), 1).free_energy()
    assert isfinite(found.difference.value)
    assert isnan(found.difference.error)


def test_the_table_says_what_is_only_bounded():
    def of(barrier: Estimate):
        profile = Profile.of_frames(np.full(BINS, 100)).free_energy()
        return type(profile)(profile.values, profile.errors, barrier, barrier, Estimate(2.0, 0.1))

    high, low = of(Estimate(9.0, nan, at_least=True)), of(Estimate(5.0, 0.3))
    rows = Profiles("φ of ALA2", "frames", {"reference": high, "sim": high, "umbrella": low}).table()
    assert rows[0] == ("barrier near 0", "> 9.00", "5.00 ± 0.30", "< -4.00")
    assert rows[2] == ("F(φ > 0) − F(φ < 0)", "2.00 ± 0.10", "2.00 ± 0.10", "0.00 ± 0.14")
    both = Profiles("φ of ALA2", "frames", {"reference": high, "sim": high})
    assert both.table()[0][3] == "not known"
    assert both.words == "φ of ALA2: reference by frames of equilibrium, learned by chains without a bias"
