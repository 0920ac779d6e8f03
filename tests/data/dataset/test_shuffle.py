"""An order is a permutation, whatever its length, and looks random to what a training sees of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from fokker.data.dataset.shuffle import shuffled


@given(
    st.integers(1, 3000), st.lists(st.integers(0, 2**40), min_size=1, max_size=3), st.integers(0, 2**32 - 1)
)
def test_every_number_has_one_place(count: int, key: list[int], stream: int):
    assert sorted(shuffled(np.arange(count), count, key, stream)) == [*range(count)]


@pytest.mark.parametrize("count", [2, 10, 101])
def test_places_and_neighbours_are_those_of_random_orders(count: int):
    """Over streams each number stands everywhere equally often, and the pairs of the first two do so too."""
    places, streams = np.tile(np.arange(count), 4000), np.repeat(np.arange(4000), count)
    orders = shuffled(places, count, [3], streams).reshape(4000, count)
    stands = np.stack([np.bincount(column, minlength=count) for column in orders.T])
    assert chisquare(stands.ravel()).pvalue > 1e-3
    pairs = np.bincount(orders[:, 0] * count + orders[:, 1], minlength=count**2).reshape(count, count)
    assert chisquare(pairs[~np.eye(count, dtype=bool)]).pvalue > 1e-3


def test_keys_and_streams_have_orders_of_their_own():
    """Two random orders of 1000 have one number in common on average."""
    orders = [
        shuffled(np.arange(1000), 1000, key, stream)
        for key, stream in (([1, 2], 0), ([1, 3], 0), ([2, 2], 0), ([1, 2], 1), ([1, 2], 2))
    ]
    common = [(a == b).sum() for i, a in enumerate(orders) for b in orders[:i]]
    assert max(common) < 8


def test_a_place_of_the_longest_order_needs_no_others():
    numbers = shuffled(np.arange(10**5), 2**32, [0])
    assert len(np.unique(numbers)) == 10**5
    assert chisquare(np.bincount(numbers >> 26, minlength=64)).pvalue > 1e-3


def test_each_place_may_be_of_an_order_of_its_own():
    count, stream = np.array([5, 7, 5, 1]), np.array([0, 0, 1, 9])
    together = shuffled(np.array([4, 6, 4, 0]), count, [8], stream)
    alone = [
        shuffled(np.array([place]), int(n), [8], int(s))[0]
        for place, n, s in zip((4, 6, 4, 0), count, stream, strict=True)
    ]
    np.testing.assert_array_equal(together, alone)
