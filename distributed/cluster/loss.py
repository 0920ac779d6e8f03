"""Whether the cluster that a command works on is still there.

Ray, which has lost the head of its cluster, tries for a minute, and then ends the process in the middle of
whatever it does. So a command that wants to say what happened has to find it before.
"""

import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

LOOK_SECONDS = 1.0
OWN_SECONDS = 5.0
"""Without an answer our own cluster is lost."""
OTHERS_PART, RAYS_SECONDS = 0.75, "RAY_gcs_rpc_server_reconnect_timeout_s"
"""Of the time that Ray tries, which is this or a minute: one that was joined, whose head may start again."""


def _others_seconds() -> float:
    return OTHERS_PART * float(os.environ.get(RAYS_SECONDS) or 60)


@dataclass(frozen=True)
class _Head:
    host: str
    port: int
    patience: float

    def answers(self) -> bool:
        """Whether something listens there."""
        try:
            socket.create_connection((self.host, self.port), min(5.0, self.patience)).close()
        except OSError:
            return False
        return True


_head: _Head | None = None


def joined(address: str, own: bool) -> None:
    """A cluster is worked on from now on, whose head is at a host:port."""
    global _head
    host, _, port = address.rpartition(":")
    _head = _Head(host.strip("[]"), int(port), OWN_SECONDS if own else _others_seconds())


def left() -> None:
    """None is."""
    global _head
    _head = None


def install(told: Callable[[str], None]) -> None:
    """Let a thread call this, with what to say, if the cluster that is worked on is lost."""
    threading.Thread(target=_watch, args=(told,), daemon=True).start()


def _watch(told: Callable[[str], None]) -> None:
    known, heard = _head, time.monotonic()
    while True:
        time.sleep(LOOK_SECONDS)
        head = _head
        if head is None or head is not known or head.answers():
            known, heard = head, time.monotonic()
        elif time.monotonic() - heard > head.patience and head is _head:
            told(
                f"the Ray cluster at {head.host}:{head.port} is lost: it has not answered for "
                f"{head.patience:g} s; what was done is kept, and the same command goes on"
            )
            return
