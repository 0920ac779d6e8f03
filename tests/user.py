"""A user at a terminal, who starts the command in a process of its own and stops it in the middle."""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

FOKKER = str(Path(sys.executable).with_name("fokker"))
SECONDS = 900.0
"""What no command here takes, however busy the machine is."""
PATIENCE = 30.0
"""Seconds for processes to end after the driver."""
ACTORS = ("ray::ExpertWork", "ray::PoolWorker")
AGENTS = ("ray::DashboardA", "ray::RuntimeEnv")
"""After a driver that was killed these wait a minute for the head of its cluster, idle, before they end."""

# The first expert trains in 150 blocks and saves 30 times, the simulation has 40 segments: time to stop them.
SMALL = [
    *("--data.frames", "2000", "--data.chains", "100", "--data.burn-in", "1000", "--train.block", "10"),
    *("--train.checkpoint-every", "50", "--experts.0.epochs", "100", "--experts.0.hidden", "8", "8"),
    *("--experts.1.epochs", "1", "--experts.1.hidden", "8", "--experts.2.epochs", "1"),
    *("--experts.2.hidden", "8", "--sample.samples", "400", "--sample.chunk", "200"),
    *("--sample.evaluations", "10", "--simulate.frames", "400", "--simulate.chains", "40"),
    *("--simulate.chunk", "2", "--simulate.stride", "10", "--simulate.burn-in", "10000"),
]

# Keeps a cluster, like any that fokker starts for itself, until its input ends.
CLUSTER = """
import sys
import ray
from fokker.distributed.cluster import joining
from fokker.distributed.config import ClusterConfig
joining.connect(ClusterConfig())
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
joining.leave()
"""

Result = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class User:
    """Works in one folder; `runs` and all else that a command leaves is there."""

    home: Path
    environment: dict[str, str]
    cluster: int | None = None
    """Session of the processes of the cluster that all commands join; otherwise each starts its own."""

    def start(self, words: Sequence[str]) -> subprocess.Popen[str]:
        """Start the installed command as the leader of a session, as the shell of a terminal would."""
        return _start([FOKKER, *words], self.home, self.environment)

    def run(self, *words: str) -> Result:
        """Carry out a command."""
        return _end(self.start(words))

    def stop(
        self, words: Sequence[str], number: signal.Signals, when: Callable[[], bool], group: bool = False
    ) -> Result:
        """Send a signal, to the driver or to its group, as soon as `when` holds; no process may be left."""
        process = self.start(words)
        until = time.monotonic() + SECONDS
        while not when():
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until, f"waited {SECONDS} s for the moment to stop {words}"
            time.sleep(0.01)
        (os.killpg if group else os.kill)(process.pid, number)
        result = _end(process)
        agents = AGENTS if number == signal.SIGKILL else ()
        assert left_of(process.pid, lambda name: name not in agents) == []
        if self.cluster is not None:
            assert left_of(self.cluster, lambda name: name in ACTORS) == []
        return result


def _start(command: Sequence[str], home: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    # Where the tests run in the background SIGINT is ignored, and a new process would inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            command,
            cwd=home,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)


def _end(process: subprocess.Popen[str]) -> Result:
    try:
        out, err = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def left_of(session: int, counts: Callable[[str], bool]) -> list[str]:
    """Names of the processes of a session that count and still run after a while."""
    until = time.monotonic() + PATIENCE
    while (left := [*filter(counts, _names(session))]) and time.monotonic() < until:
        time.sleep(0.1)
    return left


def _names(session: int) -> list[str]:
    """Ray leaves all its processes in the session of the driver that started the cluster."""
    if not Path("/proc").is_dir():
        pytest.skip("what is left behind is read from /proc, which is not here")
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            identity, _, rest = (path / "stat").read_text().rpartition(") ")
        except OSError:
            continue  # It ended meanwhile.
        state, _, _, its_session, *_ = rest.split()
        if int(its_session) == session and state != "Z":
            found.append(identity.partition("(")[2])
    return found


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A user's, 80 columns wide, with one compilation cache for all commands."""
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compilations")),
        "COLUMNS": "80",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),  # Otherwise Ray writes one to the home directory.
        "RAY_prestart_worker_first_driver": "0",  # Saves the start of workers that no command uses.
    }
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE"):
        environment.pop(name, None)
    return environment


@pytest.fixture(scope="session")
def user(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> User:
    """One whose commands each start a cluster on this machine."""
    return User(tmp_path_factory.mktemp("user"), environment)


@pytest.fixture(scope="session")
def guest(user: User, tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    """The same at a running cluster, whose processes have a folder of their own; saves the start of one."""
    process = _start([sys.executable, "-c", CLUSTER], tmp_path_factory.mktemp("cluster"), user.environment)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert address, process.communicate()
    joining = {"RAY_ADDRESS": address, "RAY_AUTH_MODE": "token"}
    yield replace(user, environment=user.environment | joining, cluster=process.pid)
    _end(process)


@pytest.fixture(scope="session")
def whole(user: User) -> tuple[Path, Result]:
    """A run that nothing disturbed: its directory, and what it printed."""
    result = user.run("run", "mueller-brown", "--name", "whole", *SMALL)
    assert result.returncode == 0, result.stderr
    return user.home / "runs" / "whole", result
