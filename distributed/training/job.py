"""The training of one expert, as plain values that travel to its processes."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

from ...data import archive
from ...data.archive import Archive, Description
from ...data.config import MoleculesConfig, MuellerBrownConfig
from ...data.dataset.loader import Plan
from ...data.dataset.shards import Dataset
from ...model.config import (
    ArchitectureConfig,
    DynamicsConfig,
    ExpertConfig,
    GraphTransformerConfig,
    MLPConfig,
    ObjectiveConfig,
    SamplerConfig,
)
from ...model.experts import Expert
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
    network: MLPConfig | GraphTransformerConfig
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
        split = dataset.split("train")
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
    archive.write(path, Archive(description, tuple(parameters.load(job.directory) for job in jobs)))


def _part(kind: type[Part], settings: Part) -> Part:
    """The settings that a class has of one that extends it."""
    return kind(**{field.name: getattr(settings, field.name) for field in fields(kind)})
