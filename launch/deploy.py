"""`fokker deploy render`: the job of one run as Kubernetes takes it, sized by the run's plan."""

import shlex
from dataclasses import replace
from math import ceil

import yaml
from rich.console import Console

from fokker import __version__

from ..distributed.cluster.devices import DEVICES, Device
from ..distributed.planning import calibration
from ..distributed.planning.plan import Cluster, TrainingPlan
from ..distributed.planning.sizes import UnknownSizes, sizes
from ..distributed.runs.config import Config, ConfigError
from ..distributed.runs.display import Display, clock, size
from . import backend
from .cli.deploy import SIMULATOR_HOSTS, Deployment
from .manifests import EXPERTS, GRACE_SECONDS, SIMULATORS, Group, Job, Manifest, of_job
from .plan import planned, summary
from .targets import GIB

SPOT_NOTE = f"""\
# Spot nodes of GKE give pods 15 seconds to end, and not the {GRACE_SECONDS} asked for here, unless their pool
# is told otherwise (from GKE 1.35 on). Without that an eviction costs what was done since the last checkpoint
# or chunk of a simulation: keep them frequent and small (--train.checkpoint-every, --simulate.chunk).
"""


class _Dumper(yaml.SafeDumper):
    """Writes what stands at several places at each of them, and texts of several lines as such."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)  # Lists stand further in than their names.


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def carry_out(arguments: Deployment) -> None:
    """Print the manifests, and on stderr what the job will take.

    Raises ConfigError, before anything is printed, for what cannot run on such a cluster.
    """
    asked, display = arguments.asked, Display(Console(stderr=True, highlight=False))
    job = Job(
        arguments.job,
        asked.namespace,
        asked.image,
        asked.command,
        shlex.join(["python", "-m", "fokker", asked.command, *arguments.words]),
        arguments.target,
        _experts(arguments, display) if asked.command == "run" else _simulators(arguments, display),
        3600 * asked.hours,
    )
    print(_head(arguments) + to_yaml(of_job(job)), end="")


def to_yaml(manifests: list[Manifest]) -> str:
    """As documents of one file."""
    return yaml.dump_all(manifests, Dumper=_Dumper, sort_keys=False, width=100, explicit_start=True)


def _simulators(arguments: Deployment, display: Display) -> Group:
    """One from the start, as the driver asks for a device when it begins; more as they are used."""
    most = arguments.asked.hosts or SIMULATOR_HOSTS
    display.stage("workers", f"1 to {most} of {_described(arguments)}")
    return Group(SIMULATORS, 1, most, arguments.pod, arguments.machine, arguments.spot)


def _experts(arguments: Deployment, display: Display) -> Group:
    """As many as all groups of experts fill."""
    config, places = arguments.run.config, _places(arguments)
    hosts = arguments.asked.hosts or ceil(_wanted(config) / places)
    plan = _plan(arguments, hosts * places, display)
    if plan is not None:
        _require(plan, arguments)
        for name, text in summary(plan):
            display.stage(name, text)
        needed = ceil(sum(expert.hosts for expert in plan.experts) / places)
        if needed < hosts:
            display.stage("note", f"{needed} of {hosts} workers: groups of experts have no use for more")
        hosts = min(hosts, needed)
    display.stage("workers", f"{hosts} of {_described(arguments)}")
    return Group(EXPERTS, hosts, hosts, arguments.pod, arguments.machine, arguments.spot)


def _places(arguments: Deployment) -> int:
    """How many processes of experts a worker has room for. ConfigError if there is none for even one."""
    pod, devices = arguments.pod, arguments.run.config.cluster.devices_per_host
    if pod.gpus:
        return 1
    if devices > pod.cpus:
        raise ConfigError(
            f"{devices} is more than the {pod.cpus} CPUs of a worker", "cluster.devices_per_host"
        )
    return pod.cpus // devices


def _wanted(config: Config) -> int:
    """Processes of all experts together."""
    given = config.cluster.hosts
    if not isinstance(given, tuple):
        return len(config.experts)
    return sum(given) * (len(config.experts) if len(given) == 1 else 1)


def _plan(arguments: Deployment, hosts: int, display: Display) -> TrainingPlan | None:
    """None, and a note, where nothing here tells how large the data are."""
    config = arguments.run.config
    backend.on_cpu()
    try:
        data = sizes(config, arguments.run.directory, arguments.asked.frames, arguments.asked.beads)
    except UnknownSizes as error:
        display.stage("note", f"neither time nor memory is planned: {error}")
        return None
    return planned(config, data, Cluster(hosts, config.cluster.devices_per_host, _device(arguments)))


def _device(arguments: Deployment) -> Device:
    if arguments.machine is not None:
        return DEVICES[arguments.machine.device]
    pod, here = arguments.pod, calibration.this_machine()
    return replace(here, memory=pod.memory * GIB / pod.cpus)


def _require(plan: TrainingPlan, arguments: Deployment) -> None:
    """ConfigError unless every expert fits its devices and all can end in time."""
    device = plan.cluster.device
    for expert in plan.experts:
        if not expert.fits:
            raise ConfigError(
                f"expert {expert.name} needs {size(expert.memory)} on each device, and {device.name} has "
                f"{size(device.share * device.memory)} for it: take larger workers, or parts of a batch "
                "(--train.accumulate)"
            )
    if plan.together > 3600 * arguments.asked.hours:
        raise ConfigError(
            f"the training alone takes {clock(plan.together)} on {plan.cluster.hosts} hosts: give it more of "
            "them (--hosts), or more time",
            "--hours",
        )


def _described(arguments: Deployment) -> str:
    """A worker, for people."""
    pod = arguments.pod
    gpus = f", {pod.gpus} GPUs" if pod.gpus else ""
    where = f"on {'spot ' if arguments.spot else ''}{arguments.machine.name}" if arguments.machine else ""
    return f"{pod.cpus} CPUs, {pod.memory} GiB{gpus} {where}".rstrip()


def _head(arguments: Deployment) -> str:
    """Comments that say how the file was made, and what to do with it."""
    job, space = arguments.job, arguments.asked.namespace
    spot = SPOT_NOTE if arguments.spot and arguments.target.name == "gke-a100" else ""
    return f"""\
# Made by fokker {__version__}; what has to be otherwise, overlays patch (docs/cluster.md):
#   {shlex.join(["fokker", *arguments.typed])} > FILE
# Start it, see how it does, and end it or clear it away. What was done is kept in {arguments.run.directory},
# and the same file goes on there:
#   kubectl apply -f FILE
#   kubectl -n {space} get rayjob {job} --watch
#   kubectl delete -f FILE
{spot}"""
