"""Several hosts on one machine: network namespaces, each with a Ray node of its own."""

import os
import secrets
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from ..conftest import missing
from ..faults.conftest import ROWS, pytest_terminal_summary  # noqa: F401

SCRIPT = Path(__file__).with_name("hosts.sh")
HEAD = "10.77.0.1"
DASHBOARD = f"http://{HEAD}:8265"
BIN = Path(sys.executable).parent
OF_HOSTS = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    # A lost host is noticed within some seconds; by default it takes half a minute.
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
}
OF_CLUSTER = OF_HOSTS | {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    # As in an image: a job is a command line of its own.
    "PATH": f"{BIN}:{os.environ['PATH']}",
    # As KubeRay's pods are told to, that a host which is taken away waits for what is on it.
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "100",
}


def start(number: int) -> list[str]:
    """The command that makes a host a node of the cluster; number 1 is its head."""
    where = (
        ["--head", "--port=6379", "--num-cpus=0", f"--dashboard-host={HEAD}"]
        if number == 1
        else [f"--address={HEAD}:6379", "--num-cpus=1", "--labels=pool=workers"]
    )
    own = [f"--node-ip-address=10.77.0.{number}", "--object-store-memory=100000000"]
    return [str(BIN / "ray"), "start", *where, *own, "--disable-usage-stats"]


@dataclass(frozen=True)
class Hosts:
    """The test hosts; number 1 is the head, which trains nothing."""

    environment: Mapping[str, str]
    """Of all that is begun on them."""

    def command(self, *arguments: str) -> None:
        """Of hosts.sh, to its end."""
        subprocess.run([SCRIPT, *arguments], env={**os.environ, **self.environment}, check=True, timeout=120)

    def popen(self, command: Sequence[str | Path], env: Mapping[str, str], **options) -> subprocess.Popen:
        """Begin a command on the head."""
        return subprocess.Popen([SCRIPT, "run", "1", *command], env={**env, **self.environment}, **options)

    def join(self, number: int) -> None:
        """Start the Ray node of a host."""
        self.command("run", str(number), *start(number))

    def blocking(self, number: int) -> subprocess.Popen:
        """The Ray node of a host as the container of a pod runs it: SIGTERM to its shell takes it away."""
        words = f"ulimit -n 65536; {shlex.join(start(number))} --block"
        return subprocess.Popen(
            [SCRIPT, "run", str(number), "/bin/bash", "-c", words],
            env={**os.environ, **self.environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@contextmanager
def three_hosts(tests: str, environment: Mapping[str, str]) -> Iterator[Hosts]:
    """Hosts without anything on them; where the machine allows no namespaces, these tests are left out."""
    if os.geteuid() or not shutil.which("ip"):
        missing(tests, "test hosts need root and the command ip (Debian: iproute2)")
    these = Hosts(environment)
    try:
        these.command("up", "3")
    except subprocess.CalledProcessError as error:
        these.command("down")
        missing(tests, f"network namespaces cannot be made here: {error}")
    try:
        yield these
    finally:
        these.command("down")


@pytest.fixture(scope="session")
def hosts() -> Iterator[Hosts]:
    """A head and two hosts with a CPU each."""
    with three_hosts("cluster", OF_CLUSTER) as these:
        begin = time.monotonic()
        for number in (1, 2, 3):
            these.join(number)
        ROWS.append(("a cluster of three hosts, up", "ray start", "", f"{time.monotonic() - begin:.1f} s"))
        yield these
