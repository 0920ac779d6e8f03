"""Peptides of different length are trained in one batch, then sampled and simulated one by one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fokker.analysis.systems import System
from fokker.data.config import MoleculesConfig
from fokker.data.dataset import shards
from fokker.data.dataset.shards import Dataset
from fokker.data.molecules import springs
from fokker.data.molecules.arrays import molecule_of, molecules_of
from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads
from fokker.distributed import tasks
from fokker.distributed.campaigns import windows
from fokker.distributed.campaigns.segments import Segment
from fokker.distributed.campaigns.starts import FromData
from fokker.distributed.campaigns.works import Sampling, Simulation
from fokker.distributed.training import parameters
from fokker.distributed.training.job import ExpertJob
from fokker.model import trained
from fokker.model.config import (
    ExpertConfig,
    GraphTransformerConfig,
    ObjectiveConfig,
    SampleConfig,
    SimulateConfig,
    UmbrellaConfig,
)
from fokker.model.diffusion.schedule import NoiseSchedule
from fokker.model.networks.springs import log_density

from .conftest import TRAIN, model_of, train

SEQUENCES = ("AV", "GG")
WARM = MoleculesConfig(temperature=300.0)
NETWORK = GraphTransformerConfig(precondition=True, bond_width=0.1, heads=2, head_width=4, springs=True)


pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def peptides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Beads that a harmonic potential holds at the nodes of a chain: 10 of one peptide, 8 of the other."""
    directory, random, measured = tmp_path_factory.mktemp("peptides"), np.random.default_rng(0), []
    for sequence in SEQUENCES:
        beads = Beads.from_sequence(sequence, BeadMap.parse("backbone"))
        nodes = 0.1 * random.normal(size=(len(beads), 3))
        frames = nodes + 0.02 * random.normal(size=(150, *nodes.shape))
        frames = (frames - frames.mean(axis=1, keepdims=True)).astype(np.float32)
        description = {"beads": beads.to_json(), "bond_means": [0.15] * len(beads.bonds)}
        shards.write_system(directory, sequence, description, {"train": frames})
        measured.append(springs.measure(beads, frames))
    source = {"name": "peptides", "norm": 10.0, "springs": springs.pool(measured)}
    shards.finish(directory, source, SEQUENCES)
    return directory


@pytest.fixture(scope="module")
def jobs(compilations, peptides: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ExpertJob, ...]:
    """The smallest expert an energy with a residual, the other a score."""
    smallest = ExpertConfig(interval=(0, 0.1), hidden=(8,), epochs=4, midpoint=0.03, consistency_weight=1e-4)
    larger = ExpertConfig(interval=(0.1, 1), hidden=(8,), epochs=2, midpoint=0.5, conservative=False)
    objective = ObjectiveConfig(consistency_fraction=0.125, consistency_start=0.5, log_sigma_fraction=0.25)
    root = tmp_path_factory.mktemp("experts")
    found = tuple(
        ExpertJob(
            config.interval.__repr__(), i, root / str(i), peptides, config, NETWORK, objective, TRAIN, 7
        )
        for i, config in enumerate((smallest, larger))
    )
    for job in found:
        assert train(job).finished
    return found


def test_molecules_are_padded_to_the_longest(peptides: Path):
    molecules = molecules_of(Dataset(peptides), (10, 3))
    assert molecules is not None
    assert molecules.beads.tolist() == [10, 8]
    assert not molecules.features[1, 8:].any()
    shorter = molecules_of(Dataset(peptides), (8, 3))
    assert shorter is not None
    assert shorter.beads.tolist() == [0, 8], "what such frames cannot hold is not in the table"


def test_training_stopped_in_the_middle_ends_with_the_same_parameters(jobs, tmp_path: Path):
    again = replace(jobs[0], directory=tmp_path)
    assert train(again, stop_at=8).step < 36
    assert train(again).finished
    first, second = (parameters.load(job.directory) for job in (jobs[0], again))
    assert first.keys() == second.keys()
    for path in ("layer_0", "decoder"):
        np.testing.assert_equal(first["transformer"][path], second["transformer"][path])


@pytest.mark.parametrize(("sequence", "beads"), [("AV", 10), ("GG", 8)])
def test_a_peptide_is_sampled_and_simulated_in_nm_without_its_padding(
    jobs, peptides: Path, tmp_path: Path, sequence: str, beads: int
):
    system = System.of(Dataset(peptides), sequence, WARM)
    model = model_of(jobs, WARM)
    settings = SampleConfig(samples=20, chunk=20, evaluations=8)
    sampling = Sampling(model, "run", system, settings, tmp_path, 3, "test")
    samples = sampling.compute(Segment(0, 20, 0, 8)).trajectories
    assert samples.shape == (20, 1, beads, 3)
    np.testing.assert_allclose(samples.mean(axis=2), 0, atol=1e-5)
    assert 0.02 < samples.std() < 0.5
    config = SimulateConfig(
        frames=400, chains=40, chunk=40, stride=200, burn_in=5000, timestep=1e-3, friction=5.0
    )
    simulation = Simulation(model, "run", system, FromData(peptides, "train"), config, tmp_path, 3, "test")
    burnt = simulation.compute(Segment(0, 40, 0, 5000), None)
    made = simulation.compute(Segment(0, 40, 5000, 7000), burnt.end)
    frames, temperatures = made.trajectories, made.temperatures
    assert frames.shape == (40, 10, beads, 3)
    assert np.isfinite(frames).all()
    # Heat of 1/friction = 0.2 ps: ten independent sets of 40 chains in 2 ps, of 24 coordinates or more each.
    measured = temperatures.mean() / system.kT
    assert measured == pytest.approx(1, abs=4 * np.sqrt(2 / (10 * 40 * 24)) + 0.01)


def test_the_first_chain_starts_in_the_rare_mode_if_the_paper_has_it_so(jobs, peptides, tmp_path: Path):
    found = Dataset(peptides)
    frames = found.split("train", "AV").read()[:60]
    system = System.of(found, "AV", WARM)
    frames *= -np.sign(system.phi(frames)[:, None, None])  # A mirror image has the other sign of φ.
    frames[41] *= -1
    shards.write_system(tmp_path / "data", "AV", found.description("AV"), {"train": frames})
    shards.finish(tmp_path / "data", found.manifest["source"], ("AV",))
    model = model_of(jobs, WARM)
    still = SimulateConfig(frames=20, chains=20, chunk=10, stride=1, timestep=1e-6)
    for forced, signs in ((True, 1), (False, -1)):
        settings = replace(still, first_phi_positive=forced)
        work = Simulation(
            model, "run", system, FromData(tmp_path / "data", "train", forced), settings, tmp_path, 3, "test"
        )
        made = [work.compute(Segment(first, 10, 0, 1), None) for first in (0, 10)]
        first, second = (system.phi(each.trajectories[:, 0]) for each in made)
        assert np.sign(first[0]) == signs
        assert (second < 0).all()


def test_only_energies_have_an_error_and_it_counts_every_peptides_own_coordinates(jobs):
    curves = tasks.fokker_planck_curves(jobs, np.array([0.01, 0.05, 0.5], np.float32))
    ((name, (times, errors)),) = curves.items()
    assert name == jobs[0].name
    assert times == pytest.approx([0.01, 0.05])
    assert np.isfinite(errors).all()


def test_the_springs_of_a_padded_molecule_are_its_own(peptides: Path):
    dataset, schedule = Dataset(peptides), NoiseSchedule()
    table = molecules_of(dataset, (10, 3))
    assert table is not None
    for number, sequence in enumerate(SEQUENCES):
        beads = Beads.from_sequence(sequence, BeadMap.parse("backbone"))
        alone = molecule_of(beads, dataset.springs, dataset.norm).springs
        padded = jax.tree.map(lambda part, number=number: part[number], table).springs
        assert alone is not None
        assert padded is not None
        x = jnp.asarray(np.random.default_rng(0).normal(size=(len(beads), 3)), jnp.float32)
        more = jnp.pad(x, [(0, 10 - len(beads)), (0, 0)])
        for t in (1e-5, 1e-2):
            values = [log_density(s, schedule, y, jnp.asarray(t)) for s, y in ((alone, x), (padded, more))]
            np.testing.assert_allclose(*values, rtol=1e-5)


def test_an_angle_takes_up_as_much_noise_as_its_gradient_is_long(peptides: Path):
    dataset = Dataset(peptides)
    beads = Beads.from_sequence("AV", BeadMap.parse("backbone"))
    springs = molecule_of(beads, dataset.springs, dataset.norm).springs
    assert springs is not None
    lengths = {tuple(pair): float(r) for pair, r in zip(springs.bonds.tolist(), springs.lengths, strict=True)}
    for triple, cosine, noise in zip(
        springs.angles.tolist(), springs.cosines, springs.angle_noise, strict=True
    ):
        a, b = (lengths[tuple(sorted(leg))] for leg in (triple[:2], triple[1:]))
        sine = np.sqrt(1 - cosine**2)
        x = jnp.array([[a, 0, 0], [0, 0, 0], [b * cosine, b * sine, 0]])

        def cosine_of(x):
            one, other = x[0] - x[1], x[2] - x[1]
            return one @ other / jnp.linalg.norm(one) / jnp.linalg.norm(other)

        assert float(jnp.sum(jax.grad(cosine_of)(x) ** 2)) == pytest.approx(float(noise), rel=1e-4)


def test_ten_dipeptides_of_a_size_are_simulated_by_one_compilation(jobs, peptides: Path, tmp_path: Path):
    """Of nine and of ten beads, which are padded to ten."""
    model, dataset = model_of(jobs, WARM), Dataset(peptides)
    description = dataset.description("AV")
    still = SimulateConfig(frames=8, chains=4, chunk=4, stride=2, timestep=1e-4)
    counted: list[Any] = [trained.begin, trained.simulate, trained.sample]
    before = [function._cache_size() for function in counted]
    names = ("AV", "AG", "GA", "VA", "LA", "AL", "VG", "GV", "VV", "LL")
    for name in names:
        beads = Beads.from_sequence(name, BeadMap.parse("backbone"))
        frames = dataset.split("train", "AV").read()[:20, : len(beads)]
        own = {"beads": beads.to_json(), "bond_means": [0.15] * len(beads.bonds)}
        shards.write_system(tmp_path, name, description | own, {"train": frames})
    found = shards.finish(tmp_path, dataset.manifest["source"], names)
    for name in found.systems:
        system = System.of(found, name, WARM)
        simulation = Simulation(model, "run", system, FromData(tmp_path, "train"), still, tmp_path, 3, "test")
        simulation.compute(Segment(0, 4, 0, 4), None)
        settings = SampleConfig(samples=4, chunk=4, evaluations=4)
        Sampling(model, "run", system, settings, tmp_path, 3, "test").compute(Segment(0, 4, 0, 4))
    assert [function._cache_size() - was for function, was in zip(counted, before, strict=True)] == [1, 1, 1]


def test_windows_give_a_free_energy_of_an_energy_alone(jobs, peptides: Path):
    system = System.of(Dataset(peptides), "AV", WARM)
    dynamics = SimulateConfig(frames=20, chains=20, chunk=20, timestep=1e-3, friction=5.0)
    settings = UmbrellaConfig(windows=8, replicas=2, strength=5.0, burn_in=0.05, length=0.5, interval=0.05)
    asked = (model_of(jobs, WARM), system)
    profile = windows.profile(*asked, dynamics, settings, (peptides, "train"), 0)
    assert profile is not None
    assert profile.share.sum() == pytest.approx(1)
    late = replace(dynamics, force_time=0.5)  # A score is there.
    for other, none in ((late, settings), (dynamics, replace(settings, windows=0))):
        assert windows.profile(*asked, other, none, (peptides, "train"), 0) is None
