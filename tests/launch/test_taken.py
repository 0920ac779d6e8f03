"""`fokker model sample` and `simulate`: what is written, and what is refused before the work."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import mdtraj
import numpy as np
import pytest

from fokker.launch import cli, taken
from fokker.launch.presets import PRESETS
from fokker.launch.trained import Model
from fokker.model.config import GraphTransformerConfig
from fokker.model.experts import Expert

PRESET = PRESETS["dipeptides-small"]("both", "fokker")
SMALL = replace(
    PRESET,
    network=GraphTransformerConfig(precondition=True, bond_width=0.1, heads=2, head_width=4),
    experts=tuple(replace(expert, hidden=(8,)) for expert in PRESET.experts),
    sample=replace(PRESET.sample, samples=8, chunk=8, evaluations=4),
    simulate=replace(PRESET.simulate, chunk=5, burn_in=2, stride=2),
)
COMMANDS = {
    "sample": ["--sequence", "AV", "--count", "11"],
    "simulate": ["--sequence", "AV", "--chains", "6", "--frames", "3"],
}
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models: one of random parameters, and one whose numbers are lost."""
    folder = tmp_path_factory.mktemp("models")
    parameters = [Expert(each, SMALL.network, (10, 3)).init(jax.random.key(0)) for each in SMALL.experts]
    lost = [jax.tree.map(lambda part: np.nan * part, each) for each in parameters]
    for name, weights in (("good", parameters), ("lost", lost)):
        Model(SMALL, tuple(weights), 5.0, {"bonds": {}, "angles": {}}).save(folder / f"{name}.safetensors")
    return folder


@pytest.fixture
def command(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> Command:
    """Carries out a command in a folder of this test: status, and what it printed."""
    monkeypatch.chdir(tmp_path)

    def carry_out(name: str, *options: str, model: str = "good") -> tuple[int, str, str]:
        words = ["model", name, str(folder / f"{model}.safetensors"), *COMMANDS[name], *options]
        status = cli.main(words)
        said = capsys.readouterr()
        return status, said.out, said.err

    return carry_out


@pytest.mark.parametrize(("name", "count"), [("sample", 11), ("simulate", 18)])
def test_counts_that_are_no_multiple_of_a_chunk_are_all_written(command: Command, name: str, count: int):
    status, out, err = command(name)
    assert (status, err) == (0, "")
    assert f"{count} frames in AV-{name}.xtc, topology in AV-{name}.pdb" in out
    assert mdtraj.load(f"AV-{name}.xtc", top=f"AV-{name}.pdb").n_frames == count


@pytest.mark.parametrize("name", ["sample", "simulate"])
def test_without_a_finite_frame_the_status_is_1_and_nothing_is_written(command: Command, name: str):
    status, _, err = command(name, model="lost")
    assert status == 1
    assert err.count("\n") == 1
    assert f"fokker: error: {name}: all of the {dict(sample=11, simulate=6)[name]} " in err
    assert "became not finite, and nothing is written" in err
    assert os.listdir() == []


@pytest.mark.parametrize("name", ["sample", "simulate"])
def test_an_old_result_is_never_taken_for_a_new_one(command: Command, name: str):
    Path("old.xtc").write_text("old")
    status, _, err = command(name, "--out", "old.xtc", "--force", model="lost")
    assert (status, Path("old.xtc").read_text()) == (1, "old")
    assert "nothing is written" in err


def test_samples_that_are_lost_in_part_are_counted_and_left_out(command: Command, monkeypatch):
    whole = Model.sample

    def broken(self: Model, *args) -> np.ndarray:
        samples = whole(self, *args)
        samples[[1, 7]] = np.nan
        samples[3, 0, 0] = np.inf
        return samples

    monkeypatch.setattr(Model, "sample", broken)
    status, out, err = command("sample")
    assert (status, err) == (0, "")
    assert "3 of 11 became not finite and are left out" in out
    found = mdtraj.load("AV-sample.xtc", top="AV-sample.pdb").xyz
    assert found.shape == (8, 10, 3)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("ending", ["xtc", "pdb"])
@pytest.mark.parametrize("options", [(), ("--out", "AV-sample.xtc")])
def test_what_is_there_is_refused_before_the_work_unless_forced(
    command: Command, monkeypatch: pytest.MonkeyPatch, ending: str, options: tuple[str, ...]
):
    there = Path(f"AV-sample.{ending}")
    there.write_text("old")
    with monkeypatch.context() as patch:
        patch.setattr(taken, "_made", lambda *args: pytest.fail("the work began"))
        status, _, err = command("sample", *options)
    assert status == 2
    assert err == (
        f"fokker: error: AV-sample.{ending} is there already: name another file with --out, or give --force\n"
    )
    assert there.read_text() == "old"
    status, _, err = command("sample", "--force", *options)
    assert (status, err) == (0, "")
    assert mdtraj.load("AV-sample.xtc", top="AV-sample.pdb").n_frames == 11


def test_a_place_that_cannot_be_written_is_named_before_the_work(
    command: Command, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(taken, "_made", lambda *args: pytest.fail("the work began"))
    status, _, err = command("sample", "--out", "/proc/x.xtc")
    assert status == 1
    assert err.startswith("fokker: error: /proc cannot be written: ")
    assert err.count("\n") == 1
    Path("folder.xtc").mkdir()
    status, _, err = command("sample", "--out", "folder.xtc", "--force")
    assert (status, err.count("\n")) == (2, 1)
    assert "--out: folder.xtc is a folder: name another file" in err


def test_force_is_a_word_of_its_own(command: Command, folder: Path, capsys):
    """Also before the model, which it must not take for its value."""
    words = ["model", "sample", "--force", str(folder / "good.safetensors"), *COMMANDS["sample"]]
    assert cli.main(words) == 0
    capsys.readouterr()
    status, _, err = command("sample", "--force=no")
    assert status == 2
    assert "--force takes no value" in err


def test_other_seeds_make_other_samples_in_every_chunk(command: Command):
    frames = []
    for seed in ("0", "1"):
        assert command("sample", "--seed", seed, "--out", f"{seed}.xtc")[0] == 0
        frames += list(mdtraj.load(f"{seed}.xtc", top=f"{seed}.pdb").xyz)
    assert len({frame.tobytes() for frame in frames}) == 22
