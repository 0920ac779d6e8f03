"""What is known of the simulations of a campaign: typed, and versioned in the file that holds it.

Comparisons are in the corrected definition, on fixed bins: those of the paper span the extremes of both sets
and would move with every segment that arrives.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import isfinite, nan
from pathlib import Path
from typing import Any

from .results import Number, plain, read_as
from .statistics.convergence import Convergence
from .statistics.errors import Estimate

FORMAT = 1


@dataclass(frozen=True)
class Measured:
    """A metric against the reference."""

    value: Number
    error: Number
    """Standard error, by the jackknife over chains."""
    corrected: Number
    """Without the bias of finite sets; not a number where none is known."""

    @classmethod
    def of(cls, found: Estimate) -> "Measured":
        """What the statistics found."""
        return cls(found.value, found.error, found.corrected)


UNKNOWN = Measured(nan, nan, nan)


@dataclass(frozen=True)
class Against:
    """One projection, or their mean, beside the reference. JS in nats."""

    js: Measured
    """Of all frames that are there, those of lost chains before they were lost among them."""
    pmf: Measured
    js_without_lost: Measured
    """Of the chains alone that were never lost."""
    js_interval: tuple[Number, Number]
    """Where JS lies whatever the frames that are missing would have been (`statistics.lost`)."""
    floor_effective: Number
    """What sets of one distribution have, of as many independent frames as these are worth by the slowest
    axis: too high, as chains decorrelate faster within a mode."""
    floor_spread: Number
    """The same by how the chains, and the parts of the reference, differ among themselves."""


@dataclass(frozen=True)
class Mixing:
    """Whether the unbroken chains agree along one axis of a projection, and what they are worth."""

    rhat: Number
    nested_rhat: Number
    """Over 16 superchains of chains that began near one another on this axis; not a number of fewer than 64
    chains. Where it is known it counts, as chains that are short do not agree one by one."""
    ess: Number
    chains: int
    draws: int
    """Of each, at the stride of the work's `stride`."""

    @classmethod
    def of(cls, found: Convergence, nested: float = nan) -> "Mixing":
        """What the statistics found."""
        return cls(found.rhat, nested, found.ess, found.chains, found.draws)

    @property
    def agreement(self) -> float:
        """The R̂ that counts."""
        return self.nested_rhat if isfinite(self.nested_rhat) else self.rhat


@dataclass(frozen=True)
class ProjectionResult:
    """What a system is judged by."""

    axes: dict[str, Mixing]
    against: Against | None
    """None without a reference."""

    @property
    def ess(self) -> float:
        """The smallest of the axes; not a number where one is not."""
        return _worst((axis.ess for axis in self.axes.values()), largest=False)

    @property
    def rhat(self) -> float:
        """The largest of the axes."""
        return _worst((axis.agreement for axis in self.axes.values()), largest=True)


@dataclass(frozen=True)
class LengthResult:
    """A bond or another distance, in nm."""

    mean: Number
    spread: Number
    """Standard deviation over the frames."""
    reference_mean: Number | None = None
    reference_spread: Number | None = None
    w1: Measured | None = None
    """Its error is by batches of chains; not a number of one batch."""


@dataclass(frozen=True)
class RateResult:
    """Transitions from one core set to another, by the unit of time, with the exact 95 % interval."""

    count: int
    time: Number
    """Spent where they begin."""
    value: Number
    low: Number
    high: Number
    below: Number
    """The rate is below this with 95 % confidence: 3/T if none was seen."""
    first_passage: Number
    """Mean time; null where the chains were never seen to arrive."""


@dataclass(frozen=True)
class StatesResult:
    """What unbroken chains do between core sets."""

    rates: dict[str, RateResult]
    """By "BEGIN to END"."""
    lags: list[Number]
    timescales: list[Number]
    """Slowest implied timescale at each lag; empty without deeptime."""
    slowest: Number
    """That of the largest lag that is shorter than it."""


@dataclass(frozen=True)
class KineticsResult:
    """Of a model beside its reference, if that is in order of time. A model's time is not physical."""

    model: StatesResult
    reference: StatesResult | None
    ratio: Number | None = None
    """Slowest time of the model by that of the reference."""
    fractions: list[float] = field(default_factory=list)
    """Of the slowest time of each, at which both are compared."""
    distances: list[Number] = field(default_factory=list)
    """Total variation between where both are then, from 0 to 1."""
    note: str | None = None
    """What is missing, and why."""


@dataclass(frozen=True)
class Course:
    """The mean JS over rounds, each with all before it."""

    time: list[float]
    """Of each chain."""
    js: list[Number]
    errors: list[Number]


@dataclass(frozen=True)
class WorkResult:
    """One work of a campaign, up to a step."""

    name: str
    system: str
    tags: dict[str, str]
    until: int
    """Steps: of what ended later nothing is in here."""
    time: Number
    """Simulated by all chains together, to their end or to where they were lost."""
    frames: int
    """That are there."""
    chains: int
    missing: Number
    """Share of the frames that there would be, had no chain been lost."""
    lost: dict[str, int]
    """Chains, by why they were lost."""
    stride: int
    """Every so many frames R̂ and ESS see one."""
    projections: dict[str, ProjectionResult]
    mean: Against | None
    """Of the projections; its errors know how they depend on one another."""
    bonds: dict[str, LengthResult]
    distances: dict[str, LengthResult]
    phi_positive: dict[str, Number] | None
    """Share of φ > 0 of the middle residue, of `simulation` and `reference`; None without torsions."""
    temperature: float
    """Of the bath, in the user's unit, as the following."""
    kinetic_temperature: float | None
    """Of half-step velocities."""
    step_temperature: float | None
    rms_omega_dt: float | None
    """Of a step, or of an inner step and the springs."""
    steps: int
    """Of all chains; whole ones, whatever they are made of."""
    evaluations: int
    """Of the network: one a step; that at the start of each segment is not counted."""
    seconds: float
    """Of actors, each a core or a GPU."""
    course: Course | None = None
    kinetics: KineticsResult | None = None
    time_unit: str = "ps"
    """Of all times and rates; empty of a toy, whose potential has a unit of its own."""

    @property
    def ess(self) -> float:
        """Independent frames: of the projections the smallest number."""
        return _worst((one.ess for one in self.projections.values()), largest=False)

    @property
    def rhat(self) -> float:
        """Of the projections the largest."""
        return _worst((one.rhat for one in self.projections.values()), largest=True)

    @property
    def ess_per_hour(self) -> float:
        """Independent frames for each hour of an actor: a core-hour, or a GPU-hour."""
        return self.ess * 3600 / self.seconds if self.seconds else nan

    @property
    def ess_per_million(self) -> float:
        """Independent frames for each million evaluations of the network."""
        return self.ess * 1e6 / self.evaluations if self.evaluations else nan


@dataclass(frozen=True)
class CampaignResult:
    """results.json of a campaign."""

    works: dict[str, WorkResult]
    when: str
    """ISO 8601, UTC."""
    frames: int
    chains: int
    lost_chains: int
    steps: int
    evaluations: int
    seconds: float

    @classmethod
    def of(cls, results: Iterable[WorkResult], when: str) -> "CampaignResult":
        """With their totals."""
        works = {one.name: one for one in results}
        names = ("frames", "chains", "steps", "evaluations")
        totals: dict[str, Any] = {name: sum(getattr(one, name) for one in works.values()) for name in names}
        totals["seconds"] = sum((one.seconds for one in works.values()), 0.0)
        return cls(works, when, lost_chains=sum(sum(one.lost.values()) for one in works.values()), **totals)


def to_json(result: CampaignResult) -> dict[str, Any]:
    """Plain JSON values, with the version of their layout and what properties derive."""
    content = plain(result, FORMAT)
    for name, one in result.works.items():
        derived = {key: getattr(one, key) for key in ("ess", "rhat", "ess_per_hour", "ess_per_million")}
        content["works"][name]["derived"] = derived
    return content


def read(path: Path) -> CampaignResult:
    """The result of a campaign. FileNotFoundError if there is none, FileError for a damaged one."""
    return read_as(path, CampaignResult, FORMAT, "fokker campaign run")


def _worst(values: Iterable[float], largest: bool) -> float:
    """What is not a number is the worst; there is none of nothing."""
    found = list(values)
    if not found or any(value != value for value in found):
        return nan
    return max(found) if largest else min(found)
