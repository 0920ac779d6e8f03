"""`fokker deploy render`: the job of one run as Kubernetes takes it, sized by the run's plan."""

from dataclasses import replace
from math import ceil

from rich.console import Console

from ..distributed.cluster.devices import DEVICES
from ..distributed.planning import calibration
from ..distributed.planning.plan import Cluster, TrainingPlan
from ..distributed.planning.sizes import UnknownSizes, sizes
from ..distributed.runs.config import ConfigError
from ..distributed.runs.display import Display, clock, size
from . import backend
from .cli.deploy import SIMULATOR_HOSTS, Deployment, RunDeployment, manifests
from .plan import planned, summary
from .targets import GIB


def carry_out(arguments: Deployment) -> None:
    """Print the manifests, and on stderr what the job will take.

    Raises ConfigError, before anything is printed, for what cannot run on such a cluster.
    """
    asked, display = arguments.asked, Display(Console(stderr=True, highlight=False))
    if isinstance(arguments, RunDeployment) and arguments.command == "run":
        least = most = count = _experts(arguments, display)
    else:  # One from the start, as the driver asks for a device when it begins; more as they are used.
        least, most = 1, asked.hosts or SIMULATOR_HOSTS
        count = f"1 to {most}"
    display.stage("workers", f"{count} of {_described(arguments)}")
    print(manifests(arguments, least, most), end="")


def _experts(arguments: RunDeployment, display: Display) -> int:
    """Workers, as many as all groups of experts fill."""
    config, places = arguments.run.config, _places(arguments)
    hosts = arguments.asked.hosts or ceil(sum(config.hosts or [1] * len(config.experts)) / places)
    plan = _plan(arguments, hosts * places, display)
    if plan is None:
        return hosts
    _require(plan, arguments)
    for name, text in summary(plan):
        display.stage(name, text)
    needed = ceil(sum(expert.hosts for expert in plan.experts) / places)
    if needed < hosts:
        display.stage("note", f"{needed} of {hosts} workers: groups of experts have no use for more")
    return min(hosts, needed)


def _places(arguments: RunDeployment) -> int:
    """How many processes of experts a worker has room for. ConfigError if there is none for even one."""
    pod, devices = arguments.pod, arguments.run.config.cluster.devices_per_host
    if pod.gpus:
        return 1
    if devices > pod.cpus:
        raise ConfigError(
            f"{devices} is more than the {pod.cpus} CPUs of a worker", "cluster.devices_per_host"
        )
    return pod.cpus // devices


def _plan(arguments: RunDeployment, hosts: int, display: Display) -> TrainingPlan | None:
    """None, and a note, where nothing here tells how large the data are."""
    config = arguments.run.config
    backend.on_cpu()
    try:
        data = sizes(config, arguments.run.directory, arguments.asked.frames, arguments.asked.beads)
    except UnknownSizes as error:
        display.stage("note", f"neither time nor memory is planned: {error}")
        return None
    if arguments.machine is not None:
        device = DEVICES[arguments.machine.device]
    else:
        device = replace(calibration.this_machine(), memory=arguments.pod.memory * GIB / arguments.pod.cpus)
    return planned(config, data, Cluster(hosts, config.cluster.devices_per_host, device))


def _require(plan: TrainingPlan, arguments: RunDeployment) -> None:
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
