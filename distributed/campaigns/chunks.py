"""Chunks: small, independent, seeded pieces of work whose results are committed atomically to disk."""

import hashlib
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float

from ...analysis.observables import sign_changes
from ...analysis.projections import Frames
from ...analysis.reduction import BLOCK, FrameSet, Reduction, Totals, draws_of, reduce
from ...analysis.systems import System
from ...data.files import reading, remove_partials, replacing, sha256_of

Trajectories = Float[np.ndarray, "chains frames *shape"]
Temperatures = Float[np.ndarray, "chains 2"]
"""kT of each chain from its velocities at half steps, and at the steps."""
Record = TypeVar("Record", "Summary", Reduction)


@dataclass(frozen=True)
class Summary:
    """What the driver keeps of a chunk as it arrives; summaries of several add up."""

    frames: int = 0
    not_finite: int = 0
    chains: int = 0
    chains_left: int = 0
    chains_not_finite: int = 0
    crossings: int = 0
    """Of φ through 0."""
    steps: int = 0
    seconds: float = 0.0
    temperature_sum: float = 0.0
    """At half steps, over the chains that stayed finite."""
    step_temperature_sum: float = 0.0
    """At the steps."""

    def __add__(self, other: "Summary") -> "Summary":
        return Summary(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def summarise(
    trajectories: Trajectories, temperatures: Temperatures, system: System, steps: int, seconds: float
) -> tuple[Summary, Reduction]:
    """Count what a chunk holds: what left the physical or finite range, and all that metrics are made of."""
    finite = system.finite(trajectories)
    half_steps, steps_themselves = temperatures[finite.all(axis=1)].sum(axis=0)
    chains, frames = finite.shape
    summary = Summary(
        frames=finite.size,
        not_finite=int((~finite).sum()),
        chains=chains,
        chains_left=int((~system.physical(trajectories)).any(axis=1).sum()),
        chains_not_finite=int((~finite).any(axis=1).sum()),
        crossings=sign_changes(system.phi(trajectories)),
        steps=steps,
        seconds=seconds,
        temperature_sum=float(half_steps),
        step_temperature_sum=float(steps_themselves),
    )
    flat = trajectories.reshape(-1, *system.shape)
    return summary, reduce(system, flat, np.repeat(np.arange(chains), frames), chains)


class ChunkStore:
    """The finished chunks under one directory."""

    def __init__(self, directory: Path):
        self.directory = directory

    def path(self, index: int) -> Path:
        """File of a chunk."""
        return self.directory / f"chunk-{index:05d}.npz"

    def part(self, index: int) -> Path:
        """Its frames as a part of a file that other programs open, where they are of a molecule."""
        return self.path(index).with_suffix(".xtc")

    def commit(self, index: int, trajectories: Trajectories, summary: Summary, reduction: Reduction) -> None:
        """Write a chunk; it is there whole or not at all. Raises FileError."""
        frames = np.ascontiguousarray(trajectories, np.float32)
        digest = hashlib.sha256(frames.tobytes()).hexdigest()
        with replacing(self.path(index)) as partial:
            np.savez(partial, trajectories=frames, sha256=digest, **_named(summary), **_named(reduction))
        for path in (self.path(index), self.part(index)):
            remove_partials(path)  # Of workers that were killed.

    def summary(self, index: int) -> Summary | None:
        """Summary of a finished chunk, None if it is not there. FileError if it is damaged."""
        return self._read(index, Summary) if self.path(index).exists() else None

    def sha256(self, chunks: int) -> str:
        """Hash of all frames of the first chunks, from those that their files name."""
        digests = []
        for index in range(chunks):
            with reading(self.path(index)) as opened, np.load(opened) as file:
                digests.append(str(file["sha256"]))
        return sha256_of(digests)

    def frames(self, system: System, chunks: int, draws: int = 0) -> FrameSet:
        """The finite frames of the first chunks, a set whose parts are chains. FileError if one is damaged.

        With `draws`, the sums of so many draws of whole chains as well, where there are several chains.
        """
        chains = sum(self._read(index, Summary).chains for index in range(chunks)) if draws else 0
        reductions = (self._read(index, Reduction) for index in range(chunks))
        totals = Totals(system, reductions, draws_of(chains, draws) if chains > 1 else None)
        return FrameSet(totals, lambda: self.blocks(system, chunks))

    def blocks(self, system: System, chunks: int) -> Iterator[Frames]:
        """The finite frames of the first chunks, chain after chain, in blocks."""
        for index in range(chunks):
            with reading(self.path(index)) as opened, zipfile.ZipFile(opened) as file:
                for frames in _blocks_of(file, system.shape):
                    yield frames[system.finite(frames)]

    def _read(self, index: int, kind: type[Record]) -> Record:
        with reading(self.path(index)) as opened, np.load(opened) as file:
            values = {f.name: file[f"{kind.__name__}.{f.name}"] for f in fields(kind)}
        return kind(**{k: v if v.ndim else v.item() for k, v in values.items()})


def _named(record: Summary | Reduction) -> dict[str, Any]:
    return {f"{type(record).__name__}.{name}": value for name, value in vars(record).items()}


def _blocks_of(file: zipfile.ZipFile, shape: tuple[int, ...]) -> Iterator[Frames]:
    """Of an array that NumPy has put into an archive, without reading all of it."""
    with file.open("trajectories.npy") as member:
        np.lib.format.read_magic(member)
        _, _, dtype = np.lib.format.read_array_header_1_0(member)
        while block := member.read(BLOCK * dtype.itemsize * int(np.prod(shape))):
            yield np.frombuffer(block, dtype).reshape(-1, *shape)


class Timer:
    """Seconds since it was made."""

    def __init__(self):
        self._begin = time.perf_counter()

    def seconds(self) -> float:
        """Elapsed seconds."""
        return time.perf_counter() - self._begin
