"""Where a training stands, as its processes tell the driver."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Where one process of an expert's group stands."""

    step: int = 0
    steps: int = 0
    denoising: float = float("nan")
    consistency: float = float("nan")
    gradient_norm: float = float("nan")
    samples_per_second: float = 0.0
    step_seconds: float = float("nan")
    utilisation: float = float("nan")
    """FLOPs of the model over the devices' peak; not a number where that is unknown."""
    seconds_left: float = float("nan")
    input_wait: float = 0.0
    seconds: float = 0.0
    phase: str = "starting"
    """What it is at: starting, waiting for data, training, saving, ending."""
    blocks: int = 0
    """Blocks that this process has handed to its devices."""
    resumed: int = 0
    """Step of the checkpoint that it began with."""
    saved: int = 0
    """Step of the newest checkpoint that is on disk."""
    warning: str = ""
    """What last went wrong and did not end the training."""

    @property
    def compiled(self) -> bool:
        """Whether steps have been taken since the process began."""
        return self.samples_per_second > 0

    def moved(self, before: "Progress") -> bool:
        """Whether the process got anywhere since."""
        return (self.phase, self.step, self.blocks) != (before.phase, before.step, before.blocks)

    @property
    def finished(self) -> bool:
        """Whether every step was taken."""
        return self.steps > 0 and self.step >= self.steps
