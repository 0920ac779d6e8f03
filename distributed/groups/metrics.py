"""What Prometheus can read of a run, at the endpoint that Ray has on every node: `ray_fokker_…_total`.

All of it is counted, and Prometheus takes the rates: of a gauge Ray forgets what was not set within the last
twenty seconds. Ray keeps the counts in memory and hands them on by itself, every ten seconds; where nobody
collects them, or this process is none of a cluster's, counting does nothing. None may end what it counts.
"""

from collections.abc import Mapping
from contextlib import suppress
from functools import cache

from ray.util.metrics import Counter

from ..training.job import ExpertJob
from ..training.progress import Progress

MEANINGS = {
    "steps": "Steps that an expert has taken",
    "samples": "Frames that an expert was trained on",
    "input_wait_seconds": "Seconds that a process of an expert has waited for data",
    "restarts": "How often the group of an expert was started again",
    "chains": "Chains that were brought to their end",
}


def count(tags: Mapping[str, str], **amounts: float | int) -> None:
    """Add to counts, by the names of `MEANINGS`, of what the tags name."""
    for name, amount in amounts.items():
        if amount > 0:
            with suppress(Exception):  # Whatever Ray may have against it, the work goes on.
                _counter(name, tuple(tags)).inc(amount, dict(tags))


def count_block(job: ExpertJob, rank: int, before: Progress, after: Progress) -> None:
    """Count a block as one process of a group saw it; the first one counts the steps of the group."""
    steps = after.step - before.step
    waited = after.input_wait * after.step_seconds * steps
    count(job.tags | {"rank": str(rank)}, input_wait_seconds=waited)
    if rank == 0:
        count(job.tags, steps=steps, samples=steps * job.train.batch_size)


@cache
def _counter(name: str, keys: tuple[str, ...]) -> Counter:
    return Counter(f"fokker_{name}", MEANINGS[name], keys)
