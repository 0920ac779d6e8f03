"""The hand of amino acids at CA: proteins are made of L, and a mirror image is another molecule."""

import mdtraj
import numpy as np
from jaxtyping import Bool, Float, Int

from .chains import standard_topology
from .residues import AMINO_ACIDS, standard_atoms, standard_residue


def chiral_centres(topology: mdtraj.Topology) -> tuple[Int[np.ndarray, "centres 4"], tuple[str, ...]]:
    """CA, and N, C and CB of every residue that has them, in this order, with the residue's label.

    HA stands in for a missing CB, with N and C exchanged. Glycine has no hand, nor have models without one
    of these atoms.
    """
    found, labels = [], []
    for residue in standard_topology(topology).residues:
        if standard_residue(residue.name) not in {*AMINO_ACIDS} - {"GLY"}:
            continue
        atoms = standard_atoms(residue)
        for wanted in (("CA", "N", "C", "CB"), ("CA", "C", "N", "HA")):
            if all(name in atoms for name in wanted):
                found.append([atoms[name].index for name in wanted])
                labels.append(str(residue))
                break
    return np.array(found, int).reshape(-1, 4), tuple(labels)


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
