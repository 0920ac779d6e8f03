"""The training of one expert, as plain values that travel to its processes."""

from dataclasses import dataclass
from pathlib import Path

from ..data.loader import Plan
from ..data.shards import Dataset
from ..model.config import ExpertConfig, GraphTransformerConfig, MLPConfig, ObjectiveConfig
from ..model.experts import Expert
from . import parameters
from .config import TrainConfig


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

    def load(self) -> tuple[Dataset, Expert, Plan]:
        """The data, the expert's functions and the plan of its batches."""
        dataset = Dataset(self.data)
        split = dataset.split("train")
        expert = Expert(self.expert, self.network, split.shape)
        alike = split.frames_of_systems if self.train.mix == "equal" else ()
        plan = Plan(len(split), self.train.batch_size, self.expert.epochs, self.seed, alike)
        return dataset, expert, plan
