"""Missing bonds are no long bonds: neighbours in a file that are far apart in every frame are not joined.

A bond that is right in some frames and long in others is cut by the periodic box, or the frame is broken; it
stays a bond, so that reading those frames says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import mdtraj
import numpy as np
from jaxtyping import Float, Int
from mdtraj.core.topology import Residue

from ..molecules.bonds import LONGEST, Bonds, Frames
from ..molecules.chains import Joint, joint, parted
from ..molecules.residues import MoleculeError, bonded_pairs, neighbours, residues_of_atoms

Cell = Float[np.ndarray, "3 3"]
"""The vectors (nm) of a periodic box, one a row."""


@dataclass(frozen=True)
class Gap:
    """Two residues that follow one another in the file, and are not joined."""

    residues: tuple[str, str]
    numbers: tuple[int, int]
    """As the file counts them."""
    atoms: tuple[int, int]
    """C and N, or both CA."""
    bond: float
    """The longest that their bond could be, in nm."""
    apart: float
    """The shortest distance (nm) in the frames that were examined."""

    @property
    def between_molecules(self) -> bool:
        """Whether the numbers begin again, as they do in another chain."""
        return self.numbers[1] < self.numbers[0]

    @property
    def words(self) -> str:
        """For a warning."""
        first, last = self.numbers[0] + 1, self.numbers[1] - 1
        why = f"residues {first} to {last} are missing" if last > first else f"residue {first} is missing"
        if last < first:
            why = "a gap, unless the periodic box cuts the molecule in all frames (make it whole first)"
        return (
            f"{self.residues[0]} and {self.residues[1]} are at least {self.apart:.3g} nm apart and read as "
            f"the ends of two chains: {why}"
        )


def without_gaps(
    topology: mdtraj.Topology, frames: Frames, cell: Callable[[], Cell | None] = lambda: None
) -> tuple[mdtraj.Topology, tuple[Gap, ...]]:
    """A standard topology, its chains parted where these frames (nm) have no bond, and where that is.

    Only frames count that are whole but for the bonds between residues. Numbers that jump do not part
    residues that are near. `cell` gives the periodic box, if the file has one, and is called if it matters.
    """
    frames = frames[_whole(topology, frames)]
    if not len(frames):
        return topology, ()
    gaps, joined = {}, set()
    bonded = bonded_pairs(topology)
    for first, second in neighbours(topology):
        found = joint(first, second)
        if found is None:
            continue
        gap = _gap(first, second, found, frames)
        if gap is None:
            # Of Cα models a jump in the numbers is all that tells a gap without frames.
            joined |= {found.pair} - bonded if found.names == ("CA", "CA") else set()
        elif gap.between_molecules or not _cut_by_box(gap, frames, cell()):
            gaps[second.index] = gap
    if not gaps and not joined:
        return topology, ()
    return parted(topology, gaps, joined), tuple(gaps.values())


def _whole(topology: mdtraj.Topology, frames: Frames) -> np.ndarray:
    """Which frames are finite and have every bond within residues."""
    bonds = Bonds.of(topology)
    residue_of = np.array(residues_of_atoms(topology))
    inside = residue_of[bonds.pairs[:, 0]] == residue_of[bonds.pairs[:, 1]]
    return bonds.finite(frames) & (bonds.right(frames) | ~(bonds.needed & inside)).all(axis=1)


def _gap(first: Residue, second: Residue, found: Joint, frames: Frames) -> Gap | None:
    one, other = found.pair
    lengths = np.linalg.norm(frames[:, one].astype(np.float64) - frames[:, other], axis=-1)
    far = lengths > LONGEST[found.names]
    # CA that are not joined may come as near as those that are.
    jumps = found.names == ("CA", "CA") and second.resSeq - first.resSeq != 1
    if far.mean() <= 0.5 if jumps else not far.all():
        return None
    return Gap(
        (str(first), str(second)),
        (first.resSeq, second.resSeq),
        found.pair,
        LONGEST[found.names],
        float(lengths.min()),
    )


def _cut_by_box(gap: Gap, frames: Frames, cell: Cell | None) -> bool:
    """Whether an image of the second atom is as near as a bond."""
    if cell is None or not np.linalg.det(cell):
        return False
    apart = (frames[:, gap.atoms[1]] - frames[:, gap.atoms[0]]).astype(np.float64)
    shifts = np.round(apart @ np.linalg.inv(cell))
    # Of a skewed box the nearest image need not be that of rounding.
    around = np.array(list(product((-1, 0, 1), repeat=3)))
    images = apart[:, None] - (shifts[:, None] + around) @ cell
    return bool((np.linalg.norm(images, axis=-1) < gap.bond).any())


def require_apart(
    frames: Frames, gaps: Sequence[Gap], source: str, numbers: Sequence[int] | Int[np.ndarray, "frames"]
) -> None:
    """Raise MoleculeError for a frame (nm) with a bond where the first frames had a gap."""
    for gap in gaps:
        if gap.bond > LONGEST["C", "N"]:
            continue  # From CA to CA even residues that are not joined may come as near.
        lengths = np.linalg.norm(frames[:, gap.atoms[0]] - frames[:, gap.atoms[1]], axis=-1)
        near = np.flatnonzero(lengths < gap.bond)
        if len(near):
            raise MoleculeError(
                f"{source}: frame {numbers[near[0]]}: {gap.residues[0]} and {gap.residues[1]} are joined, "
                f"{lengths[near[0]]:.3g} nm apart, and were at least {gap.apart:.3g} nm apart in the first "
                "frames: the molecule is cut by the periodic box (make it whole first)"
            )
