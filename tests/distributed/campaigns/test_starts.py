"""Where chains and windows start: in each mode by its share, and near each centre."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from fokker.analysis.systems import System
from fokker.data.archive import Bound
from fokker.data.config import MoleculesConfig
from fokker.data.dataset import shards
from fokker.data.dataset.shards import Dataset
from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads
from fokker.distributed.campaigns import windows
from fokker.distributed.campaigns.starts import Stratified

NONE: Any = None
UNBOUND = Bound(NONE, NONE, NONE)
"""Starts at data need no model."""


@pytest.fixture
def molecule(tmp_path: Path) -> tuple[Path, System]:
    """60 frames, three of them of φ > 0."""
    beads, random = Beads.from_sequence("AV", BeadMap.parse("backbone")), np.random.default_rng(0)
    frames = random.normal(size=(60, len(beads), 3)).astype(np.float32)
    description = {"beads": beads.to_json(), "bond_means": [0.15] * len(beads.bonds)}
    shards.write_system(tmp_path, "AV", description, {"train": frames})
    source = {"name": "peptides", "norm": 10.0}
    system = System.of(shards.finish(tmp_path, source, ("AV",)), "AV", MoleculesConfig())
    frames *= -np.sign(system.phi(frames)[:, None, None])  # A mirror image has the other sign of φ.
    frames[::20] *= -1
    shards.write_system(tmp_path, "AV", description, {"train": frames})
    shards.finish(tmp_path, source, ("AV",))
    return tmp_path, system


def test_as_many_chains_start_in_each_mode_as_the_data_have_a_share_of_it(molecule: tuple[Path, System]):
    data, system = molecule
    start = Stratified(data, "train")

    def signs(number: int) -> np.ndarray:
        frames = np.asarray(start(system, number, 7, jax.random.key(number), UNBOUND))
        return system.phi(frames) > 0

    positive = np.cumsum(np.concatenate([signs(number) for number in range(20)]))
    np.testing.assert_array_equal(positive, np.floor(0.05 * np.arange(1, 141) + 0.5))
    np.testing.assert_array_equal(signs(3), signs(3))


def test_without_torsions_chains_start_anywhere(tmp_path: Path):
    frames = np.arange(20, dtype=np.float32).reshape(10, 2)
    shards.write(tmp_path, {"name": "toy"}, {"train": frames})
    toy = System.particle("toy", 1.0, 1.0)
    chosen = Stratified(tmp_path, "train")(toy, 0, 200, jax.random.key(0), UNBOUND)
    assert len(np.unique(np.asarray(chosen), axis=0)) == 10


def test_windows_start_at_frames_of_their_own_or_at_the_nearest(molecule: tuple[Path, System]):
    data, system = molecule
    frames, centres = Dataset(data).split("train", "AV"), np.linspace(-np.pi, np.pi, 9)[:-1]
    chosen = windows.starts(system, frames, centres, 4, seed=0)
    assert chosen.shape == (4, 8)
    ordered = np.sort(chosen, axis=0)
    assert (ordered[1:] != ordered[:-1]).all(), "each replica has its own"
    distance = np.abs(np.angle(np.exp(1j * (system.phi(frames.read())[:, None] - centres))))
    for column, own in zip(chosen.T, distance.T, strict=True):
        assert own[column].max() <= np.sort(own)[max(4, np.sum(own < np.pi / 8)) - 1]
