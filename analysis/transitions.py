"""Kinetics of simulations beside those of a reference: between core sets, from unbroken chains alone."""

from collections.abc import Sequence
from itertools import permutations
from math import nan, radians

import numpy as np

from ..data.errors import FokkerError
from .campaign_results import KineticsResult, RateResult, StatesResult
from .metrics import MUELLER_BROWN
from .references import Reference
from .series import CoreSets
from .statistics.cores import NONE, Arcs, Discs, States
from .statistics.kinetics import Transitions
from .statistics.timescales import FRACTIONS, Kinetics, compare_kinetics, implied_timescales
from .systems import System

PHI = CoreSets(
    ("φ −150° to −40°", "φ 40° to 80°"),
    Arcs(((radians(-150), radians(-40)), (radians(40), radians(80)))),
)
"""Of an L-residue, away from the barriers at φ = 0 and near ±180°."""
TOY = CoreSets(("upper minimum", "lower minimum"), Discs(((-0.558, 1.442), (0.623, 0.028)), (0.3, 0.3)))
"""The two deep minima of Müller and Brown's potential. At kT of 23 nothing holds a particle in the third."""
LAGS = 12
"""Lag times, evenly spaced in the logarithm, up to a tenth of the longest chain."""


def cores_of(system: System) -> CoreSets | None:
    """Of the projection that stands for all; None where no modes are known."""
    if system.shown.grid.periodic:
        return PHI
    return TOY if system.shown.grid == MUELLER_BROWN else None


def kinetics_of(
    cores: CoreSets, chains: Sequence[States], spacing: float, reference: Reference | None
) -> KineticsResult:
    """Of unbroken chains of states with a time (ps) between frames; the reference's where it has times."""
    model, note = _of_states(cores, chains, spacing)
    if reference is None or not reference.states or reference.spacing is None:
        return KineticsResult(model, None, note=note)
    other, _ = _of_states(cores, reference.states, reference.spacing)
    if not (0 < model.slowest < np.inf and 0 < other.slowest < np.inf):
        unresolved = (
            "the slowest times of both are not resolved, and nothing is compared at fractions of them"
        )
        return KineticsResult(model, other, note=note or unresolved)
    both = compare_kinetics(
        Kinetics(chains, spacing, model.slowest),
        Kinetics(reference.states, reference.spacing, other.slowest),
        len(cores.names),
    )
    return KineticsResult(model, other, both.ratio, list(FRACTIONS), both.distance.tolist())


def _of_states(cores: CoreSets, chains: Sequence[States], spacing: float) -> tuple[StatesResult, str | None]:
    """And why there are no timescales, where there are none."""
    count, note = len(cores.names), None
    transitions = Transitions.of(chains, spacing, count)
    passage, rates = transitions.first_passage(), {}
    for begin, end in permutations(range(count), 2):
        rate = transitions.rate(begin, end)
        rates[f"{cores.names[begin]} to {cores.names[end]}"] = RateResult(
            rate.count, rate.time, rate.value, rate.low, rate.high, rate.below, float(passage[begin, end])
        )
    lags, times = lags_for(max(map(len, chains), default=0)), []
    try:
        known = [chain for chain in chains if (chain != NONE).any()]
        if lags and known:
            times = implied_timescales(known, lags, spacing, count).times[:, 0].tolist()
    except FokkerError as error:
        note = str(error)
    lag_times = [spacing * lag for lag in lags] if times else []
    return StatesResult(rates, lag_times, times, slowest_of(lag_times, times)), note


def lags_for(frames: int) -> list[int]:
    """Lags (frames) for chains of so many."""
    return sorted({int(lag) for lag in np.geomspace(1, frames // 10, LAGS).round()}) if frames >= 10 else []


def slowest_of(lags: Sequence[float], times: Sequence[float]) -> float:
    """The timescale at the largest lag that is shorter than it: longer lags see what has decayed.

    Not a number where no lag is.
    """
    found = [time for lag, time in zip(lags, times, strict=True) if np.isfinite(time) and lag < time]
    return found[-1] if found else nan
