"""Training of one expert, as one process of its group sees it; every process of a group runs the same."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import Array, Bool

from ...data.dataset.loader import Plan, blocks
from ...data.dataset.shards import Dataset
from ...data.fence import FencedError
from ...data.files import FileError, replacing
from . import parameters
from .checkpoints import FOLDER, Checkpoints, Origin
from .job import ExpertJob
from .program import Program
from .progress import Progress
from .recording import Recorder
from .step import StepMetrics, TrainState, learning_rate

PART_SECONDS = 2.0
"""Between the times at which a stop is heard; the bits do not depend on it."""
FEW_STEPS = 16


class NonFiniteLoss(RuntimeError):
    """The loss or its gradient left the finite numbers; the message names expert, step and batch."""

    def __init__(self, message: str, step: int):
        super().__init__(message, step)
        self.step = step

    def __str__(self):
        return self.args[0]


def train(
    job: ExpertJob, report: Callable[[Progress], None], stopped: Callable[[], bool], restarts: int = 0
) -> Progress:
    """Train the expert from its newest checkpoint to its last step, or until `stopped` on any process.

    Raises NonFiniteLoss with the last good checkpoint kept, and CheckpointError for a foreign checkpoint.
    """
    dataset, expert, plan = job.load()
    program = Program(job, dataset, expert, plan)
    checkpoints = None
    if jax.process_index() == 0:
        origin = Origin(dataset.fingerprint, jax.process_count(), jax.device_count())
        checkpoints = Checkpoints(job.directory / FOLDER, origin, job.other_data)
    try:
        state = _restored(checkpoints, program)
        first, writes, batch = int(state.step), checkpoints is not None, job.train.batch_size
        recorder = Recorder(job.directory, plan.steps, first, batch, report, writes, program.utilisation)
        with closing(recorder):
            if first < plan.steps:
                loop = _Loop(job, plan, dataset, program, checkpoints, recorder, restarts)
                state = loop.run(state, stopped)
            recorder.note(phase="ending")
            if checkpoints:
                checkpoints.save(state, recorder.mean_loss())
                checkpoints.wait()
                recorder.note(saved=int(state.step))
                if recorder.progress.finished:
                    parameters.save(job.directory, state.average)
    finally:
        if checkpoints:
            checkpoints.close()
    return recorder.progress


def _restored(checkpoints: Checkpoints | None, program: Program) -> TrainState:
    """The newest checkpoint's state, which the first process reads for all, or else the initial one."""
    state = program.initial
    found = checkpoints.restore(state) if checkpoints else None
    if jax.process_count() > 1:
        there = multihost_utils.broadcast_one_to_all(np.asarray(found is not None))
        if there and found is None:
            found = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), state)
        found = multihost_utils.broadcast_one_to_all(found) if there else None
    return state if found is None else jax.device_put(found, program.replicated)


@dataclass(frozen=True)
class _Part:
    """Steps that were dispatched together."""

    begin: int
    """Its first step."""
    row: int
    """That of its block."""
    count: int
    metrics: StepMetrics
    """Of the block."""
    finite: Bool[Array, ""]
    """Whether the state after it is: the losses of a step do not see what its update does."""

    def values(self) -> StepMetrics:
        """The metrics of its steps, which waits for them."""
        rows = slice(self.row, self.row + self.count)
        return StepMetrics(*(np.asarray(value)[rows] for value in self.metrics))


@dataclass
class _Loop:
    """The loop over blocks of batches, taken in parts of about two seconds: a stop is heard after each.

    On accelerators a part's metrics are read after the next one is dispatched.
    """

    job: ExpertJob
    plan: Plan
    dataset: Dataset
    program: Program
    checkpoints: Checkpoints | None
    """Of the first process alone."""
    recorder: Recorder
    restarts: int
    _read_parts: int = 0

    def run(self, state: TrainState, stopped: Callable[[], bool]) -> TrainState:
        first, processes, block = int(state.step), jax.process_count(), self.program.block
        (split, weights), norm = self.dataset.training(self.job.train.frames), self.dataset.norm
        source = blocks(split, self.plan, block, first, jax.process_index(), processes, norm, weights)
        every = -(-self.job.train.checkpoint_every // block) * block
        # On CPUs steps and host share the cores: nothing is gained, and a part's time would be another's.
        # GPUs ask the host before each step of a part: its metrics may be there when the call returns.
        ahead = jax.default_backend() != "cpu"
        profiler = _Profiler(self.job)
        pending: _Part | None = None
        steps = FEW_STEPS
        agreed: Any = FEW_STEPS
        try:
            for begin in range(first, self.plan.steps, block):
                with self.recorder.waiting():
                    batches = self.program.place(*next(source))
                at, end = begin, min(begin + block, self.plan.steps)
                while at < end:
                    count, before = min(steps, end - at), agreed
                    profiler.at(at, count)
                    wish = 0 if stopped() else self._pace()
                    with jax.profiler.StepTraceAnnotation("steps", step_num=at):
                        state, metrics, finite, agreed = self.program(state, batches, at - begin, count, wish)
                    if pending:
                        self._read(pending)
                    pending = _Part(at, at - begin, count, metrics, finite)
                    # What all wished is known one part later, to all.
                    steps = int(before) if processes > 1 else 0 if stopped() else self._pace()
                    save = steps == 0 or (at + count) // every > at // every
                    if save or not ahead or agreed.is_ready():
                        # Only a state that was found finite, and its every loss before, is saved.
                        self._read(pending)
                        pending = None
                    if save:
                        self._save(state)
                    if steps == 0:
                        return state
                    at += count
            if pending:
                self._read(pending)
            return state
        finally:
            profiler.stop()
            source.close()

    def _pace(self) -> int:
        """Steps that take about PART_SECONDS, by the last ones; few as long as those include compilation."""
        if self._read_parts < 2:
            return FEW_STEPS
        return max(1, round(PART_SECONDS / self.recorder.progress.step_seconds))

    def _save(self, state: TrainState) -> None:
        """Save; a disk that refuses, now or in the background since, is only warned of."""
        if self.checkpoints is None:
            return
        with self.recorder.saving():
            try:
                self.checkpoints.save(state, self.recorder.mean_loss())
            except FencedError:
                raise
            except Exception as error:  # Orbax and its parts raise many kinds.
                self._failed_save(error)

    def _failed_save(self, error: Exception) -> None:
        text = str(error).splitlines()[0]
        self.recorder.note(
            warning=f"the save before step {self.recorder.progress.step} failed, training goes on: {text}"
        )

    def _read(self, part: _Part) -> None:
        """Record a part; NonFiniteLoss if a loss in it, or the state after it, is not finite."""
        self._read_parts += 1
        begin, count = part.begin, part.count
        values = part.values()
        finite: np.ndarray = np.asarray(np.isfinite(np.stack(values)).all(axis=0))
        finite[-1] &= bool(part.finite)
        if not finite.all():
            raise self._non_finite(begin, int(np.argmin(finite)), values)
        rate = learning_rate(self.job.train, self.plan.steps)(begin + count)
        scalars = {"learning_rate": float(np.asarray(rate)), "restarts": float(self.restarts)}
        self.recorder.record(begin, values, self.job.expert.consistency_weight, scalars)
        if self.checkpoints:
            try:
                self.checkpoints.check()
                saved = self.checkpoints.latest_step or 0
                if saved != self.recorder.progress.saved:
                    self.recorder.note(saved=saved)
            except Exception as error:
                self._failed_save(error)

    def _non_finite(self, begin: int, row: int, values: StepMetrics) -> NonFiniteLoss:
        step = begin + row
        kept, path = None, self.job.directory / f"non-finite-batch-{step}.npy"
        written = f"written to {path}"
        if self.checkpoints:
            self.checkpoints.wait()
            kept = self.checkpoints.latest_step
            rows = [self.plan.frames_of(np.array([step]), r)[0] for r in range(self.plan.batch)]
            frames, _ = self.dataset.training(self.job.train.frames)
            try:
                with replacing(path) as partial:
                    np.save(partial, self.dataset.norm * frames.gather(np.asarray(rows)))
            except FileError as error:
                written = str(error)
        epoch, batch = divmod(step, self.plan.steps_per_epoch)
        denoising, consistency, gradient = losses = [value[row] for value in values]
        update = ", but an update that is not finite" if np.isfinite(losses).all() else ""
        return NonFiniteLoss(
            f"expert {self.job.name}: loss {denoising:g}, consistency {consistency:g}, gradient {gradient:g}"
            f"{update} at step {step}, batch {batch} of epoch {epoch} ({written}); "
            + (f"the checkpoint of step {kept} is kept" if kept else "no checkpoint had been made yet"),
            step,
        )


class _Profiler:
    """Traces the steps of `job.profile`, on the first process, in whole parts."""

    def __init__(self, job: ExpertJob):
        self._job, self._running = job, False
        self._wanted = job.profile if jax.process_index() == 0 else None

    def at(self, begin: int, count: int) -> None:
        """Called before the part that takes `count` steps from `begin` on."""
        if self._wanted is None:
            return
        start, stop = self._wanted
        if begin >= stop:
            self.stop()
        elif begin + count > start and not self._running:
            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = 0  # Every call of the loader would be ten times all else.
            jax.profiler.start_trace(str(self._job.directory), profiler_options=options)
            self._running = True

    def stop(self) -> None:
        """End the trace, if it is going on, and write it."""
        if self._running:
            jax.profiler.stop_trace()
            self._running, self._wanted = False, None
