"""TensorBoard reads what is written for it, and a full disk ends it with one line."""

from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fokker.data.files import FileError
from fokker.launch import board

PICTURE = np.random.default_rng(0).integers(256, size=(40, 60, 3), dtype=np.uint8)


def test_tensorboard_reads_scalars_and_pictures_of_the_last_file(tmp_path: Path):
    for value in (0.5, 0.25):
        board.write(tmp_path / "evaluate", {"js_corrected/sim": value}, {"free_energy": PICTURE})
    events = EventAccumulator(str(tmp_path / "evaluate"))
    events.Reload()
    assert [event.value for event in events.Scalars("js_corrected/sim")] == [0.5, 0.25]
    assert [(event.width, event.height) for event in events.Images("free_energy")] == [(60, 40)] * 2
    assert len([*(tmp_path / "evaluate").iterdir()]) == 2


def test_a_full_disk_is_one_line_and_leaves_nothing(small_disk: Path):
    noise = np.random.default_rng(0).integers(256, size=(1000, 1000, 3), dtype=np.uint8)
    with pytest.raises(FileError, match="cannot be written: no space left on device"):
        board.write(small_disk / "evaluate", {}, {"noise": noise})
    assert [*(small_disk / "evaluate").iterdir()] == []
