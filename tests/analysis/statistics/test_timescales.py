"""Timescales against eigenvalues of known Markov chains; kinetics against the same ones at another pace."""

import importlib.util
import sys

import numpy as np
import pytest
from scipy.linalg import expm

from fokker.analysis.statistics.timescales import (
    Kinetics,
    compare_kinetics,
    implied_timescales,
    transition_matrix,
)
from fokker.data.errors import FokkerError

from ...conftest import missing
from .test_kinetics import THREE, markov

# In detailed balance with (0.2, 0.3, 0.5).
RATES = np.array([[-0.09, 0.06, 0.03], [0.04, -0.09, 0.05], [0.012, 0.03, -0.042]])
SLOWEST, NEXT = -1 / np.sort(np.linalg.eigvals(RATES).real)[1::-1]


@pytest.fixture
def deeptime() -> None:
    if importlib.util.find_spec("deeptime") is None:
        missing("deeptime", "deeptime is not installed: pip install 'fokker[kinetics]'")


def kinetics(rates: np.ndarray, interval: float, frames: int = 4000, seed: int = 0) -> Kinetics:
    slowest = -1 / np.sort(np.linalg.eigvals(rates).real)[1]
    return Kinetics(markov(expm(rates * interval), 30, frames, seed), interval, float(slowest))


@pytest.mark.usefixtures("deeptime")
def test_implied_timescales_of_a_markov_chain_are_level_and_those_of_its_eigenvalues():
    chains = markov(expm(RATES), 60, 3000)
    found = implied_timescales(chains, [1, 2, 5, 10], 0.5, 3, processes=2)
    assert found.lags.tolist() == [0.5, 1, 2.5, 5]
    np.testing.assert_allclose(found.times[:, 0], 0.5 * SLOWEST, rtol=0.06)
    np.testing.assert_allclose(found.times[:, 1], 0.5 * NEXT, rtol=0.06)


@pytest.mark.usefixtures("deeptime")
def test_two_states_have_one_timescale():
    """−1/ln(1 − p − q)."""
    chains = markov(np.array([[0.95, 0.05], [0.02, 0.98]]), 40, 2000)
    begun_late = [np.concatenate([[-1, -1, -1], chain]) for chain in chains]
    found = implied_timescales(begun_late, [1], 1.0, 2, processes=3)
    assert found.times[0, 0] == pytest.approx(-1 / np.log(0.93), rel=0.06)
    assert np.isnan(found.times[0, 1:]).all()


@pytest.mark.usefixtures("deeptime")
def test_only_states_that_are_joined_to_and_fro_count():
    joined = markov(np.array([[0.95, 0.05], [0.02, 0.98]]), 10, 2000)
    chains = [*joined, np.full(50, 2), np.array([0, 3, 3, 3])]
    found, expected = (implied_timescales(some, [1, 2], 1.0, 4) for some in (chains, joined))
    np.testing.assert_allclose(found.times, expected.times, rtol=0.01)


@pytest.mark.usefixtures("deeptime")
@pytest.mark.parametrize(
    "chains",
    [[], [np.array([0, 1, 0])], [np.zeros(50, int)], [np.array([-1] * 50)], [np.repeat([0, 1], 50)]],
    ids=["none", "short", "one state", "no core", "one way"],
)
def test_what_chains_do_not_resolve_is_not_a_number(chains: list[np.ndarray]):
    found = implied_timescales(chains, [3, 5], 1.0, 2)
    assert np.isnan(found.times).all()
    assert found.times.shape == (2, 1)


@pytest.mark.usefixtures("deeptime")
def test_a_chain_that_alternates_has_no_timescale():
    """Its eigenvalue is negative: no exponential decays so."""
    found = implied_timescales(markov(np.array([[0.1, 0.9], [0.9, 0.1]]), 10, 500), [1], 1.0, 2)
    assert np.isnan(found.times).all()


@pytest.mark.usefixtures("deeptime")
def test_lags_and_states_are_checked():
    with pytest.raises(ValueError, match="a lag of 0 frames: it is at least 1"):
        implied_timescales([np.array([0, 1])], [2, 0], 1.0, 2)
    with pytest.raises(ValueError, match="chain 0 is in state 7"):
        implied_timescales([np.array([0, 7])], [1], 1.0, 2)


def test_without_deeptime_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "deeptime.markov", None)
    with pytest.raises(FokkerError, match=r"deeptime: pip install 'fokker\[kinetics\]'"):
        implied_timescales([np.array([0, 1])], [1], 1.0, 2)


def test_transition_matrices_of_a_markov_chain_are_its_powers():
    chains = markov(THREE, 60, 5000)
    for lag in (1, 4, 20):
        found = transition_matrix(chains, lag, 3)
        np.testing.assert_allclose(found, np.linalg.matrix_power(THREE, lag), atol=0.02)
    found = transition_matrix([np.array([-1, 0, 1, 0]), np.array([1])], 2, 3)
    np.testing.assert_array_equal(found, [[1, 0, 0], [np.nan] * 3, [np.nan] * 3])


def test_kinetics_at_another_pace_are_the_same_at_equal_fractions():
    reference, model = kinetics(RATES, 0.5), kinetics(20 * RATES, 0.05, seed=1)
    found = compare_kinetics(model, reference, 3)
    assert found.ratio == pytest.approx(1 / 20)
    np.testing.assert_allclose(found.lags[:, 1] * 0.5, found.fractions * reference.slowest, atol=0.25)
    np.testing.assert_allclose(found.lags[:, 0] * 0.05, found.fractions * model.slowest, atol=0.025)
    assert (found.distance < 0.03).all()
    for place, fraction in enumerate(found.fractions):
        expected = expm(RATES * fraction * reference.slowest)
        np.testing.assert_allclose(found.reference[place], expected, atol=0.05)
        np.testing.assert_allclose(found.model[place], expected, atol=0.05)


def test_kinetics_of_other_paths_differ_by_the_known_distance():
    """The same populations by other ways: 0 and 2 are joined by way of 1 alone."""
    other = np.array([[-0.09, 0.09, 0.0], [0.06, -0.16, 0.1], [0.0, 0.06, -0.06]])
    reference, model = kinetics(RATES, 0.5, 20_000), kinetics(other, 0.5, 20_000, 1)
    found = compare_kinetics(model, reference, 3)
    for place, lags in enumerate(0.5 * found.lags):
        one, two = (expm(rates * lag) for rates, lag in zip((other, RATES), lags, strict=True))
        expected = np.array([0.2, 0.3, 0.5]) @ np.abs(one - two).sum(axis=1) / 2
        assert found.distance[place] == pytest.approx(expected, abs=0.015)
    assert found.distance[0] > 0.03


def test_what_is_not_known_is_not_a_number():
    reference = Kinetics([np.array([0, 1, 0, 1, 0])], 1.0, 20.0)
    model = Kinetics([np.array([0, 0, 0, 0])], 1.0, 2.0)
    found = compare_kinetics(model, reference, 3, (0.1, 0.5, 10.0))
    assert found.lags.tolist() == [[0, 2], [1, 10], [20, 200]]
    assert np.isnan(found.distance).all()
    assert np.isnan(found.model[0]).all()
    # A state that the reference never occupies is not asked for.
    same = compare_kinetics(reference, reference, 3, (0.05,))
    assert same.distance.tolist() == [0]


@pytest.mark.parametrize("slowest", [0.0, np.nan, np.inf])
def test_slowest_times_are_resolved(slowest: float):
    some, bad = Kinetics([np.array([0, 1])], 1.0, 5.0), Kinetics([np.array([0, 1])], 1.0, slowest)
    with pytest.raises(ValueError, match=r"the slowest time of the model is .*: it is not resolved"):
        compare_kinetics(bad, some, 2)
    with pytest.raises(ValueError, match="the slowest time of the reference"):
        compare_kinetics(some, bad, 2)
