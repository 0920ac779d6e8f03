"""Several experts at once on a Ray of two CPUs: placement, failures, interruption."""

import json
import os
import pickle
import secrets
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
import ray
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fokker.data.files import FileError
from fokker.distributed.cluster import joining
from fokker.distributed.cluster.joining import ClusterError
from fokker.distributed.config import ClusterConfig
from fokker.distributed.groups import training
from fokker.distributed.groups.group import ExpertGroup, Resources
from fokker.distributed.groups.supervision import Outcome
from fokker.distributed.groups.training import train_experts
from fokker.distributed.planning.sharing import work
from fokker.distributed.training import parameters
from fokker.distributed.training.history import HISTORY, read_history
from fokker.distributed.training.job import ExpertJob
from fokker.distributed.training.progress import Progress

from ..conftest import (
    CPUS,
    SMALLEST,
    TRAIN,
    MakeJob,
    process_of,
    restored,
    saving_often,
    small_job,
    steps_on_disk,
    wait_until_free,
)

Snapshot = Mapping[str, Progress | None]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """These trainings end within a poll of the usual length."""
    monkeypatch.setattr(training, "POLL_SECONDS", 0.01)


@dataclass(frozen=True)
class Groups:
    """Groups that were started and removed, in order."""

    started: list[ExpertGroup] = field(default_factory=list)
    removed: list[ExpertGroup] = field(default_factory=list)


@contextmanager
def recorded() -> Iterator[Groups]:
    """Within, the groups of every training."""
    groups = Groups()

    class Recorded(ExpertGroup):
        def __init__(self, job: ExpertJob, resources: Resources, start_seconds: float, restarts: int):
            super().__init__(job, resources, start_seconds, restarts)
            groups.started.append(self)

        def remove(self) -> None:
            super().remove()
            groups.removed.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "ExpertGroup", Recorded)
        yield groups


def kill(group: ExpertGroup) -> None:
    """kill -9 of the process that trains."""
    os.kill(process_of(group), signal.SIGKILL)


def once_past(name: str, step: int, act: Callable[[], None]) -> Callable[[Snapshot], None]:
    """A watcher that acts once, when an expert is past a step but not at its end."""
    waiting = [act]

    def watch(seen: Snapshot) -> None:
        progress = seen[name]
        if waiting and progress is not None and step < progress.step < progress.steps:
            waiting.pop()()

    return watch


def raw_steps(job: ExpertJob) -> list[int]:
    """Steps in the order in which they were written, those that were taken twice too."""
    return [json.loads(line)["step"] for line in (job.directory / HISTORY).read_text().splitlines()]


@dataclass(frozen=True)
class Together:
    """Three jobs that were started together where there was room for two.

    The process of the smallest expert was killed in the middle; another job met a frame that is too large.
    """

    jobs: Mapping[str, ExpertJob]
    outcomes: Mapping[str, Outcome]
    snapshots: list[Snapshot]
    removed: list[int]
    """Groups that had been removed at each snapshot."""
    started: list[str]


@pytest.fixture(scope="module")
def together(ray_cluster, data: Path, broken_data: Path, tmp_path_factory) -> Together:
    root = tmp_path_factory.mktemp("together")
    jobs = {
        "smallest": small_job(root / "smallest", data, 0),
        "broken": replace(saving_often(small_job(root / "broken", broken_data, 0)), name="broken"),
        "larger": small_job(root / "larger", data, 1),
    }
    snapshots: list[Snapshot] = []
    removed: list[int] = []
    with recorded() as groups:
        # A save waits for the one before, so past 480 that of step 240 is there.
        disturb = once_past("smallest", 600, lambda: kill(groups.started[0]))

        def watch(seen: Snapshot) -> None:
            snapshots.append(seen)
            removed.append(len(groups.removed))
            disturb(seen)

        outcomes = train_experts([*jobs.values()], ClusterConfig(), CPUS, watch)
    wait_until_free()
    return Together(jobs, outcomes, snapshots, removed, [group.job.name for group in groups.started])


def running(progress: Progress | None) -> bool:
    return progress is not None and not progress.finished


def test_experts_train_at_the_same_time(together: Together):
    assert any(running(seen["smallest"]) and running(seen["broken"]) for seen in together.snapshots)


def test_the_cheapest_job_waits_for_room_and_gets_it(together: Together):
    begun = next(i for i, seen in enumerate(together.snapshots) if seen["larger"] is not None)
    assert together.removed[begun] > 0, "two groups fill two CPUs"
    last = together.snapshots[-1]["larger"]
    assert last is not None
    assert last.finished


def test_a_killed_process_is_restarted_from_its_checkpoint_and_no_other(together: Together):
    assert Counter(together.started) == {"smallest": 2, "broken": 2, "larger": 1}
    steps = raw_steps(together.jobs["smallest"])
    (again,) = (after for before, after in pairwise(steps) if after <= before)
    assert again - 8 in range(240, 2160, TRAIN.checkpoint_every)
    assert raw_steps(together.jobs["larger"]) == [*range(8, 1441, 8)]


@pytest.mark.parametrize("index", [0, 1])
def test_a_group_of_ray_trains_the_same_parameters_as_one_process(
    together: Together, undisturbed, index: int
):
    job = together.jobs[undisturbed[index].job.name]
    assert together.outcomes[job.name].error is None
    assert together.outcomes[job.name].progress.finished
    undisturbed[index].assert_same(job)


@pytest.mark.parametrize("name", ["smallest", "larger"])
def test_a_group_leaves_the_same_history_and_scalars(together: Together, undisturbed, name: str):
    job = together.jobs[name]
    alone = undisturbed[job.index].job
    ours, theirs = (read_history(j.directory / HISTORY) for j in (job, alone))
    events = EventAccumulator(str(job.directory), size_guidance={"scalars": 0})
    events.Reload()
    for kind, tag in (
        ("denoising", "loss/denoising"),
        ("consistency", "loss/consistency"),
        ("gradient_norm", "gradient_norm"),
    ):
        assert ours[kind] == theirs[kind]
        scalars = events.Scalars(tag)
        assert [event.step for event in scalars] == ours["step"] == theirs["step"]
        np.testing.assert_allclose([event.value for event in scalars], ours[kind], rtol=1e-6)
    assert {"learning_rate", "samples_per_second", "input_wait"} < set(events.Tags()["scalars"])


def test_an_expert_that_is_not_finite_ends_alone_and_keeps_its_last_good_checkpoint(together: Together):
    job, error = together.jobs["broken"], together.outcomes["broken"].error
    assert error is not None
    assert error.startswith("NonFiniteLoss: expert broken: loss inf")
    assert "at step 8, batch 8 of epoch 0" in error
    assert "the checkpoint of step 8 is kept" in error
    assert steps_on_disk(job) == [8]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(restored(job)))
    assert not (job.directory / parameters.FILE).exists()


@pytest.mark.long
def test_on_too_few_cores_cheap_experts_begin_when_the_dearest_has_compiled(ray_cluster, make_job: MakeJob):
    dearest, cheap = make_job(0), [make_job(1, name=name) for name in ("cheap", "cheaper")]
    assert work(dearest) > 2 * work(cheap[0])
    snapshots: list[Snapshot] = []
    with recorded() as groups:
        outcomes = train_experts([*cheap, dearest], ClusterConfig(), CPUS + 1, snapshots.append)
    assert [group.job.name for group in groups.started] == ["smallest", "cheap", "cheaper"]
    assert [group.resources.yields for group in groups.started] == [False, True, True]
    for before, after in pairwise(("smallest", "cheap", "cheaper")):
        begun = next(seen for seen in snapshots if seen[after] is not None)[before]
        assert begun is not None
        assert begun.compiled
    assert all(outcome.progress.finished for outcome in outcomes.values())


def test_an_expert_whose_process_dies_too_often_ends_with_the_reason(ray_cluster, make_job: MakeJob):
    job = make_job()
    with recorded() as groups:
        watch = once_past("smallest", 600, lambda: kill(groups.started[0]))
        error = train_experts([job], ClusterConfig(failures=0), 1, watch)["smallest"].error
    assert error is not None
    assert error.startswith(
        "expert smallest: its group was lost 1 times: rank 0 of 1 was lost: The actor died unexpectedly"
    )
    assert steps_on_disk(job)
    wait_until_free()


def test_ctrl_c_saves_and_the_same_call_goes_on(make_job: MakeJob, undisturbed):
    job = make_job()
    interrupt = once_past("smallest", 300, lambda: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        train_experts([job], ClusterConfig(), 1, interrupt)
    wait_until_free()
    saved = steps_on_disk(job)[-1]
    assert 300 < saved < 2160
    assert saved == raw_steps(job)[-1], "no step that was taken may be lost"
    assert not (job.directory / parameters.FILE).exists()
    outcome = train_experts([job], ClusterConfig(), 1, lambda seen: None)["smallest"]
    assert outcome.error is None
    assert raw_steps(job) == [*range(8, 2161, 8)]
    undisturbed[0].assert_same(job)


def test_a_watcher_that_fails_leaves_no_process_behind(make_job: MakeJob):
    def fail(seen: Snapshot) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        train_experts([make_job()], ClusterConfig(), 1, fail)
    wait_until_free()


def test_a_disk_without_room_ends_it_before_anything_starts(small_disk: Path, data: Path):
    message = r"small disk.*: .* GB are free, and about 0\.001 GB are needed: free some space"
    (small_disk / "filling").write_bytes(bytes(500_000))
    with pytest.raises(FileError, match=message):
        train_experts([small_job(small_disk / "0", data, 0)], ClusterConfig(), 1, lambda seen: None)


@pytest.mark.parametrize(
    ("cpus", "held", "hosts"), [([1, 1], 0, 2), ([4], 0, 1), ([4], 1, 1), ([4, 4], 1, 2), ([1, 1], 1, 0)]
)
def test_a_new_group_waits_only_for_hosts_that_others_will_leave(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch, cpus: list[int], held: int, hosts: int
):
    """Of two that are asked for; beside a group that holds a place on one."""
    monkeypatch.setattr(joining, "nodes", lambda labels: [{"CPU": float(count)} for count in cpus])
    job, config = make_job(), ClusterConfig(address="10.0.0.1:6379", hosts=(2,))
    placement: Any = training._Placement([job], config, at_once=1)
    group = SimpleNamespace(resources=Resources(1, 1, 1.0, on_gpu=False))
    placement.supervisors = [SimpleNamespace(group=group)] * held
    assert placement._hosts(job, restarts=0) == hosts


ON_HOSTS = """
import pickle, sys
from ray.cluster_utils import Cluster
from fokker.distributed.cluster import joining
from fokker.distributed.groups import training
from fokker.distributed.config import ClusterConfig

hosts = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
hosts.add_node(num_cpus=2)
config = ClusterConfig(address=hosts.address, hosts=(2,), grow_after=0.1)
joining.connect(config)
groups = []

class Recorded(training.ExpertGroup):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        groups.append(self)

def watch(seen):
    progress = seen["smallest"]
    if len(groups) == 1 and progress and progress.compiled and len(joining.nodes()) == 2:
        print(groups[0].resources.hosts, len(groups[0].nodes), flush=True)
        hosts.add_node(num_cpus=2)
    if len(groups) == 2 and len(groups[1].nodes) == 2:
        print(groups[1].resources.hosts, 2, flush=True)
        raise KeyboardInterrupt

training.ExpertGroup = Recorded
try:
    training.train_experts([pickle.load(sys.stdin.buffer)], config, 1, watch)
except KeyboardInterrupt:
    joining.leave()
    hosts.shutdown()
"""


@pytest.mark.long
def test_a_group_of_two_hosts_waits_on_one_for_the_other(make_job: MakeJob, compilations):
    """Of a cluster, which may count a host dead for a moment, it takes no two places on one host."""
    job = make_job(expert=replace(SMALLEST, epochs=100_000))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", ON_HOSTS],
        input=pickle.dumps(job),
        env=environment | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)},
        capture_output=True,
        check=False,
        timeout=300,
    )
    assert done.stdout.decode().splitlines() == ["1 1", "2 2"], done.stderr.decode()


def node_label() -> str:
    """The label that Ray gives to the only node."""
    (node,) = ray.nodes()
    return f"ray.io/node-id={node['NodeID']}"


def test_experts_train_on_hosts_of_the_label(make_job: MakeJob, ray_cluster, undisturbed):
    config = ClusterConfig(train_on=node_label())
    (outcome,) = train_experts([make_job()], config, 1, lambda _: None).values()
    assert outcome.error is None


@pytest.mark.parametrize("autoscaled", [False, True])
def test_a_label_that_no_host_has_is_said_at_the_deadline(make_job: MakeJob, ray_cluster, autoscaled: bool):
    config = ClusterConfig(train_on="pool=none", place_deadline=0.5, autoscaled=autoscaled)
    message = r"found no place within 0\.5 s .*: 1 × \S+ CPU on hosts labelled pool=none; .* no such host"
    with pytest.raises(ClusterError, match=message):
        train_experts([make_job()], config, 1, lambda _: None)
    wait_until_free()
