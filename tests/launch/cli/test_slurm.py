"""`fokker slurm render`: what is asked of Slurm, what the run is told, and a script without a fault in it."""

import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fokker.distributed.runs.config import save
from fokker.distributed.runs.presets import PRESETS
from fokker.launch.cli import main, parse
from fokker.launch.cli.run import RunArguments
from fokker.launch.cli.slurm import Script, WaitArguments, script

ROOT = Path(__file__).parents[3]
SHELLCHECK = Path(sys.executable).with_name("shellcheck")
EXAMPLE = ("alanine-dipeptide", "--data", "trajectories", "--nodes", "4", "--gpus-per-node", "4")
"""What docs/job.sbatch is made of."""


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)


def render(*words: str) -> Script:
    arguments = parse(["slurm", "render", *words])
    assert isinstance(arguments, Script)
    return arguments


def asked(text: str) -> dict[str, str]:
    """Options of sbatch in a script."""
    return dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(.*))?$", text, re.MULTILINE))


def carried_out(arguments: Script) -> RunArguments:
    """What the job's own command line is taken for."""
    run = parse([word for words in arguments.command for word in words])
    assert isinstance(run, RunArguments)
    return run


def test_defaults_are_a_day_on_one_node_without_gpus():
    arguments = render("mueller-brown")
    assert asked(script(arguments)) == {
        "job-name": "mueller-brown",
        "nodes": "1",
        "ntasks-per-node": "1",
        "cpus-per-task": "8",
        "time": "24:00:00",
        "output": "%x-%j.out",
        "open-mode": "append",
        "requeue": "",
        "signal": "B:TERM@120",
    }
    assert carried_out(arguments).config == PRESETS["mueller-brown"]("both", "fokker")


def test_everything_that_is_typed_is_asked_for():
    words = (
        *("--nodes", "3", "--gpus-per-node", "a100:4", "--cpus-per-task", "48", "--mem", "200G"),
        *("--time", "2-12:30", "--partition", "gpu,long", "--account", "chem-7", "--name", "mine"),
    )
    expected = {
        **{"job-name": "mine", "nodes": "3", "gpus-per-node": "a100:4", "cpus-per-task": "48"},
        **{"mem": "200G", "time": "2-12:30", "partition": "gpu,long", "account": "chem-7"},
    }
    assert asked(script(render("mueller-brown", *words))).items() >= expected.items()


@pytest.mark.parametrize("time", ["5", "300", "05:00", "1:00:00", "1-0", "1-00:30", "7-00:00:00"])
def test_every_way_in_which_slurm_writes_a_time_is_taken(time: str):
    assert asked(script(render("mueller-brown", "--time", time)))["time"] == time


@pytest.mark.parametrize(
    ("words", "gpus", "cpus", "devices"),
    [
        ([], "", 8, ("cpu", 1)),
        (["--gpus-per-node", "0"], "", 8, ("cpu", 1)),
        (["--gpus-per-node", "4"], "4", 32, ("gpu", 4)),
        (["--gpus-per-node", "h100:2", "--cpus-per-task", "5"], "h100:2", 5, ("gpu", 2)),
        (["--gpus-per-node", "4", "--cluster.devices-per-host", "2"], "4", 32, ("gpu", 2)),
        (["--cluster.device", "gpu", "--cluster.devices-per-host", "2"], "2", 16, ("gpu", 2)),
    ],
)
def test_the_run_is_told_of_the_devices(words: list[str], gpus: str, cpus: int, devices: tuple[str, int]):
    arguments = render("mueller-brown", *words)
    assert (arguments.job.gpus_per_node or "", arguments.job.cpus_per_task) == (gpus, cpus)
    cluster = carried_out(arguments).config.cluster
    assert (cluster.device, cluster.devices_per_host) == devices


@pytest.mark.parametrize(
    ("words", "nodes"),
    [
        (["--cluster.hosts", "2"], 2),
        (["--cluster.hosts", "2", "1", "1"], 2),
        (["--cluster.hosts", "2", "--gpus-per-node", "4"], 6),
        (["--cluster.hosts", "2", "1", "1", "--gpus-per-node", "4"], 4),
        (["--cluster.hosts", "2", "1", "1", "--gpus-per-node", "4", "--cluster.devices-per-host", "2"], 2),
        (["--cluster.hosts", "4", "--gpus-per-node", "4", "--cluster.devices-per-host", "1"], 4),
        (["--cluster.hosts", "2", "--nodes", "5"], 5),
    ],
)
def test_there_are_nodes_for_all_groups_at_the_same_time(words: list[str], nodes: int):
    assert render("mueller-brown", *words).job.nodes == nodes


def test_settings_are_handed_on_as_they_were_typed():
    words = (
        "mueller-brown",
        "--method",
        "mixture",
        "--experts.0.hidden",
        "32",
        "32",
        "--name",
        "wide",
        "--runs-dir",
    )
    arguments = render(*words, "my runs")
    run = carried_out(arguments)
    assert run == parse(["run", *words, "my runs", "--cluster.device", "cpu"])
    assert "--runs-dir 'my runs'" in script(arguments)


def test_a_run_that_has_begun_needs_no_preset():
    saved = PRESETS["mueller-brown"]("both", "paper")
    saved = replace(saved, cluster=replace(saved.cluster, device="gpu", devices_per_host=4))
    save(Path("runs/old/config.json"), saved)
    assert carried_out(render("--name", "old")).config == saved
    assert carried_out(render("--name", "old", "--gpus-per-node", "0")).config.cluster.device == "cpu"


def test_nothing_has_to_be_writable_here():
    assert render("mueller-brown", "--runs-dir", "/proc/scratch").places == ("/proc/scratch",)


def test_the_script_is_all_that_is_printed(capsys: pytest.CaptureFixture[str]):
    assert main(["slurm", "render", *EXAMPLE]) == 0
    out, err = capsys.readouterr()
    assert out == script(render(*EXAMPLE))
    assert err.count("\n") == 1
    assert "--nodes=4 --cpus-per-task=32 --time=24:00:00 --gpus-per-node=4" in err


def test_the_example_of_the_documentation_is_what_the_command_prints():
    """If this is meant to change: fokker slurm render …, as its third line says, > docs/job.sbatch."""
    text = (ROOT / "docs" / "job.sbatch").read_text()
    assert shlex.split(text.splitlines()[2].lstrip("# "))[1:] == list(render(*EXAMPLE).typed)
    assert text == script(render(*EXAMPLE))


@pytest.mark.parametrize(
    "words",
    [
        ("mueller-brown",),
        EXAMPLE,
        (*EXAMPLE, "--container", "my image's.sif", "--runs-dir", "/scratch/my runs"),
        ("mueller-brown", "--setup", "module load 'python 3' && export X=1", "--mem", "64G"),
    ],
    ids=["cpus", "gpus", "container", "setup"],
)
def test_shellcheck_finds_no_fault(words: tuple[str, ...], tmp_path: Path):
    (tmp_path / "job.sbatch").write_text(script(render(*words)))
    done = subprocess.run([SHELLCHECK, "job.sbatch"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_all_that_needs_fokker_is_in_the_container():
    data = ("--data", "/scratch/ala", "--runs-dir", "/work/runs")
    text = script(render("dipeptides", *data, "--container", "fokker.sif", "--gpus-per-node", "1"))
    inside = 'apptainer exec --nv --bind "$PWD" --bind /tmp --bind /work/runs --bind /scratch/ala fokker.sif '
    assert {line.strip().partition(inside)[2][:10] for line in text.splitlines() if inside in line} == {
        "ray start ",
        "fokker slu",
        "fokker run",
    }
    assert "--nv" not in script(render("mueller-brown", "--container", "fokker.sif"))


def test_what_a_job_begins_with_comes_before_all_else_but_its_options():
    text = script(render("mueller-brown", "--setup", "module load python"))
    assert text.index("#SBATCH --signal") < text.index("\nmodule load python\n") < text.index("\nset -u\n")


def test_names_of_sockets_keep_their_room():
    longest = "/" + "x" * 20
    assert f"export work={longest}/fokker-$SLURM_JOB_ID\n" in script(
        render("mueller-brown", "--temp-dir", longest)
    )
    # As Ray names them, in the job with the highest number and with the highest number of a process.
    name = f"{longest}/fokker-4294967295/r/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store.1"
    assert len(name) == 107


def test_wait_takes_a_number():
    assert parse(["slurm", "wait", "3"]) == WaitArguments(3)


ERRORS = [
    ("slurm", "say what: fokker slurm render|campaign|wait"),
    ("slurm rendr mueller-brown", "unknown 'rendr' (did you mean render?)"),
    ("slurm wait", "name NODES: fokker slurm wait NODES"),
    ("slurm wait 2 --seconds 3", "unknown option --seconds"),
    ("slurm wait 0", "NODES: must be above 0, not '0'"),
    ("slurm wait 1 2", "unexpected '2'"),
    ("slurm render", "name a preset (mueller-brown, "),
    ("slurm render mueler-brown", "choose from mueller-brown"),
    ("slurm render mueller-brown --nods 2", "unknown option --nods: did you mean --nodes?"),
    ("slurm render mueller-brown --train.bach-size 2", "did you mean --train.batch-size?"),
    ("slurm render mueller-brown --train.batch-size 0", "--train.batch-size: "),
    ("slurm render mueller-brown --nodes 0", "--nodes: must be above 0, not '0'"),
    ("slurm render mueller-brown --nodes", "--nodes needs a value"),
    ("slurm render mueller-brown --nodes 1 --cluster.hosts 2", "--nodes 1: a group has 2 hosts"),
    ("slurm render mueller-brown --cpus-per-task two", "--cpus-per-task: must be a whole number, not 'two'"),
    (
        "slurm render mueller-brown --gpus-per-node two",
        "--gpus-per-node: must be what Slurm would take, such as 4 or a100:4, not 'two'",
    ),
    ("slurm render mueller-brown --gpus-per-node 3", "cannot be shared equally by 1 × 3 devices"),
    (
        "slurm render mueller-brown --gpus-per-node 2 --cluster.device cpu",
        "--cluster.device cpu: does not go",
    ),
    (
        "slurm render mueller-brown --gpus-per-node 0 --cluster.device gpu",
        "--cluster.device gpu: does not go",
    ),
    (
        "slurm render mueller-brown --gpus-per-node 2 --cluster.devices-per-host 4",
        "--cluster.devices-per-host 4",
    ),
    (
        "slurm render mueller-brown --mem 64GB",
        "--mem: must be what Slurm would take, such as 64G, not",
    ),
    (
        "slurm render mueller-brown --time tomorrow",
        "--time: must be MINUTES, HOURS:MINUTES:SECONDS or DAYS-HOURS",
    ),
    ("slurm render mueller-brown --time 1:2:3:4", "--time: must be MINUTES"),
    ("slurm render mueller-brown --time 4:59", "4:59 are 299 seconds, and a job needs 300 at least"),
    (
        "slurm render mueller-brown --partition=a|b",
        "--partition: must be what Slurm would take, such as",
    ),
    ("slurm render mueller-brown --account=", "--account needs a value"),
    ("slurm render mueller-brown --temp-dir scratch", "--temp-dir: must be an absolute path without blanks"),
    ("slurm render mueller-brown --temp-dir /" + "x" * 21, "of at most 21 characters"),
    ("slurm render mueller-brown --setup module'", '--setup: "module\'" is no command: no closing quotation'),
    (
        "slurm render mueller-brown --cluster.address auto",
        "--cluster.address: a job has a Ray cluster of its own",
    ),
    ("slurm render mueller-brown --name a/b", "--name: must be a plain folder name"),
]


@pytest.mark.parametrize(("typed", "expected"), ERRORS, ids=[typed[:60] for typed, _ in ERRORS])
def test_errors_are_one_line_with_nothing_printed(
    typed: str, expected: str, capsys: pytest.CaptureFixture[str]
):
    assert expected in refusal(typed.split(" "), capsys)


@pytest.mark.parametrize("option", ["--partition", "--account", "--mem", "--time", "--temp-dir", "--name"])
@pytest.mark.parametrize("text", ["a b", "a\n#SBATCH --x"])
def test_no_blank_and_no_line_gets_into_what_slurm_reads(
    option: str, text: str, capsys: pytest.CaptureFixture[str]
):
    refusal(["slurm", "render", "mueller-brown", option, text], capsys)


@pytest.mark.parametrize("option", ["--setup", "--container", "--data.frames", "--runs-dir"])
def test_a_value_of_several_lines_is_refused(option: str, capsys: pytest.CaptureFixture[str]):
    assert "line breaks" in refusal(["slurm", "render", "mueller-brown", option, "a\nb"], capsys)


def refusal(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    status = main(argv)
    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("fokker slurm")
    return err


def test_a_campaign_is_a_job_that_carries_it_out(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("models: runs/a\nreplicas: 10\nframes: 5\n")
    words = (
        "mine.yaml",
        "--nodes",
        "2",
        "--gpus-per-node",
        "a100:4",
        "--campaigns-dir",
        "/scratch/campaigns",
    )
    arguments = parse(["slurm", "campaign", *words])
    assert isinstance(arguments, Script)
    text = script(arguments)
    wanted = {"job-name": "mine", "nodes": "2", "gpus-per-node": "a100:4", "cpus-per-task": "32"}
    assert asked(text).items() >= wanted.items()
    command = [word for words in arguments.command for word in words]
    assert command == [
        *("campaign", "run", "mine.yaml", "--campaigns-dir", "/scratch/campaigns"),
        *("--cluster.device", "gpu"),
    ]
    assert parse(command).cluster.device == "gpu"
    assert "fokker campaign run mine.yaml" in text
    assert "/scratch/campaigns" in arguments.places
