from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fokker.data import shards
from fokker.distributed.config import TrainConfig
from fokker.distributed.expert import ExpertJob
from fokker.model.config import ExpertConfig, NetworkConfig, ObjectiveConfig

SMALLEST = ExpertConfig(
    interval=(0, 0.1),
    hidden=(8, 8),
    epochs=20,
    midpoint=0.05,
    fokker_planck=1e-3,
)
LARGER = ExpertConfig(interval=(0.1, 1), hidden=(8,), epochs=10, midpoint=0.5)
TRAIN = TrainConfig(batch_size=32, block=8, checkpoint_every=16, restart_from_ema=True)

MakeJob = Callable[..., ExpertJob]


@pytest.fixture
def make_job(tmp_path: Path) -> MakeJob:
    """Small jobs on one dataset of 300 frames: nine steps an epoch, so that blocks straddle epochs."""
    frames = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    shards.write(tmp_path / "data", {"name": "gaussian"}, {"train": frames, "reference": frames})

    def make(index: int = 0, expert: ExpertConfig | None = None, **changes) -> ExpertJob:
        job = ExpertJob(
            name=f"expert-{index}",
            index=index,
            directory=tmp_path / "experts" / str(index),
            data=tmp_path / "data",
            expert=expert or (LARGER if index else SMALLEST),
            network=NetworkConfig(precondition=True),
            objective=ObjectiveConfig(fp_fraction=0.5, fp_start=0.3),
            train=TRAIN,
            seed=7,
        )
        return replace(job, **changes)

    return make
