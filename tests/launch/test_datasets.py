"""References are made, converted and looked at; a run without data makes its own."""

import json
from pathlib import Path

import numpy as np
import pytest

from fokker.data.config import MoleculesConfig
from fokker.data.shards import Dataset

from .conftest import Result, User

SHORT = ["--learning", "0.004", "--production", "0.02", "--block", "0.004", "--interval", "0.2"]
SHORT += ["--frames", "40"]


@pytest.fixture(scope="module")
def generated(user: User, guest: User) -> tuple[Path, Result]:
    made = guest.run("data", "generate", "GA", "AC", "--out", "peptides/train", "--walkers", "2", *SHORT)
    assert (made.returncode, made.stderr) == (0, "")
    return user.home / "peptides", made


@pytest.fixture(scope="module")
def converted(generated: tuple[Path, Result], guest: User) -> Path:
    made = guest.run("data", "convert", "peptides", "--out", "dataset")
    assert (made.returncode, made.stderr) == (0, "")
    return guest.home / "dataset"


def test_peptides_are_simulated_side_by_side(generated: tuple[Path, Result]):
    folder, result = generated
    for name in ("GA", "AC"):
        report = json.loads((folder / "train" / f"{name}-reference.json").read_text())
        assert report["frames"] == 40
        assert f"reference {name}: 40 frames of" in result.stdout
        assert f"warning   {name}: too few crossings for the weights of its modes" in result.stdout
    assert "peptide GA  done" in result.stdout


def test_what_was_simulated_is_not_simulated_again(generated: tuple[Path, Result], guest: User):
    before = {path: path.stat().st_mtime_ns for path in generated[0].rglob("*-*")}
    again = guest.run("data", "generate", "GA", "AC", "--out", "peptides/train", "--walkers", "2", *SHORT)
    assert again.returncode == 0
    assert "done" not in again.stdout
    assert before == {path: path.stat().st_mtime_ns for path in generated[0].rglob("*-*")}


def test_a_dataset_is_converted_once_and_then_given_to_runs(converted: Path, guest: User):
    refused = guest.run("data", "convert", "peptides", "--out", "dataset")
    assert refused.returncode == 2
    assert "holds a dataset already: take another --out, or remove it" in refused.stderr
    options = ("--name", "given", "--data", "dataset", "--data.evaluate", "train")
    taken = guest.run("data", "dipeptides-small", *options)
    assert (taken.returncode, taken.stderr) == (0, "")
    run = Dataset(guest.home / "runs" / "given" / "data")
    run.verify()
    assert run.fingerprint == Dataset(converted).fingerprint
    assert "skipped" in guest.run("data", "dipeptides-small", *options).stdout


def test_a_dataset_of_other_beads_is_refused(converted: Path, guest: User):
    refused = guest.run(
        "data", "dipeptides-small", "--name", "other", "--data", "dataset", "--data.beads", "calpha"
    )
    assert refused.returncode == 2
    assert "data.beads: " in refused.stderr
    assert "convert the trajectories again" in refused.stderr
    assert not (guest.home / "runs" / "other" / "data").exists()


def test_inspection_says_what_is_there(converted: Path, guest: User):
    looked = guest.run("data", "inspect", "dataset")
    assert (looked.returncode, looked.stderr) == (0, "")
    for part in (Dataset(converted).fingerprint, "unit nm", '"solvent": "OBC2"', "GA", "AC", "train", "40"):
        assert part in looked.stdout
    assert (converted / "ramachandran.png").read_bytes()[1:4] == b"PNG"
    raw = guest.run("data", "inspect", "peptides", "--figure", "planes.png")
    assert (raw.returncode, raw.stderr) == (0, "")
    assert "2 trajectories of timewarp" in raw.stdout
    assert (guest.home / "planes.png").read_bytes()[1:4] == b"PNG"


def test_a_run_without_data_makes_its_own_reference(guest: User):
    settings = [f"--reference.{name[2:]}" if name.startswith("--") else name for name in SHORT]
    made = guest.run(
        "data",
        "dipeptides-small",
        "--name",
        "own",
        *settings,
        "--data.sequences",
        "GA",
        "--data.held-out",
        "AG",
    )
    assert (made.returncode, made.stderr) == (0, "")
    dataset = Dataset(guest.home / "runs" / "own" / "data")
    assert dataset.systems_of("train") == ("GA",)
    assert dataset.systems_of(MoleculesConfig(evaluate="validation").evaluate) == ("AG",)
    assert np.isfinite(dataset.split("train").read()).all()


def test_a_sequence_that_is_none_is_one_line(guest: User):
    refused = guest.run("data", "generate", "GB", "--out", "wrong")
    assert refused.returncode == 1
    assert refused.stderr.startswith("fokker: error: sequence 'GB': residue 2 is 'B'")
    assert refused.stderr.count("\n") == 1
