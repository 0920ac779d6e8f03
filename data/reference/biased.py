"""Biased frames of references, and the weights that make equilibrium of them (Torrie & Valleau 1977).

A frame of energy V in the bias counts exp(V/kT). Walkers have biases of their own, each known up to a
constant, so each is normalised alone: its mean weight is 1, and as the bias lifts nothing (V ≤ 0), no weight
exceeds the inverse of its mean exp(V/kT).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from ..molecules.residues import MoleculeError

ENDING = "-biased-arrays.npz"


@dataclass(frozen=True)
class Weights:
    """Of the frames of all walkers of one reference, or of several of one molecule."""

    log_weight: Float[np.ndarray, "frames"]
    walker: Int[np.ndarray, "frames"]
    tables: Float[np.ndarray, "walkers torsions bins"]
    """The bias V/kT of each torsion, at −π, −π + 2π/bins …"""
    log_mean: Float[np.ndarray, "walkers"]
    """log of the mean exp(V/kT) of each walker's frames."""
    atoms: Int[np.ndarray, "torsions 4"]

    @classmethod
    def read(cls, path: Path, kT: float) -> "Weights":
        """Of the biased frames in a file of a reference, for kT in kJ/mol. MoleculeError if it is damaged."""
        try:
            with np.load(path) as arrays:
                bias, walker = arrays["bias"] / kT, arrays["walker"]
                tables, atoms = arrays["tables"] / kT, arrays["atoms"]
            counts = np.bincount(walker, minlength=len(tables))
            highest = np.full(len(tables), -np.inf)
            np.maximum.at(highest, walker, bias)
            sums = np.bincount(walker, np.exp(bias - highest[walker]), len(tables))
            log_mean = highest + np.log(sums / counts)
            return cls(bias - log_mean[walker], walker, tables, log_mean, atoms)
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise MoleculeError(
                f"{path}: not the biased frames of a reference ({error!r}): make it again"
            ) from None

    @classmethod
    def joined(cls, parts: Sequence["Weights"]) -> "Weights":
        """Of several references, one after another, whose molecules are the same."""
        before = np.cumsum([0, *(len(part.tables) for part in parts)])
        walkers = [part.walker + first for part, first in zip(parts, before, strict=False)]
        log_weight, tables, log_mean = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("log_weight", "tables", "log_mean")
        )
        return cls(log_weight, np.concatenate(walkers), tables, log_mean, parts[0].atoms)

    @property
    def columns(self) -> Float[np.ndarray, "frames 2"]:
        """As a dataset keeps them beside the frames: log-weights and numbers of walkers."""
        return np.stack([self.log_weight, self.walker], axis=1)

    def along(self, beads: Sequence[int]) -> dict[str, list]:
        """The logarithm of the weight as a function of torsions, for `beads` that are these atoms.

        As JSON has it: the beads of each torsion, and its table for each walker. Torsions with atoms that are
        no beads are left out, as far as they go nothing is known of the weight.
        """
        bead_of = {atom: bead for bead, atom in enumerate(beads)}
        known = [place for place, four in enumerate(self.atoms.tolist()) if bead_of.keys() >= {*four}]
        tables = self.tables[:, known] - self.log_mean[:, None, None] / max(1, len(known))
        return {
            "torsions": [[bead_of[atom] for atom in self.atoms[place].tolist()] for place in known],
            "tables": [[[float(f"{v:.6g}") for v in row] for row in walker] for walker in tables],
        }
