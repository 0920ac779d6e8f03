"""Cores of metastable states, and which of them a trajectory visited last (milestoning).

Frames between cores belong to the core visited last, so that a trajectory which only trembles on a barrier
makes no transitions (Schütte et al., 2011, *Markov state models based on milestoning*).
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from math import pi

import numpy as np
from jaxtyping import Bool, Float, Int

NONE = -1
"""Number of no core."""

Values = Float[np.ndarray, "frames axes"]
States = Int[np.ndarray, "_"]
"""Numbers of one unbroken chain of frames, in order of time; chains may differ in length."""
Cores = Callable[[Values], Int[np.ndarray, "frames"]]
"""Number of the core that each frame is in, or −1."""


@dataclass(frozen=True)
class Arcs:
    """Intervals of an angle (radians), from the first number upwards to the second, if need be through ±π."""

    arcs: tuple[tuple[float, float], ...]

    def __post_init__(self):
        for number, (begin, end) in enumerate(self.arcs):
            if not 0 < (end - begin) % (2 * pi) < 2 * pi:
                raise ValueError(
                    f"core {number}, from {begin} to {end}, has no length or is the whole circle"
                )
        for (a, one), (b, other) in combinations(enumerate(self.arcs), 2):
            if self._in(np.array([one[0]]), other)[0] or self._in(np.array([other[0]]), one)[0]:
                raise ValueError(f"cores {a} and {b} overlap: {one} and {other}")

    def __call__(self, values: Values) -> Int[np.ndarray, "frames"]:
        """By the first axis."""
        return _numbers([self._in(values[:, 0], arc) for arc in self.arcs], values)

    @staticmethod
    def _in(angles: Float[np.ndarray, "angles"], arc: tuple[float, float]) -> Bool[np.ndarray, "angles"]:
        return (angles - arc[0]) % (2 * pi) <= (arc[1] - arc[0]) % (2 * pi)


@dataclass(frozen=True)
class Discs:
    """Points within a radius of centres; on a torus of angles (radians) where they are `periodic`."""

    centres: tuple[tuple[float, ...], ...]
    radii: tuple[float, ...]
    periodic: bool = False

    def __post_init__(self):
        if len(self.centres) != len(self.radii):
            raise ValueError(f"{len(self.centres)} centres of discs and {len(self.radii)} radii")
        for a, b in combinations(range(len(self.radii)), 2):
            apart = self._distance(np.array([self.centres[a]]), self.centres[b])[0]
            if apart <= self.radii[a] + self.radii[b]:
                raise ValueError(f"cores {a} and {b} overlap: they are {apart:g} apart")

    def __call__(self, values: Values) -> Int[np.ndarray, "frames"]:
        """By all axes."""
        discs = zip(self.centres, self.radii, strict=True)
        return _numbers([self._distance(values, centre) <= radius for centre, radius in discs], values)

    def _distance(self, values: Values, centre: tuple[float, ...]) -> Float[np.ndarray, "frames"]:
        away = values - np.array(centre)
        return np.linalg.norm((away + pi) % (2 * pi) - pi if self.periodic else away, axis=1)


def _numbers(inside: list[np.ndarray], values: Values) -> Int[np.ndarray, "frames"]:
    found = np.full(len(values), NONE)
    for number, members in enumerate(inside):
        found[members] = number
    return found


def milestones(values: Values, cores: Cores) -> States:
    """The core that was visited last at each frame of one unbroken chain; −1 before the first.

    Raises ValueError for values that are not finite: where a chain went bad it ends.
    """
    if not np.isfinite(values).all():
        frame = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        raise ValueError(f"frame {frame} of the chain is not finite: cut the chain before it")
    found = cores(values)
    last = np.maximum.accumulate(np.where(found != NONE, np.arange(len(found)), 0))
    return found[last]
