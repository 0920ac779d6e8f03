"""Random orders of which every place is computed by itself: whatever their length, nothing is stored.

A number below `count` is a row and a column of a table that is hardly larger. A Feistel network, which adds a
hash of one to the other and swaps them, permutes the table; what falls outside `count` is permuted again
until it does not (Black & Rogaway, Ciphers with Arbitrary Finite Domains, 2002). Grain's `index_shuffle` does
as much for one number a call, and a toy's training step takes less time than that of its whole batch.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, UInt32

ROUNDS = 6
"""Even, so that rows are rows again in the end."""
Numbers = Int[np.ndarray, "#places"]


def shuffled(
    place: Int[np.ndarray, "places"], count: int | Numbers, key: Sequence[int], stream: int | Numbers = 0
) -> Int[np.ndarray, "places"]:
    """What stands at these places of a random order of the numbers below `count`, at most 2³².

    Every key, of whole numbers from 0 on, has an order of its own, and so has every stream of a key.
    """
    keys = np.random.SeedSequence(key).generate_state(ROUNDS)
    count, stream = np.atleast_1d(count), np.atleast_1d(stream)
    found = _permuted(place, count, keys, stream)
    while (outside := np.flatnonzero(found >= count)).size:
        own, apart = (part[outside] if part.size > 1 else part for part in (count, stream))
        found[outside] = _permuted(found[outside], own, keys, apart)
    return found


def _permuted(
    number: Int[np.ndarray, "places"], count: Numbers, keys: UInt32[np.ndarray, "rounds"], stream: Numbers
) -> Int[np.ndarray, "places"]:
    """Another number of the table, which no other one of the same stream becomes."""
    rows = np.ceil(np.sqrt(count)).astype(np.int64)
    columns = -(-count // rows)
    left, right = np.divmod(number, columns)
    for turn, key in enumerate(keys):
        size = (rows, columns)[turn % 2]
        # The upper half of a product is below its factor, and takes no division.
        added = (_hash(right, _hash(stream, key)) * size.astype(np.uint64) >> 32).astype(np.int64)
        left, right = right, (left + added) - size * (left + added >= size)
    return left * columns + right


def _hash(number: Numbers, key: UInt32[np.ndarray, "#places"] | np.uint32) -> UInt32[np.ndarray, "#places"]:
    """32 bits that look random (Ettinger's finaliser "lowbias32")."""
    bits = number.astype(np.uint32) + key
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        bits = (bits ^ (bits >> shift)) * np.uint32(factor)
    return bits ^ (bits >> 16)
