"""From trajectories to the shards of a dataset of molecules."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

from . import springs
from .bead_map import BeadMap
from .residues import MoleculeError
from .shards import SYSTEM, Dataset, finish, write_system
from .sources import Conditions, Source, coarse_frames, require_same_conditions

DEFAULT_SPLIT = "train"


def convert(source: Source, bead_map: BeadMap, directory: Path) -> None:
    """Write one trajectory as a system of a dataset: beads in nm, each frame centred. Skips what is there.

    Memory holds the beads of one trajectory, and its atoms a few MiB at a time. Raises MoleculeError as
    reading does.
    """
    if (directory / source.name / SYSTEM).exists():
        return
    beads = source.beads(bead_map)
    frames = coarse_frames(source, bead_map)
    first, second = np.asarray(beads.bonds).T
    lengths = np.linalg.norm(frames[:, first] - frames[:, second], axis=-1)
    description = {
        "beads": beads.to_json(),
        "layout": source.layout,
        "conditions": asdict(source.conditions),
        "frames": len(frames),
        "variance": float(np.mean(np.square(frames, dtype=np.float64))),
        "bond_means": lengths.mean(axis=0).tolist(),
        "springs": springs.measure(beads, frames),
    }
    write_system(directory, source.name, description, {source.split or DEFAULT_SPLIT: frames})


def check(sources: Sequence[Source]) -> Conditions:
    """What all sources have in common, before anything is read.

    Raises MoleculeError for references of different kinds, two peptides of one name, or nothing to train on.
    """
    conditions = require_same_conditions(sources)
    names = [source.name for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise MoleculeError(
                f"{name} is there {names.count(name)} times: a peptide has to be in one split, under one name"
            )
    splits = {source.split or DEFAULT_SPLIT for source in sources}
    if "train" not in splits:
        found = ", ".join(sorted(splits))
        raise MoleculeError(f"nothing to train on: the trajectories are of {found}, and none of train")
    return conditions


def finish_conversion(directory: Path, sources: Sequence[Source], origin: Mapping[str, Any]) -> Dataset:
    """The manifest, once every source is converted.

    `norm` is the inverse of the standard deviation over all coordinates of the training frames, `springs` are
    theirs too. Raises MoleculeError as `check` does.
    """
    conditions = check(sources)
    squares, coordinates, tables = 0.0, 0, []
    for source in sources:
        if (source.split or DEFAULT_SPLIT) == "train":
            description = json.loads((directory / source.name / SYSTEM).read_text())["description"]
            count = description["frames"] * len(description["beads"]["atoms"])
            squares += count * description["variance"]
            coordinates += count
            tables.append(description["springs"])
    norm = 1 / sqrt(squares / coordinates)
    names = [source.name for source in sources]
    known = {"conditions": asdict(conditions), "norm": norm, "springs": springs.pool(tables)}
    return finish(directory, {**origin, **known}, names)
