"""The data's settings. Free of JAX, so that the command line starts at once."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from ..model.config import STRICT, Count, Integrator, Positive

BOLTZMANN = 0.00831446261815324
"""In kJ/(mol K)."""


@dataclass(frozen=True, config=STRICT)
class MuellerBrownConfig:
    """Langevin dynamics of one particle in the Müller-Brown potential; natural units of the potential."""

    # What is asked of molecules too: it has no files and no peptides, and is judged by one split.
    path: ClassVar[None] = None
    sequences: ClassVar[None] = None
    held_out: ClassVar[None] = None
    beads: ClassVar[str] = "none"
    evaluate: ClassVar[str] = "train"

    kind: Literal["mueller-brown"] = "mueller-brown"
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

    @property
    def kT(self) -> float:
        """Thermal energy."""
        return self.temperature


@dataclass(frozen=True, config=STRICT)
class MoleculesConfig:
    """Trajectories of one molecule or of many peptides, mapped to beads."""

    kind: Literal["molecules"] = "molecules"
    path: str | None = None
    """File or folder of trajectories, in any layout that fokker reads, or several with commas between, or a
    converted dataset (none: make a reference of `sequences` with OpenMM)."""
    topology: str | None = None
    """PDB or other topology of the molecule, in place of those that lie beside the trajectories."""
    sequence: str | None = None
    """What stands for a topology where there is none, such as ACE-ALA-NME: frames hold its heavy atoms, or
    the beads."""
    beads: str = "backbone"
    """Bead map: backbone, alanine-dipeptide, calpha, or a selection in mdtraj's language."""
    unit: Literal["nm", "angstrom", "nm*30", "nm/10"] | None = None
    """Unit of length in the files (none: told by the bonds)."""
    skip_damaged: bool = False
    """Leave out frames that are not finite or have impossible bonds, and the torn ends of files; they are
    counted (false: refuse them)."""
    temperature: Positive = 300.0
    """Temperature of the dynamics in K."""
    evaluate: Literal["train", "validation", "test"] = "train"
    """Split whose peptides are sampled, simulated and judged."""
    sequences: tuple[str, ...] | None = None
    """Peptides to train on where there is no path, such as AC or ACE-ALA-NME."""
    held_out: tuple[str, ...] | None = None
    """Others, of the split `evaluate`."""
    held_out_factor: Count = 1
    """How many times the production and the frames of a peptide to train on are made of theirs."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of the resampling that gives the floors."""

    @property
    def kT(self) -> float:
        """Thermal energy in kJ/mol."""
        return BOLTZMANN * self.temperature


DataConfig = Annotated[MuellerBrownConfig | MoleculesConfig, Field(discriminator="kind")]


@dataclass(frozen=True, config=STRICT)
class ReferenceConfig:
    """All-atom dynamics of one peptide in implicit solvent (OBC2), under a learned torsion bias."""

    force_field: Literal["amber14", "amber99sb-ildn"] = "amber14"
    """Amber's ff14SB or ff99SB-ILDN."""
    temperature: Positive = 310.0
    """Temperature in K."""
    friction: Positive = 1.0
    """Friction in 1/ps."""
    timestep: Positive = 4.0
    """Time step in fs."""
    learning: Positive = 2.0
    """Time in ns in which the bias is learned."""
    production: Positive = 24.0
    """Time in ns under the fixed bias."""
    interval: Positive = 1.0
    """Time in ps from one kept frame of production to the next."""
    frames: Count = 10_000
    """Frames of equilibrium drawn from those kept."""
    walkers: Count = 1
    """Independent simulations that share the production, each of which learns a bias of its own."""
    ceiling: Positive = 2.0
    """Free energy in kT along a torsion above which the bias takes barriers away; that of up to two torsions,
    more of them raise it by the logarithm of their number over two."""
    block: Positive = 0.2
    """Time in ns that a killed run loses at most."""
    platform: Literal["Reference", "CPU", "CUDA", "OpenCL"] = "Reference"
    """OpenMM's platform. Reference is the fastest below about 80 atoms, and repeats a run bit by bit."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of the dynamics and of the draw."""

    def __post_init__(self):
        if abs(self.stride * self.timestep - 1000 * self.interval) > 1e-6:
            raise ValueError(
                f"interval {self.interval:g} ps is not a multiple of timestep {self.timestep:g} fs"
            )
        if self.kept < self.frames:
            raise ValueError(
                f"frames {self.frames} is more than is kept: {self.production:g} ns of production, every "
                f"{self.interval:g} ps, are {self.kept}"
            )

    @property
    def stride(self) -> int:
        """Steps from one kept frame to the next."""
        return max(1, round(1000 * self.interval / self.timestep))

    @property
    def kept(self) -> int:
        """Frames that production keeps."""
        return round(1000 * self.production / self.interval)

    @property
    def biased(self) -> int:
        """Biased frames that there are: as many of every walker, `kept` or a few more."""
        return -(-self.kept // self.walkers) * self.walkers

    @property
    def kT(self) -> float:
        """Thermal energy in kJ/mol."""
        return BOLTZMANN * self.temperature
