"""From frames to points on one or two axes, where distributions are compared and drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import TypeVar

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_array
from scipy.sparse.csgraph import shortest_path

from ..data.molecules.beads import Beads
from ..data.molecules.residues import MoleculeError
from .metrics import RAMACHANDRAN, Grid
from .observables import dihedrals, distances

MOST_DISTANCES = 100
"""Pairs of beads that a molecule is judged by; of more, so many that are spread evenly over all."""

BOND_SEEN = 0.15
"""Relative change of its mean length up to which a bond has bins of its own."""

Frames = Float[np.ndarray, "*batch beads 3"] | Float[np.ndarray, "*batch 2"]
Part = TypeVar("Part")
Pair = tuple[int, int]
Measure = Callable[[Frames], Float[np.ndarray, "*batch values"]]
"""What is measured: some values of each frame. Travels to other processes."""


def coordinates(frames: Frames) -> Float[np.ndarray, "*batch values"]:
    """Of a particle, its own."""
    return frames


@dataclass(frozen=True)
class Projection:
    """What is measured, and the grid on which it is compared."""

    name: str
    measure: Measure
    grid: Grid

    def __call__(self, frames: Frames) -> Float[np.ndarray, "*batch axes"]:
        """The points of frames."""
        return self.measure(frames)


def ramachandran(beads: Beads) -> tuple[Projection, ...]:
    """(φ, ψ) of every residue that has both; none of beads without torsions."""
    return tuple(
        Projection(
            f"{beads.residues[phi.residue]}{phi.residue + 1}",
            partial(dihedrals, quadruples=(phi.beads, psi.beads)),
            RAMACHANDRAN,
        )
        for phi, psi in beads.ramachandran
    )


def far_pairs(beads: Beads) -> tuple[Pair, ...]:
    """Pairs of Cα that no bond joins; where the beads have no torsions and at most one Cα, of all beads."""
    members = [bead for bead, atom in enumerate(beads.atoms) if atom == "CA"]
    if not beads.ramachandran and len(members) < 2:
        members = [*range(len(beads))]
    return _spread_evenly([pair for pair in combinations(members, 2) if pair not in beads.bonds])


def projections_of(beads: Beads, bond_means: Sequence[float], scale: float) -> tuple[Projection, ...]:
    """What a molecule is judged by: the torsions of its residues, or if it has none its bonds and distances.

    Distances are seen up to a little more than the chain between them is long (nm), and where there is none
    up to eight times `scale`, the standard deviation (nm) of coordinates. Raises MoleculeError for one bead,
    which has neither.
    """
    require_projections(beads)
    if beads.ramachandran:
        return ramachandran(beads)
    first, second = np.asarray(beads.bonds, int).reshape(-1, 2).T
    graph = csr_array((np.asarray(bond_means, float), (first, second)), (len(beads),) * 2)
    chain = shortest_path(graph, directed=False)
    reach = np.where(np.isfinite(chain), 1.1 * chain, 8 * scale)
    limits = {
        pair: ((1 - BOND_SEEN) * mean, (1 + BOND_SEEN) * mean)
        for pair, mean in zip(beads.bonds, bond_means, strict=True)
    } | {pair: (0.0, float(reach[pair])) for pair in far_pairs(beads)}
    return tuple(
        Projection(
            label_of(beads, pair),
            partial(distances, pairs=(pair,)),
            Grid((f"{label_of(beads, pair)} (nm)",), (limits[pair],), js_bins=64),
        )
        for pair in _spread_evenly([*limits])
    )


def require_projections(beads: Beads) -> None:
    """Raise MoleculeError for a molecule that could not be judged."""
    if len(beads) < 2:
        raise MoleculeError(
            f"{beads.name}: one bead has no distance and no torsion, by which it is judged: use a map of more"
        )


def label_of(beads: Beads, pair: Pair) -> str:
    """Of a pair, for people."""
    return " ".join(beads.labels[bead] for bead in pair)


def _spread_evenly(parts: Sequence[Part]) -> tuple[Part, ...]:
    chosen = np.linspace(0, len(parts) - 1, min(len(parts), MOST_DISTANCES)).round().astype(int)
    return tuple(parts[number] for number in chosen)
