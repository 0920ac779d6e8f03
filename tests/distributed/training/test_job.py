"""What several trained experts become as one model."""

from pathlib import Path

import jax
import numpy as np
import pytest

from fokker.data import archive
from fokker.data.config import MoleculesConfig
from fokker.data.dataset import shards
from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads
from fokker.data.molecules.residues import RESIDUES
from fokker.distributed.config import TrainConfig
from fokker.distributed.training import parameters
from fokker.distributed.training.job import ExpertJob, write_model
from fokker.model.config import (
    UNKNOWN,
    DynamicsConfig,
    ExpertConfig,
    ObjectiveConfig,
    SamplerConfig,
    VectorTransformerConfig,
)
from fokker.model.experts import Parameters


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Trained on AV; ET is judged alone."""
    for name, split in (("AV", "train"), ("ET", "validation")):
        beads = Beads.from_sequence(name, BeadMap.parse(MoleculesConfig().beads))
        frames = np.random.default_rng(0).normal(size=(3, len(beads), 3)).astype(np.float32)
        shards.write_system(tmp_path / "data", name, {"beads": beads.to_json()}, {split: frames})
    shards.finish(tmp_path / "data", {"name": "peptides"}, ["AV", "ET"])
    return tmp_path / "data"


def written(data: Path, folder: Path, hide: float, properties: bool = False) -> tuple[Parameters, Parameters]:
    """Parameters as they were trained, and as the model's file has them."""
    network = VectorTransformerConfig(springs=False, residue_properties=properties)
    expert = ExpertConfig(interval=(0, 1), hidden=(8,), epochs=1, midpoint=0.3)
    train = TrainConfig(batch_size=2, hide_residues=hide)
    job = ExpertJob("expert", 0, folder, data, expert, network, ObjectiveConfig(), train, seed=0)
    _, own, _ = job.load()
    made = own.init(jax.random.key(0))
    folder.mkdir()
    parameters.save(folder, made)
    write_model(folder / archive.FILE, [job], MoleculesConfig(), SamplerConfig(), DynamicsConfig())
    (kept,) = archive.read(folder / archive.FILE).parameters
    return made, kept


def embedding_of(data: Path, folder: Path, hide: float) -> list[np.ndarray]:
    """Of the types of residues, before and after."""
    return [np.asarray(one["embedding_0"]["embedding"]) for one in written(data, folder, hide)]


def test_what_is_known_of_residues_that_were_never_seen_is_kept(data: Path, tmp_path: Path):
    trained, kept = written(data, tmp_path / "known", hide=0.3, properties=True)
    assert kept.keys() == trained.keys()
    found, truth = (np.asarray(one["residue_properties"]["kernel"]) for one in (kept, trained))
    np.testing.assert_array_equal(found, truth)
    assert archive.read(tmp_path / "known" / archive.FILE).description.network == VectorTransformerConfig(
        springs=False, residue_properties=True
    )


def test_residues_of_no_training_molecule_are_what_was_trained_as_unknown(data: Path, tmp_path: Path):
    trained, kept = embedding_of(data, tmp_path / "hidden", hide=0.3)
    seen = [RESIDUES.index("ALA"), RESIDUES.index("VAL"), UNKNOWN]
    np.testing.assert_array_equal(kept[seen], trained[seen])
    others = np.setdiff1d(np.arange(len(kept)), seen)
    np.testing.assert_array_equal(kept[others], np.tile(trained[UNKNOWN], (len(others), 1)))


def test_where_no_type_was_hidden_none_is_unknown(data: Path, tmp_path: Path):
    trained, kept = embedding_of(data, tmp_path / "shown", hide=0.0)
    np.testing.assert_array_equal(kept, trained)
