"""How slow the slowest processes of chains are, and the kinetics of a model beside those of a reference.

The time of a coarse-grained model is not physical: it has fewer beads to wait for and a friction of its own.
So kinetics are compared at equal fractions of each one's slowest time t₂, and the ratio of both t₂ is said.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ...data.errors import FokkerError
from .cores import States
from .kinetics import after_first

FRACTIONS = (0.1, 0.3, 1.0)


@dataclass(frozen=True)
class Timescales:
    """Implied timescales −τ/ln λᵢ(τ): level over the lag time τ where the states tell all that matters."""

    lags: Float[np.ndarray, "lags"]
    """Lag times, in the unit of the interval between frames."""
    times: Float[np.ndarray, "lags processes"]
    """In the same unit, the slowest first; not a number where a lag does not resolve the process (λ ≤ 0)."""


def implied_timescales(
    chains: Sequence[States], lags: Sequence[int], interval: float, states: int, processes: int = 1
) -> Timescales:
    """Of reversible Markov models, over lags in frames, of unbroken chains of states with an interval.

    Counts are effective ones (Noé, 2015) and the model is that of the largest set of states that chains
    joined to and fro; fewer states have fewer processes. Raises FokkerError where deeptime is not installed,
    ValueError for a lag below 1 and for a number that is no state's.
    """
    if min(lags, default=1) < 1:
        raise ValueError(f"a lag of {min(lags)} frames: it is at least 1")
    estimator, model = _deeptime()
    known = [after_first(chain, states, number) for number, chain in enumerate(chains)]
    times = np.full((len(lags), processes), np.nan)
    for row, lag in zip(times, lags, strict=True):
        long = [chain for chain in known if len(chain) > lag]
        if not long:
            continue
        counts = estimator(lagtime=lag, count_mode="effective").fit_fetch(long).submodel_largest()
        if counts.n_states > 1:
            found = model().fit_fetch(counts).eigenvalues()[1 : processes + 1]
            decaying = (found > 0) & (found < 1)
            row[: len(found)][decaying] = -lag / np.log(found[decaying])
    return Timescales(interval * np.asarray(lags, float), interval * times)


def _deeptime() -> tuple[Any, Any]:
    try:
        from deeptime.markov import TransitionCountEstimator  # pyright: ignore[reportMissingImports]
        from deeptime.markov.msm import MaximumLikelihoodMSM  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise FokkerError(
            "implied timescales need the package deeptime: pip install 'fokker[kinetics]'"
        ) from error
    return TransitionCountEstimator, MaximumLikelihoodMSM


def transition_matrix(chains: Sequence[States], lag: int, states: int) -> Float[np.ndarray, "states states"]:
    """Where chains are a lag of frames later (column), of those that were in a state (row); sliding counts.

    Not a number in the row of a state that none was in. ValueError for a number that is no state's.
    """
    counts = np.zeros((states, states))
    for number, chain in enumerate(chains):
        known = after_first(chain, states, number)
        np.add.at(counts, (known[:-lag], known[lag:]), 1)
    seen = counts.sum(axis=1, keepdims=True)
    return np.where(seen > 0, counts / np.where(seen > 0, seen, 1), np.nan)


@dataclass(frozen=True)
class Kinetics:
    """Chains of states, the interval between their frames, and their slowest time t₂ in the same unit."""

    chains: Sequence[States]
    interval: float
    slowest: float

    def lag(self, fraction: float) -> int:
        """Whole frames of a fraction of the slowest time."""
        return round(fraction * self.slowest / self.interval)


@dataclass(frozen=True)
class KineticsComparison:
    """Of a model and a reference, each at fractions of its own slowest time."""

    ratio: float
    """The model's t₂ by that of the reference."""
    fractions: Float[np.ndarray, "fractions"]
    lags: Int[np.ndarray, "fractions 2"]
    """Of the model and of the reference, in whole frames; 0 where a frame is too long for the fraction."""
    model: Float[np.ndarray, "fractions states states"]
    """Transition matrices; not a number where the lag is 0, and from states that nothing was in."""
    reference: Float[np.ndarray, "fractions states states"]
    distance: Float[np.ndarray, "fractions"]
    """Total variation between where both go, on average over the states as the reference occupies them; from
    0 to 1, and not a number where a row of a state that the reference occupies is not known."""


def compare_kinetics(
    model: Kinetics, reference: Kinetics, states: int, fractions: Sequence[float] = FRACTIONS
) -> KineticsComparison:
    """Where chains of both go within equal fractions of their slowest times.

    Raises ValueError for slowest times that are not positive, and for a number that is no state's.
    """
    for name, each in (("model", model), ("reference", reference)):
        if not 0 < each.slowest < np.inf:
            raise ValueError(f"the slowest time of the {name} is {each.slowest}: it is not resolved")
    both = (model, reference)
    lags = np.array([[each.lag(fraction) for each in both] for fraction in fractions], int).reshape(-1, 2)
    matrices = np.full((len(lags), 2, states, states), np.nan)
    for place, side in zip(*np.nonzero(lags), strict=True):
        matrices[place, side] = transition_matrix(both[side].chains, int(lags[place, side]), states)
    known = [after_first(chain, states, number) for number, chain in enumerate(reference.chains)]
    occupied = np.bincount(np.concatenate([np.zeros(0, int), *known]), minlength=states)
    apart = np.abs(matrices[:, 0] - matrices[:, 1]).sum(axis=-1) / 2
    distance = np.where(occupied > 0, occupied / max(1, occupied.sum()) * apart, 0).sum(axis=-1)
    return KineticsComparison(
        model.slowest / reference.slowest,
        np.asarray(fractions, float),
        lags,
        matrices[:, 0],
        matrices[:, 1],
        distance,
    )
