"""What a training leaves to read: progress for the driver, scalars for TensorBoard, a history of losses.

None of it may end a training: what a full disk refuses is kept, and written when there is room.
"""

import json
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]
from tensorboardX.record_writer import RecordWriter
from tensorboardX.summary import scalar

from .train_step import StepMetrics

HISTORY = "history.jsonl"
KEPT = 10_000
"""Blocks that are kept for a disk that has no room; of more, the first are lost."""


@dataclass(frozen=True)
class Progress:
    """Where one process of an expert's group stands."""

    step: int = 0
    steps: int = 0
    denoising: float = float("nan")
    consistency: float = float("nan")
    gradient_norm: float = float("nan")
    samples_per_second: float = 0.0
    step_seconds: float = float("nan")
    utilisation: float = float("nan")
    """FLOPs of the model over the devices' peak; not a number where that is unknown."""
    seconds_left: float = float("nan")
    input_wait: float = 0.0
    seconds: float = 0.0
    phase: str = "starting"
    """What it is at: starting, waiting for data, training, saving, ending."""
    blocks: int = 0
    """Blocks that this process has handed to its devices."""
    resumed: int = 0
    """Step of the checkpoint that it began with."""
    saved: int = 0
    """Step of the newest checkpoint that is on disk."""
    warning: str = ""
    """What last went wrong and did not end the training."""

    @property
    def compiled(self) -> bool:
        """Whether steps have been taken since the process began."""
        return self.samples_per_second > 0

    def moved(self, before: "Progress") -> bool:
        """Whether the process got anywhere since."""
        return (self.phase, self.step, self.blocks) != (before.phase, before.step, before.blocks)

    @property
    def finished(self) -> bool:
        """Whether every step was taken."""
        return self.steps > 0 and self.step >= self.steps


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
    lines = {}
    for text in path.read_text().splitlines():
        try:
            entry = json.loads(text)
        except ValueError:
            continue  # Cut short; the step was taken again, or the line written again.
        lines[entry["step"]] = entry
    ordered = [lines[step] for step in sorted(lines)]
    return {name: [float(entry[name]) for entry in ordered] for name in ordered[0]} if ordered else {}


class Recorder:
    """Turns the metrics of a process into progress and, if it `writes`, into scalars and history."""

    def __init__(
        self,
        directory: Path,
        steps: int,
        first: int,
        batch: int,
        report: Callable[[Progress], None],
        writes: bool,
        utilisation: float = float("nan"),
    ):
        """`utilisation` is that of one step a second."""
        self._batch, self._first, self._report, self._writes = batch, first, report, writes
        self._utilisation = utilisation
        self._scalars, self._losses = Scalars(directory, first + 1), []
        self._beginning = self._start = time.perf_counter()
        self._waited, self._before = 0.0, 0.0
        if writes:
            directory.mkdir(parents=True, exist_ok=True)
            path = directory / HISTORY
            self._before = _seconds_before(path) if first else 0.0
            self._history = History(path)
        self.progress = Progress(step=first, steps=steps, seconds=self._before, resumed=first, saved=first)
        self._report(self.progress)

    def close(self) -> None:
        """Let go of the files."""
        self._scalars.close()
        if self._writes:
            self._history.close()

    def note(self, **changes) -> None:
        """Change the progress."""
        self.progress = replace(self.progress, **changes)
        self._report(self.progress)

    def _at(self, phase: str, **changes) -> None:
        """Say what it is at; until the first steps are taken, with their compilation, it is starting."""
        self.note(phase=phase if self.progress.compiled else "starting", **changes)

    @contextmanager
    def waiting(self):
        """Count the time inside as waiting for data."""
        begin = time.perf_counter()
        self._at("waiting for data")
        yield
        self._waited += time.perf_counter() - begin
        self._at("training", blocks=self.progress.blocks + 1)

    @contextmanager
    def saving(self):
        """Within, the progress says so; the start of the next block is not before its end."""
        self._at("saving")
        with suppress(OSError):  # What a checkpoint goes on from is not taken, and not written, again.
            if self._writes:
                self._scalars.flush()
        yield
        self._at("training")

    def mean_loss(self) -> float:
        """Mean loss since the last call (infinite if no step was taken)."""
        mean = float(np.mean(self._losses)) if self._losses else float("inf")
        self._losses.clear()
        return mean

    def record(self, begin: int, metrics: StepMetrics, weight: float, scalars: Mapping[str, float]) -> None:
        """Take up the metrics of the block that began at this step, and further scalars of it."""
        count = len(metrics.denoising)
        now = time.perf_counter()
        elapsed = now - self._start
        means = {name: float(values.mean()) for name, values in metrics._asdict().items()}
        self._losses.append(means["denoising"] + weight * means["consistency"])
        done = begin + count
        # The rate of the last block alone would jump; that of all steps would remember the compilation.
        rate = (done - self._first) / max(now - self._beginning, 1e-9)
        self.note(
            **means,
            step=done,
            samples_per_second=self._batch * count / elapsed,
            step_seconds=elapsed / count,
            utilisation=self._utilisation * count / elapsed,
            seconds_left=(self.progress.steps - done) / rate,
            input_wait=self._waited / elapsed,
            seconds=self._before + now - self._beginning,
        )
        self._start, self._waited = now, 0.0
        if self._writes:
            self._write(done, means, scalars)

    def _write(self, step: int, means: dict[str, float], scalars: Mapping[str, float]) -> None:
        progress = self.progress
        curves = {
            "loss/denoising": means["denoising"],
            "loss/consistency": means["consistency"],
            "gradient_norm": means["gradient_norm"],
            "samples_per_second": progress.samples_per_second,
            "step_seconds": progress.step_seconds,
            "input_wait": progress.input_wait,
            "flops_utilisation": progress.utilisation,
            **scalars,
        }
        entry = {"step": step, **means, "seconds": progress.seconds}
        for write in (partial(self._history.write, entry), partial(self._scalars.write, step, curves)):
            try:
                write()
            except OSError as error:
                self.note(warning=f"losses and scalars are kept until they can be written: {error}")


def _seconds_before(history: Path) -> float:
    """Seconds of training that the history of earlier processes ends with."""
    entries = read_history(history) if history.exists() else {}
    return entries["seconds"][-1] if entries else 0.0
