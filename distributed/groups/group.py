"""An expert group: a placement group with one actor on each host, in fresh processes.

A group that has lost a process is never repaired: it is removed, and another is started.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import ray
from ray.exceptions import RayError
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

from ...data import fence
from ...data.fence import Fence
from ..cluster import joining
from ..training.expert import train
from ..training.job import ExpertJob
from ..training.progress import Progress
from . import metrics

ANSWER_SECONDS = 2.0
HEARTBEAT_SECONDS = 100


@dataclass(frozen=True)
class Resources:
    """What a group asks for."""

    hosts: int
    devices: int
    """Devices of each host."""
    cpus: float
    """CPUs of each host."""
    on_gpu: bool
    yields: bool = False
    """Run only where the other groups leave a core idle."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of the hosts that it may be placed on."""
    apart: bool = False
    """Each process on a host of its own, not only where there is room."""

    @property
    def bundle(self) -> dict[str, float]:
        """Of each host, in Ray's words."""
        return {"CPU": self.cpus} | ({"GPU": float(self.devices)} if self.on_gpu else {})

    @property
    def most(self) -> int:
        """The hosts that a group could have in the cluster if nothing else ran there."""
        return joining.slots(self.bundle, 1 if self.apart else sys.maxsize, self.labels)


@dataclass(frozen=True)
class Place:
    """A process's part in its group."""

    rank: int
    group: Resources
    start_seconds: int
    restarts: int
    """How often the expert's group was started before."""


class ExpertWorker:
    """One process of an expert group."""

    def __init__(self, fences: Sequence[Fence]):
        fence.hold(fences)
        self._progress = Progress()
        self._told_to_stop = threading.Event()
        # Of a cluster that takes the host away; the others learn of it with the steps.
        signal.signal(signal.SIGTERM, lambda *_: self._told_to_stop.set())
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()

    def address(self) -> str:
        """Where the group's coordinator can listen, on this host."""
        with socket.socket() as free:
            free.bind(("", 0))
            return f"{ray.util.get_node_ip_address()}:{free.getsockname()[1]}"

    def train(self, job: ExpertJob, place: Place, address: str) -> Progress:
        """Join the group and train to the end, or to the next block after any process was told to stop."""

        def report(progress: Progress) -> None:
            if progress.compiled:
                metrics.count_block(job, place.rank, self._progress, progress)
            self._progress = progress

        if place.group.yields:
            _yield_cpu()
        _join(place, address)
        return train(job, report, self._told_to_stop.is_set, place.restarts)

    def progress(self) -> Progress:
        """The last progress."""
        return self._progress

    def stop(self) -> None:
        """Make the whole group save and return."""
        self._told_to_stop.set()

    def whereabouts(self) -> tuple[str, int]:
        """The node and the process."""
        return ray.get_runtime_context().get_node_id(), os.getpid()

    def stack(self) -> str:
        """Where every thread of this process stands that runs Python, but for the one that answers."""
        frames = dict(sys._current_frames())
        frames.pop(threading.get_ident(), None)
        return "\n".join("".join(traceback.format_stack(frame)) for frame in frames.values())


def _end_with(parent: int) -> None:
    """End this process when Ray's own that started it has ended; by itself it would wait for its steps."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _join(place: Place, address: str) -> None:
    """Make JAX see the devices of the whole group."""
    hosts, devices = place.group.hosts, place.group.devices
    # Its service for preemption would take SIGTERM, and count the steps that orbax asks it about as ours.
    jax.config.update("jax_enable_preemption_service", False)
    if not place.group.on_gpu:
        jax.config.update("jax_num_cpu_devices", devices)
    if hosts > 1:
        jax.distributed.initialize(
            address,
            hosts,
            place.rank,
            initialization_timeout=place.start_seconds,
            heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
        )
    if jax.process_count() != hosts or jax.local_device_count() != devices:
        raise RuntimeError(
            f"rank {place.rank} sees {jax.process_count()} processes and {jax.local_device_count()} devices "
            f"of its own, not {hosts} and {devices}"
        )


def _yield_cpu() -> None:
    """Let this thread, and those that JAX and Grain start from it, run where nothing else would."""
    if hasattr(os, "SCHED_IDLE"):  # Niceness is too weak: Ray's workers all have 15 of at most 19.
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    else:
        os.nice(19)


@dataclass
class Member:
    """What the driver knows of one process of a group."""

    worker: Any
    result: ray.ObjectRef
    answer: ray.ObjectRef
    where: ray.ObjectRef
    progress: Progress | None = None
    changed: float = 0.0
    """When its progress last was another than before."""
    heard: float = 0.0
    """When it last answered."""


class ExpertGroup:
    """A placed group that trains one expert; Ray starts it when there is room."""

    def __init__(self, job: ExpertJob, resources: Resources, start_seconds: float = 600, restarts: int = 0):
        self.job, self.resources = job, resources
        self._placement: PlacementGroup = placement_group(
            [resources.bundle] * resources.hosts,
            "STRICT_SPREAD" if resources.apart else "SPREAD",
            bundle_label_selector=[dict(resources.labels)] * resources.hosts,
        )
        options = {
            "num_cpus": resources.cpus,
            "num_gpus": resources.devices if resources.on_gpu else 0,
            "max_concurrency": 2,  # Questions are answered while `train` runs.
            "runtime_env": {"env_vars": joining.worker_environment(resources.on_gpu)},
        }
        ranks = range(resources.hosts)
        workers: list[Any] = [
            ray.remote(ExpertWorker)
            .options(
                **options,
                scheduling_strategy=PlacementGroupSchedulingStrategy(
                    self._placement, placement_group_bundle_index=rank
                ),
            )
            .remote(fence.held())
            for rank in ranks
        ]
        address = workers[0].address.remote()
        self.members = [
            Member(
                worker,
                worker.train.remote(job, Place(rank, resources, round(start_seconds), restarts), address),
                worker.progress.remote(),
                worker.whereabouts.remote(),
            )
            for rank, worker in zip(ranks, workers, strict=True)
        ]

    @property
    def progress(self) -> Progress | None:
        """The newest that has arrived of the first process; None until it has started."""
        return self.members[0].progress

    @property
    def placed(self) -> bool:
        """Whether it has all its hosts."""
        return self.progress is not None or self._placement.wait(0)

    @property
    def results(self) -> list[ray.ObjectRef]:
        """What each process will return."""
        return [member.result for member in self.members]

    def poll(self) -> Progress | None:
        """Take up the answers that have arrived, and ask again."""
        now = time.monotonic()
        waiting = {member.answer: member for member in self.members}
        ready, _ = ray.wait([*waiting], num_returns=len(waiting), timeout=0)
        for answer in ready:
            member = waiting[answer]
            try:
                progress: Any = ray.get(answer)
            except RayError:  # A lost process: its result says so.
                continue
            if member.progress is None or progress.moved(member.progress):
                member.changed = now
            member.progress, member.heard = progress, now
            member.answer = member.worker.progress.remote()
        return self.progress

    @property
    def nodes(self) -> set[str]:
        """The nodes that its processes are known to be on."""
        refs = [member.where for member in self.members]
        ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        return {self._where(ref)[0] for ref in ready}

    @staticmethod
    def _where(ref: ray.ObjectRef) -> tuple[str, int]:
        try:
            where: Any = ray.get(ref, timeout=0)
        except RayError:
            return "", 0
        return where

    def stop(self) -> None:
        """Ask the group to save and return."""
        for member in self.members:
            member.worker.stop.remote()

    def stuck(self) -> int:
        """The rank that the others most likely wait for: one that does not answer, or is behind."""

        def lag(rank: int) -> tuple[bool, int, bool]:
            member = self.members[rank]
            answers = time.monotonic() - member.heard < ANSWER_SECONDS
            progress = member.progress or Progress()
            return answers, progress.blocks, progress.phase == "training"

        return min(range(len(self.members)), key=lag)

    def stack(self, rank: int) -> str:
        """Where a process stands, by itself or, if it does not answer, by what its memory shows."""
        member = self.members[rank]
        try:
            return ray.get(member.worker.stack.remote(), timeout=ANSWER_SECONDS)
        except RayError:
            node, process = self._where(member.where)
        if not node:
            return "it never answered"
        look = ray.remote(_stack_from_outside).options(
            num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
        )
        try:
            return ray.get(look.remote(process), timeout=10 * ANSWER_SECONDS)
        except RayError as error:
            return f"it does not answer, and its host does not either: {str(error).splitlines()[0]}"

    def remove(self) -> None:
        """End its processes and give back its place."""
        for member in self.members:
            ray.kill(member.worker)
        remove_placement_group(self._placement)


def _stack_from_outside(process: int) -> str:
    """The stack of another process of this host, without asking it."""
    spy = Path(sys.executable).with_name("py-spy")  # Ray's own tool, installed with it.
    try:
        command = [spy, "dump", "--nonblocking", "--pid", str(process)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=5 * ANSWER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"it does not answer, and its memory cannot be read: {error}"
    return done.stdout or f"it does not answer, and its memory cannot be read: {done.stderr.strip()}"
