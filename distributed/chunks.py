"""Chunks: small, independent, seeded pieces of work whose results are committed atomically to disk."""

import hashlib
import time
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from ..analysis.metrics import histogram
from ..analysis.systems import System
from ..data.files import reading, remove_partials, replacing, sha256_of

Trajectories = Float[np.ndarray, "chains frames *shape"]
Temperatures = Float[np.ndarray, "chains 2"]
"""kT of each chain from its velocities at half steps, and at the steps."""


@dataclass(frozen=True)
class Summary:
    """What the driver keeps of a chunk; summaries of several add up."""

    counts: Int[np.ndarray, "bins bins"]
    frames: int = 0
    not_finite: int = 0
    chains: int = 0
    chains_left: int = 0
    chains_not_finite: int = 0
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
) -> Summary:
    """Count what a chunk holds: histogram on the JS bins, and what left the physical or finite range."""
    finite = system.finite(trajectories)
    half_steps, steps_themselves = temperatures[finite.all(axis=1)].sum(axis=0)
    with np.errstate(invalid="ignore"):
        points = system.points(trajectories)
    return Summary(
        counts=histogram(points[finite], system.plane, system.plane.js_bins),
        frames=finite.size,
        not_finite=int((~finite).sum()),
        chains=len(points),
        chains_left=int((~system.physical(trajectories)).any(axis=1).sum()),
        chains_not_finite=int((~finite).any(axis=1).sum()),
        steps=steps,
        seconds=seconds,
        temperature_sum=float(half_steps),
        step_temperature_sum=float(steps_themselves),
    )


class ChunkStore:
    """The finished chunks under one directory."""

    def __init__(self, directory: Path):
        self.directory = directory

    def path(self, index: int) -> Path:
        """File of a chunk."""
        return self.directory / f"chunk-{index:05d}.npz"

    def commit(self, index: int, trajectories: Trajectories, summary: Summary) -> None:
        """Write a chunk; it is there whole or not at all. Raises FileError."""
        frames = np.ascontiguousarray(trajectories, np.float32)
        digest = hashlib.sha256(frames.tobytes()).hexdigest()
        with replacing(self.path(index)) as partial:
            np.savez(partial, trajectories=frames, sha256=digest, **vars(summary))
        remove_partials(self.path(index))  # Of workers that were killed.

    def summary(self, index: int) -> Summary | None:
        """Summary of a finished chunk, None if it is not there. FileError if it is damaged."""
        if not self.path(index).exists():
            return None
        with reading(self.path(index)) as opened, np.load(opened) as file:
            values = {f.name: file[f.name] for f in fields(Summary)}
        return Summary(**{k: v if v.ndim else v.item() for k, v in values.items()})

    def sha256(self, chunks: int) -> str:
        """Hash of all frames of the first chunks, from those that their files name."""
        digests = []
        for index in range(chunks):
            with reading(self.path(index)) as opened, np.load(opened) as file:
                digests.append(str(file["sha256"]))
        return sha256_of(digests)

    def trajectories(self, chunks: int) -> Trajectories:
        """All chains of the first chunks. FileError if one is damaged."""
        parts = []
        for index in range(chunks):
            with reading(self.path(index)) as opened, np.load(opened) as file:
                parts.append(file["trajectories"])
        return np.concatenate(parts)

    def read(self, chunks: int) -> Float[np.ndarray, "frames *shape"]:
        """The finite frames of the first chunks, chain after chain."""
        trajectories = self.trajectories(chunks)
        frames = trajectories.reshape(-1, *trajectories.shape[2:])
        return frames[np.isfinite(frames).all(axis=tuple(range(1, frames.ndim)))]


class Timer:
    """Seconds since it was made."""

    def __init__(self):
        self._begin = time.perf_counter()

    def seconds(self) -> float:
        """Elapsed seconds."""
        return time.perf_counter() - self._begin
