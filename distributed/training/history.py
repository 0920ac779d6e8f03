"""The losses of a training, a line for each block, which a full disk delays and does not end."""

import json
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from errno import ENOSPC
from os import SEEK_END
from pathlib import Path
from typing import Any

HISTORY = "history.jsonl"
KEPT = 10_000
"""Entries that are kept for a disk that has no room; of more, the first are lost."""


class History:
    """A file of one line for each block."""

    def __init__(self, path: Path):
        self._path, self._waiting = path, deque[Mapping[str, float | int]](maxlen=KEPT)

    def write(self, entry: Mapping[str, float | int]) -> None:
        """Append a line. OSError if the disk has no room; the line is kept."""
        self._waiting.append(entry)
        while self._waiting:
            append_line(self._path, self._waiting[0])
            self._waiting.popleft()


def append_line(path: Path, entry: Mapping[str, Any]) -> None:
    """Append values as a line, after the end of one that was cut short, which it would be lost with.

    OSError if the disk has no room for all of it. One process alone may write to the file.
    """
    line = json.dumps(entry).encode() + b"\n"
    with open(path, "a+b", buffering=0) as file:
        if file.seek(0, SEEK_END):
            file.seek(-1, SEEK_END)
            if file.read(1) != b"\n":
                line = b"\n" + line
        if (file.write(line) or 0) < len(line):
            raise OSError(ENOSPC, "the line was written in part")


def read_history(path: Path) -> dict[str, list[float]]:
    """Losses over steps; of a step taken again after a restart, the last counts."""
    lines = {entry["step"]: entry for entry in read_lines(path)}
    ordered = [lines[step] for step in sorted(lines)]
    return {name: [float(entry[name]) for entry in ordered] for name in ordered[0]} if ordered else {}


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The values of a file of one entry a line, without lines that were cut short or are none of ours."""
    found = []
    for line in path.read_text(errors="replace").splitlines():
        with suppress(ValueError):
            found.append(json.loads(line))
    return [entry for entry in found if isinstance(entry, dict)]
