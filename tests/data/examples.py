"""Molecules to test with: real ones of ../shared where it is, and made-up ones with possible bonds."""

from pathlib import Path

import mdtraj
import numpy as np
import pytest

from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads, map_beads
from fokker.data.molecules.bonds import Bonds
from fokker.data.molecules.residues import sequence_topology

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"
REAL = {"alanine-dipeptide": "alanine-dipeptide"} | {
    name: f"dipeptides/{split}"
    for split, names in (("train", "AV CN DR EK HL IS KF LH ND RA SY"), ("validation", "ET LA"))
    for name in names.split()
}


def real(name: str, frames: int = 20) -> tuple[mdtraj.Topology, np.ndarray]:
    """A molecule of the reference data, and its first frames in nm."""
    folder = SHARED / REAL[name]
    if not folder.is_dir():
        pytest.skip(f"../shared/data has no {REAL[name]}")
    with np.load(folder / f"{name}-traj-arrays.npz") as arrays:
        positions = arrays["positions"][:frames]
    topology = mdtraj.load_topology(folder / f"{name}-traj-state0.pdb")
    assert topology is not None
    return topology, positions


def made_up(sequence: str, frames: int = 20, seed: int = 0) -> tuple[mdtraj.Topology, np.ndarray]:
    """Heavy atoms of a molecule without rings, every bond 0.145 nm long and more or less along x."""
    topology = sequence_topology(sequence)
    return topology, scattered(topology, frames, seed)


def scattered(topology: mdtraj.Topology, frames: int = 20, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    positions = np.zeros((frames, topology.n_atoms, 3), np.float32)
    neighbours = {atom.index: [] for atom in topology.atoms}
    for first, second in topology.bonds:
        neighbours[first.index].append(second.index)
        neighbours[second.index].append(first.index)
    placed, queue = {0}, [0]
    while queue:
        here = queue.pop()
        for there in set(neighbours[here]) - placed:
            step = rng.normal((1, 0, 0), 0.3, (frames, 3))
            positions[:, there] = positions[:, here] + 0.145 * step / np.linalg.norm(step, axis=1)[:, None]
            placed.add(there)
            queue.append(there)
    assert len(placed) == topology.n_atoms
    return positions


def save_structure(path: Path, topology: mdtraj.Topology, frame: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    mdtraj.Trajectory(frame, topology).save_pdb(str(path))
    return path


def coarse_grain(
    positions: np.ndarray, topology: mdtraj.Topology, bead_map: BeadMap, name: str = ""
) -> tuple[np.ndarray, Beads]:
    """The beads' positions in float32, in the unit of the atoms', and what they are."""
    indices, beads = map_beads(topology, bead_map, name)
    return np.ascontiguousarray(positions[:, indices], np.float32), beads


def bonds_of(molecule: mdtraj.Topology | Beads | Bonds) -> Bonds:
    if isinstance(molecule, Beads):
        return Bonds.of(molecule.topology()).with_beads(range(len(molecule)))
    return molecule if isinstance(molecule, Bonds) else Bonds.of(molecule)
