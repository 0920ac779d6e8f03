"""Convergence against chains whose autocorrelation is known, and formulas written out."""

import numpy as np
import pytest
from scipy.stats import norm, rankdata

from fokker.analysis.statistics.convergence import Convergence, convergence, nested_convergence


def autoregressive(chains: int, draws: int, rho: float, seed: int = 0) -> np.ndarray:
    """x' = ρ x + √(1 − ρ²) ξ, stationary: N frames are worth N (1 − ρ)/(1 + ρ)."""
    noise = np.random.default_rng(seed).normal(size=(draws, chains))
    found = noise.copy()
    for before, after, each in zip(found[:-1], found[1:], noise[1:], strict=True):
        after[:] = rho * before + np.sqrt(1 - rho**2) * each
    return found.T.copy()


def normal_scores(values: np.ndarray) -> np.ndarray:
    return norm.ppf((rankdata(values) - 3 / 8) / (values.size + 1 / 4)).reshape(values.shape)


def halves(draws: np.ndarray) -> np.ndarray:
    half = draws.shape[1] // 2
    return np.concatenate([draws[:, :half], draws[:, -half:]])


def folded(draws: np.ndarray) -> np.ndarray:
    return np.abs(draws - np.median(draws))


def rhat_of(chains: np.ndarray) -> float:
    """Gelman and Rubin's, of chains as they are."""
    count, within = chains.shape[1], chains.var(axis=1, ddof=1).mean()
    return float(np.sqrt((count - 1) / count + chains.mean(axis=1).var(ddof=1) / within))


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9, 0.97])
def test_effective_frames_of_autoregressive_chains(rho: float):
    found = convergence(autoregressive(20, 10_000, rho))
    assert found.ess == pytest.approx(200_000 * (1 - rho) / (1 + rho), rel=0.07)
    assert (found.chains, found.draws) == (20, 10_000)
    assert found.converged()


@pytest.mark.parametrize("draws", [4, 5, 50, 51])
def test_rhat_is_the_larger_one_of_ranks_and_of_folded_ranks(draws: int):
    chains = autoregressive(6, draws, 0.8) * np.linspace(0.5, 2, 6)[:, None]
    parts = halves(chains)
    expected = max(rhat_of(normal_scores(parts)), rhat_of(normal_scores(folded(parts))))
    assert convergence(chains).rhat == pytest.approx(expected, rel=1e-12)


def test_neither_depends_on_the_scale_of_an_observable():
    chains = autoregressive(4, 200, 0.5)
    assert convergence(np.exp(5 * chains)).ess == pytest.approx(convergence(chains).ess)
    assert convergence(chains.astype(np.float32)).rhat == pytest.approx(convergence(chains).rhat, rel=1e-3)


def test_a_chain_elsewhere_or_wider_than_the_others_is_noticed():
    chains = autoregressive(8, 1000, 0.3)
    chains[0] += 3
    assert not convergence(chains).converged()
    wider = autoregressive(8, 1000, 0.3)
    wider[0] *= 5
    assert convergence(wider).rhat > 1.01


def test_angles_have_no_border():
    """Around ±π an angle jumps, and its cosine and sine do not."""
    angles = (np.pi + 0.3 * autoregressive(8, 2000, 0.9) + np.pi) % (2 * np.pi) - np.pi
    found, sine = convergence(angles, periodic=True), convergence(np.sin(angles))
    cosine = convergence(np.cos(angles))
    assert found.rhat == max(sine.rhat, cosine.rhat)
    assert found.ess == min(sine.ess, cosine.ess)
    turned = convergence((angles + np.pi) % (2 * np.pi), periodic=True)
    assert turned.ess == pytest.approx(found.ess, rel=0.01)


def test_of_an_angle_that_only_changes_its_sign_the_sine_counts():
    signs = np.where(autoregressive(4, 500, 0.5) > 0, 1.0, -1.0)
    assert convergence(signs * 0.7, periodic=True) == convergence(np.sin(signs * 0.7))


@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("shape", [(3, 100), (1, 100), (1, 1), (5, 3)])
def test_what_is_constant_or_too_short_is_not_defined(shape: tuple[int, int], periodic: bool):
    constant = np.full(shape, 0.7)
    some = constant if shape[1] > 3 else autoregressive(*shape, 0.5)
    for found in (
        convergence(some, periodic),
        nested_convergence(some, np.arange(shape[0]) % 2, periodic),
    ):
        assert np.isnan([found.rhat, found.ess]).all()
        assert (found.draws, found.converged()) == (shape[1], False)


def test_one_chain_has_effective_frames_but_agrees_with_nobody():
    found = convergence(autoregressive(1, 20_000, 0.5))
    assert np.isnan(found.rhat)
    assert found.ess == pytest.approx(20_000 / 3, rel=0.1)
    assert not found.converged()


def test_chains_that_stay_where_they_are_do_not_agree():
    found = convergence(np.repeat([[0.0], [1.0], [5.0]], 1000, axis=1))
    assert found.rhat > 1e6
    assert not found.converged()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_draws_that_are_not_finite_are_an_error(bad: float):
    chains = autoregressive(3, 10, 0.5)
    chains[1, 4] = bad
    for judge in (convergence, lambda draws: nested_convergence(draws, np.arange(3))):
        with pytest.raises(ValueError, match="draws of chain 1 are not finite"):
            judge(chains)


@pytest.mark.parametrize("shape", [(0, 10), (3, 0)])
def test_no_draws_are_an_error(shape: tuple[int, int]):
    with pytest.raises(ValueError, match=f"no draws: {shape[0]} chains of {shape[1]}"):
        convergence(np.zeros(shape))


def test_limits_can_be_chosen():
    assert Convergence(1.05, 300.0, 4, 100).converged(rhat=1.1, ess=200.0)
    assert not Convergence(1.05, 300.0, 4, 100).converged(rhat=1.1)
    assert not Convergence(1.05, 300.0, 4, 100).converged(ess=200.0)


# Nested R̂


def nested_rhat_of(chains: np.ndarray, groups: np.ndarray) -> float:
    """Equations 4 to 8 of Margossian et al."""
    each = [chains[groups == name] for name in np.unique(groups)]
    between = np.var([one.mean() for one in each], ddof=1)
    within = np.mean([one.mean(axis=1).var(ddof=1) + one.var(axis=1, ddof=1).mean() for one in each])
    return float(np.sqrt(1 + between / within))


def test_nested_rhat_is_that_of_its_paper():
    chains = autoregressive(24, 20, 0.9)
    groups = np.random.default_rng(0).permutation(np.repeat([3, 7, 20], 8))
    twice = np.tile(groups, 2)
    parts = halves(chains)
    expected = max(
        nested_rhat_of(normal_scores(parts), twice), nested_rhat_of(normal_scores(folded(parts)), twice)
    )
    assert nested_convergence(chains, groups).rhat == pytest.approx(expected, rel=1e-12)


def test_many_short_chains_agree_together_though_each_is_short():
    chains, groups = autoregressive(512, 20, 0.9), np.arange(512) // 32
    assert convergence(chains).rhat > 1.5
    found = nested_convergence(chains, groups)
    assert found.rhat < 1.03
    assert found.ess == convergence(chains).ess
    # From its own starting point each group has not arrived.
    away = chains + np.repeat(np.random.default_rng(0).normal(size=16), 32)[:, None]
    assert nested_convergence(away, groups).rhat > 1.2


def test_independent_frames_have_the_least_that_many_chains_can():
    """M chains that are each worth one frame: 1/M beside a variance of 2 M halves that are equal in pairs."""
    chains = np.repeat(np.random.default_rng(0).normal(size=(4000, 1)), 20, axis=1)
    chains += 1e-3 * autoregressive(4000, 20, 0)
    found = nested_convergence(chains, np.arange(4000) // 4)
    assert found.rhat == pytest.approx(np.sqrt(1 + 1 / 4 / (2 * 3 / 7)), rel=0.01)


def test_lost_chains_leave_superchains_of_one_size():
    chains, groups = autoregressive(60, 20, 0.9), np.arange(60) // 20
    kept = np.delete(np.arange(60), [0, 1, 45])
    trimmed = np.delete(np.arange(60), [0, 1, 38, 39, 45, 59])
    found = nested_convergence(chains[kept], groups[kept])
    assert found == nested_convergence(chains[trimmed], groups[trimmed])
    assert found.chains == 54


def test_one_superchain_agrees_with_nobody():
    found = nested_convergence(autoregressive(8, 100, 0.5), np.zeros(8, int))
    assert np.isnan(found.rhat)
    assert found.ess > 100


def test_superchains_are_named_for_every_chain():
    with pytest.raises(Exception, match="chains"):
        nested_convergence(autoregressive(8, 100, 0.5), np.zeros(7, int))
