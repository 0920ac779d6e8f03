"""An expert group: a placement group with one actor on each host, in fresh processes.

This release places one host in a group. The actor initialises `jax.distributed` when there are more, and the
train loop shards its batches over all devices of the group either way.
"""

import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from .cluster import worker_environment
from .expert import ExpertJob, Progress, train


class ExpertWorker:
    """One process of an expert group."""

    def __init__(self, yields: bool):
        self._yields = yields
        self._progress = Progress()
        self._stop = threading.Event()

    def train(self, job: ExpertJob) -> Progress:
        """Train to the end, or to the next block after `stop`."""

        def report(progress: Progress) -> None:
            self._progress = progress

        if self._yields:
            _yield_cpu()
        return train(job, report, self._stop.is_set)

    def progress(self) -> Progress:
        """The last progress."""
        return self._progress

    def stop(self) -> None:
        """Make `train` save and return."""
        self._stop.set()


def _yield_cpu() -> None:
    """Let this thread, and those that JAX and Grain start from it, run where nothing else would."""
    if hasattr(os, "SCHED_IDLE"):  # Niceness is too weak: Ray's workers all have 15 of at most 19.
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    else:
        os.nice(19)


@dataclass(frozen=True)
class Resources:
    """What one process of a group asks of its host."""

    cpus: float
    gpus: int
    yields: bool = False
    """Run only where the other groups leave a core idle."""


class ExpertGroup:
    """A placed group that trains one expert; Ray starts it when there is room."""

    def __init__(self, job: ExpertJob, resources: Resources):
        self.job, self.yields = job, resources.yields
        bundle = {"CPU": resources.cpus} | ({"GPU": float(resources.gpus)} if resources.gpus else {})
        self._placement: PlacementGroup = placement_group([bundle])
        options = {
            "num_cpus": resources.cpus,
            "num_gpus": resources.gpus,
            "max_concurrency": 2,  # `progress` and `stop` answer while `train` runs.
            "runtime_env": {"env_vars": worker_environment(on_gpu=resources.gpus > 0)},
            "scheduling_strategy": PlacementGroupSchedulingStrategy(self._placement),
        }
        self._worker: Any = ray.remote(ExpertWorker).options(**options).remote(resources.yields)
        self.result = self._worker.train.remote(job)
        self._answer = self._worker.progress.remote()
        self.progress: Progress | None = None

    def poll(self) -> Progress | None:
        """The newest progress that has arrived; None until the group has started."""
        ready, _ = ray.wait([self._answer], timeout=0)
        if ready:
            with suppress(RayError):  # A lost process: `result` says so.
                self.progress = ray.get(self._answer)
                self._answer = self._worker.progress.remote()
        return self.progress

    def stop(self) -> None:
        """Ask the group to save and return."""
        self._worker.stop.remote()

    def remove(self) -> None:
        """End its processes and give back its place."""
        ray.kill(self._worker)
        remove_placement_group(self._placement)
