from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fokker.analysis.metrics import MUELLER_BROWN, RAMACHANDRAN, Plane, histogram
from fokker.analysis.systems import System
from fokker.data.bead_map import BeadMap
from fokker.data.beads import Beads
from fokker.data.files import FileError, replacing
from fokker.distributed.chunks import ChunkStore, Summary, Timer, summarise

from .conftest import disk_full

PLANE = Plane(("x", "y"), ((0.0, 4.0), (0.0, 4.0)), ((-1.0, 5.0), (-1.0, 5.0)), js_bins=4)
TOY = System("toy", PLANE, 1.0, (1.0,))
SYSTEM = System("mueller-brown", MUELLER_BROWN, 23.0, (0.5,))


def points(chains: int, frames: int) -> np.ndarray:
    return np.random.default_rng(chains).normal(size=(chains, frames, 2)).astype(np.float32)


def assert_equal(a: Summary, b: Summary) -> None:
    for field in fields(Summary):
        np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name), field.name)


def committed(directory: Path, parts: dict[int, np.ndarray]) -> ChunkStore:
    store = ChunkStore(directory)
    for index, trajectories in parts.items():
        store.commit(
            index,
            trajectories,
            summarise(trajectories, np.full((len(trajectories), 2), 23.0), SYSTEM, 10, 1.5),
        )
    return store


def test_a_summary_comes_back_as_it_was_committed(tmp_path):
    trajectories = points(3, 4)
    summary = summarise(trajectories, np.full((len(trajectories), 2), 22.0), SYSTEM, 600, 2.5)
    store = ChunkStore(tmp_path / "chunks")
    store.commit(7, trajectories, summary)
    found = store.summary(7)
    assert found is not None
    assert_equal(found, summary)
    assert type(found.frames) is int
    assert type(found.seconds) is float


def test_what_is_not_there_has_no_summary(tmp_path):
    assert ChunkStore(tmp_path / "chunks").summary(0) is None


def test_a_chunk_that_the_disk_cannot_hold_is_not_there_and_can_be_committed_again(tmp_path):
    trajectories = points(50, 20)
    store = ChunkStore(tmp_path)
    with disk_full(5000), pytest.raises(FileError, match="cannot be written: file too large"):
        committed(tmp_path, {0: trajectories})
    assert [*tmp_path.iterdir()] == []
    assert store.summary(0) is None
    committed(tmp_path, {0: trajectories})
    np.testing.assert_array_equal(store.read(1), trajectories.reshape(-1, 2))


def test_what_a_killed_worker_left_of_a_chunk_goes_when_another_commits_it(tmp_path):
    killed = []
    for index in (0, 1):
        with replacing(tmp_path / f"chunk-{index:05d}.npz") as partial:
            partial.write_bytes(b"whole")
        killed.append(partial)
        partial.write_bytes(b"half of one before it")
    (tmp_path / "chunk-00001.npz").unlink()
    committed(tmp_path, {0: points(5, 6)})
    assert {path.name for path in tmp_path.iterdir()} == {"chunk-00000.npz", killed[1].name}


def test_chunks_are_named_by_their_frames_and_not_by_when_they_were_made(tmp_path):
    """So a copy of a run, or the same run made again, is the same result."""
    first, second = points(2, 3), points(4, 3)
    store = committed(tmp_path / "one", {0: first, 1: second})
    summary = summarise(first, np.full((2, 2), 23.0), SYSTEM, 10, 99.0)
    again = committed(tmp_path / "other", {1: second})
    again.commit(0, first, summary)
    assert store.sha256(2) == again.sha256(2)
    assert len({store.sha256(1), store.sha256(2), committed(tmp_path / "one", {0: second}).sha256(1)}) == 3


@pytest.mark.parametrize("kept", [0, 100, -100])
def test_a_damaged_chunk_is_named(tmp_path, kept: int):
    committed(tmp_path, {0: points(5, 6)})
    path = ChunkStore(tmp_path).path(0)
    path.write_bytes(path.read_bytes()[:kept])
    for read in (ChunkStore(tmp_path).summary, lambda _: ChunkStore(tmp_path).trajectories(1)):
        with pytest.raises(FileError, match=r"chunk-00000\.npz is damaged \(.+\): remove it"):
            read(0)


def test_summaries_add_up_to_that_of_the_whole():
    trajectories = points(5, 6)
    parts = [
        summarise(part, np.full((len(part), 2), 2.0), TOY, 100, 0.5)
        for part in (trajectories[:2], trajectories[2:])
    ]
    whole = summarise(trajectories, np.full((len(trajectories), 2), 2.0), TOY, 200, 1.0)
    assert_equal(parts[0] + parts[1], whole)


def test_a_summary_counts_frames_on_the_bins_of_the_plane():
    points = np.array([[[0.5, 0.5], [0.5, 3.5]], [[2.5, 1.5], [0.5, 0.5]]])
    summary = summarise(points, np.array([[3.0, 2.0], [3.0, 1.5]]), TOY, 4, 1.0)
    expected = np.zeros((4, 4), int)
    expected[0, 0], expected[0, 3], expected[2, 1] = 2, 1, 1
    np.testing.assert_array_equal(summary.counts, expected)
    assert (summary.frames, summary.chains, summary.steps) == (4, 2, 4)
    assert (summary.seconds, summary.temperature_sum, summary.step_temperature_sum) == (1.0, 6.0, 3.5)


def test_frames_that_are_not_finite_are_counted_and_left_out(tmp_path):
    """In the authors' code such trajectories vanish uncounted."""
    trajectories = points(4, 3)
    trajectories[1, 2, 0] = np.nan
    trajectories[3, 1:] = np.inf
    store = committed(tmp_path, {0: trajectories})
    summary = store.summary(0)
    assert summary is not None
    assert (summary.frames, summary.not_finite, summary.chains, summary.chains_not_finite) == (12, 3, 4, 2)
    assert summary.counts.sum() == 9
    kept = [*trajectories[0], *trajectories[1, :2], *trajectories[2], trajectories[3, 0]]
    np.testing.assert_array_equal(store.read(1), np.stack(kept))


def test_chains_that_left_the_range_are_counted_once_and_their_frames_kept():
    trajectories = np.zeros((4, 3, 2))
    trajectories[0, 1] = 4.9, -0.9  # Outside the bins, inside the system.
    trajectories[1, :2] = 5.1, 0.0  # Twice outside, in one chain.
    trajectories[2, 2] = np.nan
    heat = np.arange(1.0, 1 + len(trajectories))
    summary = summarise(trajectories, np.stack([heat, 10 * heat], axis=1), TOY, 1, 1.0)
    assert (summary.chains_left, summary.chains_not_finite) == (2, 1)
    assert summary.temperature_sum == 1 + 2 + 4, "of the chains that stayed finite"
    assert summary.step_temperature_sum == 10 * (1 + 2 + 4)
    assert summary.counts.sum() == 11


def test_a_molecule_whose_bond_broke_has_left_and_its_frames_are_counted_by_their_torsions():
    beads = Beads.from_sequence("ACE-ALA-NME", BeadMap.parse("alanine-dipeptide"))
    frame = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1], [2, 1, 1]], float)  # ψ a right angle.
    system = System("ala", RAMACHANDRAN, 2.5, tuple(beads.masses), 10.0, beads, (1.0,) * 4)
    chains = np.stack([[frame, frame], [frame, 1.6 * frame], [frame, np.nan * frame]])
    summary = summarise(chains, np.ones((3, 2)), system, 2, 1.0)
    assert (summary.chains_left, summary.chains_not_finite, summary.not_finite) == (2, 1, 1)
    np.testing.assert_array_equal(
        summary.counts, histogram(system.points(chains[:1, :1])[0], RAMACHANDRAN, 64) * 5
    )


def test_frames_are_read_chunk_by_chunk_and_chain_by_chain(tmp_path):
    first, second = points(2, 3), points(4, 3)
    store = committed(tmp_path, {1: second, 0: first})
    expected = np.concatenate([first.reshape(-1, 2), second.reshape(-1, 2)])
    np.testing.assert_array_equal(store.read(2), expected)
    np.testing.assert_array_equal(store.read(1), first.reshape(-1, 2))


def test_a_timer_does_not_run_backwards():
    timer = Timer()
    first = timer.seconds()
    assert 0 <= first <= timer.seconds()


NUMBERS = st.integers(0, 2**20)
SUMMARIES = st.builds(
    lambda counts, others: Summary(np.array(counts).reshape(2, 2), *others),
    st.lists(NUMBERS, min_size=4, max_size=4),
    st.tuples(*[NUMBERS] * 6, *[NUMBERS.map(float)] * 3),
)


@given(SUMMARIES, SUMMARIES, SUMMARIES)
def test_summaries_add_up_in_any_order_and_in_any_parts(a: Summary, b: Summary, c: Summary):
    assert_equal(a + b, b + a)
    assert_equal((a + b) + c, a + (b + c))
    none = Summary(np.zeros((2, 2), int))
    assert_equal(a + none, a)
