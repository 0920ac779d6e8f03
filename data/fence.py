"""One attempt at a time at a folder, also where there are no file locks: who began last owns it.

Attempts overlap on clusters: one is started while another, thought lost, still runs. Each writes an id of its
own when it begins, and looks for it before it writes anything else; who finds another one stops.
"""

import os
import secrets
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from . import files
from .errors import FokkerError

FILE = "attempt.json"
BEAT_SECONDS = 10.0
"""Between two heartbeats, which are the times of the file."""


class FencedError(FokkerError):
    """Another attempt has begun on the folder since; the message names it."""


@dataclass(frozen=True)
class Fence:
    """The attempt of this process, or of the driver that this process works for."""

    folder: Path
    attempt: str

    def require(self) -> None:
        """FencedError unless this attempt is still the last that has begun."""
        try:
            found = files.read_json(self.folder / FILE)
        except FileNotFoundError:
            raise FencedError(
                f"{self.folder}: {FILE} is gone, this attempt stops: somebody removed it"
            ) from None
        found = found if isinstance(found, dict) else {}
        if found.get("attempt") != self.attempt:
            raise FencedError(
                f"{self.folder}: another fokker has begun on it ({_described(found)}), this one stops; what "
                "was done is kept"
            )


_held: dict[Path, Fence] = {}
_beaten = 0.0


def take(folder: Path) -> Fence:
    """Begin an attempt: all that writes in the folder before stops. Raises FileError."""
    fence = Fence(folder.absolute(), secrets.token_hex(8))
    about = {"attempt": fence.attempt, "host": socket.gethostname(), "process": os.getpid()}
    files.write_json(fence.folder / FILE, about | {"started": time.time()})
    hold([fence])
    return fence


def hold(fences: Iterable[Fence]) -> None:
    """Let this process write in these folders only as long as their attempts are the last."""
    _held.update((fence.folder, fence) for fence in fences)
    if require not in files.guards:
        files.guards.append(require)


def held() -> list[Fence]:
    """What processes that work for this one have to `hold`."""
    return list(_held.values())


def let_go(fence: Fence) -> None:
    """The attempt has ended."""
    _held.pop(fence.folder, None)


def require(path: Path) -> None:
    """FencedError if a file or folder belongs to an attempt that is not the last."""
    for folder in (path.absolute(), *path.absolute().parents):
        if folder in _held:
            _held[folder].require()


def beat() -> None:
    """FencedError if another attempt has begun; else show, from time to time, that this one is alive."""
    global _beaten
    if time.monotonic() - _beaten < BEAT_SECONDS:
        return
    for fence in held():
        fence.require()
        os.utime(fence.folder / FILE)
    _beaten = time.monotonic()


def last(folder: Path) -> str:
    """Who began last on a folder, in words, if it was heard of within two heartbeats; nothing otherwise."""
    try:
        age = time.time() - (folder / FILE).stat().st_mtime
        found = files.read_json(folder / FILE)
    except (OSError, files.FileError):
        return ""
    if not isinstance(found, dict) or age >= 2 * BEAT_SECONDS:
        return ""
    return f"{_described(found)}, heard {max(age, 0):.0f} s ago"


def _described(found: dict) -> str:
    return f"process {found.get('process')} of host {found.get('host')}"
