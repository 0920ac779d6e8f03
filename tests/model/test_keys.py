"""Keys by what they are for: all differ, and are the same in every process."""

import subprocess
import sys
from itertools import product

import jax
import numpy as np

from fokker.model.keys import generator_of, key_of


def data(*place) -> tuple[int, ...]:
    return tuple(np.asarray(jax.random.key_data(key_of(*place))).tolist())


def test_keys_differ_by_seed_purpose_system_replica_and_index():
    places = [
        *product((0, 1, 2), ("sample", "steps"), ("AC", "CA", "ACE-ALA-NME"), range(4), range(3)),
        *product((0, 1), ("sample", "steps"), ("AC", "CA"), range(4)),  # Fewer parts are another place.
    ]
    assert len({data(*place) for place in places}) == len(places)


def test_seeds_beyond_32_bits_and_below_zero_are_seeds_of_their_own():
    """JAX takes 2³² + 5 for 5."""
    seeds = (0, 5, 2**32, 2**32 + 5, 2**64 + 5, -1, -5)
    assert len({data(seed, "sample") for seed in seeds}) == len(seeds)


def test_a_key_is_the_same_in_every_process_and_type():
    script = (
        "import jax; from fokker.model.keys import key_of;"
        "print(*jax.random.key_data(key_of(3, 'sample', 'AC', 1)).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert tuple(map(int, done.stdout.split())) == data(3, "sample", "AC", 1)
    with jax.enable_x64(True):
        assert tuple(map(int, done.stdout.split())) == data(3, "sample", "AC", 1)


def test_generators_follow_their_key():
    first, again, other = (generator_of(seed, "start", "AC").integers(1000, size=8) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_what_a_key_is_divided_into_by_split_and_by_fold_in_is_the_same():
    """Why no key may be divided in both ways (JAX does not say that it is so)."""
    key = jax.random.key(3)
    for index, part in enumerate(jax.random.split(key, 3)):
        folded = jax.random.fold_in(key, index)
        np.testing.assert_array_equal(jax.random.key_data(part), jax.random.key_data(folded))
