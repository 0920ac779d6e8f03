"""What a training leaves to read: progress for the driver, scalars for TensorBoard, a history of losses.

None of it may end a training: what a full disk refuses is kept, and written when there is room.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from .history import HISTORY, History, read_history
from .progress import Progress
from .step import StepMetrics
from .tensorboard import Scalars


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
            if first and path.exists():  # Of earlier processes.
                self._before = read_history(path).get("seconds", [0.0])[-1]
            self._history = History(path)
        self.progress = Progress(step=first, steps=steps, seconds=self._before, resumed=first, saved=first)
        self._report(self.progress)

    def close(self) -> None:
        """Let go of the files."""
        self._scalars.close()

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
