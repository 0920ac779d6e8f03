"""Transitions between states in unbroken chains: how many, how fast, and how sure that is."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, nan

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import chi2

from .cores import NONE, States

CONFIDENCE = 0.95

Matrix = Float[np.ndarray, "states states"]


@dataclass(frozen=True)
class Rate:
    """Of transitions that are rare and independent, in 1/(unit of time)."""

    count: int
    time: float
    """Spent where they begin."""
    low: float
    """Ends of the exact 95 % interval (Garwood, 1936)."""
    high: float

    @classmethod
    def of(cls, count: int, time: float) -> "Rate":
        """From so many transitions in a time: ½ χ²(2.5 %, 2n)/T to ½ χ²(97.5 %, 2n + 2)/T."""
        if not time:
            return cls(count, time, 0.0, inf)
        tail = (1 - CONFIDENCE) / 2
        low = float(chi2.ppf(tail, 2 * count)) / 2 / time if count else 0.0
        return cls(count, time, low, float(chi2.isf(tail, 2 * count + 2)) / 2 / time)

    @property
    def value(self) -> float:
        """n/T, the most likely one; not a number where no time was spent."""
        return self.count / self.time if self.time else nan

    @property
    def below(self) -> float:
        """The rate is below this, with 95 % confidence and nothing said of how slow: 3/T if none was seen."""
        return float(chi2.isf(1 - CONFIDENCE, 2 * self.count + 2)) / 2 / self.time if self.time else inf


@dataclass(frozen=True)
class Transitions:
    """What chains did: changes of state, and the time (in the unit of the interval) spent in each state."""

    counts: Int[np.ndarray, "states states"]
    """From the row's state to the column's."""
    time: Float[np.ndarray, "states"]

    @classmethod
    def of(cls, chains: Sequence[States], interval: float, states: int) -> "Transitions":
        """Of unbroken chains of state numbers from 0 (`milestones`), with an interval between frames.

        What is before the first core (−1) counts nothing. Raises ValueError for a number that is no state's.
        """
        counts = np.zeros((states, states), int)
        for number, chain in enumerate(chains):
            known = after_first(chain, states, number)
            np.add.at(counts, (known[:-1], known[1:]), 1)
        time = interval * counts.sum(axis=1)
        np.fill_diagonal(counts, 0)
        return cls(counts, time)

    def rate(self, begin: int, end: int) -> Rate:
        """Of transitions from one state to another."""
        return Rate.of(int(self.counts[begin, end]), float(self.time[begin]))

    @property
    def rates(self) -> Matrix:
        """All of them; 0 on the diagonal and from states that were never seen."""
        return self.counts / np.where(self.time > 0, self.time, 1)[:, None]

    def first_passage(self) -> Matrix:
        """Mean time from the arrival in the row's state to the first arrival in the column's.

        τ_iB solves Σ_j k_ij (τ_jB − τ_iB) = −1, τ_BB = 0. Infinite where the chains could end elsewhere, as
        far as they were seen to go.
        """
        return first_passage_of(self.rates)


def after_first(chain: States, states: int, number: int = 0) -> States:
    """A chain from its first known state on. ValueError, with the number of the chain, for what is none."""
    known = chain[np.argmax(chain != NONE) :] if (chain != NONE).any() else chain[:0]
    if len(known) and not (known.min() >= 0 and known.max() < states):
        wrong = int(known.min() if known.min() < 0 else known.max())
        raise ValueError(f"chain {number} is in state {wrong}, and states are 0 to {states - 1}")
    return known


def first_passage_of(rates: Matrix) -> Matrix:
    """Of rates k_ij (their diagonal does not count), in the unit of time of their inverse."""
    states = len(rates)
    found = np.zeros((states, states))
    for target in range(states):
        others = rates * ~np.eye(states, dtype=bool)
        others[target] = 0
        arrives = _reaches(others > 0)
        # Nowhere that is reached may the target be out of reach.
        lost = (arrives & ~arrives[:, target]).any(axis=1)
        open_ = np.flatnonzero(~lost & (np.arange(states) != target))
        leaving = np.diag(others.sum(axis=1)) - others
        found[lost, target] = inf
        found[open_, target] = np.linalg.solve(leaving[np.ix_(open_, open_)], np.ones(len(open_)))
    return found


def _reaches(steps: Bool[np.ndarray, "states states"]) -> Bool[np.ndarray, "states states"]:
    """Whether any number of steps, none among them, leads from the row's state to the column's."""
    reached = steps | np.eye(len(steps), dtype=bool)
    for through in range(len(steps)):
        reached |= reached[:, through, None] & reached[None, through]
    return reached
