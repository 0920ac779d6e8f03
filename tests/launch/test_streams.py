"""Standard streams as shells and schedulers hand them over, to a command of its own."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ..user import FOKKER

# What the command does with its streams, without all that it imports otherwise.
SCRIPT = """
import os, sys
from fokker.launch import streams
streams.prepare()
for number in range(int(sys.argv[1])):
    print("p(φ > 0) of läufe, frame", number)
    print("Å", file=sys.stderr)
open("done", "w").write("whole")
os._exit(streams.finish(0))
"""


def shell(command: str, home: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """By a shell, which can close and pipe; `fokker` and `script N` are commands."""
    functions = f'fokker() {{ "{FOKKER}" "$@"; }}; script() {{ "{sys.executable}" "$SCRIPT" "$@"; }}; '
    script = home.with_name(f"{home.name}.py")
    script.write_text(SCRIPT, encoding="utf-8")
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", functions + command],
        cwd=home,
        env={**os.environ, "SCRIPT": str(script), **environment},
        capture_output=True,
        timeout=120,
    )


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "| head -n 1", "2>&1 | true"])
def test_a_stream_that_nobody_reads_does_not_end_the_work(tmp_path: Path, closed: str):
    done = shell(f"script 5000 {closed}", tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "done").read_text() == "whole"
    assert b"Traceback" not in done.stderr


def test_nothing_that_is_printed_goes_into_a_file_that_takes_the_number_of_a_closed_stream(tmp_path: Path):
    script = (
        "import os; from fokker.launch import streams; streams.prepare(); "
        "file = open('data', 'w'); os.write(1, b'printed by a library'); file.write('whole')"
    )
    done = shell(f'"{sys.executable}" -c "{script}" >&- 2>&-', tmp_path)
    assert (done.returncode, (tmp_path / "data").read_text()) == (0, "whole")


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0"},
    ],
)
def test_letters_that_the_encoding_lacks_are_spelled_out(tmp_path: Path, environment: dict[str, str]):
    done = shell("script 1", tmp_path, **environment)
    assert done.returncode == 0
    assert b"p(\\u03c6 > 0) of l" in done.stdout


def test_greek_letters_stay_where_they_can(tmp_path: Path):
    done = shell("script 1", tmp_path, PYTHONIOENCODING="utf-8")
    assert (done.stdout.decode(), done.stderr.decode()) == ("p(φ > 0) of läufe, frame 0\n", "Å\n")


def test_output_that_a_full_disk_lost_is_a_failure_of_one_line_after_the_work(tmp_path: Path):
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full here")
    done = shell("script 1 > /dev/full", tmp_path)
    assert (tmp_path / "done").exists()
    assert (done.returncode, done.stderr.decode()) == (
        1,
        f"Å\nfokker: error: standard output cannot be written: {os.strerror(errno.ENOSPC)}\n",
    )


@pytest.mark.parametrize(
    ("command", "status"),
    [
        *(("fokker --help | head -n 1", 0), ("fokker run mueller-brown --help >&-", 0)),
        *(("fokker --version 2>&-", 0), ("fokker nonsense 2>&-", 2), ("fokker run --name ü >&- 2>&-", 2)),
    ],
)
def test_help_and_errors_need_no_streams(tmp_path: Path, command: str, status: int):
    done = shell(command, tmp_path, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (status, b"")
    assert [*tmp_path.iterdir()] == []


def test_help_and_errors_can_be_printed_in_ascii(tmp_path: Path):
    for command, status in (
        ("fokker run mueller-brown --help", 0),
        ("fokker dataset generate --help", 0),
        ("fokker run mueller-brown --runs-dir φ --nonsense", 2),
    ):
        done = shell(command, tmp_path, LC_ALL="C", PYTHONUTF8="0")
        assert (done.returncode, b"Traceback" in done.stderr) == (status, False)
        (done.stdout + done.stderr).decode("ascii")
