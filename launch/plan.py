"""`fokker plan`: what a training would take on a cluster, from the compiler and the devices' data sheets."""

from dataclasses import asdict
from pathlib import Path

from ..data.files import require_file, write_json
from ..distributed.cluster.devices import DEVICES, Device
from ..distributed.planning import calibration
from ..distributed.planning.plan import CHECKPOINTS, Cluster, ExpertPlan, TrainingPlan, estimate
from ..distributed.planning.prediction import Steps
from ..distributed.planning.sizes import Sizes, sizes
from ..distributed.runs.config import Config, ConfigError
from ..distributed.runs.display import Display, clock, size
from ..distributed.runs.run import Run
from . import backend
from .cli.plan import HERE, PlanArguments

HEADER = ("expert", "weights", "hosts", "memory", "FLOP/step", "ms/step", "steps", "time")


def carry_out(arguments: PlanArguments, display: Display) -> None:
    """Compile, and print the plan; ConfigError if the data's sizes are not known."""
    config, hosts, here = arguments.config, arguments.hosts, arguments.device == HERE
    devices = config.cluster.devices_per_host
    if arguments.json:
        require_file(arguments.json)
    backend.on_cpu()
    data = sizes(config, arguments.directory, arguments.frames, arguments.beads)
    device = calibration.this_machine(devices) if here else DEVICES[arguments.device]
    what = "x".join(map(str, data.shape))
    display.stage(
        "plan",
        f"{config.preset}, {config.method}: {data.frames} frames of {what} ({data.origin}), batches of "
        f"{config.train.batch_size}",
    )
    described = f"{_count(hosts, 'host')} of {_count(devices, 'device')}, each {_described(device)}"
    display.stage("", f"on {described}")
    plan = planned(config, data, Cluster(hosts, devices, device))
    display.table(HEADER, [_row(expert) for expert in plan.experts])
    for name, text in summary(plan):
        display.stage(name, text)
    if arguments.json:
        write_json(arguments.json, to_json(plan, data))
        display.stage("json", str(arguments.json))


def planned(config: Config, data: Sizes, cluster: Cluster) -> TrainingPlan:
    """What a training on such data would take; ConfigError if the cluster has too few hosts."""
    most = max(config.hosts or [1])
    if most > cluster.hosts:
        raise ConfigError(f"{most} is more than --hosts {cluster.hosts}", "cluster.hosts")
    steps = Steps(config.network, config.objective, config.train, data.shape, data.molecules)
    return estimate(Run(config, Path()).jobs, config.cluster.hosts, steps, data.frames, cluster)


def summary(plan: TrainingPlan) -> list[tuple[str, str]]:
    """What the plan says in all: a name and a text for each line."""
    hosts, device, experts = plan.cluster.hosts, plan.cluster.device, plan.experts
    together = f"{clock(plan.together)} all experts at the same time, "
    if plan.waits:
        together += f"in rounds: {plan.waits} of {len(experts)} wait until others leave their hosts"
    else:
        together += f"on {' + '.join(str(expert.hosts) for expert in experts)} hosts"
    each = ", ".join(size(expert.checkpoint) for expert in experts)
    bounds = ", ".join(f"{expert.bound} ({expert.name})" for expert in experts)
    return [
        ("together", together),
        ("in turn", f"{clock(plan.in_turn)} one after another on all hosts ({hosts})"),
        ("hours", f"{plan.device_hours:.3g} {'CPU' if device.name == HERE else 'GPU'}-hours"),
        ("bound by", bounds),
        ("disk", f"{size(plan.checkpoints)}: of each expert at most {CHECKPOINTS} checkpoints ({each})"),
        *(("memory", text) for text in _memory(plan)),
    ]


def _memory(plan: TrainingPlan) -> list[str]:
    """Which experts do not fit their devices, or that all do."""
    device = plan.cluster.device
    room = f"{size(device.share * device.memory)} of {device.name} that JAX can have"
    too_large = [
        f"does not fit: expert {expert.name} needs {size(expert.memory)} on each device, more than the "
        f"{room}; take larger hosts (--devices-per-host), parts of a batch (--train.accumulate), or a "
        "smaller --train.batch-size"
        for expert in plan.experts
        if not expert.fits
    ]
    largest = max(expert.memory for expert in plan.experts)
    return too_large or [f"fits: {size(largest)} on each device at most, of the {room}"]


def to_json(plan: TrainingPlan, data: Sizes) -> dict:
    """All numbers, in seconds, bytes, FLOP and hours."""
    return {
        "device": asdict(plan.cluster.device),
        "hosts": plan.cluster.hosts,
        "devices_per_host": plan.cluster.devices,
        "frames": data.frames,
        "shape": list(data.shape),
        "experts": [asdict(expert) for expert in plan.experts],
        "together_seconds": plan.together,
        "in_turn_seconds": plan.in_turn,
        "device_hours": plan.device_hours,
        "checkpoints": plan.checkpoints,
        "fits": all(expert.fits for expert in plan.experts),
    }


def _row(expert: ExpertPlan) -> tuple[str, ...]:
    return (
        expert.name,
        str(expert.parameters),
        f"{expert.hosts} x {expert.devices // expert.hosts}",
        size(expert.memory),
        f"{expert.flops:.3g}",
        f"{1e3 * expert.step_seconds:.3g}",
        str(expert.steps),
        clock(expert.seconds),
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _described(device: Device) -> str:
    flops, bandwidth = (f"{round(rate / 1e9, 1):,g} G" for rate in (device.float32, device.bandwidth))
    rates = f"{flops}FLOP/s in float32, {bandwidth}B/s"
    if device.name == HERE:
        return f"one thread of this machine, calibrated here: {rates}"
    return f"{device.name}, by its data sheet: {rates}; {1e6 * device.launch:g} µs an operation"
