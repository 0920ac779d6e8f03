"""A system as it is judged: from its configurations to points on a plane, and what is physical."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

from ..data.beads import Beads, require_torsions
from ..data.config import MoleculesConfig, MuellerBrownConfig
from ..data.shards import Dataset
from .metrics import MUELLER_BROWN, RAMACHANDRAN, Plane, physical
from .observables import dihedrals, distances

BOLTZMANN = 0.00831446261815324
"""In kJ/(mol K)."""
BROKEN = 0.5
"""Relative change of its mean length beyond which a bond is broken."""

Frames = Float[np.ndarray, "*batch beads 3"] | Float[np.ndarray, "*batch 2"]


@dataclass(frozen=True)
class System:
    """One system of a dataset. Units: nm, ps, amu, kJ/mol; Müller-Brown has its own."""

    name: str
    plane: Plane
    kT: float
    masses: tuple[float, ...]
    """Of each bead, or of the one particle."""
    norm: float = 1.0
    """What turns positions into normalised units."""
    beads: Beads | None = None
    bond_means: tuple[float, ...] = ()

    @classmethod
    def of(cls, dataset: Dataset, name: str, config: MuellerBrownConfig | MoleculesConfig) -> "System":
        """A system of a dataset that was made with these settings."""
        if isinstance(config, MuellerBrownConfig):
            return cls(name, MUELLER_BROWN, config.temperature, (config.mass,))
        description = dataset.description(name)
        beads = Beads.from_json(description["beads"])
        return cls(
            name,
            RAMACHANDRAN,
            BOLTZMANN * config.temperature,
            tuple(beads.masses.tolist()),
            dataset.norm,
            beads,
            tuple(description["bond_means"]),
        )

    @property
    def temperature_unit(self) -> float:
        """kT of one unit of temperature, as users give it: K for molecules, kT itself for Müller-Brown."""
        return BOLTZMANN if self.beads else 1.0

    @cached_property
    def _torsions(self) -> np.ndarray:
        """Beads of φ and ψ of every pair."""
        assert self.beads is not None
        require_torsions(self.beads)
        return np.asarray([[phi.beads, psi.beads] for phi, psi in self.beads.ramachandran])

    @property
    def planes(self) -> tuple[str, ...]:
        """Names of the planes on which it is judged: the residues with both torsions; a toy has one."""
        if self.beads is None:
            return (self.name,)
        numbers = [phi.residue for phi, _ in self.beads.ramachandran[: len(self._torsions)]]
        return tuple(f"{self.beads.residues[number]}{number + 1}" for number in numbers)

    def points(self, frames: Frames, plane: int | None = None) -> Float[np.ndarray, "*batch 2"]:
        """Where the frames lie on a plane: themselves, or the torsions (φ, ψ) in radians of a residue.

        Unless it is given, that of the residue in the middle.
        """
        if self.beads is None:
            return frames
        batch, torsions = frames.shape[:-2], self._torsions
        chosen = torsions[len(torsions) // 2 if plane is None else plane]
        return dihedrals(frames.reshape(-1, *frames.shape[-2:]), chosen).reshape(*batch, 2)

    def bonds(self, frames: Frames) -> Float[np.ndarray, "frames bonds"]:
        """Bond lengths (nm) of a molecule's frames, one frame after another."""
        assert self.beads is not None
        return distances(frames.reshape(-1, *frames.shape[-2:]), np.asarray(self.beads.bonds))

    def centred(self, frames: Frames) -> Frames:
        """Frames of a molecule with their mean position at 0, which the dynamics let drift."""
        return frames if self.beads is None else frames - frames.mean(axis=-2, keepdims=True)

    def finite(self, frames: Frames) -> Bool[np.ndarray, "*batch"]:
        """Whether every number of a frame is finite."""
        return np.asarray(np.isfinite(frames).all(axis=(-1,) if self.beads is None else (-2, -1)))

    def physical(self, frames: Frames) -> Bool[np.ndarray, "*batch"]:
        """Whether a frame is of this system: inside its range, or with no broken bond; not if not finite."""
        if self.beads is None:
            return physical(frames, self.plane)
        means = np.asarray(self.bond_means)
        with np.errstate(invalid="ignore"):
            whole = (np.abs(self.bonds(frames) - means) < BROKEN * means).all(axis=-1)
        return np.asarray(whole).reshape(frames.shape[:-2])
