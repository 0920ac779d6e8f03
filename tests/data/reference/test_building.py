"""Structures have every atom, L-amino acids and possible bonds; their systems the right forces."""

import importlib.util

import numpy as np
import openmm
import pytest
from openmm import app, unit

from fokker.data.molecules.residues import CODES, MoleculeError
from fokker.data.reference.building import (
    FORCE_FIELDS,
    build,
    heavy_atoms,
    make_system,
    require_openmm,
)

EVERY = "".join(CODES)


def test_every_amino_acid_is_built_as_its_left_handed_form():
    topology, positions = heavy_atoms(EVERY)
    handed = 0
    for residue in topology.residues:
        at = {atom.name: positions[atom.index] for atom in residue.atoms}
        if "CB" in at:
            n, c, cb = (at[name] - at["CA"] for name in ("N", "C", "CB"))
            assert np.dot(np.cross(n, c), cb) > 0, residue
            handed += 1
    assert handed == 19, "all but glycine"


@pytest.mark.parametrize("sequence", [EVERY, "ACE-ALA-NME", "ACE-GLY-PRO-NH2", "W"])
def test_bonds_have_possible_lengths(sequence: str):
    topology, positions = heavy_atoms(sequence)
    lengths = [np.linalg.norm(positions[a.index] - positions[b.index]) for a, b in topology.bonds]
    assert len(lengths) >= topology.n_atoms - 1
    assert min(lengths) > 0.115
    assert max(lengths) < 0.19


@pytest.mark.parametrize(("sequence", "atoms"), [("ACE-ALA-NME", 22), ("AC", 24), ("ACE-ALA-NH2", 19)])
def test_hydrogens_are_those_of_the_force_field_at_ph_7(sequence: str, atoms: int):
    topology, positions = build(sequence, app.ForceField("amber14/protein.ff14SB.xml"))
    assert topology.getNumAtoms() == len(positions) == atoms


def test_several_chains_are_refused():
    with pytest.raises(MoleculeError, match="sequence 'AC:AC' has 2 chains: build one at a time"):
        heavy_atoms("AC:AC")


def test_a_missing_package_is_named_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    require_openmm()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MoleculeError, match=r"openmm is missing: .* pip install 'fokker\[openmm\]'"):
        require_openmm()


@pytest.mark.parametrize(("sequence", "name"), [("ACE-ALA-NME", "amber99sb-ildn"), ("HW", "amber14")])
def test_the_fast_solvent_has_the_energies_and_forces_of_openmms_own(sequence: str, name: str):
    force_field = app.ForceField(FORCE_FIELDS[name])
    topology, positions = build(sequence, force_field)
    theirs = app.ForceField(FORCE_FIELDS[name], "implicit/obc2.xml").createSystem(
        topology, constraints=app.HBonds, hydrogenMass=unit.Quantity(3.0, unit.amu)
    )
    energies, forces = [], []
    for system in (make_system(topology, force_field), theirs):
        platform = openmm.Platform.getPlatformByName("Reference")
        context = openmm.Context(system, openmm.VerletIntegrator(1e-3), platform)
        context.setPositions(positions)
        state = context.getState(getEnergy=True, getForces=True)
        energies.append(state.getPotentialEnergy()._value)
        forces.append(np.asarray(state.getForces(asNumpy=True)._value))
    assert energies[0] == pytest.approx(energies[1], rel=1e-4)
    np.testing.assert_allclose(*forces, atol=1e-4 * np.abs(forces[1]).max())
