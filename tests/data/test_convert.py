"""Trajectories become datasets that know their scale, bonds and beads."""

from dataclasses import replace

import mdtraj
import numpy as np
import pytest

from fokker.data.bead_map import BeadMap
from fokker.data.beads import Beads
from fokker.data.convert import check, convert, finish_conversion
from fokker.data.readers import open_source
from fokker.data.residues import MoleculeError
from fokker.data.shards import SYSTEM
from fokker.data.sources import Conditions, Source

BACKBONE = BeadMap.parse("backbone")
ORIGIN = {"name": "test"}


def trajectory(directory, sequence: str, frames: int = 20, split: str | None = None, **changes) -> Source:
    """A peptide of straight bonds, shaken; every frame somewhere else."""
    beads = Beads.from_sequence(sequence, BACKBONE)
    topology, random = beads.topology(), np.random.default_rng(0)
    chain = np.zeros((len(beads), 3))
    for first, second in beads.bonds:
        step = random.normal(size=3)
        chain[second] = chain[first] + 0.14 * step / np.linalg.norm(step)
    moved = chain + 0.002 * random.normal(size=(frames, *chain.shape)) + random.normal(size=(frames, 1, 3))
    directory.mkdir(parents=True, exist_ok=True)
    written = mdtraj.Trajectory(moved, topology)
    written.save_xtc(directory / f"{sequence}.xtc")
    written[0].save_pdb(directory / f"{sequence}.pdb")
    (source,) = open_source(directory / f"{sequence}.xtc", directory / f"{sequence}.pdb")
    return replace(source, name=sequence, split=split, **changes)


def test_a_dataset_of_several_peptides_has_one_scale_and_centred_frames(tmp_path):
    sources = [trajectory(tmp_path / "in", "KF"), trajectory(tmp_path / "in", "GAV", split="validation")]
    for source in sources:
        convert(source, BACKBONE, tmp_path / "out")
    dataset = finish_conversion(tmp_path / "out", sources, ORIGIN)
    assert dataset.systems == ("KF", "GAV")
    assert dataset.systems_of("validation") == ("GAV",)
    frames = dataset.split("train").read()
    assert frames.shape == (20, 10, 3)
    np.testing.assert_allclose(frames.mean(axis=1), 0, atol=1e-6)
    assert dataset.norm == pytest.approx(1 / frames.std(), rel=1e-5), "of the training frames alone"
    description = dataset.description("GAV")
    assert Beads.from_json(description["beads"]) == Beads.from_sequence("GAV", BACKBONE)
    assert description["bond_means"] == pytest.approx([0.14] * 13, abs=0.005)


def test_what_is_converted_stays_untouched(tmp_path):
    source = trajectory(tmp_path / "in", "KF")
    convert(source, BACKBONE, tmp_path / "out")
    before = (tmp_path / "out/KF" / SYSTEM).stat().st_mtime_ns
    convert(source, BACKBONE, tmp_path / "out")
    assert (tmp_path / "out/KF" / SYSTEM).stat().st_mtime_ns == before


def test_references_of_different_kinds_and_peptides_in_two_splits_are_refused(tmp_path):
    first = trajectory(tmp_path / "in", "KF", conditions=Conditions("amber14", "OBC2", 310.0))
    other = trajectory(tmp_path / "in", "AV", conditions=Conditions("amber14", "OBC1", 310.0))
    again = replace(first, split="validation")
    with pytest.raises(MoleculeError, match="not of one distribution"):
        check([first, other])
    with pytest.raises(MoleculeError, match="KF is there 2 times"):
        check([first, again])


def test_a_dataset_without_training_data_says_so(tmp_path):
    source = trajectory(tmp_path / "in", "KF", split="test")
    with pytest.raises(MoleculeError, match="nothing to train on: the trajectories are of test"):
        check([source])
