"""`fokker clean` lists, asks, and alone removes."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from fokker.data.files import write_json
from fokker.distributed.runs.config import ConfigError
from fokker.distributed.runs.display import Display
from fokker.distributed.runs.results import Origin, Results
from fokker.distributed.runs.run import BusyError, locked
from fokker.launch.cli import clean, main, parse
from fokker.launch.cli.clean import CleanArguments
from fokker.model.config import SampleConfig

SAMPLE = SampleConfig(samples=200, chunk=100)
ORIGIN = Origin("model", "data", 0, "train")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """With two results of samples."""
    directory = tmp_path / "runs" / "mine"
    results = Results(directory / "sample", SampleConfig)
    for evaluations in (5, 6):
        result = results.ask(replace(SAMPLE, evaluations=evaluations), ORIGIN)
        folder = results.folder(result) / "toy"
        folder.mkdir(parents=True)
        (folder / "chunk-00000.npz").write_bytes(b"x" * 1000 * evaluations)
    (directory / "experts" / "0").mkdir(parents=True)
    (directory / "experts" / "0" / "average.npz").touch()
    write_json(directory / "config.json", {})
    return directory


def removal(run: Path, *only: str) -> CleanArguments:
    return CleanArguments(name=run.name, runs_dir=run.parent, only=only, yes=True)


def carry_out(arguments: CleanArguments) -> str:
    display = Display(Console(file=io.StringIO(), width=80))
    clean.carry_out(arguments, display)
    assert isinstance(display.console.file, io.StringIO)
    return display.console.file.getvalue()


def test_without_a_yes_it_lists_and_removes_nothing(run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))  # No terminal, whatever stands there.
    before = sorted(run.rglob("*"))
    with pytest.raises(ConfigError, match=r"all of .*mine, .* would be removed, .* add --yes"):
        carry_out(CleanArguments(name=run.name, runs_dir=run.parent))
    assert sorted(run.rglob("*")) == sorted([*before, run / ".lock", run / "attempt.json"])


@pytest.mark.parametrize(("answer", "gone"), [("y", True), ("yes", True), ("", False), ("n", False)])
def test_a_person_is_asked(run: Path, monkeypatch: pytest.MonkeyPatch, answer: str, gone: bool):
    terminal = io.StringIO(f"{answer}\n")
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", terminal)
    printed = carry_out(CleanArguments(name=run.name, runs_dir=run.parent))
    for part in ("config.json", "experts", "sample/1", "sample/2", "5 kB", "6 kB"):
        assert part in printed
    assert run.exists() != gone


def test_a_result_is_removed_with_its_entry_and_nothing_else(run: Path):
    printed = carry_out(removal(run, "sample/1"))
    assert "removed sample/1 of" in printed
    results = Results(run / "sample", SampleConfig)
    assert [result.number for result in results.all()] == [2]
    assert not (run / "sample" / "1").exists()
    assert (run / "sample" / "2" / "toy" / "chunk-00000.npz").exists()
    assert (run / "experts" / "0" / "average.npz").exists()
    assert results.ask(replace(SAMPLE, evaluations=5), ORIGIN).number == 3


def test_all_results_of_a_kind_are_one_word(run: Path):
    carry_out(removal(run, "sample"))
    assert json.loads((run / "sample" / "results.json").read_text())["results"] == []
    assert not [*(run / "sample").glob("*/toy")]


def test_what_is_not_there_is_named(run: Path):
    with pytest.raises(ConfigError, match=r"no part 'simulate/9', only config\.json, experts, sample/1"):
        carry_out(removal(run, "simulate/9"))


def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigError, match=r"is not the folder of a run: config\.json is missing"):
        carry_out(removal(tmp_path))
    assert (tmp_path / "thesis.tex").exists()


def test_a_run_at_which_another_process_works_is_left_alone(run: Path):
    with locked(run), pytest.raises(BusyError):
        carry_out(removal(run))
    assert (run / "experts").exists()


def test_a_run_is_named_as_other_commands_name_it(run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(run.parents[1])
    wanted = parse(["clean", "--name", "mine", "--yes", "--only", "sample/1", "experts"])
    assert wanted == CleanArguments(name="mine", only=("sample/1", "experts"), yes=True)
    assert wanted.directory == Path("runs/mine")
    preset = parse(["clean", "dipeptides", "--method", "mixture", "--runs-dir", "other"])
    assert preset.directory == Path("other/dipeptides-mixture")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "fokker clean: error: name a preset (mueller-brown, "),
        (["mine"], "fokker clean: error: preset: unknown 'mine' (did you mean --name mine?)"),
        (["--name", "gone"], "fokker: error: runs/gone is not the folder of a run: config.json is missing"),
        (["--name", "mine", "--yess"], "fokker clean: error: unknown option --yess: did you mean --yes?"),
    ],
)
def test_wrong_words_are_one_line(
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    line: str,
):
    monkeypatch.chdir(run.parents[1])
    assert main(["clean", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(line)
