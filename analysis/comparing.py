"""Chains beside a reference, with errors, floors, and what lost chains may have changed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite, log, nan
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool
from scipy.sparse import csr_array, hstack

from .campaign_results import UNKNOWN, Against, LengthResult, Measured
from .metrics import js_floor
from .reduction import Reduction, Totals, width_of
from .references import Reference
from .statistics.errors import (
    Parts,
    effective_js_floor,
    histograms,
    js_estimate,
    lengths,
    pmf_estimate,
    wasserstein_estimate,
)
from .statistics.lost import js_interval
from .systems import System


@dataclass(frozen=True, eq=False)
class Chains:
    """What the chains of a work came to."""

    system: System
    reductions: Sequence[Reduction]
    """Of each batch, whose parts are chains."""
    totals: Totals
    unbroken: Bool[np.ndarray, "chains"]
    """Those that have all their frames."""
    missing: float
    """Share of all frames."""
    ess: Sequence[float]
    """Independent frames, by projection."""


def compare(chains: Chains, reference: Reference) -> tuple[list[Against], Against]:
    """Every projection beside the reference, and their mean. ValueError where there are no frames."""
    places = range(len(chains.system.projections))
    own, other = (
        {kind: [_histograms(of, place, kind) for place in places] for kind in ("js", "pmf")}
        for of in (chains, reference)
    )
    found = []
    for place in places:
        js, pmf = ((own[kind][place], other[kind][place]) for kind in ("js", "pmf"))
        floors = floors_of(chains, reference, place)
        found.append(_against(chains, js, pmf, floors))
    if len(found) == 1:
        return found, found[0]
    js, pmf = ((_beside(own[kind]), _beside(other[kind])) for kind in ("js", "pmf"))
    floors = [
        float(np.mean([getattr(one, name) for one in found])) for name in ("floor_effective", "floor_spread")
    ]
    mean = _against(chains, js, pmf, (floors[0], floors[1]), len(found))
    low, high = np.mean([one.js_interval for one in found], axis=0).tolist()
    return found, Against(**{**vars(mean), "js_interval": (low, high)})


def mean_js(system: System, reductions: Iterable[Reduction], reference: Reference) -> Measured:
    """Of the projections, over chains. ValueError where there are no frames."""
    of, places = list(reductions), range(len(system.projections))
    rows = _beside([histograms(system, of, place, "js") for place in places])
    others = _beside([_histograms(reference, place, "js") for place in places])
    return Measured.of(js_estimate(rows, others))


def _histograms(of: Chains | Reference, place: int, kind: Literal["js", "pmf"]) -> Parts:
    return histograms(of.system, of.reductions, place, kind)


def _beside(parts: Sequence[Parts]) -> Parts:
    """One row of bins of all projections: as each has every frame, JS of it is the mean over them."""
    stacked: Any = hstack(parts, format="csr")
    return csr_array(stacked)


def _against(
    chains: Chains,
    js: tuple[Parts, Parts],
    pmf: tuple[Parts, Parts],
    floors: tuple[float, float],
    projections: int = 1,
) -> Against:
    found = js_estimate(*js)
    whole = Measured.of(found)
    if not chains.unbroken.all():
        rows = js[0][np.flatnonzero(chains.unbroken)]
        whole = Measured.of(js_estimate(rows, js[1])) if rows.data.any() else UNKNOWN
    return Against(
        Measured.of(found),
        Measured.of(pmf_estimate(*pmf, projections=projections)),
        whole,
        js_interval(min(max(found.value, 0.0), log(2)), chains.missing),
        *floors,
    )


def floors_of(chains: Chains, reference: Reference, place: int) -> tuple[float, float]:
    """JS of sets of one distribution: by effective frames, and by how chains and parts spread."""
    one, two, worth = chains.totals, reference.totals, (chains.ess[place], reference.ess[place])
    effective = nan
    if all(isfinite(each) and each > 0 for each in worth):
        effective = effective_js_floor(one.js[place], two.js[place], worth)
    spreads = two.spreads[place], one.spreads[place]
    return effective, js_floor(*spreads) if one.spreads[place].parts > 1 else nan


def lengths_of(chains: Chains, reference: Reference | None) -> tuple[dict[str, LengthResult], ...]:
    """Bonds, and other distances, by their labels."""
    found = [_length(chains, reference, pair) for pair in range(len(chains.system.pairs))]
    labels, bonds = [label for label, _ in chains.system.pairs], len(chains.system.bonds)
    named = list(zip(labels, found, strict=True))
    return dict(named[:bonds]), dict(named[bonds:])


def _length(chains: Chains, reference: Reference | None, pair: int) -> LengthResult:
    mean, spread = chains.totals.mean_and_spread(pair)
    if reference is None:
        return LengthResult(mean, spread)
    both = lengths(chains.reductions, pair), lengths(reference.reductions, pair)
    w1 = wasserstein_estimate(*both, width_of(chains.system, pair))
    return LengthResult(mean, spread, *reference.totals.mean_and_spread(pair), Measured.of(w1))


def phi_positive(chains: Chains, reference: Reference | None) -> dict[str, float] | None:
    """Share of φ > 0 in both; None without torsions."""
    if not chains.system.shown.grid.periodic:
        return None
    sets = {"simulation": chains.totals} | ({"reference": reference.totals} if reference else {})
    return {kind: one.phi_positive / one.frames for kind, one in sets.items()}
