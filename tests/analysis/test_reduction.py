"""Sums of reductions are what all frames at once would give, however they were cut."""

from collections.abc import Iterator

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from fokker.analysis.metrics import histogram, histogram_within, js_floor
from fokker.analysis.observables import distances
from fokker.analysis.reduction import Totals, draws_of, held, in_parts, reduce, wasserstein
from fokker.analysis.systems import System
from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads
from fokker.data.molecules.chirality import chiral_centres, wrong_hand

from .points import pmf_histogram, spread_of_parts

RANDOM = np.random.default_rng(0)
BEADS = Beads.from_sequence("AKF", BeadMap.parse("backbone"))
MOLECULE = System.molecule("AKF", BEADS, [0.3] * len(BEADS.bonds), 300.0)
TOY = System.particle("toy", 23.0, 0.5)
SYSTEMS = (TOY, MOLECULE)


def frames_of(system: System, count: int) -> np.ndarray:
    return (0.5 * np.random.default_rng(count).normal(size=(count, *system.shape))).astype(np.float32)


def cut(frames: np.ndarray, size: int) -> Iterator[np.ndarray]:
    return iter([frames[begin : begin + size] for begin in range(0, len(frames), size)])


def assert_alike(one: Totals, other: Totals) -> None:
    assert one.frames == other.frames
    for place in range(len(one.system.projections)):
        np.testing.assert_array_equal(one.js[place], other.js[place])
        np.testing.assert_array_equal(one.pmf[place], other.pmf[place])
        np.testing.assert_array_equal(one.extremes[place], other.extremes[place])
        for name, value in vars(one.spreads[place]).items():
            np.testing.assert_array_equal(value, vars(other.spreads[place])[name], name)
    for pair in range(len(one.system.pairs)):
        assert one.mean_and_spread(pair) == pytest.approx(other.mean_and_spread(pair), rel=1e-9)
        for found, expected in zip(one.lengths(pair), other.lengths(pair), strict=True):
            np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(one.wrong_hands, other.wrong_hands)
    assert (one.mirror_images, one.phi_positive) == (other.mirror_images, other.phi_positive)


@pytest.mark.parametrize("system", SYSTEMS)
def test_totals_are_those_of_all_frames_at_once(system: System):
    frames = frames_of(system, 600)
    totals = held(system, frames).totals
    assert totals.frames == 600
    for place, projection in enumerate(system.projections):
        points = projection(frames)
        np.testing.assert_array_equal(totals.js[place], histogram(points, projection.grid))
        np.testing.assert_array_equal(totals.pmf[place], pmf_histogram(points, projection.grid))
        inside = (
            (points >= np.transpose(projection.grid.limits)[0])
            & (points <= np.transpose(projection.grid.limits)[1])
        ).all(axis=1)
        np.testing.assert_array_equal(totals.inside[place], histogram(points[inside], projection.grid))
        extremes = np.stack([points.min(axis=0), points.max(axis=0)], axis=1)
        np.testing.assert_array_equal(totals.extremes[place], extremes)
    for number, (_, pair) in enumerate(system.pairs):
        lengths = distances(frames, [pair])[:, 0]
        assert totals.mean_and_spread(number) == pytest.approx((lengths.mean(), lengths.std()), rel=1e-9)
    assert totals.phi_positive == (system.phi(frames) > 0).sum()
    if system.hands:
        wrong = wrong_hand(chiral_centres(BEADS.topology())[0], frames)
        np.testing.assert_array_equal(totals.wrong_hands, wrong.sum(axis=0))
        assert totals.mirror_images == wrong.any(axis=1).sum()


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("size", [1, 7, 100, 601])
def test_blocks_of_any_size_give_the_same_totals(system: System, size: int):
    frames, sizes = frames_of(system, 600), [100, 3, 0, 297, 200]
    whole = in_parts(system, lambda: iter([frames]), sizes)
    pieces = in_parts(system, lambda: cut(frames, size), sizes)
    assert_alike(pieces.totals, whole.totals)
    for place, projection in enumerate(system.projections):
        parts = np.split(projection(frames), np.cumsum(sizes)[:-1])
        spread = spread_of_parts(np.stack([histogram(part, projection.grid) for part in parts]))
        for name, value in vars(spread).items():
            np.testing.assert_array_equal(vars(pieces.totals.spreads[place])[name], value, name)
        assert js_floor(spread, spread) > 0


def test_draws_count_whole_parts_as_often_as_they_are_drawn():
    chains = frames_of(TOY, 600).reshape(12, 50, 2)
    draws = draws_of(12, 5)
    assert (draws.sum(axis=1) == 12).all()
    some = chains[:5], chains[5:]
    each = (reduce(TOY, part.reshape(-1, 2), np.repeat(np.arange(len(part)), 50), len(part)) for part in some)
    counts = np.stack([histogram(chain, TOY.shown.grid) for chain in chains])
    for found, times in zip(Totals(TOY, each, draws).drawn[0][0], draws, strict=True):
        np.testing.assert_array_equal(found, np.tensordot(times, counts, 1))


def test_frames_that_are_not_finite_are_left_out():
    frames = frames_of(MOLECULE, 60)
    broken = frames.copy()
    broken[[3, 40], 2, 1] = np.nan, np.inf
    totals = Totals(MOLECULE, [reduce(MOLECULE, broken, np.zeros(60, int), 1)])
    assert_alike(totals, held(MOLECULE, np.delete(frames, [3, 40], axis=0)).totals)


def test_some_frames_are_a_set_of_their_own_in_their_order():
    frames, numbers = frames_of(TOY, 300), RANDOM.permutation(300)[:120]
    some = in_parts(TOY, lambda: cut(frames, 64), [300]).some(numbers)
    assert_alike(some.totals, held(TOY, frames[np.sort(numbers)]).totals)
    np.testing.assert_array_equal(np.concatenate([*some.blocks()]), frames[np.sort(numbers)])


def test_histograms_between_other_limits_are_those_of_all_frames_at_once():
    frames, limits = frames_of(TOY, 300), np.array([(-0.7, 0.9), (-1.0, 1.0)])
    (found,) = in_parts(TOY, lambda: cut(frames, 64), [300]).within([limits])
    np.testing.assert_array_equal(found, histogram_within(frames, limits, TOY.shown.grid))


@pytest.mark.parametrize("frames", [1000, 20_000])
@pytest.mark.parametrize(("mean", "spread"), [(0.133, 0.0028), (0.38, 0.005), (0.9, 0.1)])
def test_w1_is_exact_to_a_thousandth_of_the_spread(frames: int, mean: float, spread: float):
    """Of a stiff bond, one of Cα, and a soft distance; sets that differ in mean, in width, and not at all."""
    calpha = Beads.from_sequence("AA", BeadMap.parse("calpha" if mean < 0.5 else "name CB"))
    system = System.molecule("pair", calpha, [mean] if calpha.bonds else [], 300.0)
    random = np.random.default_rng(frames)

    def drawn(shift: float, width: float) -> np.ndarray:
        x = np.zeros((frames, 2, 3))
        x[:, 1, 0] = random.normal(mean + shift * spread, width * spread, frames)
        return x

    reference = drawn(0, 1)
    for shift, width in ((0, 1), (0.3, 1), (0, 1.5), (-2, 0.7)):
        other = drawn(shift, width)
        found = wasserstein(held(system, reference).totals, held(system, other).totals, 0)
        expected = wasserstein_distance(reference[:, 1, 0], other[:, 1, 0])
        assert found == pytest.approx(expected, abs=1e-3 * spread)
    same = held(system, reference).totals
    assert wasserstein(same, same, 0) == 0
