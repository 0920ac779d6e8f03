from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fokker.data import shards
from fokker.data.shards import Dataset

MakeDataset = Callable[..., Dataset]


@pytest.fixture
def make_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeDataset:
    """A dataset whose frame i is (i, −i), in shards of the given size; half as many frames of reference."""

    def make(frames: int = 50, per_shard: int = 2**20, name: str = "data") -> Dataset:
        monkeypatch.setattr(shards, "FRAMES_PER_SHARD", per_shard)
        train = np.outer(np.arange(frames), (1, -1)).astype(np.float32)
        splits = {"train": train, "reference": -train[: frames // 2]}
        return shards.write(tmp_path / name, {"name": "counting", "seed": 0}, splits)

    return make
