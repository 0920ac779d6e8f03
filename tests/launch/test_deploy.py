"""`fokker deploy render`: what is typed, what is refused before anything is printed, and what is printed."""

import shlex
from pathlib import Path

import pytest
import yaml

from fokker.distributed.runs.config import ConfigError
from fokker.launch import deploy
from fokker.launch.cli import main, parse
from fokker.launch.cli.deploy import IMAGE, Deployment, RunDeployment
from fokker.launch.cli.run import RunArguments
from fokker.launch.cli.values import UsageError
from fokker.launch.targets import TARGETS

from ..user import User

GKE = ("mueller-brown", "--target", "gke-a100")
PEPTIDES = ("dipeptides", "--data", "/shared/data/dipeptides", "--target", "gke-a100")


@pytest.fixture(autouse=True)
def _as_it_is(monkeypatch: pytest.MonkeyPatch):
    """Leave JAX, and the environment, of the process of the tests alone: it computes on CPUs in any case."""
    monkeypatch.setattr(deploy.backend, "on_cpu", lambda: None)


def typed(*words: str) -> RunDeployment:
    arguments = parse(("deploy", "render", *words))
    assert isinstance(arguments, RunDeployment)
    return arguments


def printed(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[list[dict], str, str]:
    """The manifests, the comments above them, and the notes on stderr."""
    deploy.carry_out(typed(*words))
    out, err = capsys.readouterr()
    return [*yaml.safe_load_all(out)], out.partition("---\n")[0], err


def job_of(manifests: list[dict]) -> dict:
    assert [m["kind"] for m in manifests] == [*["NetworkPolicy"] * 2, "PodDisruptionBudget", "RayJob"]
    return manifests[-1]["spec"]


def test_a_run_has_the_settings_of_its_cluster():
    arguments = typed(*GKE, "--name", "wide", "--train.batch-size", "256")
    cluster = arguments.run.config.cluster
    assert (cluster.device, cluster.devices_per_host, cluster.train_on) == ("gpu", 8, "fokker-role=experts")
    assert (arguments.run.config.train.batch_size, arguments.run.directory) == (
        256,
        Path("/shared/runs/wide"),
    )
    assert (arguments.job, arguments.asked.hosts, arguments.asked.hours, arguments.asked.image) == (
        "wide",
        None,
        72,
        IMAGE,
    )
    assert (arguments.asked.namespace, arguments.spot) == ("fokker", False)


def test_what_is_handed_on_is_what_was_typed():
    words = (
        *PEPTIDES,
        "--method",
        "mixture",
        "--seed",
        "3",
        "--profile",
        "5",
        "9",
        "--allow-changed",
        "train.clip",
    )
    arguments = typed(*words, "--hosts", "6", "--hours", "100", "--image", "eu.example/f@sha256:" + "a" * 64)
    again = parse((arguments.asked.command, *arguments.words))
    assert isinstance(again, RunArguments)
    assert (again.config, again.directory) == (arguments.run.config, arguments.run.directory)
    assert again.allowed == ("train.clip",)
    assert arguments.run.directory.name == "dipeptides-mixture"
    assert shlex.join(arguments.typed).startswith("deploy render dipeptides --data /shared/data/dipeptides")


def test_simulators_are_as_many_as_the_nodes_that_there_can_be_have_devices():
    for words, simulators in (((), 32), (("--hosts", "16"), 128), (("--machine", "a2-ultragpu-1g"), 4)):
        arguments = typed(*GKE, "--command", "simulate", *words)
        assert arguments.run.config.cluster.simulators == simulators
        assert arguments.run.config.cluster.simulate_on == "fokker-role=simulators"
        assert arguments.run.config.cluster.autoscaled is True
        assert (arguments.job, arguments.spot) == ("mueller-brown-simulate", True)
    own = typed(*GKE, "--command", "simulate", "--cluster.simulators", "5", "--cluster.simulate-on", "a=b")
    assert (own.run.config.cluster.simulators, own.run.config.cluster.simulate_on) == (5, "a=b")
    cpu = typed("mueller-brown", "--target", "cpu", "--command", "sample", "--cpus", "8", "--hosts", "2")
    assert (cpu.run.config.cluster.simulators, cpu.run.config.cluster.device, cpu.spot) == (16, "cpu", False)


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        ("", ["say what: fokker deploy render"]),
        ("rende mueller-brown", ["unknown 'rende' (did you mean render?)"]),
        ("render", ["name a preset"]),
        ("render --name mine --target cpu", ["name a preset", "on the cluster's volume"]),
        ("render mueller-brown", ["name the kind of cluster: --target cpu, gke-a100, eks-p4d"]),
        (
            "render mueller-brow --target cpu",
            ["preset: unknown 'mueller-brow' (did you mean mueller-brown?)"],
        ),
        ("render mueller-brown --target gke", ["--target: unknown 'gke' (did you mean gke-a100?)"]),
        ("render mueller-brown --target gke-a100 --machine a2-highgpu-3g", ["--machine: unknown"]),
        ("render mueller-brown --target cpu --machine e2", ["--machine: cpu takes nodes of any type"]),
        (
            "render mueller-brown --target eks-p4d --cpus 4",
            ["--cpus: a worker has a p4d.24xlarge for itself"],
        ),
        ("render mueller-brown --target cpu --spot", ["--spot: which nodes of cpu may be taken back"]),
        (
            "render mueller-brown --target cpu --memory 0",
            ["--memory: must be above 0, not '0'"],
        ),
        (
            "render mueller-brown --target cpu --hosts 2000",
            ["--hosts: must be at most 1000, not '2000'"],
        ),
        ("render mueller-brown --target cpu --hours 1e3", ["--hours: must be a whole number", "'1e3'"]),
        ("render mueller-brown --target cpu --hours", ["--hours needs a value"]),
        (
            "render mueller-brown --target cpu --command train",
            ["--command: must be 'run', 'sample' or"],
        ),
        ("render mueller-brown --target cpu --name Wide", ["--name: Kubernetes takes lower-case", "'Wide'"]),
        ("render mueller-brown --target cpu --name a_b", ["--name: Kubernetes takes", "'a_b'"]),
        ("render mueller-brown --target cpu --name 1st", ["the first a letter, not '1st'"]),
        (f"render mueller-brown --target cpu --name {'a' * 48}", ["at most 47 here"]),
        (
            f"render mueller-brown --target cpu --command simulate --name {'a' * 39}",
            ["--name: Kubernetes takes", "at most 38 here"],
        ),
        ("render mueller-brown --target cpu --namespace My", ["--namespace: must be lower-case", "'My'"]),
        ("render mueller-brown --target cpu --image fokker", ["--image: must be a repository with a tag"]),
        ("render mueller-brown --target cpu --image Fokker:1", ["--image: must be a repository"]),
        ("render mueller-brown --target cpu --image a/b:1@sha256:0", ["--image: must be a repository"]),
        ("render mueller-brown --target cpu --runs-dir runs", ["--runs-dir: runs has to be on the volume"]),
        ("render dipeptides --target cpu --data peptides", ["--data: peptides has to be on the volume"]),
        ("render dipeptides --target cpu --data /shared/../etc", ["--data: /shared/../etc has to be on"]),
        ("render dipeptides --target cpu --data /shared/a,~/b", ["--data: ~/b has to be on the volume"]),
        (
            "render dipeptides --target cpu --data /shared/a --data.topology a.pdb",
            ["--data.topology: a.pdb has to be on the volume"],
        ),
        (
            "render mueller-brown --target gke-a100 --cluster.device cpu",
            ["--cluster.device: a worker on gke-a100 has gpu: leave it out"],
        ),
        (
            "render mueller-brown --target eks-p4d --cluster.devices-per-host 4",
            ["--cluster.devices-per-host: a worker on eks-p4d has 8: leave it out"],
        ),
        ("render mueller-brown --target cpu --cluster.device gpu", ["a worker on cpu has cpu"]),
        (
            "render mueller-brown --target cpu --cluster.address auto",
            ["--cluster.address: a job knows its own cluster"],
        ),
        ("render mueller-brown --target cpu --train.batch-siz 4", ["did you mean --train.batch-size?"]),
        ("render mueller-brown --target cpu --host 4", ["did you mean --hosts?"]),
        ("render mueller-brown --target gke-a100 --train.batch-size 100", ["cannot be shared equally"]),
        ("render mueller-brown --target cpu --train.clip -1", ["--train.clip: must be above 0"]),
    ],
)
def test_what_cannot_be_rendered(argv: str, parts: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(("deploy", *argv.split())) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("fokker deploy")
    assert all(part in err for part in parts), err


def test_help_has_the_options_and_the_settings(capsys: pytest.CaptureFixture[str]):
    for words in (["render", "--help"], ["render", "mueller-brown", "--help"]):
        assert main(("deploy", *words)) == 0
        text = capsys.readouterr().out
        assert max(map(len, text.splitlines())) <= 80
        assert text.startswith("usage: fokker deploy render ")
        assert all(f"\n  {name} " in text for name in ("--target", "--machine", "--image"))
        assert "(default: /shared/runs)" in " ".join(text.split())
        assert all(name in text for name in TARGETS)
        assert ("--train.batch-size" in text) == ("mueller-brown" in words)


def test_without_sizes_there_is_a_host_for_each_expert_and_a_note(capsys: pytest.CaptureFixture[str]):
    manifests, comments, notes = printed(*PEPTIDES, capsys=capsys)
    (group,) = job_of(manifests)["rayClusterSpec"]["workerGroupSpecs"]
    assert [group[name] for name in ("replicas", "minReplicas", "maxReplicas", "numOfHosts")] == [3, 3, 3, 1]
    assert "neither time nor memory is planned: how large are the molecules? Give --frames N" in notes
    assert "3 of 92 CPUs, 595 GiB, 8 GPUs on a2-highgpu-8g" in notes
    assert all(line.startswith("#") for line in comments.splitlines())
    assert shlex.join(("fokker", *typed(*PEPTIDES).typed)) in comments
    assert "Spot" not in comments


def test_the_job_carries_out_what_was_asked(capsys: pytest.CaptureFixture[str]):
    words = (*PEPTIDES, "--name", "mine", "--data.beads", "name CA or name CB")
    spec = job_of(printed(*words, capsys=capsys)[0])
    entrypoint = shlex.split(spec["entrypoint"])
    assert entrypoint[:4] == ["python", "-m", "fokker", "run"]
    arguments = parse(entrypoint[3:])
    assert isinstance(arguments, RunArguments)
    assert arguments.config == typed(*words).run.config
    assert (spec["submissionMode"], spec["activeDeadlineSeconds"]) == ("HTTPMode", 72 * 3600)
    assert yaml.safe_load(spec["runtimeEnvYAML"]) == {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "120"}}


@pytest.mark.parametrize(
    ("hosts", "replicas"), [((2,), 6), ((4, 1, 1), 6), ((1, 1, 1), 3)], ids=lambda value: str(value)
)
def test_workers_are_those_of_the_groups(
    hosts: tuple[int, ...], replicas: int, capsys: pytest.CaptureFixture[str]
):
    words = (*PEPTIDES, "--cluster.hosts", *map(str, hosts))
    (group,) = job_of(printed(*words, capsys=capsys)[0])["rayClusterSpec"]["workerGroupSpecs"]
    assert group["replicas"] == replicas


def test_experts_on_cpus_share_workers(capsys: pytest.CaptureFixture[str]):
    cpu = ("dipeptides", "--data", "/shared/data", "--target", "cpu")
    for words, replicas in (
        ((), 1),
        (("--cluster.devices-per-host", "4"), 3),
        (("--cluster.devices-per-host", "4", "--cpus", "8"), 2),
        (("--cluster.hosts", "4", "--cpus", "2"), 6),
    ):
        manifests, _, _ = printed(*cpu, *words, capsys=capsys)
        (group,) = job_of(manifests)["rayClusterSpec"]["workerGroupSpecs"]
        assert group["replicas"] == replicas, words
    with pytest.raises(
        ConfigError, match=r"cluster\.devices_per_host: 8 is more than the 4 CPUs of a worker"
    ):
        printed(*cpu, "--cluster.devices-per-host", "8", capsys=capsys)


def test_simulations_grow_on_nodes_that_may_be_taken_back(capsys: pytest.CaptureFixture[str]):
    manifests, comments, _ = printed(*PEPTIDES, "--command", "simulate", capsys=capsys)
    cluster = job_of(manifests)["rayClusterSpec"]
    (group,) = cluster["workerGroupSpecs"]
    assert cluster["enableInTreeAutoscaling"] is True
    assert (group["labels"], group["minReplicas"], group["maxReplicas"]) == (
        {"fokker-role": "simulators"},
        1,
        4,
    )
    assert group["template"]["spec"]["nodeSelector"]["cloud.google.com/gke-spot"] == "true"
    assert "15 seconds" in comments


def test_experts_on_spot_nodes_are_told_so(capsys: pytest.CaptureFixture[str]):
    for target, label, said in (
        ("gke-a100", ("cloud.google.com/gke-spot", "true"), True),
        ("eks-p4d", ("eks.amazonaws.com/capacityType", "SPOT"), False),
    ):
        words = ("dipeptides", "--data", "/shared/data", "--target", target, "--spot")
        manifests, comments, _ = printed(*words, capsys=capsys)
        (group,) = job_of(manifests)["rayClusterSpec"]["workerGroupSpecs"]
        assert label in group["template"]["spec"]["nodeSelector"].items()
        assert ("15 seconds" in comments) == said


def test_the_command_sizes_a_run_by_its_plan(user: User):
    """Only the manifests go to stdout; hosts that no expert can use are left out."""
    small = [f"--experts.{index}.hidden=8" for index in range(3)]
    words = ("mueller-brown", "--method", "mixture", *small, "--target", "gke-a100", "--hosts", "4")
    result = user.run("deploy", "render", *words)
    assert result.returncode == 0, result.stderr
    manifests = [*yaml.safe_load_all(result.stdout)]
    (group,) = job_of(manifests)["rayClusterSpec"]["workerGroupSpecs"]
    assert group["replicas"] == 4
    assert "on 2 + 1 + 1 hosts" in result.stderr
    assert "fits: " in result.stderr
    assert "--cluster.hosts" not in manifests[-1]["spec"]["entrypoint"]
    assert not (user.home / "runs" / "mueller-brown-mixture").exists()


def test_more_workers_than_can_share_a_batch_are_not_asked_for(capsys: pytest.CaptureFixture[str]):
    """A batch of 512 in groups of four rows has parts for 128 devices."""
    single = ("mueller-brown", "--method", "diffusion", "--experts.0.hidden=8", "--train.batch-size", "512")
    manifests, _, notes = printed(*single, "--target", "gke-a100", "--hosts", "40", capsys=capsys)
    (group,) = job_of(manifests)["rayClusterSpec"]["workerGroupSpecs"]
    assert group["replicas"] == 16
    assert "16 of 40 workers: groups of experts have no use for more" in notes


def test_what_does_not_fit_or_end_is_refused_before_anything_is_printed(capsys: pytest.CaptureFixture[str]):
    single = ("mueller-brown", "--method", "diffusion", "--experts.0.hidden=8")
    slow = ("--experts.0.epochs", "10000000", "--hours", "1", "--target", "gke-a100")
    with pytest.raises(ConfigError, match=r"--hours: the training alone takes \d+:\d\d:\d\d on 1 hosts"):
        printed(*single, *slow, capsys=capsys)
    large = ("--data.frames", "2000000", "--train.batch-size", "2000000", "--target", "cpu", "--memory", "1")
    with pytest.raises(ConfigError, match=r"expert 0-1 needs .* on each device, and cpu has"):
        printed(*single, *large, capsys=capsys)
    assert capsys.readouterr().out == ""


def test_a_campaign_is_a_job_of_simulators_on_spot_nodes():
    words = ("/shared/mine.yaml", "--target", "gke-a100", "--hosts", "6", "--name", "many")
    arguments = parse(["deploy", "campaign", *words])
    assert isinstance(arguments, Deployment)
    assert (arguments.job, arguments.role, arguments.spot) == ("many-campaign", "simulators", True)
    assert str(arguments.folder) == "/shared/campaigns/many"
    asked = dict(zip(arguments.words[2::2], arguments.words[3::2], strict=False))
    assert arguments.words[:2] == ("run", "/shared/mine.yaml")
    assert asked["--cluster.simulate-on"] == "fokker-role=simulators"
    assert int(asked["--cluster.simulators"]) == 6 * arguments.pod.gpus
    for typed, problem in (
        (("mine.yaml", "--target", "cpu"), "FILE: mine.yaml has to be on the volume"),
        (("/shared/mine.yaml",), "name the kind of cluster"),
        (("/shared/my file.yaml", "--target", "cpu"), "Kubernetes takes lower-case letters"),
    ):
        with pytest.raises(UsageError, match=problem):
            parse(["deploy", "campaign", *typed])
