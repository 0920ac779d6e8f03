"""What a run is judged by: samples and a simulation of one system beside its reference."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from .metrics import compare, histogram, js_divergence, pmf_error, pmf_histogram
from .observables import sign_changes, wasserstein
from .systems import System

RESAMPLES = 20
"""Draws of whole chains that give the error of a simulation."""


def resampled(frames: Float[np.ndarray, "frames *shape"], count: int, seed: int) -> np.ndarray:
    """Frames drawn with replacement: as far from the frames' distribution as that many independent ones."""
    return frames[np.random.default_rng(seed).integers(len(frames), size=count)]


def judge(
    system: System,
    reference: np.ndarray,
    samples: np.ndarray,
    chains: Float[np.ndarray, "chains frames *shape"],
    floor: tuple[np.ndarray, np.ndarray],
) -> dict[str, Any]:
    """Metrics of samples and of a simulation against the reference, each beside its floor.

    `floor` holds two independent sets of the reference's distribution. Frames that are not finite are left
    out. Raises ValueError if nothing is finite.
    """
    simulation = chains.reshape(-1, *chains.shape[2:])
    sets = {"iid": samples[system.finite(samples)], "sim": simulation[system.finite(simulation)]}
    at = system.points(reference)
    compared = {kind: compare(at, system.points(frames), system.plane) for kind, frames in sets.items()}
    compared["floor"] = compare(*(system.points(part) for part in floor), system.plane)
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
