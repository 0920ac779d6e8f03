"""Progress, scalars and history, also where the disk takes nothing for a while."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fokker.distributed import recording
from fokker.distributed.recording import HISTORY, History, Progress, Recorder, Scalars, read_history
from fokker.distributed.train_step import StepMetrics

from .conftest import disk_full


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scalars are written as they come."""
    monkeypatch.setattr(recording, "FLUSH_SECONDS", 0.0)


def points(directory: Path, tag: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(directory), size_guidance={"scalars": 0})
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_scalars_that_are_not_finite_are_left_out(tmp_path):
    scalars = Scalars(tmp_path, 1)
    scalars.write(1, {"loss": 0.5, "flops_utilisation": math.nan})
    scalars.close()
    assert points(tmp_path, "loss") == [(1, 0.5)]
    with pytest.raises(KeyError):
        points(tmp_path, "flops_utilisation")


def test_scalars_that_a_full_disk_refuses_are_written_when_there_is_room(tmp_path):
    scalars = Scalars(tmp_path, 1)
    scalars.write(1, {"loss": 1.0})
    with disk_full(150):
        for step in (2, 3):
            with pytest.raises(OSError, match="File too large"):
                scalars.write(step, {"loss": float(step)})
    scalars.write(4, {"loss": 4.0})
    scalars.close()
    assert points(tmp_path, "loss") == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]


def test_a_line_that_a_full_disk_cuts_is_written_again(tmp_path):
    path = tmp_path / HISTORY
    history = History(path)
    history.write({"step": 8, "denoising": 1.0})
    with disk_full(path.stat().st_size + 10), pytest.raises(OSError):  # noqa: PT011
        history.write({"step": 16, "denoising": 2.0})
    history.write({"step": 24, "denoising": 3.0})
    history.close()
    assert read_history(path) == {"step": [8, 16, 24], "denoising": [1.0, 2.0, 3.0]}


def test_a_line_that_a_killed_process_cut_is_ended(tmp_path):
    path = tmp_path / HISTORY
    path.write_text('{"step": 8, "denoising": 1.0}\n{"step": 16, "deno')
    history = History(path)
    history.write({"step": 16, "denoising": 2.0})
    history.close()
    assert read_history(path)["step"] == [8, 16]


def metrics(count: int) -> StepMetrics:
    return StepMetrics(*(np.full(count, value) for value in (0.5, 2.0, 1.0)))


def test_a_recorder_goes_on_without_a_disk_and_says_so(tmp_path, monkeypatch: pytest.MonkeyPatch):
    seen: list[Progress] = []
    recorder = Recorder(tmp_path, 32, 0, 16, seen.append, writes=True)
    with disk_full(50):
        recorder.record(0, metrics(8), 0.1, {})
    assert seen[-1].step == 8
    assert "are kept until they can be written" in seen[-1].warning
    recorder.record(8, metrics(8), 0.1, {"restarts": 1.0})
    recorder.close()
    assert read_history(tmp_path / HISTORY)["step"] == [8, 16]
    assert points(tmp_path, "restarts") == [(16, 1.0)]
    assert [step for step, _ in points(tmp_path, "loss/denoising")] == [8, 16]


def test_a_process_is_starting_until_its_first_block_and_then_says_what_it_does(tmp_path):
    seen: list[Progress] = []
    recorder = Recorder(tmp_path, 32, 0, 16, seen.append, writes=False)
    with recorder.waiting():
        pass
    assert {progress.phase for progress in seen} == {"starting"}
    recorder.record(0, metrics(8), 0.1, {})
    with recorder.waiting():
        assert seen[-1].phase == "waiting for data"
    assert seen[-1].phase == "training"
    with recorder.saving():
        assert seen[-1].phase == "saving"
    assert not [*tmp_path.iterdir()], "another process writes"


def test_progress_has_moved_only_if_the_process_got_anywhere():
    before = Progress(step=8, blocks=2, utilisation=math.nan)
    assert not Progress(step=8, blocks=2, utilisation=math.nan, seconds=5.0).moved(before)
    assert Progress(step=8, blocks=3).moved(before)
    assert Progress(step=8, blocks=2, phase="saving").moved(before)


def test_utilisation_is_that_of_the_last_block(tmp_path, monkeypatch: pytest.MonkeyPatch):
    clock = iter([0.0, 4.0])
    monkeypatch.setattr(recording.time, "perf_counter", lambda: next(clock))
    recorder = Recorder(tmp_path, 32, 0, 16, lambda progress: None, writes=False, utilisation=0.1)
    recorder.record(0, metrics(8), 0.1, {})
    # Eight steps in four seconds, each of a tenth of what the device could do in one.
    assert recorder.progress.utilisation == pytest.approx(0.2)
    assert json.dumps(recorder.progress.step_seconds) == "0.5"
