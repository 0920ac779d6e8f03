"""Sharded datasets: the frames of one or several systems in memory-mapped files beside a manifest.

    DIRECTORY/manifest.json
    DIRECTORY/SYSTEM/train-00000.npy …, reference-00000.npy …, system.json
    DIRECTORY/SYSTEM/biased-00000.npy …, weights-00000.npy …    of references that fokker made

The manifest names source and units, and describes every system with the SHA-256 of its shards; its own hash
is the fingerprint of the dataset. It is written last, so a directory without one is unfinished; the same
holds for a system and its system.json. Frames of one system have one shape; systems may differ in the
length of the first axis, the number of beads.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
from jaxtyping import Float, Int

from .. import files
from ..errors import FokkerError

MANIFEST, SYSTEM = "manifest.json", "system.json"
FORMAT = 1
FRAMES_PER_SHARD = 2**20
BIASED, WEIGHTS = "biased", "weights"
"""Splits of the frames that those of a reference's training were drawn from, and, for each of them, of the
logarithm of its weight, 1 in the mean over each walker, and the number of its walker. The `bias` in the
system's description says how the weight follows from torsions."""

Frames = Float[np.ndarray, "frames *shape"]


class DatasetError(FokkerError, ValueError):
    """A dataset that is missing, unfinished or damaged; the message names the file and the remedy."""


def write_system(
    directory: Path, name: str, description: Mapping[str, Any], splits: Mapping[str, Frames]
) -> None:
    """Write the shards of one system. Systems are independent: many processes can write at the same time.

    `description` (beads, temperature, source) becomes part of the fingerprint. Raises DatasetError if a frame
    is not finite, FileError if the place cannot be written.
    """
    folder = directory / name
    for stale in (directory / MANIFEST, folder / SYSTEM):  # Those of a system which is written anew.
        stale.unlink(missing_ok=True)
    entries = {}
    for split, frames in splits.items():
        broken = np.flatnonzero(~np.isfinite(frames).all(axis=tuple(range(1, frames.ndim))))
        if broken.size:
            raise DatasetError(
                f"{folder}: {broken.size} frames of {split} are not finite, the first is {broken[0]}"
            )
        entries[split] = [
            _write_shard(folder / f"{split}-{number:05d}.npy", frames[start : start + FRAMES_PER_SHARD])
            for number, start in enumerate(range(0, len(frames), FRAMES_PER_SHARD))
        ]
    content = {"description": dict(description), "splits": entries}
    files.write(folder / SYSTEM, json.dumps(content, indent=2))


def finish(directory: Path, source: Mapping[str, Any], systems: Sequence[str]) -> "Dataset":
    """Write the manifest of systems that are all there, in this order.

    `source` says where the frames come from, and their units. DatasetError names a system that is missing.
    """
    parts = {}
    for name in systems:
        path = directory / name / SYSTEM
        if not path.exists():
            raise DatasetError(f"{path} is missing: system {name} was never finished, make it again")
        parts[name] = files.read_json(path)
    manifest = {"format": FORMAT, "source": dict(source), "systems": parts}
    files.write(directory / MANIFEST, json.dumps(manifest, indent=2))
    return Dataset(directory)


def write(directory: Path, source: Mapping[str, Any], splits: Mapping[str, Frames]) -> "Dataset":
    """Write a dataset of one system, named as its source is."""
    write_system(directory, source["name"], {}, splits)
    return finish(directory, source, [source["name"]])


def _write_shard(path: Path, frames: Frames) -> dict[str, Any]:
    with files.replacing(path) as partial:
        np.save(partial, np.ascontiguousarray(frames, np.float32))
    return {"file": path.name, "frames": len(frames), "sha256": files.sha256(path)}


@dataclass(frozen=True)
class Dataset:
    """A finished dataset on disk. Opening it reads the manifest and the shards' headers only."""

    directory: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """The manifest; DatasetError if it is missing or of another format."""
        path = self.directory / MANIFEST
        try:
            manifest = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise DatasetError(f"{path} is missing: the dataset was never finished, make it again") from None
        except ValueError as error:
            raise DatasetError(f"{path} is not JSON ({error}): make the dataset again") from None
        found = manifest.get("format") if isinstance(manifest, dict) else None
        if found != FORMAT:
            raise DatasetError(f"{path} has format {found}, this version reads format {FORMAT}")
        return manifest

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the manifest, and so of every shard and of the order of the systems."""
        return hashlib.sha256(json.dumps(self.manifest).encode()).hexdigest()

    @property
    def systems(self) -> tuple[str, ...]:
        """Names of the systems, in the order of their numbers."""
        return tuple(self.manifest["systems"])

    def systems_with(self, split: str) -> tuple[str, ...]:
        """Names of the systems that have a split, if any has."""
        parts = self.manifest["systems"]
        return tuple(name for name, part in parts.items() if part["splits"].get(split))

    def systems_of(self, split: str) -> tuple[str, ...]:
        """The same. DatasetError if none has."""
        return self.systems_with(split) or self._lacks(f"split {split!r}")

    def _lacks(self, what: str) -> NoReturn:
        known = dict.fromkeys(name for system in self.systems for name in self.splits(system))
        raise DatasetError(f"{self.directory} has no {what}, only {', '.join(known)}")

    def splits(self, system: str) -> tuple[str, ...]:
        """Names of a system's splits of equilibrium, in their order."""
        return tuple(
            name for name in self.manifest["systems"][system]["splits"] if name not in (BIASED, WEIGHTS)
        )

    def training(self, frames: Literal["equilibrium", "biased"]) -> "tuple[Split, Split | None]":
        """The frames to train on, and their weights.

        Biased ones only if every system that is trained on has them; those of equilibrium have no weights.
        """
        if frames == "biased" and {*self.systems_with("train")} <= {*self.systems_with(BIASED)}:
            return self.split(BIASED), self.split(WEIGHTS)
        return self.split("train"), None

    @property
    def norm(self) -> float:
        """What turns positions into normalised units: the inverse of their standard deviation, or 1."""
        return self.manifest["source"].get("norm", 1.0)

    @property
    def springs(self) -> Mapping[str, Any] | None:
        """Bonds and angles of the training molecules, as `springs.pool` gives them; None of a toy."""
        return self.manifest["source"].get("springs")

    def description(self, system: str) -> dict[str, Any]:
        """What is known of a system."""
        return self.manifest["systems"][system]["description"]

    def trajectories(self, system: str, split: str) -> tuple[list[int], float | None]:
        """Frames of each trajectory that a split consists of, in their order, and the time between two (ps).

        None of either where it is not known: of datasets that do not say, and of files without times, or with
        others than equal ones in order.
        """
        part = self.manifest["systems"][system]
        known = [one for one in part["description"].get("trajectories", ()) if one["split"] == split]
        counts = [one["frames"] for one in known]
        if sum(counts) != sum(entry["frames"] for entry in part["splits"].get(split, ())):
            return [], None
        spacings = {one["spacing"] for one in known if one["frames"] > 1}
        return counts, spacings.pop() if len(spacings) == 1 else None

    def split(self, name: str, system: str | None = None) -> "Split":
        """One split, of all systems that have it or of one.

        DatasetError if there is none of that name, or a shard is missing or cut short.
        """
        shards, numbers = [], []
        for number, (owner, part) in enumerate(self.manifest["systems"].items()):
            if system in (None, owner):
                for entry in part["splits"].get(name, []):
                    shards.append(_open_shard(self.directory / owner / entry["file"], entry["frames"]))
                    numbers.append(number)
        if not shards:
            self._lacks(f"split {name!r} of {system}" if system else f"split {name!r}")
        return Split(tuple(shards), tuple(numbers))

    def verify(self) -> None:
        """Read every shard again and compare hashes; DatasetError names the first file that differs."""
        for system, part in self.manifest["systems"].items():
            for entry in (entry for entries in part["splits"].values() for entry in entries):
                path = self.directory / system / entry["file"]
                if not path.exists() or files.sha256(path) != entry["sha256"]:
                    raise DatasetError(f"{path} is not the file of the manifest: make the dataset again")


def _open_shard(path: Path, frames: int) -> np.ndarray:
    try:
        shard = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise DatasetError(f"{path} cannot be read ({error}): make the dataset again") from None
    if len(shard) != frames:
        raise DatasetError(f"{path} holds {len(shard)} frames, its manifest says {frames}")
    return shard


@dataclass(frozen=True)
class Split:
    """The frames of one split, as memory maps of its shards, and the number of the system in each."""

    shards: tuple[np.ndarray, ...]
    systems: tuple[int, ...]

    @cached_property
    def _starts(self) -> Int[np.ndarray, "shards"]:
        return np.cumsum([0, *(len(shard) for shard in self.shards)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def frames_of_systems(self) -> tuple[int, ...]:
        """How many frames each system has, in the order in which they follow one another."""
        counts = Counter[int]()
        for shard, number in zip(self.shards, self.systems, strict=True):
            counts[number] += len(shard)
        return tuple(counts.values())

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Shape of one frame; where systems differ, of the largest."""
        return max(shard.shape[1:] for shard in self.shards)

    def _shard_of(self, frames: Int[np.ndarray, "count"]) -> Int[np.ndarray, "count"]:
        return np.searchsorted(self._starts, frames, side="right") - 1

    def gather(self, frames: Int[np.ndarray, "count"]) -> Frames:
        """Copies of the frames with these numbers, in their order; smaller ones are filled up with zeros."""
        if len(self.shards) == 1:
            return self.shards[0][frames]
        shard_of = self._shard_of(frames)
        rows = np.zeros((len(frames), *self.shape), np.float32)
        for number in np.unique(shard_of):
            mine, shard = shard_of == number, self.shards[number]
            rows[mine, : shard.shape[1]] = shard[frames[mine] - self._starts[number]]
        return rows

    def system_of(self, frames: Int[np.ndarray, "count"]) -> Int[np.ndarray, "count"]:
        """Number of the system that each of these frames is of."""
        return np.asarray(self.systems, np.int32)[self._shard_of(frames)]

    def blocks(self, size: int) -> Iterator[Frames]:
        """All frames in their order, up to `size` at a time; read, as pages of a memory map would stay."""
        for shard in self.shards:
            assert isinstance(shard, np.memmap) and shard.filename  # noqa: PT018
            row = int(np.prod(shard.shape[1:]))
            for begin in range(0, len(shard), size):
                count = min(size, len(shard) - begin)
                offset = shard.offset + begin * row * shard.itemsize
                frames = np.fromfile(shard.filename, shard.dtype, count * row, offset=offset)
                yield frames.reshape(count, *shard.shape[1:])

    def read(self) -> Frames:
        """All frames in memory, unfilled. ValueError if they differ in shape."""
        return np.concatenate(self.shards)
