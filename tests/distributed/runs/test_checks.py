"""What a run would fail of after hours is refused before its first step."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fokker.data.dataset import shards
from fokker.data.files import FileError
from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads
from fokker.data.molecules.residues import MoleculeError
from fokker.distributed.runs import checks
from fokker.distributed.runs.config import ConfigError
from fokker.distributed.runs.presets import PRESETS
from fokker.distributed.runs.run import Run
from fokker.launch.cli import main

SMALL = PRESETS["alanine-dipeptide-small"]("both", "fokker")


def dataset(
    directory: Path, sequences: Mapping[str, str], beads: str = "backbone", temperature: float | None = None
) -> None:
    """One with a frame of each sequence in a split."""
    for sequence, split in sequences.items():
        known = Beads.from_sequence(sequence, BeadMap.parse(beads))
        description = {"beads": known.to_json(), "bond_means": [0.1] * len(known.bonds)}
        frames = {split: np.zeros((1, len(known), 3), np.float32)}
        shards.write_system(directory, sequence, description, frames)
    source = {"name": "made", "beads": BeadMap.parse(beads).to_json()}
    conditions = {"force_field": None, "solvent": None, "temperature": temperature}
    shards.finish(directory, {**source, "conditions": conditions}, [*sequences])


def run_on(path: Path, directory: Path, **data) -> Run:
    config = replace(SMALL, data=replace(SMALL.data, path=str(path), **data))
    return Run(config, directory)


# Molecules


def test_molecules_that_can_be_judged_pass(tmp_path: Path):
    dataset(tmp_path / "made", {"AC": "train", "AKF": "validation"})
    checks.require_judgeable(run_on(tmp_path / "made", tmp_path / "run", evaluate="validation"))
    assert not (tmp_path / "run").exists()


def test_a_map_without_torsions_passes_and_a_single_bead_is_refused_where_it_is_judged(tmp_path: Path):
    dataset(tmp_path / "made", {"AC": "train", "A": "validation"}, "calpha")
    run = run_on(tmp_path / "made", tmp_path / "run", beads="calpha")
    assert [len(beads) for beads in checks.require_judgeable(run)] == [2]
    with pytest.raises(MoleculeError, match=r"^A: one bead has no distance and no torsion"):
        checks.require_judgeable(
            run_on(tmp_path / "made", tmp_path / "run", beads="calpha", evaluate="validation")
        )


def test_more_residues_than_a_network_can_tell_apart_are_refused(tmp_path: Path):
    dataset(tmp_path / "made", {"A" * 65: "train"})
    with pytest.raises(MoleculeError, match="65 residues"):
        checks.require_judgeable(run_on(tmp_path / "made", tmp_path / "run"))


def test_a_split_to_judge_that_is_not_there_is_refused(tmp_path: Path):
    dataset(tmp_path / "made", {"AC": "train"})
    with pytest.raises(ConfigError, match=r"data\.evaluate: the data have no split 'test', only train"):
        checks.require_judgeable(run_on(tmp_path / "made", tmp_path / "run", evaluate="test"))


@pytest.mark.parametrize("sequences", [("A" * 65,), ("AC", "AXC")])
def test_peptides_that_are_still_to_be_made_are_checked_too(tmp_path: Path, sequences: tuple[str, ...]):
    config = replace(SMALL, data=replace(SMALL.data, sequences=sequences))
    with pytest.raises(MoleculeError):
        checks.require_judgeable(Run(config, tmp_path))


def test_the_command_refuses_a_single_bead_before_it_makes_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    dataset(tmp_path / "made", {"A": "train"}, "calpha")
    assert main(["run", "alanine-dipeptide-small", "--data", "made", "--data.beads", "calpha"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("fokker: error: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "runs").exists()


# Room


def test_a_run_that_the_disk_cannot_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = PRESETS["mueller-brown"]("both", "fokker")
    run = Run(config, tmp_path / "run")
    checks.require_room(run)
    needed = checks.SPARE + 24 * (config.sample.samples + config.simulate.frames)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=needed - 1))
    with pytest.raises(FileError, match=r"run: 0\.0719 GB are free, and about 0\.0719 GB are needed"):
        checks.require_room(run)
    assert [*run.directory.iterdir()] == []
