"""What Prometheus reads over HTTP, at Ray's endpoint of a node, of experts that train and chains that run."""

import os
import signal
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import ray
from prometheus_client.parser import text_string_to_metric_families

from fokker.analysis.systems import System
from fokker.distributed.campaigns import pool
from fokker.distributed.campaigns.pool import Tally
from fokker.distributed.campaigns.starts import FromData
from fokker.distributed.campaigns.works import Simulation
from fokker.distributed.config import ClusterConfig
from fokker.distributed.groups import metrics, training
from fokker.distributed.groups.group import ExpertGroup
from fokker.distributed.groups.training import train_experts
from fokker.distributed.training.progress import Progress
from fokker.model.config import SimulateConfig

from ..conftest import MakeJob, model_of, process_of

SECONDS = 120.0
"""What a number takes to get there, on however busy a machine."""
TAGS = ("run", "expert", "rank", "kind", "system")
EXPERT = ("watched", "0-0.1")
OF_TRAINING = {f"ray_fokker_{name}_total" for name in ("steps", "samples", "input_wait_seconds", "restarts")}
Numbers = dict[str, dict[tuple[str, ...], list[float]]]


def numbers(run: str) -> Numbers:
    """Those of a run at the endpoint of the only node: by name and our tags, of each process."""
    (node,) = ray.nodes()
    address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    directly = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with directly.open(address, timeout=SECONDS) as answer:
        families = text_string_to_metric_families(answer.read().decode())
    found: Numbers = {}
    for sample in (sample for family in families for sample in family.samples):
        if sample.labels.get("run") == run:
            tags = tuple(sample.labels[tag] for tag in TAGS if tag in sample.labels)
            found.setdefault(sample.name, {}).setdefault(tags, []).append(sample.value)
    return found


def wait_for(run: str, holds: Callable[[Numbers], bool]) -> Numbers:
    """The numbers of a run, once this holds of them."""
    until = time.monotonic() + SECONDS
    while not holds(found := numbers(run)):
        assert time.monotonic() < until, f"still {found}"
        time.sleep(0.1)
    return found


@pytest.mark.long
def test_prometheus_reads_what_an_expert_does_and_that_it_was_lost(
    ray_cluster, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
):
    """The watcher waits for the numbers, and with it the end of the process that counts."""
    job = make_job(run="watched")
    groups: list[ExpertGroup] = []
    found: list[Numbers] = []
    killed: set[int] = set()

    class Listed(ExpertGroup):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            groups.append(self)

    def watch(seen: Mapping[str, Progress | None]) -> None:
        progress = seen["smallest"]
        if progress is None or not progress.compiled or found:
            return
        if len(groups) == 1:
            if (process := process_of(groups[0])) not in killed:  # The loss is heard of some polls later.
                killed.add(process)
                os.kill(process, signal.SIGKILL)
        else:
            found.append(wait_for("watched", lambda those: {*those} == OF_TRAINING))

    monkeypatch.setattr(training, "ExpertGroup", Listed)
    monkeypatch.setattr(training, "POLL_SECONDS", 0.01)
    train_experts([job], ClusterConfig(back_off=0.0), 1, watch)
    steps, samples = (found[0][f"ray_fokker_{name}_total"][EXPERT] for name in ("steps", "samples"))
    assert all(0 < count <= 2160 and count % 8 == 0 for count in steps)
    assert samples == [32 * count for count in steps]
    assert all(wait > 0 for wait in found[0]["ray_fokker_input_wait_seconds_total"][(*EXPERT, "0")])
    assert found[0]["ray_fokker_restarts_total"] == {EXPERT: [1.0]}


@pytest.mark.long
def test_prometheus_reads_how_many_chains_have_ended(ray_cluster, undisturbed, tmp_path: Path):
    jobs = tuple(trained.job for trained in undisturbed)
    settings = SimulateConfig(frames=80, chains=40, chunk=20, stride=2)
    system = System.particle("gaussian", 1.0, 0.5)
    found: list[Numbers] = []

    def watch(tallies: list[Tally]) -> None:
        if tallies[0].done == 2:
            found.append(wait_for("simulated", bool))

    work = Simulation(
        *(model_of(jobs), "simulated", system, FromData(jobs[0].data, "train"), settings, tmp_path),
        seed=3,
        identity="test",
    )
    pool.run([work], ClusterConfig(simulators=1), watch)
    ((tags, counts),) = found[0]["ray_fokker_chains_total"].items()
    assert tags == ("simulated", "simulation", "gaussian")
    assert counts in ([20.0], [40.0])  # What was counted before Ray's agent was reached is lost.


def test_a_count_that_ray_does_not_take_ends_nothing(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_):
        raise RuntimeError("no agent")

    monkeypatch.setattr(metrics.Counter, "inc", refuse)
    metrics.count({"run": "refused"}, steps=1)
