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
from jaxtyping import Float, Int

from .shards import Split


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

    def frames_of(self, step: Int[np.ndarray, "count"], row: int) -> Int[np.ndarray, "count"]:
        """Numbers of the frames in a row of the batches of these steps."""
        epoch, position = np.divmod(step, self.steps_per_epoch)
        numbers = np.empty_like(step)
        for e in np.unique(epoch):
            here = epoch == e
            numbers[here] = self._permutation(int(e))[position[here] * self.batch + row]
        return numbers

    def _permutation(self, epoch: int) -> Int[np.ndarray, "frames"]:
        return _permutation(self.frames, self.seed, epoch, self.alike)


@lru_cache(maxsize=2)
def _permutation(
    frames: int, seed: int, epoch: int, alike: tuple[int, ...] = ()
) -> Int[np.ndarray, "frames"]:
    random = np.random.default_rng([seed, epoch])
    if not alike:
        return random.permutation(frames)
    quota, parts, first = -(-frames // len(alike)), [], 0
    for count in alike:
        rounds = [random.permutation(count) for _ in range(-(-quota // count))]
        parts.append(first + np.concatenate(rounds)[:quota])
        first += count
    return random.permutation(np.concatenate(parts))[:frames]


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

    def __len__(self) -> int:
        return -(-(self.plan.steps - self.first) // self.block) * self.plan.batch

    def __getitem__(self, index: int) -> tuple[Float[np.ndarray, "block *shape"], Int[np.ndarray, "block"]]:
        block, column = divmod(int(index), self.plan.batch)
        turn, process = divmod(column, self.processes)
        row = process * (self.plan.batch // self.processes) + turn
        steps = self.first + np.arange(block * self.block, (block + 1) * self.block)
        frames = self.plan.frames_of(steps, row)
        return self.norm * self.split.gather(frames), self.split.system_of(frames)


def blocks(
    split: Split,
    plan: Plan,
    block: int,
    first_step: int = 0,
    process: int = 0,
    processes: int = 1,
    norm: float = 1.0,
) -> Generator[tuple[Float[np.ndarray, "block rows *shape"], Int[np.ndarray, "block rows"]], None, None]:
    """Blocks of batches from `first_step` on: this process's rows of every batch.

    Each block holds frames times `norm`, and the numbers of the systems that they are of. Process p holds the
    p-th of `processes` equal parts of the batch. One thread reads ahead.
    """
    if plan.batch % processes:
        raise ValueError(f"batch_size {plan.batch} cannot be shared equally by {processes} processes")
    dataset = grain.experimental.ElasticIterator(
        grain.MapDataset.source(Columns(split, plan, block, processes, norm, first_step)),
        plan.batch,
        grain.sharding.ShardOptions(process, processes),
        read_options=grain.ReadOptions(num_threads=1, prefetch_buffer_size=4),
    )
    iterator = iter(dataset)
    try:
        for frames, systems in iterator:
            yield frames.swapaxes(0, 1), systems.swapaxes(0, 1)
    finally:
        iterator.close()  # Otherwise Grain's threads leak.
