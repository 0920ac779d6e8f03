"""The history of losses, also where the disk takes nothing for a while."""

import pytest

from fokker.distributed.training.history import HISTORY, History, read_history

from ..conftest import disk_full


def test_a_line_that_a_full_disk_cuts_is_written_again(tmp_path):
    path = tmp_path / HISTORY
    history = History(path)
    history.write({"step": 8, "denoising": 1.0})
    with disk_full(path.stat().st_size + 10), pytest.raises(OSError):  # noqa: PT011
        history.write({"step": 16, "denoising": 2.0})
    history.write({"step": 24, "denoising": 3.0})
    assert read_history(path) == {"step": [8, 16, 24], "denoising": [1.0, 2.0, 3.0]}


def test_a_line_that_a_killed_process_cut_is_ended(tmp_path):
    path = tmp_path / HISTORY
    path.write_text('{"step": 8, "denoising": 1.0}\n{"step": 16, "deno')
    history = History(path)
    history.write({"step": 16, "denoising": 2.0})
    assert read_history(path)["step"] == [8, 16]
