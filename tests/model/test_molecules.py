"""Molecules: padding, the centre of mass and rotations, alone and in the loss."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fokker.model.config import (
    UNKNOWN,
    ExpertConfig,
    GraphTransformerConfig,
    ObjectiveConfig,
    SampleConfig,
    Solver,
)
from fokker.model.diffusion.samplers import sample
from fokker.model.experts import Expert
from fokker.model.losses.objective import Noise, draw, loss
from fokker.model.losses.residual import FokkerPlanck
from fokker.model.molecules import Molecule, centre, hide_residues, random_rotations
from fokker.model.trained import Trained, energy, forces

SMALLEST = ExpertConfig(interval=(0, 0.1), hidden=(16, 16), epochs=1, midpoint=0.03, consistency_weight=0.1)
NETWORK = GraphTransformerConfig(precondition=True, heads=2, head_width=8)
BEADS = np.asarray([5, 3])


def make_expert(beads: int = 5, network: GraphTransformerConfig = NETWORK, **changes) -> Expert:
    config = ExpertConfig(
        **{"interval": (0, 0.1), "hidden": (16, 16), "epochs": 1, "midpoint": 0.03} | changes
    )
    return Expert(config, network, (beads, 3))


def molecules(beads=BEADS) -> Molecule:
    features = np.random.default_rng(0).integers(0, 3, size=(len(beads), 5, 4)).astype(np.int32)
    return Molecule(jnp.asarray(features), jnp.arange(5) < jnp.asarray(beads)[:, None])


def only(number: int, beads: int | None = None) -> Molecule:
    """One of the molecules, with or without its padding."""
    return jax.tree.map(lambda table: table[number][:beads], molecules())


def perturbed(expert: Expert):
    """Parameters with no zero among them."""
    parameters = expert.init(jax.random.key(0))
    leaves, tree = jax.tree.flatten(parameters)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return tree.unflatten(
        [p + 0.1 * jax.random.normal(k, p.shape) for p, k in zip(leaves, keys, strict=True)]
    )


def close(ours, theirs, tolerance: float):
    scale = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(theirs))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale)


def test_rotations_keep_lengths_and_hands_and_prefer_no_direction():
    rotations = random_rotations(jax.random.key(0), 4000)
    np.testing.assert_allclose(
        rotations @ rotations.swapaxes(1, 2), np.broadcast_to(np.eye(3), (4000, 3, 3)), atol=1e-5
    )
    np.testing.assert_allclose(jnp.linalg.det(rotations), 1, atol=1e-5)
    # Each element has mean 0 and variance 1/3 under the Haar measure; its square variance 4/45.
    assert jnp.abs(rotations.mean(0)).max() < 4 * np.sqrt(1 / 3 / 4000)
    assert jnp.abs((rotations**2).mean(0) - 1 / 3).max() < 4 * np.sqrt(4 / 45 / 4000)


def test_augmentation_turns_each_molecule_of_a_batch_as_a_whole():
    x = jax.random.normal(jax.random.key(0), (3, 5, 3))
    turned = make_expert().space.augment(x, jax.random.key(1))
    np.testing.assert_allclose(turned @ turned.swapaxes(1, 2), x @ x.swapaxes(1, 2), atol=1e-5)
    assert jnp.abs(turned - x).max() > 0.5


def test_coordinates_are_counted_without_padding_and_centre():
    np.testing.assert_array_equal(make_expert().space.dimension(molecules()), 3 * BEADS - 3)
    paper = make_expert(network=GraphTransformerConfig(centred=False))
    np.testing.assert_array_equal(paper.space.dimension(molecules()), 3 * BEADS)


def test_noise_moves_neither_padding_nor_centre():
    drawn = draw(make_expert(), ObjectiveConfig(), (2, 5, 3), molecules(), jax.random.key(0))
    mask = molecules().mask
    assert not drawn.noise[~mask].any()
    assert jnp.abs(drawn.noise.sum(1)).max() < 1e-5
    uncentred = make_expert(network=GraphTransformerConfig(centred=False))
    drawn = draw(uncentred, ObjectiveConfig(), (2, 5, 3), molecules(), jax.random.key(0))
    assert not drawn.noise[~mask].any()
    assert jnp.abs(drawn.noise.sum(1)).min() > 1e-2


@pytest.mark.parametrize("conservative", [True, False])
@pytest.mark.parametrize("precondition", [True, False])
def test_score_sums_to_zero_and_moves_no_padding(conservative: bool, precondition: bool):
    network = GraphTransformerConfig(precondition=precondition, heads=2, head_width=8)
    expert = make_expert(network=network, conservative=conservative)
    molecule = only(1)
    x = jax.random.normal(jax.random.key(2), (5, 3))
    score = jax.jit(expert.score)(perturbed(expert), x, jnp.asarray(0.01), molecule)
    assert jnp.abs(score.sum(0)).max() < 1e-5 * jnp.abs(score).max()
    assert not score[~molecule.mask].any()


@pytest.mark.parametrize("regularised", [False, True])
def test_padded_batch_has_the_loss_and_gradient_of_its_members(regularised: bool):
    config = ObjectiveConfig()
    expert = Expert(SMALLEST, NETWORK, (5, 3))
    parameters = perturbed(expert)
    x0 = jax.vmap(centre)(jax.random.normal(jax.random.key(3), (2, 5, 3)), molecules().mask)
    drawn = draw(expert, config, x0.shape, molecules(), jax.random.key(4))

    @partial(jax.jit, static_argnums=0)
    def both(expert, x0, drawn, molecules):
        return jax.value_and_grad(loss, has_aux=True)(
            parameters, expert, config, x0, drawn, molecules, regularised=regularised
        )

    (_, parts), gradient = both(expert, x0, drawn, molecules())
    each = []
    for row, beads in enumerate(BEADS):
        member = Noise(
            drawn.t[row][None],
            drawn.weight[row][None],
            drawn.noise[row, :beads][None],
            drawn.probes[row][None],
            drawn.partner[row][None],
        )
        alone = Expert(SMALLEST, NETWORK, (int(beads), 3))
        own = jax.tree.map(lambda table: table[None], only(row, int(beads)))
        each.append(both(alone, x0[row, :beads][None], member, own))
    mean = jax.tree.map(lambda *values: sum(values) / len(values), *each)
    close(parts, mean[0][1], 1e-5)
    close(gradient, mean[1], 1e-5)


def gaussian(x, t, schedule, mask, variance=0.3):
    """log p_t of centred beads with independent normal coordinates, in 3N − 3 dimensions."""
    width = schedule.alpha(t) ** 2 * variance + schedule.sigma(t) ** 2
    coordinates = 3 * (jnp.sum(mask) - 1)
    return -0.5 * jnp.sum(centre(x, mask) ** 2) / width - 0.5 * coordinates * jnp.log(width)


@pytest.mark.parametrize("beads", [5, 3])
def test_exact_density_without_a_centre_solves_the_equation_in_3n_minus_3_dimensions(beads: int):
    expert = make_expert()
    mask = jnp.arange(5) < beads
    x, t = jax.random.normal(jax.random.key(0), (5, 3)), jnp.asarray(0.05)
    log_density = partial(gaussian, schedule=expert.schedule, mask=mask)
    equation = FokkerPlanck(log_density, expert.schedule, 3 * beads - 3)
    residual = equation.exact(x, t)
    scale = 0.5 * float(expert.schedule.beta(t)) * 3 * beads
    assert abs(residual.first) < 1e-4 * scale
    # Counting the centre, as the authors do, leaves ½β for each of its coordinates.
    wrong = FokkerPlanck(log_density, expert.schedule, 3 * beads).exact(x, t)
    np.testing.assert_allclose(wrong.first, 1.5 * expert.schedule.beta(t), rtol=1e-3)
    probes = jax.vmap(lambda key: equation.hutchinson(x, t, key).first)(
        jax.random.split(jax.random.key(1), 2000)
    )
    assert abs(probes.mean()) < 4 * probes.std() / np.sqrt(2000)


class Standard(Expert):
    """The score of independent standard normal coordinates."""

    def score(self, parameters, x, t, molecule=None):
        return -x


@pytest.mark.parametrize("solver", ["euler-maruyama", "dpm-solver"])
def test_samples_of_a_molecule_move_neither_padding_nor_centre(solver: Solver):
    """Of three beads, the coordinates less the centre have variance 1 − 1/3."""
    expert = Standard(ExpertConfig((0, 1), (8, 8), epochs=1, midpoint=0.5), NETWORK, (5, 3))
    config = SampleConfig(solver=solver, evaluations=100)
    x = np.asarray(sample([expert], [{}], config, jax.random.key(0), 5000, only(1)))
    assert not x[:, 3:].any()
    assert np.abs(x.sum(axis=1)).max() < 1e-4
    # Four standard errors, of six degrees of freedom each, and the steps.
    assert abs((x[:, :3] ** 2).mean() / (2 / 3) - 1) < 4 * np.sqrt(2 / 6 / 5000) + 2.5 / config.evaluations


def test_padding_changes_no_force():
    expert, x = make_expert(), jax.random.normal(jax.random.key(2), (2, 5, 3))
    model = Trained((perturbed(expert),), (expert.config,), NETWORK, norm=4.0, kT=2.5)
    more, less = only(1), only(1, 3)
    padded, own = forces(model, x, 1e-3, more), forces(model, x[:, :3], 1e-3, less)
    assert not padded[:, 3:].any()
    # At small times the preconditioned energy magnifies float32's rounding by one over the bond width.
    close(padded[:, :3], own, 2e-4)
    close(energy(model, x, 1e-3, more), energy(model, x[:, :3], 1e-3, less), 2e-4)


def test_residues_are_hidden_whole_and_each_for_itself():
    kinds = jnp.asarray([3, 3, 3, 7, 7, 0])
    residue = jnp.asarray([0, 0, 0, 1, 1, 2])
    features = jnp.stack([kinds, jnp.arange(6), jnp.ones(6, int), residue], axis=-1)
    count = 4000
    one = Molecule(jnp.tile(features, (count, 1, 1)), jnp.ones((count, 6), bool))
    found = np.asarray(hide_residues(one, jax.random.key(0), 0.3).features)
    np.testing.assert_array_equal(found[..., 1:], one.features[..., 1:])
    hidden = found[..., 0] > UNKNOWN
    np.testing.assert_array_equal(found[..., 0][hidden] - UNKNOWN - 1, np.tile(kinds, (count, 1))[hidden])
    np.testing.assert_array_equal(found[..., 0][~hidden], np.tile(kinds, (count, 1))[~hidden])
    np.testing.assert_array_equal(hidden[:, :3], hidden[:, :1].repeat(3, 1))
    np.testing.assert_array_equal(hidden[:, 3], hidden[:, 4])
    each = hidden[:, [0, 3, 5]].astype(float)
    np.testing.assert_allclose(each.mean(axis=0), 0.3, atol=5 * np.sqrt(0.21 / count))
    np.testing.assert_allclose(np.corrcoef(each.T), np.eye(3), atol=5 / np.sqrt(count))
