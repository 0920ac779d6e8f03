from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fokker.analysis.metrics import RAMACHANDRAN, histogram
from fokker.analysis.reduction import Reduction, Totals
from fokker.analysis.systems import System
from fokker.data.files import FileError, replacing
from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads
from fokker.distributed.campaigns import chunks
from fokker.distributed.campaigns.chunks import ChunkStore, Summary, Timer, summarise

from ..conftest import disk_full

SYSTEM = System.particle("mueller-brown", 23.0, 0.5)


def points(chains: int, frames: int) -> np.ndarray:
    return np.random.default_rng(chains).normal(size=(chains, frames, 2)).astype(np.float32)


def assert_equal(a: Summary | Reduction, b: Summary | Reduction) -> None:
    for field in fields(a):
        np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name), field.name)


def summary_of(trajectories: np.ndarray, kT: float = 23.0, steps: int = 10, seconds: float = 1.5) -> Summary:
    return summarise(trajectories, np.full((len(trajectories), 2), kT), SYSTEM, steps, seconds)[0]


def read(store: ChunkStore, chunks: int) -> np.ndarray:
    return np.concatenate([*store.blocks(SYSTEM, chunks)])


def committed(directory: Path, parts: dict[int, np.ndarray]) -> ChunkStore:
    store = ChunkStore(directory)
    for index, trajectories in parts.items():
        store.commit(
            index,
            trajectories,
            *summarise(trajectories, np.full((len(trajectories), 2), 23.0), SYSTEM, 10, 1.5),
        )
    return store


def test_a_summary_and_a_reduction_come_back_as_they_were_committed(tmp_path):
    trajectories = points(3, 4)
    summary, reduction = summarise(trajectories, np.full((3, 2), 22.0), SYSTEM, 600, 2.5)
    store = ChunkStore(tmp_path / "chunks")
    store.commit(7, trajectories, summary, reduction)
    found = store.summary(7)
    assert found is not None
    assert_equal(found, summary)
    assert type(found.frames) is int
    assert type(found.seconds) is float
    again = store._read(7, Reduction)
    assert_equal(again, reduction)
    assert again.low.dtype == np.float32


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
    np.testing.assert_array_equal(read(store, 1), trajectories.reshape(-1, 2))


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
    again = committed(tmp_path / "other", {1: second})
    again.commit(0, first, *summarise(first, np.full((2, 2), 23.0), SYSTEM, 10, 99.0))
    assert store.sha256(2) == again.sha256(2)
    assert len({store.sha256(1), store.sha256(2), committed(tmp_path / "one", {0: second}).sha256(1)}) == 3


@pytest.mark.parametrize("kept", [0, 100, -100])
def test_a_damaged_chunk_is_named(tmp_path, kept: int):
    committed(tmp_path, {0: points(5, 6)})
    path = ChunkStore(tmp_path).path(0)
    path.write_bytes(path.read_bytes()[:kept])
    store = ChunkStore(tmp_path)
    for reads in (lambda: store.summary(0), lambda: read(store, 1), lambda: store.frames(SYSTEM, 1)):
        with pytest.raises(FileError, match=r"chunk-00000\.npz is damaged \(.+\): remove it"):
            reads()


def test_summaries_add_up_to_that_of_the_whole():
    trajectories = points(5, 6)
    parts = [summary_of(part, 2.0, 100, 0.5) for part in (trajectories[:2], trajectories[2:])]
    assert_equal(parts[0] + parts[1], summary_of(trajectories, 2.0, 200, 1.0))


def test_chunks_are_a_set_whose_parts_are_chains(tmp_path):
    """Whatever chunks they came in, with draws of whole chains for the error."""
    trajectories = points(9, 6)
    found = [
        committed(tmp_path / name, dict(enumerate(parts))).frames(SYSTEM, len(parts), draws=4)
        for name, parts in (("one", [trajectories]), ("three", np.split(trajectories, [2, 7])))
    ]
    one, three = (each.totals for each in found)
    for name, value in vars(one.spreads[0]).items():
        np.testing.assert_array_equal(vars(three.spreads[0])[name], value, name)
    assert one.spreads[0].parts == 9
    np.testing.assert_array_equal(one.drawn[0][0], three.drawn[0][0])
    np.testing.assert_array_equal(one.js[0], histogram(trajectories.reshape(-1, 2), SYSTEM.shown.grid))
    np.testing.assert_array_equal(np.concatenate([*found[1].blocks()]), trajectories.reshape(-1, 2))
    alone = committed(tmp_path / "alone", {0: points(1, 6)}).frames(SYSTEM, 1, draws=4)
    assert len(alone.totals.drawn[0][0]) == 0


def test_a_long_chunk_is_read_in_blocks(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(chunks, "BLOCK", 5)
    trajectories = points(4, 3)
    blocks = [*committed(tmp_path, {0: trajectories}).blocks(SYSTEM, 1)]
    assert [len(block) for block in blocks] == [5, 5, 2]
    np.testing.assert_array_equal(np.concatenate(blocks), trajectories.reshape(-1, 2))


def test_a_summary_counts_chains_steps_and_heat():
    summary = summarise(points(2, 2), np.array([[3.0, 2.0], [3.0, 1.5]]), SYSTEM, 4, 1.0)[0]
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
    assert store.frames(SYSTEM, 1).totals.js[0].sum() == 9
    kept = [*trajectories[0], *trajectories[1, :2], *trajectories[2], trajectories[3, 0]]
    np.testing.assert_array_equal(read(store, 1), np.stack(kept))


def test_chains_that_left_the_range_are_counted_once_and_their_frames_kept():
    trajectories = np.zeros((4, 3, 2))
    trajectories[0, 1] = 1.9, -1.9  # Outside the bins, inside the system.
    trajectories[1, :2] = 2.1, 0.0  # Twice outside, in one chain.
    trajectories[2, 2] = np.nan
    heat = np.arange(1.0, 1 + len(trajectories))
    summary, reduction = summarise(trajectories, np.stack([heat, 10 * heat], axis=1), SYSTEM, 1, 1.0)
    assert (summary.chains_left, summary.chains_not_finite) == (2, 1)
    assert summary.temperature_sum == 1 + 2 + 4, "of the chains that stayed finite"
    assert summary.step_temperature_sum == 10 * (1 + 2 + 4)
    assert Totals(SYSTEM, [reduction]).frames == 11


def test_a_molecule_whose_bond_broke_has_left_and_its_frames_are_counted_by_their_torsions():
    beads = Beads.from_sequence("ACE-ALA-NME", BeadMap.parse("alanine-dipeptide"))
    frame = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1], [2, 1, 1]], float)  # ψ a right angle.
    system = System.molecule("ala", beads, (1.0,) * 4, 300.0)
    chains = np.stack([[frame, frame], [frame, 1.6 * frame], [frame, np.nan * frame]])
    summary, reduction = summarise(chains, np.ones((3, 2)), system, 2, 1.0)
    assert (summary.chains_left, summary.chains_not_finite, summary.not_finite) == (2, 1, 1)
    np.testing.assert_array_equal(
        Totals(system, [reduction]).js[0], histogram(system.shown(chains[:1, :1])[0], RAMACHANDRAN) * 5
    )


def test_crossings_of_phi_are_counted_along_each_chain():
    beads = Beads.from_sequence("ACE-ALA-NME", BeadMap.parse("alanine-dipeptide"))
    system = System.molecule("ala", beads, (1.0,) * 4, 300.0)
    frames = np.random.default_rng(0).normal(size=(3, 20, 5, 3))
    positive = system.phi(frames) > 0
    near = np.abs(np.diff(system.phi(frames), axis=1)) < np.pi
    summary, reduction = summarise(frames, np.ones((3, 2)), system, 2, 1.0)
    assert summary.crossings == ((positive[:, 1:] != positive[:, :-1]) & near).sum() > 0
    assert reduction.phi_positive == positive.sum()
    assert summary_of(points(2, 9)).crossings == 0


def test_frames_are_read_chunk_by_chunk_and_chain_by_chain(tmp_path):
    first, second = points(2, 3), points(4, 3)
    store = committed(tmp_path, {1: second, 0: first})
    expected = np.concatenate([first.reshape(-1, 2), second.reshape(-1, 2)])
    np.testing.assert_array_equal(read(store, 2), expected)
    np.testing.assert_array_equal(read(store, 1), first.reshape(-1, 2))


def test_a_timer_does_not_run_backwards():
    timer = Timer()
    first = timer.seconds()
    assert 0 <= first <= timer.seconds()


NUMBERS = st.integers(0, 2**20)
SUMMARIES = st.tuples(*[NUMBERS] * 7, *[NUMBERS.map(float)] * 3).map(lambda values: Summary(*values))


@given(SUMMARIES, SUMMARIES, SUMMARIES)
def test_summaries_add_up_in_any_order_and_in_any_parts(a: Summary, b: Summary, c: Summary):
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + Summary() == a
