"""Which configurations a simulation may reach, of arrays whose limits are known."""

import jax.numpy as jnp
import numpy as np
import pytest

from fokker.analysis.systems import FARTHEST, System
from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads
from fokker.model.dynamics.guard import Guard

PARTICLE = System.particle("mueller-brown", 23.0, 0.5)
PEPTIDE = System.molecule(
    "ala", Beads.from_sequence("ACE-ALA-NME", BeadMap.parse("alanine-dipeptide")), (1.0,) * 4, 300.0
)
CHAIN = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1], [2, 1, 1]], float)


def test_a_particle_stays_within_its_range():
    x = jnp.array([[0.0, 0.0], [-3.9, 3.9], [2.1, 0.0], [0.0, -2.1], [np.nan, 0.0], [0.0, np.inf]])
    np.testing.assert_array_equal(PARTICLE.guard(1)(x), [True, True, False, False, False, False])


@pytest.mark.parametrize("padding", [0, 3])
def test_a_molecule_keeps_its_bonds_and_those_that_guard_it_share_a_shape(padding: int):
    frames = np.stack([CHAIN, 0.51 * CHAIN, 1.49 * CHAIN, 0.49 * CHAIN, 1.51 * CHAIN, np.nan * CHAIN])
    x = jnp.asarray(np.pad(frames, [(0, 0), (0, padding), (0, 0)]), jnp.float32)
    guard = PEPTIDE.guard(5 + padding)
    expected = [True, True, True, False, False, False]
    np.testing.assert_array_equal(guard(x), expected)
    np.testing.assert_array_equal(PEPTIDE.physical(frames), expected)
    other = System.molecule("A", Beads.from_sequence("AA", BeadMap.parse("calpha")), [0.38], 300.0)
    assert [np.shape(part) for part in other.guard(5 + padding)] == [np.shape(part) for part in guard]


def test_what_drifts_away_is_lost():
    far = jnp.asarray(np.stack([CHAIN, CHAIN + 2 * FARTHEST]), jnp.float32)
    np.testing.assert_array_equal(PEPTIDE.guard(5)(far), [True, False])


def test_distances_are_those_of_the_given_pairs():
    guard = Guard(np.float32(-9), np.float32(9), np.array([[0, 1]]), np.array([1.0]), np.array([2.0]))
    x = jnp.array([[[0.0, 0, 0], [1.5, 0, 0]], [[0, 0, 0], [0, 0.9, 0]], [[0, 0, 0], [0, 0, 2.1]]])
    np.testing.assert_array_equal(guard(x), [True, False, False])
