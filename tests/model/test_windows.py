"""Umbrella windows on an energy whose free energy along the torsion is known give just that."""

from dataclasses import dataclass
from functools import partial
from math import pi

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fokker.analysis.profiles import BINS, FINE, Profile
from fokker.model import trained
from fokker.model.config import DynamicsConfig, GraphTransformerConfig
from fokker.model.dynamics.umbrella import Ladder
from fokker.model.experts import Expert
from fokker.model.molecules import torsion
from fokker.model.trained import Trained

from .conftest import expert_config

KT, BEADS = 2.5, jnp.arange(4)
NEAR = ((0, 1, 0.15), (1, 2, 0.15), (2, 3, 0.15), (0, 2, 0.25), (1, 3, 0.25))
"""Pairs, and their distances (nm)."""
FIELDS = ("experts", "network", "norm", "kT", "shape")


def along(phi: jax.Array) -> jax.Array:
    """In kT. Bonds and angles are the same at every φ, so this is the free energy."""
    return 4 * jnp.cos(2 * phi) - 2 * jnp.cos(phi) + jnp.sin(phi)


class Chain(Expert):
    """Four beads: stiff bonds and angles, which are known, and a torsion."""

    def known(self, x: jax.Array) -> jax.Array:
        lengths = [(jnp.linalg.norm(x[a] - x[b]), length) for a, b, length in NEAR]
        return -0.5 * 2e4 * jnp.sum(jnp.array([(found - length) ** 2 for found, length in lengths]))

    def score(self, parameters, x, t, molecule=None):
        return self.known_score(x, t) + self.learned_score(parameters, x, t)

    def known_score(self, x, t, molecule=None):
        return jax.grad(self.known)(x)

    def learned_score(self, parameters, x, t, molecule=None):
        return -jax.grad(lambda y: along(torsion(y, BEADS)))(x)


@partial(jax.tree_util.register_dataclass, data_fields=("parameters",), meta_fields=FIELDS)
@dataclass(frozen=True)
class Torsional(Trained):
    def of(self, molecule):
        return tuple(Chain(expert, self.network, (4, 3)) for expert in self.experts)


def turned(phi: np.ndarray) -> np.ndarray:
    """Four beads of these torsions."""
    angle = np.arccos(1 - 0.25**2 / (2 * 0.15**2))
    first = 0.15 * np.array([np.cos(angle), np.sin(angle), 0])
    last = np.stack(
        [np.full_like(phi, -np.cos(angle)), np.sin(angle) * np.cos(phi), np.sin(angle) * np.sin(phi)], axis=-1
    )
    fixed = np.broadcast_to(np.stack([first, np.zeros(3), [0.15, 0, 0]]), (len(phi), 3, 3))
    return np.concatenate([fixed, (fixed[:, 2] + 0.15 * last)[:, None]], axis=1).astype(np.float32)


@pytest.mark.parametrize("inner_steps", [1, 3])
def test_windows_give_the_free_energy_of_a_torsion_within_their_errors(inner_steps: int):
    network = GraphTransformerConfig(springs=True)
    model = Torsional(({},), (expert_config(),), network, 1.0, KT, (4, 3))
    centres, replicas, strength = np.linspace(-pi, pi, 25)[:-1], 6, 30.0
    settings = DynamicsConfig(timestep=4e-3 * inner_steps, inner_steps=inner_steps, stride=10, friction=5.0)
    start = turned(np.tile(centres, replicas))
    np.testing.assert_allclose(torsion(jnp.asarray(start[1:24]), BEADS), centres[1:], atol=1e-5)
    ladder = Ladder(BEADS, jnp.asarray(centres, jnp.float32), jnp.float32(strength * KT))
    angles = trained.windows(
        model, settings, jnp.asarray(start), jnp.float32(12.0), jax.random.key(0), 250, ladder
    )
    assert angles.shape == (250, replicas, 24)
    profile = Profile.of_windows(np.asarray(angles)[25:], centres, strength)
    grid = -pi + 2 * pi * (np.arange(FINE * BINS) + 0.5) / (FINE * BINS)
    share = np.exp(-np.asarray(along(jnp.asarray(grid)))).reshape(BINS, FINE).sum(axis=1)
    expected, found = np.log(share[: BINS // 2].max() / share), profile.free_energy()
    errors = np.maximum(found.errors, 0.03)
    assert np.ptp(expected) > 10
    assert np.max(errors) < 0.5
    assert np.std((np.array(found.values) - expected) / errors) < 2
    sides = np.log(share[: BINS // 2].sum() / share[BINS // 2 :].sum())
    assert found.difference.value == pytest.approx(sides, abs=4 * found.difference.error)
