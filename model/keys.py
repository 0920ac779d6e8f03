"""Where every random number of a run comes from: a key of its seed and of what it is for.

Two works that differ in anything (seed, purpose, system, replica, index) draw different numbers. A key is
either drawn from or divided further: what `fold_in(key, i)` and `split(key)[i]` give is the same.
"""

import hashlib

import jax
import numpy as np
from jaxtyping import PRNGKeyArray


def key_of(seed: int | PRNGKeyArray, purpose: str, *place: str | int) -> PRNGKeyArray:
    """The key of a seed (or a key), of a purpose such as "sample", and of a place: system, replica, index."""
    key = seed if isinstance(seed, jax.Array) else jax.random.key(_word(seed))
    for part in (purpose, *place):
        key = jax.random.fold_in(key, _word(part))
    return key


def generator_of(seed: int, purpose: str, *place: str | int) -> np.random.Generator:
    """NumPy's generator of such a key."""
    return generator(key_of(seed, purpose, *place))


def generator(key: PRNGKeyArray) -> np.random.Generator:
    """NumPy's generator of a key that is used for nothing else."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def _word(part: str | int) -> int:
    """32 bits: a number that has no more as it is, all else by its hash, which no process changes."""
    if isinstance(part, int) and 0 <= part < 2**32:
        return part
    return int.from_bytes(hashlib.sha256(str(part).encode()).digest()[:4])
