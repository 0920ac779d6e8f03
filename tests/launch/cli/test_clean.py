"""`fokker clean` lists, asks, and alone removes."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from fokker.data.files import write_json
from fokker.launch import clean
from fokker.launch.cli import parse
from fokker.launch.clean import CleanArguments
from fokker.launch.config import ConfigError
from fokker.launch.display import Display
from fokker.launch.results import Origin, Results
from fokker.launch.run import BusyError, locked
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


def carry_out(arguments: CleanArguments) -> str:
    display = Display(Console(file=io.StringIO(), width=80))
    clean.carry_out(arguments, display)
    assert isinstance(display.console.file, io.StringIO)
    return display.console.file.getvalue()


def test_without_a_yes_it_lists_and_removes_nothing(run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))  # No terminal, whatever stands there.
    before = sorted(run.rglob("*"))
    with pytest.raises(ConfigError, match=r"all of .*mine, .* would be removed, .* add --yes"):
        carry_out(CleanArguments(run))
    assert sorted(run.rglob("*")) == sorted([*before, run / ".lock", run / "attempt.json"])


@pytest.mark.parametrize(("answer", "gone"), [("y", True), ("yes", True), ("", False), ("n", False)])
def test_a_person_is_asked(run: Path, monkeypatch: pytest.MonkeyPatch, answer: str, gone: bool):
    terminal = io.StringIO(f"{answer}\n")
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", terminal)
    printed = carry_out(CleanArguments(run))
    for part in ("config.json", "experts", "sample/1", "sample/2", "5 kB", "6 kB"):
        assert part in printed
    assert run.exists() != gone


def test_a_result_is_removed_with_its_entry_and_nothing_else(run: Path):
    printed = carry_out(CleanArguments(run, ("sample/1",), yes=True))
    assert "removed sample/1 of" in printed
    results = Results(run / "sample", SampleConfig)
    assert [result.number for result in results.all()] == [2]
    assert not (run / "sample" / "1").exists()
    assert (run / "sample" / "2" / "toy" / "chunk-00000.npz").exists()
    assert (run / "experts" / "0" / "average.npz").exists()
    assert results.ask(replace(SAMPLE, evaluations=5), ORIGIN).number == 3


def test_all_results_of_a_kind_are_one_word(run: Path):
    carry_out(CleanArguments(run, ("sample",), yes=True))
    assert json.loads((run / "sample" / "results.json").read_text())["results"] == []
    assert not [*(run / "sample").glob("*/toy")]


def test_what_is_not_there_is_named(run: Path):
    with pytest.raises(ConfigError, match=r"no part 'simulate/9', only config\.json, experts, sample/1"):
        carry_out(CleanArguments(run, ("simulate/9",), yes=True))


def test_a_folder_that_is_no_run_is_left_alone(tmp_path: Path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigError, match=r"is not the folder of a run: config\.json is missing"):
        carry_out(CleanArguments(tmp_path, yes=True))
    assert (tmp_path / "thesis.tex").exists()


def test_a_run_at_which_another_process_works_is_left_alone(run: Path):
    with locked(run), pytest.raises(BusyError):
        carry_out(CleanArguments(run, yes=True))
    assert (run / "experts").exists()


def test_a_run_is_named_or_its_folder_given(run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(run.parents[1])
    wanted = CleanArguments(Path("runs/mine"))
    assert parse(["clean", "mine"]) == parse(["clean", "runs/mine"]) == wanted
    assert parse(["clean", "--yes", "mine", "--only", "sample/1,experts"]) == replace(
        wanted, only=("sample/1", "experts"), yes=True
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "name a run: fokker clean NAME"),
        (["gone"], "gone is neither a run in the folder of all runs nor the folder of one"),
        (["mine", "--force"], "unknown option --force: clean has --only, --yes"),
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
    with pytest.raises(SystemExit) as caught:
        parse(["clean", *words])
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"fokker clean: error: {line}")
