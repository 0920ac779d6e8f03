"""A model taken away answers as the run does, in nm, ps and kJ/mol."""

import re
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

import fokker
from fokker.analysis.systems import BOLTZMANN
from fokker.data import shards
from fokker.data.files import write_json
from fokker.data.residues import MoleculeError
from fokker.distributed import parameters
from fokker.launch import cli
from fokker.launch.config import ConfigError, to_dict
from fokker.launch.presets import PRESETS
from fokker.launch.run import Run
from fokker.launch.trained import Model
from fokker.model.config import GraphTransformerConfig

NORM = 5.0
SMALL = PRESETS["dipeptides-small"]("both", "fokker")
SMALL = replace(
    SMALL,
    network=GraphTransformerConfig(precondition=True, bond_width=0.1, heads=2, head_width=4),
    experts=tuple(replace(expert, hidden=(8,)) for expert in SMALL.experts),
    sample=replace(SMALL.sample, evaluations=8),
    train=replace(SMALL.train, batch_size=2),
    simulate=replace(SMALL.simulate, burn_in=50, stride=10),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that ended, of random parameters."""
    directory = tmp_path_factory.mktemp("run")
    frames = np.zeros((2, 10, 3), np.float32)
    shards.write_system(directory / "data", "AV", {}, {"train": frames})
    shards.finish(directory / "data", {"name": "x", "norm": NORM}, ["AV"])
    write_json(directory / "config.json", to_dict(SMALL))
    for job in Run(SMALL, directory).jobs:
        job.directory.mkdir(parents=True)
        shapes = job.load()[1].init(jax.random.key(0))
        random = np.random.default_rng(job.index)
        parameters.save(
            job.directory, jax.tree.map(lambda p, r=random: 0.3 * r.normal(size=p.shape).astype("f4"), shapes)
        )
    return directory


@pytest.fixture(scope="module")
def model(run: Path) -> Model:
    return fokker.load(str(run))


def positions(beads: int, frames: int = 3) -> np.ndarray:
    return 0.2 * np.random.default_rng(1).normal(size=(frames, beads, 3))


def test_an_exported_file_is_the_run(run: Path, model: Model, tmp_path: Path):
    path = tmp_path / "model.safetensors"
    assert cli.command(["export", str(run), str(path)]) == 0
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    found = fokker.load(str(path))
    assert found.config == model.config
    for sequence, beads in (("AV", 10), ("GAG", 13)):
        x = positions(beads)
        np.testing.assert_array_equal(found.forces(sequence, x), model.forces(sequence, x))
        np.testing.assert_array_equal(found.energy(sequence, x), model.energy(sequence, x))
    np.testing.assert_array_equal(found.sample("AV", 4, seed=1), model.sample("AV", 4, seed=1))


def test_forces_are_the_gradient_of_the_energy_and_that_is_kt_times_the_log_density(model: Model):
    x, step = positions(10, 1), 1e-3
    forces = model.forces("AV", x)
    direction = np.random.default_rng(2).normal(size=x.shape)
    ahead, behind = (model.energy("AV", x + sign * step * direction) for sign in (1, -1))
    np.testing.assert_allclose(-(ahead - behind) / (2 * step), (forces * direction).sum(), rtol=2e-2)
    kT = BOLTZMANN * 310
    np.testing.assert_allclose(model.energy("AV", x), -kT * model.log_density("AV", x), rtol=1e-6)
    assert np.abs(forces.sum(axis=1)).max() < 1e-4 * np.abs(forces).max()


def test_without_a_network_the_energy_is_that_of_a_normal_distribution(model: Model):
    """log p = −½ ‖norm x‖² about the centre."""
    zero = jax.tree.map(lambda p: 0 * p, model.parameters)
    x = positions(10)
    centred = x - x.mean(axis=1, keepdims=True)
    found = replace(model, parameters=zero)
    kT = BOLTZMANN * 310
    np.testing.assert_allclose(
        found.energy("AV", x), 0.5 * kT * NORM**2 * (centred**2).sum((1, 2)), rtol=1e-5
    )
    np.testing.assert_allclose(found.forces("AV", x), -kT * NORM**2 * centred, rtol=1e-4, atol=1e-4)


def test_any_sequence_is_sampled_and_simulated(model: Model):
    samples = model.sample("GA", 5)
    assert samples.shape == (5, 9, 3)
    np.testing.assert_allclose(samples.mean(axis=1), 0, atol=1e-5)
    x = positions(9, 4)
    settings = replace(model.config.simulate, timestep=1e-6, friction=1e-3)
    slow = replace(model, config=replace(model.config, simulate=settings))
    chains = slow.simulate("GA", 3, stride=1, burn_in=0, start=x)
    assert chains.shape == (4, 3, 9, 3)
    np.testing.assert_allclose(chains[:, 0], x - x.mean(axis=1, keepdims=True), atol=1e-4)
    with pytest.raises(MoleculeError):
        model.sample("XX", 1)


def test_what_is_no_model_is_refused_in_one_line(run: Path, tmp_path: Path, capsys):
    (tmp_path / "text").write_text("hello")
    for path in (tmp_path / "nothing", tmp_path / "text"):
        with pytest.raises(ConfigError, match="is no run and no model"):
            fokker.load(str(path))
    with pytest.raises(ConfigError, match=r"config\.json does not exist"):
        fokker.load(str(tmp_path))
    toy = tmp_path / "toy"
    toy.mkdir()
    write_json(toy / "config.json", to_dict(PRESETS["mueller-brown"]("both", "fokker")))
    with pytest.raises(ConfigError, match="only models of molecules"):
        fokker.load(str(toy))
    with pytest.raises(SystemExit):
        cli.command(["export", str(run)])
    assert "name a run's folder and a file" in capsys.readouterr().err


def test_the_snippet_of_the_readme_runs(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = (Path(__file__).parents[2] / "README.md").read_text()
    (snippet,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/dipeptides-small").symlink_to(run)
    monkeypatch.chdir(tmp_path)
    found: dict = {}
    exec(snippet, found)
    assert found["samples"].shape == (20, 10, 3)
    assert found["chains"].shape == (20, 5, 10, 3)
    assert found["energies"].shape == found["log_density"].shape == (20,)
    assert found["forces"].shape == (20, 10, 3)
