"""The data's settings. Free of JAX, so that the command line starts at once."""

from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from ..model.config import STRICT, Count, Integrator, Positive


@dataclass(frozen=True, config=STRICT)
class MuellerBrownConfig:
    """Langevin dynamics of one particle in the Müller-Brown potential; natural units of the potential."""

    frames: Count = 100_000
    """Training frames, over all chains; as many again are the independent reference."""
    chains: Count = 1000
    """Independent chains (1: the paper's single trajectory)."""
    stride: Count = 50
    """Steps from one kept frame to the next."""
    burn_in: Annotated[int, Field(ge=0)] = 20_000
    """Steps of each chain that are dropped first."""
    integrator: Integrator = "baoab"
    """The paper's (OpenMM's LangevinIntegrator) or BAOAB."""
    timestep: Positive = 5e-3
    """Time step."""
    temperature: Positive = 23.0
    """Thermal energy kT."""
    mass: Positive = 0.5
    """Mass of the particle."""
    friction: Positive = 1.0
    """Friction γ."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of the data, apart from that of the training."""

    def __post_init__(self):
        if self.frames % self.chains:
            raise ValueError(
                f"frames {self.frames} is not a multiple of chains {self.chains}: "
                "every chain keeps the same number"
            )
