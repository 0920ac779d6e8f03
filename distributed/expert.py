"""Training of one expert, as one process of its group sees it; a group of several hosts runs the same."""

import json
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import jax
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from tensorboardX import SummaryWriter

from ..data.loader import Plan, blocks
from ..data.shards import Dataset
from ..model.config import ExpertConfig, GraphTransformerConfig, MLPConfig, ObjectiveConfig
from ..model.experts import Expert
from . import parameters
from .checkpoints import Checkpoints
from .config import TrainConfig
from .molecules import molecules_of
from .train_step import (
    Batch,
    StepMetrics,
    TrainState,
    init_state,
    learning_rate,
    make_train_step,
    train_block,
)

HISTORY = "history.jsonl"


@dataclass(frozen=True)
class ExpertJob:
    """What one group has to train, and where it stands on disk."""

    name: str
    index: int
    directory: Path
    data: Path
    expert: ExpertConfig
    network: MLPConfig | GraphTransformerConfig
    objective: ObjectiveConfig
    train: TrainConfig
    seed: int

    @property
    def trained(self) -> bool:
        """Whether it is trained to its end: its averaged parameters are on disk."""
        return (self.directory / parameters.FILE).exists()

    def load(self) -> tuple[Dataset, Expert, Plan]:
        """The data, the expert's functions and the plan of its batches."""
        dataset = Dataset(self.data)
        split = dataset.split("train")
        expert = Expert(self.expert, self.network, split.shape)
        alike = split.frames_of_systems if self.train.mix == "equal" else ()
        plan = Plan(len(split), self.train.batch_size, self.expert.epochs, self.seed, alike)
        return dataset, expert, plan


@dataclass(frozen=True)
class Progress:
    """Where one expert stands."""

    step: int = 0
    steps: int = 0
    denoising: float = float("nan")
    consistency: float = float("nan")
    gradient_norm: float = float("nan")
    samples_per_second: float = 0.0
    seconds_left: float = float("nan")
    input_wait: float = 0.0
    seconds: float = 0.0

    @property
    def compiled(self) -> bool:
        """Whether steps have been taken since the process began."""
        return self.samples_per_second > 0

    @property
    def finished(self) -> bool:
        """Whether every step was taken."""
        return self.steps > 0 and self.step >= self.steps


class NonFiniteLoss(RuntimeError):
    """The loss or its gradient left the finite numbers; the message names expert, step and batch."""


def train(job: ExpertJob, report: Callable[[Progress], None], stopped: Callable[[], bool]) -> Progress:
    """Train the expert to its last step, or until `stopped`; resumes from its newest checkpoint.

    Raises NonFiniteLoss with the last good checkpoint kept, and CheckpointError for a foreign checkpoint.
    """
    dataset, expert, plan = job.load()
    key = jax.random.fold_in(jax.random.key(job.seed), job.index)
    init_key, step_key = jax.random.split(key)
    mesh = jax.make_mesh((jax.device_count(),), ("batch",), axis_types=(AxisType.Auto,))
    replicated, sharded = NamedSharding(mesh, P()), NamedSharding(mesh, P(None, "batch"))
    molecules = molecules_of(dataset, expert.shape)
    step = make_train_step(expert, job.objective, job.train, plan.steps, plan.steps_per_epoch, molecules)
    # The state is not donated: it is small beside the activations, and saves read it while steps go on.
    # The key is an argument, so that every seed runs the same program.
    compiled = jax.jit(partial(train_block, step), out_shardings=(replicated, replicated))
    run = partial(compiled, key=step_key)
    make_state = partial(init_state, expert, job.train, plan.steps)
    state = jax.jit(make_state, out_shardings=replicated)(init_key)

    checkpoints = Checkpoints(job.directory / "checkpoints", dataset.fingerprint)
    try:
        state = checkpoints.restore(state) or state
        first = int(state.step)
        with _Recorder(job, plan, first, report) as recorder:
            if first < plan.steps:
                block = min(job.train.block, plan.steps)
                loop = _Loop(job, plan, block, sharded, checkpoints, recorder)
                state = loop.run(run, state, dataset, stopped)
            checkpoints.save(state, recorder.mean_loss())
    finally:
        checkpoints.close()
    if recorder.progress.finished and jax.process_index() == 0:
        parameters.save(job.directory, state.average)
    return recorder.progress


@dataclass
class _Loop:
    """The loop over blocks: the metrics of a block are read after the next one is dispatched."""

    job: ExpertJob
    plan: Plan
    block: int
    sharded: NamedSharding
    checkpoints: Checkpoints
    recorder: "_Recorder"

    def run(self, run, state: TrainState, dataset: Dataset, stopped: Callable[[], bool]) -> TrainState:
        first = int(state.step)
        source = blocks(
            dataset.split("train"),
            self.plan,
            self.block,
            first,
            jax.process_index(),
            jax.process_count(),
            dataset.norm,
        )
        every = -(-self.job.train.checkpoint_every // self.block) * self.block
        pending: tuple[int, int, StepMetrics, np.ndarray] | None = None
        try:
            for begin in range(first, self.plan.steps, self.block):
                with self.recorder.waiting():
                    rows, systems = next(source)
                    place = partial(jax.make_array_from_process_local_data, self.sharded)
                    batches = Batch(*(place(np.ascontiguousarray(part)) for part in (rows, systems)))
                count = min(self.block, self.plan.steps - begin)
                state, metrics = run(state, batches, count)
                if pending:
                    self._read(*pending)
                pending = begin, count, metrics, rows
                stop = stopped()
                if stop or (begin + self.block) % every == 0:
                    # Only a state that was found finite, and its every loss before, is saved.
                    self._read(*pending, state)
                    pending = None
                    self.checkpoints.save(state, self.recorder.mean_loss())
                if stop:
                    return state
            if pending:
                self._read(*pending, state)
            return state
        finally:
            source.close()

    def _read(
        self,
        begin: int,
        count: int,
        metrics: StepMetrics,
        rows: np.ndarray,
        after: TrainState | None = None,
    ) -> None:
        """Record a block; NonFiniteLoss if a loss in it, or the state after it if given, is not finite."""
        values = StepMetrics(*(np.asarray(value)[:count] for value in metrics))
        finite: np.ndarray = np.asarray(np.isfinite(np.stack(values)).all(axis=0))
        # The losses of a step do not see what its update does to the parameters.
        finite[-1] &= all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after))
        if not finite.all():
            raise self._non_finite(begin, int(np.argmin(finite)), values, rows)
        self.recorder.record(begin, values)

    def _non_finite(self, begin: int, row: int, values: StepMetrics, rows: np.ndarray) -> NonFiniteLoss:
        step = begin + row
        path = self.job.directory / f"non-finite-batch-{step}.npy"
        np.save(path, rows[row])
        epoch, batch = divmod(step, self.plan.steps_per_epoch)
        denoising, consistency, gradient = losses = [value[row] for value in values]
        update = ", but an update that is not finite" if np.isfinite(losses).all() else ""
        kept = self.checkpoints.latest_step
        return NonFiniteLoss(
            f"expert {self.job.name}: loss {denoising:g}, consistency {consistency:g}, gradient {gradient:g}"
            f"{update} at step {step}, batch {batch} of epoch {epoch} (written to {path}); "
            + (f"the checkpoint of step {kept} is kept" if kept else "no checkpoint had been made yet")
        )


class _Recorder:
    """Turns metrics into progress, TensorBoard scalars and the history file; process 0 alone writes."""

    def __init__(self, job: ExpertJob, plan: Plan, first: int, report: Callable[[Progress], None]):
        self._job, self._plan, self._report = job, plan, report
        self._schedule = learning_rate(job.train, plan.steps)
        self._first, self._start, self._waited = first, time.perf_counter(), 0.0
        self._losses: list[float] = []
        self._writes = jax.process_index() == 0
        self._beginning = time.perf_counter()
        self._before = _seconds_before(job.directory / HISTORY) if first else 0.0
        self.progress = Progress(step=first, steps=plan.steps, seconds=self._before)

    def __enter__(self):
        if self._writes:
            self._job.directory.mkdir(parents=True, exist_ok=True)
            self._board = SummaryWriter(str(self._job.directory), purge_step=self._first + 1)
            path = self._job.directory / HISTORY
            cut = path.exists() and not path.read_text().endswith("\n")
            self._history = open(path, "a")
            self._history.write("\n" if cut else "")  # Ends a line that was cut short.
        self._report(self.progress)
        return self

    def __exit__(self, *_):
        if self._writes:
            self._board.close()
            self._history.close()

    @contextmanager
    def waiting(self):
        """Count the time inside as waiting for data."""
        begin = time.perf_counter()
        yield
        self._waited += time.perf_counter() - begin

    def mean_loss(self) -> float:
        """Mean loss since the last call (infinite if no step was taken)."""
        mean = float(np.mean(self._losses)) if self._losses else float("inf")
        self._losses.clear()
        return mean

    def record(self, begin: int, metrics: StepMetrics) -> None:
        """Take up the metrics of the block that began at this step."""
        count = len(metrics.denoising)
        now = time.perf_counter()
        elapsed = now - self._start
        means = {name: float(values.mean()) for name, values in metrics._asdict().items()}
        self._losses.append(means["denoising"] + self._job.expert.consistency_weight * means["consistency"])
        done = begin + count
        # The rate of the last block alone would jump; that of all steps would remember the compilation.
        rate = (done - self._first) / max(now - self._beginning, 1e-9)
        self.progress = replace(
            self.progress,
            **means,
            step=done,
            samples_per_second=self._job.train.batch_size * count / elapsed,
            seconds_left=(self._plan.steps - done) / rate,
            input_wait=self._waited / elapsed,
            seconds=self._before + now - self._beginning,
        )
        self._start, self._waited = now, 0.0
        self._report(self.progress)
        if self._writes:
            self._write(done, means)

    def _write(self, step: int, means: dict[str, float]) -> None:
        scalars = {
            "loss/denoising": means["denoising"],
            "loss/consistency": means["consistency"],
            "gradient_norm": means["gradient_norm"],
            "learning_rate": float(np.asarray(self._schedule(step))),
            "samples_per_second": self.progress.samples_per_second,
            "input_wait": self.progress.input_wait,
        }
        for tag, value in scalars.items():
            self._board.add_scalar(tag, value, step)
        entry = {"step": step, **means, "seconds": self.progress.seconds}
        self._history.write(json.dumps(entry) + "\n")
        self._history.flush()


def read_history(path: Path) -> dict[str, list[float]]:
    """Losses over steps; of a step taken again after a restart, the last counts."""
    lines = {}
    for text in path.read_text().splitlines():
        try:
            entry = json.loads(text)
        except ValueError:
            continue  # Cut short when its process was killed; the step was taken again.
        lines[entry["step"]] = entry
    ordered = [lines[step] for step in sorted(lines)]
    return {name: [float(entry[name]) for entry in ordered] for name in ordered[0]} if ordered else {}


def _seconds_before(history: Path) -> float:
    """Seconds of training that the history of earlier processes ends with."""
    entries = read_history(history) if history.exists() else {}
    return entries["seconds"][-1] if entries else 0.0
