"""The command line of `fokker deploy`: a run, and the Kubernetes cluster that it is rendered for."""

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .config import Config
from .manifests import EXPERTS, ROLE, SHARED, SIMULATORS
from .targets import TARGETS, Machine, Pod, Target
from .usage import deploy_help
from .words import Options, UsageError, choice, joined, only, print_and_exit, take, whole

if TYPE_CHECKING:
    from .arguments import RunArguments

RENDERED = ("run", "sample", "simulate")
"""Commands of a run that a job can carry out."""
RUNS = f"{SHARED}/runs"
PATHS = ("--data", "--data.path", "--data.topology")
"""Settings that name files, which pods have to find."""
IMAGE = "registry.example/fokker:0.1.0"
"""Stands for the user's own, which a kustomization can put in its place."""
JOB_NAME, LABEL = 47, 63
"""Characters that KubeRay leaves to the name of a job, and Kubernetes to that of a namespace."""
_DNS = "[a-z]([a-z0-9-]*[a-z0-9])?"
_REPOSITORY = r"([\w.-]+(:\d+)?/)?[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*"
_VERSION = r"(:\w[\w.-]{0,127}(@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})"


@dataclass(frozen=True)
class RenderArguments:
    """One command of a run, and what it is to have of a cluster."""

    config: Config
    directory: Path
    """Of the run, as pods see it."""
    command: str
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
    hosts: int | None
    """Workers, or simulators at most; None: one for each expert."""
    spot: bool
    image: str
    namespace: str
    hours: int
    """After which the job is ended."""
    frames: int | None
    beads: int | None


def deploy(
    words: list[str], options: Options, run: "Callable[[str, list[str], Options], RunArguments]"
) -> RenderArguments:
    """Those of `fokker deploy render`; `run` reads what it shares with the commands of a run.

    Raises UsageError.
    """
    what, *rest = words or [""]
    if "--help" in options and not rest:
        print_and_exit(deploy_help())
    if not what:
        raise UsageError("say what to do: fokker deploy render PRESET --target gke-a100 > rayjob.yaml")
    choice("deploy", what, ("render",))
    if "--help" in options:
        run("deploy", rest, options)
    if only(rest, "preset") is None:
        raise UsageError("name a preset: what a run has saved lies on the cluster's volume, not here")
    typed = ("deploy", *joined(words, options))
    command = choice("--command", take(options, "--command", "run"), RENDERED)
    target = _target(options)
    machine = _machine(target, options)
    pod = _pod(target, machine, options)
    hosts, spot = whole(options, "--hosts", 1000), _spot(target, options) or command != "run"
    image, namespace = _image(options), _namespace(options)
    hours = whole(options, "--hours", 8760) or 72
    frames, beads = whole(options, "--frames", 10**9), whole(options, "--beads", 10**9)
    if command != "run":
        hosts = hosts or 4
    handed_on = _cluster(command, target, pod, hosts) | _on_the_volume(options)
    _refuse(target, pod, options)
    this = run("deploy", rest, dict(handed_on))
    handed_on["--name"] = this.directory.name
    return RenderArguments(
        *(this.config, this.directory, command, _job(this.directory.name, command)),
        *(tuple(joined(rest, handed_on)), typed, target, machine, pod, hosts),
        *(spot and target.spot is not None, image, namespace, hours, frames, beads),
    )


def _target(options: Options) -> Target:
    if "--target" not in options:
        raise UsageError(f"name the kind of cluster: --target {', '.join(TARGETS)}")
    return TARGETS[choice("--target", take(options, "--target", "gke-a100"), tuple(TARGETS))]


def _machine(target: Target, options: Options) -> Machine | None:
    machines = {machine.name: machine for machine in target.machines}
    if "--machine" in options and not machines:
        raise UsageError(f"--machine: {target.name} takes nodes of any type: say --cpus and --memory")
    if not machines:
        return None
    default = next(iter(machines))
    return machines[choice("--machine", take(options, "--machine", default), tuple(machines))]


def _pod(target: Target, machine: Machine | None, options: Options) -> Pod:
    """What a worker has: its whole machine, or what is asked for."""
    if machine is None:
        return Pod(whole(options, "--cpus", 1000) or 4, whole(options, "--memory", 20_000) or 16)
    for name in ("--cpus", "--memory"):
        if name in options:
            raise UsageError(f"{name}: a worker has a {machine.name} for itself: choose another --machine")
    return target.pod(machine)


def _spot(target: Target, options: Options) -> bool:
    if "--spot" not in options:
        return False
    del options["--spot"]
    if target.spot is None:
        raise UsageError(f"--spot: which nodes of {target.name} may be taken back is not known")
    return True


def _image(options: Options) -> str:
    image = take(options, "--image", IMAGE)
    if not re.fullmatch(_REPOSITORY + _VERSION, image, re.ASCII):
        raise UsageError(
            f"--image: must be a repository with a tag or digest, such as {IMAGE}, not {image!r}: every pod "
            "has to get the same"
        )
    return image


def _namespace(options: Options) -> str:
    namespace = take(options, "--namespace", "fokker")
    if len(namespace) > LABEL or not re.fullmatch(_DNS, namespace):
        raise UsageError(f"--namespace: must be lower-case letters, digits and '-', not {namespace!r}")
    return namespace


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


def _cluster(command: str, target: Target, pod: Pod, hosts: int | None) -> Options:
    """Settings that say where what computes is to be, by the pods that there will be."""
    found: Options = {"--runs-dir": RUNS}
    if target.on_gpu:
        found |= {"--cluster.device": "gpu", "--cluster.devices-per-host": str(pod.gpus)}
    if command == "run":
        return found | {"--cluster.train-on": f"{ROLE}={EXPERTS}"}
    simulators = (hosts or 1) * (pod.gpus or pod.cpus)
    return found | {
        "--cluster.simulate-on": f"{ROLE}={SIMULATORS}",
        "--cluster.simulators": str(simulators),
        "--cluster.autoscaled": "true",
    }


def _on_the_volume(options: Options) -> Options:
    """The options, if the files that they name are where pods can see them."""
    for name in (*PATHS, "--runs-dir"):
        for place in (options.get(name) or SHARED).split(","):
            if not f"{posixpath.normpath(place)}/".startswith(f"{SHARED}/"):
                raise UsageError(
                    f"{name}: {place} has to be on the volume, as pods see it: {SHARED}/... (how files get "
                    "there: docs/cluster.md)"
                )
    return options


def _refuse(target: Target, pod: Pod, options: Options) -> None:
    """Refuse settings that the cluster decides."""
    decided = {"--cluster.device": "gpu" if target.on_gpu else "cpu"}
    if target.on_gpu:
        decided["--cluster.devices-per-host"] = str(pod.gpus)
    for name, value in decided.items():
        if options.get(name, value) != value:
            raise UsageError(f"{name}: a worker on {target.name} has {value}: leave it out")
    if "--cluster.address" in options:
        raise UsageError("--cluster.address: a job knows its own cluster: leave it out")
