"""The training's settings. Free of JAX and Ray, so that the command line starts at once."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from ..model.config import STRICT, Count, NotNegative, Positive


@dataclass(frozen=True, config=STRICT)
class TrainConfig:
    """Optimiser, batches and checkpoints of every expert."""

    batch_size: Count = 128
    """Frames in a batch, over all devices of an expert."""
    mix: Literal["frames", "equal"] = "frames"
    """How often each system is drawn: as it has frames, or all equally often."""
    learning_rate: Positive = 1e-3
    """Learning rate at the start of the cosine."""
    final_learning_rate: NotNegative = 1e-5
    """Learning rate at its end."""
    weight_decay: NotNegative = 1e-4
    """Decoupled weight decay of AdamW."""
    clip: Positive = 1e3
    """Bound on each element of the gradient."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the moving average of the parameters, for each step."""
    restart_from_ema: bool = False
    """Set the parameters to their average at the end of each epoch (SEMA, as the authors do)."""
    block: Count = 512
    """Steps that the device takes at a time; the loader hands over as many batches."""
    checkpoint_every: Count = 10_000
    """Steps between checkpoints, rounded up to whole blocks."""

    def __post_init__(self):
        if self.final_learning_rate > self.learning_rate:
            raise ValueError(
                f"final_learning_rate {self.final_learning_rate:g} exceeds "
                f"learning_rate {self.learning_rate:g}: the cosine only falls"
            )


@dataclass(frozen=True, config=STRICT)
class ClusterConfig:
    """Where it runs."""

    address: str | None = None
    """Ray cluster to join ("auto", ray://… or host:port); none: join a running one or start one here."""
    devices_per_expert: Annotated[int, Field(ge=0)] = 0
    """GPUs for each expert (0: train on CPUs)."""
    simulators: Annotated[int, Field(ge=0)] = 0
    """Actors in the simulation pool (0: one for each CPU, or each GPU where experts use them)."""
