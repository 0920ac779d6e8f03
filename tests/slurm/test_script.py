"""The script of a job under a real Slurm, with stand-ins for `ray` and `fokker` that start at once.

So how it begins and ends can be seen in seconds; what Ray and a run make of it, test_runs.py shows.
"""

import sys
import time
from pathlib import Path

import pytest

from ..faults.conftest import wait_for
from .conftest import OWN, Slurm, rendered

RAY = f"""#!{sys.executable} -S
import os, socket, sys, time
from pathlib import Path
told, work, node = Path(os.environ["TOLD"]), Path(os.environ["work"]), os.environ["SLURM_NODEID"]
if (told / "ray-fails").exists():
    sys.exit(1)
(work / "r").mkdir(mode=0o777)
modes = [oct(Path(place).stat().st_mode & 0o777) for place in (os.environ["RAY_AUTH_TOKEN_PATH"], work)]
(told / f"ray-{{node}}").write_text(" ".join(sys.argv[1:] + modes))
if node == "0":
    listening = socket.create_server(("", int(os.environ["RAY_ADDRESS"].rpartition(":")[2])))
time.sleep(1000)
"""
FOKKER = """#!/bin/bash
if [ "$1" = slurm ]; then
    if [ -e "$TOLD/never-up" ]; then touch "$TOLD/waits"; exec sleep 1000; fi
    # As the real one does: Slurm can hang in ending a step that is still beginning.
    until [ -e "$TOLD/ray-0" ] && [ -e "$TOLD/ray-1" ]; do sleep 0.1; done
    exit 0
fi
echo "$@" >"$TOLD/run-${SLURM_RESTART_COUNT:-0}"
trap 'exit 130' TERM
while [ ! -e "$TOLD/end" ]; do sleep 0.1; done
exit "$(<"$TOLD/end")"
"""
APPTAINER = """#!/bin/bash
[ "$1" = exec ] && shift
while [[ $1 == --* ]]; do
    case $1 in --nv) shift ;; --bind) [ -e "$2" ] && shift 2 ;; *) exit 1 ;; esac
done
echo "$1" >"$TOLD/image"
shift
exec "$@"
"""


class Job:
    """One with stand-ins."""

    def __init__(self, slurm: Slurm, folder: Path, *words: str):
        self.slurm, self.folder, self.told = slurm, folder, folder / "told"
        self.told.mkdir()
        for name, text in (("ray", RAY), ("fokker", FOKKER), ("apptainer", APPTAINER)):
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        self.script = rendered(
            folder / "job.sbatch",
            "mueller-brown",
            "--nodes",
            "2",
            "--cpus-per-task",
            "1",
            f"--temp-dir={OWN}",
            *words,
        )
        self.number = ""

    def start(self, *options: str) -> "Job":
        """Until it runs."""
        path = f"{self.folder}:{self.slurm.environment['PATH']}"
        self.number = self.slurm.submit(self.script, self.folder, *options, TOLD=str(self.told), PATH=path)
        return self

    def wait_for(self, file: str) -> "Job":
        """Until a stand-in has told something."""
        wait_for((self.told / file).exists, lambda: f"{file} is not told: {self.output}", seconds=60)
        return self

    def wait_for_state(self, *states: str) -> "Job":
        """Until Slurm says one."""
        wait_for(
            lambda: self.state in states, lambda: f"{self.state}, not {states}: {self.output}", seconds=60
        )
        return self

    @property
    def state(self) -> str:
        return self.slurm.state(self.number)

    @property
    def left(self) -> list[Path]:
        return self.slurm.left(self.number, self.folder)

    @property
    def output(self) -> str:
        return "".join(path.read_text() for path in self.folder.glob("*.out"))


@pytest.fixture
def job(slurm: Slurm, tmp_path: Path) -> Job:
    return Job(slurm, tmp_path)


def test_it_starts_ray_on_all_nodes_and_the_run_on_the_first(job: Job):
    job.start().wait_for("run-0")
    head, other = (job.wait_for(f"ray-{node}").told.joinpath(f"ray-{node}").read_text() for node in (0, 1))
    port = 20000 + int(job.number)
    assert head.startswith(f"start --head --node-ip-address=10.77.0.2 --port={port} ")
    assert other.startswith(f"start --address=10.77.0.2:{port} ")
    assert all(
        f"--temp-dir={OWN}/fokker-{job.number}/r --num-cpus=1 --num-gpus=0" in text for text in (head, other)
    )
    assert head.endswith(" 0o600 0o700")
    assert (job.told / "run-0").read_text().split() == ["run", "mueller-brown", "--cluster.device", "cpu"]
    (job.told / "end").write_text("0")
    job.wait_for_state("COMPLETED")
    assert job.left == []


@pytest.mark.parametrize("status", ["1", "2"])
def test_a_run_that_fails_is_not_started_again(job: Job, status: str):
    (job.told / "end").write_text(status)
    job.start().wait_for_state("FAILED")
    assert job.slurm.about(job.number, "ExitCode") == f"{status}:0"
    assert job.left == []


def test_a_job_whose_time_is_nearly_up_is_started_again(job: Job):
    """Slurm itself tells it: two minutes before the end are now."""
    job.start().wait_for("run-0")
    job.slurm.client("scontrol", "update", f"jobid={job.number}", "timelimit=2")
    job.wait_for_state("PENDING")
    assert job.slurm.about(job.number, "Restarts") == "1"
    assert job.left == []
    job.wait_for("run-1")
    (job.told / "end").write_text("0")
    job.wait_for_state("COMPLETED")


def test_a_job_that_is_told_before_all_nodes_are_there_is_started_again(job: Job):
    (job.told / "never-up").touch()
    job.start().wait_for("waits")
    job.slurm.client("scancel", "--batch", "--signal=TERM", job.number)
    job.wait_for_state("PENDING")
    job.slurm.client("scancel", job.number)


def test_a_job_without_ray_fails_at_once_and_says_where_to_look(job: Job):
    (job.told / "never-up").touch()
    (job.told / "ray-fails").touch()
    job.start().wait_for_state("FAILED")
    assert f"Ray does not start on all nodes: see mueller-brown-{job.number}-ray.out" in job.output
    assert job.left == []


def test_the_container_is_entered_by_all_of_it(slurm: Slurm, tmp_path: Path):
    (tmp_path / "my image.sif").touch()
    words = ("--gpus-per-node", "1", "--container", "my image.sif", "--runs-dir", str(tmp_path))
    job = Job(slurm, tmp_path, *words).start().wait_for("run-0")
    ray = (job.wait_for("ray-1").told / "ray-1").read_text()
    assert "--num-gpus=1" in ray
    assert (job.told / "image").read_text() == "my image.sif\n"
    (job.told / "end").write_text("0")
    job.wait_for_state("COMPLETED")


def test_a_run_that_is_interrupted_for_good_is_not_started_again(job: Job):
    job.start().wait_for("run-0")
    job.slurm.client("scancel", "--batch", "--signal=INT", job.number)
    job.wait_for_state("FAILED")
    assert job.slurm.about(job.number, "ExitCode") == "130:0"
    assert job.left == []


def test_a_job_that_is_cancelled_stays_so_and_leaves_nothing(job: Job):
    job.start().wait_for("run-0")
    job.slurm.client("scancel", job.number)
    job.wait_for_state("CANCELLED")
    wait_for(lambda: job.left == [], lambda: f"{job.left} are left", seconds=30)
    time.sleep(1)
    assert job.state == "CANCELLED"
