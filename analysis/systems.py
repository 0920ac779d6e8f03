"""A system as it is judged: what its frames are projected to, and which of them are physical."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Bool, Float

from ..data.config import BOLTZMANN, MoleculesConfig, MuellerBrownConfig
from ..data.dataset.shards import Dataset
from ..data.molecules.beads import Beads, Dihedral
from ..data.molecules.chirality import chiral_centres
from ..model.dynamics.guard import Guard
from .metrics import MUELLER_BROWN
from .observables import distances
from .projections import (
    Frames,
    Measure,
    Pair,
    Projection,
    coordinates,
    far_pairs,
    label_of,
    projections_of,
)

BROKEN = 0.5
"""Relative change of its mean length beyond which a bond is broken."""
FARTHEST = 1e5
"""In nm: where what drifts is taken to be lost."""
MUELLER_BROWN_RANGE = ((-4.0, 2.0), (-2.0, 4.0))
"""Beyond it a particle has left the potential."""


@dataclass(frozen=True)
class Bounds:
    """What is measured of a frame that is physical lies within these, one after another."""

    measure: Measure
    low: tuple[float, ...]
    high: tuple[float, ...]

    def __call__(self, frames: Frames) -> Bool[np.ndarray, "*batch"]:
        """Whether each frame does; what is not finite does not."""
        with np.errstate(invalid="ignore"):
            values = self.measure(frames)
            return np.asarray(((values >= self.low) & (values <= self.high)).all(axis=-1))


@dataclass(frozen=True)
class System:
    """One system of a dataset. Units: nm, ps, amu, kJ/mol; Müller-Brown has its own."""

    name: str
    shape: tuple[int, ...]
    """Of a frame."""
    kT: float
    masses: tuple[float, ...]
    """Of each bead, or of the one particle."""
    projections: tuple[Projection, ...]
    """By which it is judged."""
    physical: Bounds
    norm: float = 1.0
    """What turns positions into normalised units."""
    temperature_unit: float = 1.0
    """kT of one unit of temperature, as users give it: K for molecules, kT itself for Müller-Brown."""
    trajectories: tuple[tuple[str, int], ...] = ()
    """Split and number of frames of those that its dataset consists of, where they are known."""
    beads: Beads | None = None
    """Of a molecule, which alone has the following."""
    bonds: tuple[tuple[str, Pair], ...] = ()
    far_pairs: tuple[tuple[str, Pair], ...] = ()
    """Others whose distances are judged."""
    hands: tuple[tuple[str, tuple[int, ...]], ...] = ()
    """Residues that have one, and its `chiral_centres`."""

    def named_in(self, dataset: Dataset) -> str | None:
        """Its name in a dataset: its own, or that of a molecule of the same beads; None without either."""
        if self.name in dataset.systems:
            return self.name
        for name in dataset.systems:
            beads = dataset.description(name).get("beads")
            if self.beads and beads and replace(Beads.from_json(beads), name=self.beads.name) == self.beads:
                return name
        return None

    @classmethod
    def of(cls, dataset: Dataset, name: str, config: MuellerBrownConfig | MoleculesConfig) -> "System":
        """A system of a dataset that was made with these settings."""
        if isinstance(config, MuellerBrownConfig):
            chains = (("train", config.frames // config.chains),) * config.chains
            return cls.particle(name, config.temperature, config.mass, chains)
        description = dataset.description(name)
        known = [(part["split"], part["frames"]) for part in description.get("trajectories", ())]
        return cls.molecule(
            name,
            Beads.from_json(description["beads"]),
            description["bond_means"],
            config.temperature,
            dataset.norm,
            known,
        )

    @classmethod
    def particle(
        cls, name: str, kT: float, mass: float, trajectories: Sequence[tuple[str, int]] = ()
    ) -> "System":
        """A particle in the plane of the Müller-Brown potential."""
        low, high = zip(*MUELLER_BROWN_RANGE, strict=True)
        return cls(
            name,
            (2,),
            kT,
            (mass,),
            (Projection(name, coordinates, MUELLER_BROWN),),
            Bounds(coordinates, low, high),
            trajectories=tuple(trajectories),
        )

    @classmethod
    def molecule(
        cls,
        name: str,
        beads: Beads,
        bond_means: Sequence[float],
        temperature: float,
        norm: float = 1.0,
        trajectories: Sequence[tuple[str, int]] = (),
    ) -> "System":
        """A molecule at a temperature in K, of mean bond lengths in nm.

        Raises MoleculeError for one that nothing can be judged by.
        """
        low, high = ((1 - BROKEN) * np.asarray(bond_means), (1 + BROKEN) * np.asarray(bond_means))
        centres, labels = chiral_centres(beads.topology())
        return cls(
            name,
            (len(beads), 3),
            BOLTZMANN * temperature,
            tuple(beads.masses.tolist()),
            projections_of(beads, bond_means, scale=1 / norm),
            Bounds(partial(distances, pairs=beads.bonds), tuple(low.tolist()), tuple(high.tolist())),
            norm,
            BOLTZMANN,
            tuple(trajectories),
            beads,
            tuple((label_of(beads, pair), pair) for pair in beads.bonds),
            tuple((label_of(beads, pair), pair) for pair in far_pairs(beads)),
            tuple(zip(labels, map(tuple, centres.tolist()), strict=True)),
        )

    @property
    def shown(self) -> Projection:
        """The projection that stands for all: that of the residue in the middle."""
        return self.projections[len(self.projections) // 2]

    @property
    def torsion(self) -> Dihedral | None:
        """φ of the residue in the middle; None where there are no torsions."""
        if self.beads is None or not self.shown.grid.periodic:
            return None
        return self.beads.ramachandran[self.projections.index(self.shown)][0]

    @property
    def pairs(self) -> tuple[tuple[str, Pair], ...]:
        """Labels and beads of all lengths that are judged, bonds first."""
        return self.bonds + self.far_pairs

    def guard(self, size: int) -> Guard:
        """What is physical, for a simulation; molecules are padded to so many beads, and share programs."""
        if self.beads is None:
            low, high = (np.asarray(ends, np.float32) for ends in (self.physical.low, self.physical.high))
            return Guard(low, high, np.zeros((0, 2), np.int32), *np.zeros((2, 0), np.float32))
        # Beads of padding, and pairs of a bead with itself, are always where they may be.
        pairs, limits = np.zeros((2 * size, 2), np.int32), np.zeros((2, 2 * size), np.float32)
        pairs[: len(self.bonds)] = [pair for _, pair in self.bonds]
        limits[:, : len(self.bonds)] = self.physical.low, self.physical.high
        far = np.float32(FARTHEST)
        return Guard(-far, far, pairs, *limits)

    @property
    def time_unit(self) -> str:
        """ps of molecules; empty where the potential has a unit of its own, and no name for it."""
        return "" if self.beads is None else "ps"

    def phi(self, frames: Frames) -> Float[np.ndarray, "*batch"]:
        """φ (radians) of the residue in the middle; not a number where there are no torsions."""
        if not self.shown.grid.periodic:
            return np.full(frames.shape[: -len(self.shape)], np.nan)
        with np.errstate(invalid="ignore"):
            return self.shown(frames)[..., 0]

    def centred(self, frames: Frames) -> Frames:
        """Frames of a molecule with their mean position at 0, which the dynamics let drift."""
        return frames if len(self.shape) == 1 else frames - frames.mean(axis=-2, keepdims=True)

    def finite(self, frames: Frames) -> Bool[np.ndarray, "*batch"]:
        """Whether every number of a frame is finite."""
        return np.asarray(np.isfinite(frames).all(axis=tuple(range(-len(self.shape), 0))))
