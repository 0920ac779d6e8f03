"""`fokker submit`: any command of fokker as a job of a Ray cluster, followed to its end."""

import asyncio
import logging
import os
import secrets
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import tyro
from pydantic.dataclasses import dataclass

import fokker

from ...data.files import NAME_BYTES
from ...distributed.groups.interrupts import INTERRUPTED
from ...model.config import STRICT
from . import parsing, run
from .command import Command
from .values import UsageError, is_option, typed

if TYPE_CHECKING:
    from ray.job_submission import JobDetails, JobSubmissionClient

    from ...distributed.runs.display import Display

ADDRESS = "http://127.0.0.1:8265"
STOP_SECONDS = 150
"""What Ray gives the job to save, once it is told to stop; 3 s unless it is told."""
ENDED = {"SUCCEEDED": 0, "STOPPED": INTERRUPTED}
LOST_SECONDS = 60.0
"""How long a cluster that does not answer is asked again, while a job is followed."""


@dataclass(frozen=True, config=STRICT)
class SubmitArguments:
    """fokker submit [options] -- COMMAND ... --runs-dir DIR sends the package to a Ray cluster.

    It carries out the command there as a job, prints what that prints, and ends with its status. DIR must be
    storage that every host sees. ray job stop lets the run save; the same command again goes on. The hosts
    need fokker's dependencies, and Ray of the same version.
    """

    address: str | None = None
    """Dashboard of the cluster (none: $RAY_API_SERVER_ADDRESS, or this machine's)."""
    wait: bool = True
    """Follow the job to its end."""
    words: tyro.conf.Suppress[tuple[str, ...]] = ()
    """The command line, without the program's name."""
    name: tyro.conf.Suppress[str] = ""
    """Of the run, if it has one, else of the command."""


def read(kind: type[SubmitArguments], command: str, argv: Sequence[str], about: str) -> SubmitArguments:
    """What is carried out where. Raises UsageError.

    The settings of the command are checked where it runs: its files are there, not here.
    """
    from . import split  # This command is one of those that it knows.

    place = argv.index("--") if "--" in argv else len(argv)
    words = tuple(argv[place + 1 :])
    own = argv[:place]
    if not words and not {"-h", "--help"} & {*own}:
        raise UsageError("put what is to run behind --: fokker submit -- run mueller-brown --runs-dir DIR")
    asked = parsing.read(kind, command, own, about=about)
    submitted, settings = split(words)
    if submitted == command:
        raise UsageError("a job cannot submit another one")
    _require_shared(submitted, settings)
    named = next((word for word in settings[:1] if not is_option(word)), submitted)
    return replace(asked, words=words, name=(typed(settings, "--name") or named)[:NAME_BYTES])


def _require_shared(command: str, settings: Sequence[str]) -> None:
    """UsageError unless the command names its folders in full: a job begins in a folder of its own."""
    if command in (*run.ABOUT, "clean", "reproduce") and typed(settings, "--runs-dir") is None:
        raise UsageError("add --runs-dir, a folder that every host of the cluster sees, behind the --")
    for name in ("--runs-dir", "--data", "--data.path"):
        if not (typed(settings, name) or "/").startswith(("/", "~")):
            place = typed(settings, name)
            raise UsageError(f"{name}: name it in full, as the hosts see it, not {place!r}")


def carry_out(arguments: SubmitArguments, display: "Display") -> int:
    """Submit the job and, unless told not to, follow it to its end: the status of its own process.

    Raises ClusterError if no cluster takes it.
    """
    # Which takes seconds to import.
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    from ...distributed.cluster.joining import ClusterError

    for module in ("dashboard_sdk", "job.sdk"):  # The logger of Ray's own above them is set up anew by them.
        logging.getLogger(f"ray.dashboard.modules.{module}").setLevel(logging.ERROR)
    try:
        client = JobSubmissionClient(arguments.address)
        job = client.submit_job(
            entrypoint=shlex.join(["python", "-P", "-m", "fokker", *arguments.words]),
            submission_id=f"fokker-{secrets.token_hex(4)}",
            metadata={"run": arguments.name},
            runtime_env={
                # The folder of the package, and not the checkout: `data` and `distributed` are names of other
                # people's packages as well. Of a wheel every node would install all dependencies.
                "py_modules": [str(Path(fokker.__file__).parent)],
                "excludes": ["**/__pycache__"],
                "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)},
            },
        )
    except (AuthenticationError, ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = arguments.address or os.environ.get("RAY_API_SERVER_ADDRESS") or ADDRESS
        reason = " ".join(str(error).split())[:300]
        raise ClusterError(
            f"no Ray cluster at {where} takes the job: {reason}: name its dashboard with --address, such as "
            f"{ADDRESS}"
        ) from None
    address = client.get_address()
    display.stage("job", f"{job} at {address}: {shlex.join(arguments.words)}")
    display.stage("", f"stop it, saved:  ray job stop {job} --address {address}")
    display.stage("", f"follow it again: ray job logs {job} --follow --address {address}")
    try:
        return _follow(client, job) if arguments.wait else 0
    except KeyboardInterrupt:
        print(f"\nNobody follows job {job} any more; it goes on.")
        return INTERRUPTED


def _follow(client: "JobSubmissionClient", job: str) -> int:
    """Print what the job prints until it ends; the status of its process."""
    printed, heard = 0, time.monotonic()
    while True:
        try:
            printed = asyncio.run(_print_logs(client, job, printed))
            found = client.get_job_info(job)
            heard = time.monotonic()
        except (ConnectionError, RuntimeError, OSError) as error:
            if time.monotonic() - heard > LOST_SECONDS:
                from ...distributed.cluster.joining import ClusterError

                raise ClusterError(f"job {job}: its cluster does not answer any more ({error})") from None
            time.sleep(2.0)
            continue
        if found.status.is_terminal():
            return _status(found)
        time.sleep(0.5)


async def _print_logs(client: "JobSubmissionClient", job: str, printed: int) -> int:
    """Print what comes after so many characters; how many there are then."""
    seen = 0
    async for part in client.tail_job_logs(job):
        seen += len(part)
        if seen > printed:
            sys.stdout.write(part[-(seen - printed) :])
            sys.stdout.flush()
            printed = seen
    return printed


def _status(found: "JobDetails") -> int:
    """Of the process, where Ray knows it: its own command ends with 1 for every failure."""
    if found.driver_exit_code is not None:
        return found.driver_exit_code
    if found.status in ENDED:
        return ENDED[found.status]
    print(f"fokker: error: job {found.submission_id}: {found.status}: {found.message}", file=sys.stderr)
    return 1


COMMANDS = {
    "submit": Command("carry out any of these as a job of a Ray cluster", SubmitArguments, carry_out, read)
}
