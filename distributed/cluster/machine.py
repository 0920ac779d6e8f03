"""What this machine gives to a process: CPUs, a private folder, a place for what JAX compiled.

Containers and batch systems give less than a machine has: a share of its CPUs, a home that is not there or
takes no files, a folder for temporary files whose name is too long for sockets.
"""

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from ...data.files import FileError, require_writable

SOCKET_BYTES = 107
"""What the name of a socket may have."""
RAY = "r"
"""Ray's own folder in that of this process: it lets anybody write there, if they get so far."""
RAY_BYTES = len(f"/{RAY}/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.1")
"""What Ray adds to the name of its folder."""
SPACE = 50_000_000
"""Bytes that Ray needs there for its logs, to run at all."""
_NAME = "fokker-"

_scratch: Path | None = None


def allowed_cpus(groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> int:
    """CPUs that this process may use: those of its affinity, or as many as its control groups let it have.

    A part of a CPU is rounded to the nearest number of whole ones; there is always one.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = [share for folder in _group_folders(groups, root) if (share := _share(folder)) is not None]
    return max(1, min([count, *(int(share + 0.5) for share in shares)]))


def _group_folders(groups: Path, root: Path) -> set[Path]:
    """The folders of this process's control groups that limit CPUs, and of all above them."""
    try:
        lines = groups.read_text().splitlines()
    except OSError:
        return set()
    folders: set[Path] = set()
    for line in lines:
        _, kinds, name = line.split(":", 2)
        if kinds and "cpu" not in kinds.split(","):
            continue
        top = root if not kinds else next((p for p in (root / kinds, root / "cpu") if p.is_dir()), root)
        # In a container the name may be that of the host, which is not to be seen: then the top is its own.
        below = top / name.strip("/")
        folders |= {top, *(folder for folder in (below, *below.parents) if folder.is_relative_to(top))}
    return folders


def _share(folder: Path) -> float | None:
    """CPUs' worth of time that a control group, of version 2 or 1, may take; None where it sets no limit."""
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{part}_us").read_text() for part in ("quota", "period"))
        return float(quota) / float(period) if float(quota) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # "max" is no number.
        return None


def scratch() -> Path:
    """A folder for this process alone, whose name leaves room for those of sockets; the same at every call.

    Raises FileError if no place for temporary files takes one.
    """
    global _scratch
    if _scratch is None or not _scratch.is_dir():
        _scratch = _new_folder()
    return _scratch


def _new_folder() -> Path:
    given = [os.environ.get(name, "") for name in ("RAY_TMPDIR", "TMPDIR", "TEMP", "TMP")]
    places = [*given, "/tmp", "/var/tmp", "/dev/shm"]
    longest = SOCKET_BYTES - RAY_BYTES - len(f"/{_NAME}12345678")
    for place in dict.fromkeys(os.path.abspath(place) for place in places if place):
        if len(os.fsencode(place)) > longest or not os.path.isdir(place):
            continue
        try:
            require_writable(Path(place), SPACE)
            return Path(tempfile.mkdtemp(prefix=_NAME, dir=place))
        except (FileError, OSError):
            continue
    raise FileError(
        f"no folder for temporary files: none of {', '.join(filter(None, places))} can be written, has "
        f"{SPACE // 10**6} MB of room and a name of at most {longest} bytes (longer ones leave no room for "
        "sockets): name one in RAY_TMPDIR"
    )


def remove_scratch() -> None:
    """Remove the folder of this process, if it has one."""
    if _scratch is not None:
        shutil.rmtree(_scratch, ignore_errors=True)


def compilations() -> str | None:
    """Where JAX keeps what it compiled: beside the user's other caches, or else for as long as this process.

    None where there is no place at all; then everything is compiled anew.
    """
    given = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if given is not None:
        return given
    with suppress(FileError):
        return str(_at_home("XDG_CACHE_HOME", "~/.cache", "fokker/jax") or scratch() / "jax")
    return None


def prepare_matplotlib() -> None:
    """Give matplotlib a folder where there is no home for it: it would warn, and leave one of its own."""
    usual = {"XDG_CONFIG_HOME": "~/.config", "XDG_CACHE_HOME": "~/.cache"}
    if "MPLCONFIGDIR" in os.environ or all(_at_home(*one, "matplotlib") for one in usual.items()):
        return
    with suppress(FileError):
        os.environ["MPLCONFIGDIR"] = str(scratch() / "matplotlib")


def _at_home(variable: str, usual: str, name: str) -> Path | None:
    """A folder of the user's, which is made; None where it cannot be, or nobody knows a home."""
    home = Path(os.path.expanduser(os.environ.get(variable) or usual))
    with suppress(FileError):
        if home.is_absolute():
            require_writable(home / name)
            return home / name
    return None
