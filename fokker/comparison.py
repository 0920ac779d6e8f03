"""Frames of any origin beside a reference, by the metrics of a run."""

from typing import TYPE_CHECKING, Any

import numpy as np

from .analysis.evaluation import judge_samples
from .analysis.observables import distances
from .analysis.results import SampleResult
from .analysis.systems import System
from .data.molecules.beads import Beads
from .data.bound import BoundMolecule, Chains, Given
from .data.molecules.residues import MoleculeError

if TYPE_CHECKING:
    import mdtraj

OF_BEADS = (BoundMolecule, Chains)


def compare(
    frames: "Chains | mdtraj.Trajectory | Given",
    reference: "Chains | mdtraj.Trajectory | Given",
    molecule: BoundMolecule | None = None,
) -> SampleResult:
    """JS and PMF of frames against a reference, beside their floor; bonds, modes and wrong hands.

    Of chains, of trajectories that hold the beads or all atoms, or of positions (nm) of the beads; `molecule`
    says which beads they are where neither is of chains. Raises MoleculeError for frames of other beads.
    """
    beads = next((part.beads for part in (molecule, frames, reference) if isinstance(part, OF_BEADS)), None)
    if beads is None:
        raise ValueError("which beads are these? Give chains, or the bound molecule as `molecule`")
    own, expected = (_positions(beads, part) for part in (frames, reference))
    means = distances(expected, beads.bonds).mean(axis=0)
    # Of the temperature only energies would tell.
    system = System.molecule(beads.sequence, beads, means.tolist(), temperature=300.0)
    return judge_samples(system, expected, own)


def _positions(beads: Beads, given: "Chains | mdtraj.Trajectory | Given") -> np.ndarray:
    """Frames (nm) of the beads."""
    found: Any = given.positions if isinstance(given, Chains) else getattr(given, "xyz", given)
    topology = getattr(given, "topology", None)
    if topology is not None and [atom.name for atom in topology.atoms] != [*beads.atoms]:
        atoms = {(atom.residue.index, atom.name): atom.index for atom in topology.atoms}
        wanted = [*zip(beads.residue_of, beads.atoms, strict=True)]
        if missing := [bead for bead, place in enumerate(wanted) if place not in atoms]:
            raise MoleculeError(f"the trajectory has no atom {beads.labels[missing[0]]} of {beads.sequence}")
        found = found[:, [atoms[place] for place in wanted]]
    found = np.asarray(found, np.float32)
    if found.shape[-2:] != (len(beads), 3):
        raise MoleculeError(
            f"frames of shape {found.shape} are not of the {len(beads)} beads of {beads.sequence}"
        )
    return found.reshape(-1, *found.shape[-2:])
