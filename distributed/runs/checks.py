"""What would fail only after hours of training, and is known before its first step."""

import os
from collections.abc import Collection
from pathlib import Path

from ...analysis.projections import require_projections
from ...data.config import DataConfig
from ...data.dataset.convert import sources_of
from ...data.files import require_writable
from ...data.molecules.bead_map import BeadMap
from ...data.molecules.beads import Beads, require_embeddable
from ...data.readers.pooling import pool
from ..cluster import joining, storage
from ..config import ClusterConfig
from .config import ConfigError
from .run import Run
from .settling import dataset_of

SPARE = 2**26
"""Bytes beside the frames: checkpoints, metrics, figures."""

Molecule = tuple[Beads, Collection[str]]
"""A molecule, and the splits that have frames of it."""


def require_judgeable(run: Run) -> list[Beads]:
    """The molecules of a run that are to be judged, all of which networks can take and a report be made of.

    Reads topologies alone. Raises MoleculeError for one that is too long or, where it is to be judged, is a
    single bead, and ConfigError if none is to be judged.
    """
    config, molecules = run.config.data, _molecules(run)
    for beads, _ in molecules:
        require_embeddable(beads, getattr(run.config.network, "embedding", "features"))
    judged = [beads for beads, splits in molecules if config.evaluate in splits]
    for beads in judged:
        require_projections(beads)
    if molecules and not judged:
        known = ", ".join(sorted({split for _, splits in molecules for split in splits}))
        raise ConfigError(
            f"the data have no split {config.evaluate!r}, only {known}: name one, whose molecules are to be "
            "sampled, simulated and judged",
            "data.evaluate",
        )
    return judged


def require_room(run: Run, judged: Collection[Beads] = ()) -> None:
    """FileError unless the run's folder can be written and has room for samples and simulation.

    Of the molecules that `require_judgeable` gives; without them, of the one particle of a toy.
    """
    config = run.config
    numbers = max((3 * len(beads) for beads in judged), default=2)
    frames = max(1, len(judged)) * (config.sample.samples + config.simulate.frames)
    if config.data.evaluate != "train":
        frames += config.sample.training_peptides * config.sample.samples
    # As segments, as parts of files for other programs, and joined.
    require_writable(run.directory, SPARE + 3 * 4 * numbers * frames)


def require_storage(directory: Path, config: ClusterConfig) -> list[str]:
    """FileError unless runs can live there, on every host of a cluster that is joined as well; remarks.

    Raises what `joining.connect` raises.
    """
    joined = joining.joins(config)
    if joined:
        joining.connect(config)
    return storage.require(directory, joined)


def _molecules(run: Run) -> list[Molecule]:
    """Those of the dataset that is there, or of what it will be made of; none if nothing is known yet."""
    config, bead_map = run.config.data, BeadMap.parse(run.config.data.beads)
    if (dataset := dataset_of(config, run.data)) is not None:
        described = ((name, dataset.description(name).get("beads")) for name in dataset.systems)
        splits = {name: dataset.splits(name) for name in dataset.systems}
        return [(Beads.from_json(beads), splits[name]) for name, beads in described if beads is not None]
    if config.path is not None:
        return [(pooled.beads(bead_map), pooled.splits) for pooled in pool(sources_of(config), bead_map)]
    return [(Beads.from_sequence(sequence, bead_map), (split,)) for split, sequence in peptides(config)]


def peptides(config: DataConfig) -> list[tuple[str, str]]:
    """Splits and sequences of what is simulated where the data have no path, the judged split last."""
    splits = (("train", config.sequences), (config.evaluate, config.held_out))
    return [(split, sequence) for split, sequences in splits for sequence in sequences or ()]


def require_free(*targets: Path, force: bool) -> None:
    """ConfigError if one of the files is there, unless `force`; FileError if it cannot be written."""
    for target in targets:
        if target.is_dir():
            raise ConfigError(f"{target} is a folder: name another file with --out")
        if os.path.lexists(target) and not force:
            raise ConfigError(f"{target} is there already: name another file with --out, or give --force")
        require_writable(target.absolute().parent)
