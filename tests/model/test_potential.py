import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
