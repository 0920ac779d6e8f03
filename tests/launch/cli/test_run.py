"""What is typed becomes the right configuration, or one line that says what is wrong.

Long for its table of errors: one line for each, beside what the user reads.
"""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest

from fokker.data.config import MoleculesConfig
from fokker.distributed.runs import config as launch_config
from fokker.distributed.runs.config import Config, Method, Recipe, to_dict
from fokker.distributed.runs.presets import PRESETS
from fokker.launch.cli import COMMANDS, main, parse
from fokker.launch.cli.options import options
from fokker.launch.cli.reproduce import Table
from fokker.launch.cli.run import RunArguments

RUN = ("run", "mueller-brown")
SAVED = PRESETS["mueller-brown"]("diffusion", "paper")
SUBCOMMANDS = ("run", "data", "train", "sample", "simulate", "evaluate", "report")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)


def run(*argv: str) -> RunArguments:
    arguments = parse(argv)
    assert isinstance(arguments, RunArguments)
    return arguments


def reproduce(*argv: str) -> Table:
    arguments = parse(("reproduce", *argv))
    assert isinstance(arguments, Table)
    return arguments


def settings(config: Config) -> dict[str, Any]:
    """Every setting that an option sets, by its path."""
    return {option.path: option.value for option in options(config).values()}


def save(config: Config, name: str):
    launch_config.save(Path("runs", name, "config.json"), config)


# Each: what is typed, separated by spaces ('' is an empty word), and what the line on stderr must hold.
ERRORS = [
    ("''", ["fokker: error: name a command: run, data"]),
    ("trian mueller-brown", ["fokker: error: ", "'trian' (did you mean train?)", "choose from run, data"]),
    ("--verbose", ["fokker: error: ", "'--verbose'", "choose from run"]),
    ("run", ["fokker run: error: name a preset (mueller-brown, alanine-dipeptide,"]),
    ("train --runs-dir runs", ["fokker train: error: name a preset (mueller-brown, alanine-dipeptide,"]),
    ("reproduce table6 --size small", ["--size: table6 has its full size alone"]),
    ("reproduce table1 --size big", ["--size: must be 'full' or 'small', not 'big'"]),
    ("dataset", ["fokker dataset: error: say what: fokker dataset generate|convert|inspect|judge"]),
    ("dataset generat AC", ["fokker dataset: error: unknown 'generat' (did you mean generate?)"]),
    (
        "dataset generate",
        ["dataset generate: error: name SEQUENCES: fokker dataset generate SEQUENCES"],
    ),
    # what was typed before files had words of their own
    (
        "export runs/x m",
        ["command: unknown 'export' (did you mean fokker campaign export or fokker model export?)"],
    ),
    ("data generate AC", ["preset: unknown 'generate' (did you mean fokker dataset generate?)"]),
    ("sample m.safetensors --sequence AC", ["'m.safetensors' (did you mean fokker model sample?)"]),
    ("evaluate --samples x", ["unknown option --samples: did you mean fokker dataset judge?"]),
    ("dataset generate AC --tempereture 300", ["unknown option --tempereture: did you mean --temperature?"]),
    ("dataset generate AC --frames 30000", ["--frames: 30000 is more than is kept: 24 ns", "are 24000"]),
    ("dataset generate AC --out", ["--out needs a value, such as --out peptides/train"]),
    ("dataset convert", ["fokker dataset convert: error: name PATHS: fokker dataset convert PATHS"]),
    ("dataset convert x --unit pm", ["--unit: must be 'nm', 'angstrom', 'nm*30' or 'nm/10', not 'pm'"]),
    (
        "dataset inspect . --figure nowhere/x.png",
        ["--figure: nowhere/x.png has to end with .png, in a"],
    ),
    ("dataset inspect . --figure x.pdf", ["--figure: x.pdf has to end with .png"]),
    ("dataset inspect . gone", ["gone does not exist"]),
    ("dataset inspect nowhere", ["fokker dataset inspect: error: PATHS: nowhere does not exist"]),
    ("run mueler-brown", ["preset: unknown 'mueler-brown'", "choose from mueller-brown"]),
    ("run mueller-brown twice", ["unexpected 'twice': see 'fokker run --help'"]),
    ("run mueller-brown --method bot", ["--method: unknown 'bot' (did you mean both?)", "two-for-one"]),
    ("run mueller-brown --recipe papers", ["--recipe: unknown 'papers'", "choose from paper, fokker"]),
    ("run mueller-brown -v", ["unknown option -v", "--help"]),
    ("run mueller-brown --preset x", ["unknown option --preset", "--help"]),
    ("run mueller-brown --seeds 3", ["unknown option --seeds: did you mean --seed?"]),
    # unknown settings
    ("run mueller-brown --train.bach-size 64", ["--train.bach-size: did you mean --train.batch-size?"]),
    ("run mueller-brown --batch-size 64", ["--batch-size: did you mean --train.batch-size?"]),
    ("run mueller-brown --frames 10", ["did you mean --data.frames or --train.frames or --simulate.frames?"]),
    ("run mueller-brown --train 10", ["unknown option --train: did you mean --train.batch-size"]),
    ("run mueller-brown --experts.3.epochs 5", ["--experts.3.epochs", "experts.0 to experts.2"]),
    ("run mueller-brown --experts.1.epochs 5 --method diffusion", ["diffusion has experts.0 only"]),
    ("run mueller-brown --experts.x.epochs 5", ["--experts.x.epochs: did you mean --experts."]),
    # missing, repeated and impossible values
    (
        "run mueller-brown --train.batch-size",
        ["needs a value, such as --train.batch-size 128"],
    ),
    ("run mueller-brown --train.batch-size --seed 3", ["--train.batch-size needs a value"]),
    ("run mueller-brown --train.batch-size= --seed 3", ["--train.batch-size needs a value"]),
    ("run mueller-brown --method", ["--method needs a value"]),
    ("run mueller-brown --seed 1 --seed=2", ["--seed is given twice"]),
    (
        "run mueller-brown --network.precondition --network.no-precondition",
        ["precondition is given twice"],
    ),
    ("run dipeptides --data x --data.path y", ["--data.path is given twice"]),
    ("run mueller-brown --train.batch-size 1 --train.batch_size 1", ["--train.batch-size is given twice"]),
    ("run mueller-brown --train.batch-size x", ["--train.batch-size: must be a whole number, not 'x'"]),
    ("run mueller-brown --train.batch-size 1.5", ["--train.batch-size: must be a whole number, not '1.5'"]),
    ("run mueller-brown --train.batch-size null", ["--train.batch-size: must be a whole number, not 'null'"]),
    (
        "run mueller-brown --cluster.hosts two",
        ["--cluster.hosts: must be 'auto' or a whole number, not 'two'"],
    ),
    ("run mueller-brown --cluster.hosts 1 0", ["--cluster.hosts: must be 'auto' or above 0, not '0'"]),
    ("run mueller-brown --train.batch-size 0", ["--train.batch-size: must be above 0, not '0'"]),
    (
        "run mueller-brown --train.batch-size 200000",
        ["--train.batch-size: 200000 is larger", "--data.frames"],
    ),
    ("run mueller-brown --train.clip nan", ["--train.clip: must be a finite number, not 'nan'"]),
    (
        "run mueller-brown --train.final-learning-rate 1",
        ["--train.final-learning-rate: 1 exceeds --train.learning-rate 0.001"],
    ),
    ("run mueller-brown --train.restart-from-ema so", ["unexpected 'so'"]),
    (
        "run mueller-brown --train.restart-from-ema false",
        ["--train.restart-from-ema takes no value: --train.restart-from-ema or --train.no-restart-from-ema"],
    ),
    ("run mueller-brown --train.restart-from-ema=true", ["--train.restart-from-ema takes no value"]),
    ("run mueller-brown --data.integrator verlet", ["--data.integrator: must be 'langevin' or 'baoab', not"]),
    ("run mueller-brown --simulate.timestep -0.002", ["--simulate.timestep: must be above 0, not '-0.002'"]),
    ("run mueller-brown --simulate.timestep -2e-3", ["--simulate.timestep: must be above 0, not '-2e-3'"]),
    ("run mueller-brown --simulate.frames 100001", ["--simulate.frames: 100001 is not a multiple of chains"]),
    ("run mueller-brown --experts.0.hidden 64 x", ["--experts.0.hidden: must be a whole number, not 'x'"]),
    ("run mueller-brown --experts.0.hidden 64,64", ["not '64,64': values are separated by blanks"]),
    ("run mueller-brown --data.seed -3", ["--data.seed: must be at least 0, not '-3'"]),
    ("run mueller-brown --experts.0.midpoint 0.2", ["--experts.0.midpoint: 0.2 must lie inside"]),
    # intervals
    ("run mueller-brown --experts.0.interval 0", ["--experts.0.interval: must have at least 2 values"]),
    ("run mueller-brown --experts.0.interval 0 .1 .2", ["--experts.0.interval: must have 2 values"]),
    ("run mueller-brown --experts.0.interval .2 .1", ["--experts.0.interval: [0.2, 0.1) is empty"]),
    ("run mueller-brown --experts.0.interval -1 .1", ["--experts.0.interval: must be at least 0, not '-1'"]),
    ("run mueller-brown --experts.0.interval .01 .1", ["--experts.0.interval: must start at 0, not 0.01"]),
    ("run mueller-brown --experts.1.interval .2 .6", ["--experts.1.interval: ", "gap", "0.1", "0.2"]),
    ("run mueller-brown --experts.1.interval .05 .6", ["--experts.1.interval: ", "overlap", "0.05", "0.1"]),
    # where it goes
    ("run mueller-brown --name ''", ["--name needs a value"]),
    ("run mueller-brown --name a/b", ["--name: must be a plain folder name, not 'a/b'"]),
    ("run mueller-brown --name .a", ["--name: must be a plain folder name, not '.a'"]),
    ("run mueller-brown --name ..", ["--name: must be a plain folder name, not '..'"]),
    (f"run mueller-brown --name {'a' * 101}", ["--name: must be a plain folder name", "100"]),
    ("run mueller-brown --runs-dir ''", ["--runs-dir needs a value"]),
    ("train --name ''", ["--name needs a value"]),
    ("train --name none", ["runs/none/config.json does not exist"]),
    # tables
    ("reproduce", ["fokker reproduce: error: name a table: table1, table2, table6, table7"]),
    ("reproduce table9", ["table: unknown 'table9'", "choose from table1, table2, table6, table7"]),
    ("reproduce table6 more", ["unexpected 'more'"]),
    (
        "reproduce table7 --presets alanine",
        ["--presets: unknown 'alanine'", "did you mean alanine-dipeptide"],
    ),
    ("reproduce table7 --presets dipeptides dipeptides", ["--presets: 'dipeptides' is given twice"]),
    ("reproduce table7 --device a99", ["--device: unknown 'a99'"]),
    ("reproduce table7 --seeds 3", ["unknown option --seeds"]),
    ("reproduce table6 --seeds 0", ["--seeds: must be above 0, not '0'"]),
    ("reproduce table6 --seeds many", ["--seeds: must be a whole number, not 'many'"]),
    ("reproduce table6 --seed 3", ["unknown option --seed: did you mean --seeds?"]),
    ("reproduce table6 --method both", ["unknown option --method: did you mean --methods?"]),
    ("reproduce table6 --methods both al", ["--methods: must be 'score', ", "'two-for-one'", "not 'al'"]),
    ("reproduce table6 --methods both both", ["--methods: 'both' is given twice"]),
    ("reproduce table6 --experts.1.epochs 3", ["--experts.1.epochs", "method diffusion has experts.0 only"]),
]


def refusal(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that refuses a command, which must leave the folder as it was."""
    before = sorted(Path().rglob("*"))
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert sorted(Path().rglob("*")) == before
    return err


@pytest.mark.parametrize(("typed", "expected"), ERRORS, ids=[typed[:60] for typed, _ in ERRORS])
def test_errors(typed: str, expected: list[str], capsys: pytest.CaptureFixture[str]):
    line = refusal(["" if word == "''" else word for word in typed.split(" ")], capsys)
    for part in expected:
        assert part in line


def test_an_empty_command_line_names_the_commands(capsys: pytest.CaptureFixture[str]):
    assert "name a command: run, data" in refusal([], capsys)


def test_a_line_break_in_a_value_keeps_the_error_on_one_line(capsys: pytest.CaptureFixture[str]):
    refusal([*RUN, "--seed", "1\n2"], capsys)
    refusal([*RUN, "--se\ned", "1"], capsys)
    refusal([*RUN, "--runs-dir", "a\nb", "--name", "x\ny"], capsys)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--runs-dir", "file"], "--runs-dir file: file is not a folder"),
        (["--runs-dir", "file/below"], "--runs-dir file/below: file is not a folder"),
        (["--runs-dir", ".", "--name", "file"], "--name file: file is not a folder"),
        (["--runs-dir", "dangling"], "--runs-dir dangling: dangling is not a folder"),
    ],
)
def test_a_file_in_the_way(options: list[str], expected: str, capsys: pytest.CaptureFixture[str]):
    Path("file").touch()
    Path("dangling").symlink_to("nowhere")
    assert expected in refusal([*RUN, *options], capsys)


def test_a_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    # Stands for missing rights, which root does not feel, and for a read-only file system.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "--runs-dir deep/runs: . is not writable" in refusal([*RUN, "--runs-dir", "deep/runs"], capsys)


@pytest.mark.parametrize("content", ["{", "[]", '{"preset": "mueller-brown"}'])
def test_a_broken_saved_configuration(content: str, capsys: pytest.CaptureFixture[str]):
    Path("runs/broken").mkdir(parents=True)
    Path("runs/broken/config.json").write_text(content)
    assert "runs/broken/config.json" in refusal(["train", "--name", "broken"], capsys)


@pytest.mark.parametrize("fixed", [("--method", "both"), ("--recipe", "paper")])
def test_saved_settings_keep_their_method_and_recipe(fixed: list[str], capsys: pytest.CaptureFixture[str]):
    save(SAVED, "old")
    assert f"{fixed[0]} needs a preset" in refusal(["train", "--name", "old", *fixed], capsys)


def test_defaults():
    arguments = run(*RUN)
    assert arguments.config == PRESETS["mueller-brown"]("both", "fokker")
    assert arguments.directory == Path("runs/mueller-brown")
    assert not Path("runs").exists()


@pytest.mark.parametrize("command", SUBCOMMANDS)
def test_every_stage_takes_the_arguments_of_run(command: str):
    arguments = run(command, "mueller-brown", "--method", "mixture", "--runs-dir", "a/b", "--name", "c")
    work = COMMANDS[command].work
    assert isinstance(work, partial)
    assert work.args == (command,)
    assert arguments.config == PRESETS["mueller-brown"]("mixture", "fokker")
    assert arguments.directory == Path("a/b/c")


def test_runs_of_different_methods_and_recipes_have_different_names():
    names = {
        run(*RUN, "--method", method, "--recipe", recipe).directory.name
        for method in get_args(Method)
        for recipe in get_args(Recipe)
    }
    assert len(names) == len(get_args(Method)) * len(get_args(Recipe))
    assert {"mueller-brown", "mueller-brown-diffusion", "mueller-brown-both-paper"} & names == {
        "mueller-brown",
        "mueller-brown-diffusion",
    }
    assert "mueller-brown-paper" in names


@pytest.mark.parametrize(
    ("typed", "path", "expected"),
    [
        (["--train.batch-size", "64"], "train.batch_size", 64),
        (["--train.batch_size=64"], "train.batch_size", 64),
        (["--experts.0.epochs", "5"], "experts.0.epochs", 5),
        (["--experts.0.hidden", "64", "32"], "experts.0.hidden", (64, 32)),
        (["--experts.2.hidden", "8"], "experts.2.hidden", (8,)),
        (["--simulate.timestep", "2e-3"], "simulate.timestep", 0.002),
        (["--seed", "3"], "seed", 3),
        (["--objective.consistency-fraction", "0.5"], "objective.consistency_fraction", 0.5),
        (["--cluster.address", "auto"], "cluster.address", "auto"),
        (["--cluster.address", "none"], "cluster.address", None),
        (["--cluster.address", "None"], "cluster.address", None),
        (["--network.no-precondition"], "network.precondition", False),
        (["--train.restart-from-ema"], "train.restart_from_ema", True),
        (["--data.integrator=langevin"], "data.integrator", "langevin"),
    ],
)
def test_overrides(typed: list[str], path: str, expected: object):
    changed = settings(run(*RUN, *typed).config)
    unchanged = settings(run(*RUN).config)
    assert changed[path] == expected
    assert type(changed[path]) is type(expected)
    assert all(changed[other] == unchanged[other] for other in unchanged if other != path)


def test_options_may_come_before_the_preset():
    for seed in (["--seed=3"], ["--seed", "3"]):
        assert run("run", *seed, "mueller-brown").config.seed == 3
    assert run("run", "--name", "dipeptides", "mueller-brown").directory == Path("runs/dipeptides")


def test_intervals_may_move_together():
    moved = run(*RUN, "--experts.0.interval", "0", "0.2", "--experts.1.interval", "0.2", "0.6")
    assert [expert.interval for expert in moved.config.experts] == [(0, 0.2), (0.2, 0.6), (0.6, 1)]


def test_the_saved_configuration_stands_in_for_the_preset():
    save(SAVED, "old")
    arguments = run("train", "--name", "old")
    assert arguments.config == SAVED
    assert arguments.directory == Path("runs/old")


def test_saved_settings_can_be_overridden():
    save(SAVED, "old")
    config = run("simulate", "--name", "old", "--simulate.timestep", "0.001").config
    assert config.simulate.timestep == 0.001
    assert config.train == SAVED.train


def test_reproduce_defaults():
    arguments = reproduce("table6")
    assert (arguments.table, arguments.seeds, arguments.directory) == ("table6", 3, Path("runs/table6"))
    assert [*arguments.configs] == ["diffusion", "mixture", "fokker-planck", "both"]
    for method, config in arguments.configs.items():
        assert config == PRESETS["mueller-brown"](method, "paper")
        assert config.seed == 0


def test_reproduce_overrides_apply_to_every_run():
    arguments = reproduce("table6", "--seeds", "10", "--methods", "two-for-one", "both", "--recipe", "fokker",
                          "--name", "mine", "--experts.0.epochs", "1", "--data.seed", "7")  # fmt: skip
    assert (arguments.seeds, arguments.directory) == (10, Path("runs/mine"))
    assert [*arguments.configs] == ["two-for-one", "both"]
    for config in arguments.configs.values():
        assert (config.recipe, config.experts[0].epochs, config.data.seed) == ("fokker", 1, 7)


def test_a_small_table_is_of_the_small_preset_with_the_users_data():
    arguments = reproduce("table2", "--size", "small", "--data", "peptides", "--recipe", "fokker")
    assert (arguments.seeds, arguments.directory) == (1, Path("runs/table2-fokker-small"))
    assert [*arguments.configs] == ["diffusion", "two-for-one", "mixture", "fokker-planck", "both"]
    for config in arguments.configs.values():
        assert config.preset == "dipeptides-small"
        assert isinstance(config.data, MoleculesConfig)
        assert config.data.path == "peptides"


def test_every_field_is_a_setting():
    paths = set(settings(SAVED))

    def leaves(value: object, path: str = ""):
        if isinstance(value, dict):
            for name, part in value.items():
                yield from leaves(part, f"{path}.{name}".lstrip("."))
        elif isinstance(value, list) and any(isinstance(part, dict) for part in value):
            for index, part in enumerate(value):
                yield from leaves(part, f"{path}.{index}")
        else:
            yield path

    others = {"preset", "method", "recipe", "data.kind", "network.kind", "reference"}
    assert paths == set(leaves(to_dict(SAVED))) - others


def test_data_is_short_for_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    arguments = parse(["run", "dipeptides", "--data", "some/where"])
    assert isinstance(arguments, RunArguments)
    assert isinstance(arguments.config.data, MoleculesConfig)
    assert arguments.config.data.path == "some/where"


def test_the_parser_is_light():
    script = "import sys, fokker.launch.cli; print({'jax', 'ray', 'numpy', 'mdtraj'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
