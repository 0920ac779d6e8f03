"""Hosts go where they shorten the training most, and experts that have to wait begin in order of cost."""

import itertools
from dataclasses import replace

import pytest

from fokker.distributed.planning.sharing import fitting, hosts, schedule, share_hosts, work

from ..conftest import MakeJob


def any_number(hosts: int) -> bool:
    return True


@pytest.mark.parametrize(
    ("costs", "slots", "hosts"),
    [
        ((6.0, 2.0, 1.0), 3, (1, 1, 1)),
        ((6.0, 2.0, 1.0), 4, (2, 1, 1)),
        ((6.0, 2.0, 1.0), 9, (6, 2, 1)),
        ((1.0, 1.0), 4, (2, 2)),
        ((5.0,), 7, (7,)),
        ((1.0, 2.0, 3.0), 1, (1, 1, 1)),
        ((), 4, ()),
    ],
)
def test_shares_by_cost(costs: tuple[float, ...], slots: int, hosts: tuple[int, ...]):
    assert share_hosts(costs, slots, any_number) == hosts


@pytest.mark.parametrize("costs", [(7.0, 2.0, 1.0), (3.0, 3.0, 2.5), (1.0, 9.0, 4.0)])
@pytest.mark.parametrize("slots", range(3, 11))
def test_no_other_sharing_ends_earlier(costs: tuple[float, ...], slots: int):
    """By trying all of them; greedy is optimal where any number of hosts can share a batch."""

    def last(hosts: tuple[int, ...]) -> float:
        return max(cost / own for cost, own in zip(costs, hosts, strict=True))

    every = [
        hosts for hosts in itertools.product(range(1, slots + 1), repeat=len(costs)) if sum(hosts) <= slots
    ]
    shared = share_hosts(costs, slots, any_number)
    assert sum(shared) == slots
    assert last(shared) == min(map(last, every))


def test_hosts_divide_the_batch():
    """Of 128 rows and 8 devices a host, 16 hosts are the most, and 3 are none."""
    assert share_hosts((100.0, 1.0), 5, lambda hosts: 128 % (8 * hosts) == 0) == (4, 1)
    assert share_hosts((100.0, 1.0), 64, lambda hosts: 128 % (8 * hosts) == 0) == (16, 16)


def test_what_the_dearest_cannot_use_goes_to_the_next():
    assert share_hosts((9.0, 2.0, 1.0), 5, lambda hosts: hosts in (1, 2)) == (2, 2, 1)
    # Two are left for the first, which needs three more.
    assert share_hosts((9.0, 2.0), 4, lambda hosts: hosts in (1, 2, 3)) == (3, 1)
    assert share_hosts((9.0, 2.0), 4, lambda hosts: hosts in (1, 4)) == (1, 1)


def test_all_at_once_where_there_is_room():
    assert schedule((6.0, 2.0, 1.0), (2, 1, 1), 4) == (0, 0, 0)


def test_rounds_where_there_is_none():
    """The dearest first; whoever is next takes the host that is free first."""
    assert schedule((1.0, 6.0, 2.0), (1, 1, 1), 1) == (8, 0, 6)
    assert schedule((1.0, 6.0, 2.0), (1, 1, 1), 2) == (2, 0, 0)


def test_a_group_waits_until_all_its_hosts_are_free():
    assert schedule((4.0, 3.0), (1, 2), 2) == (3, 0)


@pytest.mark.parametrize(
    ("most", "devices", "count"), [(1, 1, 1), (3, 1, 2), (7, 1, 4), (100, 1, 16), (5, 4, 4)]
)
def test_hosts_share_the_equal_groups_of_a_batch(make_job: MakeJob, most: int, devices: int, count: int):
    """A batch of 32 with half of it regularised consists of 16 groups."""
    assert fitting(make_job(), devices, most) == count


def test_parts_taken_one_after_another_need_groups_too(make_job: MakeJob):
    job = make_job()
    assert fitting(replace(job, train=replace(job.train, accumulate=8)), 1, 4) == 2


def test_hosts_that_are_wanted_are_those_of_each_expert(make_job: MakeJob):
    jobs = [make_job(0), make_job(1)]
    assert hosts(jobs, (4,), 1, 2) == [4, 4]
    assert hosts(jobs, (4, 2), 1, 2) == [4, 2]
    assert hosts(jobs[1:], (4, 2), 1, 2) == [2], "the first is trained"


def test_hosts_beyond_one_each_go_to_the_dearest(make_job: MakeJob):
    jobs = [make_job(0), make_job(1)]
    assert work(jobs[0]) > 4 * work(jobs[1])
    assert hosts(jobs, "auto", 1, 5) == [4, 1]
    assert hosts(jobs, "auto", 1, 2) == [1, 1]
    assert hosts(jobs, "auto", 1, 0) == [1, 1]


def test_work_orders_the_experts_of_the_paper(make_job: MakeJob):
    job = make_job()
    plain = replace(job, expert=replace(job.expert, hidden=(64, 64), epochs=10, consistency_weight=0))
    assert work(plain) == 10 * 2 * 64 * 64
    dearer = [
        replace(plain, expert=replace(plain.expert, epochs=11)),
        replace(plain, expert=replace(plain.expert, hidden=(64, 64, 64))),
        replace(plain, expert=replace(plain.expert, consistency_weight=1e-3)),
    ]
    assert all(work(other) > work(plain) for other in dearer)
    late = replace(dearer[-1], objective=replace(job.objective, consistency_start=0.5))
    assert work(plain) < work(late) < work(dearer[-1])
    assert work(replace(plain, expert=replace(plain.expert, conservative=False))) < work(plain)
