"""References are made, converted and looked at; a run without data makes its own."""

import json
from pathlib import Path

import mdtraj
import numpy as np
import pytest
from rich.console import Console

from fokker.data.config import MoleculesConfig
from fokker.data.dataset.convert import convert_all, finish_conversion
from fokker.data.dataset.shards import Dataset
from fokker.data.files import FileError
from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads
from fokker.data.readers.layouts import open_source
from fokker.data.readers.opening import writable
from fokker.data.readers.pooling import pool
from fokker.distributed.runs import datasets
from fokker.distributed.runs.display import Display

from ...user import Result, User

SHORT = ["--learning", "0.004", "--production", "0.02", "--block", "0.004", "--interval", "0.2"]
SHORT += ["--frames", "40"]


@pytest.fixture(scope="module")
def generated(user: User, guest: User) -> tuple[Path, Result]:
    made = guest.run("dataset", "generate", "GA", "AC", "--out", "peptides/train", "--walkers", "2", *SHORT)
    assert (made.returncode, made.stderr) == (0, "")
    return user.home / "peptides", made


@pytest.fixture(scope="module")
def converted(generated: tuple[Path, Result], guest: User) -> Path:
    made = guest.run("dataset", "convert", "peptides", "--out", "dataset")
    assert (made.returncode, made.stderr) == (0, "")
    return guest.home / "dataset"


@pytest.mark.long
def test_peptides_are_simulated_side_by_side(generated: tuple[Path, Result]):
    folder, result = generated
    for name in ("GA", "AC"):
        report = json.loads((folder / "train" / f"{name}-reference.json").read_text())
        assert report["frames"] == 40
        assert f"reference {name}: 40 frames of" in result.stdout
        assert f"warning   {name}: too few crossings for the weights of its modes" in result.stdout
    assert "peptide GA  done" in result.stdout


@pytest.mark.long
def test_what_was_simulated_is_not_simulated_again(generated: tuple[Path, Result], guest: User):
    before = {path: path.stat().st_mtime_ns for path in generated[0].rglob("*-*")}
    again = guest.run("dataset", "generate", "GA", "AC", "--out", "peptides/train", "--walkers", "2", *SHORT)
    assert again.returncode == 0
    assert "done" not in again.stdout
    assert before == {path: path.stat().st_mtime_ns for path in generated[0].rglob("*-*")}


@pytest.mark.long
def test_a_dataset_is_converted_once_and_then_given_to_runs(converted: Path, guest: User):
    refused = guest.run("dataset", "convert", "peptides", "--out", "dataset")
    assert refused.returncode == 2
    assert "holds a dataset already: take another --out, or remove it" in refused.stderr
    options = ("--name", "given", "--data", "dataset", "--data.evaluate", "train")
    taken = guest.run("data", "dipeptides-small", *options)
    assert (taken.returncode, taken.stderr) == (0, "")
    run = Dataset(guest.home / "runs" / "given" / "data")
    run.verify()
    assert run.fingerprint == Dataset(converted).fingerprint
    assert "skipped" in guest.run("data", "dipeptides-small", *options).stdout


@pytest.mark.long
def test_a_dataset_of_other_beads_is_refused(converted: Path, guest: User):
    options = ("--data", "dataset", "--data.beads", "calpha", "--data.evaluate", "train")
    refused = guest.run("data", "dipeptides-small", "--name", "other", *options)
    assert refused.returncode == 2
    assert "data.beads: " in refused.stderr
    assert "convert the trajectories again" in refused.stderr
    assert not (guest.home / "runs" / "other" / "data").exists()


@pytest.mark.long
def test_inspection_says_what_is_there(converted: Path, guest: User):
    looked = guest.run("dataset", "inspect", "dataset")
    assert (looked.returncode, looked.stderr) == (0, "")
    for part in (Dataset(converted).fingerprint, "unit nm", "OBC2, 310 K", "GA", "AC", "train", "40"):
        assert part in looked.stdout
    assert (converted / "ramachandran.png").read_bytes()[1:4] == b"PNG"
    raw = guest.run("dataset", "inspect", "peptides", "--figure", "planes.png")
    assert (raw.returncode, raw.stderr) == (0, "")
    assert "2 trajectories of timewarp, 2 systems" in raw.stdout
    assert (guest.home / "planes.png").read_bytes()[1:4] == b"PNG"


@pytest.mark.long
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


def test_a_sequence_that_is_none_is_one_line(user: User):
    refused = user.run("dataset", "generate", "GB", "--out", "wrong")
    assert refused.returncode == 1
    assert refused.stderr.startswith("fokker: error: sequence 'GB': residue 2 is 'B'")
    assert refused.stderr.count("\n") == 1


def made(folder: Path, sequence: str, frames: int, seed: int, ending: str = "xtc") -> None:
    """A peptide of straight bonds, shaken, without a topology."""
    beads = Beads.from_sequence(sequence, BeadMap.parse("backbone"))
    chain = np.zeros((len(beads), 3))
    for first, second in beads.bonds:
        step = np.random.default_rng(second).normal(size=3)
        chain[second] = chain[first] + 0.14 * step / np.linalg.norm(step)
    noise = 0.002 * np.random.default_rng(seed).normal(size=(frames, *chain.shape))
    folder.mkdir(parents=True, exist_ok=True)
    with writable(folder / f"frame0.{ending}") as name:
        mdtraj.Trajectory(chain + noise, beads.topology()).save(name)


def with_topology(folder: Path, sequence: str) -> Path:
    beads = Beads.from_sequence(sequence, BeadMap.parse("backbone"))
    with writable(folder / "native.pdb") as name:
        mdtraj.Trajectory(np.zeros((1, len(beads), 3)), beads.topology()).save(name)
    return folder


@pytest.mark.long
def test_a_campaign_of_one_molecule_becomes_one_system_whatever_its_place_is_called(guest: User):
    campaign = guest.home / "Läufe λ"
    for number in range(3):
        made(campaign / f"RUN0{number}", "GA", 20 + number, number)
    with_topology(campaign, "GA")
    converted = guest.run("dataset", "convert", "Läufe λ", "--out", "Daten ü", "--trajectories")
    assert (converted.returncode, converted.stderr) == (0, "")
    assert "3 trajectories of xtc, 1 system" in converted.stdout
    dataset = Dataset(guest.home / "Daten ü")
    assert dataset.systems == ("GA",)
    assert dataset.description("GA")["trajectories"] == [
        {"name": f"RUN0{n}/frame0.xtc", "split": "train", "frames": 20 + n, "spacing": 1.0} for n in range(3)
    ]
    assert len(dataset.split("train")) == 63
    looked = guest.run("dataset", "inspect", "Daten ü", "--trajectories")
    for text in (converted.stdout, looked.stdout):
        assert all(f"RUN0{number}/frame0.xtc" in text for number in range(3))
    copied = guest.run("dataset", "convert", "Daten ü", "--out", "copy")
    assert (copied.returncode, copied.stderr) == (0, "")
    assert Dataset(guest.home / "copy").fingerprint == dataset.fingerprint
    Dataset(guest.home / "copy").verify()


@pytest.fixture
def display(capsys: pytest.CaptureFixture[str]) -> Display:
    return Display(Console(highlight=False, width=80))


def test_a_figure_that_cannot_be_drawn_is_told_before_anything_is_read(
    tmp_path: Path, display: Display, monkeypatch: pytest.MonkeyPatch
):
    def refuse(folder: Path, space: int = 0) -> None:
        raise FileError(f"{folder} cannot be written: read-only file system: choose another place")

    monkeypatch.setattr(datasets, "require_writable", refuse)
    monkeypatch.setattr(datasets, "sources_of", lambda _: pytest.fail("the work has begun"))
    config = MoleculesConfig(path=str(tmp_path))
    with pytest.raises(FileError, match="read-only file system"):
        datasets.inspect(tmp_path, tmp_path / "x.png", config, display)


@pytest.mark.parametrize("beads", ["backbone", "calpha"])
def test_a_dataset_that_cannot_be_written_or_has_no_torsions_is_looked_at_all_the_same(
    beads: str,
    tmp_path: Path,
    display: Display,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    made(tmp_path / "in", "GAG", 20, 0)
    with_topology(tmp_path / "in", "GAG")
    bead_map = BeadMap.parse(beads)
    pools = pool(open_source(tmp_path / "in"), bead_map)
    convert_all(pools, bead_map, tmp_path / "out")
    finish_conversion(tmp_path / "out", pools, {"name": "test", "units": "nm"})

    def refuse(folder: Path, space: int = 0) -> None:
        raise FileError(f"{folder} cannot be written: read-only file system: choose another place")

    monkeypatch.setattr(datasets, "require_writable", refuse)
    datasets.inspect(tmp_path / "out", None, MoleculesConfig(path=str(tmp_path / "out")), display)
    text = " ".join(capsys.readouterr().out.split())
    assert "GAG" in text
    assert ("no torsions φ and ψ" if beads == "calpha" else "--figure FILE draws the Ramachandran") in text


def test_beads_that_do_not_fit_do_not_hinder_a_look(
    tmp_path: Path, display: Display, capsys: pytest.CaptureFixture[str]
):
    made(tmp_path, "GA", 20, 0)
    with_topology(tmp_path, "GA")
    datasets.inspect(tmp_path, None, MoleculesConfig(path=str(tmp_path), beads="alanine-dipeptide"), display)
    text = " ".join(capsys.readouterr().out.split())
    assert "beads alanine-dipeptide cannot be made of it" in text
    assert "GA 1 20" in text
