"""`fokker model sample` and `simulate`: what is written, and what is refused before the work."""

import os
from collections.abc import Callable
from pathlib import Path

import jax
import mdtraj
import numpy as np
import pytest

from fokker.data import archive
from fokker.data.archive import Archive, Description
from fokker.data.bound import BoundMolecule
from fokker.launch import cli
from fokker.launch.cli import model as command_of_models
from fokker.model.config import ArchitectureConfig, DynamicsConfig, GraphTransformerConfig, SamplerConfig
from fokker.model.experts import Expert

ABOUT = Description(
    experts=tuple(
        ArchitectureConfig(interval=interval, hidden=(8,), conservative=interval[0] == 0)
        for interval in ((0, 0.1), (0.1, 0.6), (0.6, 1))
    ),
    network=GraphTransformerConfig(precondition=True, bond_width=0.1, heads=2, head_width=4),
    sample=SamplerConfig(chunk=8, evaluations=4),
    simulate=DynamicsConfig(chunk=5, burn_in=2, stride=2, timestep=1e-3),
    temperature=310.0,
    kT=2.5,
    norm=5.0,
    beads="backbone",
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
    experts = [Expert(each, ABOUT.network, (10, 3)) for each in ABOUT.experts]
    parameters = [jax.jit(expert.init)(jax.random.key(0)) for expert in experts]
    lost = [jax.tree.map(lambda part: np.nan * part, each) for each in parameters]
    for name, weights in (("good", parameters), ("lost", lost)):
        archive.write(folder / f"{name}.safetensors", Archive(ABOUT, tuple(weights)))
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


def test_steps_of_a_simulation_can_be_others_than_the_run_s(command: Command):
    def frames(*options: str) -> np.ndarray:
        status, _, err = command("simulate", "--force", *options)
        assert (status, err) == (0, "")
        return mdtraj.load("AV-simulate.xtc", top="AV-simulate.pdb").xyz

    usual = frames()
    np.testing.assert_array_equal(frames("--timestep", "1e-3", "--inner-steps", "1"), usual)
    assert not np.array_equal(frames("--timestep", "2e-3"), usual)


def test_steps_that_the_model_cannot_make_are_refused_before_the_work(command: Command):
    status, out, err = command("simulate", "--inner-steps", "2")
    assert (status, out, os.listdir()) == (2, "", [])
    assert err.startswith("fokker: error: inner_steps 2 needs network.springs=true")
    assert err.count("\n") == 1


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
    whole = BoundMolecule.sample

    def broken(self: BoundMolecule, *args, **options) -> np.ndarray:
        samples = np.array(whole(self, *args, **options))
        samples[[1, 7]] = np.nan
        samples[3, 0, 0] = np.inf
        return samples

    monkeypatch.setattr(BoundMolecule, "sample", broken)
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
        patch.setattr(command_of_models, "_made", lambda *args: pytest.fail("the work began"))
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
    monkeypatch.setattr(command_of_models, "_made", lambda *args: pytest.fail("the work began"))
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


def test_a_run_is_exported_as_its_model(folder: Path, tmp_path: Path, capsys):
    """The file that its training wrote, or that of another name."""
    run = tmp_path / "run"
    run.mkdir()
    assert cli.main(["model", "export", str(run), str(tmp_path / "out.safetensors")]) == 2
    assert "model.safetensors is not there: a run has it when it is trained" in capsys.readouterr().err
    (run / archive.FILE).write_bytes((folder / "good.safetensors").read_bytes())
    assert cli.main(["model", "export", str(run), str(tmp_path / "out.safetensors")]) == 0
    assert (tmp_path / "out.safetensors").read_bytes() == (run / archive.FILE).read_bytes()
