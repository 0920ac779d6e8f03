"""How much work the experts are, and how many hosts each gets for it: in a plan and at run time alike."""

from collections.abc import Callable, Sequence
from typing import Literal

from ..training.job import ExpertJob

Hosts = Literal["auto"] | tuple[int, ...]
TERMS = {"weak": 7.0, "hutchinson": 3.0, "exact": 3.0, "rne": 1.2, "diffclf": 0.5}
"""Consistency terms, in denoising steps of a conservative expert."""
SCORE = 0.7
"""A denoising step of an expert that is not conservative, likewise."""


def work(job: ExpertJob) -> float:
    """Work of one expert in arbitrary units: weights × epochs × evaluations of the network in a step.

    The compiler's count of operations says the same of every preset, within a third; this takes no time.
    """
    widths = (job.expert.hidden[0], *job.expert.hidden)
    weights = sum(a * b for a, b in zip(widths, job.expert.hidden, strict=False))
    evaluations = 1.0 if job.expert.conservative else SCORE
    if job.expert.consistency_weight:
        kind, objective = job.objective.consistency, job.objective
        term = objective.estimator if kind == "fokker-planck" else kind
        evaluations += TERMS[term] * objective.consistency_fraction * (1 - objective.consistency_start)
    return weights * job.expert.epochs * evaluations


def hosts(jobs: Sequence[ExpertJob], wanted: Hosts, devices: int, slots: int) -> list[int]:
    """Hosts of so many devices that each job should have: the wanted ones, or what lets all end together."""
    if isinstance(wanted, tuple):
        return [wanted[job.index % len(wanted)] for job in jobs]

    def fits(count: int) -> bool:
        return all(fitting(job, devices, count) == count for job in jobs)

    return [*share_hosts([work(job) for job in jobs], slots, fits)]


def fitting(job: ExpertJob, devices: int, most: int) -> int:
    """The largest number of hosts, up to `most`, that share a batch of the job equally."""
    batch, each = job.train.batch_size, devices * job.train.accumulate
    larger = (count for count in range(2, most + 1) if job.objective.divides(batch, count * each))
    return max(larger, default=1)


def share_hosts(costs: Sequence[float], slots: int, fits: Callable[[int], bool]) -> tuple[int, ...]:
    """Hosts of each expert, by what each costs on one (in any unit).

    Every expert gets one of the `slots`, even if there are fewer; each further step goes to the expert of the
    largest cost per host that can still grow, to its next number that `fits`, which says whether so many
    hosts share a batch equally.
    """
    hosts = [1] * len(costs)
    while True:
        left = slots - sum(hosts)
        larger = {
            expert: wanted
            for expert, own in enumerate(hosts)
            if (wanted := next((n for n in range(own + 1, own + left + 1) if fits(n)), None))
        }
        if not larger:
            return tuple(hosts)
        dearest = max(larger, key=lambda expert: costs[expert] / hosts[expert])
        hosts[dearest] = larger[dearest]


def schedule(seconds: Sequence[float], hosts: Sequence[int], slots: int) -> tuple[float, ...]:
    """When each expert starts, in seconds: the dearest first, each as soon as its hosts are free."""
    free = [0.0] * slots
    starts = {}
    for expert in sorted(range(len(seconds)), key=lambda expert: (-seconds[expert] * hosts[expert], expert)):
        free.sort()
        own = hosts[expert]
        starts[expert] = free[own - 1]
        free[:own] = [starts[expert] + seconds[expert]] * own
    return tuple(starts[expert] for expert in range(len(seconds)))
