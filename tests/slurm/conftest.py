"""A real Slurm on three hosts of one machine (tests/cluster): a controller, two nodes with a GPU."""

import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from fokker.launch.cli import parse
from fokker.launch.cli.slurm import Script, script

from ..cluster.conftest import OF_HOSTS, Hosts, three_hosts
from ..conftest import missing
from ..faults.conftest import pytest_terminal_summary  # noqa: F401

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "munged")
PACKAGES = "slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge"
OWN = Path(tempfile.gettempdir()) / "ray"
"""Folder that each host has for itself; all else they share."""
DISKS = Path(tempfile.gettempdir()) / "testbed"
"""Where these lie, under the number of each."""
CONTROLLER, NODES = 1, (2, 3)

# Elsewhere there are control groups, 30 s from SIGTERM to SIGKILL, and 120 s until a requeued job
# may start.
CONFIG = f"""
ClusterName=test
SlurmctldHost=host1
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={OWN}/munge.socket,cred_expire=10
StateSaveLocation={OWN}/slurmctld
SlurmctldPidFile={OWN}/slurmctld.pid
SlurmctldLogFile={OWN}/slurmctld.log
SlurmdSpoolDir={OWN}/slurmd
SlurmdPidFile={OWN}/slurmd.pid
SlurmdLogFile={OWN}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1
ReturnToService=2
KillWait=5
GresTypes=gpu
NodeName=host[2-3] CPUs=2 Gres=gpu:1
PartitionName=all Nodes=host[2-3] Default=YES
"""
FURTHER = {
    "cgroup.conf": "CgroupPlugin=cgroup/v1",
    "gres.conf": "NodeName=host[2-3] Name=gpu File=/dev/zero",  # Only asked whether it is there.
}


class Slurm:
    """The cluster; its jobs find `fokker` and `ray` as those who sign in on host 1 do."""

    def __init__(self, hosts: Hosts, folder: Path):
        self.hosts, self.folder = hosts, folder
        for name, text in ({"slurm.conf": CONFIG} | FURTHER).items():
            (folder / name).write_text(text)
        (folder / "munge.key").write_bytes(secrets.token_bytes(128))
        (folder / "munge.key").chmod(0o600)

    @property
    def environment(self) -> dict[str, str]:
        """Of those who sign in."""
        programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        return kept | {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": programs}

    def boot(self, number: int) -> None:
        """Start what belongs to a host."""
        daemon = "slurmctld" if number == CONTROLLER else f"slurmd -N host{number}"
        munge = " ".join(f"--{name}-file={OWN}/munged.{name}" for name in ("pid", "log", "seed"))
        commands = (
            f"mkdir -p {OWN}/slurmctld {OWN}/slurmd",
            "mount -t tmpfs tmpfs /sys/fs/cgroup",
            f"munged --force --key-file={self.folder}/munge.key --socket={OWN}/munge.socket {munge}",
            f"SLURM_CONF={self.folder}/slurm.conf {daemon}",
        )
        self.hosts.command("run", str(number), "bash", "-ec", "\n".join(commands))

    def popen(self, command: Sequence[str | Path], env: Mapping[str, str], **options) -> subprocess.Popen:
        """Begin a command on host 1."""
        return self.hosts.popen(command, env, **options)

    def client(self, *words: str | Path) -> str:
        """What a command of Slurm says, on host 1."""
        process = self.popen([*words], self.environment, stdout=subprocess.PIPE, text=True)
        said = process.communicate(timeout=60)[0]
        assert process.returncode == 0, words
        return said.strip()

    def submit(self, script: Path, folder: Path, *options: str, **environment: str) -> str:
        """Number of a new job."""
        words = ("sbatch", "--parsable", f"--chdir={folder}", *options, script)
        process = self.popen([*words], self.environment | environment, stdout=subprocess.PIPE, text=True)
        number = process.communicate(timeout=60)[0].strip()
        assert number.isdigit(), number
        return number

    def state(self, job: str) -> str:
        """RUNNING, COMPLETED and so on."""
        return self.client("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T")

    def about(self, job: str, what: str) -> str:
        """One of the values that Slurm keeps of a job."""
        (found,) = re.findall(rf"\b{what}=(\S+)", self.client("scontrol", "show", "job", job))
        return found

    def left(self, job: str, folder: Path) -> list[Path]:
        """Files of a job that should be gone when it is."""
        places = [path for number in NODES for path in (DISKS / str(number)).glob(f"fokker-{job}")]
        return [*places, *folder.glob(f".fokker-{job}*")]


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """Where it cannot be had, these tests are skipped, or fail if they are required."""
    if absent := [
        name for name in PROGRAMS if not shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    ]:
        missing("slurm", f"{', '.join(absent)}: not installed (Debian: apt-get install {PACKAGES})")
    with three_hosts("slurm", OF_HOSTS) as hosts:
        this = Slurm(hosts, tmp_path_factory.mktemp("slurm"))
        for number in (CONTROLLER, *NODES):
            this.boot(number)
        yield this


def rendered(file: Path, *words: str) -> Path:
    """The script of a job, as the command prints it."""
    arguments = parse(["slurm", "render", *words])
    assert isinstance(arguments, Script)
    file.write_text(script(arguments))
    return file
