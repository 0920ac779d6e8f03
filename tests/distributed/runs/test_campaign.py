"""A campaign is planned, settled and read without Ray; what it cannot be is one line, before it writes.

The same few models serve all that its file can name, hence the length.
"""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import mdtraj
import numpy as np
import pytest

from fokker.data import archive
from fokker.data.dataset import shards
from fokker.data.errors import FokkerError
from fokker.data.files import FileError
from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads
from fokker.distributed.campaigns.assessment import Stop
from fokker.distributed.campaigns.segments import Segment
from fokker.distributed.campaigns.starts import FromData, FromFile, FromSamples
from fokker.distributed.runs.campaign import FILE, Batching, Campaign
from fokker.distributed.runs.campaign_config import CampaignConfig, Settings
from fokker.distributed.runs.config import ConfigError, save, to_dict
from fokker.distributed.runs.presets import PRESETS
from fokker.distributed.runs.run import CONFIG

GOLDEN = Path(__file__).parents[2] / "data" / "golden" / "format-1.safetensors"
"""Of molecules, with random parameters."""
BATCHING = Batching(batch=4, segment=3)


def save_av(path: Path) -> None:
    """Two residues as a structure's file, of the beads of the model."""
    beads = archive.read(GOLDEN).description.beads
    assert beads is not None
    topology = Beads.from_sequence("AV", BeadMap.parse(beads)).topology()
    mdtraj.Trajectory(np.zeros((1, 10, 3)), topology).save_pdb(str(path))


def of_toy(toy: Path, **changes) -> CampaignConfig:
    return replace(CampaignConfig(models=(str(toy),), replicas=10, frames=6), **changes)


def of_molecules(**changes) -> CampaignConfig:
    return replace(
        CampaignConfig(models=(str(GOLDEN),), replicas=10, frames=6, systems=("AC", "KF")), **changes
    )


def settled(directory: Path, config: CampaignConfig) -> Campaign:
    planned = Campaign.plan(directory, config)
    return planned.settle({name: BATCHING for name in planned.parts.models})


def refused(directory: Path, config: CampaignConfig) -> ConfigError:
    """What is wrong with a campaign, in a line, without anything written."""
    before = [*directory.parent.rglob("*")]
    with pytest.raises(ConfigError) as error:
        Campaign.plan(directory, config)
    assert [*directory.parent.rglob("*")] == before
    assert "\n" not in str(error.value)
    return error.value


def described(campaign: Campaign) -> list[tuple]:
    """What its works are of; molecules hold functions, which are equal to none."""
    return [
        (work.directory, work.identity, work.system.beads and work.system.beads.to_json())
        for work in campaign.works
    ]


# Planned, settled, read


def test_a_plan_writes_nothing(tmp_path: Path, toy: Path):
    planned = Campaign.plan(tmp_path / "new", of_toy(toy))
    assert [planned.name_of(work) for work in planned.works] == ["mueller-brown"]
    assert (planned.batching, [*tmp_path.iterdir()]) == ({}, [])


def test_what_is_settled_is_read(tmp_path: Path, toy: Path):
    campaign = settled(tmp_path / "new", of_toy(toy))
    assert Campaign.read(tmp_path / "new") == campaign
    assert campaign.batching == {"model": BATCHING}
    kept = tmp_path / "new" / "models" / "model.safetensors"
    assert kept.read_bytes() == toy.read_bytes()
    assert [work.model for work in campaign.works] == [kept]


def test_settled_once_batches_stay(tmp_path: Path, toy: Path):
    """Whatever is measured later: the bits depend on them."""
    settled(tmp_path / "new", of_toy(toy))
    grown = Campaign.plan(tmp_path / "new", of_toy(toy, replicas=100)).settle({"model": Batching(50, 50)})
    assert grown.batching == {"model": BATCHING}
    assert grown.works[0].batch == 4


def test_a_batch_that_was_given_is_remembered(tmp_path: Path, toy: Path):
    settled(tmp_path / "new", of_toy(toy, batch=4))
    assert Campaign.plan(tmp_path / "new", of_toy(toy)).config.batch == 4
    assert refused(tmp_path / "new", of_toy(toy, batch=5)).field == "batch"


def test_replicas_fill_the_last_batch_in_part(tmp_path: Path, toy: Path):
    (work,) = settled(tmp_path / "new", of_toy(toy, settings=(Settings(stride=7, burn_in=5),))).works
    assert (work.chains, work.batch, work.length) == (10, 4, 5 + 6 * 7)
    assert work.following(8, 2, 5) == Segment(8, 2, 5, 5 + 3 * 7)


def test_random_numbers_depend_on_no_extent(tmp_path: Path, toy: Path):
    """Neither on where the folder is, nor where the model was."""
    moved = tmp_path / "other" / "model.safetensors"
    moved.parent.mkdir()
    shutil.copy(toy, moved)
    small, large = (
        settled(tmp_path / "a", of_toy(toy)),
        settled(tmp_path / "b", of_toy(moved, replicas=100, frames=60, seeds=(0, 1), batch=2)),
    )
    assert {work.identity for work in (*small.works, *large.works)} == {small.works[0].identity}
    assert [work.seed for work in large.works] == [0, 1]


@pytest.mark.parametrize("given", [{"timestep": 0.01}, {"friction": 2.0}, {"integrator": "langevin"}])
def test_random_numbers_depend_on_settings(tmp_path: Path, toy: Path, given: dict):
    several = of_toy(toy, settings=(Settings(), Settings(**given)))
    first, second = settled(tmp_path / "new", several).works
    assert first.identity != second.identity
    assert {name: getattr(second.config, name) for name in given} == given


def test_random_numbers_depend_on_the_model_and_the_ending(tmp_path: Path, toy: Path):
    own = archive.read(toy)
    other = replace(own, description=replace(own.description, temperature=3.0))
    archive.write(tmp_path / "model.safetensors", other)
    configs = of_toy(toy), of_toy(tmp_path / "model.safetensors"), of_toy(toy, ends_unless="finite")
    found = [settled(tmp_path / str(i), config).works[0].identity for i, config in enumerate(configs)]
    assert len({*found}) == 3


def test_works_are_called_by_what_they_differ_in(tmp_path: Path):
    one = Campaign.plan(tmp_path / "a", of_molecules())
    assert [one.name_of(work) for work in one.works] == ["AC", "KF"]
    shutil.copy(GOLDEN, tmp_path / "other.safetensors")
    many = of_molecules(
        models=(str(GOLDEN), str(tmp_path / "other.safetensors")),
        systems=("AC",),
        seeds=(3, 5),
        settings=(Settings(), Settings(friction=2)),
    )
    campaign = Campaign.plan(tmp_path / "b", many)
    assert [campaign.name_of(work) for work in campaign.works] == [
        f"{model}/AC/{index}-{seed}" for model in ("format-1", "other") for index in (0, 1) for seed in (3, 5)
    ]
    assert [str(work.directory.relative_to(tmp_path)) for work in campaign.works][:2] == [
        "b/format-1/AC/0-3",
        "b/format-1/AC/0-5",
    ]
    seeds = Campaign.plan(tmp_path / "c", of_molecules(seeds=(3, 5)))
    assert [seeds.name_of(work) for work in seeds.works] == ["AC/3", "AC/5", "KF/3", "KF/5"]


def test_a_run_is_a_model_of_its_name(tmp_path: Path, toy: Path):
    run = tmp_path / "runs" / "mine.v2"
    run.mkdir(parents=True)
    shutil.copy(toy, run / "model.safetensors")
    assert [*settled(tmp_path / "new", of_toy(run)).parts.models] == ["mine.v2"]
    shutil.rmtree(run)
    kept = Campaign.read(tmp_path / "new")
    assert [kept.model_of(work) for work in kept.works] == ["mine.v2"]


def test_a_campaign_is_found_from_any_folder(tmp_path: Path, toy: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(toy.parent)
    made = settled(tmp_path / "new", of_toy(Path(toy.name)))
    monkeypatch.chdir(tmp_path)
    assert Campaign.read(Path("new")).works == made.works


def test_a_campaign_outlives_its_model_and_its_start(tmp_path: Path, toy: Path):
    shutil.copy(toy, tmp_path / "mine.safetensors")
    np.save(tmp_path / "mine.npy", np.zeros((3, 2)))
    config = of_toy(tmp_path / "mine.safetensors", start=str(tmp_path / "mine.npy"))
    made = settled(tmp_path / "new", config)
    works = made.works
    for name in ("mine.safetensors", "mine.npy"):
        (tmp_path / name).unlink()
    assert Campaign.read(tmp_path / "new").works == works
    assert Campaign.plan(tmp_path / "new", replace(config, replicas=20)).works[0].chains == 20


def test_what_was_kept_is_read_whatever_became_of_the_files(tmp_path: Path, toy: Path):
    """Only a plan looks at them again."""
    path, start = tmp_path / "mine.safetensors", tmp_path / "mine.npy"
    shutil.copy(toy, path)
    np.save(start, np.zeros((3, 2)))
    made = settled(tmp_path / "new", of_toy(path, start=str(start))).works
    own = archive.read(path)
    archive.write(path, replace(own, description=replace(own.description, temperature=3.0)))
    np.save(start, np.ones((3, 2)))
    assert Campaign.read(tmp_path / "new").works == made


def test_a_model_that_changes_while_its_batch_is_measured_is_not_kept(tmp_path: Path, toy: Path):
    path = tmp_path / "mine.safetensors"
    shutil.copy(toy, path)
    planned = Campaign.plan(tmp_path / "new", of_toy(path))
    assert planned.works
    own = archive.read(path)
    archive.write(path, replace(own, description=replace(own.description, temperature=3.0)))
    with pytest.raises(FileError, match=r"mine\.safetensors has just changed: give the same command again$"):
        planned.settle({"mine": BATCHING})
    assert not (tmp_path / "new" / FILE).exists()
    assert not [*(tmp_path / "new" / "models").iterdir()]


def test_what_another_process_settled_since_the_plan_stays(tmp_path: Path, toy: Path):
    first, second = (Campaign.plan(tmp_path / "new", of_toy(toy)) for _ in range(2))
    first.settle({"model": BATCHING})
    with pytest.raises(ConfigError, match=r"campaign\.json has changed since: give the same command again$"):
        second.settle({"model": Batching(5, 5)})
    grown, same = (Campaign.plan(tmp_path / "new", of_toy(toy, replicas=n)) for n in (20, 10))
    grown.settle({})
    with pytest.raises(ConfigError, match=r"^replicas: the campaign was made with 20, not 10: "):
        same.settle({})
    assert Campaign.read(tmp_path / "new") == grown


def test_what_is_settled_reads_nothing_again(tmp_path: Path, toy: Path, monkeypatch: pytest.MonkeyPatch):
    """Models and molecules are the same as when it was planned."""
    read, reads = archive.read, []
    monkeypatch.setattr(archive, "read", lambda path: reads.append(path) or read(path))
    planned = Campaign.plan(tmp_path / "new", of_toy(toy))
    works = planned.settle({"model": BATCHING}).works
    assert reads == [toy]
    assert works == Campaign.read(tmp_path / "new").works


# Molecules


def test_sequences_and_structures_are_systems(tmp_path: Path):
    save_av(tmp_path / "mine.pdb")
    config = of_molecules(systems=("AC", "ACE-ALA-NME", str(tmp_path / "mine.pdb")))
    systems = settled(tmp_path / "new", config).parts.systems["format-1"]
    assert [system.name for system in systems] == ["AC", "ACE-ALA-NME", "mine"]
    beads = systems[2].beads
    assert beads is not None
    assert (beads.sequence, systems[2].shape) == ("AV", (10, 3))


def test_a_campaign_outlives_its_structures(tmp_path: Path):
    path = tmp_path / "mine.pdb"
    save_av(path)
    config = of_molecules(systems=("AC", str(path)))
    made = settled(tmp_path / "new", config)
    kept = tmp_path / "new" / "systems" / "mine.pdb"
    assert kept.read_bytes() == path.read_bytes()
    path.unlink()
    assert described(Campaign.read(tmp_path / "new")) == described(made)
    grown = Campaign.plan(tmp_path / "new", replace(config, replicas=20))
    assert [work.chains for work in grown.works] == [20, 20]
    kept.unlink()
    error = refused(tmp_path / "new", config)
    assert str(error) == f"systems.1: {path} is not there: name a sequence, or a structure's file"


def test_a_structure_that_changed_is_refused(tmp_path: Path):
    path = tmp_path / "mine.pdb"
    save_av(path)
    config = of_molecules(systems=("AC", str(path)))
    made = settled(tmp_path / "new", config)
    path.write_text(path.read_text().replace("VAL", "ILE"))
    error = refused(tmp_path / "new", replace(config, systems=("AC", "KF", str(path))))
    assert str(error) == (
        f"systems.2: {path} is another file than the one that the campaign was made with: take another --name"
    )
    assert described(Campaign.read(tmp_path / "new")) == described(made)


@pytest.mark.parametrize(
    ("systems", "problem"),
    [
        ((), "systems: name the molecules, such as AC or ACE-ALA-NME, or structures"),
        (("AB",), "B"),
        (("missing.pdb",), "missing.pdb"),
        (("",), ""),
        (("A C",), "A C"),
    ],
)
def test_what_is_no_molecule_is_refused(tmp_path: Path, systems: tuple[str, ...], problem: str):
    with pytest.raises(FokkerError) as error:
        Campaign.plan(tmp_path / "new", of_molecules(systems=systems))
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


def test_names_that_clash_are_refused(tmp_path: Path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        save_av(tmp_path / folder / "mine.pdb")
        shutil.copy(GOLDEN, tmp_path / folder / "mine.safetensors")
    pdbs = tuple(str(tmp_path / folder / "mine.pdb") for folder in ("a", "b"))
    error = refused(tmp_path / "new", of_molecules(systems=pdbs))
    assert (error.field, error.problem) == ("systems", f"{pdbs[1]} is called mine, as another one")
    models = tuple(str(tmp_path / folder / "mine.safetensors") for folder in ("a", "b"))
    error = refused(tmp_path / "new", of_molecules(models=models))
    assert (error.field, error.problem) == ("models.1", f"{models[1]} is called mine, as another one")


def test_a_bond_that_the_model_has_not_seen_is_refused(tmp_path: Path):
    own = archive.read(GOLDEN)
    springs = {kind: dict(moments) for kind, moments in (own.description.springs or {}).items()}
    del springs["bonds"]["CA0-CB0"]
    path = tmp_path / "fewer.safetensors"
    archive.write(path, replace(own, description=replace(own.description, springs=springs)))
    assert len(Campaign.plan(tmp_path / "new", of_molecules(models=(str(path),), systems=("GG",))).works) == 1
    error = refused(tmp_path / "new", of_molecules(models=(str(path),)))
    assert error.problem == "AC has a bond CA0-CB0, of which the training data had none"
    assert error.field == "systems"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"integrator": "langevin"}, "inner_steps: 4 needs integrator=baoab"),
        ({}, ""),
    ],
)
def test_inner_steps_need_baoab(tmp_path: Path, given: dict, problem: str):
    config = of_molecules(settings=(Settings(), Settings(inner_steps=4, **given)))
    if problem:
        assert str(refused(tmp_path / "new", config)).startswith(f"settings.1: {problem}")
    else:
        found = Campaign.plan(tmp_path / "new", config).works
        assert [work.config.inner_steps for work in found] == [1, 4, 1, 4]
        assert found[0].identity != found[1].identity


def test_inner_steps_need_springs(tmp_path: Path, toy: Path):
    error = refused(tmp_path / "new", of_toy(toy, settings=(Settings(inner_steps=2),)))
    assert str(error).startswith("settings.0: inner_steps 2 needs network.springs=true")


def test_a_toy_has_no_molecules(tmp_path: Path, toy: Path):
    error = refused(tmp_path / "new", of_toy(toy, systems=("AC",)))
    assert str(error) == "systems: model is a model of a toy, which has no molecules: leave them out"


# What is not there, or changed


def test_a_model_that_is_not_there_is_refused(tmp_path: Path, toy: Path):
    (tmp_path / "run").mkdir()
    error = refused(tmp_path / "new", of_toy(tmp_path / "run"))
    path = tmp_path / "run" / "model.safetensors"
    assert str(error) == f"models.0: {path} is not there: a run has it when it is trained"
    error = refused(tmp_path / "new", of_toy(toy, models=(str(toy), str(tmp_path / "a.safetensors"))))
    path = tmp_path / "a.safetensors"
    assert str(error) == f"models.1: {path} is not there: name a model's file, or a run"


@pytest.mark.parametrize("content", [b"", b"no model"])
def test_what_is_no_model_is_one_line(tmp_path: Path, content: bytes):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(content)
    with pytest.raises(FokkerError) as error:
        Campaign.plan(tmp_path / "new", of_toy(path))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_model_that_changed_is_refused(tmp_path: Path, toy: Path):
    path = tmp_path / "mine.safetensors"
    shutil.copy(toy, path)
    settled(tmp_path / "new", of_toy(path))
    own = archive.read(path)
    archive.write(path, replace(own, description=replace(own.description, temperature=3.0)))
    error = refused(tmp_path / "new", of_toy(path, replicas=20))
    assert str(error) == (
        f"models.0: {path} is another model than the one that the campaign was made with: take another --name"
    )


def test_a_start_that_changed_is_refused(tmp_path: Path, toy: Path):
    path = tmp_path / "mine.npy"
    np.save(path, np.zeros((3, 2)))
    settled(tmp_path / "new", of_toy(toy, start=str(path)))
    np.save(path, np.ones((3, 2)))
    error = refused(tmp_path / "new", of_toy(toy, start=str(path)))
    assert str(error) == (
        f"start: {path} is another file than the one that the campaign was made with: take another --name"
    )


def test_no_campaign_and_a_damaged_one_are_one_line(tmp_path: Path, toy: Path):
    with pytest.raises(ConfigError, match=r"is not the folder of a campaign: campaign\.json is missing$"):
        Campaign.read(tmp_path)
    settled(tmp_path / "new", of_toy(toy))
    path = tmp_path / "new" / FILE
    good = json.loads(path.read_text())
    damaged = [
        *("", "{", "[]", "3", "null", "{}"),
        *(json.dumps(good | change) for change in ({"format": 2}, {"format": None}, {"batching": 3})),
        *(json.dumps(good | change) for change in ({"batching": {"model": {"bach": 3}}}, {"config": {}})),
        *(
            json.dumps({k: v for k, v in good.items() if k != missing})
            for missing in good
            if missing != "data"
        ),
        json.dumps(good)[:-20],
    ]
    for content in damaged:
        path.write_text(content)
        for read in (Campaign.read, lambda directory: Campaign.plan(directory, of_toy(toy))):
            with pytest.raises(FileError) as error:
                read(tmp_path / "new")
            assert str(path) in str(error.value)
            assert "\n" not in str(error.value)


# Where replicas begin, and what they are compared with


def test_replicas_begin_at_samples_data_or_frames_of_a_file(tmp_path: Path, toy: Path, data: Path):
    np.save(tmp_path / "mine.npy", np.zeros((3, 2)))
    run = run_of(tmp_path / "run", toy, data)
    of_run = FromData(run / "data", PRESETS["mueller-brown"]("both", "fokker").data.evaluate)
    starts = {
        "samples": FromSamples(archive.read(toy).description.sample),
        "data": of_run,
        str(tmp_path / "mine.npy"): FromFile(tmp_path / "mine.npy"),
    }
    for start, expected in starts.items():
        assert Campaign.plan(tmp_path / "new", of_toy(run, start=start)).parts.start("run") == expected
    campaign = settled(tmp_path / "new", of_toy(run, start=str(tmp_path / "mine.npy")))
    assert campaign.parts.start("run") == FromFile(tmp_path / "new" / "start.npy")


def run_of(folder: Path, toy: Path, data: Path) -> Path:
    """A run with its model and data, as far as campaigns look."""
    folder.mkdir()
    shutil.copy(toy, folder / "model.safetensors")
    shutil.copytree(data, folder / "data")
    save(folder / "config.json", PRESETS["mueller-brown"]("both", "fokker"))
    return folder


def test_data_that_changed_are_no_start(tmp_path: Path, toy: Path, data: Path):
    run = run_of(tmp_path / "run", toy, data)
    config = of_toy(run, start="data")
    made = settled(tmp_path / "new", config)
    assert made.data == {"run": shards.Dataset(data).fingerprint}
    assert Campaign.read(tmp_path / "new") == made
    Campaign.plan(tmp_path / "new", replace(config, replicas=20))
    shutil.rmtree(run / "data")
    frames = np.ones((50, 2), np.float32)
    shards.write(run / "data", {"name": "another"}, {"train": frames, "reference": frames})
    error = refused(tmp_path / "new", replace(config, replicas=20))
    assert str(error) == (
        "start: the data of run are not those that the campaign was made with: take another --name"
    )
    with pytest.raises(ConfigError, match=r"^start: "):
        Campaign.read(tmp_path / "new").require_same_data()


def test_what_would_be_found_late_is_refused_at_once(tmp_path: Path, toy: Path):
    error = refused(tmp_path / "new", of_toy(toy, stop_when=Stop(observable="phi")))
    assert str(error) == "stop_when.observable: mueller-brown has no phi: it has mueller-brown"
    for name in ("AC", "KF"):
        error = refused(tmp_path / "new", of_molecules(systems=(name,), stop_when=Stop(observable="phi")))
        assert error.field == "stop_when.observable"


def test_a_start_that_cannot_be_is_refused(tmp_path: Path, toy: Path):
    error = refused(tmp_path / "new", of_toy(toy, start="data"))
    assert str(error) == "start: model is not of a run whose data are there: take samples"
    (tmp_path / "mine.npz").touch()
    for given in ("smaples", "missing.npy", "mine.npz"):
        path = tmp_path / given
        error = refused(tmp_path / "new", of_toy(toy, start=str(path)))
        assert str(error) == f"start: has to be samples, data, or a .npy file that is there, not {path}"
    mine = tmp_path / "mine.npy"
    for content in (b"", b"text", b"\x93NUMPY"):
        mine.write_bytes(content)
        error = refused(tmp_path / "new", of_toy(toy, start=str(mine)))
        assert str(error) == f"start: {mine} is no .npy file of numbers"
    for shape in ((3, 3), (0, 2), (2,), (3, 2, 1)):
        np.save(mine, np.zeros(shape))
        error = refused(tmp_path / "new", of_toy(toy, start=str(mine)))
        assert str(error) == f"start: {mine} is of shape {shape}, not frames × 2 as mueller-brown has"


def test_what_systems_are_compared_with(tmp_path: Path, toy: Path, data: Path):
    parts = Campaign.plan(tmp_path / "new", of_toy(toy)).parts
    (system,) = parts.systems["model"]
    assert parts.reference("model", system) is None
    named = replace(system, name=next(iter(shards.Dataset(data).manifest["systems"])))
    given = Campaign.plan(tmp_path / "new", of_toy(toy, reference=str(data)))
    assert given.parts.reference("model", named) == (data, "train")
    assert given.parts.reference("model", system) is None
    (tmp_path / "run").mkdir()
    shutil.copytree(data, tmp_path / "run" / "data")
    of_run = Campaign.plan(tmp_path / "new", of_toy(toy, reference=str(tmp_path / "run")))
    assert of_run.parts.reference("model", named) == (tmp_path / "run" / "data", "train")
    error = refused(tmp_path / "new", of_toy(toy, reference=str(tmp_path)))
    assert str(error) == f"reference: {tmp_path} is no dataset: make one with fokker dataset convert"


def dataset_of(directory: Path, beads: Beads, split: str = "train") -> Path:
    """Of one molecule, under a name of its own."""
    frames = np.random.default_rng(0).normal(size=(3, len(beads), 3)).astype(np.float32)
    shards.write_system(directory, "mine", {"beads": replace(beads, name="mine").to_json()}, {split: frames})
    return shards.finish(directory, {"name": "mine"}, ["mine"]).directory


def test_a_molecule_is_found_in_data_under_whatever_name(tmp_path: Path):
    """As a sequence names it, and the folder of its trajectories another way."""
    campaign = Campaign.plan(tmp_path / "new", of_molecules(systems=("AC", "KF")))
    ac, kf = campaign.parts.systems["format-1"]
    assert ac.beads is not None
    data = dataset_of(tmp_path / "data", ac.beads)
    given = Campaign.plan(tmp_path / "new", replace(campaign.config, reference=str(data)))
    assert given.parts.reference("format-1", ac) == (data, "train")
    assert given.parts.reference("format-1", kf) is None
    assert (ac.named_in(shards.Dataset(data)), kf.named_in(shards.Dataset(data))) == ("mine", None)
    start = FromData(data, "train")(
        ac, 0, 2, jax.random.key(0), campaign.parts.models["format-1"].bind(ac.beads)
    )
    frames = shards.Dataset(data).split("train", "mine").read()
    assert all((frames == one).all(axis=(1, 2)).any() for one in np.asarray(start))


def test_molecules_that_are_not_in_the_data_do_not_begin_there(tmp_path: Path):
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(GOLDEN, run / archive.FILE)
    save(run / CONFIG, PRESETS["dipeptides-small"]("both", "fokker"))
    known = archive.read(GOLDEN).description.beads
    assert known is not None
    dataset_of(run / "data", Beads.from_sequence("AC", BeadMap.parse(known)), "validation")
    values = {"models": (str(run),), "start": "data"}
    assert Campaign.plan(tmp_path / "new", of_molecules(**values, systems=("AC",))).works
    error = refused(tmp_path / "new", of_molecules(**values, systems=("AC", "KF")))
    assert str(error) == (
        "start: the data of run have no KF in their split validation: take samples, or the frames of a .npy "
        "file"
    )


def test_a_driver_starts_no_backend_of_jax(tmp_path: Path, toy: Path):
    """On a host with a GPU it would take its memory."""
    script = f"""
from pathlib import Path
from jax._src import xla_bridge
from fokker.distributed.runs import campaign_tools
from fokker.distributed.runs.campaign import Batching, Campaign
from fokker.distributed.runs.campaign_config import CampaignConfig
from fokker.distributed.runs.config import from_dict
from fokker.distributed.runs.display import Display
for number, values in enumerate({[to_dict(of_toy(toy)), to_dict(of_molecules())]!r}):
    directory = Path({str(tmp_path)!r}) / str(number)
    planned = Campaign.plan(directory, from_dict(values, CampaignConfig))
    planned.settle({{name: Batching(4, 3) for name in planned.parts.models}})
    campaign = Campaign.read(directory)
    assert len(campaign.works) == 1 + number
    assert campaign_tools.missing_of(campaign)[0][1].segments == 6
    assert campaign_tools.failures(campaign) == []
print(xla_bridge._backends)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "{}\n"), done.stderr
