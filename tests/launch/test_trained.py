"""A model taken away answers as the run does, in nm, ps and kJ/mol."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save as safetensors_bytes

import fokker
from fokker.analysis.systems import BOLTZMANN
from fokker.data import shards
from fokker.data.residues import MoleculeError
from fokker.distributed import parameters
from fokker.launch import cli, trained
from fokker.launch.config import ConfigError, to_dict
from fokker.launch.presets import PRESETS
from fokker.launch.run import Run, write_json
from fokker.launch.trained import Model
from fokker.model.config import GraphTransformerConfig
from fokker.model.experts import Expert

NORM = 5.0
SMALL = PRESETS["dipeptides-small"]("both", "fokker")
SMALL = replace(
    SMALL,
    network=GraphTransformerConfig(precondition=True, bond_width=0.1, heads=2, head_width=4),
    experts=tuple(replace(expert, hidden=(8,)) for expert in SMALL.experts),
    sample=replace(SMALL.sample, evaluations=8),
    train=replace(SMALL.train, batch_size=2),
    simulate=replace(SMALL.simulate, burn_in=50, stride=10),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that ended, of random parameters."""
    directory = tmp_path_factory.mktemp("run")
    frames = np.zeros((2, 10, 3), np.float32)
    shards.write_system(directory / "data", "AV", {}, {"train": frames})
    shards.finish(directory / "data", {"name": "x", "norm": NORM}, ["AV"])
    write_json(directory / "config.json", to_dict(SMALL))
    for job in Run(SMALL, directory).jobs:
        job.directory.mkdir(parents=True)
        shapes = job.load()[1].init(jax.random.key(0))
        random = np.random.default_rng(job.index)
        parameters.save(
            job.directory, jax.tree.map(lambda p, r=random: 0.3 * r.normal(size=p.shape).astype("f4"), shapes)
        )
    return directory


@pytest.fixture(scope="module")
def model(run: Path) -> Model:
    return fokker.load(str(run))


def positions(beads: int, frames: int = 3) -> np.ndarray:
    return 0.2 * np.random.default_rng(1).normal(size=(frames, beads, 3))


def test_an_exported_file_is_the_run(run: Path, model: Model, tmp_path: Path):
    path = tmp_path / "model.safetensors"
    assert cli.main(["model", "export", str(run), str(path)]) == 0
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    found = fokker.load(str(path))
    assert found.config == model.config
    for sequence, beads in (("AV", 10), ("GAG", 13)):
        x = positions(beads)
        np.testing.assert_array_equal(found.forces(sequence, x), model.forces(sequence, x))
        np.testing.assert_array_equal(found.energy(sequence, x), model.energy(sequence, x))
    np.testing.assert_array_equal(found.sample("AV", 4, seed=1), model.sample("AV", 4, seed=1))


def test_forces_are_the_gradient_of_the_energy_and_that_is_kt_times_the_log_density(model: Model):
    x, step = positions(10, 1), 1e-3
    forces = model.forces("AV", x)
    direction = np.random.default_rng(2).normal(size=x.shape)
    ahead, behind = (model.energy("AV", x + sign * step * direction) for sign in (1, -1))
    np.testing.assert_allclose(-(ahead - behind) / (2 * step), (forces * direction).sum(), rtol=2e-2)
    kT = BOLTZMANN * 310
    np.testing.assert_allclose(model.energy("AV", x), -kT * model.log_density("AV", x), rtol=1e-6)
    assert np.abs(forces.sum(axis=1)).max() < 1e-4 * np.abs(forces).max()


def test_without_a_network_the_energy_is_that_of_a_normal_distribution(model: Model):
    """log p = −½ ‖norm x‖² about the centre."""
    zero = jax.tree.map(lambda p: 0 * p, model.parameters)
    x = positions(10)
    centred = x - x.mean(axis=1, keepdims=True)
    found = replace(model, parameters=zero)
    kT = BOLTZMANN * 310
    np.testing.assert_allclose(
        found.energy("AV", x), 0.5 * kT * NORM**2 * (centred**2).sum((1, 2)), rtol=1e-5
    )
    np.testing.assert_allclose(found.forces("AV", x), -kT * NORM**2 * centred, rtol=1e-4, atol=1e-4)


def test_any_sequence_is_sampled_and_simulated(model: Model):
    samples = model.sample("GA", 5)
    assert samples.shape == (5, 9, 3)
    np.testing.assert_allclose(samples.mean(axis=1), 0, atol=1e-5)
    x = positions(9, 4)
    settings = replace(model.config.simulate, timestep=1e-6, friction=1e-3)
    slow = replace(model, config=replace(model.config, simulate=settings))
    chains = slow.simulate("GA", 3, stride=1, burn_in=0, start=x)
    assert chains.shape == (4, 3, 9, 3)
    np.testing.assert_allclose(chains[:, 0], x - x.mean(axis=1, keepdims=True), atol=1e-4)
    with pytest.raises(MoleculeError):
        model.sample("XX", 1)


def lost(model: Model, *experts: int) -> Model:
    """The model without a number of these experts."""
    parameters = [
        jax.tree.map(lambda part: np.nan * part, own) if index in experts else own
        for index, own in enumerate(model.parameters)
    ]
    return replace(model, parameters=tuple(parameters))


@pytest.mark.parametrize(("time", "answers"), [(None, 0), (0.05, 0), (0.1, 1), (0.5, 1), (0.6, 2), (0.99, 2)])
def test_the_expert_of_the_time_answers(model: Model, time: float | None, answers: int):
    x = positions(10)
    others = [index for index in range(3) if index != answers]
    forces = model.forces("AV", x, time)
    np.testing.assert_array_equal(lost(model, *others).forces("AV", x, time), forces)
    assert not np.isfinite(lost(model, answers).forces("AV", x, time)).any()
    if time is not None:
        expert = Expert(SMALL.experts[answers], SMALL.network, (10, 3))
        molecule = model._molecule(model.beads("AV"))
        score = jax.vmap(expert.score, in_axes=(None, 0, None, None))
        wanted = (
            model.kT
            * NORM
            * score(model.parameters[answers], jnp.asarray(NORM * x), jnp.asarray(time), molecule)
        )
        np.testing.assert_allclose(forces, wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())


def test_a_simulation_is_run_by_the_expert_of_the_force_time(model: Model):
    settings = replace(SMALL.simulate, force_time=0.5)
    middle = replace(model, config=replace(model.config, simulate=settings))
    options: dict = {"stride": 1, "burn_in": 0, "start": positions(10, 2)}
    assert np.isfinite(lost(middle, 0, 2).simulate("AV", 2, **options)).all()
    assert not np.isfinite(lost(middle, 1).simulate("AV", 2, **options)).any()
    assert np.isfinite(lost(model, 1, 2).simulate("AV", 2, **options)).all()


def test_where_an_expert_has_no_density_the_error_says_so(model: Model):
    interval = r"the expert of \[0\.1, 0\.6\) is a score, which has no energy and no log-density"
    for function in (model.energy, model.log_density):
        with pytest.raises(
            ConfigError, match=rf"^time 0\.5: {interval}: ask for a time in \[0, 0\.1\), or for"
        ):
            function("AV", positions(10), 0.5)
    scores = tuple(replace(each, conservative=False, consistency_weight=0) for each in SMALL.experts)
    with pytest.raises(ConfigError, match=r"^time 1e-05: .* a score, .*: ask for forces$"):
        replace(model, config=replace(model.config, experts=scores)).energy("AV", positions(10))


@pytest.mark.parametrize("time", [0, 1, -0.1, 1.5, float("nan"), float("inf")])
def test_a_time_outside_the_diffusion_is_refused(model: Model, time: float):
    for function in (model.energy, model.log_density, model.forces):
        with pytest.raises(ConfigError, match="a diffusion time has to lie between 0 and 1"):
            function("AV", positions(10), time)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            positions(10)[0],
            r"shape \(10, 3\) .* it has 10 beads, .* \(frames, 10, 3\); one frame is positions",
        ),
        (positions(9), r"shape \(3, 9, 3\) are not those of AV: .* have to be \(frames, 10, 3\)$"),
        (positions(10).reshape(3, 30), r"shape \(3, 30\) "),
        (positions(10)[..., :2], r"shape \(3, 10, 2\) "),
        (np.zeros((2, 10, 3), bool), "are of bool: give numbers, in nm"),
        ("AV", "are of <U2: give numbers, in nm"),
        ([[1.0], [1.0, 2.0]], "are no array: "),
    ],
)
def test_positions_of_another_shape_are_an_error_in_words(model: Model, given, message: str):
    for function in (model.energy, model.log_density, model.forces):
        with pytest.raises(MoleculeError, match=message):
            function("AV", given)
    with pytest.raises(MoleculeError, match=message):
        model.simulate("AV", 1, start=given)


def test_positions_may_be_lists_whole_numbers_and_of_no_frame(model: Model):
    x = positions(10).round(1)
    for given in (x.tolist(), jnp.asarray(x)):
        np.testing.assert_allclose(model.energy("AV", given), model.energy("AV", x), rtol=1e-5)
    assert model.energy("AV", np.ones((2, 10, 3), int)).shape == (2,)
    assert model.forces("AV", x[:0]).shape == (0, 10, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 0}, "frames: must be a whole number, at least 1, not 0"),
        ({"stride": 0}, "stride: must be a whole number, at least 1, not 0"),
        ({"burn_in": -1}, "burn_in: must be a whole number, at least 0, not -1"),
        ({"chains": 0}, "count: must be a whole number, at least 1, not 0"),
        ({"start": np.zeros((0, 10, 3))}, "chains: must be a whole number, at least 1, not 0"),
    ],
)
def test_numbers_that_cannot_be_are_refused(model: Model, options: dict, message: str):
    given: dict[str, Any] = {"frames": 1} | options
    with pytest.raises(ConfigError, match=f"^{message}$"):
        model.simulate("AV", **given)


@pytest.fixture(scope="module")
def chunked(model: Model) -> Model:
    """With chunks of four."""
    sample, simulate = replace(SMALL.sample, samples=8, chunk=4), replace(SMALL.simulate, chunk=4)
    return replace(
        model, config=replace(SMALL, sample=sample, simulate=replace(simulate, burn_in=4, stride=2))
    )


def test_counts_that_are_no_multiple_of_a_chunk_work_and_compile_one_program(chunked: Model):
    sample: Any = trained._sample
    simulate: Any = trained._simulate
    before, seen = sample._cache_size(), []
    samples = chunked.sample("AV", 10, watch=seen.append)
    assert samples.shape == (10, 10, 3)
    assert seen == [4, 8, 10]
    assert sample._cache_size() == before + 1
    np.testing.assert_array_equal(chunked.sample("AV", 7), samples[:7])
    before = simulate._cache_size()
    chains = chunked.simulate("AV", 3, start=samples[:6])
    assert chains.shape == (6, 3, 10, 3)
    assert simulate._cache_size() == before + 1
    np.testing.assert_array_equal(chunked.simulate("AV", 3, start=samples)[:6], chains)


def test_seeds_peptides_and_chunks_share_no_sample_and_no_chain(chunked: Model):
    """`--seed 0` and `--seed 1` shared all chunks but one; AV and LA have as many beads."""
    made = [chunked.sample(sequence, 12, seed) for sequence in ("AV", "LA") for seed in (0, 1)]
    made += [chunked.simulate("AV", 1, chains=12, seed=seed)[:, 0] for seed in (0, 1)]
    rounded = {frame.round(4).tobytes() for part in made for frame in part}
    assert len(rounded) == 6 * 12
    np.testing.assert_array_equal(chunked.sample("AV", 12, 1), made[1])


def test_a_longer_simulation_begins_with_the_shorter_one_bit_by_bit(chunked: Model):
    shorter, longer = (chunked.simulate("AV", frames, chains=5, seed=2) for frames in (5, 10))
    np.testing.assert_array_equal(shorter, longer[:, :5])


def test_results_have_the_type_of_the_positions(chunked: Model):
    x = positions(10).astype(np.float32)
    plain = [chunked.forces("AV", x), chunked.energy("AV", x), chunked.simulate("AV", 2, start=x)]
    assert {part.dtype for part in plain} == {np.dtype(np.float32)}
    with jax.enable_x64(True):
        for given in (x, x.astype(np.float64)):
            found = [
                chunked.forces("AV", given),
                chunked.energy("AV", given),
                chunked.simulate("AV", 2, start=given),
            ]
            assert {part.dtype for part in found} == {given.dtype}
            for one, other in zip(plain[:2], found[:2], strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3 * np.abs(one).max())
        assert chunked.log_density("AV", x).dtype == np.float32
        samples = chunked.sample("AV", 4)
        assert samples.dtype == chunked.simulate("AV", 1, chains=2).dtype == np.float32
    np.testing.assert_allclose(samples, chunked.sample("AV", 4), atol=1e-4)


def changed(model: Model, path: Path, about: dict | None = None, **tensors: np.ndarray | None) -> Path:
    """The model's file with other metadata (None: without) and tensors."""
    model.save(path)
    with safe_open(str(path), framework="numpy") as file:
        metadata = dict(file.metadata())
        kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    first = next(iter(kept))
    for old, new in (
        (metadata, about or {}),
        (kept, {{"first": first}.get(k, k): v for k, v in tensors.items()}),
    ):
        old.update({name: value for name, value in new.items() if value is not None})
        for name in [name for name, value in new.items() if value is None]:
            del old[name]
    path.write_bytes(safetensors_bytes(kept, metadata))
    return path


@pytest.mark.parametrize(
    ("about", "tensors", "message"),
    [
        ({"config": None}, {}, "has no 'config' in its metadata: export the model again"),
        ({"norm": None}, {}, "has no 'norm' in its metadata"),
        ({"springs": None}, {}, "has no 'springs' in its metadata"),
        ({"config": "{"}, {}, "has metadata that are damaged: "),
        ({"config": "{}"}, {}, "has metadata that are damaged: preset"),
        ({"norm": "much"}, {}, "has metadata that are damaged: could not convert"),
        ({"norm": "nan"}, {}, "has the scale nan in its metadata, which must be positive"),
        ({"norm": "-1.0"}, {}, "has the scale -1 in its metadata"),
        ({"springs": "[1]"}, {}, "has no table of bonds and angles as springs"),
        ({"springs": '{"bonds": {"C0-N1": [1]}, "angles": {}}'}, {}, "has no table of bonds and angles"),
        ({"format": "9"}, {}, "is of format 9: this version reads what `fokker model export` wrote as 1"),
        ({"format": None}, {}, "is of format None"),
        ({}, {"7/x": np.zeros(2, "f4")}, "holds 7/x, but its settings are of 3 experts"),
        ({}, {"x": np.zeros(2, "f4")}, "holds x, but its settings are of 3 experts"),
        ({}, {"0/more": np.zeros(2, "f4")}, "more of expert 0 is 2, and its settings ask for missing"),
        ({}, {"first": None}, "of expert 0 is missing, and its settings ask for "),
        ({}, {"first": np.zeros((3, 5), "f4")}, "of expert 0 is 3 × 5, and its settings ask for "),
    ],
)
def test_a_damaged_model_is_one_line(model: Model, tmp_path: Path, about, tensors, message: str):
    path = changed(model, tmp_path / "damaged.safetensors", about, **tensors)
    with pytest.raises(ConfigError, match=re.escape(message)) as error:
        fokker.load(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_a_model_that_is_cut_short_or_of_another_kind_is_one_line(model: Model, tmp_path: Path):
    path = tmp_path / "model.safetensors"
    model.save(path)
    whole = path.read_bytes()
    toy = json.dumps(to_dict(PRESETS["mueller-brown"]("both", "fokker")))
    for content in (
        b"",
        whole[:4],
        whole[:100],
        whole[: len(whole) // 2],
        whole[:-1],
        b"\x80\x04K\x01.",
        b"{}",
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"model\.safetensors is no run and no model") as error:
            fokker.load(path)
        assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match="is a model of mueller-brown: only those of molecules"):
        fokker.load(changed(model, path, {"config": toy}))


def test_damaged_parameters_of_a_run_are_one_line(run: Path, tmp_path: Path):
    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    path = copied / "experts/1" / parameters.FILE
    whole = path.read_bytes()
    for content in (b"", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=r"has parameters that are damaged: .*average\.npz"):
            fokker.load(copied)
    shutil.copy(copied / "experts/0" / parameters.FILE, path)
    weights = parameters.load(path.parent)
    parameters.save(path.parent, {**weights, "more": np.zeros(3, "f4")})
    with pytest.raises(ConfigError, match="of expert 1 is "):
        fokker.load(copied)


def test_a_model_that_tells_beads_apart_by_their_number_is_of_that_many(model: Model, tmp_path: Path):
    network = replace(SMALL.network, embedding="one-hot")
    made = [Expert(expert, network, (10, 3)).init(jax.random.key(0)) for expert in SMALL.experts]
    numbered = Model(replace(SMALL, network=network), tuple(made), NORM, model.springs)
    numbered.save(tmp_path / "numbered.safetensors")
    found = fokker.load(tmp_path / "numbered.safetensors")
    assert found.forces("AV", positions(10)).shape == (3, 10, 3)
    message = "GAG has 13 beads, and this model tells beads apart by their number, of which it knows 10"
    with pytest.raises(MoleculeError, match=message):
        found.sample("GAG", 1)


def test_more_residues_than_a_model_has_places_for_are_refused(model: Model):
    assert np.isfinite(model.energy("A" * 64, positions(320))).all()
    for ask in (model.energy, model.forces):
        with pytest.raises(MoleculeError, match=r"65 residues, and a network .* has places for 64"):
            ask("A" * 65, positions(325))
    with pytest.raises(MoleculeError, match="has places for 64"):
        model.sample("A" * 65, 1)


def test_what_is_no_model_is_refused_in_one_line(run: Path, tmp_path: Path, capsys):
    (tmp_path / "text").write_text("hello")
    for path in (tmp_path / "nothing", tmp_path / "text"):
        with pytest.raises(ConfigError, match="is no run and no model"):
            fokker.load(str(path))
    with pytest.raises(ConfigError, match=r"config\.json does not exist"):
        fokker.load(str(tmp_path))
    toy = tmp_path / "toy"
    toy.mkdir()
    write_json(toy / "config.json", to_dict(PRESETS["mueller-brown"]("both", "fokker")))
    with pytest.raises(ConfigError, match="only models of molecules"):
        fokker.load(str(toy))
    assert cli.main(["model", "export", str(run)]) == 2
    assert "name RUN and FILE: fokker model export RUN FILE" in capsys.readouterr().err


def test_the_snippet_of_the_readme_runs(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = (Path(__file__).parents[2] / "README.md").read_text()
    (snippet,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/dipeptides-small").symlink_to(run)
    monkeypatch.chdir(tmp_path)
    found: dict = {}
    exec(snippet, found)
    assert found["samples"].shape == (20, 10, 3)
    assert found["chains"].shape == (20, 5, 10, 3)
    assert found["energies"].shape == found["log_density"].shape == (20,)
    assert found["forces"].shape == (20, 10, 3)
