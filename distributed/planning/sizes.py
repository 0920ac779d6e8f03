"""The sizes of the data of a training that is planned: those of a dataset, or what the settings say."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...data.config import MuellerBrownConfig
from ...data.dataset.shards import MANIFEST, Dataset
from ...data.molecules.arrays import molecules_of
from ...data.molecules.bead_map import BeadMap
from ...data.molecules.beads import Beads
from ...data.molecules.springs import measure, pool
from ...model.molecules import Molecule
from ..runs.config import Config, ConfigError


class UnknownSizes(ConfigError):
    """Neither the settings nor the data that are here tell how large the data of a run are."""


@dataclass(frozen=True)
class Sizes:
    """What a train step needs to know of the data."""

    frames: int
    """Of training."""
    shape: tuple[int, ...]
    """Of one frame."""
    molecules: Molecule | None
    origin: str
    """Where the sizes come from, for people."""


@dataclass(frozen=True)
class _Imagined(Dataset):
    """A dataset without files."""

    content: Mapping[str, Any]

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What the manifest would hold."""
        return dict(self.content)


def sizes(config: Config, directory: Path, frames: int | None = None, beads: int | None = None) -> Sizes:
    """Sizes of the data of a run in a directory, as far as `frames` and `beads` do not say otherwise.

    UnknownSizes if neither a dataset nor the settings tell them, ConfigError if a batch is larger than they.
    """
    data, dataset = config.data, _dataset(config, directory)
    toy = isinstance(data, MuellerBrownConfig)
    if beads is not None and toy:
        raise ConfigError("--beads: the Müller-Brown potential has none, only --frames")
    if beads is not None:
        # A chain of one bead a residue; which atoms they are changes no shape but those of few springs.
        like, shape, origin = _of_sequences(("A" * beads,), "calpha"), (beads, 3), "as given"
    elif dataset is not None:
        like, shape, origin = dataset, dataset.split("train").shape, str(dataset.directory)
    elif toy:
        like, shape, origin = None, (2,), "by the settings"
    elif data.sequences:
        like, origin = _of_sequences(data.sequences, data.beads), "by the settings"
        shape = max(len(like.description(name)["beads"]["atoms"]) for name in like.systems), 3
    else:
        raise UnknownSizes(
            "how large are the molecules? Give --frames N and --beads N, or a dataset as --data"
        )
    count = frames or _frames(config, dataset)
    if config.train.batch_size > count:
        raise ConfigError(
            f"{config.train.batch_size} is larger than the data, {count} frames", "train.batch_size"
        )
    return Sizes(count, shape, molecules_of(like, shape) if like else None, origin)


def _frames(config: Config, dataset: Dataset | None) -> int:
    """Training frames: those of the dataset, or of what would be made."""
    data = config.data
    if dataset is not None:
        return len(dataset.training(config.train.frames)[0])
    if isinstance(data, MuellerBrownConfig):
        return data.frames
    if data.path is not None:
        raise UnknownSizes(
            f"{data.path} is no converted dataset: give --frames N, or what fokker dataset convert "
            "makes of it as --data"
        )
    if not data.sequences or config.reference is None:
        raise UnknownSizes("how many frames are there? Give --frames N, or a dataset as --data")
    made = config.reference
    each = made.biased if config.train.frames == "biased" else made.frames
    return each * len(data.sequences)


def _dataset(config: Config, directory: Path) -> Dataset | None:
    """That of the run, or one that the settings name."""
    path = getattr(config.data, "path", None)
    for place in (directory / "data", *([Path(path).expanduser()] if path else [])):
        if (place / MANIFEST).exists():
            return Dataset(place)
    return None


def _of_sequences(sequences: tuple[str, ...], bead_map: str) -> Dataset:
    """Molecules as they would be in a dataset; their springs are those of any frames."""
    parsed = BeadMap.parse(bead_map)
    every = {sequence: Beads.from_sequence(sequence, parsed) for sequence in sequences}
    random = np.random.default_rng(0)
    springs = pool([measure(beads, random.normal(size=(8, len(beads), 3))) for beads in every.values()])
    systems = {
        name: {"description": {"beads": beads.to_json()}, "splits": {}} for name, beads in every.items()
    }
    return _Imagined(Path(), {"systems": systems, "source": {"springs": springs}})
