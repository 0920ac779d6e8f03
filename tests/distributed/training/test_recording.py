"""A recorder hands on what a process measures, also where the disk takes nothing for a while."""

import json

import numpy as np
import pytest

from fokker.distributed.training import recording
from fokker.distributed.training.history import HISTORY, read_history
from fokker.distributed.training.progress import Progress
from fokker.distributed.training.recording import Recorder
from fokker.distributed.training.step import StepMetrics

from ..conftest import disk_full, points

pytestmark = pytest.mark.usefixtures("at_once")


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


def test_utilisation_is_that_of_the_last_block(tmp_path, monkeypatch: pytest.MonkeyPatch):
    clock = iter([0.0, 4.0])
    monkeypatch.setattr(recording.time, "perf_counter", lambda: next(clock))
    recorder = Recorder(tmp_path, 32, 0, 16, lambda progress: None, writes=False, utilisation=0.1)
    recorder.record(0, metrics(8), 0.1, {})
    # Eight steps in four seconds, each of a tenth of what the device could do in one.
    assert recorder.progress.utilisation == pytest.approx(0.2)
    assert json.dumps(recorder.progress.step_seconds) == "0.5"
