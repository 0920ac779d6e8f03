"""The train loop in one process: its ends, its interruptions, and what it leaves on disk."""

import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Literal

import jax
import numpy as np
import pytest

from fokker.data.dataset import shards
from fokker.distributed.cluster import joining
from fokker.distributed.training import expert, parameters
from fokker.distributed.training.checkpoints import CheckpointError
from fokker.distributed.training.expert import NonFiniteLoss
from fokker.distributed.training.history import HISTORY, read_history
from fokker.distributed.training.job import ExpertJob

from ..conftest import LARGER, TRAIN, gaussian, restored, saving_often, steps_on_disk, train

SCALARS = {
    "loss/denoising",
    "loss/consistency",
    "gradient_norm",
    "learning_rate",
    "samples_per_second",
    "input_wait",
    "step_seconds",
    "restarts",
}


def copied(job: ExpertJob, directory: Path) -> ExpertJob:
    shutil.copytree(job.directory, directory)
    return replace(job, directory=directory)


def test_training_takes_every_step_and_leaves_the_average(undisturbed):
    smallest = undisturbed[0]
    assert (smallest.progress.step, smallest.progress.steps) == (2160, 2160)
    assert smallest.progress.finished
    assert parameters.count(parameters.load(smallest.job.directory)) == 10 * 8 + 8 + 8 * 8 + 8 + 8 + 1
    assert steps_on_disk(smallest.job)[-1] == 2160


def test_the_average_on_disk_is_that_of_the_last_state(undisturbed, tmp_path):
    job = copied(undisturbed[1].job, tmp_path / "copy")
    found, state = parameters.load(job.directory), restored(job)
    jax.tree.map(np.testing.assert_array_equal, found, state.average)
    assert not np.array_equal(found["Dense_0"]["kernel"], state.parameters["Dense_0"]["kernel"])


def test_stopped_and_resumed_is_bitwise_the_same_as_undisturbed(make_job, undisturbed):
    job = make_job()
    for stop in (0, 992):
        assert not train(job, stop_at=stop).finished
        assert not (job.directory / parameters.FILE).exists()
    assert steps_on_disk(job)[-1] == 1000
    assert train(job).finished
    undisturbed[0].assert_same(job)
    ours, theirs = (read_history(j.directory / HISTORY) for j in (job, undisturbed[0].job))
    assert ours["step"] == theirs["step"] == [*range(8, 2161, 8)]
    assert ours["denoising"] == theirs["denoising"]
    assert ours["seconds"] == sorted(ours["seconds"])


@pytest.fixture(scope="module")
def biased_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those of the other tests, half of which count three times as much as the others."""
    directory, frames = tmp_path_factory.mktemp("biased"), gaussian()
    weights = np.zeros((len(frames), 2), np.float32)
    weights[:, 0] = np.log(np.where(np.arange(len(frames)) % 2, 1.5, 0.5))
    splits = {"train": frames, "reference": frames, shards.BIASED: frames, shards.WEIGHTS: weights}
    shards.write(directory, {"name": "gaussian"}, splits)
    return directory


def test_a_training_on_biased_frames_resumes_bitwise(make_job, biased_data):
    """It is another one than that of the same frames without weights."""
    short = replace(make_job().expert, epochs=2)

    def job(name: str, frames: Literal["equilibrium", "biased"]) -> ExpertJob:
        config = replace(TRAIN, frames=frames, checkpoint_every=TRAIN.block)
        return make_job(name=name, data=biased_data, train=config, expert=short)

    whole, cut, plain = job("whole", "biased"), job("cut", "biased"), job("plain", "equilibrium")
    assert not train(cut, stop_at=8).finished
    assert all(train(one).finished for one in (whole, cut, plain))
    found = [parameters.load(one.directory)["Dense_0"]["kernel"] for one in (whole, cut, plain)]
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_parts_of_any_length_give_the_same_bits_and_a_stop_is_heard_after_each(
    make_job, undisturbed, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(expert, "FEW_STEPS", 3)
    monkeypatch.setattr(expert, "PART_SECONDS", 1e-9)
    job = make_job()
    assert not train(job, stop_at=1001).finished
    assert steps_on_disk(job)[-1] % TRAIN.block, "the stop has to fall within a block"
    assert train(job).finished
    undisturbed[0].assert_same(job)
    steps = read_history(job.directory / HISTORY)["step"]
    assert steps[:4] == [3, 6, 8, 9]


def test_a_training_that_died_before_its_average_was_written_takes_no_more_steps(undisturbed, tmp_path):
    job = copied(undisturbed[1].job, tmp_path / "copy")
    (job.directory / parameters.FILE).unlink()
    history = (job.directory / HISTORY).read_text()
    assert train(job).finished
    undisturbed[1].assert_same(job)
    assert (job.directory / HISTORY).read_text() == history


KILLED = """
import pickle, sys
from fokker.distributed.training import expert
job = pickle.load(open(sys.argv[1], "rb"))
expert.train(job, lambda progress: None, lambda: False)
"""


def frozen(job: ExpertJob, process: subprocess.Popen, wanted) -> None:
    """Stop the process where the steps in its history and its unfinished save, if any, are `wanted`."""
    history, checkpoints = job.directory / HISTORY, job.directory / "checkpoints"
    while process.poll() is None:
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        lines = history.read_text().splitlines() if history.exists() else []
        if wanted(int(json.loads(lines[-1])["step"]) if lines else 0, [*checkpoints.glob("*-tmp*")]):
            return
        process.send_signal(signal.SIGCONT)
        time.sleep(0.005)
    pytest.fail(f"the process ended by itself: {process.returncode}")


@pytest.mark.long
def test_killed_at_any_point_and_run_again_is_bitwise_the_same(make_job, undisturbed, tmp_path):
    """kill -9 before the first checkpoint, between checkpoints, and in the middle of a save."""
    job = make_job()
    pickled = tmp_path / "job.pickle"
    pickled.write_bytes(pickle.dumps(job))
    environment = os.environ | joining.worker_environment(on_gpu=False)
    for wanted in (
        lambda step, saving: 0 < step < 240 and not steps_on_disk(job),
        lambda step, saving: step > 500 and not saving,
        lambda step, saving: step > 1000 and saving,
    ):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(pickled)], env=environment)
        frozen(job, process, wanted)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert [*(job.directory / "checkpoints").glob("*-tmp*")], "half a checkpoint has to be there"
    assert train(job).finished
    assert not [*(job.directory / "checkpoints").glob("*-tmp*")]
    undisturbed[0].assert_same(job)


def test_a_loss_that_is_not_finite_names_step_and_batch_and_keeps_the_checkpoint(make_job, broken_data):
    job = saving_often(make_job(data=broken_data))
    message = (
        r"expert smallest: loss inf, .* at step 8, batch 8 of epoch 0 .*the checkpoint of step 8 is kept"
    )
    for _ in range(2):
        with pytest.raises(NonFiniteLoss, match=message):
            train(job)
    assert steps_on_disk(job) == [8]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(restored(job)))
    batch = np.load(job.directory / "non-finite-batch-8.npy")
    assert batch.shape == (32, 2)
    assert (batch[3] == np.float32(1e30)).all()
    assert not (job.directory / parameters.FILE).exists()


def test_a_state_that_is_not_finite_is_never_saved(make_job):
    """The first update overflows, but the loss before it is fine, and a checkpoint is due right after it."""
    each = replace(TRAIN, learning_rate=1e38, weight_decay=1e3, block=1, checkpoint_every=1)
    job = make_job(1, expert=replace(LARGER, epochs=1), train=each)
    with pytest.raises(NonFiniteLoss, match=r"update that is not finite at step 0, .* no checkpoint"):
        train(job)
    assert steps_on_disk(job) == []


def test_a_checkpoint_of_other_data_is_refused(make_job, tmp_path):
    job = make_job(1)
    train(job, stop_at=0)
    shards.write(tmp_path / "other", {"name": "other"}, {"train": gaussian(), "reference": gaussian()})
    with pytest.raises(CheckpointError, match="was trained on data"):
        train(replace(job, data=tmp_path / "other"))
    assert steps_on_disk(job) == [8]


def test_a_training_that_had_ended_within_a_block_goes_on_with_more_epochs(make_job):
    expert = replace(LARGER, epochs=1)
    job = make_job(1, expert=expert, train=replace(TRAIN, block=7))
    ended = int(train(job).step)
    assert ended % 7
    longer = train(replace(job, expert=replace(expert, epochs=2)))
    assert int(longer.step) == 2 * ended


def test_tensorboard_holds_every_scalar_of_an_expert(undisturbed):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(undisturbed[0].job.directory), size_guidance={"scalars": 0})
    events.Reload()
    assert set(events.Tags()["scalars"]) == SCALARS
    scalars = {tag: events.Scalars(tag) for tag in SCALARS}
    assert [event.step for event in scalars["loss/denoising"]] == [*range(8, 2161, 8)]
    history = read_history(undisturbed[0].job.directory / HISTORY)
    for tag, name in (("loss/denoising", "denoising"), ("gradient_norm", "gradient_norm")):
        np.testing.assert_allclose([event.value for event in scalars[tag]], history[name], rtol=1e-6)
    rates = [event.value for event in scalars["learning_rate"]]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(TRAIN.final_learning_rate)
    assert all(0 <= event.value <= 1 for event in scalars["input_wait"])
    assert all(event.value > 0 for event in scalars["samples_per_second"])


def test_a_profile_is_a_trace_of_the_blocks_that_hold_its_steps(make_job):
    job = replace(make_job(1), profile=(20, 32))
    train(job, stop_at=48)
    (trace,) = (job.directory / "plugins" / "profile").glob("*/*.xplane.pb")
    planes = jax.profiler.ProfileData.from_file(str(trace)).planes
    events = [event for plane in planes for line in plane.lines for event in line.events]
    assert [dict(event.stats)["step_num"] for event in events if event.name == "steps"] == [16, 24]


def test_history_goes_on_after_a_line_that_was_cut_short(make_job):
    job = make_job(1)
    train(job, stop_at=0)
    path = job.directory / HISTORY
    path.write_text(path.read_text() + '{"step": 16, "deno')
    assert read_history(path)["step"] == [8]
    train(job, stop_at=8)
    assert read_history(path)["step"] == [8, 16]


def test_a_history_without_a_whole_line_is_empty(tmp_path):
    path = tmp_path / HISTORY
    path.write_text('{"step": 8, "deno')
    assert read_history(path) == {}


def test_blocks_of_any_length_take_the_same_steps(make_job):
    """Two blocks and a rest of two steps; one block that is longer than the training."""
    short = replace(LARGER, epochs=2)
    found = []
    for block in (8, 10_000):
        job = make_job(1, name=f"block-{block}", expert=short, train=replace(TRAIN, block=block))
        assert train(job).step == 18
        assert steps_on_disk(job)[-1] == 18
        found.append(parameters.load(job.directory))
    # XLA may round differently in programs of other lengths.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), *found)


SHARDED = """
import pickle, sys
import jax
from fokker.distributed.training import expert
job = pickle.load(open(sys.argv[1], "rb"))
assert jax.device_count() == 2
place, shards = jax.make_array_from_process_local_data, []
def placed(sharding, rows):
    array = place(sharding, rows)
    shards.append([(shard.device.id, shard.data.shape) for shard in array.addressable_shards])
    return array
jax.make_array_from_process_local_data = placed
seen = []
expert.train(job, seen.append, lambda: seen[-1].step >= 8)
print(shards[0])
"""


def test_a_batch_shared_by_two_devices_trains_as_on_one(make_job, tmp_path):
    alone = make_job()
    assert train(alone, stop_at=8).step == 16
    shared = make_job(name="shared")
    pickled, dump = tmp_path / "job.pickle", tmp_path / "dump"
    pickled.write_bytes(pickle.dumps(shared))
    flags = "--xla_force_host_platform_device_count=2 --xla_dump_hlo_as_text"
    flags += f" --xla_dump_to={dump} --xla_dump_hlo_module_re=.*jit_part.*"
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": flags,
        "JAX_ENABLE_COMPILATION_CACHE": "0",
    }
    command = [sys.executable, "-c", SHARDED, str(pickled)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.strip() == "[(0, (8, 16, 2)), (1, (8, 16, 2))]"
    (program,) = dump.glob("*after_optimizations.txt")
    exchanged = re.findall(r"= (\S+) all-reduce\(", program.read_text())
    weights = parameters.count(restored(alone).parameters)
    assert sorted(exchanged) == [f"f32[{weights + 2}]{{0}}", "s32[]"], "all gradients at once"
    assert steps_on_disk(shared) == [16]
    # Sums in another order: a float32 keeps seven digits, of which sixteen steps may cost two.
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
        restored(alone).parameters,
        restored(shared).parameters,
    )
