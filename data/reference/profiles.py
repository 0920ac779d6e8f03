"""Free energies along φ of a reference from its biased frames, which see barriers that equilibrium hides.

A frame of energy V in the bias counts exp(V/kT) (Torrie & Valleau 1977). Walkers have biases of their own, up
to constants that nobody knows, so each is normalised alone. They are kept in parts, whose spread gives the
errors of whatever is made of them.
"""

import json
from collections.abc import Sequence
from math import pi
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ..molecules.residues import MoleculeError

BINS = 64
"""Of a torsion, from −π to π: those that frames are compared on."""
PARTS = 8
"""Blocks of time that a walker is cut into."""

Weights = dict[str, list[list[float]]]
"""By the number of the residue from 0, as JSON has it: the weight of every bin in every part."""


def bins_of(angles: Float[np.ndarray, "*batch"], bins: int = BINS) -> np.ndarray:
    """Number of the bin of each angle (radians)."""
    return np.clip(((angles + pi) * (bins / (2 * pi))).astype(int), 0, bins - 1)


def weigh(
    phi: Float[np.ndarray, "frames"], weights: Float[np.ndarray, "frames"]
) -> Float[np.ndarray, "parts bins"]:
    """The weights of a walker's frames, in order of time, by part and bin; all together are 1."""
    part = np.arange(len(phi)) * PARTS // len(phi)
    found = np.zeros((PARTS, BINS))
    np.add.at(found, (part, bins_of(phi)), weights)
    return found / weights.sum()


def read(reports: Sequence[Path | None]) -> Weights:
    """What the reports of several references of a molecule know together; nothing unless all know it.

    Raises MoleculeError for one that is damaged.
    """
    found: list[Weights] = []
    for report in reports:
        if report is None:
            return {}
        try:
            found.append(json.loads(report.read_text()).get("phi", {}))
        except (OSError, ValueError, AttributeError) as error:
            raise MoleculeError(
                f"{report}: not the report of a reference ({error!r}): make it again"
            ) from None
    known = found[0].keys() if found else ()
    return {
        residue: [part for one in found for part in one[residue]]
        for residue in known
        if all(residue in one for one in found)
    }
