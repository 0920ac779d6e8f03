"""A user's trajectory becomes a trained, judged and exported model of a peptide by one command."""

import json
from pathlib import Path

import mdtraj
import numpy as np
import pytest

import fokker
from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads

from ..user import Result, User

BEADS = Beads.from_sequence("GA", BeadMap.parse("backbone"))
SMALL = [
    *("--data", "GA.xtc", "--data.topology", "GA.pdb", "--data.evaluate", "train"),
    *("--network.heads", "2", "--network.head-width", "4", "--train.batch-size", "32", "--train.block", "8"),
    *("--objective.consistency-fraction", "0.0625", "--sample.samples", "40", "--sample.chunk", "40"),
    *("--sample.evaluations", "10", "--simulate.frames", "200", "--simulate.chains", "20"),
    *("--simulate.chunk", "10", "--simulate.stride", "2", "--simulate.burn-in", "4"),
    *("--experts.0.hidden", "8", "--experts.0.epochs", "4", "--experts.1.hidden", "8"),
    *("--experts.1.epochs", "2", "--experts.2.hidden", "8", "--experts.2.epochs", "2"),
]


pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def finished(user: User, guest: User) -> tuple[Path, Result]:
    random = np.random.default_rng(0)
    chain = np.zeros((len(BEADS), 3))
    for first, second in BEADS.bonds:
        step = random.normal(size=3)
        chain[second] = chain[first] + 0.14 * step / np.linalg.norm(step)
    frames = mdtraj.Trajectory(chain + 0.003 * random.normal(size=(200, *chain.shape)), BEADS.topology())
    frames.save_xtc(user.home / "GA.xtc")
    frames[0].save_pdb(user.home / "GA.pdb")
    result = guest.run("run", "dipeptides-small", "--name", "peptide", *SMALL)
    assert (result.returncode, result.stderr) == (0, "")
    return user.home / "runs" / "peptide", result


def test_a_peptide_is_judged_by_its_torsions_and_bonds(finished: tuple[Path, Result]):
    metrics = json.loads((finished[0] / "metrics.json").read_text())
    ((name, system),) = metrics["systems"].items()
    assert {**metrics["corrected"]} == system["corrected"]
    assert 0 < system["corrected"]["floor"]["js"] < 0.7
    assert len(system["molecule"]["bonds"]) == len(BEADS.bonds) == 8
    for bond in system["molecule"]["bonds"].values():
        assert bond["spread"]["reference"] == pytest.approx([0.14, 0.0042], rel=0.1)
    assert metrics["simulate"]["chains"] == 20
    assert metrics["simulate"]["temperature"] == 310
    assert 100 < metrics["simulate"]["kinetic_temperature"] < 1000, "in K"
    assert name in (finished[0] / "report.html").read_text()


def test_beads_without_torsions_are_trained_and_judged_by_their_lengths(
    finished: tuple[Path, Result], guest: User
):
    bare = guest.run("run", "dipeptides-small", "--name", "bare", *SMALL, "--data.beads", "calpha")
    assert (bare.returncode, bare.stderr) == (0, "")
    path = guest.home / "runs" / "bare"
    ((_, system),) = json.loads((path / "metrics.json").read_text())["systems"].items()
    assert [*system["molecule"]["bonds"]] == ["GLY1-CA ALA2-CA"]
    assert (system["molecule"]["torsions"], system["molecule"]["mirror_images"]) == (None, None)
    assert all(0 < system["corrected"][kind]["js"] < 0.7 for kind in ("iid", "sim", "floor"))
    assert "GLY1-CA ALA2-CA" in (path / "report.html").read_text()
    figures = {figure.name for figure in (path / "figures").iterdir()}
    assert figures - {"convergence.png"} == {
        *("distances.png", "bonds.png", "losses.png", "fokker-planck-error.png")
    }
    assert 'id="viewer"' in (path / "report.html").read_text()
    assert mdtraj.load(next(path.glob("trajectories/*-simulate-1.pdb"))).n_atoms == 2


def test_its_trajectories_open_in_other_programs(finished: tuple[Path, Result]):
    for kind, count in (("sample", 40), ("simulate", 200)):
        (path,) = (finished[0] / "trajectories").glob(f"*-{kind}-1.xtc")
        trajectory = mdtraj.load(path, top=path.with_suffix(".pdb"))
        assert trajectory.xyz.shape == (count, 9, 3)


def test_its_model_is_taken_away_by_one_command(finished: tuple[Path, Result], guest: User):
    exported = guest.run("model", "export", "runs/peptide", "model.safetensors")
    assert (exported.returncode, exported.stderr) == (0, "")
    model = fokker.load(str(guest.home / "model.safetensors"))
    assert model.molecule("GA").sample(3).shape == (3, 9, 3)


def test_the_same_command_again_skips_everything(finished: tuple[Path, Result], guest: User):
    again = guest.run("run", "dipeptides-small", "--name", "peptide", *SMALL)
    assert again.returncode == 0
    assert again.stdout.count("skipped") == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--data.sequences", "none"),
            "data: where are the trajectories? Name their file or folder with --data PATH",
        ),
        (("--data", "nowhere"), "nowhere does not exist"),
    ],
)
def test_data_that_are_not_there_are_one_line(user: User, options: tuple[str, ...], message: str):
    refused = user.run("data", "dipeptides-small", "--name", "missing", *options)
    assert refused.returncode == 1
    assert refused.stderr.startswith("fokker: error: ")
    assert refused.stderr.endswith(f"{message}\n")
    assert refused.stderr.count("\n") == 1


def test_an_exported_model_is_used_for_any_sequence_by_the_command(
    finished: tuple[Path, Result], guest: User
):
    assert guest.run("model", "export", "runs/peptide", "taken.safetensors").returncode == 0
    sampled = guest.run("model", "sample", "taken.safetensors", "--sequence", "ACE-GLY-NME", "--count", "50")
    assert (sampled.returncode, sampled.stderr) == (0, "")
    path = guest.home / "ACE-GLY-NME-sample.xtc"
    assert mdtraj.load(path, top=path.with_suffix(".pdb")).xyz.shape == (50, 7, 3)
    options = ("--chains", "3", "--frames", "4", "--stride", "2", "--burn-in", "0", "--out", "walk.xtc")
    simulated = guest.run("model", "simulate", "runs/peptide", "--sequence", "AA", *options)
    assert (simulated.returncode, simulated.stderr) == (0, "")
    assert mdtraj.load(guest.home / "walk.xtc", top=guest.home / "walk.pdb").xyz.shape == (12, 10, 3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "model sample gone.safetensors --sequence AC",
            "gone.safetensors does not exist: name what fokker model export",
        ),
        (
            "model sample GA.pdb --sequence AC",
            "GA.pdb is no model that fokker wrote: ",
        ),
        (
            "model sample taken.safetensors",
            "name MODEL and --sequence: fokker model sample MODEL --sequence ...",
        ),
        ("model sample runs/peptide --sequence AB", "sequence 'AB': residue 2 is 'B'"),
        ("model sample runs/peptide --sequence AC --chains 3", "unknown option --chains: did you mean"),
        ("model simulate runs/peptide --sequence AC --frames no", "--frames: must be a whole number, not"),
        ("model simulate runs/peptide --sequence AC --out x.pdb", "--out: x.pdb has to end with .xtc"),
    ],
)
def test_what_a_model_cannot_do_is_one_line(
    finished: tuple[Path, Result], guest: User, words: str, message: str
):
    refused = guest.run(*words.split())
    assert refused.returncode in (1, 2)
    assert message in refused.stderr
    assert refused.stderr.count("\n") == 1
