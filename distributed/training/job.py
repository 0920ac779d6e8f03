"""The training of one expert, as plain values that travel to its processes."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

import numpy as np

from ...data import archive
from ...data.archive import Archive, Description
from ...data.config import MoleculesConfig, MuellerBrownConfig
from ...data.dataset.loader import Plan
from ...data.dataset.shards import Dataset
from ...data.molecules.beads import Beads
from ...model.config import (
    UNKNOWN,
    ArchitectureConfig,
    DynamicsConfig,
    ExpertConfig,
    NetworkConfig,
    ObjectiveConfig,
    SamplerConfig,
)
from ...model.experts import Expert, Parameters
from ...model.networks.graph_transformer import RESIDUES
from ..config import TrainConfig
from . import parameters
from .history import HISTORY, read_history

Part = TypeVar("Part", ArchitectureConfig, DynamicsConfig, SamplerConfig)


@dataclass(frozen=True)
class ExpertJob:
    """What one group has to train, and where it stands on disk."""

    name: str
    index: int
    directory: Path
    data: Path
    expert: ExpertConfig
    network: NetworkConfig
    objective: ObjectiveConfig
    train: TrainConfig
    seed: int
    other_data: bool = False
    """Go on from a checkpoint that was trained on other data."""
    profile: tuple[int, int] | None = None
    """First and last step of a trace."""
    run: str = ""
    """What the run that it is part of is called."""

    @property
    def tags(self) -> dict[str, str]:
        """What its numbers are told from those of others by."""
        return {"run": self.run, "expert": "{:g}-{:g}".format(*self.expert.interval)}

    @property
    def trained(self) -> bool:
        """Whether it is trained to its end: its averaged parameters are on disk."""
        return (self.directory / parameters.FILE).exists()

    @property
    def losses(self) -> dict[str, list[float]] | None:
        """What `history.read_history` gives; None if it has not begun."""
        path = self.directory / HISTORY
        return read_history(path) if path.exists() else None

    def load(self) -> tuple[Dataset, Expert, Plan]:
        """The data, the expert's functions and the plan of its batches."""
        dataset = Dataset(self.data)
        split, _ = dataset.training(self.train.frames)
        expert = Expert(self.expert, self.network, split.shape)
        alike = split.frames_of_systems if self.train.mix == "equal" else ()
        plan = Plan(len(split), self.train.batch_size, self.expert.epochs, self.seed, alike)
        return dataset, expert, plan


def write_model(
    path: Path,
    jobs: Sequence[ExpertJob],
    data: MuellerBrownConfig | MoleculesConfig,
    sample: SamplerConfig,
    simulate: DynamicsConfig,
) -> None:
    """Write what the experts of one model have been trained to, as one file; the settings are its defaults.

    Raises FileError, and FileNotFoundError unless all are trained.
    """
    dataset = Dataset(jobs[0].data)
    description = Description(
        experts=tuple(_part(ArchitectureConfig, job.expert) for job in jobs),
        network=jobs[0].network,
        sample=_part(SamplerConfig, sample),
        simulate=_part(DynamicsConfig, simulate),
        norm=dataset.norm,
        springs=dict(dataset.springs) if dataset.springs else None,
        **archive.system_of(data),
    )
    trained = [parameters.load(job.directory) for job in jobs]
    if jobs[0].train.hide_residues:
        trained = [_unseen_as_unknown(own, dataset) for own in trained]
    archive.write(path, Archive(description, tuple(trained)))


def _unseen_as_unknown(trained: Parameters, dataset: Dataset) -> Parameters:
    """With residues of no training molecule embedded as those whose type was hidden."""
    training = [name for name in dataset.systems if "train" in dataset.manifest["systems"][name]["splits"]]
    seen = [Beads.from_json(dataset.description(name)["beads"]).features[:, 0] for name in training]
    embedding = np.array(trained[RESIDUES]["embedding"])
    embedding[np.setdiff1d(np.arange(len(embedding)), np.concatenate(seen))] = embedding[UNKNOWN]
    return {**trained, RESIDUES: {"embedding": embedding}}


def _part(kind: type[Part], settings: Part) -> Part:
    """The settings that a class has of one that extends it."""
    return kind(**{field.name: getattr(settings, field.name) for field in fields(kind)})
