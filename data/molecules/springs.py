"""How long the bonds and how wide the angles of beads are in the data, by kind.

A network need not learn these stiff terms where they are given (the prior energy of CGnets, Wang et al.
2019). A kind is the names of the atoms and, counted from the first, their residues, so that what was measured
on some peptides holds for others: "C0-N1-CA1".
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from .beads import Beads

Moments = dict[str, list[float]]
"""Kind to number of values, their mean and their variance."""
Table = Mapping[str, Mapping[str, Sequence[float]]]
"""Moments of `bonds` (lengths in nm) and `angles` (cosines)."""


class Springs(NamedTuple):
    """Those of one molecule: which beads, mean and variance of each length and cosine."""

    bonds: Int[np.ndarray, "bonds 2"]
    lengths: Float[np.ndarray, "bonds 2"]
    angles: Int[np.ndarray, "angles 3"]
    cosines: Float[np.ndarray, "angles 2"]


def kind(beads: Beads, members: Sequence[int]) -> str:
    """The kind of a bond or an angle, the same from either end."""
    first = min(beads.residue_of[bead] for bead in members)
    names = [f"{beads.atoms[bead]}{beads.residue_of[bead] - first}" for bead in members]
    return "-".join(min(names, names[::-1]))


def measure(beads: Beads, frames: Float[np.ndarray, "frames beads 3"]) -> dict[str, Moments]:
    """Moments of every kind in the frames (nm) of one molecule."""
    found: dict[str, dict[str, list[list[float]]]] = {"bonds": {}, "angles": {}}
    for name, members, values in (
        *(("bonds", pair, _length(frames, *pair)) for pair in beads.bonds),
        *(("angles", triple, _cosine(frames, *triple)) for triple in beads.angles),
    ):
        part = [float(len(values)), float(values.mean()), float(values.var())]
        found[name].setdefault(kind(beads, members), []).append(part)
    return {name: {key: _pooled(parts) for key, parts in kinds.items()} for name, kinds in found.items()}


def pool(tables: Sequence[Table]) -> dict[str, Moments]:
    """Moments over all molecules together."""
    result: dict[str, Moments] = {}
    for name in ("bonds", "angles"):
        kinds = sorted({key for table in tables for key in table[name]})
        result[name] = {
            key: _pooled([table[name][key] for table in tables if key in table[name]]) for key in kinds
        }
    return result


def springs_of(beads: Beads, table: Table) -> Springs:
    """The springs of a molecule. What the data had none of has none, nor has an angle without its bonds."""
    known = {pair: table["bonds"].get(kind(beads, pair)) for pair in beads.bonds}
    bonds = [(pair, moments) for pair, moments in known.items() if moments]
    angles = [
        (triple, moments)
        for triple in beads.angles
        if (moments := table["angles"].get(kind(beads, triple)))
        and all(known[min(pair), max(pair)] for pair in (triple[:2], triple[1:]))
    ]
    return Springs(*_arrays(bonds, 2), *_arrays(angles, 3))


def _arrays(entries: Sequence[tuple[Sequence[int], Sequence[float]]], members: int):
    indices = np.array([beads for beads, _ in entries], np.int32).reshape(-1, members)
    return indices, np.array([moments[1:] for _, moments in entries], np.float32).reshape(-1, 2)


def _pooled(parts: Sequence[Sequence[float]]) -> list[float]:
    counts, means, variances = np.transpose(parts)
    mean = np.average(means, weights=counts)
    variance = np.average(variances + (means - mean) ** 2, weights=counts)
    return [float(counts.sum()), float(mean), float(variance)]


def _length(frames: np.ndarray, first: int, second: int) -> Float[np.ndarray, "frames"]:
    return np.linalg.norm(frames[:, second].astype(np.float64) - frames[:, first], axis=-1)


def _cosine(frames: np.ndarray, first: int, centre: int, last: int) -> Float[np.ndarray, "frames"]:
    one, other = (frames[:, end].astype(np.float64) - frames[:, centre] for end in (first, last))
    return np.sum(one * other, axis=-1) / np.linalg.norm(one, axis=-1) / np.linalg.norm(other, axis=-1)
