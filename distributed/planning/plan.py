"""What the training of every expert would take on a cluster, as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...data.dataset.loader import Plan
from ..cluster.devices import Device
from ..training.job import ExpertJob
from .prediction import Steps
from .sharing import Hosts, fitting, hosts, schedule

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


def estimate(
    jobs: Sequence[ExpertJob], wanted: Hosts, steps: Steps, frames: int, planned: Cluster
) -> TrainingPlan:
    """What each expert would take on the hosts that a run would give it, by its steps and training frames.

    No expert may be wanted on more hosts than are planned for.
    """
    own = hosts(jobs, wanted, planned.devices, planned.hosts)
    plans = [_expert_plan(job, steps, frames, count, planned) for job, count in zip(jobs, own, strict=True)]
    starts = schedule([plan.seconds for plan in plans], own, planned.hosts)
    return TrainingPlan(
        planned, tuple(replace(plan, start=start) for plan, start in zip(plans, starts, strict=True))
    )


def _expert_plan(job: ExpertJob, steps: Steps, frames: int, hosts: int, planned: Cluster) -> ExpertPlan:
    count = Plan(frames, job.train.batch_size, job.expert.epochs, job.seed).steps
    device, devices = planned.device, hosts * planned.devices
    most = fitting(job, planned.devices, planned.hosts)
    parts = [(part, kind.cost(own, devices)) for part, kind, own in steps.parts(job.expert, count)]
    seconds = sum(part * cost.seconds(device, hosts) for part, cost in parts)
    alone = sum(part * cost.on(most * planned.devices).seconds(device, most) for part, cost in parts)
    memory = max(cost.memory for _, cost in parts) + steps.waiting(devices, count)
    needs = max(parts, key=lambda entry: entry[0] * entry[1].seconds(device, hosts))[1].needs(device)
    return ExpertPlan(
        name=job.name,
        parameters=parts[0][1].parameters,
        hosts=hosts,
        devices=devices,
        memory=memory,
        fits=memory <= device.share * device.memory,
        bound=max(needs, key=lambda kind: needs[kind]),
        flops=sum(part * cost.flops for part, cost in parts) * devices,
        step_seconds=seconds,
        steps=count,
        start=0.0,
        seconds=count * seconds,
        seconds_on_all_hosts=count * alone,
        checkpoint=parts[0][1].state,
    )
