"""What this machine can do, as the networks use it: measured in a moment, on one thread."""

import os
from collections.abc import Callable
from time import process_time
from timeit import repeat
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..cluster.devices import Device

WIDTH, ROWS, LAYERS = 64, 640, 3
TURNS, CALLS = 5, 4
COPIED = 2**24
"""Bytes of the array whose reading and writing is timed: what a step holds, more than a core's own cache."""


def this_machine(devices: int = 1) -> Device:
    """One thread of this machine as a device; `devices` of them share its memory.

    Arithmetic is that of the training of a small perceptron, matrix products with what lies between them, and
    the clock is that of the process, which other work on the machine does not touch.
    """
    weights, rows = [jnp.eye(WIDTH)] * LAYERS, jnp.ones((ROWS, WIDTH))
    descend = jax.jit(_descend).lower(weights, rows).compile()
    flops = (descend.cost_analysis() or {})["flops"] / _seconds(lambda: descend(weights, rows))
    array = jnp.ones(COPIED // 4)
    stream = jax.jit(lambda array: 1.5 * array + 1.0)
    bandwidth = 2 * COPIED / _seconds(lambda: stream(array))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / devices
    return Device("cpu", memory, flops, None, bandwidth, bandwidth, launch=0.0, overlaps=False, share=1.0)


def _descend(weights: list[Array], rows: Float[Array, "rows width"]) -> list[Array]:
    """A step down the gradient of a perceptron's mean square."""

    def loss(weights: list[Array]) -> Array:
        hidden = rows
        for weight in weights:
            hidden = jax.nn.swish(hidden @ weight)
        return jnp.mean(hidden**2)

    return jax.tree.map(lambda weight, slope: weight - slope, weights, jax.grad(loss)(weights))


def _seconds(call: Callable[[], Any]) -> float:
    """Processor time of a call: the shortest of some turns, of several calls each."""
    jax.block_until_ready(call())
    turns = repeat(lambda: jax.block_until_ready(call()), timer=process_time, repeat=TURNS, number=CALLS)
    return min(turns) / CALLS
