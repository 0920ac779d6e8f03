"""The torsion of a chain is mdtraj's, and a bias pulls it towards the chain's own centre."""

from math import pi

import jax
import jax.numpy as jnp
import mdtraj
import numpy as np
import pytest

from fokker.analysis.observables import dihedrals
from fokker.model.dynamics.umbrella import Ladder, Umbrella
from fokker.model.molecules import torsion

BEADS = jnp.array([3, 0, 4, 1])


def somewhere(count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, 5, 3)).astype(np.float32)


def test_a_torsion_is_that_of_mdtraj():
    frames, topology = somewhere(200), mdtraj.Topology()
    residue = topology.add_residue("ALA", topology.add_chain())
    for _ in range(5):
        topology.add_atom("C", mdtraj.element.carbon, residue)
    expected = mdtraj.compute_dihedrals(mdtraj.Trajectory(frames, topology), [BEADS.tolist()])[:, 0]
    found = torsion(jnp.asarray(frames), BEADS)
    np.testing.assert_allclose(np.exp(1j * np.asarray(found)), np.exp(1j * expected), atol=1e-5)
    ours = dihedrals(frames, [BEADS.tolist()])[:, 0]
    np.testing.assert_allclose(np.exp(1j * np.asarray(found)), np.exp(1j * ours), atol=1e-5)


@pytest.mark.usefixtures("float64")
def test_the_force_of_a_bias_is_minus_its_gradient_and_turns_towards_the_centre_of_each_chain():
    x, centre = jnp.asarray(somewhere(8), float), jnp.linspace(-pi, pi, 9)[:-1]
    umbrella, h = Umbrella(BEADS, centre, jnp.asarray(7.0)), 1e-6
    force = umbrella.force(x)
    np.testing.assert_allclose(
        umbrella.energy(x), 7 * (1 - np.cos(np.asarray(torsion(x, BEADS) - centre))), rtol=1e-12
    )
    direction = jax.random.normal(jax.random.key(0), x.shape, x.dtype)
    slope = (umbrella.energy(x + h * direction) - umbrella.energy(x - h * direction)) / (2 * h)
    np.testing.assert_allclose(slope, -jnp.sum(force * direction, axis=(1, 2)), rtol=1e-6, atol=1e-8)
    before, after = (
        np.abs(np.angle(np.exp(1j * np.asarray(torsion(y, BEADS) - centre)))) for y in (x, x + 1e-5 * force)
    )
    assert (after < before).all()
    np.testing.assert_allclose(force.sum(axis=1), 0, atol=1e-12)
    np.testing.assert_array_equal(force[:, 2], 0)


KT, STRENGTH = 2.5, 50.0
CENTRES = jnp.linspace(-pi, pi, 5)[:-1] + pi / 4
LADDER = Ladder(BEADS, CENTRES, jnp.asarray(STRENGTH))


def test_every_window_has_one_chain_of_its_ladder_after_any_exchange():
    places = jnp.arange(12).reshape(3, 4)
    angles, seen = jnp.broadcast_to(CENTRES[::-1], (3, 4)), set()
    for number in range(8):
        places = LADDER.exchange(places, angles, 1e3 * STRENGTH, jax.random.key(number), jnp.asarray(number))
        np.testing.assert_array_equal(jnp.sort(places, axis=1), np.arange(12).reshape(3, 4))
        seen.add(int(places[0, 0]))
        umbrella = LADDER.at(places)
        np.testing.assert_array_equal(umbrella.centre[places], jnp.broadcast_to(CENTRES, (3, 4)))
    assert len(seen) > 2, "chains wander around the circle"


@pytest.mark.parametrize("number", [0, 1])
def test_neighbours_change_places_as_often_as_their_biases_allow(number: int):
    """Metropolis, over both sides by turns: the last window is a neighbour of the first."""
    count = 20_000
    angles = CENTRES + jnp.array([0.2, -0.3, 0.5, -0.6])
    places = jnp.arange(4 * count).reshape(count, 4)
    found = LADDER.exchange(
        places, jnp.broadcast_to(angles, places.shape), KT * 10, jax.random.key(1), jnp.asarray(number)
    )
    went = np.asarray(found != places).mean(axis=0)

    def bias(chain: int, window: int) -> float:
        return STRENGTH * (1 - np.cos(float(angles[chain] - CENTRES[window])))

    for first in (number, number + 2):
        second = (first + 1) % 4
        change = bias(first, second) + bias(second, first) - bias(first, first) - bias(second, second)
        chance = min(1.0, np.exp(-change / (10 * KT)))
        assert went[first] == went[second]
        assert went[first] == pytest.approx(chance, abs=4 * np.sqrt(chance / count) + 1e-9)


def test_chains_that_would_both_come_nearer_always_change_places():
    angles = CENTRES[jnp.array([1, 0, 3, 2])][None]
    found = LADDER.exchange(jnp.arange(4)[None], angles, KT, jax.random.key(0), jnp.asarray(0))
    assert found.tolist() == [[1, 0, 3, 2]]
