"""What a run is judged by: samples and a simulation of one system beside its reference."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from ..data.beads import Beads
from ..data.chirality import chiral_centres, wrong_hand
from .metrics import (
    DEFINITIONS,
    Plane,
    Points,
    compare,
    histogram,
    js_divergence,
    js_floor,
    pmf_error,
    pmf_histogram,
    reported,
)
from .observables import distances, sign_changes, wasserstein
from .systems import System

Metrics = dict[str, dict[str, float]]
"""Definition to metric to value, as `compare` gives them."""

FLOOR_DRAWS = 3
RESAMPLES = 20
"""Draws of whole chains that give the error of a simulation."""
PARTS = 8
"""Parts that a reference of fewer trajectories is cut into, to see how far they spread."""


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
        return _combine([compare(pair[:size], pair[size:], plane) for pair in drawn], np.mean)

    if wanted <= half:
        return between(int(wanted))
    doublings = np.log2(wanted / half)
    sizes = [between(half), between(half // 2)]
    return _combine(sizes, lambda values: values[0] * (values[0] / values[1]) ** doublings)


def floor_of(system: System, reference: np.ndarray, count: int, seed: int) -> Metrics:
    """The floor of a system's reference frames, a mean over its planes."""
    planes = range(len(system.planes))
    return _combine([floor(system.points(reference, i), count, system.plane, seed) for i in planes], np.mean)


def _combine(results: Sequence[Any], how: Callable[[list[float]], Any]) -> Any:
    """The values at one place of nested dictionaries, made one, at every place."""
    if isinstance(results[0], Mapping):
        return {key: _combine([result[key] for result in results], how) for key in results[0]}
    return float(how([*results]))


def judge(
    system: System,
    reference: np.ndarray,
    samples: np.ndarray,
    chains: Float[np.ndarray, "chains frames *shape"],
    floor: Metrics,
    lengths: Sequence[int] = (),
) -> dict[str, Any]:
    """Metrics of samples and of a simulation against the reference, each beside its floor.

    `floor_sim` is the floor of the simulation's own JS, by the spread over its chains; not a number for one
    chain. `lengths` are the frames of the trajectories that the reference consists of, one after another;
    without them its frames count as independent. Frames that are not finite are left out. ValueError if there
    are no others.
    """
    finite = system.finite(chains)
    sets = {"reference": reference, "iid": samples[system.finite(samples)], "sim": chains[finite]}
    middle, each = len(system.planes) // 2, {}
    walks, points, lowest = chains, {}, []
    for index, name in enumerate(system.planes):
        with np.errstate(invalid="ignore"):
            angles = system.points(chains, index)
        here = {kind: system.points(sets[kind], index) for kind in ("reference", "iid")}
        here["sim"] = angles[finite]
        each[name] = _compared(here, system.plane)
        lowest.append(_floor_of_chains(system.plane, here["reference"], lengths, _walked(angles, finite)))
        if index == middle:
            walks, points = angles, here
    result: dict[str, Any] = _combine([*each.values()], np.mean)
    for definition in DEFINITIONS:
        result[definition]["floor"] = floor[definition]
    result["corrected"]["floor_sim"] = {"js": float(np.mean(lowest))}
    if len(each) > 1:
        result["residues"] = each
    if len(chains) > 1:
        result["sim_error"] = _chain_error(system.plane, points["reference"], _walked(walks, finite))
    if system.beads is not None:
        result["molecule"] = {
            **_structure(system.beads, sets),
            "phi_positive": {kind: float((part[:, 0] > 0).mean()) for kind, part in points.items()},
            "phi_crossings": sign_changes(walks[..., 0]),
        }
    return result


def _walked(
    points: Float[np.ndarray, "chains frames 2"], finite: Bool[np.ndarray, "chains frames"]
) -> list[Points]:
    """The finite points of each chain."""
    return [walk[kept] for walk, kept in zip(points, finite, strict=True)]


def _floor_of_chains(
    plane: Plane, reference: Points, lengths: Sequence[int], chains: Sequence[Points]
) -> float:
    """JS that such chains would have from such a reference if both were of one distribution."""
    if sum(len(chain) > 0 for chain in chains) < 2:
        return np.nan
    parts = [reference]
    if lengths and sum(lengths) == len(reference):
        blocks = -(-PARTS // len(lengths))
        each = np.split(reference, np.cumsum(lengths)[:-1])
        parts = [block for trajectory in each for block in np.array_split(trajectory, blocks)]
    p, q = (np.stack([histogram(part, plane, plane.js_bins) for part in of]) for of in (parts, chains))
    return js_floor(p, q)


def lengths_of(description: Mapping[str, Any], split: str) -> tuple[int, ...]:
    """Frames of the trajectories of a split, as the description of a system in a dataset has them."""
    known = description.get("trajectories", ())
    return tuple(part["frames"] for part in known if part["split"] == split)


def _compared(points: Mapping[str, Points], plane: Plane) -> dict[str, Any]:
    """By definition, the metrics of every set against the reference."""
    found = {
        kind: compare(points["reference"], points[kind], plane) for kind in points if kind != "reference"
    }
    return {
        definition: {kind: values[definition] for kind, values in found.items()} for definition in DEFINITIONS
    }


def judge_samples(
    system: System, reference: np.ndarray, samples: np.ndarray, seed: int = 0
) -> dict[str, Any]:
    """Metrics of one set of frames, whoever made them, against a reference, beside their floor.

    Raises ValueError if no frame is finite.
    """
    finite = samples[system.finite(samples)]
    sets = {"reference": reference, "samples": finite}
    each = {
        name: _compared({kind: system.points(part, i) for kind, part in sets.items()}, system.plane)
        for i, name in enumerate(system.planes)
    }
    result: dict[str, Any] = _combine([*each.values()], np.mean)
    lowest = floor_of(system, reference, len(finite), seed)
    for definition in DEFINITIONS:
        result[definition]["floor"] = lowest[definition]
    if len(each) > 1:
        result["residues"] = each
    whole = system.physical(finite)
    result["frames"] = {
        "count": len(samples),
        "not_finite": len(samples) - len(finite),
        "broken_bonds": int((~whole).sum()),
    }
    if system.beads is not None:
        result["molecule"] = {
            **_structure(system.beads, sets),
            "phi_positive": {
                kind: float((system.points(part)[:, 0] > 0).mean()) for kind, part in sets.items()
            },
        }
    return result


def _chain_error(plane: Plane, reference: Points, chains: Sequence[Points]) -> dict[str, float]:
    """Standard deviation of the corrected metrics over draws of whole chains, which are independent."""
    js_all = np.stack([histogram(chain, plane, plane.js_bins) for chain in chains])
    pmf_all = np.stack([pmf_histogram(chain, plane) for chain in chains])
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


def _structure(beads: Beads, sets: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Bonds and distances of all pairs of Cα: length and spread (nm) in every set, W1 of the others.

    And frames of the wrong hand.
    """
    carbons = [bead for bead, atom in enumerate(beads.atoms) if atom == "CA"]
    return {
        "bonds": _lengths(beads, beads.bonds, sets),
        "ca_distances": _lengths(beads, [*combinations(carbons, 2)], sets),
        "mirror_images": _mirror_images(beads, sets),
    }


def _mirror_images(beads: Beads, sets: Mapping[str, np.ndarray]) -> dict[str, Any] | None:
    """How many frames of every set, and what share, have a residue of the wrong hand (D), and which have.

    None where the beads have no hand. A reference of D-residues has them too: then they are right.
    """
    _, labels = chiral_centres(beads)
    if not labels:
        return None
    found = {}
    for kind, frames in sets.items():
        wrong = wrong_hand(beads, _flat(frames))
        count, shares = int(wrong.any(axis=1).sum()), wrong.mean(axis=0).tolist()
        residues = {label: share for label, share in zip(labels, shares, strict=True) if share}
        found[kind] = {"count": count, "share": count / len(wrong), "residues": residues}
    return found


def _lengths(
    beads: Beads, pairs: Sequence[tuple[int, int]], sets: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    others = [kind for kind in sets if kind != "reference"]
    found = {}
    for first, second in pairs:
        index = np.array([[first, second]])
        lengths = {kind: distances(_flat(frames), index)[:, 0] for kind, frames in sets.items()}
        found[f"{beads.labels[first]} {beads.labels[second]}"] = {
            kind: _spread(values) for kind, values in lengths.items()
        } | {f"w1_{kind}": wasserstein(lengths["reference"], lengths[kind]) for kind in others}
    return found


def _flat(frames: np.ndarray) -> np.ndarray:
    return frames.reshape(-1, *frames.shape[-2:])


def _spread(values: Float[np.ndarray, "n"]) -> list[float]:
    return [float(values.mean()), float(values.std())]


def mean(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means of JS and PMF over systems, and their standard deviations under `sd` where there are several."""
    parts = [reported(result) for result in results]
    means = _combine(parts, np.mean)
    return means if len(results) == 1 else means | {"sd": _combine(parts, partial(np.std, ddof=1))}
