"""What a trained model answers in physical units, by the expert of the time; simulations that go on."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fokker.model import trained
from fokker.model.config import DynamicsConfig, ExpertConfig, GraphTransformerConfig, SamplerConfig
from fokker.model.experts import Expert
from fokker.model.molecules import Molecule
from fokker.model.networks.springs import Springs
from fokker.model.trained import Trained

from .conftest import (
    INTERVALS,
    PLAIN,
    PRECONDITIONED,
    MixtureExpert,
    deviation,
    expert_config,
    make_expert,
    mixture,
    precisions,
    random_parameters,
)

TRANSFORMER = GraphTransformerConfig(heads=2, head_width=4, precondition=True, embedding="one-hot")
SPRING = 2.5 / 0.09
FIELDS = ("experts", "network", "norm", "kT", "shape")


def of(expert: Expert, parameters: Any = None, norm: float = 4.0, kT: float = 2.5) -> Trained:
    """The model of one expert."""
    own = random_parameters(expert) if parameters is None else parameters
    return Trained((own,), (expert.config,), expert.network, norm, kT, expert.shape)


@partial(jax.tree_util.register_dataclass, data_fields=("parameters",), meta_fields=FIELDS)
@dataclass(frozen=True)
class Mixture(Trained):
    """The exact density of a Gaussian mixture in place of a network."""

    def of(self, molecule: Molecule | None) -> tuple[Expert, ...]:
        assert self.shape is not None
        return tuple(MixtureExpert(expert, self.network, self.shape) for expert in self.experts)


@partial(jax.tree_util.register_dataclass, data_fields=("parameters",), meta_fields=FIELDS)
@dataclass(frozen=True)
class Linear(Trained):
    """A score that is linear in x."""

    def of(self, molecule: Molecule | None) -> tuple[Expert, ...]:
        class LinearExpert(Expert):
            def score(self, parameters, x, t, molecule=None):
                return (parameters["matrix"] @ x.reshape(-1)).reshape(x.shape)

        assert self.shape is not None
        return tuple(LinearExpert(expert, self.network, self.shape) for expert in self.experts)


def gaussian(norm: float = 4.0) -> Mixture:
    """Spread by 0.3 nm about 0.5 nm at 2.5 kJ/mol: a spring of 2.5/0.09 kJ/mol/nm², as t tends to 0."""
    parameters = mixture(3, 1) | {
        "mean": np.full((1, 3), norm * 0.5),
        "variance": np.full((1, 3), (norm * 0.3) ** 2),
    }
    return Mixture((parameters,), (expert_config(),), PLAIN, norm, 2.5, (1, 3))


@pytest.mark.usefixtures("float64")
def test_the_force_is_minus_the_gradient_of_the_energy():
    model = of(make_expert(2, 3, network=PRECONDITIONED))
    h, x = 1e-5, jnp.asarray(np.random.default_rng(0).normal(size=(2, 3)) / 4)
    steps = h * jnp.eye(6).reshape(6, 2, 3)
    ahead, behind = (trained.energy(model, x + sign * steps, 1e-3) for sign in (1, -1))
    expected = -((ahead - behind) / (2 * h)).reshape(2, 3)
    np.testing.assert_allclose(trained.forces(model, x, 1e-3), expected, rtol=1e-7, atol=1e-7)


@pytest.mark.usefixtures("float64")
def test_energy_and_force_of_a_gaussian_have_the_units_of_its_spring():
    model, x = gaussian(), jnp.array([[[0.5, 0.5, 0.5]], [[0.7, 0.4, 0.5]]])
    energy = trained.energy(model, x, 1e-12)
    np.testing.assert_allclose(energy[1] - energy[0], 0.5 * SPRING * (0.2**2 + 0.1**2), rtol=1e-9)
    force = trained.forces(model, x, 1e-12)
    np.testing.assert_allclose(force, -SPRING * (x - 0.5), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(2.5 * trained.score(model, x, 1e-12), force, rtol=1e-12)
    np.testing.assert_allclose(-2.5 * trained.log_density(model, x, 1e-12), energy, rtol=1e-12)
    for found, alone in zip(trained.energy_and_forces(model, x, 1e-12), (energy, force), strict=True):
        np.testing.assert_allclose(found, alone, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("float64")
def test_frequencies_are_those_of_springs_and_masses_and_negative_where_the_energy_curves_down():
    """√(k/m) of each coordinate of a Gaussian; k = kT (1/s² − d²/s⁴) between two of them, on their line."""
    widths = np.array([0.3, 0.2, 0.1])
    one = mixture(3, 1) | {"mean": np.zeros((1, 3)), "axes": np.eye(3)[None], "variance": widths[None] ** 2}
    x, mass = jnp.array([[[0.1, -0.2, 0.3]], [[0.0, 0.0, 0.0]]]), np.array([[12.0]])
    model = Mixture((one,), (expert_config(),), PLAIN, 1.0, 2.5, (1, 3))
    found = trained.frequencies(model, x, 1e-12, mass)
    np.testing.assert_allclose(found, np.tile(np.sqrt(2.5 / 12) / widths, (2, 1)), rtol=1e-9)
    two = {
        "log_weight": np.log([0.5, 0.5]),
        "mean": np.array([[0.4, 0, 0], [-0.4, 0, 0]]),
        "axes": np.stack([np.eye(3)] * 2),
        "variance": np.full((2, 3), 0.04),
    }
    found = trained.frequencies(replace(model, parameters=(two,)), x[1:], 1e-12, mass)
    down = 2.5 / 12 * (1 / 0.04 - 0.4**2 / 0.04**2)
    wide = np.sqrt(2.5 / 12 / 0.04)
    np.testing.assert_allclose(found[0], [-np.sqrt(-down), wide, wide], rtol=1e-9)


@pytest.mark.usefixtures("float64")
def test_frequencies_weigh_every_bead_by_its_mass_and_of_a_score_take_the_symmetric_part():
    random = np.random.default_rng(3)
    matrix = random.normal(size=(6, 6)) - 4 * np.eye(6)
    mass = np.array([[12.0], [1.0]])
    own = {"matrix": jnp.asarray(matrix)}
    model = Linear((own,), (expert_config(conservative=False),), PLAIN, 4.0, 2.5, (2, 3))
    found = trained.frequencies(model, jnp.asarray(random.normal(size=(1, 2, 3))), 1e-5, mass)
    root = np.sqrt(np.repeat(mass, 3))
    squares = np.linalg.eigvalsh(-2.5 * 16 * 0.5 * (matrix + matrix.T) / np.outer(root, root))
    np.testing.assert_allclose(found[0], np.sign(squares) * np.sqrt(abs(squares)), rtol=1e-9)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("network", [PLAIN, PRECONDITIONED, TRANSFORMER])
@pytest.mark.parametrize("conservative", [True, False])
def test_energies_and_forces_have_the_type_of_the_positions(network, conservative: bool):
    """Parameters are float32 as trained ones are; constants come as NumPy's float64."""
    expert = Expert(expert_config(hidden=(8,), conservative=conservative), network, (5, 3))
    parameters = jax.jit(expert.init)(jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(parameters)} == {jnp.dtype("float32")}
    molecule = None
    if network is TRANSFORMER:
        molecule = Molecule(jnp.zeros((5, 4), jnp.int32), jnp.arange(5) < 4)
    model = of(expert, parameters, np.float64(4.0), np.float64(2.5))
    x = 0.2 * np.random.default_rng(0).normal(size=(2, 5, 3))
    both = [jnp.asarray(x, kind) for kind in ("f4", "f8")]
    forces = [trained.forces(model, part, 1e-3, molecule) for part in both]
    assert [force.dtype for force in forces] == ["float32", "float64"]
    np.testing.assert_allclose(*forces, rtol=1e-3, atol=1e-3)
    if conservative:
        energies = [trained.energy(model, part, 1e-3, molecule) for part in both]
        assert [energy.dtype for energy in energies] == ["float32", "float64"]


def test_products_of_a_force_are_taken_at_the_highest_precision():
    ask = partial(trained.forces, of(make_expert(2, 3)), t=1e-5)
    assert set(precisions(ask, jnp.ones((4, 2, 3)))) == {"highest"}


def three(*conservative: bool) -> Trained:
    """Three experts on the usual intervals, some of them energies."""
    experts = [
        make_expert(2, 3, interval=interval, conservative=energy)
        for interval, energy in zip(INTERVALS, conservative, strict=True)
    ]
    parameters = tuple(random_parameters(expert, seed) for seed, expert in enumerate(experts))
    return Trained(parameters, tuple(expert.config for expert in experts), PLAIN, 0.5, 2.0, (2, 3))


X = jnp.asarray(np.random.default_rng(5).normal(size=(4, 2, 3)), jnp.float32)


@pytest.mark.parametrize(
    ("time", "answers"), [(1e-5, 0), (0.0999, 0), (0.1, 1), (0.5, 1), (0.6, 2), (0.99, 2)]
)
def test_the_expert_of_the_time_answers_also_where_only_the_program_knows_the_time(time: float, answers: int):
    model = three(True, True, True)
    expert = make_expert(2, 3, interval=INTERVALS[answers])
    own = partial(expert.score, model.parameters[answers])
    wanted = 2.0 * 0.5 * jax.vmap(own, in_axes=(0, None))(0.5 * X, jnp.asarray(time))
    np.testing.assert_allclose(trained.forces(model, X, time), wanted, rtol=1e-4, atol=1e-5)
    traced = jax.jit(lambda t: trained.forces(model, X, t))(time)
    np.testing.assert_allclose(traced, wanted, rtol=1e-4, atol=1e-5)


def test_a_time_without_a_density_is_refused_and_gives_forces():
    model = three(True, False, False)
    for ask in (trained.energy, trained.log_density, trained.energy_and_forces):
        message = (
            r"^time 0\.5: the expert of \[0\.1, 0\.6\) is a score, .*: ask for a time in \[0, 0\.1\), or for"
        )
        with pytest.raises(ValueError, match=message):
            ask(model, X, 0.5)
        with pytest.raises(ValueError, match=r"^a traced time: the expert of \[0\.1, 0\.6\) is a score"):
            jax.jit(partial(ask, model, X))(0.05)
    assert np.isfinite(trained.energy(model, X, 0.05)).all()
    assert trained.forces(model, X, 0.5).shape == X.shape
    with pytest.raises(ValueError, match=r"ask for forces$"):
        trained.energy(three(False, False, False), X, 0.05)


@pytest.mark.parametrize("time", [0, 1, -0.1, 1.5, float("nan"), float("inf")])
def test_a_time_outside_the_diffusion_is_refused(time: float):
    for ask in (trained.energy, trained.score, trained.forces):
        with pytest.raises(ValueError, match="a diffusion time has to lie between 0 and 1"):
            ask(three(True, True, True), X, time)


def test_axes_before_a_configurations_own_are_kept():
    model = three(True, True, True)
    x = X.reshape(2, 2, 2, 3)
    for ask, shape in ((trained.energy, (2, 2)), (trained.forces, x.shape)):
        found = ask(model, x, 0.05)
        assert found.shape == shape
        np.testing.assert_allclose(found.reshape(4, *shape[2:]), ask(model, X, 0.05), rtol=1e-5)
    assert trained.energy(model, X[0], 0.05).shape == ()


def test_models_and_functions_are_transformed_as_any_other():
    model = three(True, True, True)
    gradient = jax.grad(lambda x: trained.energy(model, x, 0.05))(X[0])
    np.testing.assert_allclose(-gradient, trained.forces(model, X[0], 0.05), rtol=1e-4, atol=1e-5)
    mapped = jax.jit(jax.vmap(lambda model, x: trained.energy(model, x, 0.05), in_axes=(None, 0)))(model, X)
    np.testing.assert_allclose(mapped, trained.energy(model, X, 0.05), rtol=1e-5)


def test_another_time_of_an_expert_and_another_molecule_of_a_size_compile_nothing():
    expert = Expert(
        expert_config(interval=(0, 0.1), hidden=(8,)), replace(TRANSFORMER, embedding="features"), (5, 3)
    )
    model = replace(of(expert, jax.jit(expert.init)(jax.random.key(0))), shape=None)
    beads = [Molecule(jnp.full((5, 4), kind, jnp.int32), jnp.arange(5) < 5 - kind) for kind in (0, 1)]
    x = jnp.ones((2, 5, 3))
    counted: Any = trained._evaluate
    trained.forces(model, x, 0.05, beads[0])
    before = counted._cache_size()
    for time, molecule in ((0.05, beads[1]), (1e-5, beads[0]), (0.0999, beads[1])):
        trained.forces(model, x, time, molecule)
    assert counted._cache_size() == before


MOVES = DynamicsConfig(timestep=0.01, stride=3, force_time=1e-3)


def keys_of(chains: int) -> jax.Array:
    return jax.vmap(lambda chain: jax.random.fold_in(jax.random.key(7), chain))(jnp.arange(chains))


@pytest.mark.parametrize("integrator", ["baoab", "langevin"])
def test_a_simulation_that_goes_on_is_the_longer_one_bit_by_bit(integrator):
    model, mass = three(True, False, False), jnp.array([[1.0], [2.0]])
    settings = replace(MOVES, integrator=integrator)
    keys = keys_of(len(X))
    begun = trained.begin(model, settings, X, mass, keys)
    state = trained.advance(model, settings, begun, mass, keys, 5)
    whole_end, whole = trained.simulate(model, settings, state, mass, keys, 10)
    middle, first = trained.simulate(model, settings, state, mass, keys, 4)
    # As from a file, which holds no forces.
    middle = trained.resume(model, settings, middle.position, middle.velocity, middle.steps)
    end, second = trained.simulate(model, settings, middle, mass, keys, 6)
    assert whole.velocity is None
    for parts in zip(*((each.position, *each[2:]) for each in (whole, first, second)), strict=True):
        np.testing.assert_array_equal(parts[0], np.concatenate(parts[1:]))
    for found, wanted in zip(end, whole_end, strict=True):
        np.testing.assert_array_equal(found, wanted)


SPRINGS = GraphTransformerConfig(heads=2, head_width=4, precondition=True, springs=True)
DIMER = Molecule(
    jnp.zeros((3, 4), jnp.int32),
    jnp.array([True, True, False]),
    Springs(
        jnp.array([[0, 1], [0, 0]]),
        jnp.array([0.8, 0.0]),
        jnp.array([0.0025, jnp.inf]),
        jnp.zeros((1, 3), jnp.int32),
        *(jnp.array([part]) for part in (0.0, jnp.inf, 0.0)),
    ),
)
"""Two beads on a spring, and padding."""
MASSES = jnp.array([[12.0], [6.0], [jnp.inf]])


def dimer(conservative: bool = True, scale: float = 1.0) -> Trained:
    """One expert, whose parameters are so many times random ones."""
    expert = Expert(expert_config(hidden=(8,), conservative=conservative), SPRINGS, (3, 3))
    return of(expert, jax.tree.map(lambda part: scale * part, random_parameters(expert)), norm=5.0)


@pytest.mark.parametrize("conservative", [True, False])
def test_known_and_learned_forces_are_the_forces(conservative: bool):
    model = dimer(conservative)
    settings = DynamicsConfig(inner_steps=3, force_time=1e-3)
    x = 0.2 * jax.random.normal(jax.random.key(0), (4, 3, 3)) * DIMER.mask[:, None]
    state = trained.begin(model, settings, x, MASSES, keys_of(4), DIMER)
    plain = trained.begin(model, replace(settings, inner_steps=1), x, MASSES, keys_of(4), DIMER)
    known, learned = state.force
    np.testing.assert_allclose(known + learned, plain.force, rtol=1e-4, atol=1e-3)
    assert np.abs(learned[:, :2]).min() > 0
    nothing, _ = trained.begin(dimer(conservative, 0.0), settings, x, MASSES, keys_of(4), DIMER).force
    np.testing.assert_array_equal(known, nothing)


@pytest.mark.parametrize("inner_steps", [1, 4])
def test_springs_alone_have_the_lengths_of_their_density(inner_steps: int):
    """p(r) ∝ r² exp(−(r − 0.8)²/(2 · 0.05²) − r²/4) of two beads about their centre; ω dt is 0.6, or 2.2."""
    model = dimer(scale=0.0)
    frequency = 5.0 / 0.05 * np.sqrt(2.5 * (1 / 12 + 1 / 6))
    whole = 0.6 if inner_steps == 1 else 2.2
    settings = DynamicsConfig(timestep=whole / frequency, friction=5.0, stride=20, inner_steps=inner_steps)
    chains = 1000
    start = jnp.zeros((chains, 3, 3)).at[:, 1, 0].set(0.8 / 5.0)
    keys = keys_of(chains)
    state = trained.begin(model, settings, start, MASSES, keys, DIMER)
    state = trained.advance(model, settings, state, MASSES, keys, 200, None, DIMER)
    _, found = trained.simulate(model, settings, state, MASSES, keys, 40, None, DIMER)
    bond = np.asarray(found.position[:, :, 1] - found.position[:, :, 0], np.float64)
    length = 5.0 * np.linalg.norm(bond, axis=-1)
    r = np.linspace(0.4, 1.2, 4001)
    weight = r**2 * np.exp(-((r - 0.8) ** 2) / (2 * 0.05**2) - r**2 / 4)
    mean = np.average(r, weights=weight)
    assert deviation(length.mean(axis=0), mean) < 4
    assert deviation(((length - mean) ** 2).mean(axis=0), np.average((r - mean) ** 2, weights=weight)) < 4
    assert deviation(found.kinetic_temperature.mean(axis=0), 2.5) < 4


def test_a_simulation_of_inner_steps_goes_on_bit_by_bit():
    """Also from a file, which holds no forces; and `step` is what `advance` does."""
    model, keys = dimer(), keys_of(4)
    settings = DynamicsConfig(timestep=5e-4, inner_steps=3, stride=3)
    start = jnp.zeros((4, 3, 3)).at[:, 1, 0].set(0.8 / 5.0)
    begun = trained.begin(model, settings, start, MASSES, keys, DIMER)
    _, whole = trained.simulate(model, settings, begun, MASSES, keys, 6, None, DIMER)
    middle, first = trained.simulate(model, settings, begun, MASSES, keys, 2, None, DIMER)
    middle = trained.resume(model, settings, middle.position, middle.velocity, middle.steps, DIMER)
    _, second = trained.simulate(model, settings, middle, MASSES, keys, 4, None, DIMER)
    for parts in zip(*((each.position, *each[2:]) for each in (whole, first, second)), strict=True):
        np.testing.assert_array_equal(parts[0], np.concatenate(parts[1:]))
    after = trained.step(model, settings, begun, MASSES, keys, DIMER)
    moved = trained.advance(model, settings, begun, MASSES, keys, 1, None, DIMER)
    np.testing.assert_allclose(after.position, moved.position, rtol=1e-5, atol=1e-6)


def test_inner_steps_of_a_model_without_springs_are_refused():
    settings = replace(MOVES, inner_steps=2)
    with pytest.raises(ValueError, match=r"^inner_steps 2 needs network\.springs=true"):
        trained.begin(three(True, True, True), settings, X, jnp.ones((2, 1)), keys_of(len(X)))


def test_dynamics_sample_the_gaussian_whose_forces_they_feel():
    """⟨(x − 0.5)²⟩ = 0.09 nm² in every direction, ⟨m v²⟩ = kT; 16 independent frames of 500 chains."""
    model, mass = gaussian(), jnp.array([[12.0]])
    settings = DynamicsConfig(timestep=0.2, friction=1.0, stride=100, force_time=1e-6)
    start = jnp.full((500, 1, 3), 0.5, jnp.float32)
    keys = keys_of(len(start))
    state = trained.begin(model, settings, start, mass, keys)
    state = trained.advance(model, settings, state, mass, keys, 300)
    _, found = trained.simulate(model, settings, state, mass, keys, 16)
    squares = (np.asarray(found.position) - 0.5) ** 2
    assert squares.mean() == pytest.approx(0.09, rel=4 * np.sqrt(2 / squares.size))
    assert found.kinetic_temperature.mean() == pytest.approx(2.5, rel=4 * np.sqrt(2 / squares.size))


def test_what_has_an_infinite_mass_stays_and_has_no_temperature():
    expert = Expert(expert_config(hidden=(8,)), replace(TRANSFORMER, embedding="features"), (5, 3))
    model = replace(of(expert, jax.jit(expert.init)(jax.random.key(0))), shape=None)
    molecule = Molecule(jnp.zeros((5, 4), jnp.int32), jnp.arange(5) < 3)
    start = jnp.zeros((6, 5, 3)).at[:, :3].set(0.2 * jax.random.normal(jax.random.key(1), (6, 3, 3)))
    masses = jnp.array([12.0, 14.0, 16.0, jnp.inf, jnp.inf])[:, None]
    settings = replace(MOVES, timestep=1e-3, stride=20)
    keys = keys_of(len(start))
    state = trained.begin(model, settings, start, masses, keys, molecule)
    end, found = trained.simulate(model, settings, state, masses, keys, 5, None, molecule, velocities=True)
    assert not end.position[:, 3:].any()
    assert not end.velocity[:, 3:].any()
    assert found.velocity is not None
    kinetic = np.asarray(masses[:3] * found.velocity[:, :, :3] ** 2).mean(axis=(2, 3))
    np.testing.assert_allclose(found.step_temperature, kinetic, rtol=1e-4)


def test_samples_are_in_physical_units_and_of_the_shape_of_the_system():
    """A standard normal density in normalised units has the spread 1/norm."""
    expert = make_expert(3, network=PRECONDITIONED)
    zero = jax.tree.map(jnp.zeros_like, random_parameters(expert))
    model = replace(of(expert, zero), norm=4.0)
    settings = SamplerConfig(evaluations=30, final_time=1e-4)
    samples = np.asarray(trained.sample(model, settings, jax.random.key(3), 4000))
    assert samples.shape == (4000, 3)
    assert samples.std() == pytest.approx(0.25, rel=4 / np.sqrt(2 * samples.size) + 0.01)


def test_a_model_of_molecules_asks_for_one():
    config = ExpertConfig(interval=(0, 1), hidden=(8,), epochs=1, midpoint=0.5)
    model = Trained(({},), (config,), TRANSFORMER, 1.0, 1.0)
    with pytest.raises(ValueError, match="this model is of molecules, and none is given"):
        model.of(None)
