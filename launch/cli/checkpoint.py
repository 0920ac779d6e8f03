"""`fokker checkpoint`: what a run could go on from."""

import json
import logging
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import tyro
from pydantic.dataclasses import dataclass

from ...model.config import STRICT
from .clean import bytes_of
from .command import Command
from .values import RunFolder

if TYPE_CHECKING:
    from ...distributed.runs.display import Display

HEADER = ("expert", "step", "saved (UTC)", "hosts", "size", "state")


@dataclass(frozen=True, config=STRICT)
class CheckpointArguments:
    """Step, time, the group that wrote it, size and state of every expert's checkpoints."""

    run: tyro.conf.Positional[RunFolder]
    """Folder of the run, such as runs/NAME."""


def carry_out(command: str, arguments: CheckpointArguments, display: "Display") -> None:
    """List the checkpoints of every expert, or read them all. StageError if one cannot be restored."""
    # Which take seconds to import.
    from ...distributed.runs.display import size
    from ...distributed.runs.run import StageError

    experts = sorted(arguments.run.glob("experts/*/checkpoints"))
    if not any(path for directory in experts for path in directory.iterdir()):
        raise StageError(f"{arguments.run} has no checkpoints: its training has saved none yet")
    rows, broken = [], []
    for directory in experts:
        for path in sorted(directory.iterdir(), key=_step):
            state = _state(path)
            if command == "verify" and state == "whole":
                state = _read(path)
            if command == "verify" and path.name.isdigit() and state != "can be restored":
                broken.append(path)
            saved = datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%d %H:%M")
            about = saved, _origin(path), size(bytes_of(path)), state
            rows.append((directory.parent.name, _step(path), *about))
    display.table(HEADER, rows)
    if broken:
        names = ", ".join(map(str, broken))
        raise StageError(f"{len(broken)} of {len(rows)} cannot be restored, training will skip them: {names}")


def _step(path: Path) -> int:
    """Step of a checkpoint, also of an unfinished or damaged one."""
    digits = path.name.removeprefix("damaged-").partition(".")[0]
    return int(digits) if digits.isdigit() else -1


def _state(path: Path) -> str:
    """What the name and the marks of a checkpoint say of it."""
    if path.name.startswith("damaged-"):
        return "damaged, put aside"
    if not path.name.isdigit():
        return "unfinished"
    return "whole" if (path / "_CHECKPOINT_METADATA").exists() else "files are missing"


def _read(path: Path) -> str:
    """Whether a checkpoint can be restored, by reading it."""
    from .. import backend

    backend.on_cpu()
    logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax warns that what is only read is not written.
    from ...distributed.training.checkpoints import verify

    problem = verify(path)
    return f"cannot be restored: {problem}" if problem else "can be restored"


def _origin(path: Path) -> str:
    """Hosts of the group that wrote it, and devices of each."""
    try:
        meta = json.loads((path / "meta" / "metadata").read_text())
        return f"{meta['hosts']} x {meta['devices'] // meta['hosts']}"
    except (OSError, ValueError, KeyError):
        return "unknown"


COMMANDS = {
    f"checkpoint {name}": Command(about, CheckpointArguments, partial(carry_out, name))
    for name, about in {
        "list": "list what a run could go on from",
        "verify": "read it as well; status 1 if one cannot be restored",
    }.items()
}
