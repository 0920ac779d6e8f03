"""Sharded datasets: fixed-shape frames in memory-mapped files beside a manifest.

    DIRECTORY/manifest.json
    DIRECTORY/train-00000.npy …, reference-00000.npy …

The manifest names the system, its units and the SHA-256 of every shard; its own hash is the fingerprint of
the dataset. It is written last, so a directory without one is unfinished.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

MANIFEST = "manifest.json"
FRAMES_PER_SHARD = 2**20

Frames = Float[np.ndarray, "frames *shape"]


class DatasetError(ValueError):
    """A dataset that is missing, unfinished or damaged; the message names the file and the remedy."""


def write(directory: Path, system: Mapping[str, Any], splits: Mapping[str, Frames]) -> "Dataset":
    """Write the splits as shards and their manifest; a half-written directory has no manifest.

    `system` describes where the frames come from (name, units, settings) and becomes part of the fingerprint.
    Raises DatasetError if a frame is not finite.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / MANIFEST).unlink(missing_ok=True)  # That of a dataset which is written anew.
    entries = {}
    for split, frames in splits.items():
        broken = np.flatnonzero(~np.isfinite(frames).all(axis=tuple(range(1, frames.ndim))))
        if broken.size:
            raise DatasetError(
                f"{directory}: {broken.size} frames of {split} are not finite, the first is {broken[0]}"
            )
        entries[split] = [
            _write_shard(directory / f"{split}-{number:05d}.npy", frames[start : start + FRAMES_PER_SHARD])
            for number, start in enumerate(range(0, len(frames), FRAMES_PER_SHARD))
        ]
    manifest = {"format": 1, "system": dict(system), "splits": entries}
    _write_atomically(directory / MANIFEST, json.dumps(manifest, indent=2).encode())
    return Dataset(directory)


def _write_shard(path: Path, frames: Frames) -> dict[str, Any]:
    with open(path, "wb") as file:
        np.save(file, np.ascontiguousarray(frames, np.float32))
    return {"file": path.name, "frames": len(frames), "sha256": _sha256(path)}


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_atomically(path: Path, content: bytes) -> None:
    temporary = path.with_name(path.name + ".partial")
    temporary.write_bytes(content)
    os.replace(temporary, path)


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
        if found != 1:
            raise DatasetError(f"{path} has format {found}, this version reads format 1")
        return manifest

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the manifest, and so of every shard."""
        return hashlib.sha256(json.dumps(self.manifest, sort_keys=True).encode()).hexdigest()

    def split(self, name: str) -> "Split":
        """One split; DatasetError if there is none of that name, or a shard is missing or cut short."""
        entries = self.manifest["splits"].get(name)
        if entries is None:
            known = ", ".join(self.manifest["splits"])
            raise DatasetError(f"{self.directory} has no split {name!r}, only {known}")
        return Split(tuple(_open_shard(self.directory / entry["file"], entry["frames"]) for entry in entries))

    def verify(self) -> None:
        """Read every shard again and compare hashes; DatasetError names the first file that differs."""
        for entry in (entry for entries in self.manifest["splits"].values() for entry in entries):
            path = self.directory / entry["file"]
            if not path.exists() or _sha256(path) != entry["sha256"]:
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
    """The frames of one split, as memory maps of its shards."""

    shards: tuple[np.ndarray, ...]

    @cached_property
    def _starts(self) -> Int[np.ndarray, "shards"]:
        return np.cumsum([0, *(len(shard) for shard in self.shards)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one frame."""
        return self.shards[0].shape[1:]

    def gather(self, frames: Int[np.ndarray, "count"]) -> Frames:
        """Copies of the frames with these numbers, in their order."""
        if len(self.shards) == 1:
            return self.shards[0][frames]
        shard_of = np.searchsorted(self._starts, frames, side="right") - 1
        rows = np.empty((len(frames), *self.shape), np.float32)
        for number in np.unique(shard_of):
            mine = shard_of == number
            rows[mine] = self.shards[number][frames[mine] - self._starts[number]]
        return rows

    def read(self) -> Frames:
        """All frames in memory."""
        return np.concatenate(self.shards)
