"""Every epoch is a permutation; batches depend on the plan alone, not on blocks, processes or stops."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fokker.data.dataset.loader import Plan, blocks
from fokker.data.dataset.shards import Split

# Six steps an epoch, two frames left over; thirty steps in all.
PLAN = Plan(frames=50, batch=8, epochs=5, seed=3)


@pytest.fixture
def split(make_dataset) -> Split:
    return make_dataset(PLAN.frames, per_shard=17).split("train")


def numbers(batches: np.ndarray) -> np.ndarray:
    """Which frames these are: frame i is (i, −i)."""
    np.testing.assert_array_equal(batches[..., 0], -batches[..., 1])
    return batches[..., 0].astype(int)


def batches(
    split: Split, plan: Plan = PLAN, block: int = 4, first_step: int = 0, process: int = 0, processes: int = 1
) -> np.ndarray:
    """All batches of a process, one step after another, without what the last block has beyond them."""
    parts = [frames for frames, _ in blocks(split, plan, block, first_step, process, processes)]
    return np.concatenate(parts)[: plan.steps - first_step]


def shares(split: Split, processes: int, block: int = 4, first_step: int = 0) -> list[np.ndarray]:
    return [batches(split, PLAN, block, first_step, process, processes) for process in range(processes)]


def test_every_epoch_is_a_permutation_whose_last_partial_batch_is_dropped(split):
    assert (PLAN.steps_per_epoch, PLAN.steps) == (6, 30)
    epochs = numbers(batches(split)).reshape(5, 6 * 8)
    for epoch in epochs:
        assert len(set(epoch)) == 48
        assert set(epoch) < set(range(50))
    assert len({tuple(epoch) for epoch in epochs}) == 5
    left_over = {tuple(sorted(set(range(50)) - set(epoch))) for epoch in epochs}
    assert len(left_over) > 1, "the frames that are left over change from epoch to epoch"


def test_a_batch_as_large_as_the_data_holds_every_frame(split):
    plan = replace(PLAN, batch=50)
    assert plan.steps == 5
    for batch in numbers(batches(split, plan, block=2)):
        assert sorted(batch) == list(range(50))


def test_frames_are_shuffled_and_every_position_sees_all_parts_of_the_data():
    plan = Plan(frames=1000, batch=10, epochs=40, seed=0)
    first = plan.frames_of(np.arange(plan.epochs) * plan.steps_per_epoch, row=0)
    # The mean of forty uniform numbers, within four standard errors.
    assert abs(first.mean() - 499.5) < 4 * 1000 / np.sqrt(12 * 40)
    assert len(np.unique(first)) > 30


@pytest.mark.parametrize("block", [1, 5, 7, 30, 64])
def test_batches_do_not_depend_on_the_size_of_the_block(split, block: int):
    np.testing.assert_array_equal(batches(split, block=block), batches(split, block=4))


@pytest.mark.parametrize("block", [1, 4])
@pytest.mark.parametrize("processes", [1, 2, 4, 8])
def test_rows_of_all_processes_are_those_of_one(split, processes: int, block: int):
    together = shares(split, processes, block)
    assert {part.shape for part in together} == {(30, 8 // processes, 2)}
    np.testing.assert_array_equal(np.concatenate(together, axis=1), batches(split))


@given(st.data())
def test_any_number_of_processes_goes_on_anywhere_with_what_the_plan_says(data: st.DataObject):
    processes, share, block = (data.draw(st.integers(1, most)) for most in (4, 3, 9))
    batch = processes * share
    frames, epochs = data.draw(st.integers(batch, 40)), data.draw(st.integers(1, 3))
    alike = data.draw(st.sampled_from([(), (frames,), (1, frames - 1)])) if frames > 1 else ()
    plan = Plan(frames, batch, epochs, data.draw(st.integers(0, 9)), alike)
    first = data.draw(st.integers(0, plan.steps - 1))
    numbered = np.stack([np.arange(frames), -np.arange(frames)], axis=1).astype(np.float32)
    whole = Split((numbered,), (0,))
    parts = [batches(whole, plan, block, first, process, processes) for process in range(processes)]
    steps = np.arange(first, plan.steps)[:, None]
    expected = plan.frames_of(steps, np.arange(batch))
    np.testing.assert_array_equal(numbers(np.concatenate(parts, axis=1)), expected)


@pytest.mark.parametrize("first_step", [4, 8, 28])
@pytest.mark.parametrize("processes", [1, 4])
def test_a_stop_at_any_block_is_not_to_be_seen(split, first_step: int, processes: int):
    """Whatever number of processes go on: all that a stream keeps is its first step."""
    rest = np.concatenate(shares(split, processes, first_step=first_step), axis=1)
    np.testing.assert_array_equal(rest, batches(split)[first_step:])


def test_a_stream_ends_with_the_block_of_the_last_step(split):
    shapes = [(frames.shape, systems.shape) for frames, systems in blocks(split, PLAN, 8)]
    assert shapes == [((8, 8, 2), (8, 8))] * 4
    assert len(list(blocks(split, PLAN, 8, first_step=24))) == 1
    assert list(blocks(split, PLAN, 8, first_step=32)) == []


def test_blocks_hold_what_the_plan_says(split):
    steps = np.arange(PLAN.steps)
    expected = np.stack([PLAN.frames_of(steps, row) for row in range(PLAN.batch)], axis=1)
    np.testing.assert_array_equal(numbers(batches(split)), expected)


def test_equal_seeds_give_equal_batches_and_others_do_not(split):
    first, again, other = (batches(split, replace(PLAN, seed=seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any(axis=(1, 2)).all()


def test_frames_keep_their_shape(tmp_path):
    beads = np.random.default_rng(0).normal(size=(20, 4, 3)).astype(np.float32)
    plan = Plan(frames=20, batch=4, epochs=1, seed=0)
    ((block, systems),) = blocks(Split((beads,), (0,)), plan, 5)
    assert (block.shape, block.dtype) == ((5, 4, 4, 3), np.float32)
    np.testing.assert_array_equal(block[2, 3], beads[plan.frames_of(np.array([2]), 3)[0]])
    assert not systems.any()


@pytest.mark.parametrize("processes", [1, 2])
def test_frames_of_several_systems_are_scaled_padded_and_come_with_their_systems(peptides, processes: int):
    split, plan = peptides.split("train"), Plan(frames=12, batch=4, epochs=2, seed=0)
    parts = [blocks(split, plan, 3, 0, p, processes, peptides.norm) for p in range(processes)]
    for pairs in zip(*parts, strict=True):
        frames, systems = (np.concatenate(part, axis=1) for part in zip(*pairs, strict=True))
        assert (frames.shape, frames.dtype, systems.shape) == ((3, 4, 3, 3), np.float32, (3, 4))
        # An epoch is a block here: all five frames of two beads and all seven of three, at 2.5 times.
        expected = np.concatenate([np.arange(1, 6), np.arange(201, 208)])
        np.testing.assert_array_equal(np.sort(frames[..., 0, 0].ravel()), 2.5 * expected)
        np.testing.assert_array_equal(systems, np.where(frames[..., 0, 0] > 250, 2, 0))
        np.testing.assert_array_equal(frames[..., 2, :].any(axis=-1), systems == 2)


def test_frames_are_as_they_are_stored_unless_a_norm_is_given(split):
    (whole, _), (halved, _) = (next(blocks(split, PLAN, 4, norm=norm)) for norm in (1.0, 0.5))
    np.testing.assert_array_equal(halved, whole / 2)
    assert numbers(whole).max() > 25


@pytest.mark.parametrize("processes", [1, 2])
def test_weights_come_with_their_frames(split, processes):
    """Of frame i (i/2, i mod 3), from shards as large as those of the frames; frames are as without them."""
    columns = np.stack([np.arange(50) / 2, np.arange(50) % 3], axis=1).astype(np.float32)
    weights = Split(tuple(np.split(columns, (17, 34))), split.systems)
    parts = [blocks(split, PLAN, 4, 6, p, processes, weights=weights) for p in range(processes)]
    for triples in zip(*parts, strict=True):
        frames, _, known = (np.concatenate(part, axis=1) for part in zip(*triples, strict=True))
        np.testing.assert_array_equal(known[..., 0], numbers(frames) / 2)
        np.testing.assert_array_equal(known[..., 1], numbers(frames) % 3)
    plain, weighted = (next(blocks(split, PLAN, 4, 6, weights=one))[0] for one in (None, weights))
    np.testing.assert_array_equal(weighted, plain)


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ValueError, match=r"batch_size 51 is larger than the data, 50 frames"):
        replace(PLAN, batch=51)


def test_batches_go_on_from_a_step_within_a_block(split):
    steps = np.arange(6, PLAN.steps)
    expected = np.stack([PLAN.frames_of(steps, row) for row in range(PLAN.batch)], axis=1)
    found = np.concatenate([numbers(part) for part, _ in blocks(split, PLAN, 4, first_step=6)])
    np.testing.assert_array_equal(found[: len(steps)], expected)
    assert 0 <= len(found) - len(steps) < 4


def test_a_batch_that_cannot_be_shared_is_refused(split):
    with pytest.raises(ValueError, match=r"batch_size 8 cannot be shared equally by 3 processes"):
        next(blocks(split, PLAN, 4, process=0, processes=3))


@pytest.mark.parametrize("end", ["is closed", "is exhausted", "fails"])
def test_a_stream_leaves_no_thread_behind_when_it(split, end: str):
    before = set(threading.enumerate())
    # Frames that are not there make the stream fail; the error that is kept would hold on to its threads.
    stream = blocks(split, replace(PLAN, frames=5000 if end == "fails" else 50), 4)
    error = None
    try:
        next(stream)
        threads = set(threading.enumerate()) - before
        if end == "is exhausted":
            list(stream)
        else:
            stream.close()
    except IndexError as caught:
        error, threads = caught, set(threading.enumerate()) - before
    assert (error is not None) == (end == "fails")
    for thread in threads:
        thread.join(timeout=10)  # Grain lets its threads finish what they do.
    assert not any(thread.is_alive() for thread in threads)


def test_systems_are_drawn_equally_often_if_they_are_to_be():
    sizes = (10, 100, 40)
    plan = Plan(150, 15, epochs=4, seed=3, alike=sizes)
    system_of = np.repeat(np.arange(3), sizes)
    steps = np.arange(plan.steps)
    rows = np.stack([plan.frames_of(steps, row) for row in range(15)])
    for epoch in range(4):
        drawn = rows[:, epoch * 10 : (epoch + 1) * 10].ravel()
        assert np.bincount(system_of[drawn]).tolist() == [50, 50, 50]
        smallest = np.bincount(drawn[drawn < 10], minlength=10)
        assert smallest.tolist() == [5] * 10, "each of its frames as often as the others"
        assert np.bincount(drawn[drawn >= 10]).max() <= 2
    assert (rows[:, :10] != rows[:, 10:20]).any()
