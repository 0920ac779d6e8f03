"""Points of chains in order of time, and what they say of chains that never left their place."""

import numpy as np
import pytest

from fokker.analysis import series
from fokker.analysis.series import MANY_CHAINS, Series, mixing_of, stride_for
from fokker.analysis.systems import System
from fokker.analysis.transitions import cores_of

TOY = System.particle("toy", 23.0, 0.5)


def noise(chains: int, draws: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(chains, draws)).astype(np.float32)


def filled(frames: np.ndarray, block: int, **more) -> Series:
    chains, length = frames.shape[:2]
    found, flat = Series(TOY, [length] * chains, **more), frames.reshape(-1, 2)
    for begin in range(0, len(flat), block):
        chain, number = divmod(np.arange(begin, min(begin + block, len(flat))), length)
        found.add(flat[begin : begin + block], chain, number)
    return found


@pytest.mark.parametrize("block", [1, 7, 1000])
@pytest.mark.parametrize("most", [2**22, 40, 15])
def test_every_so_many_th_frame_of_each_chain_is_kept(monkeypatch: pytest.MonkeyPatch, block: int, most: int):
    monkeypatch.setattr(series, "MOST_DRAWS", most)
    frames = np.stack([noise(5, 16), noise(5, 16, 1)], axis=-1)
    found = filled(frames, block)
    kept = found._of_one_length(np.ones(5, bool))
    np.testing.assert_array_equal(kept, frames[:, :: found.stride])
    assert found.stride == {2**22: 1, 40: 2, 15: 6}[most]


def test_strides_bound_frames_and_numbers():
    assert stride_for(0, 2) == stride_for(series.MOST_DRAWS, 2) == 1
    assert stride_for(series.MOST_DRAWS + 1, 2) == 2
    assert stride_for(series.MOST_DRAWS, 100) == 7


def test_states_are_kept_of_some_frames_alone_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch):
    cores = cores_of(TOY)
    centres = np.array([[-0.558, 1.442], [0.623, 0.028], [0.0, 5.0]], np.float32)
    visits = np.array([[2, 0, 2, 1, 1, 2, 0], [1, 1, 1, 0, 0, 0, 2]])
    states = filled(centres[visits], 4, cores=cores).states(np.array([True, True]))
    np.testing.assert_array_equal(states, [[-1, 0, 0, 1, 1, 1, 0], [1, 1, 1, 0, 0, 0, 0]])
    monkeypatch.setattr(series, "MOST_STATES", 7)
    some = filled(centres[visits], 4, cores=cores)
    assert some.state_stride == 2
    (second,) = some.states(np.array([False, True]))
    np.testing.assert_array_equal(second, [1, 1, 0, 0])


def test_of_chains_that_differ_in_length_the_most_frames_of_one_length_count():
    lengths = [10, 4, 10, 9, 1]
    found = Series(TOY, lengths)
    for chain, length in enumerate(lengths):
        frames = np.stack([noise(1, length, chain)[0]] * 2, axis=-1)
        found.add(frames, np.full(length, chain), np.arange(length))
    for broken, (chains, draws) in (
        ([], (3, 9)),
        ([0], (2, 9)),
        ([0, 2, 3], (1, 4)),
        ([0, 1, 2, 3, 4], (0, 0)),
    ):
        unbroken = ~np.isin(np.arange(5), broken)
        (own,) = found.mixing(unbroken)
        assert [(axis.chains, axis.draws) for axis in own.values()] == [(chains, draws)] * 2


def correlated(chains: int, draws: int, memory: float) -> np.ndarray:
    """Autoregressive, from equilibrium."""
    found = noise(chains, draws)
    for draw in range(1, draws):
        found[:, draw] = memory * found[:, draw - 1] + np.sqrt(1 - memory**2) * found[:, draw]
    return found


def test_many_short_chains_agree_as_superchains_and_not_one_by_one():
    found = mixing_of(correlated(400, 60, 0.7), periodic=False)
    assert found.rhat > 1.02
    assert found.agreement == found.nested_rhat < 1.01
    few = mixing_of(correlated(MANY_CHAINS - 1, 60, 0.7), periodic=False)
    assert np.isnan(few.nested_rhat)
    assert few.agreement == few.rhat


@pytest.mark.parametrize("periodic", [False, True])
def test_chains_that_never_leave_where_they_began_do_not_agree(periodic: bool):
    """Put together by chance they would: with 100 of each, √(1 + 1/100) is below 1.01."""
    stuck = np.random.default_rng(0).choice([-1.0, 1.0], (1600, 1)) + 0.1 * noise(1600, 20)
    found = mixing_of(stuck.astype(np.float32), periodic)
    assert found.nested_rhat > 1.4
    slow = np.cumsum(noise(1600, 20), axis=1) * np.float32(0.05) + noise(1600, 1, 1)
    assert mixing_of(slow, periodic).nested_rhat > 1.1


def test_single_frames_are_independent_ones():
    found = mixing_of(noise(50, 1), periodic=False)
    assert (found.ess, found.chains, found.draws) == (50.0, 50, 1)
    assert np.isnan(found.agreement)
    none = mixing_of(noise(0, 0), periodic=False)
    assert np.isnan([none.ess, none.rhat]).all()
