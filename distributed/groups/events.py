"""What happens to the groups of a run, as lines that programs can read."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from ..training.history import append_line, read_lines

EVENTS = "events.jsonl"

Loud = Literal["started", "resumed", "saved", "lost", "stuck", "preempted", "resized", "rewound", "warning"]
Kind = Loud | Literal["stopped", "finished", "failed"]
LOUD = get_args(Loud)
"""Those that a person is told of at once, if they have a text; of the others progress and results speak."""


@dataclass(frozen=True)
class Event:
    """Something that happened to the group of one expert."""

    kind: Kind
    expert: str
    text: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    time: float = field(default_factory=time.time)

    def append(self, directory: Path) -> None:
        """Add it to the run's file. A disk that takes none has nothing to say against the run."""
        moment = datetime.fromtimestamp(self.time, UTC).isoformat(timespec="milliseconds")
        entry = {"time": moment, "event": self.kind, "expert": self.expert, **self.values}
        if self.text:
            entry["text"] = self.text
        with suppress(OSError):
            append_line(directory / EVENTS, entry)


def read(directory: Path) -> list[dict[str, Any]]:
    """The events of a run; lines that were cut short are left out."""
    path = directory / EVENTS
    return read_lines(path) if path.exists() else []
