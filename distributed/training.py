"""Training of all experts at once: one group for each, placed as room appears."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import ray
from ray.exceptions import RayError, RayTaskError

from . import cluster
from .config import ClusterConfig
from .expert import ExpertJob, Progress
from .group import ExpertGroup, Resources

RESTARTS = 3
POLL_SECONDS = 0.5
STOP_SECONDS = 60.0

Watcher = Callable[[Mapping[str, Progress | None]], None]


@dataclass(frozen=True)
class Outcome:
    """How the training of one expert ended."""

    progress: Progress
    error: str | None = None


def train_experts(
    jobs: Sequence[ExpertJob], config: ClusterConfig, at_once: int, watch: Watcher
) -> dict[str, Outcome]:
    """Train every job; one that fails leaves the others undisturbed. A lost process starts again from disk.

    `at_once` experts share the CPUs of a cluster that has fewer; `watch` sees every expert's progress twice a
    second. On KeyboardInterrupt all groups save and stop before it goes on.
    """
    share = min(1.0, int(1e4 * cluster.cpus() / at_once) / 1e4)
    costs = {job.name: estimated_cost(job) for job in jobs}
    dearest = max(costs.values(), default=0.0)

    def yields(job: ExpertJob) -> bool:
        # On too few cores the expert that ends last goes first, so that all end when it would alone: the
        # cheaper ones begin one by one when it has compiled, and take what it leaves.
        return share < 1 and costs[job.name] < 0.5 * dearest

    def start(job: ExpertJob) -> ExpertGroup:
        return ExpertGroup(job, Resources(share, config.devices_per_expert, yields(job)))

    ordered = sorted(jobs, key=lambda job: -costs[job.name])
    running = {job.name: start(job) for job in ordered if not yields(job)}
    later = [job for job in ordered if yields(job)]
    restarts, seen = dict.fromkeys(costs, 0), dict[str, Progress | None].fromkeys(costs)
    outcomes: dict[str, Outcome] = {}
    try:
        while running:
            done, _ = ray.wait([group.result for group in running.values()], timeout=POLL_SECONDS)
            seen |= {name: group.poll() for name, group in running.items()}
            watch(dict(seen))
            for name in [name for name, group in running.items() if group.result in done]:
                group = running.pop(name)
                group.remove()
                try:
                    outcomes[name] = _outcome(group)
                except RayError as error:  # Its process was lost.
                    if restarts[name] < RESTARTS:
                        restarts[name] += 1
                        running[name] = start(group.job)
                        continue
                    message = f"expert {name}: its process died {RESTARTS + 1} times: {cluster.reason(error)}"
                    outcomes[name] = Outcome(group.progress or Progress(), message)
                seen[name] = outcomes[name].progress
            if later and all(progress and progress.compiled for progress in map(seen.get, running)):
                job = later.pop(0)
                running[job.name] = start(job)
        watch(dict(seen))
    except KeyboardInterrupt:
        _stop(list(running.values()))
        raise
    finally:
        for group in running.values():
            group.remove()
    return outcomes


def _outcome(group: ExpertGroup) -> Outcome:
    """The outcome of a group that ended. RayError if its process was lost."""
    try:
        return Outcome(ray.get(group.result))
    except RayTaskError as error:
        cause = error.cause
        return Outcome(group.progress or Progress(), f"{type(cause).__name__}: {cause}")


def _stop(groups: list[ExpertGroup]) -> None:
    """Let the groups save, those that have started, and wait for them as long as is fair."""
    for group in groups:
        group.stop()
    deadline = time.monotonic() + STOP_SECONDS
    started = [group for group in groups if group.progress is not None]
    ray.wait(
        [group.result for group in started],
        num_returns=len(started),
        timeout=max(0.0, deadline - time.monotonic()),
    ) if started else None


def estimated_cost(job: ExpertJob) -> float:
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
