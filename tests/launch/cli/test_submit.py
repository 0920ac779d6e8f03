"""What `fokker submit` refuses; tests/cluster submits for real."""

import socket
from pathlib import Path

import pytest

from fokker.data.files import NAME_BYTES
from fokker.launch.cli import main, parse, submit
from fokker.launch.cli.submit import SubmitArguments

RUN = ("run", "mueller-brown", "--runs-dir", "/shared/runs")


def test_what_is_behind_the_dashes_is_handed_on_as_it_was_typed():
    words = (*RUN, "--name", "mine", "--experts.0.hidden", "8", "8")
    assert parse(["submit", "--", *words]) == SubmitArguments(None, True, words, "mine")


def test_options_before_the_dashes_are_those_of_submit():
    asked = parse(["submit", "--address", "http://head:8265", "--no-wait", "--", *RUN, "--help"])
    assert asked == SubmitArguments("http://head:8265", False, (*RUN, "--help"), "mueller-brown")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("run mueller-brown", "put what is to run behind --: fokker submit -- run mueller-brown"),
        ("--", "put what is to run behind --"),
        ("-- rum mueller-brown", "unknown 'rum' (did you mean run?)"),
        ("-- submit -- run", "a job cannot submit another one"),
        ("--wait --no-wait -- plan mueller-brown", "--no-wait is given twice"),
        ("--no-wait=1 -- plan mueller-brown", "--no-wait takes no value: --wait or --no-wait"),
        ("--adress x -- plan mueller-brown", "unknown option --adress: did you mean --address?"),
        (
            "--address -- plan mueller-brown",
            "--address needs a value",
        ),
        ("-- run mueller-brown", "add --runs-dir, a folder that every host of the cluster sees"),
        ("-- train --name mine", "add --runs-dir, a folder that every host"),
        (
            "-- run mueller-brown --runs-dir runs",
            "--runs-dir: name it in full, as the hosts see it, not",
        ),
        ("-- run dipeptides --runs-dir /r --data peptides", "--data: name it in full"),
    ],
)
def test_what_cannot_be_submitted_is_one_line(typed: str, message: str, capsys: pytest.CaptureFixture[str]):
    assert main(["submit", *typed.split()]) == 2
    error = capsys.readouterr().err
    assert error.startswith("fokker submit: error: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_dashboard_that_does_not_answer_is_one_line(capsys: pytest.CaptureFixture[str]):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    assert main(["submit", "--address", address, "--", *RUN]) == 1
    error = capsys.readouterr().err
    assert f"no Ray cluster at {address} takes the job" in error
    assert "name its dashboard with --address, such as http://127.0.0.1:8265" in error
    assert error.count("\n") == 1


def test_a_name_is_no_longer_than_names_can_be():
    asked = parse(["submit", "--", *RUN, "--name", "x" * 300])
    assert isinstance(asked, SubmitArguments)
    assert len(asked.name) == NAME_BYTES


def test_the_package_that_is_sent_holds_the_package_alone():
    folder = Path(submit.fokker.__file__).parent
    assert folder.name == "fokker"
    assert {"data", "distributed", "launch", "model", "analysis"} <= {path.name for path in folder.iterdir()}
    assert not (folder / "pyproject.toml").exists()
