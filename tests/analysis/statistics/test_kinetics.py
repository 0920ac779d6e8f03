"""Rates against Markov chains and a double well of known rates, and intervals against their coverage."""

from itertools import pairwise
from math import inf, log

import numpy as np
import pytest
from scipy.integrate import cumulative_simpson, simpson
from scipy.stats import poisson

from fokker.analysis.statistics.cores import Discs, milestones
from fokker.analysis.statistics.kinetics import Rate, Transitions, after_first, first_passage_of

THREE = np.array([[0.97, 0.02, 0.01], [0.01, 0.95, 0.04], [0.005, 0.015, 0.98]])


def markov(matrix: np.ndarray, chains: int, frames: int, seed: int = 0) -> list[np.ndarray]:
    """Chains that begin in every state, one after another."""
    random, ends = np.random.default_rng(seed), np.cumsum(matrix, axis=1)
    found = np.empty((frames, chains), int)
    found[0] = np.arange(chains) % len(matrix)
    for before, after, drawn in zip(found[:-1], found[1:], random.uniform(size=found.shape), strict=False):
        after[:] = (drawn[:, None] > ends[before]).sum(axis=1)
    return list(found.T)


# Intervals


def test_the_interval_covers_the_rate_at_least_as_often_as_it_says():
    counts = np.arange(200)
    rates = [Rate.of(int(count), 2.0) for count in counts]
    low, high, below = (np.array([getattr(one, end) for one in rates]) for end in ("low", "high", "below"))
    for mean in np.geomspace(0.01, 100, 400):
        probability = poisson.pmf(counts, mean)
        inside = (low <= mean / 2) & (mean / 2 <= high)
        assert probability[inside].sum() >= 0.95
        assert probability[mean / 2 <= below].sum() >= 0.95


@pytest.mark.parametrize("count", [1, 2, 10, 1000])
def test_at_the_ends_of_the_interval_the_count_would_be_a_rare_one(count: int):
    rate = Rate.of(count, 4.0)
    assert rate.value == count / 4
    assert poisson.sf(count - 1, 4 * rate.low) == pytest.approx(0.025)
    assert poisson.cdf(count, 4 * rate.high) == pytest.approx(0.025)
    assert poisson.cdf(count, 4 * rate.below) == pytest.approx(0.05)


def test_none_seen_in_a_time_is_a_rate_below_3_by_the_time():
    rate = Rate.of(0, 50.0)
    assert (rate.value, rate.low) == (0, 0)
    assert rate.below == pytest.approx(-log(0.05) / 50)
    assert rate.below == pytest.approx(3 / 50, rel=0.002)
    assert rate.high == pytest.approx(-log(0.025) / 50)


def test_no_time_says_nothing_of_a_rate():
    rate = Rate.of(0, 0.0)
    assert (rate.low, rate.high, rate.below) == (0, inf, inf)
    assert np.isnan(rate.value)


# Transitions


def test_transitions_and_times_are_counted_from_the_first_core_on():
    chains = [np.array([-1, -1, 0, 0, 1, 1, 1, 0]), np.array([1, 2]), np.array([-1, -1]), np.array([2])]
    found = Transitions.of(chains, 0.5, 3)
    assert found.counts.tolist() == [[0, 1, 0], [1, 0, 1], [0, 0, 0]]
    assert found.time.tolist() == [1.0, 2.0, 0.0]
    assert found.rate(1, 2) == Rate.of(1, 2.0)
    assert found.rates.tolist() == [[0, 1, 0], [0.5, 0, 0.5], [0, 0, 0]]


def test_chains_are_not_joined():
    chains = [np.array([0, 0]), np.array([1, 1])]
    assert not Transitions.of(chains, 1.0, 2).counts.any()


@pytest.mark.parametrize(("chain", "state"), [([0, 1, -1], -1), ([0, 2], 2), ([-1, -2, 0], -2)])
def test_numbers_that_are_no_states_are_an_error(chain: list[int], state: int):
    with pytest.raises(ValueError, match=f"chain 1 is in state {state}, and states are 0 to 1"):
        Transitions.of([np.array([0]), np.array(chain)], 1.0, 2)
    assert after_first(np.array([-1, 1, 0]), 2).tolist() == [1, 0]


@pytest.mark.parametrize("matrix", [np.array([[0.98, 0.02], [0.005, 0.995]]), THREE])
def test_rates_of_a_markov_chain_are_within_their_intervals(matrix: np.ndarray):
    found = Transitions.of(markov(matrix, 60, 5000), 0.1, len(matrix))
    assert found.time.sum() == pytest.approx(0.1 * 60 * 4999)
    for begin, end in np.argwhere(~np.eye(len(matrix), dtype=bool)):
        rate = found.rate(int(begin), int(end))
        assert rate.low < matrix[begin, end] / 0.1 < rate.high
        assert rate.value == pytest.approx(matrix[begin, end] / 0.1, rel=0.1)
        assert rate.value == found.rates[begin, end]


def test_the_intervals_of_many_sets_of_chains_hold_the_rate():
    matrix = np.array([[0.9, 0.1], [0.2, 0.8]])
    every = [Transitions.of(markov(matrix, 5, 60, seed), 1.0, 2).rate(0, 1) for seed in range(400)]
    assert np.mean([rate.low <= 0.1 <= rate.high for rate in every]) >= 0.94


# First passages


def test_first_passage_of_two_states_is_the_inverse_rate():
    found = first_passage_of(np.array([[0.0, 0.25], [2.0, 0.0]]))
    np.testing.assert_allclose(found, [[0, 4], [0.5, 0]])


def test_first_passage_of_a_markov_chain_is_that_of_its_matrix_and_of_its_steps():
    found = first_passage_of(THREE / 0.1)
    for target in range(3):
        others = [state for state in range(3) if state != target]
        steps = np.linalg.solve(np.eye(2) - THREE[np.ix_(others, others)], np.ones(2))
        np.testing.assert_allclose(found[others, target], 0.1 * steps)
    chains = np.array(markov(THREE, 3000, 3000))
    for begin in (0, 1):
        arrived = np.argmax(chains[begin::3] == 2, axis=1)
        assert (arrived > 0).all()
        assert 0.1 * arrived.mean() == pytest.approx(found[begin, 2], rel=0.06)
    assert Transitions.of(list(chains), 0.1, 3).first_passage() == pytest.approx(found, rel=0.05)


def test_where_nothing_leads_the_first_passage_is_infinite():
    # 0 → 1 ⇄ 2, 0 → 3, and 4 was never seen.
    rates = np.zeros((5, 5))
    rates[0, 1], rates[0, 3], rates[1, 2], rates[2, 1] = 1, 1, 2, 4
    found = first_passage_of(rates)
    assert found.diagonal().tolist() == [0] * 5
    assert (found[1, 2], found[2, 1]) == (0.5, 0.25)
    assert np.isfinite(found).sum() == 7
    rates[0, 3] = 0
    np.testing.assert_allclose(first_passage_of(rates)[0, :3], [0, 1, 1.5])


# A double well


def first_passage_from(begin: float, end: float, energy) -> float:
    """∫ dy exp V(y) ∫_{−∞}^y dz exp −V(z), with kT and D of 1."""
    below, across = np.linspace(-4, begin, 4001), np.linspace(begin, end, 4001)
    left = simpson(np.exp(-energy(below)), x=below)
    inner = left + cumulative_simpson(np.exp(-energy(across)), x=across, initial=0)
    return float(simpson(np.exp(energy(across)) * inner, x=across))


def test_rates_of_a_double_well_are_symmetric_and_those_of_kramers_integral():
    chains, frames, step, core = 250, 40_000, 1e-3, 0.9
    random = np.random.default_rng(0)
    values = np.empty((frames, chains))
    values[0] = np.where(np.arange(chains) % 2, -1.0, 1.0)
    for before, after in pairwise(values):
        after[:] = before - 12 * before * (before**2 - 1) * step
        after += np.sqrt(2 * step) * random.standard_normal(chains)
    cores = Discs(((-core - 9,), (core + 9,)), (9.0, 9.0))  # All beyond.
    states = [milestones(chain[:, None], cores) for chain in values.T]
    # What crosses a border between two frames is seen 0.58 √(2 D dt) later (Broadie et al., 1997).
    edge = core + 0.5826 * np.sqrt(2 * step)
    time = first_passage_from(-edge, edge, lambda x: 3 * (x**2 - 1) ** 2)
    found = Transitions.of(states, step, 2)
    for begin, end in ((0, 1), (1, 0)):
        rate = found.rate(begin, end)
        assert rate.count > 200
        assert rate.low < 1 / time < rate.high
    both = Rate.of(int(found.counts.sum()), float(found.time.sum()))
    assert both.value == pytest.approx(1 / time, rel=0.08)
    # Signs alone cross with every tremble on the barrier.
    signs = Transitions.of([(chain > 0).astype(int) for chain in values.T], step, 2)
    assert signs.counts.sum() > 5 * found.counts.sum()
