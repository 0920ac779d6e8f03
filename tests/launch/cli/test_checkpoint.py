"""`fokker checkpoint` says what a run could go on from."""

import os
from pathlib import Path

import jax.numpy as jnp
import pytest

from fokker.distributed.training.checkpoints import Checkpoints, Origin
from fokker.distributed.training.step import TrainState
from fokker.launch.cli import main


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With two checkpoints of one expert, one that is being written, and one that was put aside."""
    monkeypatch.setenv("COLUMNS", "200")
    directory = tmp_path / "run" / "experts" / "0" / "checkpoints"
    checkpoints = Checkpoints(directory, Origin("data", hosts=2, devices=8))
    for step in (240, 480):
        kernel = {"kernel": jnp.full(7, step, jnp.float32)}
        checkpoints.save(TrainState(jnp.asarray(step, jnp.int32), kernel, kernel, (jnp.zeros(2),)), 1.0)
    checkpoints.close()
    (directory / "720.orbax-checkpoint-tmp").mkdir()
    (directory / "damaged-100").mkdir()
    return tmp_path / "run"


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines() if line.strip()]


def test_list_shows_step_origin_and_state_and_touches_nothing(run: Path, capsys):
    before = sorted(run.rglob("*"))
    assert main(["checkpoint", "list", str(run)]) == 0
    assert sorted(run.rglob("*")) == before
    _, _, *rows = lines(capsys)
    steps = [row.split()[1] for row in rows]
    assert steps == ["100", "240", "480", "720"]
    assert "damaged, put aside" in rows[0]
    assert "2 x 4" in rows[1]
    assert "kB whole" in rows[2]
    assert "unfinished" in rows[3]


def test_the_table_fits_a_terminal_of_80_columns(run: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["checkpoint", "verify", str(run)]) == 0
    printed = capsys.readouterr()
    assert len([line for line in printed.out.splitlines() if line.strip()]) == 2 + 4
    assert printed.err == ""


def test_verify_reads_them_and_fails_for_one_that_cannot_be_restored(run: Path, capsys):
    assert main(["checkpoint", "verify", str(run)]) == 0
    assert sum("can be restored" in line for line in lines(capsys)) == 2
    state = run / "experts" / "0" / "checkpoints" / "480" / "state"
    for path in state.rglob("*"):
        if path.is_file():
            os.truncate(path, 10)
    assert main(["checkpoint", "verify", str(run)]) == 1
    printed = capsys.readouterr()
    assert "cannot be restored" in printed.out
    assert "1 of 4 cannot be restored, training will skip them" in printed.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["checkpoint"], "say what: fokker checkpoint list|verify"),
        (["checkpoint", "lst", "."], "fokker checkpoint: error: unknown 'lst' (did you mean list?)"),
        (["checkpoint", "list"], "name RUN: fokker checkpoint list RUN"),
        (["checkpoint", "list", "nowhere"], "nowhere is not the folder of a run"),
    ],
)
def test_wrong_words_are_named(words: list[str], message: str, capsys):
    assert main(words) == 2
    assert message in capsys.readouterr().err


def test_a_run_without_checkpoints_says_so(tmp_path: Path, capsys):
    assert main(["checkpoint", "list", str(tmp_path)]) == 1
    assert "has no checkpoints" in capsys.readouterr().err
