"""The model's settings. Free of JAX, so that the command line starts at once."""

from collections.abc import Sequence
from itertools import pairwise
from math import gcd
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

STRICT = ConfigDict(extra="forbid", use_attribute_docstrings=True)

Estimator = Literal["weak", "hutchinson", "exact"]
Consistency = Literal["fokker-planck", "rne", "diffclf"]
Solver = Literal["euler-maruyama", "dpm-solver"]
Ending = Literal["finite", "physical"]
Beginning = Literal["data", "stratified", "samples"]
Integrator = Literal["langevin", "baoab"]

Count = Annotated[int, Field(gt=0)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
SMALLEST_TIME = 1e-5
"""Diffusion time from which experts are trained, and at which forces are read unless said otherwise."""
SEAM = 0.01
"""How far the times of training may begin or end from the expert's interval."""

Fraction = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, config=STRICT)
class ArchitectureConfig:
    """One expert as it answers: a network, and the interval of diffusion time that it answers for."""

    interval: tuple[Fraction, Fraction]
    """Diffusion times [start, end) of this expert."""
    hidden: tuple[Count, ...]
    """Widths of the hidden layers."""
    conservative: bool = True
    """The score is the gradient of a log-density; otherwise a free vector field."""
    relative_time: bool = True
    """Feed the time relative to the interval as well."""

    def __post_init__(self):
        start, end = self.interval
        if not start < end:
            raise ValueError(f"interval [{start:g}, {end:g}) is empty: the start must be below the end")
        if not self.hidden:
            raise ValueError("hidden names no layer: give at least one width")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ExpertConfig(ArchitectureConfig):
    """One expert: a network, the interval of diffusion time that it answers for, and how it is trained."""

    epochs: Count
    """Passes over the training frames."""
    midpoint: Fraction
    """Diffusion time that halves the denoising weight of the interval."""
    consistency_weight: NotNegative = 0.0
    """Weight λ of the consistency term (0: none)."""
    train_interval: tuple[Positive, Fraction] | None = None
    """Diffusion times drawn in training, where they differ from the interval at its seams (none: they do not,
    but for the first 1e-5)."""

    def __post_init__(self):
        super().__post_init__()
        start, end = self.interval
        first, last = self.times
        if max(abs(first - start), abs(last - end)) > SEAM * (1 + 1e-9) or not first < last:
            raise ValueError(
                f"train_interval [{first:g}, {last:g}] is not that of the interval [{start:g}, {end:g}): "
                f"its ends may differ by {SEAM:g} at most"
            )
        if not max(first, start) < self.midpoint < min(last, end):
            raise ValueError(
                f"midpoint {self.midpoint:g} must lie inside ({max(first, start):g}, {min(last, end):g})"
            )
        if self.consistency_weight and not self.conservative:
            raise ValueError(
                "consistency_weight needs conservative=true: the consistency term is that of a log-density"
            )

    @property
    def times(self) -> tuple[float, float]:
        """Diffusion times drawn in training."""
        return self.train_interval or (max(self.interval[0], SMALLEST_TIME), self.interval[1])


def check_cover(experts: Sequence[ArchitectureConfig]) -> None:
    """Raise ValueError unless the intervals cover (0, 1) exactly once, in ascending order."""
    if not experts:
        raise ValueError("experts is empty: at least one expert must cover (0, 1)")
    first, last = experts[0].interval[0], experts[-1].interval[1]
    if first != 0:
        raise ValueError(f"experts.0.interval must start at 0, not {first:g}")
    if last != 1:
        raise ValueError(f"experts.{len(experts) - 1}.interval must end at 1, not {last:g}")
    for index, (before, after) in enumerate(pairwise(expert.interval for expert in experts), start=1):
        if before[1] != after[0]:
            kind = "gap" if after[0] > before[1] else "overlap"
            raise ValueError(
                f"experts.{index}.interval starts at {after[0]:g}, but experts.{index - 1}.interval ends at "
                f"{before[1]:g}: {kind}"
            )


@dataclass(frozen=True, config=STRICT)
class MLPConfig:
    """Multilayer perceptrons of all coordinates at once, for the toy systems. All experts share this."""

    kind: Literal["mlp"] = "mlp"
    precondition: bool = False
    """Write log p = −½‖x‖² + α h/√(σ² + α²b²), so that h is of order one at every t."""
    bond_width: Positive = 0.1
    """Width b of the stiffest direction of the data, in normalised units (used by precondition)."""


VOCABULARY = (24, 40, 8, 64)
"""Values that each feature of a bead can take where it is embedded: types of residues, names of atoms,
elements, numbers of residues."""
UNKNOWN = VOCABULARY[0] - 1
"""The type of a residue that is not known. One above it, UNKNOWN + 1 + type, is hidden: embedded as this one,
while what else is known of the residue stays known."""


@dataclass(frozen=True, config=STRICT)
class GraphTransformerConfig:
    """Transformers over the beads of a molecule. All experts share this."""

    kind: Literal["graph-transformer"] = "graph-transformer"
    precondition: bool = False
    """Write log p = −½‖x‖² + α h/√(σ² + α²b²), so that h is of order one at every t."""
    bond_width: Positive = 0.03
    """Width b of the stiffest bond, in normalised units (used by precondition)."""
    heads: Count = 8
    """Attention heads."""
    head_width: Count = 64
    """Width of each head."""
    embedding: Literal["features", "one-hot"] = "features"
    """What tells beads apart: embeddings of residue, atom, element and residue index, or their number."""
    springs: bool = False
    """Start from the bonds and angles of the training data as harmonic springs, which fade as noise grows."""
    centred: bool = True
    """Noise moves no centre of mass, and D counts 3N − 3 coordinates."""


@dataclass(frozen=True, config=STRICT)
class VectorTransformerConfig:
    """Transformers over the beads of a molecule that are exactly invariant. All experts share this."""

    kind: Literal["vector-transformer"] = "vector-transformer"
    residue_properties: bool = False
    """Tell of each residue, beside its type, charge, size, hydropathy, branching at Cβ, and whether it is
    aromatic, glycine or proline: known of hidden and of never seen types too."""
    precondition: bool = True
    """Write log p = −½‖x‖² + α h/√(σ² + α²b²), so that h is of order one at every t."""
    bond_width: Positive = 0.1
    """Width b of the stiffest bond, in normalised units (used by precondition)."""
    heads: Count = 4
    """Attention heads."""
    head_width: Count = 16
    """Width of each head."""
    springs: bool = True
    """Start from the bonds and angles of the training data as harmonic springs, which fade as noise grows."""
    centred: bool = True
    """Noise moves no centre of mass, and D counts 3N − 3 coordinates."""


NetworkConfig = Annotated[
    MLPConfig | GraphTransformerConfig | VectorTransformerConfig, Field(discriminator="kind")
]


@dataclass(frozen=True, config=STRICT)
class ObjectiveConfig:
    """The loss."""

    consistency: Consistency = "fokker-planck"
    """What ties the densities of different times together."""
    estimator: Estimator = "exact"
    """Estimator of the Fokker-Planck residual."""
    consistency_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Part of each batch on which the term is taken."""
    consistency_start: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Part of the training after which the term counts."""
    log_sigma_fraction: Fraction = 0.0
    """Part of the diffusion times drawn uniformly in log σ instead of t; weights undo the preference."""
    antithetic: bool = False
    """Noise each frame twice, at one time and by opposite noise: where there is little, it exceeds the score
    by far in the targets, and cancels. A batch is then of twice as many noised configurations as frames."""
    compute: Literal["float32", "bfloat16"] = "float32"
    """What networks compute in for the denoising part. Parameters, sums of energies and the consistency term
    are float32 in any case."""

    @property
    def draws(self) -> int:
        """How many times each frame of a batch is noised."""
        return 2 if self.antithetic else 1

    def rows(self, frames: int) -> int:
        """How many noised configurations a batch of so many frames is of."""
        return frames * self.draws

    def regularised_rows(self, rows: int) -> int:
        """On how many rows of a batch of so many the consistency term is taken."""
        return max(1, round(self.consistency_fraction * rows))

    def groups(self, rows: int) -> int:
        """Equal groups that the rows of a batch consist of, in each of which the first are regularised.

        As many as possible: so all devices have the same share of the term, however many there are.
        """
        return gcd(self.regularised_rows(rows), rows)

    def shares(self, frames: int) -> int:
        """Into how many equal parts a batch of so many frames can be cut; into any divisor of it as well."""
        return gcd(self.groups(self.rows(frames)), frames)

    def divides(self, frames: int, parts: int) -> bool:
        """Whether so many parts of a batch, one after another or on several devices, can be equal."""
        return self.shares(frames) % parts == 0 or parts == 1


@dataclass(frozen=True, config=STRICT)
class SamplerConfig:
    """The reverse diffusion."""

    chunk: Count = 5000
    """Samples that are drawn together."""
    solver: Solver = "dpm-solver"
    """Euler-Maruyama (the paper's) or the second-order SDE-DPM-Solver++."""
    evaluations: Annotated[int, Field(ge=2)] = 50
    """Evaluations of the score for each sample."""
    final_time: Annotated[float, Field(gt=0, lt=1)] = SMALLEST_TIME
    """Diffusion time at which the DPM-Solver ends."""


@dataclass(frozen=True, config=STRICT)
class SampleConfig(SamplerConfig):
    """Independent samples: the reverse diffusion."""

    samples: Count = 100_000
    """Number of samples."""
    training_peptides: Annotated[int, Field(ge=0)] = 3
    """Peptides of training that are sampled too, spread over their list, where others are judged: as many
    samples of each as it has frames (0: none)."""

    def __post_init__(self):
        if self.samples % self.chunk:
            raise ValueError(f"samples {self.samples} is not a multiple of chunk {self.chunk}")


@dataclass(frozen=True, config=STRICT)
class DynamicsConfig:
    """Langevin dynamics of one batch of chains."""

    chunk: Count = 50
    """Chains that are advanced together."""
    stride: Count = 50
    """Steps from one kept frame to the next."""
    burn_in: Annotated[int, Field(ge=0)] = 0
    """Steps of each chain that are dropped first."""
    integrator: Integrator = "baoab"
    """The paper's (OpenMM's LangevinIntegrator) or BAOAB."""
    timestep: Positive = 5e-3
    """Time step (ps; Müller-Brown: the potential's own unit)."""
    inner_steps: Count = 1
    """Parts of each time step, made with the forces of the springs alone; the network's forces are computed
    once a time step, and act at its ends (1: all forces act together)."""
    friction: NotNegative = 1.0
    """Friction γ (1/ps; Müller-Brown: the inverse of the potential's own unit); 0: a constant energy."""
    force_time: Annotated[float, Field(gt=0, lt=1)] = SMALLEST_TIME
    """Diffusion time at which forces are read."""

    def __post_init__(self):
        if self.inner_steps > 1 and self.integrator != "baoab":
            raise ValueError(
                f"inner_steps {self.inner_steps} needs integrator=baoab: {self.integrator} has no inner steps"
            )


def require_springs(settings: DynamicsConfig, network: NetworkConfig, name: str = "inner_steps") -> None:
    """Raise ValueError, with the setting's name, unless the network has what inner steps are made with."""
    if settings.inner_steps > 1 and (network.kind == "mlp" or not network.springs):
        raise ValueError(
            f"{name} {settings.inner_steps} needs network.springs=true: inner steps are made with the forces "
            "of springs, and this network has none; take 1"
        )


@dataclass(frozen=True, config=STRICT)
class UmbrellaConfig:
    """Umbrella windows along φ on the learned energy, by the settings of the simulation; molecules alone."""

    windows: Annotated[int, Field(ge=0)] = 36
    """Windows over the circle, an even number (0: barriers of the learned energy are not looked for)."""
    replicas: Annotated[int, Field(ge=2)] = 8
    """Independent sets of them, with a chain in each window, by whose spread errors are known."""
    strength: Positive = 50.0
    """Strength K of the bias K (1 − cos(φ − φᵢ)) of window i, in kT; neighbours have to overlap."""
    burn_in: NotNegative = 1.0
    """Time in ps of each chain that is dropped first."""
    length: Positive = 6.0
    """Time in ps of each chain that counts."""
    interval: Positive = 0.04
    """Time in ps from one value of φ to the next, when chains of neighbouring windows may change places."""

    def __post_init__(self):
        if self.windows % 2:
            raise ValueError(f"windows {self.windows} is odd: neighbours change places, two and two")


START_WORDS = {
    "data": "frames of the data",
    "stratified": "frames of the data, of both signs of φ by their shares",
    "samples": "samples of the model",
}
"""For people: chains start at …"""


@dataclass(frozen=True, config=STRICT)
class SimulateConfig(DynamicsConfig):
    """Langevin dynamics in the learned potential."""

    frames: Count = 100_000
    """Number of frames kept, over all chains."""
    chains: Count = 1000
    """Independent chains."""
    segment: Count = 1000
    """Frames of each chain that are computed and saved at a time."""
    ends_unless: Ending = "finite"
    """What a chain has to stay to go on: finite; or physical, without broken bonds and within range."""
    first_phi_positive: bool = False
    """Start the first chain at a frame of φ > 0 if there is one, as the paper does of alanine dipeptide."""
    start: Beginning = "data"
    """Where chains start: at frames of the data; at such frames, as many of them of φ > 0 as the data have a
    share of these (stratified); or at samples of the model."""

    @property
    def start_words(self) -> str:
        """For people: chains start at …"""
        forced = ", the first at one of φ > 0, as in the paper" if self.first_phi_positive else ""
        return START_WORDS[self.start] + forced

    def __post_init__(self):
        super().__post_init__()
        if self.first_phi_positive and self.start != "data":
            raise ValueError(f"first_phi_positive needs start=data, not {self.start}")
        if self.chains % self.chunk:
            raise ValueError(f"chains {self.chains} is not a multiple of chunk {self.chunk}")
        if self.frames % self.chains:
            raise ValueError(
                f"frames {self.frames} is not a multiple of chains {self.chains}: "
                "every chain keeps the same number"
            )
