"""Whether the cluster that a command works on is still there.

Ray, which has lost the head of its cluster, tries for a minute, and then ends the process in the middle of
whatever it does. So a command that wants to say what happened has to find it before.
"""

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

LOOK_SECONDS = 1.0
OWN_SECONDS, OTHERS_SECONDS = 5.0, 45.0
"""Without an answer a cluster is lost: our own, and one that was joined, whose head may start again."""


@dataclass(frozen=True)
class _Head:
    host: str
    port: int
    patience: float

    def answers(self) -> bool:
        """Whether something listens there."""
        try:
            socket.create_connection((self.host, self.port), self.patience / 4).close()
        except OSError:
            return False
        return True


_head: _Head | None = None


def joined(address: str, own: bool) -> None:
    """A cluster is worked on from now on, whose head is at a host:port."""
    global _head
    host, _, port = address.rpartition(":")
    _head = _Head(host.strip("[]"), int(port), OWN_SECONDS if own else OTHERS_SECONDS)


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
