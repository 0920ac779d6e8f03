"""Free energies along φ, and what they say of the modes: how they are weighed, and what parts them.

Crossings tell little: real dynamics have none in the time of a simulation, and many are barriers that are too
low. So each profile says how high both barriers are, each with its error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import pi, sqrt

import numpy as np
from jaxtyping import Bool, Float, Int

from ..data.reference.profiles import BINS, bins_of
from .reduction import Totals
from .results import Estimate, FreeEnergy, Profiles
from .statistics.windows import unbiased
from .systems import System

DRAWS = 40
"""Of parts, with replacement, whose spread is the error of a profile."""
FINE = 6
"""Bins within a bin, for the bias of an umbrella window."""
RULE_OF_THREE = 3.0
"""Frames that one would have seen none of with a chance of 5%."""

CENTRES = -pi + 2 * pi * (np.arange(BINS) + 0.5) / BINS
_NEGATIVE = CENTRES < 0


@dataclass(frozen=True)
class Profile:
    """Shares of the bins of φ, over the circle, and those of draws that tell how far they are known."""

    share: Float[np.ndarray, "bins"]
    draws: Float[np.ndarray, "draws bins"]
    widened: float = 1.0
    """What the spread of the draws is to be multiplied with."""
    unseen: float = 0.0
    """Share that a bin without frames has at most, at 95%; 0 where that is not known."""

    @classmethod
    def of_parts(cls, weights: Float[np.ndarray, "parts bins"]) -> "Profile":
        """Of independent parts, whose frames have weights; draws are of as many of the parts."""
        random, parts = np.random.default_rng(0), len(weights)
        drawn = weights[random.integers(parts, size=(DRAWS, parts))].sum(axis=1)
        return cls(
            weights.sum(axis=0) / weights.sum(), drawn / drawn.sum(axis=1, keepdims=True), _widened(parts)
        )

    @classmethod
    def of_frames(cls, counts: Int[np.ndarray, "bins"]) -> "Profile":
        """Of independent frames, whose numbers scatter as Poisson's do."""
        draws = np.random.default_rng(0).poisson(counts, (DRAWS, len(counts)))
        total = int(counts.sum())
        return cls(
            counts / total, draws / np.maximum(draws.sum(axis=1), 1)[:, None], unseen=RULE_OF_THREE / total
        )

    @classmethod
    def of_draws(
        cls, counts: Int[np.ndarray, "bins"], drawn: Int[np.ndarray, "draws bins"], parts: int
    ) -> "Profile":
        """Of chains or blocks of time, of which draws are known; their frames are not independent."""
        known = drawn[drawn.any(axis=1)]
        return cls(
            counts / counts.sum(),
            known / known.sum(axis=1, keepdims=True),
            _widened(parts),
            unseen=RULE_OF_THREE / counts.sum(),
        )

    @classmethod
    def of_windows(
        cls,
        angles: Float[np.ndarray, "frames replicas windows"],
        centres: Float[np.ndarray, "windows"],
        strength: float,
    ) -> "Profile":
        """Of frames under umbrellas K (1 − cos(φ − φᵢ)), K in kT; draws are of replicas of all windows.

        Frames that are not a number are left out. ValueError if the windows do not hang together.
        """
        replicas, windows = angles.shape[1:]
        grid = -pi + 2 * pi * (np.arange(FINE * BINS) + 0.5) / (FINE * BINS)
        bias = strength * (1 - np.cos(grid - centres[:, None]))
        counts = np.zeros((replicas, windows, len(grid)), int)
        frame, replica, window = np.nonzero(np.isfinite(angles))
        np.add.at(counts, (replica, window, bins_of(angles[frame, replica, window], len(grid))), 1)
        random = np.random.default_rng(0)
        drawn = [counts, *(counts[random.integers(replicas, size=replicas)] for _ in range(DRAWS))]
        shares = [unbiased(each.sum(axis=0), bias).reshape(BINS, FINE).sum(axis=1) for each in drawn]
        return cls(shares[0], np.array(shares[1:]), _widened(replicas))

    def free_energy(self) -> FreeEnergy:
        """In kT, from the minimum of φ < 0."""
        with np.errstate(divide="ignore", invalid="ignore"):
            curve = np.log(self.share[self._lowest] / self.share)
        curve = np.where(np.isfinite(curve), curve, np.nan)
        return FreeEnergy(
            curve.tolist(), self._errors.tolist(), self._barrier(False), self._barrier(True), self._sides()
        )

    def _minimum(self, side: Bool[np.ndarray, "bins"]) -> int:
        """Bin of the most frames on one side; that in its middle where it has none."""
        places = np.flatnonzero(side)
        own = self.share[places]
        return int(places[own.argmax() if own.any() else len(own) // 2])

    @cached_property
    def _lowest(self) -> int:
        return self._minimum(_NEGATIVE)

    @cached_property
    def _errors(self) -> Float[np.ndarray, "bins"]:
        """Of the free energy of each bin."""
        with np.errstate(divide="ignore", invalid="ignore"):
            drawn = np.log(self.draws[:, [self._lowest]] / self.draws)
        return np.array([self._spread(values) for values in drawn.T])

    def _barrier(self, outer: bool) -> Estimate:
        """The highest point between the minima of both sides: on the way over 0, or on the other, over ±π.

        Where bins on it have no frames it is known only to be higher than such a bin at 95% is.
        """
        first, last = self._lowest, self._minimum(~_NEGATIVE)
        way = np.arange(last, first + BINS + 1) % BINS if outer else np.arange(first, last + 1)
        top = way[np.argmin(np.where(self.share[way] > 0, self.share[way], np.inf))]
        found = Estimate(self._log_ratio(float(self.share[top])), float(self._errors[top]))
        if self.share[way].all():
            return found
        least = self._log_ratio(self.unseen) if self.unseen else found.value
        return Estimate(max(least, 0.0), np.nan, at_least=True)

    def _log_ratio(self, share: float) -> float:
        """Free energy of a bin of this share; not a number where the minimum has none."""
        return float(np.log(self.share[self._lowest] / share)) if self.share[self._lowest] else np.nan

    def _sides(self) -> Estimate:
        """F(φ > 0) − F(φ < 0)."""
        negative = self.share[_NEGATIVE].sum()
        if not 0 < negative < 1:
            bound = -np.log(self.unseen) if self.unseen and negative else np.nan
            return Estimate(float(bound), np.nan, at_least=True)
        drawn = self.draws[:, _NEGATIVE].sum(axis=1)
        with np.errstate(divide="ignore"):
            spread = self._spread(np.log(drawn) - np.log1p(-np.minimum(drawn, 1.0)))
        return Estimate(float(np.log(negative / (1 - negative))), spread)

    def _spread(self, values: Float[np.ndarray, "draws"]) -> float:
        """Standard deviation; not a number where half of the draws know nothing."""
        finite = values[np.isfinite(values)]
        return self.widened * float(np.std(finite)) if 2 * len(finite) > len(values) else np.nan


def profiles_of(
    system: System,
    sets: Mapping[str, Totals],
    weights: Sequence[Sequence[float]] | None,
    umbrella: Profile | None,
) -> Profiles | None:
    """Free energies along φ of a reference, samples and a simulation; None where there is no φ.

    Of the reference by the `weights` of its biased frames, by part and bin, where they are known. Errors are
    by draws of whole parts where a set has some, and otherwise as if frames were independent.
    """
    torsion = system.torsion
    if torsion is None or system.beads is None:
        return None
    place, found = system.projections.index(system.shown), dict[str, Profile]()
    for kind, one in sets.items():
        counts, drawn = one.js[place].sum(axis=1), one.drawn[place][0].sum(axis=2)
        parts = one.spreads[place].parts
        of_parts = kind == "sim" or len(drawn) > 0
        found[kind] = Profile.of_draws(counts, drawn, parts) if of_parts else Profile.of_frames(counts)
    if weights is not None:
        found["reference"] = Profile.of_parts(np.asarray(weights, float))
    if umbrella is not None:
        found["umbrella"] = umbrella
    return Profiles(
        f"φ of {system.beads.residues[torsion.residue]}{torsion.residue + 1}",
        "frames" if weights is None else "biased",
        {kind: one.free_energy() for kind, one in found.items()},
    )


def _widened(parts: int) -> float:
    """Draws of n parts have (n − 1)/n of the variance; of one part nothing is known."""
    return sqrt(parts / (parts - 1)) if parts > 1 else np.nan
