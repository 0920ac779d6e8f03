"""The `fokker` command itself, with a group of two processes, loses one of these and is killed itself."""

import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fokker.distributed.config import ClusterConfig

from .conftest import Training, training

FOKKER = Path(sys.executable).with_name("fokker")
DATA = [
    *("data", "mueller-brown", "--method", "diffusion", "--data.frames", "2000", "--data.chains", "100"),
    *("--data.burn-in", "1000", "--train.block", "8", "--train.checkpoint-every", "200"),
    *("--experts.0.epochs", "120", "--experts.0.hidden", "8", "8", "--cluster.hosts", "2"),
]
"""Settings and data of a run of 1,800 steps."""


class Command(Training):
    """`fokker train` of a run, whose directory is the root."""

    @property
    def command(self) -> list[str | Path]:
        return [FOKKER, "train", *self.where]

    @property
    def where(self) -> list[str | Path]:
        return ["--runs-dir", self.root.parent, "--name", self.root.name]


def run(root: Path, data: Path) -> Command:
    """Of the same one expert as in the command's first job."""
    (job,) = training(root, data).jobs
    return Command(root, [replace(job, directory=root / "experts" / "0")], ClusterConfig())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Command:
    this = run(tmp_path_factory.mktemp("runs") / "undisturbed", data)
    this.root.rmdir()
    subprocess.run([FOKKER, *DATA, *this.where], check=True, capture_output=True)
    for name in ("disturbed", "fresh"):
        shutil.copytree(this.root, this.root.with_name(name))
    this.start().finish()
    return this


def test_the_command_survives_a_lost_process_and_its_own_end(undisturbed: Command, data: Path):
    this = run(undisturbed.root.with_name("disturbed"), data).start()
    this.wait_for_step(600)
    with this.fault("`fokker train` loses a process of two", "kill -9"):
        os.kill(this.workers()[1], signal.SIGKILL)
    this.wait_for_step(1200)
    this.driver.kill()
    this.driver.wait()
    this.assert_nothing_is_left()
    with this.fault("`fokker train` is killed, the same command", "kill -9"):
        this.start()
    this.finish()
    output = (this.root / "output").read_text()
    told = (
        r"lost: rank 1 of 2 was lost: ",
        r"started: again on 2 × 1 devices",
        r"resumed: at step \d+",
        r"saved: step \d+",
    )
    assert all(re.search(text, output) for text in told), output
    assert this.steps()[-1] == undisturbed.steps()[-1] == 1800
    this.assert_same(undisturbed)


UNLOCKED = """
import errno, types
from fokker.distributed.runs import run
from fokker.launch.cli import process

def flock(*_):
    raise OSError(errno.ENOLCK, "no locks available")

run.fcntl = types.SimpleNamespace(flock=flock, LOCK_EX=0, LOCK_NB=0)
process.main()
"""


class Unlocked(Command):
    """The same on a file system without locks."""

    @property
    def command(self) -> list[str | Path]:
        return [sys.executable, "-c", UNLOCKED, *super().command[1:]]


def test_of_two_commands_without_file_locks_the_one_that_began_last_goes_on(undisturbed: Command, data: Path):
    root = undisturbed.root.with_name("twice")
    shutil.copytree(undisturbed.root.with_name("fresh"), root)
    first, second = (Unlocked(root, run(root, data).jobs, ClusterConfig()) for _ in range(2))
    first.start()
    first.wait_for_step(300)
    second.start()
    assert first.driver.wait(120) == 1
    first.assert_nothing_is_left()
    second.finish()
    output = (root / "output").read_text()
    assert f"fokker: error: {root}: another fokker has begun on it (process {second.driver.pid} of" in output
    assert re.search(
        rf"has no file locks: process {first.driver.pid} of host \S+ heard", " ".join(output.split())
    )
    second.assert_same(undisturbed)
