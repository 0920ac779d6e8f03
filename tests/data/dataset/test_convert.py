"""Trajectories become datasets that know their scale, bonds and beads."""

import json
from dataclasses import replace
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from fokker.data.config import BOLTZMANN, MoleculesConfig
from fokker.data.dataset.convert import (
    PARTS,
    check,
    convert_all,
    finish_conversion,
    known_temperature,
    sources_of,
)
from fokker.data.dataset.shards import SYSTEM, Dataset
from fokker.data.molecules.arrays import bias_of
from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads
from fokker.data.molecules.residues import MoleculeError
from fokker.data.molecules.springs import measure
from fokker.data.readers.layouts import open_source
from fokker.data.readers.pooling import pool
from fokker.data.readers.sources import Conditions, Source, coarse_frames

BACKBONE = BeadMap.parse("backbone")
ORIGIN = {"name": "test"}


def converted(sources, directory) -> Dataset:
    pools = pool(sources, BACKBONE)
    convert_all(pools, BACKBONE, directory)
    return finish_conversion(directory, pools, ORIGIN)


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
    dataset = converted(sources, tmp_path / "out")
    assert dataset.systems == ("KF", "GAV")
    assert dataset.systems_of("validation") == ("GAV",)
    frames = dataset.split("train").read()
    assert frames.shape == (20, 10, 3)
    np.testing.assert_allclose(frames.mean(axis=1), 0, atol=1e-6)
    assert dataset.norm == pytest.approx(1 / frames.std(), rel=1e-5), "of the training frames alone"
    description = dataset.description("GAV")
    assert Beads.from_json(description["beads"]) == Beads.from_sequence("GAV", BACKBONE)
    assert description["bond_means"] == pytest.approx([0.14] * 13, abs=0.005)


def test_what_biased_frames_know_of_torsions_is_kept_by_split(tmp_path):
    report = tmp_path / "reference.json"
    report.write_text(json.dumps({"phi": {"1": [[0.2, 0.8]]}}))
    sources = [
        trajectory(tmp_path / "in", "KF", report=report),
        trajectory(tmp_path / "other", "KF", split="validation"),
        trajectory(tmp_path / "in", "AV"),
    ]
    dataset = converted(sources, tmp_path / "out")
    assert dataset.description("KF")["phi"] == {"train": {"1": [[0.2, 0.8]]}}
    assert "phi" not in dataset.description("AV")


def reference(folder, sequence: str, biased: bool = True) -> Path:
    """One as `fokker dataset generate` leaves it, of 40 biased frames of two walkers."""
    arrays = timewarp(folder, sequence, 310)
    if biased:
        random = np.random.default_rng(1)
        frames = np.load(arrays)["positions"]
        np.savez(
            folder / f"{sequence}-biased-arrays.npz",
            positions=np.concatenate([frames, frames + 1.0]),
            bias=-random.uniform(0, 9, 40).astype(np.float32),
            walker=np.repeat([0, 1], 20),
            tables=-random.uniform(0, 9, (2, 1, 72)).astype(np.float32),
            atoms=[[2, 5, 6, 8]],
        )
    return folder


def test_biased_frames_of_training_references_go_along_with_their_weights(tmp_path):
    """Training takes them if all training systems have them; what is measured is of equilibrium."""
    reference(tmp_path / "in/train", "KF")
    reference(tmp_path / "in/test", "AV")
    dataset = converted(open_source(tmp_path / "in"), tmp_path / "out")
    frames, weights = dataset.training("biased")
    assert weights is not None
    assert (len(frames), len(weights), dataset.splits("KF")) == (40, 40, ("train",))
    assert list(dataset.manifest["systems"]["AV"]["splits"]) == ["test"]
    np.testing.assert_allclose(frames.read()[:20], dataset.split("train").read(), atol=1e-6)
    log_weight, walker = weights.read().T
    np.testing.assert_array_equal(walker, np.repeat([0, 1], 20))
    np.testing.assert_allclose([np.exp(log_weight[:20]).mean(), np.exp(log_weight[20:]).mean()], 1, rtol=1e-5)
    with np.load(tmp_path / "in/train/KF-biased-arrays.npz") as arrays:
        kT = BOLTZMANN * 310
        constants = log_weight[[0, 20]] - arrays["bias"][[0, 20]] / kT
        np.testing.assert_allclose(log_weight, arrays["bias"] / kT + np.repeat(constants, 20), rtol=1e-5)
        expected = arrays["tables"][:, 0] / kT + constants[:, None]
    bias = dataset.description("KF")["bias"]
    assert bias["torsions"] == [[2, 5, 6, 8]], "every atom of this file is a bead"
    np.testing.assert_allclose(np.array(bias["tables"])[:, 0], expected, rtol=1e-4)
    tables = bias_of(dataset)
    assert (tables.beads.shape, tables.tables.shape) == ((2, 1, 4), (2, 2, 1, 72))
    dataset.verify()
    assert dataset.training("equilibrium")[1] is None


def test_references_without_biased_frames_are_converted_to_the_same_bits_as_ever(tmp_path):
    for name in ("with", "without"):
        reference(tmp_path / name / "train", "KF", biased=name == "with")
    every = [
        converted(open_source(tmp_path / name), tmp_path / f"{name}-out") for name in ("with", "without")
    ]
    plain = every[1].manifest["systems"]["KF"]
    assert list(plain["splits"]) == ["train"]
    assert list(plain["description"])[-1] == "trajectories"
    weighted = every[0].manifest["systems"]["KF"]
    assert weighted["splits"].pop("biased")
    assert weighted["splits"].pop("weights")
    assert weighted["description"].pop("bias")
    assert every[0].manifest == every[1].manifest
    assert every[1].training("biased")[1] is None


def test_biased_frames_are_left_out_unless_all_trajectories_of_a_molecule_have_them(tmp_path):
    reference(tmp_path / "in/a/train", "KF")
    reference(tmp_path / "in/b/train", "KF", biased=False)
    dataset = converted(open_source(tmp_path / "in"), tmp_path / "out")
    assert list(dataset.manifest["systems"]["KF"]["splits"]) == ["train"]


def test_what_is_converted_stays_untouched(tmp_path):
    pools = pool([trajectory(tmp_path / "in", "KF")], BACKBONE)
    convert_all(pools, BACKBONE, tmp_path / "out")
    before = (tmp_path / "out/KF" / SYSTEM).stat().st_mtime_ns
    convert_all(pools, BACKBONE, tmp_path / "out")
    assert (tmp_path / "out/KF" / SYSTEM).stat().st_mtime_ns == before


@pytest.mark.parametrize("change", ["file", "unit", "beads"])
def test_what_was_converted_otherwise_is_converted_again(change, tmp_path):
    source = trajectory(tmp_path / "in", "KF")
    convert_all(pool([source], BACKBONE), BACKBONE, tmp_path / "out")
    bead_map = BACKBONE
    if change == "file":
        source = trajectory(tmp_path / "in", "KF", frames=31)
    elif change == "unit":
        source = replace(source, unit="nm")
    else:
        bead_map = BeadMap.parse("calpha")
    pools = pool([source], bead_map)
    convert_all(pools, bead_map, tmp_path / "out")
    frames = finish_conversion(tmp_path / "out", pools, ORIGIN).split("train").read()
    assert frames.shape == (31 if change == "file" else 20, 2 if change == "beads" else 10, 3)


def test_trajectories_of_one_molecule_are_one_system_in_their_order(tmp_path):
    """Of another file name, another topology and another unit; what belongs to which is in the manifest."""
    first = trajectory(tmp_path / "a", "KF", frames=5)
    second = trajectory(tmp_path / "b", "KF", frames=7)
    other = trajectory(tmp_path / "c", "AV", frames=3)
    sources = [
        replace(source, place=f"{n}/x.xtc") for n, source in zip("abc", (first, second, other), strict=True)
    ]
    dataset = converted(sources, tmp_path / "out")
    assert dataset.systems == ("KF", "AV")
    expected = [coarse_frames(source, BACKBONE) for source in (first, second)]
    np.testing.assert_array_equal(dataset.split("train", "KF").read(), np.concatenate(expected))
    assert dataset.description("KF")["trajectories"] == [
        {"name": "a/x.xtc", "split": "train", "frames": 5, "spacing": 1.0},
        {"name": "b/x.xtc", "split": "train", "frames": 7, "spacing": 1.0},
    ]
    assert dataset.trajectories("KF", "train") == ([5, 7], 1.0)
    assert dataset.description("KF")["springs"] == measure(first.beads(BACKBONE), np.concatenate(expected))
    assert not (tmp_path / "out" / PARTS).exists()


def test_a_molecule_may_be_in_two_splits_and_is_measured_in_that_of_training(tmp_path):
    held = trajectory(tmp_path / "a", "KF", frames=5, split="validation")
    used = trajectory(tmp_path / "b", "KF", frames=7, split="train")
    dataset = converted([held, used], tmp_path / "out")
    assert dataset.systems_of("train") == dataset.systems_of("validation") == ("KF",)
    np.testing.assert_array_equal(dataset.split("validation").read(), coarse_frames(held, BACKBONE))
    train = dataset.split("train").read()
    np.testing.assert_array_equal(train, coarse_frames(used, BACKBONE))
    assert dataset.norm == pytest.approx(1 / train.std(), rel=1e-5)
    assert [part["split"] for part in dataset.description("KF")["trajectories"]] == ["validation", "train"]


def test_references_of_different_kinds_are_refused(tmp_path):
    first = trajectory(tmp_path / "in", "KF", conditions=Conditions("amber14", "OBC2", 310.0))
    other = trajectory(tmp_path / "in", "AV", conditions=Conditions("amber14", "OBC1", 310.0))
    with pytest.raises(MoleculeError, match="not of one distribution"):
        check(pool([first, other], BACKBONE))


def test_a_dataset_without_training_data_says_so(tmp_path):
    source = trajectory(tmp_path / "in", "KF", split="test")
    with pytest.raises(MoleculeError, match="nothing to train on: the trajectories are of test"):
        check(pool([source], BACKBONE))


def test_the_temperature_is_known_of_reports_and_of_datasets_made_of_them(tmp_path):
    trajectory(tmp_path / "in", "KF")
    assert known_temperature(MoleculesConfig(path=str(tmp_path / "in"))) is None
    assert known_temperature(MoleculesConfig()) is None
    for name, kelvin in (("KF", 350), ("AV", 310)):
        arrays = timewarp(tmp_path / "theirs", name, kelvin)
        assert known_temperature(MoleculesConfig(path=str(arrays))) == kelvin
    with pytest.raises(MoleculeError, match=r"AV-.* is of 310 K, and .*KF-.* of 350 K"):
        known_temperature(MoleculesConfig(path=str(tmp_path / "theirs")))
    converted(open_source(tmp_path / "theirs" / "KF-traj-arrays.npz"), tmp_path / "out")
    assert known_temperature(MoleculesConfig(path=str(tmp_path / "out"))) == 350


def timewarp(folder, sequence: str, kelvin: float):
    trajectory(folder, sequence)
    frames = mdtraj.load(folder / f"{sequence}.xtc", top=folder / f"{sequence}.pdb").xyz
    (folder / f"{sequence}.pdb").rename(folder / f"{sequence}-traj-state0.pdb")
    (folder / f"{sequence}.xtc").unlink()
    np.savez(folder / f"{sequence}-traj-arrays.npz", positions=frames)
    physics = {"force_field": "ff14SB", "solvent": "OBC2", "temperature_K": kelvin}
    (folder / f"{sequence}-reference.json").write_text(json.dumps({"physics": physics}))
    return folder / f"{sequence}-traj-arrays.npz"


def test_several_paths_are_separated_by_commas(tmp_path):
    for name, sequence in (("a", "KF"), ("b", "KF"), ("c,d", "AV")):
        trajectory(tmp_path / name, sequence)
    both = sources_of(MoleculesConfig(path=f"{tmp_path}/a,{tmp_path}/b/KF.xtc"))
    assert [source.place for source in both] == ["a/KF.xtc", "b/KF.xtc"]
    (alone,) = sources_of(MoleculesConfig(path=f"{tmp_path}/c,d"))
    assert alone.sequence == "AV"


def test_a_dataset_is_not_taken_for_trajectories(tmp_path):
    converted([trajectory(tmp_path / "in", "KF")], tmp_path / "out")
    with pytest.raises(MoleculeError, match="is a converted dataset"):
        sources_of(MoleculesConfig(path=str(tmp_path / "out")))
