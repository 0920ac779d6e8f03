"""Whether a folder can hold a run: tried by the driver, and by a process on every host of the cluster."""

import fcntl
import mmap
import os
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ...data.files import FileError, file_error

OBJECTS = {"gcsfuse": "GCS FUSE", "s3fs": "s3fs", "mountpoint-s3": "Mountpoint for S3"}
"""Object stores in the guise of file systems: renames copy, appends write all anew, nothing is locked."""
REMEDY = "put --runs-dir on storage that every host mounts at this path (NFS, Filestore, FSx, EFS)"
SEEN_SECONDS = 10.0
"""Within which a host has to see what another wrote."""
ANSWER_SECONDS = 60.0
"""What a host is given to try all, its process started."""


@dataclass(frozen=True)
class Tried:
    """What a host found out about a folder."""

    host: str
    system: str
    """Type of the file system."""
    problem: str = ""
    locks: bool = True
    """Whether the driver's lock kept it out."""


def require(folder: Path, hosts: bool) -> list[str]:
    """FileError unless the folder is fit for a run, on the `hosts` of the cluster as well; remarks on it.

    Makes the folder, and leaves nothing in it.
    """
    require_no_objects(folder)
    token, here = secrets.token_hex(8), socket.gethostname()
    probe = folder.absolute() / f".fokker-probe-{token}"
    try:
        probe.mkdir(parents=True)
        (probe / "driver").write_text(token)
    except OSError as error:
        raise file_error(folder, error) from None
    try:
        with _lock(probe / "lock") as locked:
            found = [attempt(probe, token, here)] + (_on_hosts(probe, token) if hosts else [])
            for tried in found:
                if tried.problem:
                    raise FileError(
                        f"{folder} on host {tried.host} ({tried.system}): {tried.problem}: {REMEDY}"
                    )
    finally:
        shutil.rmtree(probe, ignore_errors=True)
    loose = [tried.host for tried in found[1:] if not (tried.locks and locked)]
    if not loose:
        return []
    return [
        f"file locks of {folder} ({found[0].system}) do not hold on {', '.join(loose)}: of two fokkers at "
        "one run the one that began last goes on, and the other stops"
    ]


def require_no_objects(folder: Path) -> None:
    """FileError if the folder lies in an object store."""
    kind, source = mounted(folder)
    for name, words in OBJECTS.items():
        if name in (source, kind.removeprefix("fuse.")):
            raise FileError(
                f"{folder} lies on {words}, where renames copy and files cannot grow: {REMEDY}; data may stay"
            )


def mounted(folder: Path, table: Path = Path("/proc/self/mountinfo")) -> tuple[str, str]:
    """Type and source of the file system that a path is on, or will be; empty where that cannot be known."""
    path, best, found = os.path.realpath(folder), -1, ("", "")
    try:
        lines = table.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return found
    for line in lines:
        before, _, after = line.partition(" - ")
        point = before.split()[4].encode().decode("unicode_escape")  # A blank is \\040.
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= best:  # Of two at one point the last covers the first.
            kind, source = after.split()[:2]
            best, found = len(point), (kind, source)
    return found


def attempt(probe: Path, token: str, host: str) -> Tried:
    """Try, in a folder that the driver has made, all that a run does with files."""
    system = mounted(probe)[0] or "unknown"
    own = probe / f"{host}-{secrets.token_hex(4)}"
    trials: list[tuple[str, Callable[[], bool]]] = [
        ("it does not see what the driver wrote there", lambda: _sees(probe / "driver", token)),
        ("no folder can be made", lambda: own.mkdir() is None),
        ("a file cannot replace another by its rename", lambda: _replaces(own)),
        ("a folder cannot be renamed", lambda: _renames(own)),
        ("a file cannot be mapped into memory", lambda: _maps(own / "mapped")),
        ("what was written cannot be read again", lambda: _writes(probe / host, token)),
    ]
    for problem, works in trials:
        try:
            good = works()
        except OSError as error:
            return Tried(host, system, f"{problem} ({(error.strerror or str(error)).lower()})")
        if not good:
            return Tried(host, system, problem)
    with _lock(probe / "lock") as free:
        return Tried(host, system, locks=not free)


def _on_hosts(probe: Path, token: str) -> list[Tried]:
    """What every host of the cluster finds, and whether the driver sees what it wrote."""
    nodes = {node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}
    asked = {}
    for node, host in nodes.items():
        options: Any = {"num_cpus": 0, "max_retries": 0}
        where = NodeAffinitySchedulingStrategy(node, soft=False)
        task = ray.remote(attempt).options(**options, scheduling_strategy=where)
        asked[host] = task.remote(probe, token, host)
    found = []
    for host, answer in asked.items():
        try:
            tried: Any = ray.get(answer, timeout=ANSWER_SECONDS)
        except GetTimeoutError:
            tried = Tried(host, "unknown", f"it did not answer within {ANSWER_SECONDS:g} s")
        except RayError as error:
            tried = Tried(host, "unknown", f"it cannot try: {str(error).splitlines()[0]}")
        if not tried.problem and not _sees(probe / host, token):
            tried = Tried(host, tried.system, "the driver does not see what it wrote there")
        found.append(tried)
    return found


def _sees(path: Path, token: str) -> bool:
    end = time.monotonic() + SEEN_SECONDS
    while time.monotonic() < end:
        try:
            if path.read_text() == token:
                return True
        except FileNotFoundError:
            pass
        time.sleep(0.2)
    return False


def _writes(path: Path, token: str) -> bool:
    path.write_text(token)
    return path.read_text() == token


def _replaces(folder: Path) -> bool:
    old, new = folder / "old", folder / "new"
    old.write_text("old")
    new.write_text("new")
    os.replace(new, old)
    return old.read_text() == "new" and not new.exists()


def _renames(folder: Path) -> bool:
    before, after = folder / "before", folder / "after"
    before.mkdir()
    (before / "file").write_text("file")
    before.rename(after)
    return (after / "file").read_text() == "file" and not before.exists()


def _maps(path: Path) -> bool:
    path.write_bytes(b"before")
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[:] = b"within"
        mapped.flush()
    return path.read_bytes() == b"within"


@contextmanager
def _lock(path: Path) -> Iterator[bool]:
    """Hold a lock, as a run does; whether it could be had."""
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
