"""Frames are compared with a reference whatever they come in."""

from pathlib import Path

import mdtraj
import pytest

import fokker
from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.residues import MoleculeError

from ..data.examples import coarse_grain, made_up

MODEL = Path(__file__).parents[1] / "data" / "golden" / "format-1.safetensors"


def test_chains_are_compared_with_chains_arrays_and_trajectories():
    """A set beside itself is at 0, beads are found among all atoms, and other molecules are refused."""
    molecule = fokker.load(MODEL).molecule("GA")
    topology, positions = made_up("GA", 60)
    atoms = mdtraj.Trajectory(positions, topology)
    samples, _ = coarse_grain(positions, topology, BeadMap.parse("backbone"))
    same = fokker.compare(samples, atoms, molecule)
    assert same.corrected["samples"].js == pytest.approx(0, abs=1e-12)
    assert same.corrected["floor"].js > 0
    assert same.frames.count == 60
    chains = molecule.simulate(4, chains=5, burn_in=0, stride=1)
    other = fokker.compare(chains, atoms)
    assert other.frames.count == 20
    assert fokker.compare(chains.to_mdtraj(), atoms, molecule).corrected == other.corrected
    with pytest.raises(ValueError, match="which beads are these"):
        fokker.compare(samples, atoms)
    with pytest.raises(MoleculeError, match=r"has no atom ALA2-CB of GA"):
        fokker.compare(chains, mdtraj.Trajectory(made_up("GG")[1], made_up("GG")[0]))
    with pytest.raises(MoleculeError, match=r"shape \(60, 8, 3\) are not of the 9 beads of GA"):
        fokker.compare(chains, samples[:, :8])
