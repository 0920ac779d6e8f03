import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from fokker.distributed import expert, parameters
from fokker.distributed.checkpoints import CheckpointError
from fokker.distributed.expert import ExpertJob, NonFiniteLoss, Progress

from .conftest import SMALLEST, TRAIN


def train(job: ExpertJob, stop_at: int | None = None) -> Progress:
    """Train to the end, or until the progress passes a step."""
    seen = Progress()

    def report(progress: Progress) -> None:
        nonlocal seen
        seen = progress

    return expert.train(job, report, lambda: stop_at is not None and seen.step >= stop_at)


def assert_same(a: Path, b: Path) -> None:
    jax.tree.map(np.testing.assert_array_equal, parameters.load(a), parameters.load(b))


def steps_on_disk(job: ExpertJob) -> list[int]:
    return sorted(int(p.name) for p in (job.directory / "checkpoints").iterdir() if p.name.isdigit())


def test_training_takes_every_step_and_leaves_the_average(make_job):
    job = make_job()
    progress = train(job)
    assert (progress.step, progress.steps) == (180, 180)
    assert progress.finished
    assert parameters.count(parameters.load(job.directory)) == 10 * 8 + 8 + 8 * 8 + 8 + 8 + 1
    assert steps_on_disk(job)[-1] == 180


def test_stopped_and_resumed_is_bitwise_the_same_as_undisturbed(make_job, tmp_path):
    whole, parts = make_job(), make_job(directory=tmp_path / "parts")
    train(whole)
    for stop in (1, 40, 100):
        assert not train(parts, stop_at=stop).finished
        assert not (parts.directory / parameters.FILE).exists()
    train(parts)
    assert_same(whole.directory, parts.directory)
    histories = [expert.read_history(job.directory / expert.HISTORY) for job in (whole, parts)]
    assert histories[0]["step"] == histories[1]["step"]
    assert histories[0]["denoising"] == histories[1]["denoising"]


KILLED = """
import pickle, sys
from fokker.distributed import expert
job = pickle.load(open(sys.argv[1], "rb"))
expert.train(job, lambda progress: print(progress.step, flush=True), lambda: False)
"""


def test_killed_at_any_point_and_run_again_is_bitwise_the_same(make_job, tmp_path):
    """kill -9 between blocks, during saves and during the start, at moments spread over the run."""
    import pickle

    long = replace(SMALLEST, epochs=200)
    whole, killed = make_job(expert=long), make_job(expert=long, directory=tmp_path / "killed")
    train(whole)
    pickled = tmp_path / "job.pickle"
    pickled.write_bytes(pickle.dumps(killed))
    kills = 0
    for delay in (0.0, 0.05, 0.15):
        command = [sys.executable, "-c", KILLED, str(pickled)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert process.stdout is not None
        first = int(process.stdout.readline())
        for line in process.stdout:
            if int(line) > first + 200:
                break
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    assert kills == 3, "every process has to be killed in the middle"
    train(killed)
    assert_same(whole.directory, killed.directory)


def test_a_loss_that_is_not_finite_names_step_and_batch_and_keeps_the_checkpoint(make_job):
    # The residual's square overflows float32 from the step at which it counts.
    job = make_job(expert=replace(SMALLEST, fokker_planck=1e38))
    with pytest.raises(
        NonFiniteLoss, match=r"expert expert-0: .* at step 54, batch 0 of epoch 6 .*checkpoint"
    ):
        train(job)
    # 0.3 × 180 steps were plain, and 48 is the last block boundary before them at which a save was due.
    assert steps_on_disk(job)[-1] == 48
    batch = np.load(job.directory / "non-finite-batch-54.npy")
    assert batch.shape == (32, 2)
    with pytest.raises(NonFiniteLoss, match="at step 54"):
        train(job)


def test_a_checkpoint_of_other_data_is_refused(make_job, tmp_path):
    from fokker.data import shards

    job = make_job()
    train(job, stop_at=1)
    other = np.zeros((300, 2), np.float32)
    shards.write(tmp_path / "data", {"name": "other"}, {"train": other, "reference": other})
    with pytest.raises(CheckpointError, match="was trained on data"):
        train(job)


def test_tensorboard_holds_every_scalar_of_an_expert(make_job):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    job = make_job()
    train(job)
    events = EventAccumulator(str(job.directory))
    events.Reload()
    wanted = {
        "loss/denoising",
        "loss/fokker_planck",
        "gradient_norm",
        "learning_rate",
        "samples_per_second",
        "input_wait",
    }
    assert set(events.Tags()["scalars"]) == wanted
    assert [event.step for event in events.Scalars("loss/denoising")] == [*range(8, 177, 8), 180]


def test_history_survives_a_line_that_was_cut_short(make_job):
    job = make_job()
    train(job)
    path = job.directory / expert.HISTORY
    whole = expert.read_history(path)
    path.write_text(path.read_text() + '{"step": 180, "deno')
    assert expert.read_history(path) == whole
    assert whole["step"][-1] == 180


def test_blocks_longer_than_the_training_are_cut(make_job):
    job = make_job(train=replace(TRAIN, block=10_000))
    assert train(job).finished
