"""Files that appear whole or not at all, and the hashes by which results name what they were made from.

Everything that is written goes through `replacing`: to a name of its own beside the target, to the disk, then
renamed. So a reader, a crash or a full disk never meets half a file, and two writers never meet in one.
"""

import errno
import hashlib
import json
import math
import os
import secrets
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from .errors import FokkerError

_FULL = (errno.ENOSPC, errno.EDQUOT)
NAME_BYTES = 255

REFUSALS = (
    *_FULL,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.EFBIG,
    errno.EIO,
    errno.ESTALE,
)
"""What a place, and no mistake of ours, answers to somebody who wants to write there."""

Migrations = Sequence[Callable[[Any], Any]]
"""From each format of a file to the next, the first from 1 to 2."""

guards: list[Callable[[Path], None]] = []
"""Asked before a file is replaced; what must not be written now is an error of theirs (data/fence.py)."""


class FileError(FokkerError):
    """A place that cannot be written, or a file that is damaged: one line with the reason and the remedy."""

    full = False
    """Whether the place would take it if there were more room."""


def file_error(path: Path, error: OSError) -> FileError:
    """What the operating system said of a file that was to be written, in words."""
    reason = (error.strerror or str(error)).lower()
    remedy = "choose another place"
    full = error.errno in _FULL or (error.errno is None and _is_full(path.parent))
    if full:
        reason = os.strerror(error.errno or errno.ENOSPC).lower()
        remedy = "nothing is half-written; free some space, or choose another place, and go on"
    elif error.errno == errno.ENAMETOOLONG:
        reason, remedy = "its name is too long", f"choose one of at most {NAME_BYTES} bytes"
    found = FileError(f"{path} cannot be written: {reason}: {remedy}")
    found.full = full
    return found


def _is_full(folder: Path) -> bool:
    """Whether a disk has no room, which libraries that write by themselves tell in words of their own."""
    try:
        return shutil.disk_usage(folder).free < 2**16
    except OSError:
        return False


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name of the same ending to write to; on leaving, what is there becomes `path`.

    The folder is made if it is missing. Where writing fails, what was at `path` before is still there, and
    nothing else. Raises FileError for whatever the operating system refuses.
    """
    partial = path.with_name(f"{_mark(path)}{secrets.token_hex(4)}{path.suffix[:16]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if len(os.fsencode(path.name)) > NAME_BYTES:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        yield partial
        _to_disk(partial)
        for guard in guards:
            guard(path)
        os.replace(partial, path)
        _to_disk(path.parent)
    except OSError as error:
        raise file_error(path, error) from None
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _mark(path: Path) -> str:
    """What the temporary names for a file begin with; short, as names have at most 255 bytes."""
    return f".partial-{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]}-"


def remove_partials(path: Path) -> None:
    """Remove what writers of this file that were killed left behind; only where no other is at work."""
    for left in path.parent.glob(f"{_mark(path)}*"):
        left.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    """So that a file is there after the power has failed, too."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:
        return  # A folder in which one may make files, but not look.
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno in _FULL:
            raise  # File systems of networks tell only now; some cannot sync folders at all.
    finally:
        os.close(handle)


def write(path: Path, content: bytes | str) -> None:
    """Write a file, text as UTF-8, whole or not at all. Raises FileError."""
    # Names of files that are no text in the user's encoding come as surrogates, and go as they were.
    encoded = content.encode(errors="surrogateescape") if isinstance(content, str) else content
    with replacing(path) as partial:
        partial.write_bytes(encoded)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file; numbers that are not finite, which JSON lacks, become null. Raises FileError."""
    write(path, json.dumps(_finite(value), indent=2, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path) -> Any:
    """The value in a JSON file. FileNotFoundError if it is missing, FileError if it is empty or damaged."""
    with reading(path) as file:
        return json.load(file)


def migrated(values: Any, found: int, migrations: Migrations) -> Any:
    """What was written in an earlier format, in the last one; formats count from 1."""
    for migrate in migrations[found - 1 :]:
        values = migrate(values)
    return values


@contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """The open file; what libraries raise of one that is empty, cut short or of another kind is FileError."""
    try:
        with open(path, "rb") as file:
            yield file
    except FileNotFoundError:
        raise
    except OSError as error:
        raise FileError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        reason = str(error).partition("\n")[0] if path.stat().st_size else "it is empty"
        raise FileError(
            f"{path} is damaged ({reason}): remove it, and the command that made it makes it again"
        ) from None


def require_writable(folder: Path, space: int = 0) -> None:
    """FileError unless files can be made in a folder, and so many bytes are free; makes the folder.

    By trying: the rights of a file do not tell of a read-only file system, nor do they bind root.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".fokker-probe-{secrets.token_hex(4)}"
        probe.write_bytes(b"fokker")
        probe.unlink()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise file_error(folder, error) from None
    if free < space:
        raise FileError(
            f"{folder}: {free / 1e9:.3g} GB are free, and about {space / 1e9:.3g} GB are needed: free some "
            "space, or choose another place"
        )


def require_file(path: Path, space: int = 0) -> None:
    """FileError unless a file of this name can be made, and so many bytes are free; makes its folder."""
    if len(os.fsencode(path.name)) > NAME_BYTES:
        raise file_error(path, OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG)))
    if path.is_dir():
        raise file_error(path, OSError(errno.EISDIR, os.strerror(errno.EISDIR)))
    require_writable(path.parent, space)


def sha256(path: Path) -> str:
    """Hash of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of(value: Any) -> str:
    """Hash of plain JSON values; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
