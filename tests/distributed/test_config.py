from typing import Any

import pytest
from pydantic import ValidationError

from fokker.distributed.config import ClusterConfig, TrainConfig


def test_the_learning_rate_only_falls():
    assert TrainConfig(learning_rate=1e-3, final_learning_rate=1e-3).final_learning_rate == 1e-3
    with pytest.raises(ValidationError, match=r"final_learning_rate 0.01 exceeds learning_rate 0.001"):
        TrainConfig(learning_rate=1e-3, final_learning_rate=1e-2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 0},
        {"learning_rate": 0.0, "final_learning_rate": 0.0},
        {"learning_rate": float("inf")},
        {"clip": 0.0},
        {"ema_decay": 1.0},
        {"weight_decay": -1e-4},
        {"block": 0},
        {"checkpoint_every": 0},
        {"bach_size": 64},
    ],
    ids=str,
)
def test_impossible_training_is_refused(wrong: dict):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        TrainConfig(**wrong)


@pytest.mark.parametrize("name", ["devices_per_host", "simulators", "failures", "step_deadline"])
def test_numbers_of_the_cluster_are_not_negative(name: str):
    wrong: dict[str, Any] = {name: -1}
    with pytest.raises(ValidationError, match=name):
        ClusterConfig(**wrong)
