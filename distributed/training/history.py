"""The losses of a training, a line for each block, which a full disk delays and does not end."""

import json
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

HISTORY = "history.jsonl"
KEPT = 10_000
"""Entries that are kept for a disk that has no room; of more, the first are lost."""


class History:
    """A file of one line for each block. A line that was cut short is ended, and written again."""

    def __init__(self, path: Path):
        self._waiting: deque[str] = deque(maxlen=KEPT)
        self._file = open(path, "ab", buffering=0)  # noqa: SIM115
        self._cut = self._file.tell() > 0 and path.read_bytes()[-1:] != b"\n"

    def write(self, entry: Mapping[str, float | int]) -> None:
        """Append a line. OSError if the disk has no room; the line is kept."""
        self._waiting.append(json.dumps(entry) + "\n")
        while self._waiting:
            line = ("\n" if self._cut else "") + self._waiting[0]
            self._cut = True
            if self._file.write(line.encode()) < len(line):
                raise OSError("the line was written in part")
            self._cut = False
            self._waiting.popleft()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def read_history(path: Path) -> dict[str, list[float]]:
    """Losses over steps; of a step taken again after a restart, the last counts."""
    lines = {entry["step"]: entry for entry in read_lines(path)}
    ordered = [lines[step] for step in sorted(lines)]
    return {name: [float(entry[name]) for entry in ordered] for name in ordered[0]} if ordered else {}


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The values of a file of one a line, without those that were cut short."""
    found = []
    for line in path.read_text().splitlines():
        with suppress(ValueError):
            found.append(json.loads(line))
    return found
