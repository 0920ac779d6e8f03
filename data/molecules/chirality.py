"""The hand of amino acids at CA: proteins are made of L, and a mirror image is another molecule."""

import mdtraj
import numpy as np
from jaxtyping import Bool, Float, Int

from .beads import Beads
from .chains import standard_topology
from .residues import AMINO_ACIDS, standard_atoms, standard_residue


def chiral_centres(molecule: mdtraj.Topology | Beads) -> tuple[Int[np.ndarray, "centres 4"], tuple[str, ...]]:
    """CA, and N, C and CB of every residue that has them, in this order, with the residue's label.

    HA stands in for a missing CB, with N and C exchanged. Glycine has no hand, nor have models without one
    of these atoms.
    """
    found, labels = [], []
    for label, name, atoms in _residues(molecule):
        for fourth, order in (("CB", ("N", "C")), ("HA", ("C", "N"))):
            wanted = ("CA", *order, fourth)
            if name != "GLY" and all(atom in atoms for atom in wanted):
                found.append([atoms[atom] for atom in wanted])
                labels.append(label)
                break
    return np.array(found, int).reshape(-1, 4), tuple(labels)


def _residues(molecule: mdtraj.Topology | Beads) -> list[tuple[str, str, dict[str, int]]]:
    """Label, standard name and atoms of the amino acids."""
    if isinstance(molecule, Beads):
        atoms: dict[int, dict[str, int]] = {}
        for bead, (number, atom) in enumerate(zip(molecule.residue_of, molecule.atoms, strict=True)):
            atoms.setdefault(number, {})[atom] = bead
        names = molecule.residues
        return [(f"{names[number]}{number + 1}", names[number], found) for number, found in atoms.items()]
    residues = [(res, standard_residue(res.name)) for res in standard_topology(molecule).residues]
    return [
        (str(residue), name, {atom: entry.index for atom, entry in standard_atoms(residue).items()})
        for residue, name in residues
        if name in AMINO_ACIDS
    ]


def wrong_hand(
    centres: Int[np.ndarray, "centres 4"], frames: Float[np.ndarray, "frames atoms 3"]
) -> Bool[np.ndarray, "frames centres"]:
    """Which residues of `chiral_centres` are D in which frames, in whatever unit.

    Their chiral volume (N − CA) · ((C − CA) × (CB − CA)) is negative; that of L is positive. What is not
    finite is not counted.
    """
    centre, *ends = (frames[:, centres[:, place]].astype(np.float64) for place in range(4))
    n, c, cb = (end - centre for end in ends)
    with np.errstate(invalid="ignore"):
        return np.sum(n * np.cross(c, cb), axis=-1) < 0
