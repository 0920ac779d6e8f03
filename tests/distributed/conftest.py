"""Small jobs on one dataset, each trained once without disturbance, and one Ray for all tests.

The jobs differ in their directories only, so that they share two programs, and JAX's compilation cache shares
these among all processes. They are long enough to be killed in the middle.
"""

import json
import os
import secrets
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import ray
from jax.experimental.compilation_cache import compilation_cache
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fokker.data import archive
from fokker.data.config import MoleculesConfig, MuellerBrownConfig
from fokker.data.dataset import shards
from fokker.data.dataset.loader import Plan
from fokker.distributed.cluster import joining
from fokker.distributed.config import ClusterConfig, TrainConfig
from fokker.distributed.groups.group import ExpertGroup
from fokker.distributed.training import expert, parameters, tensorboard
from fokker.distributed.training.checkpoints import Checkpoints, Origin
from fokker.distributed.training.job import ExpertJob, write_model
from fokker.distributed.training.progress import Progress
from fokker.distributed.training.step import TrainState, init_state
from fokker.model.config import DynamicsConfig, ExpertConfig, MLPConfig, ObjectiveConfig, SamplerConfig

# Before JAX begins: programs compiled under the flags of the workers are theirs too.
os.environ.setdefault("XLA_FLAGS", joining.ONE_THREAD)

CPUS = 2
FRAMES = 300
SEED = 7
SMALLEST = ExpertConfig(interval=(0, 0.1), hidden=(8, 8), epochs=240, midpoint=0.05, consistency_weight=1e-3)
LARGER = ExpertConfig(interval=(0.1, 1), hidden=(8,), epochs=160, midpoint=0.5)
TRAIN = TrainConfig(batch_size=32, block=8, checkpoint_every=240)
"""Nine steps an epoch, so that blocks straddle epochs."""

BAD_STEP = 8
"""Step whose batch holds the frame of `broken_data`."""

MakeJob = Callable[..., ExpertJob]


@pytest.fixture(scope="session", autouse=True)
def compilations() -> None:
    """Keep compiled programs where runs keep them, for this process and those that it starts."""
    environment = joining.worker_environment(on_gpu=False)
    directory = environment["JAX_COMPILATION_CACHE_DIR"]
    seconds = environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"]
    os.environ["JAX_COMPILATION_CACHE_DIR"] = directory
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = seconds
    jax.config.update("jax_compilation_cache_dir", directory)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", float(seconds))
    compilation_cache.reset_cache()  # It settles at the first compilation, which is behind us.


@pytest.fixture(scope="session")
def ray_cluster(compilations) -> Iterator[None]:
    """A Ray of two CPUs, whatever the machine has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_OVERRIDE_RESOURCES", json.dumps({"CPU": CPUS}))
        patch.setenv("RAY_metrics_report_interval_ms", "500")  # Usually ten seconds.
        patch.setenv(
            "RAY_AUTH_TOKEN", secrets.token_hex(32)
        )  # Otherwise Ray writes one to the home directory.
        patch.delenv("RAY_ADDRESS", raising=False)
        with warnings.catch_warnings():
            # Ray forks, and JAX, which unlike in a driver has begun here, warns of that.
            warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
            joining.connect(ClusterConfig())
        yield
        joining.leave()


TOY = MuellerBrownConfig(temperature=2.0, mass=0.5)


def model_of(jobs: Sequence[ExpertJob], data: MuellerBrownConfig | MoleculesConfig = TOY) -> Path:
    """The file of the model that the experts are together."""
    path = jobs[0].directory / archive.FILE
    write_model(path, jobs, data, SamplerConfig(), DynamicsConfig())
    return path


@pytest.fixture(scope="session")
def toy(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the plane with random parameters."""
    jobs = [small_job(tmp_path_factory.mktemp("toy"), data, index) for index in (0, 1)]
    for job in jobs:
        parameters.save(job.directory, job.load()[1].init(jax.random.key(job.index)))
    return model_of(jobs)


def gaussian() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(FRAMES, 2)).astype(np.float32)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data")
    shards.write(directory, {"name": "gaussian"}, {"train": gaussian(), "reference": gaussian()})
    return directory


@pytest.fixture(scope="session")
def broken_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data of which one frame is too large for float32 once it is squared."""
    directory, frames = tmp_path_factory.mktemp("broken-data"), gaussian()
    plan = Plan(FRAMES, TRAIN.batch_size, SMALLEST.epochs, SEED)
    frames[plan.frames_of(np.array([BAD_STEP]), row=3)] = 1e30
    shards.write(directory, {"name": "broken"}, {"train": frames, "reference": gaussian()})
    return directory


def small_job(directory: Path, data: Path, index: int) -> ExpertJob:
    return ExpertJob(
        name=("smallest", "larger")[index],
        index=index,
        directory=directory,
        data=data,
        expert=(SMALLEST, LARGER)[index],
        network=MLPConfig(precondition=True),
        objective=ObjectiveConfig(consistency_fraction=0.5),
        train=replace(TRAIN, restart_from_ema=index == 0),
        seed=SEED,
    )


def saving_often(job: ExpertJob) -> ExpertJob:
    """With a checkpoint after each block."""
    return replace(job, train=replace(job.train, checkpoint_every=job.train.block))


@pytest.fixture
def make_job(tmp_path: Path, data: Path) -> MakeJob:
    """Jobs of this test, each in a directory named after it."""

    def make(index: int = 0, **changes) -> ExpertJob:
        job = replace(small_job(tmp_path, data, index), **changes)
        return replace(job, directory=tmp_path / job.name)

    return make


def train(job: ExpertJob, stop_at: int | None = None) -> Progress:
    """Train in this process to the end, or until the progress passes a step."""
    seen = Progress()

    def report(progress: Progress) -> None:
        nonlocal seen
        seen = progress

    return expert.train(job, report, lambda: stop_at is not None and seen.step >= stop_at)


@dataclass(frozen=True)
class Trained:
    """A job that was trained in this process, in one go."""

    job: ExpertJob
    progress: Progress

    def assert_same(self, job: ExpertJob) -> None:
        """The parameters of the other are bitwise these."""
        jax.tree.map(
            np.testing.assert_array_equal,
            parameters.load(self.job.directory),
            parameters.load(job.directory),
        )


@pytest.fixture(scope="session")
def undisturbed(
    compilations, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Trained, Trained]:
    """Both experts; tests copy the directories before they touch them."""
    jobs = [small_job(tmp_path_factory.mktemp("undisturbed"), data, index) for index in (0, 1)]
    smallest, larger = (Trained(job, train(job)) for job in jobs)
    return smallest, larger


def steps_on_disk(job: ExpertJob) -> list[int]:
    return sorted(int(p.name) for p in (job.directory / "checkpoints").glob("*") if p.name.isdigit())


def restored(job: ExpertJob) -> TrainState:
    """The state of the newest checkpoint."""
    dataset, expert, plan = job.load()
    checkpoints = Checkpoints(job.directory / "checkpoints", Origin(dataset.fingerprint, 1, 1))
    shapes: Any = jax.eval_shape(partial(init_state, expert, job.train, plan.steps), jax.random.key(0))
    state = checkpoints.restore(shapes)
    checkpoints.close()
    assert state is not None
    return state


def process_of(group: ExpertGroup, rank: int = 0) -> int:
    """Number of a process that trains."""
    return ray.get(group.members[rank].where)[1]


def wait_until_free() -> None:
    """Wait until no actor holds a CPU; Ray needs a moment."""
    while ray.available_resources().get("CPU", 0) < CPUS:
        time.sleep(0.01)


@contextmanager
def disk_full(size: int) -> Iterator[None]:
    """Within, no file of this process grows beyond `size` bytes."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scalars are written as they come."""
    monkeypatch.setattr(tensorboard, "FLUSH_SECONDS", 0.0)


def points(directory: Path, tag: str) -> list[tuple[int, float]]:
    """Steps and values of a curve that TensorBoard reads in a folder."""
    events = EventAccumulator(str(directory), size_guidance={"scalars": 0})
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]
