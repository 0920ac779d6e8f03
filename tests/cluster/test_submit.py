"""`fokker submit` to a cluster of three hosts: what a user, an operator and a broken host do to a run."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fokker.distributed.config import ClusterConfig

from ..faults.conftest import Training, training, wait_for
from .conftest import BIN, DASHBOARD, Hosts

QUARTER = [
    *("--method", "fokker-planck", "--data.frames", "25000", "--sample.samples", "25000"),
    *("--simulate.frames", "25000", "--train.block", "64", "--train.checkpoint-every", "1024"),
    *("--cluster.hosts", "2", "--cluster.train-on", "pool=workers", "--cluster.simulate-on", "pool=workers"),
]
"""A quarter of the paper's experiment, one expert on two hosts."""
EXACT = 1e-5
"""A group goes on for a while on the host that was left."""

Make = Callable[..., "Job"]


class Job(Training):
    """A run that is submitted; the driver is the command that follows it."""

    stage = "train"
    more: tuple[str, ...] = ()

    @property
    def command(self) -> list[str | Path]:
        where = ["--runs-dir", self.root.parent, "--name", self.root.name]
        return [
            *(BIN / "fokker", "submit", "--address", DASHBOARD),
            *("--", self.stage, "mueller-brown", *where, *QUARTER, *self.more),
        ]

    def finish(self, status: int = 0) -> None:
        """Wait for its end and its status, which is that of the job."""
        found = self.driver.wait(1200)
        assert found == status, self.output()[-3000:]

    def output(self) -> str:
        """What the job has printed."""
        return (self.root / "output").read_text()

    @property
    def number(self) -> str:
        """The submission that is followed now."""
        return re.findall(r"^job +(fokker-\w+) at", self.output(), re.MULTILINE)[-1]


@pytest.fixture(scope="module")
def make(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Make:
    folder = tmp_path_factory.mktemp("runs")

    def begin(name: str, like: Job | None = None, **changes) -> Job:
        root = folder / name
        root.mkdir()
        (job,) = training(root, root / "data").jobs
        job = replace(job, directory=root / "experts" / "0", train=replace(job.train, block=64))
        if like:
            shutil.copytree(like.root / "data", root / "data")
        return Job(root, [job], ClusterConfig(), popen=hosts.popen, **changes)

    return begin


@pytest.fixture(scope="module")
def whole(make: Make) -> Job:
    """The run that nothing disturbs, all its stages."""
    this = make("whole")
    this.stage = "run"
    begin = time.monotonic()
    this.start()
    this.wait_for_step(0)
    this.note("a run is submitted, to its first steps", "fokker submit", begin)
    this.finish()
    return this


def test_a_submitted_run_is_carried_out_on_the_hosts_of_its_label(whole: Job):
    (started,) = whole.events("started")
    assert (started["hosts"], started["devices"]) == (2, 2)
    metrics = json.loads((whole.root / "metrics.json").read_text())
    assert [metrics[stage]["frames"] for stage in ("sample", "simulate")] == [25000, 25000]
    assert "report.html" in whole.output()


def test_the_metadata_of_the_job_names_the_run(whole: Job, hosts: Hosts):
    program = (
        "import sys; from ray.job_submission import JobSubmissionClient as C;"
        "info = C(sys.argv[1]).get_job_info(sys.argv[2]); print(info.metadata['run'], info.driver_exit_code)"
    )
    asked = hosts.popen(
        [BIN / "python", "-c", program, DASHBOARD, whole.number],
        os.environ,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert asked.communicate(timeout=60)[0].split() == ["whole", "0"]


def test_a_host_that_is_lost_and_comes_back_changes_nothing(make: Make, whole: Job, hosts: Hosts):
    this = make("lost", whole).start()
    this.wait_for_step(2000)
    wait_for(lambda: len(hosts_that_train()) == 2, "the group is not on two hosts", this)
    with this.fault("a host of two is lost and comes back", "kill -9 of all on it"):
        hosts.command("kill", "3")
        hosts.command("boot", "3")
        hosts.join(3)
    this.finish()
    this.assert_same(whole, rtol=EXACT, atol=EXACT)


def test_a_job_that_is_stopped_and_submitted_again_takes_no_step_twice(make: Make, whole: Job, hosts: Hosts):
    this = make("stopped", whole).start()
    this.wait_for_step(2000)
    begin = time.monotonic()
    hosts.command("run", "1", str(BIN / "ray"), "job", "stop", this.number, "--address", DASHBOARD)
    this.finish(130)
    this.note("a job is told to stop, saved and ended", "ray job stop", begin, "0")
    assert f"fokker submit -- train mueller-brown --runs-dir {this.root.parent}" in this.output()
    this.start().finish()
    steps = this.steps()
    assert steps == sorted(set(steps))
    this.assert_same(whole)


def test_an_eviction_as_kubernetes_does_it_costs_no_step(make: Make, whole: Job, hosts: Hosts):
    """The container gets SIGTERM; Ray drains the node, and ends when the group has left it."""
    hosts.command("kill", "3")
    hosts.command("boot", "3")
    pod = hosts.blocking(3)
    this = make("evicted", whole).start()
    this.wait_for_step(2000)
    (container,) = children(pod.pid)
    with this.fault("a host of two is evicted, as by Kubernetes", "SIGTERM to its container"):
        for process in (container, *children(container)):
            if f"{BIN / 'ray'} start" in cmdline(process):
                os.kill(process, signal.SIGTERM)
        wait_for(lambda: bool(this.events("preempted")), "the group does not leave", this)
        pod.wait(120)
        hosts.join(3)
    this.finish()
    steps = this.steps()
    assert steps == sorted(set(steps))
    this.assert_same(whole, rtol=EXACT, atol=EXACT)


def test_hosts_that_are_still_to_come_are_asked_for_and_waited_for(make: Make, whole: Job, hosts: Hosts):
    hosts.command("kill", "3")
    this = make("scaled", whole)
    this.more = ("--cluster.autoscaled", "--experts.0.epochs", "2")
    this.start()
    wait_for(lambda: bool(this.events("started")), "no group is asked for", this)
    assert not this.steps()
    hosts.command("boot", "3")
    hosts.join(3)
    this.finish()
    assert [event["hosts"] for event in this.events("started")] == [2]


def test_a_folder_that_a_host_does_not_share_is_named(make: Make, hosts: Hosts):
    this = make("apart")
    hosts.command("run", "3", "/bin/mount", "-t", "tmpfs", "none", str(this.root.parent))
    try:
        this.start().finish(1)
    finally:
        hosts.command("run", "3", "/bin/umount", str(this.root.parent))
    message = (
        f"{this.root} on host host3 (tmpfs): it does not see what the driver wrote there: put --runs-dir on"
    )
    assert message in " ".join(this.output().split())
    assert not (this.root / "data").exists()


def hosts_that_train() -> set[str]:
    """The networks, other than this machine's own, in which groups have processes."""
    listed = subprocess.run(
        ["pgrep", "-f", "^ray::ExpertWorker"], capture_output=True, text=True, check=False
    )
    networks = {Path(f"/proc/{word}/ns/net") for word in listed.stdout.split()}
    return {os.readlink(path) for path in networks if path.exists()} - {os.readlink("/proc/self/ns/net")}


def children(process: int) -> list[int]:
    """Processes that a process has started."""
    listed = subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True, check=False)
    return [int(word) for word in listed.stdout.split()]


def cmdline(process: int) -> str:
    return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()
