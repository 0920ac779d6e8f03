"""Segments on a Ray of two CPUs: what they hold, and that each is computed once whatever happens.

One Ray and two works that were computed once serve every fault, hence the length.
"""

import os
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import jax
import mdtraj
import numpy as np
import pytest
from ray import cloudpickle

from fokker.analysis.systems import System
from fokker.data import files as data_files
from fokker.data import trajectories
from fokker.data.archive import ArchiveError
from fokker.data.dataset.shards import Dataset
from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads
from fokker.distributed.campaigns import pool
from fokker.distributed.campaigns.ledger import FAILURES, LEDGER, Ledger
from fokker.distributed.campaigns.pool import PoolError, PoolWorker, Tally
from fokker.distributed.campaigns.segments import LEFT, NOT_FINITE, ConflictError, Made, Segment, State, Store
from fokker.distributed.campaigns.starts import FromData
from fokker.distributed.campaigns.works import Sampling, Simulation, Work, lanes_of
from fokker.distributed.cluster.joining import ClusterError
from fokker.distributed.config import ClusterConfig
from fokker.distributed.training import parameters
from fokker.distributed.training.job import ExpertJob
from fokker.model.config import SampleConfig, SimulateConfig

from ..conftest import model_of, small_job

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # The actors cannot import the tests.

SAMPLE = SampleConfig(samples=120, chunk=40, evaluations=6)
SIMULATE = SimulateConfig(
    frames=20_000, chains=400, chunk=200, stride=20, burn_in=500, timestep=0.02, segment=25
)
"""Of 400 chains in two batches, each a burn-in of a segment and two more."""
KT, MASS = 2.0, 0.5
SYSTEM = System.particle("gaussian", KT, MASS)


class _Logging:
    """A work that logs every segment before it is computed, and to which things happen the first time."""

    directory: Path
    deadly: tuple[tuple[int, int], ...]
    """First chain and first step of segments in which the process dies."""
    poisoned: tuple[tuple[int, int], ...]
    """Of those that fail whenever they are computed."""
    hanging: tuple[tuple[int, int], ...]
    """Of those that take forever the first time."""
    full: Path | None
    """As long as this file is there the disk is full."""

    @property
    def log(self) -> Path:
        return self.directory.with_suffix(".log")

    def computed(self) -> list[tuple[int, int]]:
        """Segments in the order in which they were begun."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [(int(first), int(begin)) for first, begin in map(str.split, lines)]

    def happens(self, segment: Segment) -> None:
        name = segment.first, segment.begin
        first = name not in self.computed()
        with open(self.log, "a") as file:
            file.write(f"{segment.first} {segment.begin}\n")
        if name in self.deadly and first:
            os.kill(os.getpid(), signal.SIGKILL)
        if name in self.hanging and first:
            time.sleep(1000)
        if name in self.poisoned:
            raise ZeroDivisionError("poison")
        if self.full is not None and self.full.exists():
            raise data_files.file_error(self.directory, OSError(28, "No space left on device"))


@dataclass(frozen=True)
class LoggedSampling(_Logging, Sampling):
    deadly: tuple[tuple[int, int], ...] = ()
    poisoned: tuple[tuple[int, int], ...] = ()
    hanging: tuple[tuple[int, int], ...] = ()
    full: Path | None = None

    def compute(self, segment: Segment, start: State | None = None) -> Made:
        self.happens(segment)
        return super().compute(segment, start)


@dataclass(frozen=True)
class LoggedSimulation(_Logging, Simulation):
    deadly: tuple[tuple[int, int], ...] = ()
    poisoned: tuple[tuple[int, int], ...] = ()
    hanging: tuple[tuple[int, int], ...] = ()
    full: Path | None = None

    def compute(self, segment: Segment, start: State | None) -> Made:
        self.happens(segment)
        return super().compute(segment, start)


Logged = TypeVar("Logged", LoggedSampling, LoggedSimulation)


def logged(kind: type[Logged], work: Sampling | Simulation, directory: Path, **what: Any) -> Logged:
    values: dict[str, Any] = {field.name: getattr(work, field.name) for field in fields(work)}
    values |= {"directory": directory} | what
    return kind(**values)


@pytest.fixture(scope="module")
def jobs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ExpertJob, ...]:
    """Experts with random parameters."""
    both = tuple(small_job(tmp_path_factory.mktemp("expert"), data, index) for index in (0, 1))
    for job in both:
        parameters.save(job.directory, job.load()[1].init(jax.random.key(job.index)))
    return both


def simulation_of(jobs: tuple[ExpertJob, ...], settings: SimulateConfig, directory: Path) -> Simulation:
    places = model_of(jobs), "run", SYSTEM, FromData(jobs[0].data, "train")
    return Simulation(*places, settings, directory, seed=3, identity="test")


@pytest.fixture(scope="module")
def sampling(jobs, tmp_path_factory: pytest.TempPathFactory) -> Sampling:
    directory = tmp_path_factory.mktemp("sample")
    return Sampling(model_of(jobs), "run", SYSTEM, SAMPLE, directory, seed=3, identity="test")


@pytest.fixture(scope="module")
def simulation(jobs, tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    return simulation_of(jobs, SIMULATE, tmp_path_factory.mktemp("simulate"))


def segments_of(work: Any) -> list[list[Segment]]:
    """Of each batch, from the start to the end."""
    found = []
    for first, count in lanes_of(work, ()):
        lane, step = [], 0
        while segment := work.following(first, count, step):
            lane.append(segment)
            step = segment.end
        found.append(lane)
    return found


def made_by(work: Any) -> dict[Segment, Made]:
    """All segments, computed by this process, the batches in reverse."""
    found = {}
    for lane in reversed(segments_of(work)):
        state = None
        for segment in lane:
            found[segment] = work.compute(segment, state)
            state = found[segment].end
    return found


@pytest.fixture(scope="module")
def expected(sampling: Sampling, simulation: Simulation) -> list[dict[Segment, Made]]:
    return [made_by(work) for work in (sampling, simulation)]


def assert_made(work: Any, expected: dict[Segment, Made]) -> None:
    """What is on disk is, bit by bit, what this process computed."""
    store = Store(work.directory)
    assert sorted(store.segments) == sorted(expected)
    for segment, made in expected.items():
        found = np.load(store.path(segment))
        np.testing.assert_array_equal(found["trajectories"], made.trajectories)
        if made.end is not None:
            for part, other in zip(store.state(segment), made.end, strict=True):
                np.testing.assert_array_equal(part, other)


def files(work: Any) -> dict[str, tuple[int, int]]:
    """Identity of every finished segment's file."""
    paths = Path(work.directory).glob("chains-*.npz")
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def silent(tallies: list[Tally]) -> None:
    pass


@dataclass(frozen=True)
class Disturbed:
    """Both works, done by two actors of which one was killed in the middle of a segment of the simulation.

    The pool has four: for two there is no room, and they must not keep segments from the others.
    """

    works: tuple[LoggedSampling, LoggedSimulation]
    seen: list[list[int]]
    tallies: list[Tally]


@pytest.fixture(scope="module")
def disturbed(ray_cluster, sampling, simulation, tmp_path_factory) -> Disturbed:
    root, seen = tmp_path_factory.mktemp("disturbed"), []
    works = (
        logged(LoggedSampling, sampling, root / "sample"),
        logged(LoggedSimulation, simulation, root / "simulate", deadly=((200, 500),)),
    )
    tallies = pool.run(works, ClusterConfig(simulators=4), lambda all: seen.append([t.done for t in all]))
    return Disturbed(works, seen, tallies)


def test_segments_are_the_same_whoever_computes_them_in_whatever_order(disturbed: Disturbed, expected):
    for work, wanted in zip(disturbed.works, expected, strict=True):
        assert_made(work, wanted)


def test_batches_and_segments_differ_from_each_other(expected):
    for made in expected:
        flat = [tuple(one.trajectories[0].ravel()) for one in made.values() if one.trajectories.size]
        assert len(set(flat)) == len(flat) > 2


def test_only_the_segment_of_a_killed_actor_runs_again(disturbed: Disturbed):
    sample, simulate = (Counter(work.computed()) for work in disturbed.works)
    assert sample == {(0, 0): 1, (40, 0): 1, (80, 0): 1}
    every = [(first, begin) for first in (0, 200) for begin in (0, 500, 1000)]
    assert simulate == dict.fromkeys(every, 1) | {(200, 500): 2}


def test_the_ledger_says_what_happened_and_can_be_made_again(disturbed: Disturbed, tmp_path: Path):
    work = disturbed.works[1]
    lines = [*Ledger(Store(work.directory))._lines(LEDGER)]
    assert Counter(line["event"] for line in lines) == {"done": 6, "failed": 1}
    (failed,) = [line for line in lines if line["event"] == "failed"]
    assert failed["segment"].startswith("chains-000200-0200-steps-0000000500")
    assert "died unexpectedly" in failed["reason"]
    assert not (work.directory / FAILURES).exists()
    known = Ledger(Store(work.directory)).done()
    (work.directory / LEDGER).rename(tmp_path / "ledger")
    try:
        assert Ledger(Store(work.directory)).done(write=True) == known
        again = [*Ledger(Store(work.directory))._lines(LEDGER)]
        assert {line["segment"] for line in again} == {segment.name for segment in known}
    finally:
        (tmp_path / "ledger").rename(work.directory / LEDGER)


@dataclass(frozen=True)
class Peptide:
    """A work of frames of a molecule that are known: two batches of three chains, in two segments of four."""

    directory: Path
    chains: int = 6
    batch: int = 3
    length: int = 16
    timestep: float = 0.5

    @property
    def system(self) -> System:
        beads = Beads.from_sequence("AA", BeadMap.parse("calpha"))
        return System.molecule("AA", beads, [0.38], 300.0)

    @property
    def tags(self) -> dict[str, str]:
        return {"run": "test", "kind": "simulation", "system": "AA"}

    def following(self, first: int, count: int, step: int) -> Segment | None:
        return Segment(first, count, step, step + 8) if step < self.length else None

    def frame_steps(self, segment: Segment) -> range:
        return range(segment.begin + 2, segment.end + 1, 2)

    def compute(self, segment: Segment, start: State | None) -> Made:
        random = np.random.default_rng([segment.first, segment.begin])
        frames = random.normal(size=(3, 4, 2, 3)).astype(np.float32)
        end = State(frames[:, -1], frames[:, -1], np.full(3, segment.end), np.zeros(3, bool))
        return Made(frames, np.ones((2, 3, 4)), end)


def test_an_actor_writes_molecules_as_parts_of_which_chains_are_joined(tmp_path: Path):
    work = Peptide(tmp_path)
    assert isinstance(work, Work)
    actor, lanes = PoolWorker([work], []), segments_of(work)
    arrived = [actor.run(0, lane[k], lane[k - 1] if k else None) for lane in lanes[::-1] for k in (0, 1)]
    assert actor.run(0, lanes[1][0], None) == arrived[0], "which is there"
    parts = Store(tmp_path).parts()
    assert len(parts) == 6
    expected = np.concatenate(
        [np.concatenate([work.compute(k, None).trajectories for k in lane], axis=1) for lane in lanes]
    )
    assert work.system.beads is not None
    for number, own in enumerate(parts):
        trajectories.join(work.system.beads, own, tmp_path / "one.xtc")
        found = mdtraj.load(tmp_path / "one.xtc", top=tmp_path / "one.pdb")
        np.testing.assert_allclose(found.xyz, expected[number], atol=6e-4)
        np.testing.assert_allclose(found.time, np.arange(1, 9), rtol=1e-6)
    trajectories.join(work.system.beads, chain.from_iterable(parts), tmp_path / "AA.xtc")
    found = mdtraj.load(tmp_path / "AA.xtc", top=tmp_path / "AA.pdb")
    np.testing.assert_allclose(found.xyz, expected.reshape(-1, 2, 3), atol=6e-4)


@dataclass(frozen=True)
class Overtaken(Peptide):
    """While it computes a segment another actor, to which that was given as well, commits it."""

    differs: float = 0.0

    def compute(self, segment: Segment, start: State | None) -> Made:
        PoolWorker([Peptide(self.directory)], []).run(0, segment, None)
        made = super().compute(segment, start)
        return replace(made, trajectories=made.trajectories + np.float32(self.differs))


def test_an_actor_that_comes_late_with_the_same_bits_changes_nothing(tmp_path: Path):
    work, alone = Overtaken(tmp_path / "late"), Peptide(tmp_path / "alone")
    for each in (work, alone):
        actor = PoolWorker([each], [])
        for lane in segments_of(each):
            for segment in lane:
                actor.run(0, segment, None)
    assert Store(work.directory).sha256() == Store(alone.directory).sha256()
    names = {path.name for path in alone.directory.iterdir()}
    assert {path.name for path in work.directory.iterdir()} == names
    for path in alone.directory.glob("*.xtc"):
        assert (work.directory / path.name).read_bytes() == path.read_bytes()


def test_an_actor_that_comes_late_with_other_bits_ends_the_work_and_both_are_kept(
    ray_cluster, tmp_path: Path
):
    work, alone = Overtaken(tmp_path / "late", differs=1.0), Peptide(tmp_path / "alone")
    first = segments_of(work)[0][0]
    PoolWorker([alone], []).run(0, first, None)
    with pytest.raises(ConflictError, match=r"computed again, it is not the same; the second is kept as .*"):
        pool.run([work], ClusterConfig(simulators=1), silent)
    (other,) = work.directory.glob("*.conflict")
    one, expected = Store(work.directory), Store(alone.directory)
    assert one.digest(first) == expected.digest(first)
    assert one.xtc(first).read_bytes() == expected.xtc(first).read_bytes()
    np.testing.assert_array_equal(
        np.load(other)["trajectories"], np.load(one.path(first))["trajectories"] + np.float32(1)
    )


def test_tallies_arrive_one_by_one_and_add_up(disturbed: Disturbed, expected):
    steps = np.diff(disturbed.seen, axis=0)
    assert disturbed.seen[0] == [0, 0]
    assert disturbed.seen[-1] == [3, 6]
    assert (steps.sum(axis=1) == 1).all()
    for tally, made, work in zip(disturbed.tallies, expected, disturbed.works, strict=True):
        assert (tally.done, tally.segments) == (len(made), len(made))
        assert tally.total is not None
        frames = sum(one.trajectories[..., 0].size for one in made.values())
        assert (tally.total.frames, tally.total.chains) == (frames, work.chains)
        assert tally.total.steps == work.chains * work.length
        assert tally.total.seconds > 0
        heat = sum(float(one.temperatures[0].sum()) for one in made.values())
        assert tally.total.temperature_sum == pytest.approx(heat)


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
    works = [simulation_of(pair, config, tmp_path) for pair in (one, other)]
    found = [work.compute(segments_of(work)[0][0], None).trajectories for work in works]
    assert [bool(np.isfinite(frames).all()) for frames in found] == [answers == 0, answers == 1]


def test_segments_have_the_type_of_the_data_whatever_jax_computes_in(
    sampling: Sampling, simulation: Simulation
):
    short = replace(simulation.config, frames=200, chains=100, chunk=100, stride=2, burn_in=0)
    works = (replace(sampling), replace(simulation, config=short))
    plain = [next(iter(made_by(work).values())).trajectories for work in works]
    with jax.enable_x64(True):
        double = [next(iter(made_by(replace(work)).values())).trajectories for work in works]
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
    assert total.temperature_sum / total.frames == pytest.approx(KT, rel=tolerance)
    assert total.step_temperature_sum == pytest.approx(total.temperature_sum, rel=2e-3)
    assert total.step_temperature_sum != total.temperature_sum


@pytest.mark.long
def test_a_pool_that_was_interrupted_goes_on_with_what_is_left(
    ray_cluster, simulation: Simulation, expected, tmp_path: Path
):
    work, seen = logged(LoggedSimulation, simulation, tmp_path / "simulate"), []

    def interrupt(tallies: list[Tally]) -> None:
        seen.append(tallies[0].done)
        if tallies[0].done == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        pool.run([work], ClusterConfig(simulators=1), interrupt)
    assert seen == [0, 1, 2]
    first = files(work)
    (tally,) = pool.run([work], ClusterConfig(), silent)
    assert tally.done == 6
    assert files(work).items() > first.items()
    assert_made(work, expected[1])


def test_a_poisoned_segment_is_given_up_and_all_others_are_done(
    ray_cluster, simulation: Simulation, expected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """And done as well, where the poison is gone."""
    monkeypatch.setattr(pool, "RESTARTS", 1)
    work = logged(LoggedSimulation, simulation, tmp_path / "simulate", poisoned=((0, 500),))
    with pytest.raises(
        PoolError, match=r"1 segments were given up after 2 attempts each.*ZeroDivisionError: poi"
    ):
        pool.run([work], ClusterConfig(simulators=2), silent)
    assert Counter(work.computed())[0, 500] == 2
    assert len(files(work)) == 4, "the burn-in of these chains, and all of the others"
    (failure,) = Ledger(Store(work.directory)).failures()
    assert failure["event"] == "given up"
    assert failure["reason"] == "ZeroDivisionError: poison"
    assert pool.missing(work) == work.directory / "chains-000000-0200-steps-0000000500-0000001000.npz"
    pool.run([replace(work, poisoned=())], ClusterConfig(simulators=2), silent)
    assert_made(work, expected[1])


@pytest.mark.long
def test_a_segment_that_hangs_is_stopped_and_runs_again(
    ray_cluster, simulation: Simulation, expected, tmp_path: Path
):
    work = logged(LoggedSimulation, simulation, tmp_path / "simulate", hanging=((200, 0),))
    (tally,) = pool.run([work], ClusterConfig(simulators=2, segment_deadline=40), silent)
    assert (tally.done, Counter(work.computed())[200, 0]) == (6, 2)
    assert_made(work, expected[1])


@pytest.mark.long
def test_a_full_disk_pauses_the_work(
    ray_cluster, simulation: Simulation, expected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pool, "PAUSE_SECONDS", 1.0)
    full, said = tmp_path / "full", []
    full.touch()

    def notify(text: str) -> None:
        said.append(text)
        if len(said) == 2:
            full.unlink()

    work = logged(LoggedSimulation, simulation, tmp_path / "simulate", full=full)
    (tally,) = pool.run([work], ClusterConfig(simulators=2), silent, notify)
    assert tally.done == 6
    assert "no space left on device" in said[0]
    assert "paused" in said[0]
    assert_made(work, expected[1])


@pytest.mark.long
def test_a_disk_without_room_for_frames_that_others_read_pauses_the_work(
    ray_cluster, small_disk: Path, monkeypatch: pytest.MonkeyPatch
):
    """Which mdtraj writes, and says nothing of."""
    monkeypatch.setattr(pool, "PAUSE_SECONDS", 1.0)
    filler, said = small_disk / "filler", []
    work = Peptide(small_disk / "simulate")
    work.directory.mkdir()
    with suppress(OSError), open(filler, "wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass

    def notify(text: str) -> None:
        said.append(text)
        if len(said) == 2:
            filler.unlink()

    (tally,) = pool.run([work], ClusterConfig(simulators=2), silent, notify)
    assert tally.done == 4
    assert ".xtc cannot be written: " in said[0]
    assert "paused" in said[0]


@dataclass(frozen=True)
class Fewer(Simulation):
    """As a campaign may have it, of which a batch is not full."""

    wanted: int = 0

    @property
    def chains(self) -> int:
        return self.wanted


@pytest.mark.long
def test_chains_that_are_added_later_and_longer_ones_are_what_they_would_have_been(
    ray_cluster, simulation: Simulation, expected, tmp_path: Path
):
    """From 130 chains of 20 frames, through 400 of 20, to 400 of 50, of which all else is there already."""
    values: dict[str, Any] = {field.name: getattr(simulation, field.name) for field in fields(simulation)}
    for chains, frames in ((130, 20), (400, 20), (400, 50)):
        config = replace(SIMULATE, frames=400 * frames)
        work = Fewer(**values | {"config": config, "directory": tmp_path / "simulate"}, wanted=chains)
        before = files(work)
        pool.run([work], ClusterConfig(simulators=2), silent)
        assert files(work).items() >= before.items()
    store, found = Store(work.directory), np.zeros((400, 50, 2), np.float32)
    for segment in store.segments:
        if (steps := np.asarray(work.frame_steps(segment))).size:
            rows = slice(segment.first, segment.first + segment.count)
            found[rows, (steps - 500) // 20 - 1] = np.load(store.path(segment))["trajectories"]
    for segment, made in expected[1].items():
        if made.trajectories.size:
            begin, rows = (segment.begin - 500) // 20, slice(segment.first, segment.first + segment.count)
            np.testing.assert_array_equal(found[rows, begin : begin + 25], made.trajectories)


def test_a_chain_that_goes_bad_is_lost_alone_and_named(jobs, tmp_path: Path):
    """Of a bound that some chains reach; its neighbours have the same bits as without it."""
    config = replace(
        SIMULATE, frames=1000, chains=100, chunk=100, burn_in=0, segment=5, ends_unless="physical"
    )
    free = simulation_of(jobs, replace(config, ends_unless="finite"), tmp_path)
    low, high = (-3.5, -3.5), (3.5, 3.5)
    bounds = replace(SYSTEM.physical, low=low, high=high)
    work = replace(free, config=config, system=replace(SYSTEM, physical=bounds))
    whole, kept = made_by(free), made_by(work)
    lost = {loss.chain: loss for made in kept.values() for loss in made.losses}
    assert 5 < len(lost) < 95, len(lost)
    assert {loss.reason for loss in lost.values()} == {LEFT}
    assert sum(made.left for made in kept.values()) == len(lost)
    for segment, made in kept.items():
        steps = np.asarray(work.frame_steps(segment))
        for number in range(100):
            there = steps <= lost[number].step if number in lost else np.full(len(steps), True)
            np.testing.assert_array_equal(
                made.trajectories[number, there], whole[segment].trajectories[number, there]
            )
            assert np.isnan(made.trajectories[number, ~there]).all()
    inside = [np.nanmax(np.abs(made.trajectories)) for made in kept.values()]
    assert max(inside) <= 3.5


def test_a_chain_that_is_no_number_is_lost_for_that_reason(jobs, tmp_path: Path):
    config = replace(SIMULATE, frames=100, chains=10, chunk=10, burn_in=0, timestep=50.0)
    found = made_by(simulation_of(jobs, config, tmp_path))
    lost = [loss for made in found.values() for loss in made.losses]
    assert len(lost) == 10
    assert {loss.reason for loss in lost} <= {NOT_FINITE, LEFT}
    (segment,) = found
    assert np.isnan(found[segment].trajectories[:, -1]).all()


def test_a_model_that_is_none_ends_the_work_and_leaves_what_is_finished(
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
        assert work.length == burn_in + 1
        made = [one.trajectories[:, 0] for one in made_by(work).values() if one.trajectories.size]
        found[burn_in + 1] = np.stack(made[::-1])
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
def test_many_lost_actors_end_nothing_as_long_as_each_segment_is_computed_in_the_end(
    ray_cluster, simulation: Simulation, expected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As where a host of many is taken away, again and again."""
    monkeypatch.setattr(pool, "RESTARTS", 1)
    deadly = ((0, 0), (200, 500), (0, 1000), (200, 1000))
    work = logged(LoggedSimulation, simulation, tmp_path / "simulate", deadly=deadly)
    (tally,) = pool.run([work], ClusterConfig(simulators=1), silent)
    assert tally.done == 6
    assert_made(work, expected[1])
