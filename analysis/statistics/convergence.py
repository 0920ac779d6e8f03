"""Whether chains agree with each other, and how many independent frames they are worth.

R̂ and the effective sample size (ESS) are those of Vehtari et al. (2021), *Rank-normalization, folding, and
localization*, and nested R̂ that of Margossian et al. (2024), *Nested R̂*; all by ArviZ.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from arviz_stats.base.array import array_stats
from jaxtyping import Float, Int

LEAST_DRAWS = 4
"""Of which every half of a chain has a mean and a variance."""
MOST_RHAT, LEAST_ESS = 1.01, 400.0
"""What Vehtari et al. call converged."""

Draws = Float[np.ndarray, "chains draws"]


@dataclass(frozen=True)
class Convergence:
    """Of one observable; not a number where it is not defined."""

    rhat: float
    """R̂: 1 where the chains agree, huge or infinite where each stays at a value of its own."""
    ess: float
    """Independent frames that all chains together are worth. What takes longer than half a chain is not seen:
    it counts only beside a small R̂."""
    chains: int
    """Those that were compared."""
    draws: int
    """Of each chain."""

    def converged(self, rhat: float = MOST_RHAT, ess: float = LEAST_ESS) -> bool:
        """Whether the chains agree and are worth enough frames; what is not defined is not converged."""
        return bool(self.rhat <= rhat and self.ess >= ess)


def convergence(draws: Draws, periodic: bool = False) -> Convergence:
    """Rank-normalised split R̂ and bulk ESS of an observable in chains of one length.

    A `periodic` one is an angle (radians): of its cosine and its sine the larger R̂ and the smaller ESS count.
    Not a number: all of a constant observable, or of fewer than 4 draws; R̂ of one chain. Raises ValueError
    for draws that are not finite, and for none.
    """

    def rhat(values: Draws) -> float:
        return _number(array_stats.rhat(values)) if len(values) > 1 else np.nan

    return _worst(_checked(draws), periodic, rhat)


def nested_convergence(
    draws: Draws, superchains: Int[np.ndarray, "chains"], periodic: bool = False
) -> Convergence:
    """The same with nested R̂, for many chains that are too short to agree one by one.

    Chains of one number in `superchains` have one starting point, or are put together by chance. R̂ compares
    the means of superchains; M chains of one that are each worth a single frame still have about √(1 + 1/M).
    Where superchains differ in size (some chains were lost), of each its first chains count, as many as the
    smallest has. R̂ of one superchain is not a number. Raises ValueError as `convergence` does.
    """
    values = _checked(draws)
    names, counts = np.unique(superchains, return_counts=True)
    if len(superchains) != len(draws):
        raise ValueError(f"{len(superchains)} numbers of superchains for {len(draws)} chains")
    members = [np.flatnonzero(superchains == name)[: counts.min()] for name in names]
    kept = np.sort(np.concatenate(members))
    groups = np.searchsorted(names, superchains[kept])

    def rhat(values: Draws) -> float:
        return _number(array_stats.rhat_nested(values, superchain_ids=groups)) if len(names) > 1 else np.nan

    return _worst(values[kept], periodic, rhat)


def _checked(draws: Draws) -> Draws:
    if not draws.size:
        raise ValueError(f"no draws: {draws.shape[0]} chains of {draws.shape[1]}")
    if not np.isfinite(draws).all():
        chain = int(np.flatnonzero(~np.isfinite(draws).all(axis=1))[0])
        raise ValueError(f"draws of chain {chain} are not finite: leave such chains out, and count them")
    return draws.astype(float)


def _worst(draws: Draws, periodic: bool, rhat: Callable[[Draws], float]) -> Convergence:
    parts = [part for part in ([np.cos(draws), np.sin(draws)] if periodic else [draws]) if _varies(part)]
    if draws.shape[1] < LEAST_DRAWS or not parts:
        return Convergence(np.nan, np.nan, *draws.shape)
    # Chains that each stay at one value have no variance within.
    with np.errstate(divide="ignore", invalid="ignore"):
        found = [(rhat(part), _number(array_stats.ess(part))) for part in parts]
    largest, smallest = max(each for each, _ in found), min(each for _, each in found)
    return Convergence(largest, smallest, *draws.shape)


def _varies(values: Draws) -> bool:
    """More than numbers are rounded."""
    return bool(np.ptp(values) > 4 * np.finfo(float).eps * np.abs(values).max())


def _number(found: object) -> float:
    """ArviZ's arrays of no axis."""
    return float(np.asarray(found).item())
