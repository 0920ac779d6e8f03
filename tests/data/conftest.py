from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fokker.data.dataset import shards
from fokker.data.dataset.shards import Dataset

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


PEPTIDES = {
    "AV": (2, {"train": 5}),
    "GAV": (4, {"validation": 4}),
    "KF": (3, {"train": 7, "test": 2}),
}
"""Beads of each system and frames in its splits."""


def peptide_frames(name: str, split: str) -> np.ndarray:
    """Frames all of whose coordinates are 100 times the number of the system plus 1, 2, …"""
    beads, splits = PEPTIDES[name]
    first = 100 * list(PEPTIDES).index(name) + 1
    values = np.arange(first, first + splits[split], dtype=np.float32)
    return np.tile(values[:, None, None], (beads, 3))


def write_peptide(directory: Path, name: str) -> None:
    beads, splits = PEPTIDES[name]
    shards.write_system(
        directory, name, {"beads": beads}, {split: peptide_frames(name, split) for split in splits}
    )


@pytest.fixture
def peptides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """A dataset of three systems, of two, four and three beads, in shards of three frames."""
    monkeypatch.setattr(shards, "FRAMES_PER_SHARD", 3)
    for name in reversed(PEPTIDES):
        write_peptide(tmp_path / "peptides", name)
    return shards.finish(tmp_path / "peptides", {"name": "peptides", "norm": 2.5}, list(PEPTIDES))
