"""Hosts go where they shorten the training most, and experts that have to wait begin in order of cost."""

import itertools

import pytest

from fokker.distributed.sharing import schedule, share_hosts


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
    assert schedule((6.0, 2.0, 1.0), (2, 1, 1), 4) == ((0, 6), (0, 2), (0, 1))


def test_rounds_where_there_is_none():
    """The dearest first; whoever is next takes the host that is free first."""
    assert schedule((1.0, 6.0, 2.0), (1, 1, 1), 1) == ((8, 9), (0, 6), (6, 8))
    assert schedule((1.0, 6.0, 2.0), (1, 1, 1), 2) == ((2, 3), (0, 6), (0, 2))


def test_a_group_waits_until_all_its_hosts_are_free():
    assert schedule((4.0, 3.0), (1, 2), 2) == ((3, 7), (0, 3))
    with pytest.raises(ValueError, match="hosts 3 is more than the 2 there are"):
        schedule((1.0,), (3,), 2)
