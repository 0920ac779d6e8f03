"""The Grain pipeline: shuffled batches, handed over in blocks of many batches.

A training step on a toy system takes less time than Grain needs for one record, so a record here is a
*column*: the frames that one row of the batch holds over all steps of a block. Grain's ElasticIterator deals
columns to processes; its state is one integer, the number of columns read, whatever the number of processes.
"""

from collections.abc import Generator
from dataclasses import dataclass
from functools import lru_cache

import grain
import numpy as np
from jaxtyping import Int

from .shards import Split
from .shuffle import shuffled


@dataclass(frozen=True)
class Plan:
    """Which frame stands where: every epoch a new permutation, whose last partial batch is dropped.

    ValueError if a batch is larger than the data.
    """

    frames: int
    batch: int
    epochs: int
    seed: int
    alike: tuple[int, ...] = ()
    """How many frames each system has, one after another, if all are to be drawn equally often: then an epoch
    has as many frames as ever, some of them several times or not at all."""

    def __post_init__(self):
        if self.batch > self.frames:
            raise ValueError(f"batch_size {self.batch} is larger than the data, {self.frames} frames")

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in one pass over the data."""
        return self.frames // self.batch

    @property
    def steps(self) -> int:
        """Training steps in all."""
        return self.epochs * self.steps_per_epoch

    def frames_of(
        self, step: Int[np.ndarray, "*#shape"], row: int | Int[np.ndarray, "*#shape"]
    ) -> Int[np.ndarray, "*shape"]:
        """Numbers of the frames in these rows of the batches of these steps."""
        epoch, position = np.divmod(step, self.steps_per_epoch)
        epoch, place = np.broadcast_arrays(epoch, position * self.batch + row)
        numbers = np.empty_like(place)
        for e in np.unique(epoch):
            numbers[epoch == e] = self._shuffled(place[epoch == e], int(e))
        return numbers

    def _shuffled(self, place: Int[np.ndarray, "count"], epoch: int) -> Int[np.ndarray, "count"]:
        """Numbers of the frames at these places of an epoch."""
        key = self.seed, epoch
        if not self.alike:
            return shuffled(place, self.frames, key)
        sizes, systems = np.asarray(self.alike), len(self.alike)
        quota = -(-self.frames // systems)
        system, drawn = np.divmod(shuffled(place, quota * systems, key), quota)
        turn, place = np.divmod(drawn, sizes[system])  # A small system is gone through several times.
        own = shuffled(place, sizes[system], key, stream=1 + system + turn * systems)
        return (np.cumsum(sizes) - sizes)[system] + own


@lru_cache(maxsize=2)
def _frames_of_block(plan: Plan, first: int, count: int) -> Int[np.ndarray, "count batch"]:
    """Those of all rows at once, which takes hardly longer than those of one."""
    return plan.frames_of(np.arange(first, first + count)[:, None], np.arange(plan.batch))


@dataclass(frozen=True)
class Columns(grain.sources.RandomAccessDataSource):
    """Column i belongs to block i // batch, from `first` step on; the last block goes on past the last step.

    The columns of a block are ordered such that, dealt in turn, each process gets consecutive rows.
    """

    split: Split
    plan: Plan
    block: int
    processes: int
    norm: float = 1.0
    first: int = 0
    weights: Split | None = None
    """Of biased frames, as `shards.WEIGHTS` are."""

    def __len__(self) -> int:
        return -(-(self.plan.steps - self.first) // self.block) * self.plan.batch

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        block, column = divmod(int(index), self.plan.batch)
        turn, process = divmod(column, self.processes)
        row = process * (self.plan.batch // self.processes) + turn
        frames = _frames_of_block(self.plan, self.first + block * self.block, self.block)[:, row]
        known = self.norm * self.split.gather(frames), self.split.system_of(frames)
        return known if self.weights is None else (*known, self.weights.gather(frames))


def blocks(
    split: Split,
    plan: Plan,
    block: int,
    first_step: int = 0,
    process: int = 0,
    processes: int = 1,
    norm: float = 1.0,
    weights: Split | None = None,
) -> Generator[tuple[np.ndarray, ...], None, None]:
    """Blocks of batches from `first_step` on: this process's rows of every batch.

    Each block holds frames times `norm` (block, rows, *shape), and the numbers of the systems that they are
    of; where there are `weights`, of the same frames, also these (block, rows, 2). Process p holds the p-th
    of `processes` equal parts of the batch. One thread reads ahead.
    """
    if plan.batch % processes:
        raise ValueError(f"batch_size {plan.batch} cannot be shared equally by {processes} processes")
    dataset = grain.experimental.ElasticIterator(
        grain.MapDataset.source(Columns(split, plan, block, processes, norm, first_step, weights)),
        plan.batch,
        grain.sharding.ShardOptions(process, processes),
        read_options=grain.ReadOptions(num_threads=1, prefetch_buffer_size=4),
    )
    iterator = iter(dataset)
    try:
        for parts in iterator:
            yield tuple(part.swapaxes(0, 1) for part in parts)
    finally:
        iterator.close()  # Otherwise Grain's threads leak.
