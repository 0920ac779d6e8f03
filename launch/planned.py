"""What the training of every expert would take on a cluster, as numbers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..data.loader import Plan
from ..distributed.devices import Device
from ..distributed.prediction import StepCost, Steps
from ..distributed.sharing import schedule, share_hosts
from ..model.config import ExpertConfig
from .config import Config, ConfigError
from .planned_data import Sizes

CHECKPOINTS = 3
"""Kept of each expert at most: the last two and the best."""


@dataclass(frozen=True)
class Cluster:
    """What is planned for: hosts of equal devices."""

    hosts: int
    devices: int
    """Of each host."""
    device: Device


@dataclass(frozen=True)
class ExpertPlan:
    """What one expert would take."""

    name: str
    parameters: int
    hosts: int
    devices: int
    """Of all its hosts."""
    memory: float
    """Bytes on each device."""
    fits: bool
    bound: str
    """What a step spends most of its time on: arithmetic, memory, or the start of kernels."""
    flops: float
    """Of a mean step, over all devices."""
    step_seconds: float
    steps: int
    start: float
    """Seconds after the beginning; 0 unless it has to wait for hosts."""
    seconds: float
    seconds_on_all_hosts: float
    """If it had all the hosts, or as many as can share a batch."""
    checkpoint: int
    """Bytes of one."""


@dataclass(frozen=True)
class TrainingPlan:
    """What all experts would take."""

    cluster: Cluster
    experts: tuple[ExpertPlan, ...]

    @property
    def together(self) -> float:
        """Seconds until the last ends, each on its own hosts."""
        return max(expert.start + expert.seconds for expert in self.experts)

    @property
    def in_turn(self) -> float:
        """Seconds if they are trained one after another, each on all the hosts."""
        return sum(expert.seconds_on_all_hosts for expert in self.experts)

    @property
    def device_hours(self) -> float:
        """Hours times devices that are held."""
        return sum(expert.devices * expert.seconds for expert in self.experts) / 3600

    @property
    def checkpoints(self) -> int:
        """Bytes of all checkpoints that are kept at most."""
        return CHECKPOINTS * sum(expert.checkpoint for expert in self.experts)

    @property
    def waits(self) -> int:
        """Experts that have to wait for hosts."""
        return sum(expert.start > 0 for expert in self.experts)


def steps_of(config: Config, data: Sizes) -> Steps:
    """The train steps of a run on such data; they remember what was compiled."""
    return Steps(config.network, config.objective, config.train, data.shape, data.molecules)


def estimate(config: Config, steps: Steps, frames: int, planned: Cluster) -> TrainingPlan:
    """What each expert would take on its share of the cluster, by its `steps_of` and the training frames.

    ConfigError if an expert is to have more hosts than the cluster.
    """
    counts = [
        Plan(frames, config.train.batch_size, expert.epochs, config.seed).steps for expert in config.experts
    ]
    batch, each = config.train.batch_size, planned.devices * config.train.accumulate

    def fits(hosts: int) -> bool:
        return hosts == 1 or config.objective.divides(batch, hosts * each)

    hosts = _hosts(config, steps, counts, planned, fits)
    most = max(n for n in range(1, planned.hosts + 1) if fits(n))
    plans = [
        _expert_plan(expert, steps, count, own, most, planned)
        for expert, count, own in zip(config.experts, counts, hosts, strict=True)
    ]
    times = schedule([plan.seconds for plan in plans], hosts, planned.hosts)
    return TrainingPlan(
        planned,
        tuple(replace(plan, start=start) for plan, (start, _) in zip(plans, times, strict=True)),
    )


def _hosts(
    config: Config, steps: Steps, counts: Sequence[int], planned: Cluster, fits: Callable[[int], bool]
) -> tuple[int, ...]:
    """Hosts of each expert: the configured ones, or by the FLOPs of all its steps."""
    given, experts = config.cluster.hosts, len(counts)
    if not isinstance(given, tuple):
        if planned.hosts <= experts:
            return (1,) * experts
        costs = [
            count * sum(part * kind.flops(own) for part, kind, own in steps.parts(expert, count))
            for expert, count in zip(config.experts, counts, strict=True)
        ]
        return share_hosts(costs, planned.hosts, fits)
    hosts = given * experts if len(given) == 1 else given
    if max(hosts) > planned.hosts:
        raise ConfigError(f"{max(hosts)} is more than --hosts {planned.hosts}", "cluster.hosts")
    return hosts


def _expert_plan(
    expert: ExpertConfig, steps: Steps, count: int, hosts: int, most: int, planned: Cluster
) -> ExpertPlan:
    devices, device = hosts * planned.devices, planned.device
    costs: list[tuple[float, StepCost]] = [
        (part, kind.cost(own, devices)) for part, kind, own in steps.parts(expert, count)
    ]
    first = costs[0][1]
    mean = sum(part * cost.seconds(device, hosts) for part, cost in costs)
    alone = sum(part * cost.on(most * planned.devices).seconds(device, most) for part, cost in costs)
    memory = max(cost.memory for _, cost in costs) + steps.waiting(devices, count)
    needs = max(costs, key=lambda entry: entry[0] * entry[1].seconds(device, hosts))[1].needs(device)
    return ExpertPlan(
        name=f"{expert.interval[0]:g}-{expert.interval[1]:g}",
        parameters=first.parameters,
        hosts=hosts,
        devices=devices,
        memory=memory,
        fits=memory <= device.share * device.memory,
        bound=max(needs, key=lambda kind: needs[kind]),
        flops=sum(part * cost.whole for part, cost in costs),
        step_seconds=mean,
        steps=count,
        start=0.0,
        seconds=count * mean,
        seconds_on_all_hosts=count * alone,
        checkpoint=first.state,
    )
