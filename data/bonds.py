"""Bond lengths tell frames of a molecule from frames in other units, of other molecules, or broken ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import mdtraj
import numpy as np
from jaxtyping import Float, Int
from mdtraj.core.topology import Atom

from .beads import Beads
from .residues import MoleculeError, bonded_pairs, standard_atoms

UNITS = {"nm": 1.0, "angstrom": 0.1, "nm*30": 1 / 30, "nm/10": 10.0}
"""Factors to nm. "nm*30" is the scale of some training scripts; "nm/10" is nm that a reader took for Å."""

_NAMED = {
    ("N", "CA"): 0.146,
    ("CA", "C"): 0.152,
    ("C", "O"): 0.123,
    ("C", "N"): 0.133,
    ("CA", "CB"): 0.153,
    ("CA", "CA"): 0.38,
}
_ELEMENTS = {
    "CC": 0.15,
    "CN": 0.14,
    "CO": 0.13,
    "CS": 0.18,
    "SS": 0.205,
    "CH": 0.109,
    "HN": 0.101,
    "HO": 0.096,
    "HS": 0.134,
}
"""Lengths in nm."""

# Wider than any vibration of a bond, and short of the distances of atoms that are not bonded, which start at
# 1.6 lengths. From CA to CA it is 0.38 nm, or 0.29 nm across a cis bond, and 0.5 nm to the next but one.
_WINDOW, _CALPHA_WINDOW = (0.75, 1.35), (0.66, 1.2)
_SAME_UNIT = 0.15


@dataclass(frozen=True)
class Bonds:
    """The bonds of a molecule whose length is known."""

    labels: tuple[str, ...]
    """Of all atoms."""
    pairs: Int[np.ndarray, "bonds 2"]
    lengths: Float[np.ndarray, "bonds"]
    """In nm."""
    windows: Float[np.ndarray, "bonds 2"]
    """Shortest and longest that may be, in these lengths."""
    backbone: Int[np.ndarray, "some"]
    """Which of them are N–CA; of a Cα model CA–CA."""

    @classmethod
    def of(cls, molecule: "mdtraj.Topology | Beads | Bonds") -> "Bonds":
        """The bonds of all atoms, or of beads."""
        if isinstance(molecule, Bonds):
            return molecule
        if isinstance(molecule, Beads):
            return cls._known(molecule.labels, molecule.atoms, molecule.elements, molecule.bonds)
        names = {atom.index: name for res in molecule.residues for name, atom in standard_atoms(res).items()}
        atoms = list(molecule.atoms)
        return cls._known(
            tuple(f"{atom.residue}-{names.get(atom.index, atom.name)}" for atom in atoms),
            tuple(names.get(atom.index, atom.name) for atom in atoms),
            tuple(_symbol(atom) for atom in atoms),
            sorted(bonded_pairs(molecule)),
        )

    @classmethod
    def _known(
        cls,
        labels: tuple[str, ...],
        names: Sequence[str],
        elements: Sequence[str],
        pairs: Sequence[tuple[int, int]],
    ) -> "Bonds":
        known = [
            (pair, length, {names[pair[0]], names[pair[1]]})
            for pair in pairs
            if (length := _length(names, elements, pair)) is not None
        ]
        wanted = [{"N", "CA"}] if any(kind == {"N", "CA"} for _, _, kind in known) else [{"CA"}]
        return cls(
            labels,
            np.array([pair for pair, _, _ in known], int).reshape(-1, 2),
            np.array([length for _, length, _ in known], float),
            np.array([_CALPHA_WINDOW if kind == {"CA"} else _WINDOW for _, _, kind in known]).reshape(-1, 2),
            np.array([number for number, (_, _, kind) in enumerate(known) if kind in wanted], int),
        )

    def measure(self, frames: Float[np.ndarray, "frames atoms 3"]) -> Float[np.ndarray, "frames bonds"]:
        """Lengths in units of those that are expected."""
        first, second = (frames[:, self.pairs[:, end]].astype(np.float64) for end in (0, 1))
        return np.linalg.norm(first - second, axis=-1) / self.lengths


def _symbol(atom: Atom) -> str:
    return getattr(atom.element, "symbol", None) or atom.name.lstrip("0123456789")[:1].upper()


def _length(names: Sequence[str], elements: Sequence[str], pair: tuple[int, int]) -> float | None:
    first, second = pair
    for one, other in (pair, pair[::-1]):
        if (names[one], names[other]) in _NAMED:
            return _NAMED[names[one], names[other]]
    return _ELEMENTS.get("".join(sorted((elements[first], elements[second]))))


def check_bonds(
    frames: Float[np.ndarray, "frames atoms 3"],
    molecule: mdtraj.Topology | Beads | Bonds,
    source: str = "frames",
    numbers: Sequence[int] | Int[np.ndarray, "frames"] | None = None,
) -> None:
    """Raise MoleculeError unless every bond of every frame has about its length, in nm.

    The message begins with `source` and names the first bad frame (by `numbers`, if given), the atoms of its
    worst bond, and what is likely. Å read as nm, other molecules, other orders of atoms and frames that are
    not finite are refused.
    """
    bonds = Bonds.of(molecule)
    if frames.shape[1] != len(bonds.labels):
        raise MoleculeError(
            f"{source}: frames of {frames.shape[1]} atoms, but the topology has {len(bonds.labels)}: it is "
            "that of another molecule"
        )
    numbers = range(len(frames)) if numbers is None else numbers
    finite = np.isfinite(frames).all(axis=-1)
    if not finite.all():
        frame, atom = np.argwhere(~finite)[0]
        raise MoleculeError(
            f"{source}: frame {numbers[frame]}: atom {bonds.labels[atom]} is at "
            f"{frames[frame, atom].tolist()}, which has to be finite: cut the trajectory before this frame"
        )
    ratios = bonds.measure(frames)
    good = (ratios >= bonds.windows[:, 0]) & (ratios <= bonds.windows[:, 1])
    if good.all():
        return
    frame = int(np.argmin(good.all(axis=1)))
    worst = int(np.argmax(np.abs(np.log(np.maximum(ratios[frame], 1e-9))) * ~good[frame]))
    first, second = (bonds.labels[atom] for atom in bonds.pairs[worst])
    expected = bonds.lengths[worst]
    raise MoleculeError(
        f"{source}: frame {numbers[frame]}: the bond {first} to {second} is "
        f"{ratios[frame, worst] * expected:.3g} nm long and should be {expected:.3g} nm: "
        f"{_cause(ratios[frame], good[frame])}"
    )


def _cause(ratios: Float[np.ndarray, "bonds"], good: np.ndarray) -> str:
    typical = float(np.median(ratios))
    unit = _unit(typical)
    if unit not in (None, "nm"):
        return f"all bonds are {typical:.3g} times too long, as of positions in {unit}: give that unit"
    # The box is far wider than the distance of atoms that a wrong topology joins.
    if np.mean(good) > 0.5 and np.median(ratios[~good]) > 5:
        return "the molecule is cut by the periodic box (make it whole first), or the frame is broken"
    return "the topology belongs to another molecule, or to atoms in another order"


def _unit(ratio: float) -> str | None:
    return next((unit for unit, factor in UNITS.items() if abs(ratio * factor - 1) < _SAME_UNIT), None)


def detect_unit(
    frames: Float[np.ndarray, "frames atoms 3"],
    molecule: mdtraj.Topology | Beads | Bonds,
    source: str = "frames",
) -> float:
    """The factor to nm, by the median of the bonds N–CA (else CA–CA, else all bonds).

    Frames that are not finite do not count. MoleculeError if the median is no such bond in any of `UNITS`.
    """
    bonds = Bonds.of(molecule)
    finite = frames[np.isfinite(frames).all(axis=(1, 2))]
    if not len(bonds.pairs) or not len(finite):
        what = "the topology has no bond" if len(finite) else "no frame is finite"
        raise MoleculeError(f"{source}: the unit cannot be detected, as {what}: give the unit")
    which = bonds.backbone if len(bonds.backbone) else np.arange(len(bonds.pairs))
    ratio = float(np.median(bonds.measure(finite)[:, which]))
    unit = _unit(ratio)
    if unit is None:
        first, second = (bonds.labels[atom] for atom in bonds.pairs[which[0]])
        length = bonds.lengths[which[0]]
        expected = ", ".join(f"{length / factor:.3g} in {unit}" for unit, factor in UNITS.items())
        raise MoleculeError(
            f"{source}: the bond {first} to {second} has length {ratio * length:.3g} and should have "
            f"{expected}: the topology belongs to another molecule or to atoms in another order, or the unit "
            "is another one"
        )
    return UNITS[unit]
