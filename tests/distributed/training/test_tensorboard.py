"""Scalars for TensorBoard, also where the disk takes nothing for a while."""

import math

import pytest

from fokker.distributed.training.tensorboard import Scalars

from ..conftest import disk_full, points

pytestmark = pytest.mark.usefixtures("at_once")


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
