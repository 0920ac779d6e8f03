"""The training's settings. Free of JAX and Ray, so that the command line starts at once."""

from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from ..model.config import STRICT, Count, NotNegative, Positive

Labels = Annotated[str, Field(pattern=r"^[\w./-]+=[\w.-]+(,[\w./-]+=[\w.-]+)*$")]


def selector(labels: str | None) -> dict[str, str]:
    """What the labels of a host have to be, in Ray's words."""
    return dict(part.split("=") for part in labels.split(",")) if labels else {}


@dataclass(frozen=True, config=STRICT)
class TrainConfig:
    """Optimiser, batches and checkpoints of every expert."""

    batch_size: Count = 128
    """Frames in a batch, over all devices of an expert."""
    accumulate: Count = 1
    """Parts of a batch that are taken one after another, where it does not fit the devices at once."""
    mix: Literal["frames", "equal"] = "frames"
    """How often each system is drawn: as it has frames, or all equally often."""
    frames: Literal["equilibrium", "biased"] = "equilibrium"
    """Frames of equilibrium, or the biased ones that references drew them from, which also lie on barriers,
    with weights; these only where the data have them of every system that is trained on."""
    hide_residues: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """How often the type of a residue is hidden, so that those of no training molecule can be met."""
    optimiser: Literal["adamw", "muon"] = "adamw"
    """AdamW, or Muon for all matrices: it makes their updates orthogonal, as large as AdamW's would be."""
    learning_rate: Positive = 1e-3
    """Learning rate at the start of the cosine."""
    warm_up: Annotated[int, Field(ge=0)] = 0
    """Steps over which the learning rate rises to that, before the cosine."""
    final_learning_rate: NotNegative = 1e-5
    """Learning rate at its end."""
    weight_decay: NotNegative = 1e-4
    """Decoupled weight decay."""
    clip: Positive = 1e3
    """Bound on each element of the gradient."""
    clip_norm: Positive | None = None
    """Bound on the gradient's norm (none: no bound)."""
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
    """Where it runs, and what it survives."""

    address: str | None = None
    """Ray cluster to join ("auto" or host:port); none: that of RAY_ADDRESS, or one of its own is started."""
    device: Literal["cpu", "gpu"] = "cpu"
    """What experts are trained on."""
    hosts: Literal["auto"] | tuple[Count, ...] = "auto"
    """Hosts of each expert's group: one number for all, or one for each expert; auto: one, and on a cluster
    of more hosts than experts what lets all end together, by the work of their steps."""
    train_on: Labels | None = None
    """Labels of the hosts that experts are trained on, label=value with commas between (none: any host)."""
    simulate_on: Labels | None = None
    """Labels of the hosts of the simulation pool."""
    autoscaled: bool = False
    """Ask a cluster that starts hosts for all that are wanted, and wait for them; otherwise begin with those
    that are there."""
    place_deadline: Positive = 1800.0
    """Seconds that groups, or simulators, may wait for a place while none of them is at work."""
    devices_per_host: Count = 1
    """GPUs of each host that a group takes; in place of GPUs, so many CPU devices in its process."""
    simulators: Annotated[int, Field(ge=0)] = 0
    """Actors in the simulation pool (0: one for each CPU, or each GPU where experts use them)."""
    segment_deadline: Positive = 3600.0
    """Seconds that a segment of a simulation may take, compilation included."""
    failures: Annotated[int, Field(ge=0)] = 3
    """How often each expert's group may be lost or get stuck and start again."""
    preemptions: Annotated[int, Field(ge=0)] = 100
    """How often each group may be told to leave and start again."""
    back_off: NotNegative = 1.0
    """Seconds before a lost group starts again; doubled, up to a minute, each time it had taken no step."""
    grow_after: NotNegative = 30.0
    """Seconds of room for more of its hosts after which a smaller group saves, and starts again on them."""
    start_deadline: Positive = 600.0
    """Seconds from the start of a group's processes to its first steps, compilation included."""
    step_deadline: Positive = 600.0
    """Seconds that a block of steps may take."""
    save_deadline: Positive = 600.0
    """Seconds that a checkpoint may hold up the training, and that a group may take to save and end."""
    profile: tuple[Count, Count] | None = None
    """First and last step of a trace of every expert that TensorBoard's profiler opens (none: none)."""

    def __post_init__(self):
        if self.profile and self.profile[0] > self.profile[1]:
            raise ValueError(f"profile {self.profile[0]}:{self.profile[1]} ends before it begins")
