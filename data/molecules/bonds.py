"""Bond lengths tell frames of a molecule from frames in other units, of other molecules, or broken ones."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import mdtraj
import numpy as np
from jaxtyping import Bool, Float, Int

from .chains import standard_topology
from .residues import MoleculeError, atoms_in_order, bonded_pairs, standard_atoms, symbol_of

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
_TELLING = 10
"""Frames of which the unit is that of all."""
LONGEST = {("C", "N"): 0.133 * _WINDOW[1], ("CA", "CA"): 0.38 * _CALPHA_WINDOW[1]}
"""The longest (nm) that the bonds between residues can be."""

Frames = Float[np.ndarray, "frames atoms 3"]


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
    heavy: Bool[np.ndarray, "atoms"]
    """Which atoms have to be where they belong: all but hydrogens, sites without mass, and with these all
    that are beads. A broken side chain matters though it is no bead: it shows a molecule cut by the box."""

    @classmethod
    def of(cls, topology: mdtraj.Topology) -> "Bonds":
        """The bonds of all atoms."""
        topology = standard_topology(topology)
        atoms = atoms_in_order(topology)
        found = {atom.index: name for res in topology.residues for name, atom in standard_atoms(res).items()}
        names = [found.get(atom.index, atom.name) for atom in atoms]
        elements = [symbol_of(atom, found.get(atom.index, "")) for atom in atoms]
        known = [
            (pair, length, {names[pair[0]], names[pair[1]]})
            for pair in sorted(bonded_pairs(topology))
            if (length := _length(names, elements, pair)) is not None
        ]
        wanted = [{"N", "CA"}] if any(kind == {"N", "CA"} for _, _, kind in known) else [{"CA"}]
        return cls(
            tuple(f"{atom.residue}-{name}" for atom, name in zip(atoms, names, strict=True)),
            np.array([pair for pair, _, _ in known], int).reshape(-1, 2),
            np.array([length for _, length, _ in known], float),
            np.array([_CALPHA_WINDOW if kind == {"CA"} else _WINDOW for _, _, kind in known]).reshape(-1, 2),
            np.array([number for number, (_, _, kind) in enumerate(known) if kind in wanted], int),
            np.array([element not in ("H", None) for element in elements], bool),
        )

    def with_beads(self, indices: Collection[int] | Int[np.ndarray, "beads"]) -> "Bonds":
        """The same, where these atoms are beads, whatever their element."""
        heavy = self.heavy.copy()
        heavy[np.asarray([*indices], int)] = True
        return replace(self, heavy=heavy)

    @property
    def needed(self) -> Bool[np.ndarray, "bonds"]:
        """Which bonds have to be right: those whose atoms both have to be where they belong."""
        return np.asarray(self.heavy[self.pairs].all(axis=1))

    def measure(self, frames: Frames) -> Float[np.ndarray, "frames bonds"]:
        """Lengths in units of those that are expected."""
        first, second = (frames[:, self.pairs[:, end]].astype(np.float64) for end in (0, 1))
        with np.errstate(invalid="ignore"):
            return np.linalg.norm(first - second, axis=-1) / self.lengths

    def finite(self, frames: Frames) -> Bool[np.ndarray, "frames"]:
        """Which frames are finite, where they have to be."""
        return np.asarray(np.isfinite(frames[:, self.heavy]).all(axis=(1, 2)))

    def right(self, frames: Frames) -> Bool[np.ndarray, "frames bonds"]:
        """Which bonds have about their length (nm)."""
        ratios = self.measure(frames)
        return (ratios >= self.windows[:, 0]) & (ratios <= self.windows[:, 1])

    def good(self, frames: Frames) -> Bool[np.ndarray, "frames"]:
        """Which frames (nm) `check_bonds` would pass: finite, and with every bond of about its length."""
        return self.finite(frames) & (self.right(frames) | ~self.needed).all(axis=1)


def _length(names: Sequence[str], elements: Sequence[str | None], pair: tuple[int, int]) -> float | None:
    first, second = pair
    for one, other in (pair, pair[::-1]):
        if (names[one], names[other]) in _NAMED:
            return _NAMED[names[one], names[other]]
    return _ELEMENTS.get("".join(sorted((elements[first] or "", elements[second] or ""))))


def check_bonds(
    frames: Frames,
    bonds: Bonds,
    source: str = "frames",
    numbers: Sequence[int] | Int[np.ndarray, "frames"] | None = None,
    before: int = 0,
) -> None:
    """Raise MoleculeError unless every bond of every frame has about its length, in nm.

    The message begins with `source` and names the first bad frame (by `numbers`, if given), the atoms of its
    worst bond, and what is likely; `before` says how many good frames were read before these. Å read as nm,
    other molecules, other orders of atoms and frames that are not finite are refused. Hydrogens that are no
    beads may be anywhere.
    """
    if frames.shape[1] != len(bonds.labels):
        raise MoleculeError(
            f"{source}: frames of {frames.shape[1]} atoms, but the topology has {len(bonds.labels)}: it is "
            "that of another molecule"
        )
    good = bonds.good(frames)
    if good.all():
        return
    frame = int(np.argmin(good))
    number = frame if numbers is None else numbers[frame]
    raise MoleculeError(f"{source}: frame {number}: {_fault(frames[frame], bonds, _others(good, before))}")


def _others(good: Bool[np.ndarray, "frames"], before: int) -> str:
    """How many frames are good, where some are."""
    first = int(np.argmin(good))
    earlier, later = before + first, int(good[first:].sum())
    if earlier:
        return f"the {earlier} frames before it are good" if earlier > 1 else "the frame before it is good"
    return f"{later} frames after it are good" if later else ""


def _fault(frame: Float[np.ndarray, "atoms 3"], bonds: Bonds, others: str) -> str:
    """What is wrong with a frame, the only one or one among others that are good."""
    lost = np.flatnonzero(~np.isfinite(frame).all(axis=-1) & bonds.heavy)
    if len(lost):
        where = f"atom {bonds.labels[lost[0]]} is at {frame[lost[0]].tolist()}, which has to be finite: "
        return where + (_broken(others) if others else "cut the trajectory before this frame")
    ratios, right = bonds.measure(frame[None])[0], bonds.right(frame[None])[0]
    bad = ~right & bonds.needed
    worst = int(np.argmax(np.where(bad, np.abs(np.log(np.maximum(ratios, 1e-9))), -1)))
    first, second = (bonds.labels[atom] for atom in bonds.pairs[worst])
    expected = bonds.lengths[worst]
    cause = _cause(ratios[bonds.needed], right[bonds.needed], others)
    return (
        f"the bond {first} to {second} is {ratios[worst] * expected:.3g} nm long and should be "
        f"{expected:.3g} nm: {cause}"
    )


def _broken(others: str) -> str:
    return f"the frame is broken, as {others}: leave it out (--skip-damaged), or cut the trajectory before it"


def _cause(ratios: Float[np.ndarray, "bonds"], right: np.ndarray, others: str) -> str:
    typical = float(np.median(ratios))
    unit = _unit(typical)
    if unit not in (None, "nm"):
        words = f"all bonds are {typical:.3g} times too long, as of positions in {unit}"
        return f"{words}, and {_broken(others)}" if others else f"{words}: give that unit"
    # The box is far wider than the distance of atoms that a wrong topology joins.
    if np.mean(right) > 0.5 and np.median(ratios[~right]) > 5:
        cut = "the molecule is cut by the periodic box (make it whole first)"
        return f"{_broken(others)}, unless {cut}" if others else f"{cut}, or the frame is broken"
    if others:
        return _broken(others)
    if not ratios.any():
        return "all atoms are at one place: the frame is empty"
    return "the topology belongs to another molecule, or to atoms in another order"


def _unit(ratio: float) -> str | None:
    return next((unit for unit, factor in UNITS.items() if abs(ratio * factor - 1) < _SAME_UNIT), None)


def detect_unit(frames: Frames, bonds: Bonds, source: str = "frames") -> float:
    """The factor to nm, by the median of the bonds N–CA (else CA–CA, else all bonds).

    Frames that are not finite or of no unit do not count, where others are. MoleculeError if no frame's
    median is such a bond in any of `UNITS`.
    """
    finite = frames[bonds.finite(frames)]
    which = bonds.backbone if len(bonds.backbone) else np.flatnonzero(bonds.needed)
    if not len(which) or not len(finite):
        what = "the topology has no bond" if len(finite) else "no frame is finite"
        raise MoleculeError(f"{source}: the unit cannot be detected, as {what}: give the unit")
    ratios = np.median(bonds.measure(finite)[:, which], axis=1)
    # Some may be broken: the first few count that have any unit, unless none has.
    known = [ratio for ratio in ratios.tolist() if _unit(ratio)][:_TELLING]
    ratio = float(np.median(known or ratios))
    unit = _unit(ratio)
    if not ratio:
        raise MoleculeError(f"{source}: all atoms of the first frames are at one place: the frames are empty")
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
