"""Chunks on a Ray of two CPUs: what they hold, and that each is computed once whatever happens."""

import os
import signal
import sys
from collections import Counter
from dataclasses import dataclass, fields, replace
from pathlib import Path

import jax
import mdtraj
import numpy as np
import pytest
from ray import cloudpickle

from fokker.analysis.systems import System
from fokker.data import trajectories
from fokker.data.archive import ArchiveError
from fokker.data.dataset.shards import Dataset
from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads
from fokker.distributed.campaigns import pool
from fokker.distributed.campaigns.chunks import ChunkStore, Summary, summarise
from fokker.distributed.campaigns.pool import PoolError, PoolWorker, Sampling, Simulation, Tally, Work
from fokker.distributed.cluster.joining import ClusterError
from fokker.distributed.config import ClusterConfig
from fokker.distributed.training import parameters
from fokker.distributed.training.job import ExpertJob
from fokker.model.config import SampleConfig, SimulateConfig

from ..conftest import model_of, small_job

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # The actors cannot import the tests.

SAMPLE = SampleConfig(samples=120, chunk=40, evaluations=6)
SIMULATE = SimulateConfig(frames=20_000, chains=400, chunk=100, stride=20, burn_in=500, timestep=0.02)
KT, MASS = 2.0, 0.5
SYSTEM = System.particle("gaussian", KT, MASS)


@dataclass(frozen=True)
class Logged:
    """A work that logs every chunk before it is computed, and whose process dies at some the first time."""

    work: Work
    directory: Path
    deadly: tuple[int, ...] = ()

    @property
    def system(self) -> System:
        return self.work.system

    @property
    def tags(self) -> dict[str, str]:
        return self.work.tags

    @property
    def chunks(self) -> int:
        return self.work.chunks

    @property
    def frames(self) -> int:
        return self.work.frames

    @property
    def steps(self) -> int:
        return self.work.steps

    @property
    def log(self) -> Path:
        return self.directory.with_suffix(".log")

    def computed(self) -> list[int]:
        """Chunks in the order in which they were begun."""
        return [int(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def compute(self, index: int):
        first = index not in self.computed()
        with open(self.log, "a") as file:
            file.write(f"{index}\n")
        if index in self.deadly and first:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.work.compute(index)


@pytest.fixture(scope="module")
def jobs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ExpertJob, ...]:
    """Experts with random parameters."""
    both = tuple(small_job(tmp_path_factory.mktemp("expert"), data, index) for index in (0, 1))
    for job in both:
        parameters.save(job.directory, job.load()[1].init(jax.random.key(job.index)))
    return both


def simulation_of(jobs: tuple[ExpertJob, ...], settings: SimulateConfig, directory: Path) -> Simulation:
    return Simulation(model_of(jobs), "run", SYSTEM, jobs[0].data, "train", settings, directory, seed=3)


@pytest.fixture(scope="module")
def sampling(jobs, tmp_path_factory: pytest.TempPathFactory) -> Sampling:
    return Sampling(model_of(jobs), "run", SYSTEM, SAMPLE, tmp_path_factory.mktemp("sample"), seed=3)


@pytest.fixture(scope="module")
def simulation(jobs, tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    return simulation_of(jobs, SIMULATE, tmp_path_factory.mktemp("simulate"))


@dataclass(frozen=True)
class Expected:
    """Chunks that this process computed, from the last to the first."""

    sample: list[np.ndarray]
    simulate: list[np.ndarray]
    total: list[Summary]


@pytest.fixture(scope="module")
def expected(sampling: Sampling, simulation: Simulation) -> Expected:
    parts: list[list[np.ndarray]] = []
    totals: list[Summary] = []
    for work in (sampling, simulation):
        chunks = {index: work.compute(index) for index in reversed(range(work.chunks))}
        summaries = [summarise(frames, kT, work.system, work.steps, 0.0)[0] for frames, kT in chunks.values()]
        parts.append([chunks[index][0] for index in range(work.chunks)])
        totals.append(sum(summaries[1:], summaries[0]))
    return Expected(parts[0], parts[1], totals)


def frames_of(work: Work) -> list[np.ndarray]:
    return [np.load(ChunkStore(work.directory).path(i))["trajectories"] for i in range(work.chunks)]


def files(work: Work) -> dict[str, tuple[int, int]]:
    """Identity of every finished chunk's file."""
    paths = ChunkStore(work.directory).directory.glob("chunk-*.npz")
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def silent(tallies: list[Tally]) -> None:
    pass


@dataclass(frozen=True)
class Disturbed:
    """Both works, done by two actors of which one was killed in the middle of a chunk of the simulation.

    The pool has four: for two there is no room, and they must not keep chunks from the others.
    """

    works: tuple[Logged, Logged]
    seen: list[list[int]]
    tallies: list[Tally]


@pytest.fixture(scope="module")
def disturbed(ray_cluster, sampling, simulation, tmp_path_factory) -> Disturbed:
    root, seen = tmp_path_factory.mktemp("disturbed"), []
    works = (
        Logged(replace(sampling), root / "sample"),
        Logged(replace(simulation), root / "simulate", deadly=(2,)),
    )
    tallies = pool.run(works, ClusterConfig(simulators=4), lambda all: seen.append([t.done for t in all]))
    return Disturbed(works, seen, tallies)


def test_chunks_are_the_same_whoever_computes_them_in_whatever_order(
    disturbed: Disturbed, expected: Expected
):
    for work, wanted in zip(disturbed.works, (expected.sample, expected.simulate), strict=True):
        for found, chunk in zip(frames_of(work), wanted, strict=True):
            np.testing.assert_array_equal(found, chunk)


def test_chunks_differ_from_each_other(expected: Expected):
    for chunks in (expected.sample, expected.simulate):
        flat = [tuple(chunk[0].ravel()) for chunk in chunks]
        assert len(set(flat)) == len(chunks)


def test_only_the_chunk_of_a_killed_actor_runs_again(disturbed: Disturbed):
    sample, simulate = (Counter(work.computed()) for work in disturbed.works)
    assert sample == {0: 1, 1: 1, 2: 1}
    assert simulate == {0: 1, 1: 1, 2: 2, 3: 1}


@dataclass(frozen=True)
class Peptide:
    """A work of frames of a molecule that are known."""

    directory: Path
    frames: int = 12
    steps: int = 1
    chunks: int = 2

    @property
    def system(self) -> System:
        beads = Beads.from_sequence("AA", BeadMap.parse("calpha"))
        return System.molecule("AA", beads, [0.38], 300.0)

    @property
    def tags(self) -> dict[str, str]:
        return {"run": "test", "kind": "simulation", "system": "AA"}

    def compute(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        frames = np.random.default_rng(index).normal(size=(3, 4, 2, 3)).astype(np.float32)
        return frames, np.ones((3, 2))


def test_an_actor_writes_molecules_as_parts_of_one_trajectory(tmp_path: Path):
    work = Peptide(tmp_path)
    actor, store = PoolWorker([work], []), ChunkStore(tmp_path)
    summaries = [actor.run(0, index) for index in (1, 0)]
    assert actor.run(0, 1) == summaries[0], "which is there"
    assert work.system.beads is not None
    trajectories.join(work.system.beads, [store.part(index) for index in range(2)], tmp_path / "AA.xtc")
    found = mdtraj.load(tmp_path / "AA.xtc", top=tmp_path / "AA.pdb")
    expected = np.concatenate([work.compute(index)[0].reshape(-1, 2, 3) for index in range(2)])
    np.testing.assert_allclose(found.xyz, expected, atol=6e-4)
    np.testing.assert_array_equal(found.time, np.arange(24))
    np.testing.assert_array_equal(np.concatenate([*store.blocks(work.system, 2)]), expected)


def test_tallies_arrive_one_by_one_and_add_up(disturbed: Disturbed, expected: Expected):
    steps = np.diff(disturbed.seen, axis=0)
    assert disturbed.seen[0] == [0, 0]
    assert disturbed.seen[-1] == [3, 4]
    assert (steps.sum(axis=1) == 1).all()
    for tally, total, work in zip(disturbed.tallies, expected.total, disturbed.works, strict=True):
        assert (tally.done, tally.chunks) == (work.chunks, work.chunks)
        assert tally.total is not None
        for field in fields(Summary):
            if field.name != "seconds":
                found, wanted = getattr(tally.total, field.name), getattr(total, field.name)
                np.testing.assert_allclose(found, wanted, rtol=1e-12, err_msg=field.name)
        assert tally.total.seconds > 0


def test_what_is_finished_is_tallied_from_disk_and_never_runs_again(disturbed: Disturbed):
    before, logs = [files(work) for work in disturbed.works], [work.computed() for work in disturbed.works]
    seen: list[list[Tally]] = []
    found = pool.run(disturbed.works, ClusterConfig(), seen.append)
    assert [files(work) for work in disturbed.works] == before
    assert [work.computed() for work in disturbed.works] == logs
    assert len(seen) == 1
    for tally, first in zip(found, disturbed.tallies, strict=True):
        assert tally.done == first.done
        assert tally.total is not None
        assert first.total is not None
        assert tally.total.frames == first.total.frames
        assert tally.total.seconds == pytest.approx(first.total.seconds)


@pytest.mark.parametrize(("time", "answers"), [(1e-5, 0), (0.0999, 0), (0.1, 1), (0.5, 1)])
def test_forces_are_those_of_the_expert_of_their_time(
    jobs: tuple[ExpertJob, ...], tmp_path: Path, time: float, answers: int
):
    """All numbers of the other one are lost, and it makes no difference."""
    broken = []
    for job in jobs:
        lost = replace(job, directory=tmp_path / job.name)
        lost.directory.mkdir()
        weights = parameters.load(job.directory)
        parameters.save(lost.directory, jax.tree.map(lambda part: np.nan * part, weights))
        broken.append(lost)
    config = replace(SIMULATE, frames=10, chains=10, chunk=10, stride=1, burn_in=0, force_time=time)
    one, other = ((jobs[0], broken[1]), (broken[0], jobs[1]))
    found = [simulation_of(pair, config, tmp_path).compute(0)[0] for pair in (one, other)]
    assert [bool(np.isfinite(frames).all()) for frames in found] == [answers == 0, answers == 1]


def test_chunks_have_the_type_of_the_data_whatever_jax_computes_in(
    sampling: Sampling, simulation: Simulation
):
    short = replace(simulation.config, frames=200, chains=100, stride=2, burn_in=4)
    works = (replace(sampling), replace(simulation, config=short))
    plain = [work.compute(0)[0] for work in works]
    with jax.enable_x64(True):
        double = [replace(work).compute(0)[0] for work in works]
    for one, other in zip(plain, double, strict=True):
        assert one.dtype == other.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_a_simulation_has_the_temperature_of_its_bath(disturbed: Disturbed):
    total = disturbed.tallies[1].total
    assert total is not None
    assert (total.frames, total.chains, total.steps) == (20_000, 400, 400 * (500 + 50 * 20))
    # v² of a coordinate has the relative variance 2; from frame to frame, 0.4 later at friction 1, at most
    # exp(−0.4) of it is left. At the steps BAOAB is colder by (ω dt)²/4 < 0.1 %: this potential's ω² is below
    # 7. Of the heat that a start in another distribution makes, the burn-in of 10 leaves exp(−10).
    correlation = np.exp(-0.4)
    independent = 2 * total.frames * (1 - correlation) / (1 + correlation)
    tolerance = 4 * np.sqrt(2 / independent) + 0.001
    assert total.temperature_sum / total.chains == pytest.approx(KT, rel=tolerance)
    assert total.step_temperature_sum == pytest.approx(total.temperature_sum, rel=2e-3)
    assert total.step_temperature_sum != total.temperature_sum


@pytest.mark.long
def test_a_pool_that_lost_actors_or_was_interrupted_goes_on_with_what_is_left(
    ray_cluster, simulation: Simulation, expected: Expected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    work = Logged(replace(simulation), tmp_path / "simulate", deadly=(1,))
    one, seen = ClusterConfig(simulators=1), []
    with monkeypatch.context() as patch:
        patch.setattr(pool, "RESTARTS", 0)
        with pytest.raises(
            PoolError, match=r"chunk-00001\.npz: 1 actors were lost: The actor died unexpected"
        ):
            pool.run([work], one, silent)
    assert [*files(work)] == ["chunk-00000.npz"]
    first = files(work)

    def interrupt(tallies: list[Tally]) -> None:
        seen.append(tallies[0].done)
        if tallies[0].done == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        pool.run([work], one, interrupt)
    assert seen == [1, 2]
    (tally,) = pool.run([work], ClusterConfig(), silent)
    assert tally.done == 4
    assert work.computed()[:3] == [0, 1, 1]
    assert sorted(work.computed()) == [0, 1, 1, 2, 3]
    assert files(work).items() > first.items()
    for found, chunk in zip(frames_of(work), expected.simulate, strict=True):
        np.testing.assert_array_equal(found, chunk)


def test_a_chunk_that_fails_names_its_file_and_cause_and_leaves_the_finished_ones(
    ray_cluster, sampling: Sampling, tmp_path: Path
):
    good = replace(sampling, directory=tmp_path / "good")
    bad = replace(sampling, model=tmp_path / "nothing", directory=tmp_path / "bad")
    with pytest.raises(ArchiveError, match="nothing is no model that fokker wrote"):
        pool.run([good, bad], ClusterConfig(simulators=1), silent)
    assert [len(files(work)) for work in (good, bad)] == [3, 0]


@pytest.fixture(scope="module")
def starts(jobs, tmp_path_factory) -> dict[int, np.ndarray]:
    """First frames of nearly free flights of 1 step and, after a burn-in, of 1000 steps of 1e-6."""
    found = {}
    for burn_in in (0, 999):
        config = SimulateConfig(
            frames=200, chains=200, chunk=100, stride=1, burn_in=burn_in, timestep=1e-6, friction=1e-3
        )
        work = simulation_of(jobs, config, tmp_path_factory.mktemp("start"))
        assert work.steps == 100 * (burn_in + 1)
        found[burn_in + 1] = np.stack([work.compute(index)[0][:, 0] for index in range(2)])
    return found


def test_chains_start_at_frames_of_the_training_data(starts, data: Path):
    frames = Dataset(data).split("train").read()
    distance = np.abs(starts[1][:, :, None] - frames).max(axis=-1)
    assert distance.min(axis=-1).max() < 1e-4
    first, second = distance.argmin(axis=-1)
    assert len(set(first)) > 50, "they have to be drawn at random"
    assert not np.array_equal(first, second)


def test_chains_move_through_their_burn_in_before_the_first_frame(starts):
    # Other keys: the velocities are the same, the way at their speed a thousand times as long.
    moved = starts[1000] - starts[1]
    thermal = np.sqrt(KT / MASS) * 999e-6
    assert np.sqrt(np.mean(moved**2)) == pytest.approx(thermal, rel=4 / np.sqrt(2 * moved.size))


def test_simulators_without_a_place_are_said_at_the_deadline(sampling: Sampling, tmp_path: Path, ray_cluster):
    config = ClusterConfig(simulate_on="pool=none", place_deadline=0.5)
    work = replace(sampling, directory=tmp_path)
    with pytest.raises(ClusterError, match=r"simulators found no place within 0\.5 s .* labelled pool=none"):
        pool.run([work], config, lambda _: None)


@pytest.mark.long
def test_many_lost_actors_end_nothing_as_long_as_each_chunk_is_computed_in_the_end(
    ray_cluster, simulation: Simulation, expected: Expected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As where a host of many is taken away, again and again."""
    monkeypatch.setattr(pool, "RESTARTS", 1)
    work = Logged(replace(simulation), tmp_path / "simulate", deadly=(0, 1, 2))
    (tally,) = pool.run([work], ClusterConfig(simulators=1), silent)
    assert (tally.done, work.computed()) == (4, [0, 0, 1, 1, 2, 2, 3])
