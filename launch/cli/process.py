"""The `fokker` command as a process of its own, which ends with the status of `main`."""

import os
import sys
import time
from typing import NoReturn

from ...distributed.cluster import loss, machine
from ...distributed.groups import interrupts
from ...distributed.groups.interrupts import INTERRUPTED
from .. import streams
from . import failure, interrupted
from . import main as carry_out

LAST_SECONDS = 3.0
"""What a command is given to end by itself when its cluster has been ended."""


def main() -> NoReturn:
    """Carry out the program's command line, and end the process."""
    streams.prepare()
    interrupts.install(_end_without_cluster)
    loss.install(_end_with_cluster)
    try:
        status = streams.finish(carry_out())
    finally:
        machine.remove_scratch()
    # Not sys.exit: threads of Ray can crash while the interpreter takes itself down, and the status is lost.
    os._exit(status)


def _end_without_cluster() -> None:
    """After a signal, end where Ray is not to be waited for: its processes got the signal as well."""
    from ...distributed.cluster import ray_compat

    while not ray_compat.lost():
        time.sleep(0.2)
    time.sleep(LAST_SECONDS)
    ray_compat.kill()
    interrupted(sys.argv[1:])
    _end(INTERRUPTED)


def _end_with_cluster(text: str) -> None:
    """Where all of Ray was lost, before it ends the process by itself."""
    from ...distributed.cluster import joining, ray_compat

    ray_compat.kill()
    _end(failure(joining.ClusterError(text)))


def _end(status: int) -> NoReturn:
    status = streams.finish(status)
    machine.remove_scratch()
    os._exit(status)
