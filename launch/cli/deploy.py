"""`fokker deploy render`: a run, and the Kubernetes cluster that it is rendered for."""

import posixpath
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass as plain
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
import yaml
from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from fokker import __version__

from ...distributed.runs.presets import PRESETS
from ...model.config import STRICT, Count
from .. import templates
from ..targets import TARGETS, Machine, Pod, Target
from . import parsing, run
from .campaign import CampaignName
from .command import Command
from .run import RunArguments
from .values import Choices, HomePath, UsageError, choice, is_option, matching, typed

SHARED = "/shared"
"""Where the volume that every pod sees is mounted."""
HEAD = Pod(cpus=2, memory=8)
IMAGE = "registry.example/fokker:0.1.0"
"""Stands for the user's own, which a kustomization can put in its place."""
SIMULATOR_HOSTS = 4
"""Workers that sample or simulate at most, unless it is said."""
JOB_NAME, LABEL = 47, 63
"""Characters that KubeRay leaves to the name of a job, and Kubernetes to that of a namespace."""
_DNS = "[a-z]([a-z0-9-]*[a-z0-9])?"
_REPOSITORY = r"([\w.-]+(:\d+)?/)?[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*"
_VERSION = r"(:\w[\w.-]{0,127}(@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})"
Image = Annotated[
    str,
    matching(
        _REPOSITORY + _VERSION,
        f"must be a repository with a tag or digest, such as {IMAGE}, the same for every pod",
    ),
]
Namespace = Annotated[
    str, matching(rf"(?=.{{1,{LABEL}}}$){_DNS}", "must be lower-case letters, digits and '-'")
]


def _up_to(most: int):
    return Field(gt=0, le=most)


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Wanted:
    """What a job has of a cluster."""

    target: Annotated[str | None, AfterValidator(Choices(TARGETS))] = None
    """Kind of cluster."""
    machine: str | None = None
    """Type of its GPU nodes (none: the largest of the usual ones)."""
    cpus: Annotated[int, _up_to(1000)] | None = None
    """CPUs of each worker of the target cpu (none: 4)."""
    memory: Annotated[int, _up_to(20_000)] | None = None
    """Memory of each worker of the target cpu in GiB (none: 16)."""
    hosts: Annotated[int, _up_to(1000)] | None = None
    """Workers (none: one an expert), or simulators at most (none: 4)."""
    image: Image = IMAGE
    """Your image; unless it is given, a kustomization has to put it in."""
    namespace: Namespace = "fokker"
    """Namespace of the job."""
    hours: Annotated[int, _up_to(8760)] = 72
    """After which the job is ended, the wait for nodes included."""


@dataclass(frozen=True, config=STRICT, kw_only=True)
class DeployArguments(Wanted, RunArguments):
    """The RayJob of one run for the operator KubeRay, with the policies that protect its pods.

    kubectl apply -f FILE starts what is printed. Paths are those on the cluster's volume, /shared/... Notes
    go to stderr.
    """

    command: Literal["run", "sample", "simulate"] = "run"
    """What the job does: a run, or samples or a simulation on spot nodes."""
    spot: bool = False
    """Put the experts of a run on nodes that the cloud may take back, too."""
    frames: Count | None = None
    """Training frames, where the data are on the volume alone."""
    beads: Count | None = None
    """Beads of the largest molecule, likewise."""
    runs_dir: HomePath = Path(SHARED) / "runs"
    """Folder of all runs, as pods see it; this one lives in it under its name."""


@dataclass(frozen=True, config=STRICT, kw_only=True)
class DeployCampaignArguments(Wanted):
    """The RayJob of one campaign for the operator KubeRay: its actors are on spot nodes, as they are used.

    kubectl apply -f FILE starts what is printed. Paths are those on the cluster's volume, /shared/...
    """

    file: tyro.conf.Positional[Path]
    """YAML file of the campaign, as pods see it: /shared/..."""
    name: CampaignName = None
    """Of its folder in /shared/campaigns, and of the job (none: that of the file)."""


@plain(frozen=True)
class Deployment:
    """One command of a run, and what it is to have of a cluster."""

    asked: Wanted
    command: str
    """What the job does: run, sample, simulate, campaign."""
    folder: Path
    """Where what it makes is, as pods see it."""
    job: str
    """Its name."""
    words: tuple[str, ...]
    """What follows the command in the job."""
    typed: tuple[str, ...]
    """The words of the command line, for the head of the file."""
    target: Target
    machine: Machine | None
    pod: Pod
    """What each worker has."""
    on_spot: bool
    """Whether its workers are asked to be on nodes that the cloud may take back."""

    @property
    def spot(self) -> bool:
        """Whether workers are on nodes that the cloud may take back."""
        return self.on_spot and self.target.spot is not None

    @property
    def role(self) -> str:
        """What its workers are for, by Ray's label fokker-role."""
        return "experts" if self.command == "run" else "simulators"


@plain(frozen=True)
class RunDeployment(Deployment):
    """One command of a run."""

    asked: DeployArguments
    run: RunArguments
    """As its job will see it."""


def read(kind: type[DeployArguments], command: str, argv: Sequence[str], about: str) -> RunDeployment:
    """The run as its job will see it. Raises UsageError."""
    if typed(argv, "--name") and is_option(argv[0]) and not {*PRESETS} & {*argv}:
        raise UsageError("name a preset: what a run has saved lies on the cluster's volume, not here")
    asked = run.read(kind, command, argv, about, writes=False)
    target, machine, pod = _place(asked)
    if asked.spot and target.spot is None:
        raise UsageError(f"--spot: which nodes of {target.name} may be taken back is not known")
    _require_on_the_volume(argv)
    _refuse(target, pod, asked)
    decided = {
        "name": asked.directory.name,
        "runs_dir": f"{SHARED}/runs",
        **_cluster(pod, asked.command, asked.hosts),
    }
    words = (*chain(*asked.words(decided)),)
    this = run.read(RunArguments, command, words, writes=False)
    job = _job(this.directory.name, asked.command)
    place, spot = (target, machine, pod), asked.spot or asked.command != "run"
    said = (*command.split(), *argv)
    return RunDeployment(asked, asked.command, this.directory, job, words, said, *place, spot, this)


def read_campaign(
    kind: type[DeployCampaignArguments], command: str, argv: Sequence[str], about: str
) -> Deployment:
    """The campaign as its job will see it. Raises UsageError."""
    asked = parsing.read(kind, command, argv, about=about)
    place = _place(asked)
    _require_shared("FILE", str(asked.file))
    name = asked.name or asked.file.stem
    decided = _cluster(place[2], "campaign", asked.hosts)
    words = [f"--{path.replace('_', '-')}" for path in decided]
    values = ["" if value is True else str(value) for value in decided.values()]
    settings = [word for both in zip(words, values, strict=True) for word in both if word]
    folder = Path(SHARED) / "campaigns"
    typed_words = ("run", str(asked.file), "--campaigns-dir", str(folder), "--name", name, *settings)
    job, said = _job(name, "campaign"), (*command.split(), *argv)
    return Deployment(asked, "campaign", folder / name, job, typed_words, said, *place, on_spot=True)


def _place(asked: Wanted) -> tuple[Target, Machine | None, Pod]:
    """The cluster, its machines, and what a worker has of one."""
    if asked.target is None:
        raise UsageError(f"name the kind of cluster: --target {', '.join(TARGETS)}")
    target = TARGETS[asked.target]
    return target, *_pod(target, asked)


def _pod(target: Target, asked: Wanted) -> tuple[Machine | None, Pod]:
    """What a worker has, its whole machine or what is asked for, and on which."""
    machines = {machine.name: machine for machine in target.machines}
    if not machines:
        if asked.machine is not None:
            raise UsageError(f"--machine: {target.name} takes nodes of any type: say --cpus and --memory")
        return None, Pod(asked.cpus or 4, asked.memory or 16)
    name = choice("--machine", asked.machine or next(iter(machines)), tuple(machines))
    for option, value in (("--cpus", asked.cpus), ("--memory", asked.memory)):
        if value is not None:
            raise UsageError(f"{option}: a worker has a {name} for itself: choose another --machine")
    return machines[name], machines[name].pod


def _job(run: str, command: str) -> str:
    """The name of the job of a run's command."""
    ending = "" if command == "run" else f"-{command}"
    most = JOB_NAME - len(ending)
    if len(run) > most or not re.fullmatch(_DNS, run):
        raise UsageError(
            f"--name: Kubernetes takes lower-case letters, digits and '-', at most {most} here and the first "
            f"a letter, not {run!r}"
        )
    return run + ending


def _cluster(pod: Pod, command: str, hosts: int | None) -> dict[str, Any]:
    """Settings that say where what computes is to be, by the pods that there will be."""
    found = run.on_devices(pod.gpus) if pod.gpus else {}
    if command == "run":
        return found | {"cluster.train_on": "fokker-role=experts"}
    if command == "campaign":  # Which trains nothing.
        found.pop("cluster.devices_per_host", None)
    return found | {
        "cluster.simulate_on": "fokker-role=simulators",
        "cluster.simulators": (hosts or SIMULATOR_HOSTS) * (pod.gpus or pod.cpus),
        "cluster.autoscaled": True,
    }


def _require_on_the_volume(argv: Sequence[str]) -> None:
    """UsageError unless the files that options name are where pods can see them."""
    for name in ("--data", "--data.path", "--data.topology", "--runs-dir"):
        for place in (typed(argv, name) or SHARED).split(","):
            _require_shared(name, place)


def _require_shared(name: str, place: str) -> None:
    if not f"{posixpath.normpath(place)}/".startswith(f"{SHARED}/"):
        raise UsageError(
            f"{name}: {place} has to be on the volume, as pods see it: {SHARED}/... (how files get there: "
            "docs/cluster.md)"
        )


def _refuse(target: Target, pod: Pod, asked: DeployArguments) -> None:
    """Refuse settings that the cluster decides."""
    for path, value in run.on_devices(pod.gpus).items():
        if path in asked.given and getattr(asked.config.cluster, path.partition(".")[2]) != value:
            option = "--" + path.replace("_", "-")
            raise UsageError(f"{option}: a worker on {target.name} has {value}: leave it out")
    if "cluster.address" in asked.given:
        raise UsageError("--cluster.address: a job knows its own cluster: leave it out")


def manifests(arguments: Deployment, least: int, most: int, instance: str | None = None) -> str:
    """The job as Kubernetes takes it, with so many workers; its cluster bears its name, or another."""
    asked = arguments.asked
    command = shlex.join(["python", "-m", "fokker", arguments.command, *arguments.words])
    return templates.load("job.yaml.jinja").render(
        version=__version__,
        typed=shlex.join(["fokker", *arguments.typed]),
        instance=instance or f"run-{arguments.job}",  # Nothing that stays in a cluster is called so.
        this=arguments,
        asked=asked,
        entrypoint=yaml.safe_dump({"entrypoint": command}, width=100).rstrip(),
        head=HEAD,
        least=least,
        most=most,
    )


def carry_out(arguments: Deployment) -> None:
    """Print the manifests."""
    from .. import deploy  # JAX takes seconds to import.

    deploy.carry_out(arguments)


COMMANDS = {
    "deploy render": Command(
        "print a run as a job that Kubernetes takes", DeployArguments, carry_out, read, shows=False
    ),
    "deploy campaign": Command(
        "print a campaign as a job that Kubernetes takes",
        DeployCampaignArguments,
        carry_out,
        read_campaign,
        shows=False,
    ),
}
