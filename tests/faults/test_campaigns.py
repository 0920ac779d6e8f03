"""Whatever is killed, stopped or filled up: a campaign ends with what an undisturbed one has, bit by bit.

Undisturbed campaigns serve all faults, and one table is printed of them, hence the length.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from fokker.data.config import MuellerBrownConfig
from fokker.data.dataset import shards
from fokker.distributed.campaigns.ledger import FAILURES, Ledger
from fokker.distributed.campaigns.segments import Store
from fokker.distributed.training import parameters
from fokker.distributed.training.job import write_model
from fokker.model.config import DynamicsConfig, ExpertConfig, SamplerConfig

from ..campaigns import works
from ..user import CLUSTER
from .campaigns import FOKKER, Disturbed
from .conftest import CAMPAIGNS, MARK, gaussian, processes, training, wait_for

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "format-1.safetensors"
"""Of molecules, with random parameters."""
KILLED, SAME = "kill -9", ", the same command"
SEGMENTS = 32

Make = Callable[..., Disturbed]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of random parameters; some replicas leave the range, in one segment or another."""
    root = tmp_path_factory.mktemp("toy")
    config = MuellerBrownConfig()
    data = root / "dataset"
    shards.write(data, {"name": "mueller-brown"}, {"train": gaussian(), "reference": gaussian()})
    (job,) = training(root, data).jobs
    job = replace(job, expert=ExpertConfig(interval=(0, 1), hidden=(8, 8), epochs=1, midpoint=0.5))
    job.directory.mkdir(parents=True)
    parameters.save(job.directory, job.load()[1].init(jax.random.key(0)))
    write_model(root / "toy.safetensors", [job], config, SamplerConfig(), DynamicsConfig())
    np.save(root / "start.npy", 0.3 * gaussian()[:8])
    return {
        "models": str(root / "toy.safetensors"),
        "start": str(root / "start.npy"),
        "reference": str(data),
        "replicas": 8,
        "frames": 1500,
        "settings": {"stride": 200, "burn_in": 20_000, "timestep": 2e-4, "friction": 1000.0},
        "batch": 4,
        "segment": 100,
        "lost_share": 1,
    }


@pytest.fixture(scope="module")
def molecules(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Two, whose segments have XTC files too."""
    start = np.random.default_rng(0).normal(0, 0.15, (4, 10, 3)).astype(np.float32)
    path = tmp_path_factory.mktemp("molecules") / "start.npy"
    np.save(path, start)
    return {
        "models": str(GOLDEN),
        "systems": ["AC", "KF"],
        "start": str(path),
        "replicas": 4,
        "frames": 30,
        "settings": {"stride": 10, "timestep": 0.0005},
        "ends_unless": "finite",
        "lost_share": 1,
        "batch": 2,
        "segment": 10,
    }


@pytest.fixture(scope="module")
def whole(toy: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Disturbed:
    """A toy's campaign that nothing disturbed."""
    this = Disturbed(tmp_path_factory.mktemp("whole"), toy).start()
    this.finish()
    assert this.done == SEGMENTS
    return this


@pytest.fixture(scope="module")
def whole_molecules(molecules: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Disturbed:
    this = Disturbed(tmp_path_factory.mktemp("whole-molecules"), molecules).start()
    this.finish()
    return this


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Campaigns of this test; whatever happens, nothing of them is left."""
    made: list[Disturbed] = []

    def begin(values: dict[str, Any], *words: str, planted: str | None = None) -> Disturbed:
        root = tmp_path / f"campaign-{len(made)}"
        made.append(Disturbed(root, values, planted, words=words))
        return made[-1]

    yield begin
    for each in made:
        for process in processes(each.mark):
            os.kill(process, signal.SIGKILL)
        if each.driver is not None:
            each.driver.wait()


# Actors


def test_an_actor_that_is_killed_costs_the_segment_that_it_was_at(make: Make, toy: Any, whole: Disturbed):
    this = make(toy).start()
    this.wait_for_segments(8)
    with this.fault("an actor of two is lost in the middle of a segment", KILLED, lost=1):
        os.kill(this.computing()[0], signal.SIGKILL)
        this.wait(this.failed, "nobody notices")
    this.finish()
    assert this.failed() == 1
    this.assert_same(whole)


def test_an_actor_that_hangs_is_replaced(make: Make, toy: Any, whole: Disturbed):
    this = make(toy, "--cluster.segment-deadline", "30").start()
    this.wait_for_segments(8)
    hanging = this.computing()[0]
    with this.fault("an actor of two hangs (deadline of a segment: 30 s)", "SIGSTOP", lost=1):
        os.kill(hanging, signal.SIGSTOP)
        this.wait(this.failed, "nobody notices")
    this.finish()
    assert this.failed() == 1
    this.assert_same(whole)


@pytest.mark.parametrize(
    ("planted", "where", "lost"),
    [
        ("after_the_xtc", "between a segment's XTC and its npz", 1),
        ("in_the_segment", "in the middle of an npz", 1),
        ("after_the_segment", "between an npz and the answer", 0),
    ],
)
def test_an_actor_that_is_killed_between_two_writes_leaves_what_is_whole(
    make: Make, molecules: Any, whole_molecules: Disturbed, planted: str, where: str, lost: int
):
    this = make(molecules, planted=planted).start()
    this.wait(this.marker.exists, "no actor is killed")
    with this.fault(f"an actor is lost {where}", KILLED, lost):
        pass  # It was planted.
    this.finish()
    assert this.failed() == 1
    this.assert_same(whole_molecules)


def test_a_segment_that_fails_again_and_again_is_given_up_and_done_when_it_can_be(
    make: Make, toy: Any, whole: Disturbed
):
    this = make(toy, planted="poison")
    this.marker.touch()
    this.start()
    this.finish(1)
    assert this.output.count("fokker: error:") == 1
    assert "1 segments were given up after 4 attempts each, the rest is done" in this.output
    assert this.failed() == 3
    assert this.done == 17, "all of the other replicas, and the burn-in of these"
    (work,) = works(this.directory)
    assert [line["event"] for line in Ledger(Store(work)).failures()].count("given up") == 1
    this.planted = None
    with this.fault(f"a segment fails in each of four attempts; without that{SAME}", "an error", lost=4):
        this.start()
    this.finish()
    this.assert_same(whole)


# The driver, and all of Ray


@pytest.mark.parametrize(
    ("how", "status", "what"),
    [
        (signal.SIGKILL, -9, "the driver is lost"),
        (signal.SIGTERM, 130, "the driver is told to end"),
        (signal.SIGINT, 130, "Ctrl-C"),
        ("fokker campaign cancel", 1, "it is stopped from another terminal"),
    ],
)
def test_the_same_command_goes_on_after_its_driver_ended(
    make: Make, toy: Any, whole: Disturbed, how: signal.Signals | str, status: int, what: str
):
    this = make(toy).start()
    this.wait_for_segments(8)
    running, before = len(this.computing()), this.done
    if isinstance(how, str):
        for actor in this.computing():  # It would be done before the other command has begun.
            os.kill(actor, signal.SIGSTOP)
        command = [FOKKER, *how.split()[1:], this.directory]
        subprocess.run(command, check=True, env=this.environment, capture_output=True)
    else:
        this.driver.send_signal(how)
    this.finish(status)
    lost = running - (this.done - before)
    name = KILLED if how == signal.SIGKILL else f"`{how}`" if isinstance(how, str) else how.name
    with this.fault(what + SAME, name, max(lost, 0)):
        this.start()
    this.finish()
    this.assert_same(whole)


def test_the_same_command_goes_on_after_all_of_ray_was_killed(make: Make, toy: Any, whole: Disturbed):
    this = make(toy).start()
    this.wait_for_segments(8)
    running, before = len(this.computing()), this.done
    this.kill(all_but_the_driver=True)
    this.finish(1)
    assert_one_line(this.output)
    with this.fault(f"all of Ray is lost{SAME}", KILLED, running - (this.done - before)):
        this.start()
    this.finish()
    this.assert_same(whole)


@contextmanager
def cluster(root: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """A cluster that others have started: its address, and what kills all of it."""
    mark = root.name
    environment = Disturbed(root, {}).environment | {MARK: mark, "RAY_AUTH_MODE": "token"}

    def kill() -> None:
        for number in processes(mark):
            os.kill(number, signal.SIGKILL)

    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", CLUSTER], env=environment, **pipes) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip(), kill
        finally:
            kill()
    wait_for(lambda: not processes(mark), "the cluster lives on")


def test_the_same_command_goes_on_at_another_cluster(make: Make, toy: Any, whole: Disturbed, tmp_path: Path):
    """Where head, raylet and actors of one that was joined are killed, all at once."""
    this = make(toy)
    with cluster(tmp_path / "one") as (address, kill):
        this.address, this.actors = address, "one"
        this.start()
        this.wait_for_segments(8)
        running, before = len(this.computing()), this.done
        kill()
        this.finish(1)
        assert_one_line(this.output)
    lost = running - (this.done - before)
    with cluster(tmp_path / "another") as (address, _):
        this.address, this.actors = address, "another"
        with this.fault(f"all of a cluster that was joined is lost{SAME} at another", KILLED, lost):
            this.start()
        this.finish()
    this.assert_same(whole)


def assert_one_line(output: str) -> None:
    """Of an error, and nothing of Ray's own."""
    found = output.partition("fokker: error: ")[2]
    assert found.count("\n") == 1, output
    assert "Traceback" not in output, output


@pytest.mark.parametrize(
    ("planted", "where"),
    [
        ("before_the_ledger", "between a segment and its line in the ledger"),
        ("within_the_ledger", "between two lines about one segment"),
        ("after_the_results", "between results.json and the report"),
    ],
)
def test_a_driver_that_is_killed_between_two_writes_goes_on(
    make: Make, toy: Any, whole: Disturbed, planted: str, where: str
):
    this = make(toy, planted=planted).start()
    this.wait(lambda: this.driver.poll() is not None or this.marker.exists(), "nobody is killed")
    running, before = len(this.computing()), this.done
    this.finish(-9)
    lost, this.planted = max(0, running - (this.done - before)), None
    if before == SEGMENTS:
        this.start()
        CAMPAIGNS.append((f"the driver is lost {where}{SAME}", KILLED, "0", "all were there"))
    else:
        with this.fault(f"the driver is lost {where}{SAME}", KILLED, lost):
            this.start()
    this.finish()
    assert (this.directory / "report.html").exists()
    this.assert_same(whole)
    assert failures(this) == failures(whole)


def failures(this: Disturbed) -> list[str]:
    """What `fokker campaign status` lists, whatever came first."""
    return sorted(
        json.dumps(line) for work in works(this.directory) for line in Ledger(Store(work)).failures()
    )


def test_replicas_are_lost_in_the_campaign_that_all_are_compared_to(whole: Disturbed):
    (work,) = works(whole.directory)
    assert 1 <= len(failures(whole)) <= 6
    assert (work / FAILURES).exists()


# The disk


def test_a_full_disk_is_waited_for(make: Make, toy: Any, whole: Disturbed, tmp_path: Path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.decode()}")
    this = make(toy)
    (this.root / "campaigns").symlink_to(disk)
    try:
        this.start()
        this.wait_for_segments(8)
        subprocess.run(["dd", "if=/dev/zero", f"of={disk / 'filling'}"], capture_output=True)
        this.wait(lambda: "paused, and looked at again" in this.output, "nothing is said of the disk")
        with this.fault("the disk is full for a while", "a file that fills it", "one an actor, at each look"):
            (disk / "filling").unlink()
        this.finish()
        this.assert_same(whole)
    finally:
        this.driver.kill()
        this.driver.wait()
        subprocess.run(["umount", "--lazy", disk], check=True)
