"""A run takes from its data what they decide, unless that was typed."""

from dataclasses import replace
from pathlib import Path

import pytest

from fokker.distributed.runs import settling
from fokker.distributed.runs.config import Config, ConfigError
from fokker.launch.cli import main

from .test_checks import SMALL, dataset, run_on


def settled(config: Config, data: Path, *given: str) -> float:
    return settling.settled(config, data, given)[0].data.temperature


@pytest.mark.parametrize("known", [350.0, 300.0, None])
def test_a_run_takes_the_temperature_that_its_data_are_known_to_have(tmp_path: Path, known: float | None):
    dataset(tmp_path / "made", {"AC": "train"}, temperature=known)
    config = run_on(tmp_path / "made", tmp_path / "run").config
    assert settled(config, tmp_path / "run" / "data") == (known or 300)
    # And from its own copy, when the data have gone.
    (tmp_path / "made").rename(tmp_path / "copy")
    assert settled(config, tmp_path / "copy") == (known or 300)


@pytest.mark.parametrize(
    ("splits", "given", "judged"),
    [
        (["train"], (), "train"),
        (["train"], ("data.evaluate",), "test"),
        (["train", "test"], (), "test"),
        (["train", "validation"], (), "test"),
    ],
)
def test_data_without_another_split_are_judged_on_what_is_trained_on(
    tmp_path: Path, splits: list[str], given: tuple[str, ...], judged: str
):
    dataset(tmp_path / "made", dict(zip(["AC", "GA"], splits, strict=False)))
    config = run_on(tmp_path / "made", tmp_path / "run", evaluate="test").config
    found, notes = settling.settled(config, tmp_path / "run" / "data", given)
    assert found.data.evaluate == judged
    assert len(notes) == (judged == "train")


def test_another_temperature_than_that_of_the_data_is_refused(tmp_path: Path):
    dataset(tmp_path / "made", {"AC": "train"}, temperature=350.0)
    config = run_on(tmp_path / "made", tmp_path / "run", temperature=310.0).config
    with pytest.raises(ConfigError, match=r"310 K is asked for, and .*made is known to be of 350 K"):
        settled(config, tmp_path / "run" / "data", "data.temperature")


def test_a_temperature_that_was_asked_for_holds_where_the_data_do_not_tell(tmp_path: Path):
    dataset(tmp_path / "made", {"AC": "train"})
    config = run_on(tmp_path / "made", tmp_path / "run", temperature=310.0).config
    assert settled(config, tmp_path / "run" / "data", "data.temperature") == 310


def test_temperature_of_a_reference_that_is_given_and_not_made_is_no_contradiction(tmp_path: Path):
    assert SMALL.reference is not None
    replace(SMALL, data=replace(SMALL.data, path="somewhere", temperature=350.0))
    with pytest.raises(ValueError, match=r"reference\.temperature 300 is not that of the data"):
        replace(SMALL, data=replace(SMALL.data, temperature=350.0))


def test_the_command_refuses_it_in_one_line_and_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    dataset(tmp_path / "made", {"AC": "train"}, temperature=350.0)
    words = ["run", "alanine-dipeptide-small", "--data", "made", "--data.temperature", "300"]
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(
        "fokker: error: data.temperature: 300 K is asked for, and made is known to be of 350"
    )
    assert not (tmp_path / "runs").exists()
