"""Segments: pieces of simulations, each committed to disk as one file with all that comes of it.

A segment is a stretch of steps of some chains that advance together. Its file holds their frames, what these
are reduced to, and where the chains stand at its end, from which the next one goes on. The files are the
truth of what is done: all that writes or reads them is here, hence the length.
"""

import hashlib
import os
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int

from ...analysis.observables import sign_changes
from ...analysis.projections import Frames
from ...analysis.reduction import BLOCK, FrameSet, Reduction, Totals, draws_of, merged, reduce
from ...analysis.systems import System
from ...data.errors import FokkerError
from ...data.files import reading, remove_partials, replacing, sha256_of
from ...data.trajectories import Part

Trajectories = Float[np.ndarray, "chains frames *shape"]
Record = TypeVar("Record", "Summary", "State", Reduction)
FORMAT = 1
NOT_FINITE, LEFT = "not finite", "left the physical range"
"""Why a chain is lost."""
_NAME = re.compile(r"chains-(\d+)-(\d+)-steps-(\d+)-(\d+)\.npz")


class ConflictError(FokkerError):
    """A segment was computed twice, and differs: the first stays, the second is kept beside it."""


@dataclass(frozen=True, order=True)
class Segment:
    """Steps `begin` to `end` of `count` chains, by their numbers from `first` on."""

    first: int
    count: int
    begin: int
    end: int

    @property
    def name(self) -> str:
        """Of its file."""
        return f"chains-{self.first:06d}-{self.count:04d}-steps-{self.begin:010d}-{self.end:010d}.npz"

    @classmethod
    def of(cls, name: str) -> "Segment | None":
        """The inverse of `name`; None for the name of another file."""
        found = _NAME.fullmatch(name)
        return cls(*map(int, found.groups())) if found else None


class State(NamedTuple):
    """Where chains stand."""

    position: Float[np.ndarray, "chains *shape"]
    velocity: Float[np.ndarray, "chains *shape"]
    steps: Int[np.ndarray, "chains"]
    """Taken: fewer than the others' where a chain was lost."""
    left: Bool[np.ndarray, "chains"]
    """Whether a chain was ever seen outside the physical range."""


@dataclass(frozen=True)
class Loss:
    """A chain that went bad."""

    chain: int
    step: int
    """Its last good one."""
    reason: str


@dataclass(frozen=True)
class Summary:
    """What the driver keeps of a segment as it arrives; summaries of several add up."""

    frames: int = 0
    not_finite: int = 0
    """Frames that are missing, of chains that were lost, or that are not finite."""
    chains: int = 0
    """That begin with this segment."""
    chains_left: int = 0
    """That left the physical range in it."""
    chains_not_finite: int = 0
    crossings: int = 0
    """Of φ through 0."""
    steps: int = 0
    seconds: float = 0.0
    temperature_sum: float = 0.0
    """kT at half steps, over the frames that are there."""
    step_temperature_sum: float = 0.0
    """At the steps."""

    def __add__(self, other: "Summary") -> "Summary":
        return Summary(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


@dataclass(frozen=True)
class Made:
    """What a segment comes to."""

    trajectories: Trajectories
    """Not a number where a chain was lost."""
    temperatures: Float[np.ndarray, "2 chains frames"]
    """kT from the velocities at half steps, and at the steps."""
    end: State | None = None
    """None of samples, which do not go on."""
    left: int = 0
    """Chains that left the physical range, and had never before."""
    losses: tuple[Loss, ...] = ()


def summarise(
    made: Made,
    segment: Segment,
    system: System,
    steps: int,
    seconds: float,
    before: Frames | None = None,
) -> tuple[Summary, Reduction]:
    """What a segment holds, counted, and reduced to what metrics are made of; `before` is the last frame."""
    found = made.trajectories
    finite = system.finite(found)
    chains, frames = finite.shape
    whole = found if before is None else np.concatenate([before[:, None], found], axis=1)
    half_steps, on_steps = np.where(finite, made.temperatures, 0).sum(axis=(1, 2))
    summary = Summary(
        frames=finite.size,
        not_finite=int((~finite).sum()),
        chains=chains if segment.begin == 0 else 0,
        chains_left=made.left,
        chains_not_finite=sum(loss.reason == NOT_FINITE for loss in made.losses),
        crossings=sign_changes(system.phi(whole)),
        steps=steps,
        seconds=seconds,
        temperature_sum=float(half_steps),
        step_temperature_sum=float(on_steps),
    )
    flat = found.reshape(-1, *system.shape)
    return summary, reduce(system, flat, np.repeat(np.arange(chains), frames), chains)


class Store:
    """The segments of one work, under one directory."""

    def __init__(self, directory: Path):
        self.directory = directory

    @cached_property
    def lanes(self) -> Mapping[tuple[int, int], Sequence[Segment]]:
        """By first chain and number of chains, the segments that follow one another without a gap.

        As they were when this was first asked for.
        """
        found: dict[tuple[int, int], list[Segment]] = defaultdict(list)
        names = os.listdir(self.directory) if self.directory.is_dir() else []
        for segment in sorted(filter(None, map(Segment.of, names))):
            lane = found[segment.first, segment.count]
            if segment.begin == (lane[-1].end if lane else 0):
                lane.append(segment)
        return {chains: lane for chains, lane in found.items() if lane}

    @property
    def segments(self) -> list[Segment]:
        """All of them, lane after lane."""
        return [segment for lane in self.lanes.values() for segment in lane]

    def path(self, segment: Segment) -> Path:
        """File of a segment."""
        return self.directory / segment.name

    def xtc(self, segment: Segment) -> Path:
        """Its frames as parts of files that other programs open, chain after chain."""
        return self.path(segment).with_suffix(".xtc")

    def commit(
        self,
        segment: Segment,
        made: Made,
        summary: Summary,
        reduction: Reduction,
        ends: Sequence[int] = (),
    ) -> None:
        """Write a segment; it is there whole or not at all. Where it is there already, nothing happens.

        `ends` say where the frames of each chain end in the XTC file. Raises FileError, and ConflictError if
        what is there is not the same, which is then kept beside it.
        """
        arrays = {
            "format": FORMAT,
            "trajectories": np.ascontiguousarray(made.trajectories, np.float32),
            "sha256": self.digest_of(made),
            "ends": np.asarray(ends, np.int64),
            "losses": np.array([(loss.chain, loss.step) for loss in made.losses], np.int64).reshape(-1, 2),
            "reasons": np.array([loss.reason for loss in made.losses], "U40"),
            **_named(summary),
            **_named(reduction),
            **(_named(made.end) if made.end is not None else {}),
        }
        path = self.path(segment)
        if path.exists():
            if self.digest(segment) == arrays["sha256"]:
                return
            other = path.with_suffix(f".{arrays['sha256'][:12]}.conflict")
            with replacing(other) as partial:
                _save(partial, arrays)
            raise ConflictError(
                f"{path}: computed again, it is not the same; the second is kept as {other.name}"
            )
        with replacing(path) as partial:
            _save(partial, arrays)
        for written in (path, self.xtc(segment)):
            remove_partials(written)  # Of workers that were killed.

    def summary(self, segment: Segment) -> Summary:
        """What its file says. FileError if it is damaged."""
        return self._read(segment, Summary)

    def state(self, segment: Segment) -> State:
        """Where its chains stand at its end. FileError if it is damaged."""
        return self._read(segment, State)

    def reduction(self, segment: Segment) -> Reduction:
        """What its frames are reduced to. FileError if it is damaged."""
        return self._read(segment, Reduction)

    def losses(self, segment: Segment) -> list[Loss]:
        """Chains that went bad in it. FileError if it is damaged."""
        with self._open(segment) as file:
            numbers, reasons = file["losses"], file["reasons"]
        return [Loss(int(c), int(s), str(r)) for (c, s), r in zip(numbers, reasons, strict=True)]

    @staticmethod
    def digest_of(made: Made) -> str:
        """Hash of frames, and of the state at their end."""
        found = hashlib.sha256(np.ascontiguousarray(made.trajectories, np.float32).tobytes())
        for part in made.end or ():
            found.update(np.ascontiguousarray(part).tobytes())
        return found.hexdigest()

    def digest(self, segment: Segment) -> str:
        """Hash of its frames and of the state at its end. FileError if it is damaged."""
        with self._open(segment) as file:
            return str(file["sha256"])

    def sha256(self) -> str:
        """Hash of all segments, from those that their files name."""
        return sha256_of([(segment.name, self.digest(segment)) for segment in self.segments])

    def frames(self, system: System, draws: int = 0) -> FrameSet:
        """The finite frames, a set whose parts are chains. FileError if a file is damaged.

        With `draws`, the sums of so many draws of whole chains as well, where there are several chains.
        """
        chains = sum(count for _, count in self.lanes) if draws else 0
        reductions = (merged([self.reduction(segment) for segment in lane]) for lane in self.lanes.values())
        totals = Totals(system, reductions, draws_of(chains, draws) if chains > 1 else None)
        return FrameSet(totals, lambda: self.blocks(system))

    def blocks(self, system: System) -> Iterator[Frames]:
        """The finite frames, in blocks."""
        for segment in self.segments:
            for frames in self.frames_of(segment, system):
                yield frames[system.finite(frames)]

    def frames_of(self, segment: Segment, system: System) -> Iterator[Frames]:
        """All frames of a segment in blocks, chain after chain; not a number where a chain was lost."""
        with reading(self.path(segment)) as opened, zipfile.ZipFile(opened) as file:
            yield from _blocks_of(file, system.shape)

    def parts(self) -> list[list[Part]]:
        """Of each chain in the order of their numbers, the parts of the XTC files with its frames."""
        found: list[list[Part]] = []
        for lane in self.lanes.values():
            chains: list[list[Part]] = [[] for _ in range(lane[0].count)]
            for segment in lane:
                with self._open(segment) as file:
                    ends = [0, *file["ends"].tolist()]
                for chain, begin, end in zip(chains, ends, ends[1:], strict=False):
                    chain.append(Part(self.xtc(segment), begin, end))
            found += chains
        return found

    def _read(self, segment: Segment, kind: type[Record]) -> Record:
        names = kind._fields if issubclass(kind, State) else [f.name for f in fields(kind)]
        with self._open(segment) as file:
            values = {name: file[f"{kind.__name__}.{name}"] for name in names}
        return kind(**{k: v if v.ndim else v.item() for k, v in values.items()})

    @contextmanager
    def _open(self, segment: Segment) -> Iterator[Any]:
        with reading(self.path(segment)) as opened, np.load(opened) as file:
            yield file


def _save(path: Path, arrays: Mapping[str, Any]) -> None:
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def _named(record: Any) -> dict[str, Any]:
    values = record._asdict() if isinstance(record, State) else vars(record)
    return {f"{type(record).__name__}.{name}": value for name, value in values.items()}


def _blocks_of(file: zipfile.ZipFile, shape: tuple[int, ...]) -> Iterator[Frames]:
    """Of an array that NumPy has put into an archive, without reading all of it."""
    with file.open("trajectories.npy") as member:
        np.lib.format.read_magic(member)
        _, _, dtype = np.lib.format.read_array_header_1_0(member)
        while block := member.read(BLOCK * dtype.itemsize * int(np.prod(shape))):
            yield np.frombuffer(block, dtype).reshape(-1, *shape)
