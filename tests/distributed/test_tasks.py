from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import ray

from fokker.analysis.systems import System
from fokker.data.config import MuellerBrownConfig
from fokker.data.dataset.shards import Dataset
from fokker.data.reference import mueller_brown
from fokker.distributed import tasks
from fokker.distributed.campaigns.starts import FromData
from fokker.distributed.campaigns.works import Simulation
from fokker.distributed.training import parameters
from fokker.distributed.training.job import ExpertJob
from fokker.model.config import MLPConfig, SimulateConfig

from .conftest import LARGER, SMALLEST, MakeJob, model_of

CONFIG = MuellerBrownConfig(frames=40, chains=10, stride=2, burn_in=20)
SYSTEM = {"name": "mueller-brown"}


def test_equal_seeds_give_equal_datasets_in_any_process(ray_cluster, tmp_path: Path):
    here = mueller_brown.write(CONFIG, tmp_path / "here", SYSTEM).fingerprint
    there = tasks.submit(mueller_brown.write, CONFIG, tmp_path / "there", SYSTEM)
    assert ray.get(there).fingerprint == here == Dataset(tmp_path / "there").fingerprint
    assert mueller_brown.write(replace(CONFIG, seed=1), tmp_path / "other", SYSTEM).fingerprint != here


def test_a_dataset_holds_the_frames_of_each_seed(tmp_path: Path):
    mueller_brown.write(replace(CONFIG, seed=3), tmp_path, SYSTEM)
    for split, seed in (("train", 6), ("reference", 7)):
        frames = Dataset(tmp_path).split(split).read()
        assert frames.shape == (40, 2)
        np.testing.assert_array_equal(frames, mueller_brown.generate(CONFIG, seed))
    assert Dataset(tmp_path).manifest["source"] == SYSTEM


TIMES = np.array([0.01, 0.05, 0.0999, 0.1, 0.7], np.float32)


def with_zero_network(job: ExpertJob) -> ExpertJob:
    job.directory.mkdir()
    parameters.save(job.directory, jax.tree.map(jnp.zeros_like, job.load()[1].init(jax.random.key(0))))
    return job


def test_the_error_of_a_flat_density_is_half_beta(make_job: MakeJob):
    """log p = 0 leaves R = ½ β D; each expert answers for the times of its own interval."""
    plain = MLPConfig(precondition=False)
    jobs = [with_zero_network(make_job(index, network=plain)) for index in (0, 1)]
    curves = tasks.fokker_planck_curves(jobs, TIMES)
    expected = {"smallest": TIMES[:3], "larger": TIMES[3:]}
    assert {name: times for name, (times, _) in curves.items()} == {
        name: times.tolist() for name, times in expected.items()
    }
    for name, times in expected.items():
        np.testing.assert_allclose(curves[name][1], 0.5 * (0.1 + 19.9 * times), rtol=1e-5)


def test_the_error_of_the_stationary_density_is_zero(make_job: MakeJob):
    """log p = −½‖x‖², which is what the preconditioned energy is without its network, solves the equation."""
    curves = tasks.fokker_planck_curves([with_zero_network(make_job())], TIMES)
    assert curves["smallest"][1] == pytest.approx([0, 0, 0], abs=1e-4)


@pytest.mark.parametrize("conservative", [True, False])
def test_the_largest_step_is_that_of_the_stiffest_mode(make_job: MakeJob, tmp_path: Path, conservative: bool):
    """Without its network log p is −½‖x‖², for an energy and for a score: ω² = kT/m."""
    expert = replace(SMALLEST, interval=(0, 1), midpoint=0.5, conservative=conservative, consistency_weight=0)
    job = with_zero_network(make_job(expert=expert))
    config = SimulateConfig(frames=10, chains=10, chunk=10, timestep=0.04)
    system = System.particle("gaussian", 2.0, 0.5)
    work = Simulation(
        model_of((job,)), "run", system, FromData(job.data, "train"), config, tmp_path, 0, "test"
    )
    assert tasks.largest_steps([work]) == {"gaussian": pytest.approx(0.04 * 2)}


def test_a_score_has_no_curve(make_job: MakeJob):
    score = with_zero_network(make_job(1, expert=replace(LARGER, conservative=False)))
    energy = with_zero_network(make_job(expert=replace(SMALLEST, consistency_weight=0)))
    assert list(tasks.fokker_planck_curves([score, energy], TIMES)) == ["smallest"]
