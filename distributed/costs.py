"""What each expert costs, and how many hosts it gets for that."""

import sys
import time
from collections.abc import Sequence

import ray

from ..data.files import FileError, read_json, write_json
from . import cluster
from .config import ClusterConfig
from .group import Resources
from .job import ExpertJob
from .program import time_training
from .sharing import share_hosts

FILE = "cost.json"


def estimated(job: ExpertJob) -> float:
    """Work of one expert in arbitrary units: weights × epochs × evaluations of the network in a step."""
    widths = (job.expert.hidden[0], *job.expert.hidden)
    weights = sum(a * b for a, b in zip(widths, job.expert.hidden, strict=False))
    evaluations = 1.0 if job.expert.conservative else 0.4
    if job.expert.consistency_weight:
        kind, estimator = job.objective.consistency, job.objective.estimator
        term = estimator if kind == "fokker-planck" else kind
        costs = {"weak": 7.0, "hutchinson": 3.0, "exact": 3.0, "rne": 1.2, "diffclf": 0.5}
        evaluations += costs[term] * job.objective.consistency_fraction
    return weights * job.expert.epochs * evaluations


def hosts(jobs: Sequence[ExpertJob], config: ClusterConfig, resources: Resources) -> list[int]:
    """Hosts that each job should have: the configured ones, or what lets all end together."""
    if isinstance(config.hosts, tuple):
        return [config.hosts[job.index % len(config.hosts)] for job in jobs]
    most = sys.maxsize if config.device == "gpu" else 1
    slots = cluster.slots(resources.bundle, most, resources.labels)
    if slots <= len(jobs):
        return [1] * len(jobs)
    seconds = measured(jobs, resources)

    def fits(count: int) -> bool:
        return all(fitting(job, resources.devices, count) == count for job in jobs)

    return [*share_hosts(seconds, slots, fits)]


def fitting(job: ExpertJob, devices: int, most: int) -> int:
    """The largest number of hosts, up to `most`, that share a batch of the job equally."""
    batch, each = job.train.batch_size, devices * job.train.accumulate
    larger = (count for count in range(2, most + 1) if job.objective.divides(batch, count * each))
    return max(larger, default=1)


def measured(jobs: Sequence[ExpertJob], resources: Resources) -> list[float]:
    """Seconds that each job would take on one host, by a few steps there; remembered beside the expert."""
    environment = {"env_vars": cluster.worker_environment(resources.on_gpu)}
    timing = ray.remote(
        num_cpus=resources.cpus,
        num_gpus=resources.devices if resources.on_gpu else 0,
        runtime_env=environment,
        label_selector=dict(resources.labels),
        max_calls=1,  # A fresh process for each, that gives back its devices.
    )(time_training)
    asked = {job.name: timing.remote(job) for job in jobs if _remembered(job) is None}
    for job in jobs:
        if job.name in asked:
            _remember(job, ray.get(asked[job.name]))
    return [_remembered(job) or 0.0 for job in jobs]


def _remembered(job: ExpertJob) -> float | None:
    try:
        return read_json(job.directory / FILE)["seconds"]
    except (FileNotFoundError, FileError, KeyError, TypeError):  # What is damaged is measured again.
        return None


def _remember(job: ExpertJob, seconds: float) -> None:
    write_json(job.directory / FILE, {"seconds": seconds, "measured": time.time()})
