"""A run claims its directory, keeps others out, and keeps what other settings have made."""

import dataclasses
import errno
import fcntl
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fokker.data.dataset import shards
from fokker.distributed.runs.config import Config, ConfigError, from_dict, load, to_dict
from fokker.distributed.runs.presets import PRESETS
from fokker.distributed.runs.results import Origin
from fokker.distributed.runs.run import FIXED, BusyError, Run, locked

CONFIG = PRESETS["mueller-brown"]("both", "fokker")
CHANGEABLE = {
    "sample": {"evaluations": 20},
    "simulate": {"timestep": 0.01},
    "cluster": {"simulators": 3},
    "umbrella": {"windows": 12},
}
OTHERS = {
    "method": "mixture",
    "recipe": "paper",
    "seed": 3,
    "data": {"seed": 1},
    "network": {"bond_width": 0.2},
    "objective": {"consistency_start": 0.5},
    "train": {"clip": 5.0},
}


def changed(part: str) -> Config:
    values = to_dict(CONFIG)
    if part == "experts":
        values["experts"][1]["epochs"] = 7
    else:
        other = (CHANGEABLE | OTHERS)[part]
        values[part] = values[part] | other if isinstance(other, dict) else other
    return from_dict(values)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """That of a run which has claimed it, trained, and drawn its samples and frames."""
    (tmp_path / "experts").mkdir()
    for part in ("sample", "simulate"):
        (tmp_path / part / "1").mkdir(parents=True)
        (tmp_path / part / "1" / "chunk-00000.npz").touch()
    assert Run(CONFIG, tmp_path).claim() == []
    return tmp_path


def saved(directory: Path) -> Config:
    return load(directory / "config.json")


# Claims


def test_every_setting_is_fixed_or_may_change():
    assert {*FIXED, *CHANGEABLE} == {field.name for field in dataclasses.fields(Config)}


def test_a_claim_saves_the_settings_once(directory: Path):
    assert saved(directory) == CONFIG
    before = (directory / "config.json").stat().st_mtime_ns
    assert Run(CONFIG, directory).claim() == []
    assert (directory / "config.json").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ("method", "method"),
        ("recipe", "recipe"),
        ("seed", "seed"),
        ("data", "data.seed"),
        ("experts", "experts.1.epochs"),
        ("network", "network.bond_width"),
        ("objective", "objective.consistency_start"),
        ("train", "train.clip"),
    ],
)
def test_other_settings_of_data_and_training_are_refused(directory: Path, part: str, field: str):
    run = Run(changed(part), directory)
    with pytest.raises(ConfigError, match=r"was made with .*, not .*: take another --name") as caught:
        run.claim()
    assert caught.value.field == field
    assert saved(directory) == CONFIG


@pytest.mark.parametrize("allowed", ["train", "train.clip"])
def test_what_is_allowed_to_change_puts_aside_what_was_made_with_the_old_value(directory: Path, allowed: str):
    """But not the checkpoints, from which the training goes on."""
    expert = directory / "experts" / "0"
    (expert / "checkpoints").mkdir(parents=True)
    for clip, number in ((5.0, 1), (6.0, 2)):
        (expert / "average.npz").write_text(f"before {clip}")
        before = saved(directory)
        wanted = replace(CONFIG, train=replace(CONFIG.train, clip=clip))
        (note,) = Run(wanted, directory, allowed=(allowed,)).claim()
        kept = f"is kept as experts/0/average-{number}.npz, config-{number}.json"
        assert note == f"train.clip {before.train.clip} → {clip}: what was made with the old settings {kept}"
        assert saved(directory) == wanted
        assert not (expert / "average.npz").exists(), "the training goes on"
        assert (expert / f"average-{number}.npz").read_text() == f"before {clip}"
        assert load(directory / f"config-{number}.json") == before
    assert (expert / "checkpoints").is_dir()
    assert len([*directory.glob("*/1/*.npz")]) == 2


def test_data_that_may_change_are_put_aside(directory: Path):
    shards.write(directory / "data", {"name": "toy"}, {"train": np.zeros((2, 2), np.float32)})
    (note,) = Run(changed("data"), directory, allowed=("data",)).claim()
    assert note.endswith("is kept as data-1, config-1.json")
    assert shards.Dataset(directory / "data-1").systems == ("toy",)
    assert not (directory / "data").exists()


@pytest.mark.parametrize(("allowed", "other"), [("data", True), ("data.seed", True), ("train", False)])
def test_experts_go_on_with_other_data_where_any_part_of_them_may_change(
    directory: Path, allowed: str, other: bool
):
    jobs = Run(changed("data"), directory, allowed=(allowed,)).jobs
    assert {job.other_data for job in jobs} == {other}


def test_one_setting_that_is_allowed_to_change_allows_no_other(directory: Path):
    with pytest.raises(ConfigError, match=r"go on with the new one by --allow-changed network\.bond_width"):
        Run(changed("network"), directory, allowed=("train",)).claim()


def test_a_run_that_has_made_nothing_yet_may_change_in_everything(tmp_path: Path):
    """Such as one that was started with a wrong path to its data."""
    Run(CONFIG, tmp_path).claim()
    assert Run(changed("data"), tmp_path).claim() == []
    assert saved(tmp_path) == changed("data")


def test_another_number_of_experts_is_refused(directory: Path):
    one = PRESETS["mueller-brown"]("both", "fokker").experts[0]
    run = Run(replace(CONFIG, experts=(replace(one, interval=(0, 1), midpoint=0.5),)), directory)
    with pytest.raises(ConfigError) as caught:
        run.claim()
    assert caught.value.field == "experts"


@pytest.mark.parametrize("part", ["sample", "simulate", "cluster"])
def test_other_settings_of_a_result_are_saved_and_touch_none(directory: Path, part: str):
    assert Run(changed(part), directory).claim() == []
    assert {path.parents[1].name for path in directory.glob("*/*/*.npz")} == {"sample", "simulate"}
    assert saved(directory) == changed(part)


def test_a_refused_claim_changes_nothing(directory: Path):
    both = replace(changed("train"), sample=changed("sample").sample)
    with pytest.raises(ConfigError):
        Run(both, directory).claim()
    assert len([*directory.glob("*/*/*.npz")]) == 2
    assert saved(directory) == CONFIG


# Commands that only read


@pytest.mark.parametrize("part", ["sample", "simulate", "train", "experts", "method"])
def test_what_only_reads_refuses_other_settings(directory: Path, part: str):
    with pytest.raises(ConfigError, match=r"was made with .* evaluate and report only read: leave it out"):
        Run(changed(part), directory).require_saved()
    assert saved(directory) == CONFIG


@pytest.mark.parametrize("part", ["cluster", "umbrella"])
def test_what_only_reads_may_run_elsewhere_and_judge_otherwise(directory: Path, part: str):
    Run(changed(part), directory).require_saved()
    assert saved(directory) == CONFIG


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        ({}, "FromData", "frames of the data"),
        (
            {"first_phi_positive": True},
            "FromData",
            "frames of the data, the first at one of φ > 0, as in the paper",
        ),
        ({"start": "stratified"}, "Stratified", "frames of the data, of both signs of φ by their shares"),
    ],
)
def test_chains_start_where_the_settings_say(tmp_path: Path, settings: dict, kind: str, words: str):
    config = replace(CONFIG, simulate=replace(CONFIG.simulate, **settings))
    shards.write(tmp_path / "data", {"name": "toy"}, {"train": np.zeros((2, 2), np.float32)})
    run = Run(config, tmp_path)
    asked = run.simulations.ask(config.simulate, Origin("model", "data", 5, "train"))
    (simulation,) = run.simulation(asked)
    assert type(simulation.start).__name__ == kind
    assert config.simulate.start_words == words


def test_what_only_reads_needs_a_run_and_makes_none(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"gone/config\.json does not exist: name a run that has started"):
        Run(CONFIG, tmp_path / "gone").require_saved()
    assert not (tmp_path / "gone").exists()


# What a run hands on


def test_work_is_made_of_the_settings(tmp_path: Path):
    config = replace(CONFIG, seed=5, data=replace(CONFIG.data, temperature=11.0, mass=2.0))
    shards.write(tmp_path / "shared", {"name": "toy"}, {"train": np.zeros((2, 2), np.float32)})
    run = Run(config, tmp_path / "run", shared_data=tmp_path / "shared", label="both 5")
    origin = Origin("model", "data", 5, "train")
    (sampling,) = run.sampling(run.samples.ask(config.sample, origin))
    (simulation,) = run.simulation(run.simulations.ask(config.simulate, origin))
    assert [job.name for job in run.jobs] == ["both 5 0-0.1", "both 5 0.1-0.6", "both 5 0.6-1"]
    assert run.jobs[0].tags == {"run": "both 5", "expert": "0-0.1"}
    assert simulation.tags == {"run": "both 5", "kind": "simulation", "system": "toy"}
    assert [job.directory.relative_to(tmp_path) for job in run.jobs] == [
        Path(f"run/experts/{index}") for index in range(3)
    ]
    assert {job.data for job in run.jobs} == {tmp_path / "shared"}
    assert {job.seed for job in run.jobs} == {sampling.seed, simulation.seed} == {5}
    assert [job.expert for job in run.jobs] == [*config.experts]
    assert (simulation.system.kT, simulation.system.masses) == (11.0, (2.0,))
    assert (sampling.config, simulation.config) == (config.sample, config.simulate)
    assert simulation.directory == tmp_path / "run/simulate/1/toy"
    assert Run(config, tmp_path).data == tmp_path / "data"
    assert Run(config, tmp_path / "alone").jobs[0].run == "alone"


def test_timings_add_up_over_attempts(tmp_path: Path):
    run = Run(CONFIG, tmp_path)
    assert run.timings() == {}
    for stage, seconds in (("train", 2.0), ("sample", 1.0), ("train", 0.5)):
        run.add_timing(stage, seconds)
    assert run.timings() == {"train": 2.5, "sample": 1.0}


# Locks


def test_a_directory_is_locked_while_it_is_worked_on_and_free_afterwards(tmp_path: Path):
    directory = tmp_path / "runs" / "mine"
    with locked(directory):
        with pytest.raises(BusyError, match=r"runs/mine: another fokker is at work on it"), locked(directory):
            pass
        with locked(tmp_path / "runs" / "other"):
            pass
    with pytest.raises(RuntimeError, match="fails"), locked(directory):
        raise RuntimeError("fails")
    with locked(directory):
        pass


HOLD = """
import sys, time
from pathlib import Path
from fokker.distributed.runs.run import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(600)
"""


def test_a_process_that_is_killed_leaves_no_lock(tmp_path: Path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(BusyError), locked(tmp_path):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with locked(tmp_path):
            pass


def test_without_locks_who_begins_last_has_the_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with locked(tmp_path) as note:
        assert note == f"{tmp_path} has no file locks"
        with locked(tmp_path) as note:
            assert f"process {os.getpid()} of host" in note
            assert note.endswith("heard 0 s ago, is to stop now")


def test_a_file_in_the_way_is_a_wrong_setting(tmp_path: Path):
    (tmp_path / "file").touch()
    directory = tmp_path / "file" / "run"
    with pytest.raises(ConfigError, match=r"file/run cannot be written: Not a dir"), locked(directory):
        pass
