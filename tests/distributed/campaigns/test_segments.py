"""Files of segments: what comes back, and what it adds up to. All are made in one way, hence the length."""

from dataclasses import fields, replace
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
from fokker.distributed.campaigns import segments
from fokker.distributed.campaigns.segments import (
    LEFT,
    NOT_FINITE,
    ConflictError,
    Loss,
    Made,
    Segment,
    State,
    Store,
    Summary,
    summarise,
)

from ..conftest import disk_full

SYSTEM = System.particle("mueller-brown", 23.0, 0.5)
ALANINE = System.molecule(
    "ala", Beads.from_sequence("ACE-ALA-NME", BeadMap.parse("alanine-dipeptide")), (1.0,) * 4, 300.0
)


def points(chains: int, frames: int) -> np.ndarray:
    return np.random.default_rng(chains).normal(size=(chains, frames, 2)).astype(np.float32)


def made(trajectories: np.ndarray, kT: float = 23.0, **more) -> Made:
    heat = np.broadcast_to(np.array([kT, kT - 1])[:, None, None], (2, *trajectories.shape[:2]))
    return Made(trajectories, heat, **more)


def segment_of(trajectories: np.ndarray, first: int = 0, begin: int = 0) -> Segment:
    """Of frames after every step."""
    return Segment(first, len(trajectories), begin, begin + trajectories.shape[1])


def assert_equal(a: Summary | Reduction, b: Summary | Reduction) -> None:
    for field in fields(a):
        np.testing.assert_array_equal(getattr(a, field.name), getattr(b, field.name), field.name)


def summary_of(trajectories: np.ndarray, system: System = SYSTEM, **more) -> Summary:
    return summarise(made(trajectories, **more), segment_of(trajectories), system, 10, 1.5)[0]


def commit(
    store: Store, trajectories: np.ndarray, first: int = 0, begin: int = 0, seconds: float = 1.5
) -> None:
    segment, found = segment_of(trajectories, first, begin), made(trajectories)
    store.commit(segment, found, *summarise(found, segment, SYSTEM, 10, seconds))


def read(store: Store) -> np.ndarray:
    return np.concatenate([*store.blocks(SYSTEM)])


def committed(directory: Path, parts: dict[tuple[int, int], np.ndarray]) -> Store:
    """Trajectories by their first chain and the step before their first frame."""
    for (first, begin), trajectories in parts.items():
        commit(Store(directory), trajectories, first, begin)
    return Store(directory)


def test_a_segment_is_named_by_its_chains_and_steps():
    segment = Segment(50, 10, 400, 800)
    assert segment.name == "chains-000050-0010-steps-0000000400-0000000800.npz"
    assert Segment.of(segment.name) == segment
    assert Segment.of("ledger.jsonl") is Segment.of(segment.name.replace("npz", "xtc")) is None


def test_what_a_segment_came_to_is_read_as_it_was_committed(tmp_path):
    trajectories, random = points(3, 4), np.random.default_rng(0)
    end = State(
        random.normal(size=(3, 2)).astype(np.float32),
        random.normal(size=(3, 2)).astype(np.float32),
        np.array([4, 2, 4]),
        np.array([False, True, False]),
    )
    losses = (Loss(8, 2, LEFT),)
    found, segment = made(trajectories, end=end, left=1, losses=losses), segment_of(trajectories, 7)
    summary, reduction = summarise(found, segment, SYSTEM, 600, 2.5)
    Store(tmp_path / "segments").commit(segment, found, summary, reduction)
    store = Store(tmp_path / "segments")
    assert store.segments == [segment]
    assert_equal(store.summary(segment), summary)
    assert (type(store.summary(segment).frames), type(store.summary(segment).seconds)) == (int, float)
    assert store.losses(segment) == [*losses]
    for one, other in zip(store.state(segment), end, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    again = store._read(segment, Reduction)
    assert_equal(again, reduction)
    assert again.low.dtype == np.float32


def test_only_segments_without_a_gap_before_them_count(tmp_path):
    store = committed(tmp_path, {(0, 0): points(2, 3), (0, 3): points(2, 2), (0, 9): points(2, 1)})
    (tmp_path / "ledger.jsonl").write_text("")
    assert [(s.begin, s.end) for s in store.segments] == [(0, 3), (3, 5)]
    assert Store(tmp_path / "nowhere").segments == []


def test_a_segment_that_the_disk_cannot_hold_is_not_there_and_can_be_committed_again(tmp_path):
    trajectories = points(50, 20)
    with disk_full(5000), pytest.raises(FileError, match="cannot be written: file too large"):
        commit(Store(tmp_path), trajectories)
    assert [*tmp_path.iterdir()] == []
    commit(Store(tmp_path), trajectories)
    np.testing.assert_array_equal(read(Store(tmp_path)), trajectories.reshape(-1, 2))


def test_what_a_killed_worker_left_of_a_segment_goes_when_another_commits_it(tmp_path):
    killed = []
    for first in (0, 5):
        with replacing(Store(tmp_path).path(segment_of(points(5, 6), first))) as partial:
            partial.write_bytes(b"whole")
        killed.append(partial)
    for path in [*tmp_path.iterdir()]:
        path.unlink()
    for partial in killed:
        partial.write_bytes(b"half of one before it")
    commit(Store(tmp_path), points(5, 6))
    assert {path.name for path in tmp_path.iterdir()} == {
        segment_of(points(5, 6)).name,
        killed[1].name,
    }


def test_a_second_commit_changes_nothing_and_one_that_differs_is_kept_as_an_error(tmp_path):
    trajectories = points(2, 3)
    commit(Store(tmp_path), trajectories)
    (path,) = tmp_path.iterdir()
    before = path.stat().st_ino, path.read_bytes()
    commit(Store(tmp_path), trajectories, seconds=99.0)
    assert (path.stat().st_ino, path.read_bytes()) == before
    with pytest.raises(ConflictError, match="computed again, it is not the same"):
        commit(Store(tmp_path), trajectories + 1e-6)
    assert (path.stat().st_ino, path.read_bytes()) == before
    (other,) = set(tmp_path.iterdir()) - {path}
    assert other.suffix == ".conflict"
    np.testing.assert_array_equal(np.load(other)["trajectories"], trajectories + np.float32(1e-6))


def test_segments_are_named_by_their_frames_and_not_by_when_they_were_made(tmp_path):
    """So a copy of a run, or the same run made again, is the same result."""
    first, second = points(2, 3), points(4, 3)
    one = committed(tmp_path / "one", {(0, 0): first, (2, 0): second})
    commit(Store(tmp_path / "other"), second, 2, seconds=99.0)
    commit(Store(tmp_path / "other"), first)
    assert one.sha256() == Store(tmp_path / "other").sha256()
    half = committed(tmp_path / "half", {(0, 0): first})
    changed = committed(tmp_path / "changed", {(0, 0): first, (2, 0): 2 * second})
    assert len({one.sha256(), half.sha256(), changed.sha256()}) == 3


@pytest.mark.parametrize("kept", [0, 100, -100])
def test_a_damaged_segment_is_named(tmp_path, kept: int):
    commit(Store(tmp_path), points(5, 6))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:kept])
    store, segment = Store(tmp_path), segment_of(points(5, 6))
    for reads in (lambda: store.summary(segment), lambda: read(store), lambda: store.frames(SYSTEM)):
        with pytest.raises(FileError, match=r"chains-000000.*\.npz is damaged \(.+\): remove it"):
            reads()


def test_chains_are_the_parts_of_a_set_whatever_segments_they_came_in(tmp_path):
    """With draws of whole chains for the error."""
    trajectories = points(9, 6)
    split = {
        (first, begin): trajectories[first:last, begin:end]
        for first, last in ((0, 2), (2, 7), (7, 9))
        for begin, end in ((0, 4), (4, 6))
    }
    found = [
        committed(tmp_path / name, parts).frames(SYSTEM, draws=4)
        for name, parts in (("one", {(0, 0): trajectories}), ("six", split))
    ]
    one, six = (each.totals for each in found)
    for name, value in vars(one.spreads[0]).items():
        np.testing.assert_array_equal(vars(six.spreads[0])[name], value, name)
    assert one.spreads[0].parts == 9
    np.testing.assert_array_equal(one.drawn[0][0], six.drawn[0][0])
    np.testing.assert_array_equal(one.extremes[0], six.extremes[0])
    np.testing.assert_array_equal(one.js[0], histogram(trajectories.reshape(-1, 2), SYSTEM.shown.grid))
    rows = [np.sort(np.concatenate([*each.blocks()]), axis=0) for each in found]
    np.testing.assert_array_equal(rows[0], rows[1])
    alone = committed(tmp_path / "alone", {(0, 0): points(1, 6)}).frames(SYSTEM, draws=4)
    assert len(alone.totals.drawn[0][0]) == 0


def test_a_long_segment_is_read_in_blocks(tmp_path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(segments, "BLOCK", 5)
    trajectories = points(4, 3)
    blocks = [*committed(tmp_path, {(0, 0): trajectories}).blocks(SYSTEM)]
    assert [len(block) for block in blocks] == [5, 5, 2]
    np.testing.assert_array_equal(np.concatenate(blocks), trajectories.reshape(-1, 2))


def test_a_summary_counts_chains_where_they_begin_and_steps_and_heat():
    trajectories = points(2, 2)
    heat = np.array([[[3.0, 3.0], [3.0, 3.0]], [[2.0, 2.0], [1.5, 1.5]]])
    for begin, chains in ((0, 2), (2, 0)):
        segment = segment_of(trajectories, 0, begin)
        summary = summarise(Made(trajectories, heat), segment, SYSTEM, 4, 1.0)[0]
        assert (summary.frames, summary.chains, summary.steps) == (4, chains, 4)
        assert (summary.seconds, summary.temperature_sum, summary.step_temperature_sum) == (1.0, 12.0, 7.0)


def test_frames_that_are_not_finite_are_counted_and_left_out(tmp_path):
    """In the authors' code such trajectories vanish uncounted."""
    trajectories = points(4, 3)
    trajectories[1, 2, 0] = np.nan
    trajectories[3, 1:] = np.inf
    store = committed(tmp_path, {(0, 0): trajectories})
    summary = store.summary(store.segments[0])
    assert (summary.frames, summary.not_finite, summary.chains) == (12, 3, 4)
    assert summary.temperature_sum == 9 * 23.0, "of the frames that are there"
    assert store.frames(SYSTEM).totals.js[0].sum() == 9
    kept = [*trajectories[0], *trajectories[1, :2], *trajectories[2], trajectories[3, 0]]
    np.testing.assert_array_equal(read(store), np.stack(kept))


def test_lost_chains_are_counted_by_their_reason():
    losses = (Loss(0, 1, LEFT), Loss(1, 0, NOT_FINITE), Loss(3, 2, NOT_FINITE))
    summary = summary_of(points(4, 3), left=2, losses=losses)
    assert (summary.chains_left, summary.chains_not_finite) == (2, 2)


def test_crossings_of_phi_are_counted_along_each_chain_whatever_segments_it_is_in():
    frames = np.random.default_rng(0).normal(size=(3, 20, 5, 3))
    positive = ALANINE.phi(frames) > 0
    near = np.abs(np.diff(ALANINE.phi(frames), axis=1)) < np.pi
    whole, reduction = summarise(made(frames), segment_of(frames), ALANINE, 2, 1.0)
    assert whole.crossings == ((positive[:, 1:] != positive[:, :-1]) & near).sum() > 0
    assert reduction.phi_positive == positive.sum()
    parts = [
        summarise(made(part), segment_of(part, 0, begin), ALANINE, 1, 0.5, before)[0]
        for begin, part, before in ((0, frames[:, :7], None), (7, frames[:, 7:], frames[:, 6]))
    ]
    assert parts[0].crossings + parts[1].crossings == whole.crossings
    assert summary_of(points(2, 9)).crossings == 0


def test_a_molecule_is_counted_by_its_torsions():
    frame = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1], [2, 1, 1]], float)  # ψ a right angle.
    chains = np.stack([[frame, frame], [frame, np.nan * frame]])
    summary, reduction = summarise(made(chains), segment_of(chains), ALANINE, 2, 1.0)
    assert summary.not_finite == 1
    np.testing.assert_array_equal(
        Totals(ALANINE, [reduction]).js[0], histogram(ALANINE.shown(chains[:1, :1])[0], RAMACHANDRAN) * 3
    )


def test_frames_are_read_chains_after_chains_and_segment_by_segment(tmp_path):
    first, second, last = points(2, 3), points(4, 3), points(2, 5)
    store = committed(tmp_path, {(2, 0): second, (0, 3): last, (0, 0): first})
    np.testing.assert_array_equal(
        read(store), np.concatenate([x.reshape(-1, 2) for x in (first, last, second)])
    )


NUMBERS = st.integers(0, 2**20)
SUMMARIES = st.tuples(*[NUMBERS] * 7, *[NUMBERS.map(float)] * 3).map(lambda values: Summary(*values))


@given(SUMMARIES, SUMMARIES, SUMMARIES)
def test_summaries_add_up_in_any_order_and_in_any_parts(a: Summary, b: Summary, c: Summary):
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + Summary() == a


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.integers(1, 11))
def test_reductions_of_the_same_parts_merge_to_that_of_all_frames(bins: list[int], cut: int):
    trajectories = np.array([[[0.1 * b, -0.1 * b] for b in bins]] * 2, np.float32)
    cut = min(cut, len(bins))
    reductions = [
        summarise(made(part), segment_of(part), SYSTEM, 1, 0.0)[1]
        for part in (trajectories, trajectories[:, :cut], trajectories[:, cut:])
    ]
    whole, merged = (
        Totals(SYSTEM, [one]) for one in (reductions[0], segments.merged([r for r in reductions[1:]]))
    )
    assert whole.frames == merged.frames
    for name, value in vars(whole.spreads[0]).items():
        np.testing.assert_array_equal(vars(merged.spreads[0])[name], value, name)


def test_a_segment_that_was_computed_by_another_version_is_of_a_format(tmp_path):
    commit(Store(tmp_path), points(1, 1))
    (path,) = tmp_path.iterdir()
    assert int(np.load(path)["format"]) == segments.FORMAT
    assert replace(segment_of(points(1, 1)), end=2).name != path.name
