"""No two works of a run draw with the same key, whatever differs: seed, system, result, chunk, or stage."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.core import Tracer

from fokker.analysis.systems import System
from fokker.data.config import MuellerBrownConfig
from fokker.data.dataset import shards
from fokker.data.reference import mueller_brown
from fokker.distributed import tasks
from fokker.distributed.campaigns.segments import Made
from fokker.distributed.campaigns.starts import FromData
from fokker.distributed.campaigns.works import Sampling, Simulation, lanes_of
from fokker.distributed.training import parameters
from fokker.distributed.training.job import ExpertJob
from fokker.distributed.training.program import _keys
from fokker.model import keys
from fokker.model.config import SampleConfig, SimulateConfig
from fokker.model.dynamics import langevin
from fokker.model.losses.objective import draw

from .conftest import model_of, small_job

SEEDS, NAMES = (0, 1), ("one", "other")
SAMPLE = SampleConfig(samples=9, chunk=3, evaluations=2)
SIMULATE = SimulateConfig(frames=12, chains=6, chunk=2, stride=3, burn_in=2, timestep=1e-3)
Keys = list[tuple[int, ...]]


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> tuple[ExpertJob, ...]:
    """Experts with random parameters, and data of two systems."""
    data = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    for name in NAMES:
        frames = random.normal(size=(40, 2)).astype(np.float32)
        shards.write_system(data, name, {}, {"train": frames})
    shards.finish(data, {"name": "both"}, NAMES)
    both = tuple(small_job(tmp_path_factory.mktemp("expert"), data, index) for index in (0, 1))
    for job in both:
        parameters.save(job.directory, job.load()[1].init(jax.random.key(job.index)))
    return both


def works(jobs: tuple[ExpertJob, ...]) -> list[Sampling | Simulation]:
    found: list[Sampling | Simulation] = []
    model = model_of(jobs)
    for seed in SEEDS:
        for name in NAMES:
            system = System.particle(name, 2.0, 0.5)
            for identity in ("one", "other"):
                places = model, "run", system, FromData(jobs[0].data, "train"), SIMULATE, Path("unused")
                found += [
                    Sampling(model, "run", system, SAMPLE, Path("unused"), seed, identity),
                    Simulation(*places, seed, identity),
                ]
    return found


def made_by(work: Sampling | Simulation) -> list[Made]:
    """All that has frames, batch after batch."""
    found = []
    for first, count in lanes_of(work, ()):
        step, state = 0, None
        while segment := work.following(first, count, step):
            made = work.compute(segment, state)
            step, state = segment.end, made.end
            found += [made] if made.trajectories.size else []
    return found


def recorded(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> Keys:
    """The keys that anything is drawn with in the course of the work, by JAX or by NumPy."""
    seen: Keys = []
    noise = langevin._noise

    def note(key) -> None:
        if not isinstance(key, Tracer):  # Of chains together, which are noted one by one.
            seen.append(tuple(np.asarray(jax.random.key_data(key)).tolist()))

    def chains(bath, part, keys, like):
        for key in keys:
            note(key)
        return noise(bath, part, keys, like)

    def noted(draw: Callable) -> Callable:
        def drawing(key, *args, **options):
            note(key)
            return draw(key, *args, **options)

        return drawing

    with monkeypatch.context() as patch, jax.disable_jit():
        patch.setattr(langevin, "_noise", chains)
        for name in ("normal", "uniform", "randint", "rademacher"):
            patch.setattr(jax.random, name, noted(getattr(jax.random, name)))

        def generator(seed, purpose, *place):
            note(keys.key_of(seed, purpose, *place))
            return keys.generator_of(seed, purpose, *place)

        patch.setattr(tasks, "generator_of", generator)
        work()
    return seen


@pytest.mark.long
def test_every_draw_of_a_run_has_a_key_of_its_own(jobs, monkeypatch: pytest.MonkeyPatch):
    def sample_and_simulate() -> None:
        for work in works(jobs):
            made_by(work)

    def train() -> None:
        for job in jobs:
            expert = job.load()[1]
            for seed in SEEDS:
                first, steps = _keys(job.index, jnp.uint32(seed))
                jax.random.normal(first)
                for step in range(4):
                    key = jax.random.fold_in(steps, step)
                    draw(expert, job.objective, (32, 2), None, key, jnp.float32)

    def data() -> None:
        config = MuellerBrownConfig(frames=4, chains=2, stride=3, burn_in=2)
        for seed in (0, 1, 2, 3):  # Training and reference of two seeds.
            mueller_brown.generate(config, seed)

    def errors() -> None:
        for job in jobs:
            tasks._errors(replace(job, seed=0), np.array([0.05, 0.09], np.float32))

    works_of_a_run = (sample_and_simulate, train, data, errors)
    drawn = [key for work in works_of_a_run for key in recorded(monkeypatch, work)]
    # Of samples a batch: start and 2 evaluations. Of 6 chains each: velocities, burn-in, 2 frames of 3.
    assert len(drawn) >= 8 * (3 * 3 + 6 * (1 + 2 + 6))
    assert len(set(drawn)) == len(drawn)


def test_seeds_and_systems_share_no_sample_and_no_chain(jobs):
    """`--seed 0` and `--seed 1` shared all chunks but one."""
    parts = [made.trajectories[:, -1] for work in works(jobs) for made in made_by(work)]
    rows = {tuple(row) for part in parts for row in part.tolist()}
    assert len(rows) == sum(map(len, parts))


def test_a_batch_is_the_same_however_many_there_are(jobs):
    for work in works(jobs)[:2]:
        if isinstance(work, Sampling):
            more = replace(work, config=replace(SAMPLE, samples=30))
        else:
            more = replace(work, config=replace(SIMULATE, frames=24, chains=12))
        assert more.chains > work.chains
        np.testing.assert_array_equal(made_by(more)[1].trajectories, made_by(work)[1].trajectories)


@pytest.mark.long
def test_a_longer_simulation_begins_with_the_shorter_one_bit_by_bit(jobs):
    work = works(jobs)[1]
    assert isinstance(work, Simulation)
    found = {}
    for frames in (1, 5, 10):
        longer = replace(work, config=replace(SIMULATE, frames=6 * frames))
        found[frames] = made_by(longer)[2].trajectories
        assert found[frames].shape == (2, frames, 2)
    for frames in (1, 5):
        np.testing.assert_array_equal(found[frames], found[10][:, :frames])
