"""What happened to the segments of a work, a line each: which are done, which failed, which chains were lost.

It only grows, and it can be made again from the files of the segments, which are the truth of what is done.
"""

import json
import os
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from ..training.history import read_lines
from .segments import Loss, Segment, Store, Summary

LEDGER, FAILURES = "ledger.jsonl", "failures.jsonl"
GIVEN_UP = "given up"
"""What happens to a segment that failed again and again, and why its chains are lost."""


class Ledger:
    """The ledger of a work, and apart from it its failures, beside the segments."""

    def __init__(self, store: Store):
        self._store = store

    def done(self, write: bool = False) -> dict[Segment, Summary]:
        """Summaries of all segments that follow one another from the start; unknown ones are read, and added.

        Raises FileError for a segment that is damaged.
        """
        known = {line["segment"]: line for line in self._lines(LEDGER) if line["event"] == "done"}
        found = {}
        for segment in self._store.segments:
            path, line = self._store.path(segment), known.get(segment.name)
            if line is not None and line["bytes"] == path.stat().st_size:
                found[segment] = Summary(**line["summary"])
            else:
                found[segment] = self._store.summary(segment)
                if write:
                    self.add(segment, found[segment], self._store.losses(segment))
        return found

    def add(self, segment: Segment, summary: Summary, losses: list[Loss]) -> None:
        """A segment is done; some chains may have been lost in it."""
        size = self._store.path(segment).stat().st_size
        for loss in losses:  # First: what the ledger does not know is told again.
            self._append(FAILURES, segment, "chain lost", **asdict(loss))
        self._append(LEDGER, segment, "done", bytes=size, summary=asdict(summary))

    def failed(self, segment: Segment, reason: str, given_up: bool) -> None:
        """An attempt at a segment failed, and it is tried again or given up."""
        event = GIVEN_UP if given_up else "failed"
        self._append(LEDGER, segment, event, reason=reason)
        if given_up:
            self._append(FAILURES, segment, event, reason=reason)

    def failures(self) -> list[dict[str, Any]]:
        """Lines of the chains that were lost and the segments that were given up, each once."""
        return [*{json.dumps(line): line for line in self._lines(FAILURES)}.values()]

    def _append(self, name: str, segment: Segment, event: str, **values: Any) -> None:
        line = json.dumps({"event": event, "segment": segment.name, **values})
        with suppress(OSError):  # On a full disk: the files say the same.
            self._store.directory.mkdir(parents=True, exist_ok=True)
            with open(self._store.directory / name, "ab+") as file:
                if file.tell() and (file.seek(-1, os.SEEK_END), file.read(1))[1] != b"\n":
                    file.write(b"\n")  # The line before was cut short.
                file.write(f"{line}\n".encode())

    def _lines(self, name: str) -> list[dict[str, Any]]:
        path = self._store.directory / name
        return read_lines(path) if path.exists() else []
