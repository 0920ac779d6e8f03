"""Scalars for TensorBoard, which a full disk delays and does not end."""

import os
import socket
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.record_writer import RecordWriter
from tensorboardX.summary import scalar

from .history import KEPT

FLUSH_SECONDS = 5.0
"""Between the times that scalars are written: they wait for the disk to have them."""


class Scalars:
    """TensorBoard's event files of one directory.

    Written here: the thread of tensorboardX's SummaryWriter ends at an error, and then the writer blocks
    for ever.
    """

    def __init__(self, directory: Path, first: int):
        """TensorBoard forgets what earlier files of the directory say of steps from `first` on."""
        self._directory, self._first, self._files = directory, first, 0
        self._waiting: deque[Event] = deque(maxlen=KEPT)
        self._file: RecordWriter | None = None
        self._flushed = -FLUSH_SECONDS

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to every curve whose value is finite. OSError if the disk takes none; they are kept."""
        finite = {tag: value for tag, value in values.items() if np.isfinite(value)}
        for tag, value in finite.items():
            self._waiting.append(Event(wall_time=time.time(), step=step, summary=scalar(tag, value)))
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting, to a new file if the last one failed. OSError as `write`."""
        try:
            if self._file is None:
                self._file = self._opened()
            for event in self._waiting:
                self._file.write(event.SerializeToString())
            self._file.flush()
        except OSError:
            if self._waiting:  # The next file goes on with these, and the cut one counts up to here.
                self._first = self._waiting[0].step
            self._let_go()
            raise
        finally:
            self._flushed = time.monotonic()
        self._waiting.clear()

    def _opened(self) -> RecordWriter:
        """The next file, which makes TensorBoard forget what earlier ones say of its first step and later."""
        self._files += 1
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.{self._files}"
        file = RecordWriter(str(self._directory / name))
        start = SessionLog(status=SessionLog.START)
        for about in ({"file_version": "brain.Event:2"}, {"step": self._first, "session_log": start}):
            file.write(Event(wall_time=time.time(), **about).SerializeToString())
        return file

    def close(self) -> None:
        """Write what is waiting, if there is room, and let go of the file."""
        with suppress(OSError):
            if self._waiting:
                self.flush()
        self._let_go()

    def _let_go(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                file.close()
