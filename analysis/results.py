"""What a run, or a set of samples, is judged to be: typed, and versioned in the files that hold it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from math import hypot, isfinite, nan, pi
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from jaxtyping import Float
from pydantic import BeforeValidator, TypeAdapter, ValidationError

from ..data.files import FileError, read_json

FORMAT = 1
Definition = Literal["paper", "corrected"]
DEFINITIONS: tuple[Definition, ...] = ("paper", "corrected")
"""Those that are reported."""
COLUMNS = (("iid", "js"), ("sim", "js"), ("iid", "pmf"), ("sim", "pmf"))
"""What a table of results shows of each definition, in the order of the paper."""
TABLE_HEADER = ("definition", "metric", "iid", "sim", "floor", "iid/floor", "sim/floor", "sim floor")
Result = TypeVar("Result")
Number = Annotated[float, BeforeValidator(lambda value: nan if value is None else value)]
"""JSON has null for what is not finite."""


@dataclass(frozen=True)
class Scores:
    """How far a set is from the reference: JS divergence (nats) and PMF error."""

    js: Number
    pmf: Number


@dataclass(frozen=True)
class Comparison:
    """A set beside the reference, in both definitions."""

    paper: Scores
    corrected: Scores

    @property
    def numbers(self) -> Float[np.ndarray, "2 2"]:
        """By definition, then by metric."""
        return np.array([[part.js, part.pmf] for part in (self.paper, self.corrected)])

    @classmethod
    def of(cls, numbers: Float[np.ndarray, "2 2"]) -> "Comparison":
        """The inverse of `numbers`."""
        return cls(*(Scores(*map(float, row)) for row in numbers))


@dataclass(frozen=True)
class Metrics:
    """Scores of several sets by their kind: `iid`, `sim`, `samples`, `floor`; `floor_sim` has a JS alone.

    `between`, in the corrected definition, are samples and simulation beside each other, and `floor_between`
    (JS alone) its floor; metrics that were made before these were known have neither.
    `pooled`, of molecules that were not trained on, is the plane of all training molecules together.
    """

    paper: dict[str, Scores]
    corrected: dict[str, Scores]

    @classmethod
    def of(cls, sets: Mapping[str, Comparison]) -> "Metrics":
        """Of one comparison for each kind."""
        return cls(*({k: getattr(v, name) for k, v in sets.items()} for name in DEFINITIONS))

    @classmethod
    def mean(cls, several: Sequence["Metrics"]) -> "Metrics":
        """Means of every score."""
        return cls._over(several, np.mean)

    @classmethod
    def deviation(cls, several: Sequence["Metrics"]) -> "Metrics":
        """Standard deviations of every score."""
        return cls._over(several, partial(np.std, ddof=1))

    @classmethod
    def _over(cls, several: Sequence["Metrics"], how: Callable[[list[float]], Any]) -> "Metrics":
        def scores(name: Definition) -> dict[str, Scores]:
            every = [getattr(one, name) for one in several]
            return {
                kind: Scores(*(float(how([getattr(of[kind], m) for of in every])) for m in ("js", "pmf")))
                for kind in every[0]
                if all(kind in of for of in every)
            }

        return Metrics(*map(scores, DEFINITIONS))

    def __iter__(self) -> Iterator[tuple[Definition, dict[str, Scores]]]:
        """Each definition and its scores."""
        yield "paper", self.paper
        yield "corrected", self.corrected

    def table(self) -> list[tuple[str, ...]]:
        """Rows for people, below `TABLE_HEADER`; what is not known is left empty."""
        rows = []
        for definition, values in self:
            for metric in ("js", "pmf"):
                iid, sim, floor = (getattr(values[kind], metric) for kind in ("iid", "sim", "floor"))
                own = getattr(values["floor_sim"], metric) if "floor_sim" in values else nan
                scores = [f"{value:.4f}" for value in (iid, sim, floor)]
                ratios = [f"{value / floor:.2f}" for value in (iid, sim)]
                last = f"{own:.4f}" if isfinite(own) else ""
                rows.append((definition, metric.upper(), *scores, *ratios, last))
        return rows


@dataclass(frozen=True)
class Length:
    """A bond or another distance (nm): mean and standard deviation of every set, W1 from the reference."""

    spread: dict[str, tuple[Number, Number]]
    w1: dict[str, Number]


@dataclass(frozen=True)
class MirrorImages:
    """Frames of a set with a residue of the wrong hand (D), and the share of them by residue."""

    count: int
    share: Number
    residues: dict[str, float]


@dataclass(frozen=True)
class Torsions:
    """Modes along φ of the residue in the middle: share of its positive side, crossings of 0 in chains."""

    phi_positive: dict[str, Number]
    phi_crossings: int | None = None


@dataclass(frozen=True)
class Estimate:
    """A free energy (kT) and its standard error."""

    value: Number
    error: Number
    at_least: bool = False
    """It is known only not to be lower (at 95%), as no frame was seen higher up."""

    def beyond(self, other: "Estimate") -> str:
        """How much larger it is than another, for people."""
        if not isfinite(self.value - other.value) or (self.at_least and other.at_least):
            return "not known"
        sign = "> " if self.at_least else "< " if other.at_least else ""
        return f"{sign}{Estimate(self.value - other.value, hypot(self.error, other.error))}"

    def __str__(self):
        if not isfinite(self.value):
            return "not known"
        error = f" ± {self.error:.2f}" if isfinite(self.error) else ""
        return f"{'> ' if self.at_least else ''}{self.value:.2f}{error}"


@dataclass(frozen=True)
class FreeEnergy:
    """Along φ, in kT: of equal bins from −π to π, from the minimum of φ < 0, and what the modes depend on."""

    values: list[Number]
    errors: list[Number]
    barrier: Estimate
    """The highest point on the way over φ = 0, between the minima of both sides."""
    outer_barrier: Estimate
    """That of the other way, over ±π."""
    difference: Estimate
    """F(φ > 0) − F(φ < 0) = −ln[p(φ > 0)/p(φ < 0)]."""


SOURCES = {"biased": "biased frames", "frames": "frames of equilibrium"}
BARRIERS = (
    ("barrier near 0", "barrier"),
    ("barrier near ±2π/3", "outer_barrier"),
    ("F(φ > 0) − F(φ < 0)", "difference"),
)
BARRIER_HEADER = ("φ, in kT", "reference", "learned", "difference")


@dataclass(frozen=True)
class Profiles:
    """Free energies along φ of the residue in the middle, by their set.

    `reference`, `iid` and `sim`, and `umbrella`, of the learned energy, where there is one.
    """

    residue: str
    reference_from: Literal["biased", "frames"]
    """Of which frames the reference is: those of a bias see barriers that equilibrium hides."""
    sets: dict[str, FreeEnergy]

    def table(self) -> list[tuple[str, ...]]:
        """Rows for people, below `BARRIER_HEADER`; of the chains where no energy is learned."""
        reference, learned = (self.sets[kind] for kind in ("reference", self._learned))
        rows = []
        for label, name in BARRIERS:
            known, found = getattr(reference, name), getattr(learned, name)
            rows.append((label, str(known), str(found), found.beyond(known)))
        return rows

    @property
    def words(self) -> str:
        """Where the columns of the table come from."""
        own = {"umbrella": "umbrella windows", "sim": "chains without a bias"}[self._learned]
        return f"{self.residue}: reference by {SOURCES[self.reference_from]}, learned by {own}"

    @property
    def _learned(self) -> str:
        return "umbrella" if "umbrella" in self.sets else "sim"


@dataclass(frozen=True)
class Structure:
    """Of a molecule: bonds, distances between beads that none joins, and what only some have."""

    bonds: dict[str, Length]
    distances: dict[str, Length]
    mirror_images: dict[str, MirrorImages] | None
    """None where the beads have no hand. A reference of D-residues has them too: then they are right."""
    torsions: Torsions | None
    """None where the beads have none."""
    profiles: Profiles | None = None
    """None where the beads have no torsions."""


@dataclass(frozen=True)
class FrameCounts:
    """Frames and chains of samples or of a simulation."""

    frames: int
    frames_not_finite: int
    chains: int
    chains_left_range: int
    chains_not_finite: int


@dataclass(frozen=True)
class SimulationCounts(FrameCounts):
    """And the temperatures of a simulation, in the user's unit; None where they are not known."""

    temperature: float
    """Of the bath."""
    kinetic_temperature: float | None
    """At half steps, or half inner steps, over the chains that stayed finite."""
    step_temperature: float | None
    """At the steps."""
    largest_omega_dt: float | None = None
    """Of the fastest mode and a whole step, by the mass-weighted Hessian at frames of the data."""
    inner_steps: int = 1
    """Of a step: parts that it is made of."""
    start: str = ""
    """Where chains started, for people; empty where that is not known."""

    @property
    def limit(self) -> float:
        """At which `largest_omega_dt` a simulation is unstable.

        A whole step of inner ones resonates with a mode at half its period; the inner are stable up to there.
        """
        return 2.0 if self.inner_steps == 1 else pi

    @property
    def rms_omega_dt(self) -> float | None:
        """Root mean square of ω dt, by both temperatures; of springs and an inner step where there are some.

        BAOAB is colder at the steps by (ω dt)²/4 for each harmonic mode (`langevin.kinetic_temperatures`).
        """
        half, step = self.kinetic_temperature, self.step_temperature
        colder = 1 - step / half if half and step else -1.0
        return 2 * colder**0.5 if colder >= 0 else None


@dataclass(frozen=True)
class SystemResult(Metrics):
    """One system of a run. Metrics are means over its projections."""

    projections: dict[str, Metrics]
    """Of each, where there are several."""
    sim_error: Scores | None
    """Standard deviation of the simulation's corrected scores; None of a single chain."""
    molecule: Structure | None
    sample: FrameCounts
    simulate: SimulationCounts


@dataclass(frozen=True)
class Part:
    """Samples or a simulation: its number, its settings, and a hash of all frames by system."""

    result: int
    settings: dict[str, Any]
    frames: dict[str, str]


@dataclass(frozen=True)
class MadeFrom:
    """What metrics are metrics of."""

    sample: Part
    simulate: Part
    origin: dict[str, Any]
    umbrella: dict[str, Any] | None = None
    """Settings of the umbrella windows; None of metrics that were made before there were any."""


@dataclass(frozen=True)
class RunResult(Metrics):
    """metrics.json. Metrics are means over the systems."""

    sd: Metrics | None
    """Standard deviations over the systems, where there are several."""
    sample: FrameCounts
    simulate: SimulationCounts
    systems: dict[str, SystemResult]
    fokker_planck_error: dict[str, tuple[list[float], list[Number]]]
    """By expert, diffusion times and mean |R|/D."""
    made_from: MadeFrom
    data_fingerprint: str
    trained: dict[str, Metrics] = field(default_factory=dict)
    """Of some systems of training, `iid` and `floor`; in no mean."""


@dataclass(frozen=True)
class SampleCounts:
    """Frames that any program made."""

    count: int
    not_finite: int
    broken_bonds: int


@dataclass(frozen=True)
class SampleResult(Metrics):
    """A set of frames, whoever made them: `samples` and `floor`."""

    projections: dict[str, Metrics]
    molecule: Structure | None
    frames: SampleCounts


@dataclass(frozen=True)
class SampleResults:
    """What `fokker dataset judge` writes."""

    reference: str
    systems: dict[str, SampleResult] = field(default_factory=dict)


_adapter = lru_cache(TypeAdapter)


def to_json(result: RunResult | SampleResults) -> dict[str, Any]:
    """Plain JSON values, with the version of their layout."""
    return plain(result, FORMAT)


def read(path: Path) -> RunResult:
    """The result of a run. FileNotFoundError if there is none, FileError for a damaged or an older one."""
    return read_as(path, RunResult, FORMAT, "fokker evaluate")


def plain(result: Any, version: int) -> dict[str, Any]:
    """Plain JSON values of a dataclass, with the version of their layout."""
    return {"format": version, **_adapter(type(result)).dump_python(result, mode="json")}


def read_as(path: Path, kind: type[Result], version: int, command: str) -> Result:
    """A result of this type and version. The errors of `read`, which name the command that makes it again."""
    content = read_json(path)
    found = content.pop("format", None) if isinstance(content, dict) else None
    if found != version:
        raise FileError(
            f"{path} is of format {found}, and this version reads {version}: run `{command}` again"
        )
    try:
        return _adapter(kind).validate_python(content)
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise FileError(f"{path} is damaged (at {place}): run `{command}` again") from None
