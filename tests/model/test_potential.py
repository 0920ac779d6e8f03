import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fokker.model.config import GraphTransformerConfig
from fokker.model.experts import Expert
from fokker.model.molecules import Molecule
from fokker.model.potential import Potential

from .conftest import (
    PLAIN,
    PRECONDITIONED,
    MixtureExpert,
    expert_config,
    make_expert,
    mixture,
    precisions,
    random_parameters,
)

TRANSFORMER = GraphTransformerConfig(heads=2, head_width=4, precondition=True, embedding="one-hot")


@pytest.mark.usefixtures("float64")
def test_the_force_is_minus_the_gradient_of_the_energy():
    expert = make_expert(2, 3, network=PRECONDITIONED)
    potential, parameters = Potential(expert, kT=2.5, time=1e-3, norm=4.0), random_parameters(expert)
    h, x = 1e-5, jnp.asarray(np.random.default_rng(0).normal(size=(2, 3)) / 4)
    steps = h * jnp.eye(6).reshape(6, 2, 3)
    energy, force = jax.jit(potential.energy), jax.jit(potential.force)
    ahead, behind = (energy(parameters, x + sign * steps) for sign in (1, -1))
    expected = -((ahead - behind) / (2 * h)).reshape(1, 2, 3)
    np.testing.assert_allclose(force(parameters, x[None]), expected, rtol=1e-7, atol=1e-7)


@pytest.mark.usefixtures("float64")
def test_energy_and_force_of_a_gaussian_have_the_units_of_its_spring():
    """Spread by 0.3 nm about 0.5 nm at 2.5 kJ/mol: a spring of 2.5/0.09 kJ/mol/nm², as t tends to 0."""
    norm, spring = 4.0, 2.5 / 0.09
    parameters = mixture(3, 1) | {
        "mean": np.full((1, 3), norm * 0.5),
        "variance": np.full((1, 3), (norm * 0.3) ** 2),
    }
    potential = Potential(MixtureExpert(expert_config(), PLAIN, (1, 3)), kT=2.5, time=1e-12, norm=norm)
    x = jnp.array([[[0.5, 0.5, 0.5]], [[0.7, 0.4, 0.5]]])
    energy = jax.jit(potential.energy)(parameters, x)
    np.testing.assert_allclose(energy[1] - energy[0], 0.5 * spring * (0.2**2 + 0.1**2), rtol=1e-9)
    force = jax.jit(potential.force)(parameters, x)
    np.testing.assert_allclose(force, -spring * (x - 0.5), rtol=1e-9, atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_frequencies_are_those_of_springs_and_masses_and_negative_where_the_energy_curves_down():
    """√(k/m) of each coordinate of a Gaussian; k = kT (1/s² − d²/s⁴) between two of them, on their line."""
    widths = np.array([0.3, 0.2, 0.1])
    one = mixture(3, 1) | {"mean": np.zeros((1, 3)), "axes": np.eye(3)[None], "variance": widths[None] ** 2}
    potential = Potential(MixtureExpert(expert_config(), PLAIN, (1, 3)), kT=2.5, time=1e-12)
    x, mass = jnp.array([[[0.1, -0.2, 0.3]], [[0.0, 0.0, 0.0]]]), np.array([[12.0]])
    found = jax.jit(potential.frequencies)(one, x, mass)
    np.testing.assert_allclose(found, np.tile(np.sqrt(2.5 / 12) / widths, (2, 1)), rtol=1e-9)
    two = {
        "log_weight": np.log([0.5, 0.5]),
        "mean": np.array([[0.4, 0, 0], [-0.4, 0, 0]]),
        "axes": np.stack([np.eye(3)] * 2),
        "variance": np.full((2, 3), 0.04),
    }
    found = jax.jit(potential.frequencies)(two, x[1:], mass)
    down = 2.5 / 12 * (1 / 0.04 - 0.4**2 / 0.04**2)
    wide = np.sqrt(2.5 / 12 / 0.04)
    np.testing.assert_allclose(found[0], [-np.sqrt(-down), wide, wide], rtol=1e-9)


@pytest.mark.usefixtures("float64")
def test_frequencies_weigh_every_bead_by_its_mass_and_of_a_score_take_the_symmetric_part():
    random = np.random.default_rng(3)
    matrix = random.normal(size=(6, 6)) - 4 * np.eye(6)

    class Linear(Expert):
        def score(self, parameters, x, t, molecule=None):
            return (parameters["matrix"] @ x.reshape(-1)).reshape(x.shape)

    expert = Linear(expert_config(conservative=False), PLAIN, (2, 3))
    mass = np.array([[12.0], [1.0]])
    found = Potential(expert, kT=2.5, time=1e-5, norm=4.0).frequencies(
        {"matrix": jnp.asarray(matrix)}, jnp.asarray(random.normal(size=(1, 2, 3))), mass
    )
    root = np.sqrt(np.repeat(mass, 3))
    squares = np.linalg.eigvalsh(-2.5 * 16 * 0.5 * (matrix + matrix.T) / np.outer(root, root))
    np.testing.assert_allclose(found[0], np.sign(squares) * np.sqrt(abs(squares)), rtol=1e-9)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("network", [PLAIN, PRECONDITIONED, TRANSFORMER])
@pytest.mark.parametrize("conservative", [True, False])
def test_energies_and_forces_have_the_type_of_the_positions(network, conservative: bool):
    """Parameters are float32 as trained ones are; constants come as NumPy's float64."""
    expert = Expert(expert_config(hidden=(8,), conservative=conservative), network, (5, 3))
    parameters = expert.init(jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(parameters)} == {jnp.dtype("float32")}
    molecule = None
    if network is TRANSFORMER:
        molecule = Molecule(jnp.zeros((5, 4), jnp.int32), jnp.arange(5) < 4)
    potential = Potential(expert, np.float64(2.5), 1e-3, np.float64(4.0), molecule)
    x = 0.2 * np.random.default_rng(0).normal(size=(2, 5, 3))
    forces = [jax.jit(potential.force)(parameters, x.astype(kind)) for kind in ("f4", "f8")]
    assert [force.dtype for force in forces] == ["float32", "float64"]
    np.testing.assert_allclose(*forces, rtol=1e-3, atol=1e-3)
    if conservative:
        energies = [jax.jit(potential.energy)(parameters, x.astype(kind)) for kind in ("f4", "f8")]
        assert [energy.dtype for energy in energies] == ["float32", "float64"]


def test_forces_are_read_at_the_time_of_the_potential():
    expert = make_expert(2, 3)
    parameters = random_parameters(expert)
    x = jnp.ones((1, 2, 3))
    found = jax.jit(Potential(expert, kT=2.0, time=0.02, norm=0.5).force)(parameters, x)
    expected = jax.jit(expert.score)(parameters, 0.5 * x[0], jnp.asarray(0.02))
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)


def test_a_free_score_gives_forces_and_no_energy():
    expert = make_expert(2, 3, conservative=False)
    potential, parameters = Potential(expert, kT=2.5, time=1e-5), random_parameters(expert)
    force = jax.jit(potential.force)(parameters, jnp.ones((4, 2, 3)))
    assert force.shape == (4, 2, 3)
    assert np.abs(force).min() > 0
    with pytest.raises(ValueError, match="it has no log-density"):
        potential.energy(parameters, jnp.ones((4, 2, 3)))


def test_products_of_a_force_are_taken_at_the_highest_precision():
    expert = make_expert(2, 3)
    potential = Potential(expert, kT=2.5, time=1e-5)
    assert set(precisions(potential.force, random_parameters(expert), jnp.ones((4, 2, 3)))) == {"highest"}
