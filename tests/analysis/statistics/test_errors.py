"""Errors by the jackknife against the spread of repetitions, and metrics against those of the package."""

import tracemalloc
from math import log

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.stats import wasserstein_distance

from fokker.analysis import reduction
from fokker.analysis.metrics import js_divergence, js_floor, pmf_error
from fokker.analysis.reduction import Reduction, Totals, held, reduce, width_of
from fokker.analysis.statistics import errors
from fokker.analysis.statistics.errors import (
    Parts,
    effective_js_floor,
    histograms,
    js_estimate,
    lengths,
    pmf_estimate,
    pooled,
    wasserstein_estimate,
)
from fokker.analysis.systems import System
from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads

from ..points import spread_of_parts

BEADS = Beads.from_sequence("AKF", BeadMap.parse("backbone"))
MOLECULE = System.molecule("AKF", BEADS, [0.3] * len(BEADS.bonds), 300.0)
TOY = System.particle("toy", 23.0, 0.5)
TRUE = np.array([0.4, 0.3, 0.15, 0.1, 0.05])
OTHER = np.array([0.3, 0.3, 0.2, 0.1, 0.1])


def frames_of(system: System, count: int, seed: int = 0) -> np.ndarray:
    return (0.5 * np.random.default_rng(seed).normal(size=(count, *system.shape))).astype(np.float32)


def sticky(chains: int, frames: int, proportions: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Histograms of chains whose frames come ten by ten: a tenth of them are independent."""
    return 10 * random.multinomial(frames // 10, proportions, size=chains)


def parts(counts: np.ndarray) -> Parts:
    return csr_array(counts)


@pytest.mark.parametrize("system", [TOY, MOLECULE])
@pytest.mark.parametrize("alike", [False, True])
def test_values_are_those_of_the_metrics(system: System, alike: bool):
    reference = held(system, frames_of(system, 300, 1)).totals
    frames = [frames_of(system, 200, seed) * 1.2 for seed in (2, 3, 4)]
    made = [reduce(system, each, np.arange(200) % 5, 5) for each in frames]
    totals = Totals(system, made, alike=alike)
    for place in range(len(system.projections)):
        js, pmf = (histograms(system, made, place, kind, alike) for kind in ("js", "pmf"))
        assert js.shape == (5 if alike else 15, reference.js[place].size)
        assert js_estimate(js, pooled(reference.js[place].ravel())).value == pytest.approx(
            js_divergence(totals.js[place], reference.js[place])
        )
        assert pmf_estimate(pmf, pooled(reference.pmf[place].ravel())).value == pytest.approx(
            pmf_error(reference.pmf[place], totals.pmf[place])
        )
    for pair in range(len(system.pairs)):
        found = wasserstein_estimate(
            lengths(made, pair), pooled(*reference.lengths(pair)[::-1]), width_of(system, pair)
        )
        assert found.value == pytest.approx(reduction.wasserstein(totals, reference, pair))


def explicit(metric, chains: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Error and corrected value by leaving out one row after another, of both sets."""
    value = metric(chains.sum(axis=0), reference.sum(axis=0))
    variance, bias = 0.0, 0.0
    for own, others in ((chains, reference), (reference, chains)):
        if len(own) > 1:
            left = [metric(np.delete(own, i, 0).sum(axis=0), others.sum(axis=0)) for i in range(len(own))]
            variance += (len(own) - 1) / len(own) * np.sum((np.array(left) - np.mean(left)) ** 2)
            bias += (len(own) - 1) * (np.mean(left) - value)
    return float(np.sqrt(variance)), float(value - bias)


@pytest.mark.parametrize("rows", [1, 7])
@pytest.mark.parametrize("dense", [1, 12, 2**20])
def test_the_jackknife_leaves_out_each_part_of_both_sets(
    rows: int, dense: int, monkeypatch: pytest.MonkeyPatch
):
    """Whatever the size of a block, and as if chains without frames were not there."""
    monkeypatch.setattr(errors, "DENSE", dense)
    random = np.random.default_rng(0)
    chains, reference = sticky(9, 100, OTHER, random), sticky(rows, 100, TRUE, random)
    chains[:, 3] = reference[:, 3] = 0
    with_empty = np.insert(chains, [0, 4, 9], 0, axis=0)
    error, corrected = explicit(js_divergence, chains, reference)
    found = js_estimate(parts(with_empty), parts(reference))
    assert (found.error, found.corrected) == (pytest.approx(error), pytest.approx(corrected))
    found = pmf_estimate(parts(with_empty), parts(reference))
    assert found.error == pytest.approx(explicit(lambda p, q: pmf_error(q, p), chains, reference)[0])

    fine = (np.arange(5 * 256) + 0.5) / 256

    def distance(p: np.ndarray, q: np.ndarray) -> float:
        """Of frames that are spread over their bins."""
        return wasserstein_distance(fine, fine, np.repeat(p, 256), np.repeat(q, 256))

    found = wasserstein_estimate(parts(with_empty), parts(reference), 0.5)
    assert found.value == pytest.approx(0.5 * distance(chains.sum(axis=0), reference.sum(axis=0)), rel=1e-3)
    assert found.error == pytest.approx(0.5 * explicit(distance, chains, reference)[0], rel=1e-3)
    assert np.isnan(found.corrected)


def test_projections_side_by_side_have_the_mean_of_their_metrics():
    """And the error of that mean, which is as large as theirs where both are the same."""
    random = np.random.default_rng(0)
    one, two = (sticky(9, 100, OTHER, random) for _ in range(2))
    first, second = (sticky(7, 200, TRUE, random) for _ in range(2))
    one[:, 3] = first[:, 4] = second[:, 0] = 0
    one[:, 1] += 100 - one.sum(axis=1)
    for both in (first, second):
        both[:, 2] += 200 - both.sum(axis=1)
    metrics = (js_estimate, pmf_estimate), (js_estimate, lambda p, q: pmf_estimate(p, q, projections=2))
    for alone, together in zip(*metrics, strict=True):
        found = together(parts(np.hstack([one, two])), parts(np.hstack([first, second])))
        each = [alone(parts(p), parts(q)) for p, q in ((one, first), (two, second))]
        assert found.value == pytest.approx(np.mean([of.value for of in each]))
        assert found.corrected == pytest.approx(np.mean([of.corrected for of in each]), nan_ok=True)
        twice = together(parts(np.hstack([one, one])), parts(np.hstack([first, first])))
        assert (twice.value, twice.error) == pytest.approx((each[0].value, each[0].error))


def test_errors_are_the_spread_of_repetitions_and_the_corrected_js_has_no_bias():
    random = np.random.default_rng(0)
    truth = js_divergence((1000 * OTHER).astype(int), (1000 * TRUE).astype(int))
    exact = pooled((1000 * TRUE).astype(int))
    found = [js_estimate(parts(sticky(30, 100, OTHER, random)), exact) for _ in range(400)]
    values, squares = np.array([one.value for one in found]), np.array([one.error**2 for one in found])
    assert np.sqrt(squares.mean()) == pytest.approx(values.std(), rel=0.1)
    standard_error = values.std() / 20
    assert values.mean() - truth > 4 * standard_error
    assert abs(np.mean([one.corrected for one in found]) - truth) < 2 * standard_error


@pytest.mark.parametrize("metric", [pmf_estimate, lambda p, q: wasserstein_estimate(p, q, 1.0)])
def test_errors_of_the_other_metrics_are_the_spread_of_repetitions(metric):
    random = np.random.default_rng(0)
    sets = [(parts(sticky(30, 200, OTHER, random)), parts(sticky(40, 200, TRUE, random))) for _ in range(300)]
    found = [metric(*both) for both in sets]
    spread = np.std([one.value for one in found])
    assert np.sqrt(np.mean([one.error**2 for one in found])) == pytest.approx(spread, rel=0.15)


def test_corrected_js_of_two_sets_of_one_distribution_is_0_on_average():
    random = np.random.default_rng(1)
    found = [
        js_estimate(parts(sticky(40, 200, TRUE, random)), parts(sticky(30, 200, TRUE, random)))
        for _ in range(300)
    ]
    mean = np.mean([one.value for one in found])
    assert mean == pytest.approx(
        effective_js_floor(np.ones(5, int), np.ones(5, int), (800.0, 600.0)), rel=0.1
    )
    assert abs(np.mean([one.corrected for one in found])) < 0.1 * mean


def test_the_floor_is_that_by_how_independent_frames_spread():
    random = np.random.default_rng(0)
    counts = random.multinomial(1, np.full(50, 0.02), size=4000)
    first, second = spread_of_parts(counts[:3000]), spread_of_parts(counts[3000:])
    floor = effective_js_floor(first.counts, second.counts, (3000.0, 1000.0))
    assert floor == pytest.approx(49 / 8 * (1 / 3000 + 1 / 1000))
    assert js_floor(first, second) == pytest.approx(floor, rel=0.02)


def test_one_chain_has_no_error():
    found = js_estimate(pooled(np.array([3, 1])), parts(np.array([[1, 1], [2, 1]])))
    assert found.value > 0
    assert np.isnan([found.error, found.corrected]).all()


def test_disjoint_sets_have_a_js_of_ln_2_without_error():
    found = js_estimate(parts(np.array([[3, 1, 0], [2, 5, 0]])), pooled(np.array([0, 0, 7])))
    assert (found.value, found.error) == (pytest.approx(log(2)), pytest.approx(0, abs=1e-12))


def test_thousands_of_chains_take_little_memory():
    """Densely their bins would be 8000 × 10,000 numbers of eight bytes: 640 MB."""
    random = np.random.default_rng(0)
    cells = np.sort(random.integers(10_000, size=(8000, 20)), axis=1)
    chains = csr_array((np.ones(160_000, int), cells.ravel(), np.arange(8001) * 20), shape=(8000, 10_000))
    tracemalloc.start()
    found = js_estimate(chains, pooled(np.ones(10_000, int)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**27
    assert found.error > 0


def test_sets_without_frames_are_an_error():
    some, none = pooled(np.array([1, 2])), pooled(np.array([0, 0]))
    for metric in (js_estimate, pmf_estimate, lambda p, q: wasserstein_estimate(p, q, 1.0)):
        with pytest.raises(ValueError, match="no frames of the chains"):
            metric(none, some)
        with pytest.raises(ValueError, match="no frames of the reference"):
            metric(some, none)
    nothing: list[Reduction] = []
    with pytest.raises(ValueError, match="no reduction"):
        histograms(TOY, nothing, 0, "js")
    with pytest.raises(ValueError, match="no frames of the chains"):
        wasserstein_estimate(lengths(nothing, 0), some, 1.0)


@pytest.mark.parametrize("frames", [(0.0, 5.0), (5.0, -1.0), (5.0, float("nan"))])
def test_effective_frames_are_positive(frames: tuple[float, float]):
    with pytest.raises(ValueError, match="effective frames are positive"):
        effective_js_floor(np.ones(3, int), np.ones(3, int), frames)
