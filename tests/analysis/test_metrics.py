"""Metrics against values worked out by hand, numpy's histograms and scipy."""

from math import inf, log, nan, pi

import numpy as np
import pytest
from scipy.special import rel_entr

from fokker.analysis.evaluation import compared
from fokker.analysis.metrics import (
    EMPTY,
    MUELLER_BROWN,
    RAMACHANDRAN,
    Grid,
    free_energy,
    histogram,
    js_divergence,
    js_floor,
    pmf_error,
)
from fokker.analysis.projections import Projection, coordinates
from fokker.analysis.reduction import held
from fokker.analysis.results import Comparison
from fokker.analysis.systems import Bounds, System

from .points import pmf_histogram, spread_of_parts

# Bins of the Jensen-Shannon divergence: 0–2 and 2–4 a side. Of the PMF error: below 0, 0–2, 2–4, above 4.
SMALL = Grid(("x", "y"), ((0.0, 4.0), (0.0, 4.0)), js_bins=2, pmf_bins=4)
GRIDS = (SMALL, MUELLER_BROWN, RAMACHANDRAN)

Pair = tuple[np.ndarray, np.ndarray]


def points(*pairs: tuple[float, float]) -> np.ndarray:
    return np.array(pairs, float).reshape(-1, 2)


def cloud(grid: Grid, count: int = 5000, seed: int = 0) -> np.ndarray:
    """Points all over the plane, a fifth of them outside on each side, and the corners."""
    low, high = np.transpose(grid.limits)
    inside = np.random.default_rng(seed).uniform(
        low - 0.3 * (high - low), high + 0.3 * (high - low), (count, 2)
    )
    return np.concatenate([inside, points((low[0], low[1]), (high[0], high[1]), (low[0], high[1]))])


def compare(reference: np.ndarray, others: np.ndarray, grid: Grid) -> Comparison:
    """As frames of a particle are compared."""
    everywhere = Bounds(coordinates, (-inf, -inf), (inf, inf))
    toy = System("toy", (2,), 1.0, (1.0,), (Projection("toy", coordinates, grid),), everywhere)
    (found,) = compared(held(toy, reference), held(toy, others))
    return found


def js_histogram(part: np.ndarray, grid: Grid) -> np.ndarray:
    return histogram(part, grid)


def mueller_brown(rng: np.random.Generator, count: int) -> np.ndarray:
    """Exact draws at kT = 23: a cell of a fine grid by inverting its cumulative sum, and a place in it."""
    step = 0.005
    axes = np.arange(-3.5, 2, step), np.arange(-1.5, 3.5, step)
    x, y = (axis + step / 2 for axis in np.meshgrid(*axes, indexing="ij"))
    energy = (
        -200 * np.exp(-((x - 1) ** 2) - 10 * y**2)
        - 100 * np.exp(-(x**2) - 10 * (y - 0.5) ** 2)
        - 170 * np.exp(-6.5 * (x + 0.5) ** 2 + 11 * (x + 0.5) * (y - 1.5) - 6.5 * (y - 1.5) ** 2)
        + 15 * np.exp(0.7 * (x + 1) ** 2 + 0.6 * (x + 1) * (y - 1) + 0.7 * (y - 1) ** 2)
    )
    cumulative = np.cumsum(np.exp(-(energy + 147) / 23))
    cell = np.searchsorted(cumulative, rng.uniform(0, cumulative[-1], count), side="right")
    centres = np.stack([x.ravel()[cell], y.ravel()[cell]], axis=1)
    return centres + rng.uniform(-step / 2, step / 2, (count, 2))


@pytest.fixture(scope="module")
def independent() -> Pair:
    rng = np.random.default_rng(0)
    return mueller_brown(rng, 100_000), mueller_brown(rng, 100_000)


def test_planes_are_those_of_the_design():
    assert MUELLER_BROWN.limits == ((-1.8, 1.1), (-0.5, 2.0))
    assert (MUELLER_BROWN.js_bins, MUELLER_BROWN.pmf_bins) == (100, 64)
    assert RAMACHANDRAN.limits == ((-pi, pi), (-pi, pi))
    assert (RAMACHANDRAN.js_bins, RAMACHANDRAN.pmf_bins) == (64, 64)


# Histograms


@pytest.mark.parametrize("grid", GRIDS)
def test_bins_are_those_of_numpy_and_what_lies_outside_is_counted_in_the_outermost(grid: Grid):
    inside = np.clip(cloud(grid), *np.transpose(grid.limits))
    expected, _, _ = np.histogram2d(*inside.T, bins=grid.js_bins, range=grid.limits)
    np.testing.assert_array_equal(js_histogram(cloud(grid), grid), expected)


@pytest.mark.parametrize("grid", GRIDS)
def test_outer_bins_of_the_pmf_collect_what_lies_outside_and_nothing_else(grid: Grid):
    inner = [np.linspace(*limit, grid.pmf_bins - 1) for limit in grid.limits]
    # NumPy's last bin is closed; here a point on the upper limit lies outside.
    edges = [[-1e9, *axis[:-1], np.nextafter(axis[-1], -inf), 1e9] for axis in inner]
    expected, _, _ = np.histogram2d(*cloud(grid).T, bins=edges)
    counts = pmf_histogram(cloud(grid), grid)
    assert counts.shape == (grid.pmf_bins, grid.pmf_bins)
    np.testing.assert_array_equal(counts, expected)


def test_first_axis_is_the_first_coordinate():
    assert js_histogram(points((1, 3)), SMALL).tolist() == [[0, 1], [0, 0]]
    assert pmf_histogram(points((1, 9)), SMALL).tolist() == [[0] * 4, [0, 0, 0, 1], [0] * 4, [0] * 4]


def test_far_away_points_are_counted_in_the_corner():
    assert js_histogram(points((1e30, -1e30), (3, 1)), SMALL).tolist() == [[0, 0], [2, 0]]
    assert pmf_histogram(points((1e30, -1e30), (3, 1)), SMALL)[2:, :2].tolist() == [[0, 1], [1, 0]]


def test_histograms_of_parts_add_up():
    whole = cloud(MUELLER_BROWN)
    for count in (pmf_histogram, js_histogram):
        parts = [count(part, MUELLER_BROWN) for part in np.array_split(whole, 7)]
        np.testing.assert_array_equal(sum(parts), count(whole, MUELLER_BROWN))
        assert count(whole, MUELLER_BROWN).sum() == len(whole)
    assert js_histogram(np.empty((0, 2)), SMALL).tolist() == [[0, 0], [0, 0]]


# Jensen-Shannon divergence


@pytest.mark.parametrize(
    ("p", "q", "divergence"),
    [
        ([[2, 2], [2, 2]], [[5, 5], [5, 5]], 0),
        ([[1, 0], [0, 0]], [[0, 7], [0, 0]], log(2)),
        # Of (1, 0) and (1/2, 1/2), whose mean is (3/4, 1/4).
        ([[3, 0], [0, 0]], [[1, 1], [0, 0]], (log(4 / 3) + log(2 / 3) / 2 + log(2) / 2) / 2),
        # Of (1/2, 1/4, 1/4, 0) and (1/4, 1/4, 0, 1/2), whose mean is (3/8, 1/4, 1/8, 1/4).
        ([[2, 1], [1, 0]], [[1, 1], [0, 2]], (log(4 / 3) / 2 + log(2) / 4 + log(2 / 3) / 4 + log(2) / 2) / 2),
    ],
)
def test_js_divergence_by_hand(p: list, q: list, divergence: float):
    assert js_divergence(np.array(p), np.array(q)) == pytest.approx(divergence, abs=1e-12)
    assert js_divergence(np.array(q), np.array(p)) == pytest.approx(divergence, abs=1e-12)


def test_js_divergence_is_the_mean_entropy_relative_to_the_mixture():
    counts = np.random.default_rng(0).integers(0, 9, (2, 8, 8))
    p, q = (part / part.sum() for part in counts)
    expected = (rel_entr(p, (p + q) / 2).sum() + rel_entr(q, (p + q) / 2).sum()) / 2
    assert js_divergence(*counts) == pytest.approx(expected, rel=1e-12)


def test_both_definitions_by_hand():
    # Fixed bins: (2, 0, 0, 0) and (1, 0, 0, 1). Pooled, from (0.2, 0.2) to (3.8, 3.8), they are the same.
    reference, others = points((0.2, 0.2), (1.9, 1.9)), points((1, 1), (3.8, 3.8))
    same = (log(4 / 3) + log(2 / 3) / 2 + log(2) / 2) / 2
    found = compare(reference, others, SMALL)
    assert (found.paper.js, found.corrected.js) == pytest.approx((same, same), rel=1e-12)
    # One stray point of the reference: pooled, from (0.2, 0.2) to (9, 9), it lies in the last bin and all
    # others in the first. Fixed, it is one more count of the last bin.
    strayed = np.concatenate([reference, points((9, 9))])
    # Of (2/3, 1/3) and (1, 0), whose mean is (5/6, 1/6).
    pooled = (2 * log(4 / 5) / 3 + log(2) / 3 + log(6 / 5)) / 2
    # Of (2/3, 1/3) and (1/2, 1/2), whose mean is (7/12, 5/12).
    fixed = (2 * log(8 / 7) / 3 + log(4 / 5) / 3 + log(6 / 7) / 2 + log(6 / 5) / 2) / 2
    found = compare(strayed, others, SMALL)
    assert (found.paper.js, found.corrected.js) == pytest.approx((pooled, fixed), rel=1e-12)


def test_js_without_a_sampling_error_is_zero():
    for grid in GRIDS:
        assert (compare(cloud(grid), cloud(grid)[::-1], grid).numbers == 0).all()


def test_floor_of_the_mueller_brown_data(independent: Pair):
    """The values of the design, between independent sets of 100,000."""
    found = compare(*independent, MUELLER_BROWN)
    assert 0.0165 < found.corrected.js < 0.0178
    assert 0.0116 < found.paper.js < 0.0140


def test_one_stray_point_moves_every_bin_of_the_paper_and_one_of_the_corrected(independent: Pair):
    reference, others = independent
    before = compare(reference, others, MUELLER_BROWN)
    after = compare(reference, np.concatenate([others, points((-4, 4))]), MUELLER_BROWN)
    assert after.paper.js < 0.75 * before.paper.js, "it hides a third of the divergence"
    # A count more in one bin adds at most ln 2 / 2N, and takes 1/N of the others' share.
    assert abs(after.corrected.js - before.corrected.js) < 1 / len(others)


# PMF error


def test_pmf_error_by_hand():
    # p = (3/4, 1/4, –) and q = (1/3, –, 2/3); the fourth bin is empty in both.
    reference, others = np.array([[3, 1], [0, 0]]), np.array([[1, 0], [2, 0]])
    weights = np.array([3 / 4 + 1 / 3, 1 / 4, 2 / 3]) / 2
    differences = [log(3 / 4) - log(1 / 3), log(1 / 4) - log(1e-6), log(1e-6) - log(2 / 3)]
    expected = weights @ np.square(differences)
    assert expected == pytest.approx(79.6100, rel=1e-5)
    assert pmf_error(reference, others) == pytest.approx(expected, rel=1e-12)
    assert pmf_error(others, reference) == pytest.approx(expected, rel=1e-12)
    assert EMPTY == 1e-6


def test_pmf_error_weighs_a_bin_by_what_both_have_in_it():
    # The same ratio of 2 in a full bin and in one that is nearly empty.
    reference, others = np.array([[2000, 2], [998, 0]]), np.array([[1000, 1], [1999, 0]])
    share = np.array([3000, 3, 2997]) / 6000
    expected = share @ np.square([log(2), log(2), log(998 / 1999)])
    assert pmf_error(reference, others) == pytest.approx(expected, rel=1e-12)


def test_pmf_error_does_not_depend_on_the_number_of_points_and_is_zero_for_equal_proportions():
    counts = np.random.default_rng(0).integers(0, 5, (8, 8))
    assert pmf_error(counts, 3 * counts) == pytest.approx(0, abs=1e-25)


def test_pmf_error_sees_what_left_the_limits():
    inside = cloud(MUELLER_BROWN, 1000)
    limited = np.clip(inside, *np.transpose(MUELLER_BROWN.limits))
    counts = [pmf_histogram(part, MUELLER_BROWN) for part in (inside, limited)]
    assert pmf_error(*counts) > 1


# What cannot be compared


def test_an_empty_set_is_refused():
    empty, some = np.empty((0, 2)), cloud(SMALL)
    for pair in ((empty, some), (some, empty)):
        with pytest.raises(ValueError, match="empty"):
            compare(*pair, SMALL)
    nothing, counts = np.zeros((2, 2), int), np.ones((2, 2), int)
    with pytest.raises(ValueError, match="the first histogram is empty"):
        js_divergence(nothing, counts)
    with pytest.raises(ValueError, match="the second histogram is empty"):
        js_divergence(counts, nothing)
    with pytest.raises(ValueError, match="the histogram of the reference is empty"):
        pmf_error(nothing, counts)
    with pytest.raises(ValueError, match="the histogram of the points is empty"):
        pmf_error(counts, nothing)


@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_points_that_are_not_finite_are_refused(value: float):
    broken = points((1, 1), (value, 2))
    for count in (pmf_histogram, js_histogram):
        with pytest.raises(ValueError, match="not finite must be counted and dropped"):
            count(broken, SMALL)


# What people read


def test_compare_holds_both_metrics_in_both_definitions():
    reference, others = cloud(MUELLER_BROWN), cloud(MUELLER_BROWN, seed=1)
    found = compare(reference, others, MUELLER_BROWN)
    pmf = pmf_error(*(pmf_histogram(part, MUELLER_BROWN) for part in (reference, others)))
    fixed = js_divergence(*(js_histogram(part, MUELLER_BROWN) for part in (reference, others)))
    assert found.paper.pmf == found.corrected.pmf == pmf
    assert found.corrected.js == fixed != found.paper.js


def test_free_energy_is_minus_the_logarithm_relative_to_the_fullest_bin():
    energy = free_energy(np.array([[100, 50], [1, 0]]))
    np.testing.assert_allclose(energy, [[0, log(2)], [log(100), inf]], rtol=1e-12)


def floor(p: np.ndarray, q: np.ndarray) -> float:
    """Of a histogram for each part of both sets."""
    return js_floor(spread_of_parts(p), spread_of_parts(q))


def dice(random: np.random.Generator, parts: int, frames: int, stay: float = 0.0) -> np.ndarray:
    """Counts of a die of 5 × 5 unequal sides in each part, which falls anew with the probability 1 − stay."""
    sides = np.arange(1, 26) / np.arange(1, 26).sum()
    drawn = random.choice(25, (parts, frames), p=sides)
    fresh = random.random((parts, frames)) >= stay
    fresh[:, 0] = True
    last = np.maximum.accumulate(np.where(fresh, np.arange(frames), 0), axis=1)
    sequence = np.take_along_axis(drawn, last, axis=1)
    return np.stack([np.bincount(row, minlength=25).reshape(5, 5) for row in sequence])


@pytest.mark.parametrize("stay", [0.0, 0.9])
def test_the_floor_by_the_spread_of_parts_is_the_mean_divergence_of_such_sets(stay: float):
    """Of independent frames (K − 1)/8 (1/n₁ + 1/n₂); of frames that stay, (1 + stay)/(1 − stay) as much."""
    random = np.random.default_rng(0)
    floors, divergences = [], []
    for _ in range(200):
        p, q = dice(random, 50, 400, stay), dice(random, 30, 400, stay)
        floors.append(floor(p, q))
        divergences.append(js_divergence(p.sum(axis=0), q.sum(axis=0)))
    memory = 19 if stay else 1
    assert np.mean(floors) == pytest.approx(24 / 8 * memory * (1 / 20_000 + 1 / 12_000), rel=0.06)
    assert np.mean(floors) == pytest.approx(np.mean(divergences), rel=4 * 0.3 / np.sqrt(200))


def test_the_floor_of_sets_that_are_one_part_is_that_of_independent_frames():
    random = np.random.default_rng(1)
    p, q = dice(random, 1, 20_000), dice(random, 1, 12_000)
    assert floor(p, q) == pytest.approx(24 / 8 * (1 / 20_000 + 1 / 12_000), rel=0.05)


def test_parts_of_different_size_count_by_their_frames_and_empty_ones_not_at_all():
    """A part and two halves of it say the same of the mean; the truth is that of many draws."""
    random = np.random.default_rng(2)
    sizes = (100, 200, 400, 800, 0)
    q = dice(random, 1, 10**7)
    floors = [
        floor(np.concatenate([dice(random, 10, n) if n else np.zeros((10, 5, 5), int) for n in sizes]), q)
        for _ in range(100)
    ]
    assert np.mean(floors) == pytest.approx(24 / 8 / 15_000, rel=0.06)
