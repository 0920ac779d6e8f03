"""What a run comes to in a sentence: whether samples and simulation agree, by how much, and what to do next.

Agreement is judged by the JS divergence beside its floor, which is what chance alone gives sets of this size.
A JS of finite sets is about the true one and the floor together; so at twice the floor what a model does
wrong is as large as chance.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from math import exp, hypot, isfinite, log, nan
from typing import Literal

from ..results import Estimate, Metrics, RunResult, SystemResult

Level = Literal["agree", "nearly", "differ", "unknown"]
LEVELS: tuple[Level, ...] = ("agree", "nearly", "unknown", "differ")
"""From the best on."""

CLOSE = 1.25
"""Times its floor up to which two sets agree: models that differ by their seed alone scatter by a tenth of
the floor (the paper's ± of its best methods), and a quarter is beyond two of these."""
SMALL = 2.0
"""Times its floor up to which two sets nearly agree: what is wrong is smaller than chance in this many
frames, so that nothing which is measured on as many can show it well."""
SIGMAS = 2.0
"""Standard errors by which a divergence has to be beyond either."""
TELLING = 0.05
"""Floor in nats from which on agreement says nothing: simulations of plain diffusion models, which are wrong,
are as far from the reference (0.04 to 0.07 in the paper's tables 1 and 6)."""
LOST = 0.005
"""Share of chains that may fail: rare modes hold a hundredth of all frames, of which this is half."""
HEAT = 0.03
"""Relative difference from the bath's temperature that is more than a statistical one: 9 K at 300 K."""
MODES = log(2)
"""Free energy in kT, beyond which a mode is taken twice or half as often as it should be."""


@dataclass(frozen=True)
class Agreement:
    """Two sets beside each other, by the JS divergence in nats."""

    js: float
    floor: float
    error: float = nan
    """Standard error of `js`; not a number where it is not known."""

    @property
    def ratio(self) -> float:
        """JS in units of the floor."""
        return self.js / self.floor

    @property
    def level(self) -> Level:
        """Whether they agree. A divergence counts as far as it is certain."""
        if not isfinite(self.ratio):
            return "unknown"
        certain = self.js - (SIGMAS * self.error if isfinite(self.error) else 0.0)
        if certain > SMALL * self.floor:
            return "differ"
        if self.floor > TELLING:
            return "unknown"
        return "nearly" if certain > CLOSE * self.floor else "agree"


@dataclass(frozen=True)
class Agreements:
    """Both sets beside the reference, and beside each other."""

    samples: Agreement
    simulation: Agreement
    between: Agreement

    @classmethod
    def of(cls, metrics: Metrics, error: float) -> "Agreements":
        """By the corrected definition; `error` is that of the simulation's JS.

        Frames of chains tell no more than as many independent ones, and their floor is no lower.
        """
        scores, least = metrics.corrected, metrics.corrected["floor"].js

        def beside(kind: str, floor: str, error: float) -> Agreement:
            own = scores[floor].js if floor in scores else nan
            js = scores[kind].js if kind in scores else nan
            return Agreement(js, max(least, own) if isfinite(own) else least, error)

        return cls(
            beside("iid", "floor", nan),
            beside("sim", "floor_sim", error),
            beside("between", "floor_between", error),
        )

    @property
    def every(self) -> tuple[Agreement, ...]:
        """All three."""
        return tuple(getattr(self, one.name) for one in fields(self))


@dataclass(frozen=True)
class Setup:
    """What of a run's settings the advice depends on."""

    timestep: float
    """Of the simulation (ps; of a toy, its own unit)."""
    force_time: float
    """Diffusion time at which its forces were read."""
    conservative: bool
    """Whether forces are those of an energy."""
    regularised: bool
    """Whether a consistency term was part of the training."""


@dataclass(frozen=True)
class Verdict:
    """For people: what stands at the top of the report."""

    level: Level
    """The worst of all."""
    headline: str
    measured: str
    advice: str


def verdict(result: RunResult, setup: Setup) -> Verdict:
    """Of the means over all systems; of several systems it is also said in how many."""
    errors = [one.sim_error.js if one.sim_error else nan for one in result.systems.values()]
    found = Agreements.of(result, hypot(*errors) / len(errors))
    worst = max((LEVELS.index(one.level) for one in found.every if isfinite(one.js)), default=2)
    return Verdict(
        LEVELS[worst],
        _headline(found),
        " ".join([_measured(found), *_of_systems(result)]),
        next(_advice(result, found, setup)),
    )


_VERBS: dict[Level, tuple[str, str]] = {
    "agree": ("agree", "agrees"),
    "nearly": ("nearly agree", "nearly agrees"),
    "differ": ("do not agree", "does not agree"),
    "unknown": ("cannot be compared", "cannot be compared"),
}
"""Of several, and of one."""


def _headline(found: Agreements) -> str:
    one, two, each = found.samples.level, found.simulation.level, found.between.level
    if one == two:
        text = f"Samples and simulation {_VERBS[one][0]} with the reference"
        if each == one:
            return f"{text} and with each other."
    else:
        text = f"Samples {_VERBS[one][0]} with the reference, the simulation {_VERBS[two][1]} with it"
    return f"{text}{f'; with each other they {_VERBS[each][0]}' if isfinite(found.between.js) else ''}."


def _measured(found: Agreements) -> str:
    def times(one: Agreement) -> str:
        error = f" ± {one.error / one.floor:.1f}" if isfinite(one.error) else ""
        return f"{one.ratio:.1f}{error}"

    text = (
        "Their distance (JS divergence), in units of what chance alone gives as many frames (the floor): "
        f"samples to reference {times(found.samples)}, simulation to reference {times(found.simulation)}"
    )
    if isfinite(found.between.js):
        text += f", samples to simulation {times(found.between)}"
    return f"{text}. Up to {CLOSE:g} is agreement, up to {SMALL:g} nearly so."


def _of_systems(result: RunResult) -> Iterator[str]:
    """Where there are several: how many agree, and which is the farthest."""
    if len(result.systems) < 2:
        return
    found = {name: _of_system(one) for name, one in result.systems.items()}
    counts = [
        sum(getattr(one, kind).level in ("agree", "nearly") for one in found.values())
        for kind in ("samples", "simulation")
    ]
    ratios = {name: one.simulation.ratio for name, one in found.items() if isfinite(one.simulation.ratio)}
    text = f"Of {len(found)} molecules samples agree at least nearly in {counts[0]}, "
    text += f"the simulation in {counts[1]}"
    if ratios:
        farthest = max(ratios, key=lambda name: ratios[name])
        text += f"; the farthest simulation is {farthest}, {ratios[farthest]:.1f} times its floor away"
    yield f"{text}."


def _of_system(one: SystemResult) -> Agreements:
    return Agreements.of(one, one.sim_error.js if one.sim_error else nan)


def _advice(result: RunResult, found: Agreements, setup: Setup) -> Iterator[str]:
    """What to do next, causes before what they cause; the last always applies."""
    for rule in (_failed, _heated, _not_learned, _not_consistent, _modes, _too_short):
        if text := rule(result, found, setup):
            yield text
    if "nearly" in {one.level for one in found.every}:
        yield (
            "Good enough where such a difference does not matter. To come closer, train longer "
            "(--experts.0.epochs), or on more frames."
        )
    yield (
        "Nothing has to be changed. Only more frames (--sample.samples, --simulate.frames) could show a "
        "difference that is smaller."
    )


Rule = Callable[[RunResult, Agreements, Setup], str]


def _failed(result: RunResult, found: Agreements, setup: Setup) -> str:
    counts = result.simulate
    lost = max(counts.chains_left_range, counts.chains_not_finite)
    if lost <= LOST * counts.chains:
        return ""
    return (
        f"{lost} of {counts.chains} chains failed, so first mend the simulation: a smaller step "
        f"(--simulate.timestep {setup.timestep / 2:g}). If chains fail all the same, train longer "
        "(--experts.0.epochs)."
    )


def _heated(result: RunResult, found: Agreements, setup: Setup) -> str:
    counts = result.simulate
    if not counts.kinetic_temperature or abs(counts.kinetic_temperature / counts.temperature - 1) <= HEAT:
        return ""
    text = f"The simulation is at {counts.kinetic_temperature:.4g} instead of {counts.temperature:.4g}: "
    if not setup.conservative:
        return text + "its forces are those of no energy; take a method that has one (--method both)."
    return text + f"take a smaller step (--simulate.timestep {setup.timestep / 2:g})."


def _not_learned(result: RunResult, found: Agreements, setup: Setup) -> str:
    if found.samples.level != "differ":
        return ""
    return (
        "The samples are what the model has learned, and no simulation can be better: train longer "
        "(--experts.0.epochs and those of the others), or on more frames."
    )


def _not_consistent(result: RunResult, found: Agreements, setup: Setup) -> str:
    if found.simulation.level != "differ" and found.between.level != "differ":
        return ""
    text = "The model's forces do not belong to what it samples: "
    if not setup.regularised:
        return text + "train with the term that ties them together (--method both)."
    later = max(1e-3, 3 * setup.force_time)
    return (
        f"{text}read them at a later diffusion time, which needs no training (fokker simulate with "
        f"--simulate.force-time {later:g}; bonds become wider), or train with more weight on the "
        "term that ties them together (--experts.0.consistency-weight, twice what it is)."
    )


def _modes(result: RunResult, found: Agreements, setup: Setup) -> str:
    """Chains that begin at frames of the data keep the weights of modes which they do not leave."""
    worst, where = 0.0, ""
    for system, one in result.systems.items():
        profiles = one.molecule.profiles if one.molecule else None
        if profiles and "umbrella" in profiles.sets:
            shift = _apart(profiles.sets["umbrella"].difference, profiles.sets["reference"].difference)
            if abs(shift) > abs(worst):
                worst, where = shift, profiles.residue
                where += f" of {system}" if len(result.systems) > 1 else ""
    if abs(worst) <= MODES:
        return ""
    often = f"{exp(abs(worst)):.1f} times as {'often' if worst < 0 else 'rarely'}"
    return (
        f"By its own energy the model would visit φ > 0 ({where}) {often} as the reference does. Chains that "
        "are shorter than the way over its barriers keep to where they began, and do not show it. Train "
        "longer (--experts.0.epochs), or on more frames."
    )


def _apart(learned: Estimate, known: Estimate) -> float:
    """In kT; 0 where it is not certain."""
    shift = learned.value - known.value
    error = hypot(*(each.error for each in (learned, known) if isfinite(each.error)))
    certain = isfinite(shift) and not (learned.at_least or known.at_least)
    return shift if certain and abs(shift) > SIGMAS * error else 0.0


def _too_short(result: RunResult, found: Agreements, setup: Setup) -> str:
    if found.simulation.level != "unknown":
        return ""
    return (
        "The chains differ so much from each other that they tell little: simulate longer "
        "(--simulate.frames, four times what it is)."
    )
