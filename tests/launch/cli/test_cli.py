"""The command as a user runs it: as a whole, again, stage by stage, stopped in the middle, and wrong."""

import errno
import fcntl
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from ray.exceptions import LocalRayletDiedError, OutOfMemoryError, RayError, RayTaskError, WorkerCrashedError
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fokker.data import files
from fokker.data.dataset.shards import DatasetError
from fokker.data.fence import FencedError
from fokker.data.molecules.residues import MoleculeError
from fokker.distributed.campaigns.pool import PoolError
from fokker.distributed.cluster.joining import ClusterError
from fokker.distributed.runs.config import ConfigError
from fokker.distributed.runs.run import BusyError, StageError
from fokker.launch.cli import failure, main, parse
from fokker.launch.cli.checkpoint import CheckpointArguments
from fokker.launch.cli.model import ExportArguments
from fokker.launch.cli.run import RunArguments
from fokker.launch.cli.values import UsageError

from ...user import SMALL, Result, User

STAGES = ("data", "train", "sample", "simulate", "evaluate", "report")
TIMES = ("timings.json", "attempt.json")
"""Files that another run of the same command may change."""


def state(directory: Path, but: tuple[str, ...] = ()) -> dict[str, tuple[int, str]]:
    """Time of the last change and hash of every file."""
    return {
        str(path.relative_to(directory)): (
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name not in but
    }


def names(directory: Path) -> set[str]:
    """What lies in a run; files of TensorBoard's events have a time and a process in their name."""
    return {path.name for path in directory.iterdir() if "tfevents" not in path.name}


def board(directory: Path) -> EventAccumulator:
    events = EventAccumulator(str(directory))
    events.Reload()
    return events


# A whole run


def test_a_run_leaves_its_settings_and_metrics_for_programs(whole: tuple[Path, Result]):
    config = json.loads((whole[0] / "config.json").read_text())
    assert (config["preset"], config["method"], config["recipe"]) == ("mueller-brown", "both", "fokker")
    assert (config["data"]["frames"], config["experts"][0]["hidden"]) == (2000, [8, 8])
    metrics = json.loads((whole[0] / "metrics.json").read_text())
    for definition in ("paper", "corrected"):
        own = metrics[definition].pop("floor_sim", None)
        assert (own is None) == (definition == "paper")
        between = {kind: metrics[definition].pop(kind) for kind in ("between", "floor_between") if own}
        assert metrics[definition].keys() == {"iid", "sim", "floor"}
        assert all(0 < values["js"] < 0.6931472 for values in between.values())
        for values in metrics[definition].values():
            assert values.keys() == {"js", "pmf"}
            assert 0 < values["js"] < 0.6931472  # ln 2, of sets that share no bin
            assert values["pmf"] > 0
        # Two sets from the true potential are nearer to each other than anything this model makes.
        floor = metrics[definition].pop("floor")
        assert all(floor[name] < values[name] for values in metrics[definition].values() for name in floor)
    assert [metrics[stage]["frames"] for stage in ("sample", "simulate")] == [400, 400]
    assert [metrics[stage]["chains"] for stage in ("sample", "simulate")] == [400, 40]
    assert len(metrics["fokker_planck_error"]) == 3


def test_a_run_leaves_a_report_that_needs_nothing_beside_it(whole: tuple[Path, Result]):
    report = (whole[0] / "report.html").read_text()
    assert set(re.findall(r'(?:src|href)="(.{10})', report)) == {"data:image"}
    assert not re.search(r"<link|<script|@import|url\(", report)
    fingerprint = json.loads((whole[0] / "metrics.json").read_text())["data_fingerprint"]
    for part in (fingerprint, "train.batch_size", "experts.0.hidden", "corrected", "left the physical range"):
        assert part in report
    for package in ("fokker", "jax", "ray"):
        assert f"<td>{package}</td><td>{version(package)}</td>" in report
    for stage in ("data", "train", "sample", "simulate", "evaluate"):
        assert re.search(rf"<td>{stage}</td><td>\d+:\d\d</td>", report)


def test_a_run_leaves_figures(whole: tuple[Path, Result]):
    figures = {path.name: path.read_bytes() for path in (whole[0] / "figures").iterdir()}
    assert figures.keys() == {"free-energy.png", "losses.png", "fokker-planck-error.png"}
    assert all(content.startswith(b"\x89PNG") for content in figures.values())


def test_tensorboard_shows_the_losses_of_every_expert_and_the_free_energy(whole: tuple[Path, Result]):
    for index in range(3):
        tags = board(whole[0] / "experts" / str(index)).Tags()["scalars"]
        assert {"loss/denoising", "loss/consistency", "gradient_norm", "input_wait"} <= {*tags}
    evaluated = board(whole[0] / "evaluate")
    assert evaluated.Tags()["images"] == ["free_energy"]
    metrics = json.loads((whole[0] / "metrics.json").read_text())
    (shown,) = evaluated.Scalars("js_corrected/sim")
    assert shown.value == pytest.approx(metrics["corrected"]["sim"]["js"])


def test_a_run_prints_settings_stages_progress_and_metrics_in_80_columns(whole: tuple[Path, Result]):
    result = whole[1]
    assert result.stderr == ""
    for text in ("Config(", "batch_size=128", "hidden=(8, 8)"):
        assert text in result.stdout
    assert re.findall(r"^(\w+)(?: |$)", result.stdout, re.MULTILINE)[-6:] == [
        *("train", "sample", "simulate", "evaluate"),
        *("whole", "report"),
    ]
    last = r"^  expert 0-0.1  step 1500/1500  loss \S+  term \S+  samples/s \S+  took \d+:\d\d$"
    assert re.search(last, result.stdout, re.MULTILINE)
    assert "segment 40/40  frames 400" in result.stdout
    table = result.stdout.partition("\nwhole\n")[2]
    assert "sim/floor" in table
    assert "…" not in table
    assert max(map(len, result.stdout.splitlines())) <= 80 + len("  left the range 40 of 40")


def test_the_same_command_again_skips_every_stage_and_changes_nothing(whole: tuple[Path, Result], user: User):
    before = state(whole[0], but=TIMES)
    again = user.run("run", "mueller-brown", "--name", "whole", *SMALL)
    assert (again.returncode, again.stderr) == (0, "")
    assert re.findall(r"^(\w+) +skipped", again.stdout, re.MULTILINE) == [*STAGES]
    tables = [
        result.stdout.partition("\nwhole\n")[2].partition("\nreport")[0] for result in (again, whole[1])
    ]
    assert tables[0] == tables[1] != ""
    assert state(whole[0], but=TIMES) == before


# In parts


@pytest.mark.long
def test_stages_one_by_one_and_stopped_in_the_middle_make_the_same_run(
    whole: tuple[Path, Result], user: User, guest: User
):
    """Stopped before Ray is up by a terminal that is closed, in training at a time limit and by Ctrl-C, told
    to leave in the simulation without and with all its group, and gone on with."""
    where = ["--runs-dir", "läufe ü", "--name", "parts"]
    parts = user.home / "läufe ü" / "parts"
    history, segments = parts / "experts" / "0" / "history.jsonl", parts / "simulate" / "1" / "mueller-brown"

    def blocks() -> int:
        return history.read_text().count("\n") if history.exists() else 0

    def carry_out(*words: str) -> None:
        result = guest.run(*words)
        assert (result.returncode, result.stderr) == (0, "")

    def go_on(stopped: Result, command: list[str]) -> None:
        assert (stopped.returncode, stopped.stderr) == (130, "")
        assert "Interrupted; what was done is kept. Go on with:\n" in stopped.stdout
        typed = shlex.split(stopped.stdout.splitlines()[-1])
        assert typed == ["fokker", *command]
        carry_out(*typed[1:])

    data = ["data", "mueller-brown", *where, *SMALL, "--cluster.simulators", "1"]
    go_on(user.stop(data, signal.SIGHUP, when=(parts / "config.json").exists, group=True), data)
    train = ["train", *where]
    interrupted = user.stop(train, signal.SIGTERM, when=lambda: blocks() > 3, group=True)
    assert [*(parts / "experts" / "0" / "checkpoints").glob("[1-9]*")], "the state is saved first"
    begun = blocks()
    interrupted = user.stop(train, signal.SIGINT, when=lambda: blocks() > begun + 3, group=True)
    assert not (parts / "experts" / "0" / "average.npz").exists()
    go_on(interrupted, train)
    carry_out("sample", *where)
    simulate = ["simulate", *where]
    interrupted = guest.stop(simulate, signal.SIGTERM, when=lambda: any(segments.glob("chains-*")))
    done = len([*segments.glob("chains-*")])
    assert 0 < done < 20
    user.stop(simulate, signal.SIGTERM, when=lambda: len([*segments.glob("chains-*")]) > done, group=True)
    assert len([*segments.glob("chains-*")]) < 40
    go_on(interrupted, simulate)
    carry_out("evaluate", *where)
    carry_out("report", *where)
    assert (parts / "metrics.json").read_bytes() == (whole[0] / "metrics.json").read_bytes()
    assert names(parts) == names(whole[0])


def test_a_stage_without_its_predecessor_is_one_line(user: User):
    early = user.run("train", "mueller-brown", "--name", "early")
    assert early.returncode == 1
    assert early.stderr == "fokker: error: train: runs/early/data is not there, run `fokker data` first\n"


# Other settings


def test_other_settings_of_training_are_refused_and_nothing_changes(
    whole: tuple[Path, Result], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(whole[0].parents[1])
    before = state(whole[0])
    assert main(["run", "--name", "whole", "--train.clip", "5", "--sample.samples", "200"]) == 2
    assert capsys.readouterr() == (
        "",
        "fokker: error: train.clip: runs/whole was made with 1000.0, not 5.0: take another --name, "
        "the old value, or go on with the new one by --allow-changed train.clip\n",
    )
    assert state(whole[0]) == before


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["report", "--name", "whole", "--simulate.stride", "100"],
            "simulate.stride: runs/whole was made with 10, not 100, and evaluate and report only read: leave "
            "it out (`fokker simulate` with it adds a result), or name the run alone: --name whole",
        ),
        (
            ["evaluate", "--name", "whole", "--train.clip", "5", "--allow-changed", "train.clip"],
            "train.clip: runs/whole was made with 1000.0, not 5.0, and evaluate and report only read: leave "
            "it out, or name the run alone: --name whole",
        ),
        (
            ["evaluate", "mueller-brown", "--name", "gone"],
            "runs/gone/config.json does not exist: name a run that has started",
        ),
        (
            ["evaluate", "--name", "whole", "--result", "2"],
            "--result: runs/whole has no result 2, only samples 1, simulations 1",
        ),
    ],
)
def test_commands_that_read_refuse_other_settings_and_change_nothing(
    whole: tuple[Path, Result],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    line: str,
):
    monkeypatch.chdir(whole[0].parents[1])
    before = state(whole[0].parent, but=TIMES)
    assert main(words) == 2
    assert capsys.readouterr().err == f"fokker: error: {line}\n"
    assert state(whole[0].parent, but=TIMES) == before


@pytest.mark.long
def test_other_settings_of_sampling_add_a_result_beside_the_old_one(
    whole: tuple[Path, Result], user: User, guest: User
):
    shutil.copytree(whole[0], guest.home / "runs" / "more")
    directory = guest.home / "runs" / "more"
    name, made = ("--name", "more"), ("config.json", "results.json", *TIMES)
    before = state(directory, but=made)

    def carry_out(*words: str) -> str:
        result = guest.run(*words)
        assert (result.returncode, result.stderr) == (0, "")
        return result.stdout

    assert "result 2 of more, beside the others" in carry_out("sample", *name, "--sample.evaluations", "9")
    assert len([*(directory / "sample" / "2" / "mueller-brown").glob("chains-*.npz")]) == 2
    assert before.items() <= state(directory).items()
    stale = guest.run("report", *name)
    assert stale.stderr.endswith(
        "metrics.json is missing or not of samples 2, simulation 1: run `fokker evaluate` first\n"
    )
    assert "samples 2, simulation 1" in carry_out("evaluate", *name)
    carry_out("report", *name)
    metrics, first = (json.loads((d / "metrics.json").read_text()) for d in (directory, whole[0]))
    assert metrics["corrected"]["iid"] != first["corrected"]["iid"]
    assert metrics["corrected"]["sim"] == first["corrected"]["sim"]
    # What was there is there, under the numbers of its results.
    for file in ("metrics.json", "report.html"):
        kept = directory / file.replace(".", "-1-1.")
        assert kept.read_bytes() == (whole[0] / file).read_bytes()
    assert (directory / "figures-1-1" / "free-energy.png").exists()
    assert "samples 2, simulation 1" in (directory / "report.html").read_text()
    carry_out("evaluate", *name, "--result", "1")
    assert json.loads((directory / "metrics.json").read_text()) == first
    assert (directory / "metrics-2-1.json").exists()


@pytest.mark.long
def test_a_longer_simulation_goes_on_from_the_shorter_one(whole: tuple[Path, Result], guest: User):
    shutil.copytree(whole[0], guest.home / "runs" / "longer")
    longer = guest.run("simulate", "--name", "longer", "--simulate.frames", "840", "--simulate.chains", "42")
    assert (longer.returncode, longer.stderr) == (0, "")
    folders = [d / "simulate" / "1" / "mueller-brown" for d in (guest.home / "runs" / "longer", whole[0])]
    for path in folders[1].glob("chains-*.npz"):
        assert (folders[0] / path.name).read_bytes() == path.read_bytes()
    pieces = [
        folders[0] / f"chains-{first:06d}-0002-steps-0000010100-0000010200.npz" for first in range(0, 40, 2)
    ]
    assert [np.load(path)["trajectories"].shape for path in pieces] == [(2, 10, 2)] * 20
    assert (folders[0] / "chains-000040-0002-steps-0000010000-0000010200.npz").exists()
    again = guest.run("simulate", "--name", "longer", "--simulate.frames", "400", "--simulate.chains", "40")
    assert "skipped: 62 segments are there" in again.stdout


# What is damaged


@pytest.mark.parametrize(
    "name",
    [
        *("metrics.json", "timings.json", "experts/1/average.npz", "data/manifest.json"),
        *(
            "sample/1/mueller-brown/chains-000200-0200-steps-0000000000-0000000010.npz",
            "simulate/1/mueller-brown/chains-000006-0002-steps-0000010000-0000010100.npz",
        ),
    ],
)
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short"])
def test_a_result_that_is_damaged_is_one_line(
    whole: tuple[Path, Result],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
    content: bytes,
):
    shutil.copytree(whole[0], tmp_path / "runs" / "damaged")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "damaged" / "report.html").unlink()
    path = Path("runs/damaged") / name
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_bytes(content)
    os.utime(path, ns=times)
    assert main(["report", "--name", "damaged"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("fokker: error: ")
    assert err.count("\n") == 1
    assert name in err
    assert not (tmp_path / "runs" / "damaged" / "report.html").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_saved_settings_that_are_damaged_are_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str
):
    monkeypatch.chdir(tmp_path)
    Path("runs/mine").mkdir(parents=True)
    Path("runs/mine/config.json").write_text(content)
    assert main(["report", "--name", "mine"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "runs/mine/config.json" in err


def test_a_history_of_losses_that_is_gone_costs_its_figure_alone(whole: tuple[Path, Result], tmp_path: Path):
    run = tmp_path / "runs" / "mine"
    shutil.copytree(whole[0], run)
    for path in run.glob("experts/*/history.jsonl"):
        path.write_text("")
    (run / "report.html").unlink()
    (run / "figures" / "losses.png").unlink()
    assert main(["report", "--name", "mine", "--runs-dir", str(run.parent)]) == 0
    assert not (run / "figures" / "losses.png").exists()
    assert "<td>unknown</td>" in (run / "report.html").read_text()


# Places


def test_a_disk_without_room_for_the_report_is_one_line_and_keeps_the_old_one(
    whole: tuple[Path, Result], capsys: pytest.CaptureFixture[str], small_disk: Path
):
    run = small_disk / "mine"
    run.mkdir()
    for path in whole[0].iterdir():
        if path.name not in ("report.html", "figures", ".lock"):
            (run / path.name).symlink_to(path)
    shutil.copy(whole[0] / "report.html", run)
    os.utime(run / "report.html", ns=(0, 0))
    before = (run / "report.html").read_bytes()
    with suppress(OSError), open(small_disk / "filling", "wb", buffering=0) as filling:
        while True:
            filling.write(bytes(4096))
    assert main(["report", "--name", "mine", "--runs-dir", str(small_disk)]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"fokker: error: {run}")
    assert err.endswith("nothing is half-written; free some space, or choose another place, and go on\n")
    assert err.count("\n") == 1
    assert (run / "report.html").read_bytes() == before
    assert not [*run.rglob(".partial*")]


def test_a_read_only_place_is_refused_though_root_could_write_it(
    read_only: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["run", "mueller-brown", "--runs-dir", str(read_only)]) == 2
    assert "is not writable; choose another place\n" in capsys.readouterr().err


def test_errors_of_the_disk_in_any_process_and_library_are_one_line(capsys: pytest.CaptureFixture[str]):
    full = OSError(errno.ENOSPC, "No space left on device", "/data/x.npy")
    task = RayTaskError("convert", "traceback", files.file_error(Path("/data/y"), full))
    for error, path in ((full, "/data/x.npy"), (task, "/data/y")):
        assert failure(error) == 1
        assert capsys.readouterr().err == (
            f"fokker: error: {path} cannot be written: no space left on device: nothing is half-written; "
            "free some space, or choose another place, and go on\n"
        )
    with pytest.raises(FileNotFoundError):
        failure(FileNotFoundError(errno.ENOENT, "a bug"))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        *((BusyError, 1), (StageError, 1), (DatasetError, 1), (MoleculeError, 1), (FencedError, 1)),
        *((files.FileError, 1), (ClusterError, 1), (PoolError, 1), (ConfigError, 2), (UsageError, 2)),
    ],
)
def test_every_error_of_the_user_is_one_line_with_its_status(
    error: type[Exception], status: int, capsys: pytest.CaptureFixture[str]
):
    """Also where a task of Ray raised it; all else is a mistake of ours, and is shown whole."""
    for found in (error("it is so"), RayTaskError("convert", "traceback", error("it is so"))):
        assert failure(found) == status
        assert capsys.readouterr() == ("", "fokker: error: it is so\n")
    with pytest.raises(ZeroDivisionError):
        failure(ZeroDivisionError("a bug"))


@pytest.mark.parametrize(
    "error", [LocalRayletDiedError(), WorkerCrashedError(), OutOfMemoryError("of node 1")]
)
def test_what_ray_has_lost_is_one_line(error: RayError, capsys: pytest.CaptureFixture[str]):
    assert failure(error) == 1
    err = capsys.readouterr().err
    assert err.startswith("fokker: error: Ray lost what the work was done by (")
    assert err.endswith("what was finished is kept, and the same command goes on\n")
    assert err.count("\n") == 1


def test_home_is_where_the_user_says_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for words in (
        ["run", "mueller-brown", "--runs-dir=~/läufe ü"],
        ["plan", "mueller-brown", "--runs-dir=~/läufe ü"],
    ):
        arguments = parse(words)
        assert isinstance(arguments, RunArguments)
        assert arguments.directory == tmp_path / "läufe ü" / "mueller-brown"
    (tmp_path / "mine").mkdir()
    assert parse(["checkpoint", "list", "~/mine"]) == CheckpointArguments(tmp_path / "mine")
    exported = parse(["model", "export", "~/mine", "~/model.safetensors"])
    assert exported == ExportArguments(tmp_path / "mine", tmp_path / "model.safetensors")


def test_an_export_replaces_nothing_without_being_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    Path("model").touch()
    assert main(["model", "export", "mine", "model"]) == 2
    assert capsys.readouterr().err == (
        "fokker model export: error: model exists: take another name, or --force to replace it\n"
    )
    for words in (["--force", "mine", "model"], ["mine", "--force", "model"], ["mine", "model", "--force"]):
        assert parse(["model", "export", *words]) == ExportArguments(Path("mine"), Path("model"), force=True)


@pytest.mark.parametrize(
    "words",
    [
        *(["model", "export", "mine", "x" * 256], ["plan", "mueller-brown", "--json", "x" * 256 + ".json"]),
        *(["checkpoint", "list", "x" * 256], ["run", "mueller-brown", "--runs-dir", "x" * 256]),
        *(["run", "mueller-brown", "--name", "字" * 100], ["checkpoint", "list", "mine"]),
    ],
)
def test_names_that_are_too_long_and_runs_without_experts_are_one_line(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    Path("mine").mkdir()
    assert main(words) in (1, 2)
    err = capsys.readouterr().err
    assert (err.count("\n"), "error: " in err) == (1, True)
    assert os.listdir(tmp_path) == ["mine"]


def test_an_accelerator_that_is_not_there_is_one_line(user: User, tmp_path: Path):
    """Of the process itself; workers on CPUs, and what only reads or writes, do not ask for one."""
    model = tmp_path / "model.safetensors"
    model.touch()
    wanted = replace(user, home=tmp_path, environment=user.environment | {"JAX_PLATFORMS": "cuda"})
    refused = wanted.run("model", "sample", "model.safetensors", "--sequence", "AC")
    assert refused.returncode == 2
    assert refused.stderr.startswith("fokker: error: JAX_PLATFORMS=cuda: JAX finds no such device here")
    assert refused.stderr.count("\n") == 1


def test_a_run_at_which_another_process_works_is_refused(
    whole: tuple[Path, Result], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(whole[0].parents[1])
    before = state(whole[0])
    with open(whole[0] / ".lock") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert main(["run", "--name", "whole"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("fokker: error: runs/whole: another fokker is at work on it;")
    assert err.count("\n") == 1
    assert state(whole[0]) == before


@pytest.mark.parametrize(
    "place", [("--runs-dir", "file"), ("--runs-dir", "file/runs"), ("--runs-dir", ".", "--name", "file")]
)
def test_a_file_in_the_way_is_refused_before_anything_is_created(
    place: tuple[str, ...], tmp_path: Path, environment: dict[str, str]
):
    (tmp_path / "file").touch()
    refused = User(tmp_path, environment).run("run", "mueller-brown", *place)
    assert refused.returncode == 2
    assert refused.stderr.endswith("file is not a folder; choose another place\n")
    assert refused.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == ["file"]
