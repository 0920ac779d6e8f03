"""From trajectories to the shards of a dataset of molecules.

Every trajectory becomes a part, which another process can make; then all parts of a molecule become a system.

    DIRECTORY/.parts/KEY.npy, KEY.json … of each trajectory, until the dataset is finished
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ..config import BOLTZMANN, DataConfig, MoleculesConfig
from ..files import replacing, sha256_of, write_json
from ..molecules import springs
from ..molecules.bead_map import BeadMap
from ..molecules.beads import Beads
from ..molecules.residues import MoleculeError
from ..readers.arrays import ArchivedArray
from ..readers.found import Found
from ..readers.layouts import open_source
from ..readers.places import SPLITS
from ..readers.pooling import DEFAULT_SPLIT, Pool
from ..readers.sources import Conditions, Source, coarse_frames, require_same_conditions
from ..reference import profiles
from ..reference.biased import Weights
from .shards import BIASED, MANIFEST, SYSTEM, WEIGHTS, Dataset, finish, write_system

PARTS = ".parts"

Frames = Float[np.ndarray, "frames beads 3"]


def sources_of(config: MoleculesConfig) -> list[Source]:
    """The trajectories at `config.path`, which may be several paths, separated by commas.

    Raises MoleculeError as `readers.open_source` does.
    """
    paths = paths_of(config.path or "")
    root = paths[0] if len(paths) == 1 else None
    found = []
    for path in paths:
        if (path / MANIFEST).exists():
            raise MoleculeError(f"{path} is a converted dataset, not trajectories: give those it was made of")
        sources = open_source(
            path,
            None if config.topology is None else Path(config.topology).expanduser().absolute(),
            unit=config.unit,
            skip_damaged=config.skip_damaged,
            sequence=config.sequence,
            bead_map=BeadMap.parse(config.beads),
        )
        found += sources if root else [_told_apart(source, path) for source in sources]
    return found


def _told_apart(source: Source, path: Path) -> Source:
    """With the name of the folder that was given, of several, before its place."""
    split = source.split or SPLITS.get((path if path.is_dir() else path.parent).name.lower())
    prefix = f"{path.name}/" if path.is_dir() else f"{path.parent.name}/"
    return replace(source, place=prefix + source.place, split=split)


def paths_of(text: str) -> list[Path]:
    """One path, or several that commas part, in full; what is there under the whole text is one."""
    whole = Path(text).expanduser().absolute()
    if whole.exists() or "," not in text:
        # In full: the processes of a cluster that was joined have a folder of their own.
        return [whole]
    return [Path(part.strip()).expanduser().absolute() for part in text.split(",") if part.strip()]


def known_temperature(config: DataConfig) -> float | None:
    """What the data are known to have in K; None if they do not tell, or are to be made.

    Reads no frame. Raises MoleculeError if they cannot be opened, or are of several temperatures.
    """
    if config.path is None:
        return None
    paths = paths_of(config.path)
    if len(paths) == 1 and (paths[0] / MANIFEST).exists():
        return Dataset(paths[0]).manifest["source"].get("conditions", {}).get("temperature")
    return require_same_temperature(sources_of(config))


def require_same_temperature(sources: Sequence[Source]) -> float | None:
    """That of all whose temperature is known, in K. MoleculeError names two that differ."""
    known = [source for source in sources if source.conditions.temperature is not None]
    for source in known[1:]:
        if source.conditions.temperature != known[0].conditions.temperature:
            raise MoleculeError(
                f"{known[0].path} is of {known[0].conditions.temperature:g} K, and {source.path} of "
                f"{source.conditions.temperature:g} K: one temperature is one distribution"
            )
    return known[0].conditions.temperature if known else None


def convert(source: Source, bead_map: BeadMap, directory: Path) -> Found:
    """Write one trajectory as a part of a dataset: beads in nm, each frame centred. Skips what is there.

    Memory holds the beads of one trajectory, and its atoms a few MiB at a time. Raises MoleculeError as
    reading does.
    """
    if (biased := _biased(source)) is not None:
        convert(biased, bead_map, directory)
    part = _part(source, bead_map, directory)
    told = part.with_suffix(".json")
    if told.exists() and part.exists():
        content = json.loads(told.read_text())
        return Found(**content | {"gaps": tuple(content["gaps"])})
    found = Found()
    frames = coarse_frames(source, bead_map, found)
    with replacing(part) as partial, open(partial, "wb") as file:
        np.save(file, frames)
    write_json(told, asdict(found))
    return found


def _biased(source: Source) -> Source | None:
    """The biased frames of a reference to train on, as a trajectory; None where there are none."""
    if source.biased is None or (source.split or DEFAULT_SPLIT) != "train":
        return None
    # No frame may be left out: each has its weight.
    return replace(source, positions=ArchivedArray(source.biased), biased=None, skip_damaged=False)


def _part(source: Source, bead_map: BeadMap, directory: Path) -> Path:
    """Its name tells the file, as it is now, and all that decides what is read of it."""
    places = [place for place in (source.path, source.topology_path) if place is not None]
    stamps = [[str(place), place.stat().st_mtime_ns, place.stat().st_size] for place in places]
    choices = [source.name, source.unit, source.skip_damaged, source.given_sequence, bead_map.to_json()]
    return directory / PARTS / f"{sha256_of([stamps, choices, repr(source.positions)])[:32]}.npy"


def write_pool(pool: Pool, bead_map: BeadMap, directory: Path) -> None:
    """Write a molecule all of whose trajectories are converted as a system. Skips what is there.

    What is measured of it (springs, variance) is that of its training frames, if it has any. Memory holds the
    beads of all its trajectories.
    """
    parts = [_part(source, bead_map, directory) for source in pool.sources]
    biased = [_biased(source) for source in pool.of("train")]
    every = [_part(source, bead_map, directory) for source in biased if source is not None]
    parts += every
    done = directory / PARTS / f"{sha256_of([pool.name, *(part.name for part in parts)])[:32]}.done"
    if done.exists() and (directory / pool.name / SYSTEM).exists():
        return
    beads = pool.beads(bead_map)
    splits, trajectories, phi = {}, [], {}
    for split in pool.splits:
        loaded = []
        if known := profiles.read([source.report for source in pool.of(split)]):
            phi[split] = known
        for source in pool.of(split):
            part = _part(source, bead_map, directory)
            loaded.append(np.load(part, mmap_mode="r"))
            spacing = json.loads(part.with_suffix(".json").read_text())["spacing"]
            entry = {"name": source.place or source.path.name, "split": split}
            trajectories.append({**entry, "frames": len(loaded[-1]), "spacing": spacing})
        splits[split] = np.concatenate(loaded)
    bias: dict[str, Any] = {}
    if every and len(every) == len(biased):
        weights = _weights(pool)
        splits[BIASED] = np.concatenate([np.load(part, mmap_mode="r") for part in every])
        splits[WEIGHTS] = weights.columns
        bias["bias"] = weights.along(pool.of("train")[0].atoms_of(bead_map).tolist())
    description = {
        "beads": beads.to_json(),
        "layout": pool.sources[0].layout,
        "conditions": asdict(pool.sources[0].conditions),
        **_measured(beads, splits.get("train", next(iter(splits.values())))),
        "trajectories": trajectories,
        # Of datasets without them the fingerprint is what it was.
        **({"phi": phi} if phi else {}),
        **bias,
    }
    write_system(directory, pool.name, description, splits)
    write_json(done, pool.name)


def _weights(pool: Pool) -> Weights:
    """Of the biased frames of all references of a molecule."""
    found = []
    for source in pool.of("train"):
        assert source.biased is not None
        assert source.conditions.temperature is not None
        found.append(Weights.read(source.biased, BOLTZMANN * source.conditions.temperature))
    return Weights.joined(found)


def _measured(beads: Beads, frames: Frames) -> dict[str, Any]:
    first, second = np.asarray(beads.bonds).reshape(-1, 2).T
    lengths = np.linalg.norm(frames[:, first] - frames[:, second], axis=-1)
    return {
        "frames": len(frames),
        "variance": float(np.mean(np.square(frames, dtype=np.float64))),
        "bond_means": lengths.mean(axis=0).tolist(),
        "springs": springs.measure(beads, frames),
    }


def check(pools: Sequence[Pool]) -> Conditions:
    """What all trajectories have in common, before anything is read.

    Raises MoleculeError for references of different kinds, or nothing to train on.
    """
    sources = [source for pool in pools for source in pool.sources]
    conditions = require_same_conditions(sources)
    splits = dict.fromkeys(source.split or DEFAULT_SPLIT for source in sources)
    if "train" not in splits:
        found = ", ".join(sorted(splits))
        raise MoleculeError(f"nothing to train on: the trajectories are of {found}, and none of train")
    return conditions


def finish_conversion(directory: Path, pools: Sequence[Pool], origin: Mapping[str, Any]) -> Dataset:
    """The manifest, once every molecule is written.

    `norm` is the inverse of the standard deviation over all coordinates of the training frames, `springs` are
    theirs too. Raises MoleculeError as `check` does.
    """
    conditions = check(pools)
    squares, coordinates, tables = 0.0, 0, []
    for pool in pools:
        if "train" in pool.splits:
            description = json.loads((directory / pool.name / SYSTEM).read_text())["description"]
            count = description["frames"] * len(description["beads"]["atoms"])
            squares += count * description["variance"]
            coordinates += count
            tables.append(description["springs"])
    norm = 1 / sqrt(squares / coordinates)
    known = {"conditions": asdict(conditions), "norm": norm, "springs": springs.pool(tables)}
    dataset = finish(directory, {**origin, **known}, [pool.name for pool in pools])
    shutil.rmtree(directory / PARTS, ignore_errors=True)
    return dataset


def convert_all(pools: Sequence[Pool], bead_map: BeadMap, directory: Path) -> None:
    """Every trajectory and every molecule, one after another in this process."""
    for pool in pools:
        for source in pool.sources:
            convert(source, bead_map, directory)
        write_pool(pool, bead_map, directory)
