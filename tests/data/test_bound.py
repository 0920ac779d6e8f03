"""A model bound to a molecule answers in nm, ps and kJ/mol, for jit, grad and vmap as for people.

One small model serves every question that can be put to it, hence the length.
"""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import mdtraj
import numpy as np
import pytest

import fokker
from fokker.data import archive
from fokker.data.archive import Archive, ArchiveError, Description
from fokker.data.bound import BoundMolecule, Model
from fokker.data.config import BOLTZMANN
from fokker.data.molecules.residues import MoleculeError
from fokker.model import trained
from fokker.model.config import ArchitectureConfig, DynamicsConfig, GraphTransformerConfig, SamplerConfig
from fokker.model.experts import Expert

NORM, TEMPERATURE = 5.0, 310.0
NETWORK = GraphTransformerConfig(precondition=True, bond_width=0.1, heads=2, head_width=4)
EXPERTS = tuple(
    ArchitectureConfig(interval=interval, hidden=(8,), conservative=interval[0] == 0)
    for interval in ((0, 0.1), (0.1, 0.6), (0.6, 1))
)
ABOUT = Description(
    experts=EXPERTS,
    network=NETWORK,
    sample=SamplerConfig(chunk=1000, evaluations=8),
    simulate=DynamicsConfig(chunk=50, stride=10, burn_in=50, timestep=1e-3),
    temperature=TEMPERATURE,
    kT=BOLTZMANN * TEMPERATURE,
    norm=NORM,
    beads="backbone",
)


def parameters(network: GraphTransformerConfig = NETWORK, beads: int = 10) -> tuple:
    """Random ones of the size that trained ones have."""
    random, found = np.random.default_rng(0), []
    for expert in EXPERTS:
        shapes = jax.eval_shape(Expert(expert, network, (beads, 3)).init, jax.random.key(0))
        found.append(jax.tree.map(lambda p: 0.3 * random.normal(size=p.shape).astype("f4"), shapes))
    return tuple(found)


@pytest.fixture(scope="module")
def model() -> Model:
    return Model(Archive(ABOUT, parameters()))


@pytest.fixture(scope="module")
def av(model: Model) -> BoundMolecule:
    return model.molecule("AV")


def changed(model: Model, **changes: Any) -> Model:
    """With other settings."""
    return Model(Archive(replace(model.description, **changes), model.archive.parameters))


def positions(beads: int, frames: int = 3) -> np.ndarray:
    return 0.2 * np.random.default_rng(1).normal(size=(frames, beads, 3))


def test_forces_are_the_gradient_of_the_energy_and_that_is_kt_times_the_log_density(av: BoundMolecule):
    x, step = positions(10, 1), 1e-3
    forces = np.asarray(av.forces(x))
    direction = np.random.default_rng(2).normal(size=x.shape)
    ahead, behind = (av.energy(x + sign * step * direction) for sign in (1, -1))
    np.testing.assert_allclose(-(ahead - behind) / (2 * step), (forces * direction).sum(), rtol=2e-2)
    np.testing.assert_allclose(av.energy(x), -BOLTZMANN * 310 * av.log_density(x), rtol=1e-6)
    np.testing.assert_allclose(forces, BOLTZMANN * 310 * av.score(x), rtol=1e-5)
    assert np.abs(forces.sum(axis=1)).max() < 1e-4 * np.abs(forces).max()
    for found, alone in zip(av.energy_and_forces(x), (av.energy(x), forces), strict=True):
        np.testing.assert_allclose(found, alone, rtol=1e-4, atol=1e-4 * np.abs(alone).max())


def test_without_a_network_the_energy_is_that_of_a_normal_distribution(model: Model):
    """log p = −½ ‖norm x‖² about the centre."""
    zero = jax.tree.map(lambda p: 0 * p, model.archive.parameters)
    x = positions(10)
    centred = x - x.mean(axis=1, keepdims=True)
    found = Model(Archive(ABOUT, zero)).molecule("AV")
    kT = BOLTZMANN * 310
    np.testing.assert_allclose(found.energy(x), 0.5 * kT * NORM**2 * (centred**2).sum((1, 2)), rtol=1e-5)
    np.testing.assert_allclose(found.forces(x), -kT * NORM**2 * centred, rtol=1e-4, atol=1e-4)


def test_positions_are_transformed_as_any_array(av: BoundMolecule):
    x = jnp.asarray(positions(10), jnp.float32)
    forces = av.forces(x)
    assert av.energy(x[0]).shape == ()
    assert av.forces(x[None]).shape == (1, 3, 10, 3)
    np.testing.assert_allclose(-jax.grad(av.energy)(x[0]), forces[0], rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(jax.vmap(av.forces)(x), forces, rtol=1e-4, atol=1e-2)
    as_argument = jax.jit(lambda molecule, x: molecule.forces(x))
    np.testing.assert_allclose(as_argument(av, x), forces, rtol=1e-4, atol=1e-2)
    traced = jax.jit(lambda x, t: av.score(x, t))(x, 0.3)
    np.testing.assert_allclose(traced, av.score(x, 0.3), rtol=1e-4, atol=1e-4)


def test_a_molecule_is_named_by_its_sequence_its_topology_or_a_file(model: Model, tmp_path: Path):
    by_sequence = model.molecule("AV")
    topology = by_sequence.topology
    frame = mdtraj.Trajectory(positions(10, 1), topology)
    frame.save_pdb(tmp_path / "av.pdb")
    for what in (topology, tmp_path / "av.pdb", str(tmp_path / "av.pdb")):
        assert model.molecule(what).beads.atoms == by_sequence.beads.atoms
    assert [atom.name for atom in topology.atoms] == list(by_sequence.beads.atoms)
    np.testing.assert_allclose(by_sequence.masses[:2], [14.007, 12.011], atol=1e-3)
    with pytest.raises(MoleculeError):
        model.molecule("XX")


def test_peptides_of_one_padded_size_share_every_program_and_padding_changes_nothing(model: Model):
    """AV has 10 beads, GA 9, which are padded to 10; alone it is the same to rounding."""
    counted: list[Any] = [trained._evaluate, trained.sample, trained.begin, trained.simulate]

    def ask(sequence: str) -> tuple:
        molecule = model.molecule(sequence)
        x = positions(len(molecule.beads))
        chains = molecule.simulate(2, start=x, burn_in=3, stride=2)
        assert molecule.sample(3).shape == chains.positions[:, 0].shape == x.shape
        return x, np.asarray(molecule.forces(x)), np.asarray(molecule.energy(x, 0.05))

    ask("AV")
    before = [function._cache_size() for function in counted]
    x, forces, energies = ask("GA")
    assert [function._cache_size() for function in counted] == before
    ga = model.molecule("GA")
    alone = ga.bound._replace(
        molecule=jax.tree.map(lambda part: part[:9], ga.bound.molecule), mass=ga.bound.mass[:9]
    )
    unpadded = replace(ga, bound=alone)
    np.testing.assert_allclose(unpadded.forces(x), forces, rtol=1e-3, atol=1e-4 * np.abs(forces).max())
    np.testing.assert_allclose(unpadded.energy(x, 0.05), energies, rtol=1e-4)


def test_any_sequence_is_sampled_and_simulated(model: Model):
    samples = model.molecule("GA").sample(5)
    assert samples.shape == (5, 9, 3)
    np.testing.assert_allclose(samples.mean(axis=1), 0, atol=1e-5)
    x = positions(9, 4)
    slow = replace(model.description.simulate, timestep=1e-6, friction=1e-3)
    chains = changed(model, simulate=slow).molecule("GA").simulate(3, stride=1, burn_in=0, start=x)
    assert chains.positions.shape == chains.velocities.shape == (4, 3, 9, 3)
    assert chains.temperature.shape == (4, 3)
    np.testing.assert_allclose(chains.positions[:, 0], x - x.mean(axis=1, keepdims=True), atol=1e-4)
    both = model.molecules(["AV", "GA"])
    assert {name: part.shape for name, part in both.sample(2).items()} == {"AV": (2, 10, 3), "GA": (2, 9, 3)}
    assert both.simulate(2, chains=3, burn_in=0)["GA"].positions.shape == (3, 2, 9, 3)


def test_chains_go_on_exactly_from_their_state(av: BoundMolecule):
    """Seven chains in batches of three."""
    x = positions(10, 7)
    options: dict = {"start": x, "burn_in": 4, "stride": 2, "batch": 3, "key": 5}
    whole, first = av.simulate(9, **options), av.simulate(4, **options)
    more = av.simulate(5, start=first.state)
    for name in ("positions", "velocities", "temperature"):
        joined = np.concatenate([getattr(first, name), getattr(more, name)], axis=1)
        np.testing.assert_array_equal(joined, getattr(whole, name))
    np.testing.assert_array_equal(more.state.chains.position, whole.state.chains.position)
    with pytest.raises(ValueError, match=r"^stride: chains that go on do so as they began: leave it out$"):
        av.simulate(1, start=first.state, stride=3)


def test_chains_are_files_that_other_programs_open(av: BoundMolecule, tmp_path: Path):
    chains = av.simulate(3, start=positions(10, 2), burn_in=4, stride=2, timestep=1e-3)
    trajectory: Any = chains.to_mdtraj()
    np.testing.assert_allclose(trajectory.time, 2 * [0.006, 0.008, 0.010], rtol=1e-6)
    np.testing.assert_allclose(trajectory.xyz, chains.positions.reshape(6, 10, 3))
    _, phi = mdtraj.compute_phi(trajectory)
    assert np.isfinite(phi).all()
    assert phi.shape == (6, 1)
    more: Any = av.simulate(1, start=chains.state).to_mdtraj()
    np.testing.assert_allclose(more.time, 2 * [0.012], rtol=1e-6)
    chains.save(tmp_path / "av.xtc")
    found: Any = mdtraj.load(tmp_path / "av.xtc", top=tmp_path / "av.pdb")
    np.testing.assert_allclose(found.xyz, trajectory.xyz, atol=1e-3)


def lost(model: Model, *experts: int) -> BoundMolecule:
    """AV by the model without a number of these experts."""
    left = [
        jax.tree.map(lambda part: np.nan * part, own) if index in experts else own
        for index, own in enumerate(model.archive.parameters)
    ]
    return Model(Archive(model.description, tuple(left))).molecule("AV")


@pytest.mark.parametrize(("time", "answers"), [(None, 0), (0.05, 0), (0.1, 1), (0.5, 1), (0.6, 2), (0.99, 2)])
def test_the_expert_of_the_time_answers(model: Model, av: BoundMolecule, time: float | None, answers: int):
    x = positions(10)
    others = [index for index in range(3) if index != answers]
    np.testing.assert_array_equal(lost(model, *others).forces(x, time), av.forces(x, time))
    assert not np.isfinite(lost(model, answers).forces(x, time)).any()


def test_a_simulation_is_run_by_the_expert_of_the_force_time(model: Model):
    middle = changed(model, simulate=replace(ABOUT.simulate, force_time=0.5))
    options: dict = {"stride": 1, "burn_in": 0, "start": positions(10, 2)}
    assert np.isfinite(lost(middle, 0, 2).simulate(2, **options).positions).all()
    assert not np.isfinite(lost(middle, 1).simulate(2, **options).positions).any()
    assert np.isfinite(lost(model, 1, 2).simulate(2, **options).positions).all()


def test_where_an_expert_has_no_density_the_error_says_so(av: BoundMolecule):
    interval = r"the expert of \[0\.1, 0\.6\) is a score, which has no energy and no log-density"
    for function in (av.energy, av.log_density, av.energy_and_forces):
        with pytest.raises(
            ValueError, match=rf"^time 0\.5: {interval}: ask for a time in \[0, 0\.1\), or for"
        ):
            function(positions(10), 0.5)


@pytest.mark.parametrize("time", [0, 1, -0.1, 1.5, float("nan"), float("inf")])
def test_a_time_outside_the_diffusion_is_refused(av: BoundMolecule, time: float):
    for function in (av.energy, av.log_density, av.forces, av.score):
        with pytest.raises(ValueError, match="a diffusion time has to lie between 0 and 1"):
            function(positions(10), time)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (positions(9), r"shape \(3, 9, 3\) are not those of AV: it has 10 beads, .* \(…, 10, 3\)$"),
        (positions(10).reshape(3, 30), r"shape \(3, 30\) "),
        (positions(10)[..., :2], r"shape \(3, 10, 2\) "),
        (np.zeros((2, 10, 3), bool), "are of bool: give numbers, in nm"),
        ("AV", "are of <U2: give numbers, in nm"),
        ([[1.0], [1.0, 2.0]], "are no array: "),
    ],
)
def test_positions_of_another_shape_are_an_error_in_words(av: BoundMolecule, given, message: str):
    for function in (av.energy, av.log_density, av.forces):
        with pytest.raises(MoleculeError, match=message):
            function(given)
    with pytest.raises(MoleculeError, match=message):
        av.simulate(1, start=given)


def test_one_frame_is_no_start_of_chains(av: BoundMolecule):
    with pytest.raises(MoleculeError, match=r"is not \(chains, 10, 3\); one frame is start\[None\]$"):
        av.simulate(1, start=positions(10)[0])


def test_positions_may_be_lists_whole_numbers_and_of_no_frame(av: BoundMolecule):
    x = positions(10).round(1)
    for given in (x.tolist(), jnp.asarray(x)):
        np.testing.assert_allclose(av.energy(given), av.energy(x), rtol=1e-5)
    assert av.energy(np.ones((2, 10, 3), int)).shape == (2,)
    assert av.forces(x[:0]).shape == (0, 10, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 0}, "frames: must be a whole number, at least 1, not 0"),
        ({"stride": 0}, "stride"),
        ({"burn_in": -1}, "burn_in"),
        ({"timestep": 0.0}, "timestep"),
        ({"inner_steps": 0}, "inner_steps"),
        ({"inner_steps": 2}, "inner_steps 2 needs network.springs=true"),
        ({"chains": 0}, "count: must be a whole number, at least 1, not 0"),
        ({"start": np.zeros((0, 10, 3))}, "chains: must be a whole number, at least 1, not 0"),
        ({"start": positions(10), "chains": 4}, "chains: 4 are asked for, and start has positions of 3"),
    ],
)
def test_numbers_that_cannot_be_are_refused(av: BoundMolecule, options: dict, message: str):
    given: dict[str, Any] = {"frames": 1} | options
    with pytest.raises(ValueError, match=message):
        av.simulate(**given)


@pytest.fixture(scope="module")
def chunked(model: Model) -> Model:
    """With chunks of four."""
    simulate = replace(ABOUT.simulate, chunk=4, burn_in=4, stride=2)
    return changed(model, sample=replace(ABOUT.sample, chunk=4), simulate=simulate)


def test_counts_that_are_no_multiple_of_a_chunk_work_and_compile_one_program(chunked: Model):
    av, seen = chunked.molecule("AV"), []
    sample: Any = trained.sample
    simulate: Any = trained.simulate
    before = sample._cache_size()
    samples = av.sample(10, watch=seen.append)
    assert samples.shape == (10, 10, 3)
    assert seen == [4, 8, 10]
    assert sample._cache_size() == before + 1
    np.testing.assert_array_equal(av.sample(7), samples[:7])
    before = simulate._cache_size()
    chains = av.simulate(3, start=samples[:6]).positions
    assert chains.shape == (6, 3, 10, 3)
    assert simulate._cache_size() == before + 1
    np.testing.assert_array_equal(av.simulate(3, start=samples).positions[:6], chains)


def test_seeds_peptides_and_chunks_share_no_sample_and_no_chain(chunked: Model):
    """`--seed 0` and `--seed 1` shared all chunks but one; AV and LA have as many beads."""
    made = [chunked.molecule(name).sample(12, seed) for name in ("AV", "LA") for seed in (0, 1)]
    made += [chunked.molecule("AV").simulate(1, chains=12, key=seed).positions[:, 0] for seed in (0, 1)]
    rounded = {np.asarray(frame).round(4).tobytes() for part in made for frame in part}
    assert len(rounded) == 6 * 12
    np.testing.assert_array_equal(chunked.molecule("AV").sample(12, 1), made[1])
    np.testing.assert_array_equal(chunked.molecule("AV").sample(12, jax.random.key(1)), made[1])


def test_a_longer_simulation_begins_with_the_shorter_one_bit_by_bit(chunked: Model):
    av = chunked.molecule("AV")
    shorter, longer = (av.simulate(frames, chains=5, key=2).positions for frames in (5, 10))
    np.testing.assert_array_equal(shorter, longer[:, :5])


def test_results_have_the_type_of_the_positions(chunked: Model):
    x, av = positions(10).astype(np.float32), chunked.molecule("AV")
    plain = [av.forces(x), av.energy(x), av.simulate(2, start=x).positions]
    assert {part.dtype for part in plain} == {np.dtype(np.float32)}
    with jax.enable_x64(True):
        for given in (x, x.astype(np.float64)):
            found = [av.forces(given), av.energy(given), av.simulate(2, start=given).positions]
            assert {part.dtype for part in found} == {given.dtype}
            for one, other in zip(plain[:2], found[:2], strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3 * np.abs(one).max())
        assert av.log_density(x).dtype == np.float32
        samples = av.sample(4)
        assert samples.dtype == av.simulate(1, chains=2).positions.dtype == np.float32
    np.testing.assert_allclose(samples, av.sample(4), atol=1e-4)


def test_inner_steps_are_taken_and_go_on_from_a_state():
    av = fokker.load(GOLDEN / "format-1.safetensors").molecule("AV")
    start = av.sample(4)
    whole = av.simulate(4, start=start, stride=3, timestep=2e-4, inner_steps=4)
    assert whole.state.settings.inner_steps == 4
    first = av.simulate(2, start=start, stride=3, timestep=2e-4, inner_steps=4)
    second = av.simulate(2, start=first.state)
    for name in ("positions", "velocities"):
        parts = [getattr(part, name) for part in (first, second)]
        np.testing.assert_array_equal(getattr(whole, name), np.concatenate(parts, axis=1))
    plain = av.simulate(4, start=start, stride=3, timestep=2e-4).positions
    assert not np.array_equal(whole.positions, plain)


def test_a_model_that_tells_beads_apart_by_their_number_is_of_that_many(tmp_path: Path):
    network = replace(NETWORK, embedding="one-hot")
    Model(Archive(replace(ABOUT, network=network), parameters(network))).save(tmp_path / "numbered")
    found = fokker.load(tmp_path / "numbered")
    assert found.molecule("AV").forces(positions(10)).shape == (3, 10, 3)
    message = "GAG has 13 beads, and this model tells beads apart by their number, of which it knows 10"
    with pytest.raises(MoleculeError, match=message):
        found.molecule("GAG")


def test_more_residues_than_a_model_has_places_for_are_refused(model: Model):
    assert np.isfinite(model.molecule("A" * 64).energy(positions(320, 1))).all()
    with pytest.raises(MoleculeError, match=r"65 residues, and a network .* has places for 64"):
        model.molecule("A" * 65)


def test_a_run_without_a_model_is_one_line(tmp_path: Path):
    with pytest.raises(
        ArchiveError, match=r"model\.safetensors is not there: a run has it when it is trained"
    ):
        fokker.load(tmp_path)


def test_importing_and_loading_takes_none_of_what_trains(model: Model, tmp_path: Path):
    """A second and a half of CPU on a machine that is not busy; here only what takes that long is shown."""
    model.save(tmp_path / archive.FILE)
    program = (
        "import sys, fokker; fokker.load(sys.argv[1]).molecule('AV');"
        "print(*{'ray', 'grain', 'orbax', 'optax', 'matplotlib', 'pandas'} & {*sys.modules})"
    )
    command = [sys.executable, "-c", program, tmp_path]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


@pytest.mark.parametrize("page", ["README.md", "docs/api.md"])
def test_what_is_shown_in_python_runs(
    page: str, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    snippet = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)[0]
    (tmp_path / "runs/dipeptides-small").mkdir(parents=True)
    model.save(tmp_path / "runs/dipeptides-small" / archive.FILE)
    monkeypatch.chdir(tmp_path)
    found: dict = {}
    exec(snippet, found)
    assert found["samples"].shape == found["forces"].shape == (20, 10, 3)
    assert found["chains"].positions.shape == (20, 5, 10, 3)
    if page == "docs/api.md":
        assert found["more"].positions.shape == (20, 5, 10, 3)
        assert mdtraj.load("AC.xtc", top="AC.pdb").n_frames == 100
        assert found["result"].frames.count == 20


ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).with_name("golden")


def test_a_golden_model_is_read_and_answers_as_it_did():
    """Of the first format: energies and forces to 1e-4 of the largest, samples to 1e-3 nm.

    Its three experts have random parameters, and springs of a made-up AV. It is never written again: a later
    format is one more file.
    """
    path = GOLDEN / "format-1.safetensors"
    assert path.stat().st_size < 150_000
    av = fokker.load(path).molecule("AV")
    with np.load(GOLDEN / "format-1.npz") as file:
        x, energy, forces, score, samples = (
            file[name] for name in ("x", "energy", "forces", "score", "samples")
        )
    asked = (av.energy(x), energy), (av.forces(x), forces), (av.score(x, 0.3), score)
    for found, wanted in asked:
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
    np.testing.assert_allclose(av.sample(3, key=0), samples, atol=1e-3)
