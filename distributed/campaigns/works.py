"""What is drawn from trained models, as lists of segments: plain values that travel to the actors.

Chains advance in batches of one fixed number, the batch shape, as the bits of a compiled program depend on
it; a chain's place in a batch is that of its number. Its random numbers are its own: it depends on no other.
Samples and simulations stand side by side, as one pool takes both, hence the length.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ...analysis.systems import System
from ...data import archive
from ...data.archive import Bound
from ...data.molecules.arrays import padded_frames
from ...model import trained
from ...model.config import SampleConfig, SimulateConfig
from ...model.dynamics import langevin
from ...model.dynamics.langevin import Keys
from ...model.keys import key_of
from .segments import LEFT, NOT_FINITE, Loss, Made, Segment, State
from .starts import Start


@runtime_checkable
class Work(Protocol):
    """Batches of chains of one system, segment after segment, and the function that computes one."""

    @property
    def directory(self) -> Path:
        """Where the segments lie."""
        ...

    @property
    def system(self) -> System:
        """What they are of."""
        ...

    @property
    def tags(self) -> dict[str, str]:
        """What its numbers are told from those of others by."""
        ...

    @property
    def chains(self) -> int:
        """How many there are to be."""
        ...

    @property
    def batch(self) -> int:
        """Chains that advance together."""
        ...

    @property
    def length(self) -> int:
        """Steps that each chain is to take."""
        ...

    @property
    def timestep(self) -> float:
        """Time of a step (ps); 1 of what has no time."""
        ...

    def following(self, first: int, count: int, step: int) -> Segment | None:
        """The segment of some chains after this step; None at the end."""
        ...

    def frame_steps(self, segment: Segment) -> range:
        """The steps after which a frame is kept."""
        ...

    def compute(self, segment: Segment, start: State | None) -> Made:
        """A segment, from where the one before it ended."""
        ...


@dataclass(frozen=True)
class _OfModel:
    """Of one system, by a trained model. Molecules are padded: those of about a size share programs."""

    model: Path
    """Its file."""
    run: str
    system: System

    @property
    def tags(self) -> dict[str, str]:
        """Its run, its kind, and its system."""
        return {"run": self.run, "kind": type(self).__name__.lower(), "system": self.system.name}

    @cached_property
    def _bound(self) -> Bound:
        return archive.read(self.model).bind(self.system.beads)

    def _real(self, frames: jax.Array | np.ndarray) -> np.ndarray:
        """Frames without padding."""
        found = np.asarray(frames)
        return found if self.system.beads is None else found[..., : len(self.system.beads), :]

    def _padded(self, frames: np.ndarray) -> jax.Array:
        molecule, x = self._bound.molecule, jnp.asarray(frames)
        return x if molecule is None else padded_frames(x, len(molecule.mask))


@dataclass(frozen=True)
class Sampling(_OfModel):
    """Independent samples of the experts together: chains of one frame, and of one segment."""

    config: SampleConfig
    directory: Path
    seed: int
    identity: str
    """Of all that the numbers depend on, beside the seed and the system."""

    @property
    def chains(self) -> int:
        """Samples."""
        return self.config.samples

    @property
    def batch(self) -> int:
        """Samples that are drawn together."""
        return self.config.chunk

    @property
    def length(self) -> int:
        """Evaluations of the score for each."""
        return self.config.evaluations

    @property
    def timestep(self) -> float:
        """There is no time."""
        return 1.0

    def following(self, first: int, count: int, step: int) -> Segment | None:
        """The one that there is."""
        return None if step else Segment(first, count, 0, self.length)

    def frame_steps(self, segment: Segment) -> range:
        """At the end."""
        return range(self.length, self.length + 1)

    def key(self, first: int) -> jax.Array:
        """Of the batch that begins with this sample."""
        return key_of(self.seed, "sample", self.system.name, self.identity, first // self.batch)

    def compute(self, segment: Segment, start: State | None = None) -> Made:
        """One frame of each chain."""
        model, molecule, _ = self._bound
        samples = trained.sample(model, self.config, self.key(segment.first), self.batch, molecule)
        found = self._real(samples)[_rows(segment, self.batch)]
        finite = self.system.finite(found)
        left = int((finite & ~self.system.physical(found)).sum())
        lost = (segment.first + np.flatnonzero(~finite)).tolist()
        losses = tuple(Loss(number, 0, NOT_FINITE) for number in lost)
        return Made(found[:, None], np.zeros((2, segment.count, 1)), None, left, losses)


@dataclass(frozen=True)
class Simulation(_OfModel):
    """Langevin dynamics of the expert of the force time."""

    start: Start
    """Where chains begin."""
    config: SimulateConfig
    directory: Path
    seed: int
    identity: str
    """Of all that the numbers depend on, beside the seed and the system."""

    @property
    def chains(self) -> int:
        """How many there are to be."""
        return self.config.chains

    @property
    def batch(self) -> int:
        """Chains that advance together."""
        return self.config.chunk

    @property
    def length(self) -> int:
        """Steps that each chain is to take."""
        return self.config.burn_in + self.config.frames // self.config.chains * self.config.stride

    @property
    def timestep(self) -> float:
        """Of the integrator."""
        return self.config.timestep

    def following(self, first: int, count: int, step: int) -> Segment | None:
        """The segment of some chains after this step; the burn-in ends with one."""
        if step >= self.length:
            return None
        burn_in, piece = self.config.burn_in, self.config.segment * self.config.stride
        begin, ahead = (0, burn_in) if step < burn_in else (burn_in, self.length)
        # Pieces end where those of others do, also where a shorter simulation ended before.
        return Segment(first, count, step, min(begin + ((step - begin) // piece + 1) * piece, ahead))

    def frame_steps(self, segment: Segment) -> range:
        """Every stride-th after the burn-in."""
        stride = self.config.stride
        return range(segment.begin + stride, segment.end + 1, stride) if self._kept(segment) else range(0)

    def _kept(self, segment: Segment) -> bool:
        return segment.begin >= self.config.burn_in

    def keys(self, first: int) -> Keys:
        """Of the chains of the batch that this chain is in."""
        own = key_of(self.seed, "simulate", self.system.name, self.identity)
        begin = first // self.batch * self.batch
        return jax.vmap(partial(jax.random.fold_in, own))(jnp.arange(begin, begin + self.batch))

    def _starts(self, first: int) -> Float[np.ndarray, "chains *shape"]:
        """Frames that the chains of a batch start from."""
        number = first // self.batch
        key = key_of(self.seed, "start", self.system.name, self.identity, number)
        return self._real(self.start(self.system, number, self.batch, key, self._bound))

    def begin(self, first: int) -> langevin.State:
        """The chains of a batch at their start."""
        model, molecule, mass = self._bound
        start = self._padded(self._starts(first))
        return trained.begin(model, self.config, start, mass, self.keys(first), molecule)

    def resume(self, first: int, state: State) -> langevin.State:
        """The chains of a batch where they stood; in the places of others stands one of them."""
        model, molecule, _ = self._bound
        rows = _rows(Segment(first, len(state.steps), 0, 0), self.batch)
        place = np.zeros(self.batch, int)
        place[rows] = np.arange(len(state.steps))
        position, velocity = (self._padded(part[place]) for part in state[:2])
        steps = jnp.asarray(state.steps[place], jnp.int32)
        return trained.resume(model, self.config, position, velocity, steps, molecule)

    def compute(self, segment: Segment, start: State | None) -> Made:
        """The frames of its chains, and where they stand at its end."""
        model, molecule, mass = self._bound
        first, rows, keys = segment.first, _rows(segment, self.batch), self.keys(segment.first)
        guard = self.system.guard(len(np.atleast_1d(mass))) if self.config.ends_unless == "physical" else None
        state = self.begin(first) if start is None else self.resume(first, start)
        steps = np.array(self.frame_steps(segment), int)
        if self._kept(segment):
            end, found = trained.simulate(model, self.config, state, mass, keys, len(steps), guard, molecule)
            positions = self._real(found.position).swapaxes(0, 1)[rows]
            there = np.asarray(found.steps).T[rows] == steps
            positions = np.where(there.reshape(*there.shape, *[1] * (positions.ndim - 2)), positions, np.nan)
            heat = np.stack([found.kinetic_temperature, found.step_temperature]).swapaxes(1, 2)[:, rows]
        else:
            count = segment.end - segment.begin
            end = trained.advance(model, self.config, state, mass, keys, count, guard, molecule)
            positions = np.zeros((segment.count, 0, *self.system.shape), np.float32)
            heat = np.zeros((2, segment.count, 0))
        return self._made(segment, start, end, positions, heat)

    def _made(
        self,
        segment: Segment,
        start: State | None,
        end: langevin.State,
        positions: np.ndarray,
        heat: np.ndarray,
    ) -> Made:
        """What came of a segment, and which of its chains were lost in it."""
        rows, count, finite = _rows(segment, self.batch), segment.count, self.system.finite(positions)
        position, velocity = (self._real(part)[rows] for part in end[:2])
        taken = np.asarray(end.steps, np.int64)[rows]
        good = (taken == segment.end) & self.system.finite(position)
        was_good, left_before = np.full(count, True), np.full(count, False)
        if start is not None:
            was_good = (start.steps == segment.begin) & self.system.finite(start.position)
            left_before = start.left
        lost, losses = was_good & ~good, []
        left = left_before | (finite & ~self.system.physical(positions)).any(axis=1)
        whither = position
        if (lost & (taken < segment.end)).any():
            model, molecule, mass = self._bound
            after = trained.step(model, self.config, end, mass, self.keys(segment.first), molecule)
            whither = self._real(after.position)[rows]
        for place in np.flatnonzero(lost).tolist():
            last = int(taken[place])
            if last == segment.end:  # Nothing stopped it, and what is known of it are its frames.
                kept = np.array(self.frame_steps(segment), int)[finite[place]]
                last = int(max(kept, default=segment.begin))
            reason = LEFT if self.system.finite(whither[place]) else NOT_FINITE
            left[place] |= reason == LEFT
            losses.append(Loss(segment.first + place, last, reason))
        state = State(position, velocity, taken, left)
        return Made(
            self.system.centred(positions), heat, state, int((left & ~left_before).sum()), tuple(losses)
        )

    def largest_step(self, frames: int = 8) -> float:
        """The largest ω dt of the learned potential and a whole step, where some chains start.

        Not stable above 2, of steps that are made of inner ones above π (`SimulationCounts.limit`). Zero
        where no direction has a restoring force.
        """
        model, molecule, mass = self._bound
        x = self._padded(self._starts(0)[:frames])
        found = np.asarray(trained.frequencies(model, x, self.config.force_time, mass, molecule))
        return self.config.timestep * float(np.maximum(found.max(), 0))


def lanes_of(work: Work, there: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """First chain, and number of chains, of what advances together: what is there, and what is missing."""
    covered = 0
    for first, count in [*sorted(there), (work.chains, 0)]:
        while covered < first:  # Batches arrive in any order, and leave gaps.
            missing = min(work.batch - covered % work.batch, first - covered)
            yield covered, missing
            covered += missing
        if count:
            yield first, count
        covered = max(covered, first + count)


def _rows(segment: Segment, batch: int) -> slice:
    """The places of its chains in their batch."""
    place = segment.first % batch
    return slice(place, place + segment.count)
