"""Trainings in processes of their own, which the tests disturb; and what that cost, as a table."""

import json
import os
import pickle
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import jax
import numpy as np
import pytest

from fokker.data.dataset import shards
from fokker.data.dataset.loader import Plan
from fokker.distributed.config import ClusterConfig, TrainConfig
from fokker.distributed.groups import events
from fokker.distributed.training import parameters
from fokker.distributed.training.expert import FEW_STEPS
from fokker.distributed.training.history import HISTORY
from fokker.distributed.training.job import ExpertJob
from fokker.model.config import ExpertConfig, MLPConfig, ObjectiveConfig

MARK = "FOKKER_FAULT_TEST"
DRIVER = Path(__file__).with_name("driver.py")
FRAMES, SEED, BLOCK = 300, 7, 8
EXPERT = ExpertConfig(interval=(0, 0.1), hidden=(8, 8), epochs=160, midpoint=0.05, consistency_weight=1e-3)
TRAIN = TrainConfig(batch_size=32, block=BLOCK, checkpoint_every=240)
STEPS = 160 * 9
PATIENCE = 240.0
BAD_STEP = 608

ROWS: list[tuple[str, str, str, str]] = []
CAMPAIGNS: list[tuple[str, str, str, str]] = []
COSTS = {
    "faults": (ROWS, "steps taken again", "training again after"),
    "faults of campaigns": (CAMPAIGNS, "segments computed again", "segments again after"),
}


def pytest_terminal_summary(terminalreporter) -> None:
    """The tables of docs/faults.md."""
    for title, (rows, *costs) in COSTS.items():
        if rows:
            terminalreporter.section(title)
            for row in (("fault", "provoked by", *costs), ("---",) * 4, *rows):
                terminalreporter.write_line(f"| {' | '.join(row)} |")


def processes(mark: str) -> dict[int, str]:
    """Numbers and titles of the living processes that carry the mark of a training in their environment."""
    found = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                if f"{MARK}={mark}".encode() in (path / "environ").read_bytes().split(b"\0"):
                    found[int(path.name)] = (
                        (path / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                    )
            except OSError:
                continue  # It ended meanwhile.
    return found


@dataclass
class Training:
    """A driver and what it trains."""

    root: Path
    jobs: list[ExpertJob]
    config: ClusterConfig
    planted: tuple[str, int, str] | None = None
    """Put into the first job's steps: its kind, its step, and a file that is there once it has happened."""
    popen: Callable[..., subprocess.Popen] = subprocess.Popen
    mark: str = field(default_factory=lambda: secrets.token_hex(8))
    driver: subprocess.Popen = field(init=False)

    @property
    def command(self) -> list[str | Path]:
        """What the driver is."""
        file = self.root / "jobs.pickle"
        file.write_bytes(pickle.dumps((self.jobs, self.config, self.planted)))
        return [sys.executable, DRIVER, file]

    def start(self) -> Self:
        """Run the command, again if it ran before."""
        environment = os.environ | {
            MARK: self.mark,
            "RAY_OVERRIDE_RESOURCES": json.dumps({"CPU": 2}),
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_worker_niceness": "0",
        }
        environment.pop("RAY_ADDRESS", None)
        with open(self.root / "output", "a") as output:
            self.driver = self.popen(self.command, env=environment, stdout=output, stderr=output)
        return self

    def finish(self, status: int = 0) -> None:
        """Wait for the end of the driver, its status, and that nothing of it is left."""
        found = self.driver.wait(PATIENCE)
        assert found == status, (self.root / "output").read_text()[-3000:]
        self.assert_nothing_is_left()

    def assert_nothing_is_left(self) -> None:
        """No process of the training lives on."""
        wait_for(lambda: not processes(self.mark), lambda: f"{processes(self.mark)} are left", seconds=90)

    def workers(self) -> list[int]:
        """The processes that train, the one that writes the history of the first job first."""
        found = [p for p, title in processes(self.mark).items() if title.startswith("ray::ExpertWorker")]
        return sorted(found, key=lambda process: not writes(process, self.jobs[0].directory / HISTORY))

    def steps(self, job: int = 0) -> list[int]:
        """Steps in the order in which they were written, those that were taken twice too."""
        path = self.jobs[job].directory / HISTORY
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line)["step"] for line in lines if line.endswith("}")]

    def wait_for_step(self, step: int, job: int = 0) -> None:
        """Until the training is past a step."""
        wait_for(lambda: (self.steps(job) or [0])[-1] > step, f"step {step} is not reached", self)

    def wait_for_checkpoint(self, job: int = 0) -> None:
        """Until the first one is there."""
        wait_for(lambda: bool(self.checkpoints(job)), "there is no checkpoint", self)

    def checkpoints(self, job: int = 0) -> list[int]:
        """Steps of the whole ones."""
        folder = self.jobs[job].directory / "checkpoints"
        return sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit())

    def events(self, kind: str) -> list[dict]:
        """Those of one kind."""
        return [event for event in events.read(self.root) if event["event"] == kind]

    @contextmanager
    def fault(self, row: str, how: str, job: int = 0) -> Iterator[None]:
        """Around a fault: wait until a new group takes steps, and note what that cost."""
        groups, begin = len(self.events("started")), time.monotonic()
        yield
        wait_for(lambda: len(self.events("started")) > groups, "no new group is started", self)
        before = self.steps(job)
        wait_for(lambda: len(self.steps(job)) > len(before), "the training does not go on", self)
        first = min(FEW_STEPS, self.jobs[job].train.block)
        lost = before[-1] + first - self.steps(job)[len(before)]
        self.note(row, how, begin, str(lost))

    def note(self, row: str, how: str, begin: float, lost: str = "") -> None:
        """A row of the table: what began when, and how many steps were lost."""
        ROWS.append((row, how, lost, f"{time.monotonic() - begin:.1f} s"))

    def assert_same(self, other: "Training", job: int = 0, rtol: float = 0.0, atol: float = 0.0) -> None:
        """The averaged parameters are those of another training, bitwise unless it is said."""
        ours, theirs = (parameters.load(t.jobs[job].directory) for t in (self, other))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), ours, theirs)


def writes(process: int, path: Path) -> bool:
    """Whether a process holds a file open."""
    try:
        return any(os.readlink(link) == str(path) for link in Path(f"/proc/{process}/fd").iterdir())
    except OSError:
        return False


def wait_for(
    condition: Callable[[], bool],
    problem: str | Callable[[], str],
    training: Training | None = None,
    seconds: float = PATIENCE,
) -> None:
    """Until a condition holds, or the driver has ended."""
    deadline = time.monotonic() + seconds
    while not condition():
        ended = training and training.driver.poll() is not None and not condition()
        if ended or time.monotonic() > deadline:
            output = (training.root / "output").read_text()[-3000:] if training else ""
            pytest.fail(f"{problem if isinstance(problem, str) else problem()}\n{output}")
        time.sleep(0.02)


def gaussian() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(FRAMES, 2)).astype(np.float32)


def written(directory: Path, frames: np.ndarray) -> Path:
    shards.write(directory, {"name": "gaussian"}, {"train": frames, "reference": gaussian()})
    return directory


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("data") / "whole", gaussian())


@pytest.fixture(scope="session")
def broken_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data of which one frame is too large for float32 once it is squared."""
    frames = gaussian()
    plan = Plan(FRAMES, TRAIN.batch_size, EXPERT.epochs, SEED)
    frames[plan.frames_of(np.array([8]), row=3)] = 1e30
    return written(tmp_path_factory.mktemp("data") / "broken", frames)


def training(root: Path, data: Path, hosts: int = 2, experts: int = 1, **changes) -> Training:
    """Of small experts that differ in their number."""
    root.mkdir(exist_ok=True)
    jobs = [
        ExpertJob(
            f"expert-{index}",
            index,
            root / "experts" / str(index),
            data,
            EXPERT,
            MLPConfig(precondition=True),
            ObjectiveConfig(consistency_fraction=0.5),
            TRAIN,
            SEED,
        )
        for index in range(experts)
    ]
    return Training(root, jobs, ClusterConfig(hosts=(hosts,), **changes))


@pytest.fixture
def make(tmp_path: Path, data: Path) -> Iterator[Callable[..., Training]]:
    """Trainings of this test; whatever happens, nothing of them is left."""
    made: list[Training] = []

    def begin(hosts: int = 2, experts: int = 1, **changes) -> Training:
        made.append(training(tmp_path / f"run-{len(made)}", data, hosts, experts, **changes))
        return made[-1]

    yield begin
    for each in made:
        for process in processes(each.mark):
            os.kill(process, signal.SIGKILL)


def undisturbed(tmp_path_factory: pytest.TempPathFactory, data: Path, **kinds) -> Training:
    this = training(tmp_path_factory.mktemp("undisturbed"), data, **kinds)
    this.start().finish()
    return this


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Training:
    """What a group of two processes trains without a fault."""
    return undisturbed(tmp_path_factory, data)


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Training:
    """What groups of one process train without a fault, two experts."""
    return undisturbed(tmp_path_factory, data, hosts=1, experts=2)


def saving_often(this: Training) -> Training:
    """With a checkpoint after each block."""
    this.jobs = [replace(job, train=replace(job.train, checkpoint_every=BLOCK)) for job in this.jobs]
    return this
