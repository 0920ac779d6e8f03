"""How many hosts an expert gets."""

import json
from dataclasses import replace

import pytest

from fokker.distributed import cluster, costs
from fokker.distributed.config import ClusterConfig
from fokker.distributed.group import Resources

from .conftest import MakeJob

RESOURCES = Resources(hosts=1, devices=1, cpus=1.0, on_gpu=False)


@pytest.mark.parametrize(
    ("most", "devices", "hosts"), [(1, 1, 1), (3, 1, 2), (7, 1, 4), (100, 1, 16), (5, 4, 4)]
)
def test_hosts_share_the_equal_groups_of_a_batch(make_job: MakeJob, most: int, devices: int, hosts: int):
    """A batch of 32 with half of it regularised consists of 16 groups."""
    assert costs.fitting(make_job(), devices, most) == hosts


def test_parts_taken_one_after_another_need_groups_too(make_job: MakeJob):
    job = make_job()
    assert costs.fitting(replace(job, train=replace(job.train, accumulate=8)), 1, 4) == 2


def test_configured_hosts_are_those_of_each_expert(make_job: MakeJob):
    jobs = [make_job(0), make_job(1)]
    assert costs.hosts(jobs, ClusterConfig(hosts=(4,)), RESOURCES) == [4, 4]
    assert costs.hosts(jobs, ClusterConfig(hosts=(4, 2)), RESOURCES) == [4, 2]
    assert costs.hosts(jobs[1:], ClusterConfig(hosts=(4, 2)), RESOURCES) == [2], "the first is trained"


def test_hosts_beyond_one_each_go_to_the_dearest_by_what_was_measured(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
):
    jobs = [make_job(0), make_job(1)]
    for job, seconds in zip(jobs, (100.0, 20.0), strict=True):
        job.directory.mkdir(parents=True)
        (job.directory / costs.FILE).write_text(json.dumps({"seconds": seconds}))
    monkeypatch.setattr(cluster, "nodes", lambda labels: [{"CPU": 1.0}] * 5)
    assert costs.hosts(jobs, ClusterConfig(), RESOURCES) == [4, 1]
    monkeypatch.setattr(cluster, "nodes", lambda labels: [{"CPU": 1.0}] * 2)
    assert costs.hosts(jobs, ClusterConfig(), RESOURCES) == [1, 1]


def test_what_a_training_takes_is_measured_by_a_few_steps_and_remembered(ray_cluster, make_job: MakeJob):
    job = make_job(1)
    (seconds,) = costs.measured([job], RESOURCES)
    # 1440 steps of a network of eight neurons: more than nothing, and less than minutes.
    assert 0.01 < seconds < 300
    assert json.loads((job.directory / costs.FILE).read_text())["seconds"] == seconds
    assert costs.measured([job], RESOURCES) == [seconds]


def test_costs_order_the_experts_of_the_paper(make_job: MakeJob):
    job = make_job()
    plain = replace(job, expert=replace(job.expert, hidden=(64, 64), epochs=10, consistency_weight=0))
    assert costs.estimated(plain) == 10 * 2 * 64 * 64
    dearer = [
        replace(plain, expert=replace(plain.expert, epochs=11)),
        replace(plain, expert=replace(plain.expert, hidden=(64, 64, 64))),
        replace(plain, expert=replace(plain.expert, consistency_weight=1e-3)),
    ]
    assert all(costs.estimated(other) > costs.estimated(plain) for other in dearer)


def test_a_slot_is_room_for_all_that_a_host_of_a_group_needs(monkeypatch: pytest.MonkeyPatch):
    nodes = [{"CPU": 16.0, "GPU": 8.0}, {"CPU": 1.0, "GPU": 8.0}, {"CPU": 64.0}]
    monkeypatch.setattr(cluster, "nodes", lambda labels: nodes)
    assert cluster.slots({"CPU": 1.0, "GPU": 4.0}) == 3
    assert cluster.slots({"CPU": 2.0, "GPU": 8.0}) == 1
    assert cluster.slots({"CPU": 0.5}) == 32 + 2 + 128
    assert cluster.slots({"CPU": 2.0}, most=1) == 2
