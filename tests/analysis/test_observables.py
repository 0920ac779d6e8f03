"""Observables are those of mdtraj and scipy, or worked out by hand."""

from math import pi

import mdtraj
import numpy as np

from fokker.analysis.observables import dihedrals, distances, sign_changes

FRAMES = np.random.default_rng(0).normal(size=(50, 6, 3)).astype(np.float32)
QUADRUPLES = [(0, 1, 2, 3), (5, 2, 4, 1), (3, 2, 1, 0)]


def trajectory() -> mdtraj.Trajectory:
    topology = mdtraj.Topology()
    residue = topology.add_residue("X", topology.add_chain())
    for _ in range(FRAMES.shape[1]):
        topology.add_atom("C", mdtraj.element.carbon, residue)
    return mdtraj.Trajectory(FRAMES, topology)


def test_dihedrals_are_those_of_mdtraj():
    expected = mdtraj.compute_dihedrals(trajectory(), QUADRUPLES, periodic=False)
    difference = dihedrals(FRAMES, QUADRUPLES) - expected
    np.testing.assert_allclose(np.sin(difference / 2), 0, atol=1e-4)


def test_dihedral_has_iupac_sign():
    # Looking along the middle bond, the far bond is turned clockwise by a right angle: +90°.
    frame = np.asarray([[[1, 0, 0], [0, 0, 0], [0, 0, 1], [0, 1, 1]]], float)
    np.testing.assert_allclose(dihedrals(frame, [(0, 1, 2, 3)]), [[pi / 2]])


def test_distances_are_those_of_mdtraj():
    pairs = [(0, 1), (2, 5)]
    expected = mdtraj.compute_distances(trajectory(), pairs, periodic=False)
    np.testing.assert_allclose(distances(FRAMES, pairs), expected, rtol=1e-5)


def test_crossings_of_zero_are_counted_and_those_of_the_seam_are_not():
    angles = np.asarray([[-1.0, 1.0, 3.0, -3.0, -1.0], [0.5, 0.6, 0.7, 0.8, 0.9]])
    assert sign_changes(angles) == 1
