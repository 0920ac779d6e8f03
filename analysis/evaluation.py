"""What a run is judged by: samples and a simulation of one system beside its reference."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from .metrics import Plane, Points, compare, histogram, js_divergence, pmf_error, pmf_histogram
from .observables import sign_changes, wasserstein
from .systems import System

Metrics = dict[str, dict[str, float]]
"""Definition to metric to value, as `compare` gives them."""

FLOOR_DRAWS = 3
RESAMPLES = 20
"""Draws of whole chains that give the error of a simulation."""


def floor(points: Points, count: int, plane: Plane, seed: int) -> Metrics:
    """What `count` independent points would score: both metrics between sets of one distribution.

    From disjoint random parts of the points. Between a reference of n and a set of m points the noise is that
    of two sets of 2/(1/n + 1/m); where half of the points are fewer, the metric is carried on from a quarter
    to a half of them, along the power of the size that it follows there.
    """
    half, random = len(points) // 2, np.random.default_rng(seed)
    wanted = 2 / (1 / len(points) + 1 / count)

    def between(size: int) -> Metrics:
        drawn = [random.permutation(points)[: 2 * size] for _ in range(FLOOR_DRAWS)]
        found = [compare(pair[:size], pair[size:], plane) for pair in drawn]
        return {
            name: {metric: float(np.mean([each[name][metric] for each in found])) for metric in values}
            for name, values in found[0].items()
        }

    if wanted <= half:
        return between(int(wanted))
    at_half, at_quarter = between(half), between(half // 2)
    doublings = np.log2(wanted / half)
    return {
        name: {
            metric: float(value * (value / at_quarter[name][metric]) ** doublings)
            for metric, value in values.items()
        }
        for name, values in at_half.items()
    }


def judge(
    system: System,
    reference: np.ndarray,
    samples: np.ndarray,
    chains: Float[np.ndarray, "chains frames *shape"],
    floor: Metrics,
) -> dict[str, Any]:
    """Metrics of samples and of a simulation against the reference, each beside its floor.

    Frames that are not finite are left out. Raises ValueError if nothing is finite.
    """
    simulation = chains.reshape(-1, *chains.shape[2:])
    sets = {"iid": samples[system.finite(samples)], "sim": simulation[system.finite(simulation)]}
    at = system.points(reference)
    compared = {kind: compare(at, system.points(frames), system.plane) for kind, frames in sets.items()}
    compared["floor"] = floor
    result: dict[str, Any] = {
        definition: {kind: values[definition] for kind, values in compared.items()}
        for definition in ("paper", "corrected")
    }
    if len(chains) > 1:
        result["sim_error"] = _chain_error(system, at, chains)
    if system.beads is not None:
        result["molecule"] = _molecule(system, reference, sets, chains)
    return result


def _chain_error(system: System, reference: np.ndarray, chains: np.ndarray) -> dict[str, float]:
    """Standard deviation of the corrected metrics over draws of whole chains, which are independent."""
    plane = system.plane
    js_counts, pmf_counts = [], []
    for chain in chains:
        points = system.points(chain[system.finite(chain)])
        js_counts.append(histogram(points, plane, plane.js_bins))
        pmf_counts.append(pmf_histogram(points, plane))
    js_all, pmf_all = np.stack(js_counts), np.stack(pmf_counts)
    js_reference = histogram(reference, plane, plane.js_bins)
    pmf_reference = pmf_histogram(reference, plane)
    random = np.random.default_rng(0)
    found = []
    for _ in range(RESAMPLES):
        weights = np.bincount(random.integers(len(chains), size=len(chains)), minlength=len(chains))
        js_sum, pmf_sum = (np.tensordot(weights, counts, 1) for counts in (js_all, pmf_all))
        if js_sum.any():
            found.append((js_divergence(js_reference, js_sum), pmf_error(pmf_reference, pmf_sum)))
    js_sd, pmf_sd = np.std(found, axis=0, ddof=1) if len(found) > 1 else (np.nan, np.nan)
    return {"js": float(js_sd), "pmf": float(pmf_sd)}


def _molecule(
    system: System, reference: np.ndarray, sets: Mapping[str, np.ndarray], chains: np.ndarray
) -> dict[str, Any]:
    """Bonds, the weight of φ > 0 and the crossings between its modes."""
    assert system.beads is not None
    every = {"reference": reference, **sets}
    lengths = {kind: system.bonds(frames) for kind, frames in every.items()}
    labels = [f"{system.beads.labels[a]} {system.beads.labels[b]}" for a, b in system.beads.bonds]
    bonds = {
        label: {kind: _spread(values[:, i]) for kind, values in lengths.items()}
        | {f"w1_{kind}": wasserstein(lengths["reference"][:, i], lengths[kind][:, i]) for kind in sets}
        for i, label in enumerate(labels)
    }
    phi = system.points(chains)[..., 0]
    return {
        "bonds": bonds,
        "phi_positive": {kind: float((system.points(f)[:, 0] > 0).mean()) for kind, f in every.items()},
        "phi_crossings": sign_changes(phi),
    }


def _spread(values: Float[np.ndarray, "n"]) -> list[float]:
    return [float(values.mean()), float(values.std())]


def mean(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means of JS and PMF over systems, and their standard deviations under `sd` where there are several."""
    means: dict[str, Any] = {}
    spreads: dict[str, Any] = {}
    for definition in ("paper", "corrected"):
        kinds = results[0][definition]
        values = {
            kind: {metric: [r[definition][kind][metric] for r in results] for metric in kinds[kind]}
            for kind in kinds
        }
        means[definition] = {k: {m: float(np.mean(v)) for m, v in part.items()} for k, part in values.items()}
        if len(results) > 1:
            spreads[definition] = {
                k: {m: float(np.std(v, ddof=1)) for m, v in part.items()} for k, part in values.items()
            }
    return means | ({"sd": spreads} if spreads else {})
