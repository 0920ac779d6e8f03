"""A system sees what mdtraj sees, and knows its own units."""

import mdtraj
import numpy as np
import pytest
from scipy.constants import N_A, k

from fokker.analysis.metrics import MUELLER_BROWN, RAMACHANDRAN
from fokker.analysis.projections import coordinates
from fokker.analysis.systems import Bounds, System
from fokker.data.config import BOLTZMANN, MoleculesConfig, MuellerBrownConfig
from fokker.data.dataset import shards
from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads

FRAMES = np.random.default_rng(0).normal(size=(6, 7, 10, 3)).astype(np.float32)
TOY = System.particle("toy", 23.0, 0.5)


def system(sequence: str = "KF", bead_map: str = "backbone") -> System:
    beads = Beads.from_sequence(sequence, BeadMap.parse(bead_map))
    return System.molecule("KF", beads, np.linspace(0.13, 0.15, len(beads.bonds)).tolist(), 300.0, 10.0)


def test_boltzmann_is_that_of_scipy():
    assert pytest.approx(k * N_A / 1000, rel=1e-12) == BOLTZMANN


def test_points_of_a_dipeptide_are_phi_of_the_second_and_psi_of_the_first_residue():
    molecule = system()
    assert molecule.beads is not None
    flat = mdtraj.Trajectory(FRAMES.reshape(-1, 10, 3), molecule.beads.topology())
    _, phi = mdtraj.compute_phi(flat, periodic=False)
    _, psi = mdtraj.compute_psi(flat, periodic=False)
    points = molecule.shown(FRAMES).reshape(-1, 2)
    np.testing.assert_allclose(np.sin(points - np.concatenate([phi, psi], axis=1)), 0, atol=1e-4)
    np.testing.assert_array_equal(molecule.phi(FRAMES).ravel(), points[:, 0])


def test_what_has_no_torsions_has_no_phi():
    for one, frames in ((TOY, FRAMES[..., 0, :2]), (system(bead_map="calpha"), FRAMES[..., :2, :])):
        assert one.phi(frames).shape == (6, 7)
        assert np.isnan(one.phi(frames)).all()


def test_a_frame_with_a_broken_bond_or_without_a_number_is_not_physical():
    molecule = system()
    assert molecule.beads is not None
    frame = np.zeros((10, 3))
    # A tree: every bond leads from a bead that has its place to one that has not.
    for (first, second), length in zip(molecule.beads.bonds, np.linspace(0.13, 0.15, 9), strict=True):
        direction = np.random.default_rng(second).normal(size=3)
        frame[second] = frame[first] + length * direction / np.linalg.norm(direction)
    frames = np.stack([frame, 1.4 * frame, 1.6 * frame, 0.4 * frame, np.where(np.eye(10, 3), np.nan, frame)])
    assert molecule.physical(frames).tolist() == [True, True, False, False, False]
    assert molecule.finite(frames).tolist() == [True] * 4 + [False]


def test_bounds_are_closed_and_hold_what_is_finite_only():
    bounds = Bounds(coordinates, (-1.0, -2.0), (5.0, 6.0))
    nan, inf = np.nan, np.inf
    batch = np.array(
        [[(-1, -2), (5, 6), (2, 2)], [(5.01, 0), (0, -2.01), (nan, 0)], [(inf, 0), (0, -inf), (0, 0)]]
    )
    expected = [[True, True, True], [False, False, False], [False, False, True]]
    assert bounds(batch.astype(float)).tolist() == expected


def test_centred_frames_have_their_mean_at_zero_and_a_toy_stays_where_it_is():
    np.testing.assert_allclose(system().centred(FRAMES).mean(axis=-2), 0, atol=1e-6)
    np.testing.assert_array_equal(TOY.centred(FRAMES[..., 0, :2]), FRAMES[..., 0, :2])


def test_a_dataset_says_what_its_systems_are(tmp_path):
    beads = Beads.from_sequence("KF", BeadMap.parse("backbone"))
    parts = [{"name": "a", "split": "train", "frames": 5, "spacing": 1.0}]
    parts += [{**parts[0], "split": "test", "frames": 7}, {**parts[0], "frames": 6}]
    description = {"beads": beads.to_json(), "bond_means": [0.14] * len(beads.bonds), "trajectories": parts}
    shards.write_system(tmp_path, "KF", description, {"train": FRAMES[0]})
    dataset = shards.finish(tmp_path, {"name": "x", "norm": 4.0}, ["KF"])
    found = System.of(dataset, "KF", MoleculesConfig(temperature=310.0))
    assert found.kT == pytest.approx(310 * BOLTZMANN)
    assert (found.norm, found.beads, found.shape) == (4.0, beads, (10, 3))
    assert found.masses[:2] == pytest.approx((14.007, 12.011), abs=1e-2)
    assert found.trajectories == (("train", 5), ("test", 7), ("train", 6))
    assert found.shown.grid == RAMACHANDRAN
    toy = System.of(dataset, "KF", MuellerBrownConfig(frames=30, chains=3))
    assert (toy.kT, toy.masses, toy.norm, toy.temperature_unit, toy.shape) == (23.0, (0.5,), 1.0, 1.0, (2,))
    assert (toy.shown.grid, toy.trajectories) == (MUELLER_BROWN, (("train", 10),) * 3)
