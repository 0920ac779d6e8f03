"""Runs as jobs of a real Slurm: one group over two nodes, which is stopped, started again, and loses one.

The Müller–Brown experiment at a fiftieth of its size.
"""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pytest

from fokker.distributed.config import ClusterConfig
from fokker.distributed.groups.interrupts import INTERRUPTED

from ..faults.conftest import BLOCK, MARK, PATIENCE, Training, training, wait_for
from .conftest import OWN, Slurm, rendered

STEPS = 4800
RUN = [
    *("mueller-brown", "--method", "diffusion", "--data.frames", "2000", "--data.chains", "100"),
    *("--data.burn-in", "1000", "--train.block", str(BLOCK), "--train.checkpoint-every", "200"),
    *("--experts.0.epochs", str(STEPS // 15), "--experts.0.hidden", "8", "8", "--cluster.hosts", "2"),
    *("--sample.samples", "400", "--sample.chunk", "100", "--sample.evaluations", "10"),
    *("--simulate.frames", "400", "--simulate.chains", "40", "--simulate.chunk", "5"),
    *("--simulate.stride", "10", "--simulate.burn-in", "100"),
    *("--cpus-per-task", "1", "--temp-dir", str(OWN)),
]
EXACT = 1e-5
"""A group goes on for a while on the node that was left."""


class Run(Training):
    """A run whose driver is `sbatch --wait`, which ends as its job does."""

    @property
    def folder(self) -> Path:
        """Where it was submitted."""
        return self.root.parent.parent

    @property
    def command(self) -> list[str | Path]:
        script = rendered(self.folder / "job.sbatch", *RUN, "--name", self.root.name)
        return ["sbatch", "--wait", f"--chdir={self.folder}", f"--output={self.root}/output", script]


@pytest.fixture(scope="module")
def make(slurm: Slurm, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """Runs of this Slurm, by their names, in folders of their own."""

    def submit(command: Sequence[str | Path], env: Mapping[str, str], **options) -> subprocess.Popen:
        return slurm.popen(command, slurm.environment | {MARK: env[MARK]}, **options)

    def begin(name: str) -> Run:
        root = tmp_path_factory.mktemp(name) / "runs" / name
        root.mkdir(parents=True)
        (job,) = training(root, root).jobs
        return Run(root, [replace(job, directory=root / "experts" / "0")], ClusterConfig(), popen=submit)

    return begin


@pytest.fixture(scope="module")
def whole(slurm: Slurm, make: Callable[[str], Run]) -> Run:
    """What nothing disturbed, from submission to its report."""
    this, begin = make("whole"), time.monotonic()
    this.start()
    this.wait_for_step(0)
    this.note("a run is submitted, to its first steps", "sbatch", begin)
    this.finish()
    return this


def number(slurm: Slurm, this: Run) -> str:
    """Of its job."""
    return slurm.client("squeue", "--noheader", "--states=all", f"--name={this.root.name}", "--format=%A")


def test_a_job_carries_out_a_run_on_both_nodes_and_leaves_nothing_else(slurm: Slurm, whole: Run):
    (started,) = whole.events("started")
    assert (started["hosts"], started["devices"], started["restarts"]) == (2, 2, 0)
    assert whole.steps() == [*range(BLOCK, STEPS + 1, BLOCK)]
    assert (whole.root / "report.html").exists()
    assert slurm.state(number(slurm, whole)) == "COMPLETED"
    assert slurm.left(number(slurm, whole), whole.folder) == []


def test_a_job_that_is_told_to_stop_goes_on_by_itself_and_takes_no_step_twice(
    slurm: Slurm, make: Callable[[str], Run], whole: Run
):
    this = make("stopped")
    this.start()
    this.wait_for_step(600)
    job, begin = number(slurm, this), time.monotonic()
    with this.fault("the job is told to stop, and started again", "scancel --batch --signal=TERM"):
        slurm.client("scancel", "--batch", "--signal=TERM", job)
        wait_for(lambda: bool(this.events("stopped")), "it does not stop", this)
        this.note("the job is told to stop, saved", "scancel --batch --signal=TERM", begin, "0")
    wait_for(lambda: bool(this.events("finished")), "it is not trained", this)
    assert slurm.about(job, "Restarts") == "1"
    assert [event["hosts"] for event in this.events("started")] == [2, 2]
    assert this.steps() == [*range(BLOCK, STEPS + 1, BLOCK)], "no step was taken twice"
    this.assert_same(whole)
    slurm.client("scancel", "--batch", "--signal=INT", job)
    this.finish(INTERRUPTED)
    assert (slurm.state(job), slurm.about(job, "Restarts")) == ("FAILED", "1")
    assert slurm.left(job, this.folder) == []


def test_a_run_outlives_a_lost_node_and_slurm_gives_it_both_when_that_is_back(
    slurm: Slurm, make: Callable[[str], Run], whole: Run
):
    this = make("lost")
    this.start()
    this.wait_for_step(1000)
    job = number(slurm, this)
    with this.fault("a node of two is lost, and the group goes on with one", "kill -9 of all on it"):
        slurm.hosts.command("kill", "3")
    with this.fault("the node is given up, is back, and the job is started again", "state=down"):
        slurm.client("scontrol", "update", "nodename=host3", "state=down", "reason=test")
        wait_for(lambda: slurm.state(job) == "PENDING", "the job is not requeued", this)
        slurm.hosts.command("boot", "3")
        slurm.boot(3)
    wait_for(lambda: bool(this.events("finished")), "it is not trained", this)
    # The group may be asked for on both again, and withdrawn, before Ray takes the node for lost.
    assert [hosts for hosts, _ in groupby(event["hosts"] for event in this.events("started"))] == [2, 1, 2]
    assert slurm.about(job, "Restarts") == "1"
    this.assert_same(whole, rtol=EXACT, atol=EXACT)
    slurm.client("scancel", job)
    this.driver.wait(PATIENCE)
    this.assert_nothing_is_left()
    assert slurm.state(job) == "CANCELLED"
    assert slurm.left(job, this.folder) == []
