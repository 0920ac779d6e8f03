"""What any program made is judged against any reference, peptide by peptide."""

import json
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from fokker.data.files import FileError
from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads
from fokker.launch.cli import main


def trajectory(path: Path, sequence: str, frames: int, seed: int, shake: float = 0.002) -> None:
    """A peptide of straight bonds, shaken, with its PDB file beside."""
    beads = Beads.from_sequence(sequence, BeadMap.parse("backbone"))
    random = np.random.default_rng(7)
    chain = np.zeros((len(beads), 3))
    for first, second in beads.bonds:
        step = random.normal(size=3)
        chain[second] = chain[first] + 0.14 * step / np.linalg.norm(step)
    noise = np.random.default_rng(seed).normal(size=(frames, *chain.shape))
    path.parent.mkdir(parents=True, exist_ok=True)
    made = mdtraj.Trajectory(chain + shake * noise, beads.topology())
    made.save(str(path))
    made[0].save(str(path.with_suffix(".pdb")))


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)


def test_samples_of_the_same_distribution_score_their_floor(capsys: pytest.CaptureFixture[str]):
    trajectory(Path("reference/GA.xtc"), "GA", 4000, seed=0)
    trajectory(Path("reference/AC.xtc"), "AC", 50, seed=1)
    trajectory(Path("mine.dcd"), "GA", 3000, seed=2)
    assert (
        main(["dataset", "judge", "--samples", "mine.dcd", "--reference", "reference", "--out", "m.json"])
        == 0
    )
    result = json.loads(Path("m.json").read_text())["systems"]["mine"]
    found, floor = (result["corrected"][kind]["js"] for kind in ("samples", "floor"))
    assert 0 < found < 3 * floor
    assert result["frames"] == {"count": 3000, "not_finite": 0, "broken_bonds": 0}
    bond = next(iter(result["molecule"]["bonds"].values()))
    assert bond["spread"]["samples"] == pytest.approx(bond["spread"]["reference"], rel=0.05)
    assert Path("m.png").read_bytes()[1:4] == b"PNG"
    assert "mine" in capsys.readouterr().out


def test_a_result_that_is_there_is_replaced_only_by_force(capsys: pytest.CaptureFixture[str]):
    trajectory(Path("reference/GA.xtc"), "GA", 100, seed=0)
    Path("mine.json").write_text("{}")
    words = ["dataset", "judge", "--samples", "reference", "--reference", "reference", "--out", "mine.json"]
    assert main(words) == 2
    assert "mine.json is there already: name another file with --out, or give" in capsys.readouterr().err
    assert Path("mine.json").read_text() == "{}"
    assert main([*words, "--force"]) == 0
    assert "GA" in json.loads(Path("mine.json").read_text())["systems"]


def test_a_wider_distribution_is_farther_than_its_floor():
    trajectory(Path("reference/GA.xtc"), "GA", 2000, seed=0)
    trajectory(Path("wide.xtc"), "GA", 2000, seed=1, shake=0.003)
    assert main(["dataset", "judge", "--samples", "wide.xtc", "--reference", "reference/GA.xtc"]) == 0
    result = json.loads(Path("metrics.json").read_text())["systems"]["wide"]
    assert result["corrected"]["samples"]["js"] > 3 * result["corrected"]["floor"]["js"]
    bond = next(iter(result["molecule"]["bonds"].values()))
    assert bond["spread"]["samples"][1] == pytest.approx(1.5 * bond["spread"]["reference"][1], rel=0.1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "--samples AC.xtc",
            "name --reference: fokker dataset judge --samples ... --reference ...",
        ),
        ("--samples gone.xtc --reference GA.xtc", "--samples: gone.xtc does not exist"),
        ("--samples AC.xtc --reference GA.xtc", "AC.xtc is of AC, of which the reference has 0 trajectories"),
        ("--samples AC.xtc --reference GA.xtc --out x.txt", "--out: x.txt has to end with .json"),
        ("mine --samples AC.xtc --reference GA.xtc", "unexpected 'mine'"),
    ],
)
def test_what_cannot_be_judged_is_one_line(words: str, message: str, capsys: pytest.CaptureFixture[str]):
    trajectory(Path("GA.xtc"), "GA", 5, seed=0)
    trajectory(Path("AC.xtc"), "AC", 5, seed=0)
    assert main(["dataset", "judge", *words.split()]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not Path("metrics.json").exists()


def test_mirror_images_are_counted(capsys: pytest.CaptureFixture[str]):
    """Inverted frames have the same bonds; glycine has no hand."""
    trajectory(Path("reference/GA.xtc"), "GA", 400, seed=0)
    trajectory(Path("mine.xtc"), "GA", 300, seed=1)
    mixed = mdtraj.load("mine.xtc", top="mine.pdb")
    mixed.xyz[:120] *= -1
    mixed.save("mine.xtc")
    assert (
        main(["dataset", "judge", "--samples", "mine.xtc", "--reference", "reference", "--out", "m.json"])
        == 0
    )
    found = json.loads(Path("m.json").read_text())["systems"]["mine"]["molecule"]["mirror_images"]
    hand = found["reference"]["count"] // 400  # Of the made-up reference, which is one conformation.
    assert found["samples"]["count"] == (180 if hand else 120)
    assert found["samples"]["residues"] == {"ALA2": found["samples"]["share"]}
    words = " ".join(capsys.readouterr().out.split())
    assert "broken bonds mirror images of the reference" in words
    assert f"mine 0 {found['samples']['count']} {found['reference']['count']}" in words
    assert "…" not in words


def test_many_files_of_one_molecule_are_judged_together(capsys: pytest.CaptureFixture[str]):
    for number in range(3):
        trajectory(Path(f"reference/RUN{number}/GA.xtc"), "GA", 700, seed=number)
        trajectory(Path(f"mine/part{number}.xtc"), "GA", 500, seed=10 + number)
    assert (
        main(["dataset", "judge", "--samples", "mine", "--reference", "reference", "--out", "all.json"]) == 0
    )
    both = "mine/part0.xtc,mine/part2.xtc"
    assert main(["dataset", "judge", "--samples", both, "--reference", "reference", "--out", "two.json"]) == 0
    counts = [
        json.loads(Path(f"{name}.json").read_text())["systems"]["GA"]["frames"] for name in ("all", "two")
    ]
    assert [count["count"] for count in counts] == [1500, 1000]
    assert "GA" in capsys.readouterr().out


def test_a_torn_file_is_judged_by_its_whole_frames_where_that_is_asked(capsys: pytest.CaptureFixture[str]):
    trajectory(Path("reference/GA.xtc"), "GA", 500, seed=0)
    trajectory(Path("GA.xtc"), "GA", 300, seed=1)
    Path("GA.xtc").write_bytes(Path("GA.xtc").read_bytes()[:-20])
    words = ["dataset", "judge", "--samples", "GA.xtc", "--reference", "reference"]
    assert main(words) == 1
    assert "299 frames are whole" in capsys.readouterr().err
    assert main([*words, "--skip-damaged"]) == 0
    assert json.loads(Path("metrics.json").read_text())["systems"]["GA"]["frames"]["count"] == 299
    assert "is left out from there" in " ".join(capsys.readouterr().out.split())


def timewarp(folder: str, kelvin: float) -> None:
    trajectory(Path(folder) / "GA.xtc", "GA", 60, seed=0)
    frames = mdtraj.load(f"{folder}/GA.xtc", top=f"{folder}/GA.pdb").xyz
    np.savez(f"{folder}/GA-traj-arrays.npz", positions=frames)
    Path(f"{folder}/GA.pdb").rename(f"{folder}/GA-traj-state0.pdb")
    Path(f"{folder}/GA.xtc").unlink()
    physics = {"force_field": "ff14SB", "solvent": "OBC2", "temperature_K": kelvin}
    Path(f"{folder}/GA-reference.json").write_text(json.dumps({"physics": physics}))


@pytest.mark.parametrize(
    ("samples", "options", "parts"),
    [
        ("cold", [], ("the samples cold is 300 K", "the reference hot is 350 K")),
        ("same", ["--temperature", "300"], ("--temperature is 300 K", "350 K")),
    ],
)
def test_samples_of_another_temperature_are_refused(
    samples: str, options: list[str], parts: tuple[str, ...], capsys: pytest.CaptureFixture[str]
):
    timewarp("hot", 350)
    timewarp("cold", 300)
    timewarp("same", 350)
    words = ["dataset", "judge", "--samples", samples, "--reference", "hot"]
    assert main([*words, *options]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert all(part in error for part in parts)
    assert not Path("metrics.json").exists()
    assert main(["dataset", "judge", "--samples", "same", "--reference", "hot"]) == 0


def test_a_topology_that_is_given_is_for_what_has_none():
    trajectory(Path("reference/GA.xtc"), "GA", 60, seed=0)
    trajectory(Path("GA.xtc"), "GA", 60, seed=1)
    Path("away").mkdir()
    Path("GA.pdb").rename("away/top.pdb")
    words = ["dataset", "judge", "--samples", "GA.xtc", "--topology", "away/top.pdb", "--reference"]
    assert main([*words, "reference"]) == 0
    Path("reference/GA.pdb").unlink()
    assert main([*words, "reference", "--force"]) == 0


def test_a_place_that_cannot_be_written_is_told_before_the_work(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    trajectory(Path("GA.xtc"), "GA", 5, seed=0)

    def refuse(folder: Path, space: int = 0) -> None:
        raise FileError(f"{folder} cannot be written: read-only file system: choose another place")

    monkeypatch.setattr("fokker.distributed.runs.checks.require_writable", refuse)
    monkeypatch.setattr("fokker.launch.judge.sources_of", lambda _: pytest.fail("the work has begun"))
    assert main(["dataset", "judge", "--samples", "GA.xtc", "--reference", "GA.xtc"]) == 1
    assert "read-only file system" in capsys.readouterr().err
