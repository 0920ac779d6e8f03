"""The pool of long-lived actors that draws samples and runs simulations, chunk by chunk.

Chunks of one fixed shape, so that an actor compiles once. Actors commit frames and what they are reduced to,
and return summaries, which the driver adds up as they arrive; a finished chunk never runs again. Works and
the actors that compute them stand together, hence the length.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import ray
from jaxtyping import Array, Float, Key, PRNGKeyArray
from ray.exceptions import RayError, RayTaskError

from ...analysis.systems import System
from ...data import archive, fence
from ...data.archive import Bound
from ...data.dataset.shards import Dataset
from ...data.errors import FokkerError
from ...data.fence import Fence
from ...data.molecules.arrays import padded_frames
from ...data.trajectories import write_part
from ...model import trained
from ...model.config import SampleConfig, SimulateConfig
from ...model.dynamics import langevin
from ...model.keys import generator_of, key_of
from ..cluster import joining
from ..config import ClusterConfig, selector
from ..groups import metrics
from .chunks import ChunkStore, Summary, Temperatures, Timer, Trajectories, summarise

RESTARTS = 3
WAIT_SECONDS = 1.0


class PoolError(FokkerError):
    """A chunk that cannot be computed; the finished ones are kept."""


@runtime_checkable
class Work(Protocol):
    """A list of chunks: plain values that travel to the actors, and the function that computes one."""

    @property
    def directory(self) -> Path:
        """Where the chunks lie."""
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
    def chunks(self) -> int:
        """Number of chunks."""
        ...

    @property
    def frames(self) -> int:
        """Frames of one chunk, of all its chains."""
        ...

    @property
    def steps(self) -> int:
        """Steps of one chunk, of all its chains."""
        ...

    def compute(self, index: int) -> tuple[Trajectories, Temperatures]:
        """Trajectories of a chunk, and both kinetic temperatures of every chain (0 where there are none)."""
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

    def _real(self, frames: jax.Array) -> np.ndarray:
        """Frames without padding."""
        found = np.asarray(frames)
        return found if self.system.beads is None else found[..., : len(self.system.beads), :]


@dataclass(frozen=True)
class Sampling(_OfModel):
    """Independent samples of the experts together."""

    config: SampleConfig
    directory: Path
    seed: int
    number: int = 1
    """Of the result among others of this run, whose numbers are drawn apart."""

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return self.config.samples // self.config.chunk

    @property
    def frames(self) -> int:
        """Samples of one chunk."""
        return self.config.chunk

    @property
    def steps(self) -> int:
        """Evaluations of the score in one chunk."""
        return self.config.chunk * self.config.evaluations

    def key(self, index: int) -> PRNGKeyArray:
        """Of a chunk."""
        return key_of(self.seed, "sample", self.system.name, self.number, index)

    def compute(self, index: int) -> tuple[Trajectories, Temperatures]:
        """One frame of each of `chunk` chains."""
        model, molecule, _ = self._bound
        samples = trained.sample(model, self.config, self.key(index), self.config.chunk, molecule)
        return self._real(samples)[:, None], np.zeros((self.config.chunk, 2))


@dataclass(frozen=True)
class Simulation(_OfModel):
    """Langevin dynamics of the expert of the force time, from frames of the training data."""

    data: Path
    """Dataset of the frames that the chains start from."""
    split: str
    config: SimulateConfig
    directory: Path
    seed: int
    number: int = 1
    """Of the result among others of this run, whose numbers are drawn apart."""

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return self.config.chains // self.config.chunk

    @property
    def frames(self) -> int:
        """Frames of one chunk, of all its chains."""
        return self.config.chunk * (self.config.frames // self.config.chains)

    @property
    def steps(self) -> int:
        """Steps of one chunk, of all its chains."""
        kept = self.config.frames // self.config.chains * self.config.stride
        return self.config.chunk * (self.config.burn_in + kept)

    def keys(self, index: int) -> Key[jax.Array, "3"]:
        """Of the `langevin.PARTS` of a chunk."""
        place = self.system.name, self.number, index
        return jnp.stack([key_of(self.seed, part, *place) for part in langevin.PARTS])

    def _starts(self, index: int) -> Float[Array, "chains *shape"]:
        """Frames that the chains of a chunk start from."""
        frames = Dataset(self.data).split(self.split, self.system.name)
        random = generator_of(self.seed, "start", self.system.name, self.number, index)
        chosen = random.integers(len(frames), size=self.config.chunk)
        if self.config.first_phi_positive and index == 0:
            rare = np.flatnonzero(self.system.phi(frames.read()) > 0)
            if len(rare):
                chosen[0] = rare[0]
        return self._padded(frames.gather(chosen))

    def _padded(self, frames: np.ndarray) -> Array:
        molecule, x = self._bound.molecule, jnp.asarray(frames)
        return x if molecule is None else padded_frames(x, len(molecule.mask))

    def compute(self, index: int) -> tuple[Trajectories, Temperatures]:
        """Every stride-th frame of `chunk` chains after their burn-in."""
        model, molecule, mass = self._bound
        keys, frames = self.keys(index), self.config.frames // self.config.chains
        start = self._starts(index)
        state = trained.begin(model, self.config, start, mass, keys[:2], molecule)
        _, found = trained.simulate(model, self.config, state, mass, keys[2], frames, 0, molecule)
        positions = self.system.centred(self._real(found.position).swapaxes(0, 1))
        heat = np.stack([found.kinetic_temperature, found.step_temperature], axis=-1)
        return positions, heat.mean(axis=0)

    def largest_step(self, frames: int = 8) -> float:
        """The largest ω dt of the learned potential, of some frames of the data; not stable above 2.

        Zero where no direction has a restoring force.
        """
        split = Dataset(self.data).split(self.split, self.system.name)
        chosen = np.linspace(0, len(split) - 1, min(frames, len(split))).round().astype(int)
        model, molecule, mass = self._bound
        x = self._padded(split.gather(chosen))
        found = np.asarray(trained.frequencies(model, x, self.config.force_time, mass, molecule))
        return self.config.timestep * float(np.maximum(found.max(), 0))


class PoolWorker:
    """One actor: keeps what it compiled from chunk to chunk."""

    def __init__(self, works: Sequence[Work], fences: Sequence[Fence]):
        fence.hold(fences)
        self._works = works

    def ready(self) -> None:
        """Answers once the actor has its place."""

    def run(self, number: int, index: int) -> Summary:
        """Compute and commit a chunk of one of the works, unless an actor that was lost had committed it."""
        work, timer = self._works[number], Timer()
        store = ChunkStore(work.directory)
        if done := _done(work, store, index):
            return done
        trajectories, temperatures = work.compute(index)
        seconds, system = timer.seconds(), work.system
        summary, reduction = summarise(trajectories, temperatures, system, work.steps, seconds)
        if system.beads is not None:
            frames = trajectories.reshape(-1, *system.shape)
            write_part(frames, store.part(index), first=index * work.frames)
        store.commit(index, trajectories, summary, reduction)
        metrics.count(work.tags, chains=summary.chains)
        return summary


@dataclass(frozen=True)
class Tally:
    """The finished chunks of one work, and the sum of their summaries."""

    done: int
    chunks: int
    total: Summary | None = None

    def add(self, summary: Summary) -> "Tally":
        """With one more chunk."""
        return replace(
            self, done=self.done + 1, total=summary if self.total is None else self.total + summary
        )


Watcher = Callable[[list[Tally]], None]


def _done(work: Work, store: ChunkStore, index: int) -> Summary | None:
    """Summary of a chunk that is on disk in its full length; one of a shorter simulation is made anew."""
    summary = store.summary(index)
    return summary if summary is not None and summary.frames >= work.frames else None


def tally(work: Work) -> tuple[Tally, list[int]]:
    """What is on disk of a work, and the chunks that are not."""
    store, result, missing = ChunkStore(work.directory), Tally(0, work.chunks), []
    for index in range(work.chunks):
        summary = _done(work, store, index)
        if summary is None:
            missing.append(index)
        else:
            result = result.add(summary)
    return result, missing


def run(works: Sequence[Work], config: ClusterConfig, watch: Watcher) -> list[Tally]:
    """Compute every chunk that is not on disk.

    `watch` sees the tallies as chunks arrive. An actor that is lost is replaced and its chunk runs again.
    Raises PoolError if a chunk fails; on KeyboardInterrupt the chunks in flight are given up.
    """
    found = [tally(work) for work in works]
    tallies = [done for done, _ in found]
    todo = [(number, index) for number, (_, missing) in enumerate(found) for index in missing]
    watch(tallies)
    if not todo:
        return tallies
    pool = _Pool(works, config, min(len(todo), _size(config)))
    try:
        for number, summary in pool.map(todo):
            tallies[number] = tallies[number].add(summary)
            watch(tallies)
    finally:
        pool.close()
    return tallies


def _size(config: ClusterConfig) -> int:
    if config.simulators:
        return config.simulators
    kind = config.device.upper()
    return max(1, int(sum(node.get(kind, 0) for node in joining.nodes(selector(config.simulate_on)))))


class _Pool:
    """Actors that take the next chunk as they get free."""

    def __init__(self, works: Sequence[Work], config: ClusterConfig, size: int):
        gpus = 1 if config.device == "gpu" else 0
        self._deadline, self._labels = config.place_deadline, selector(config.simulate_on)
        self._bundle = {"CPU": min(1.0, joining.cpus(self._labels)), "GPU": gpus}
        self._actor: Any = ray.remote(PoolWorker).options(
            num_cpus=self._bundle["CPU"],
            num_gpus=gpus,
            label_selector=self._labels,
            runtime_env={"env_vars": joining.worker_environment(on_gpu=gpus > 0)},
        )
        self._works, self._shared = works, ray.put(list(works))
        self._workers: list[Any] = [self._new() for _ in range(size)]

    def _new(self) -> Any:
        return self._actor.remote(self._shared, fence.held())

    def map(self, chunks: list[tuple[int, int]]) -> Iterator[tuple[int, Summary]]:
        """Summaries of these (work, chunk) pairs, in the order in which they end."""
        waiting, left = chunks[::-1], len(chunks)
        # Of each chunk, and of actors at none: hosts that are taken away cost many actors, and end nothing.
        losses: Counter[tuple[int, int] | None] = Counter()
        # An actor gets a chunk when it is there: where there is no room for it, the others do the work.
        flying: dict[ray.ObjectRef, tuple[Any, tuple[int, int] | None]] = {
            worker.ready.remote(): (worker, None) for worker in self._workers
        }
        heard = time.monotonic()
        while left:
            fence.beat()
            ended, _ = ray.wait(list(flying), num_returns=1, timeout=WAIT_SECONDS)
            if not ended:
                if (
                    not any(chunk for _, chunk in flying.values())
                    and time.monotonic() - heard > self._deadline
                ):
                    raise joining.no_place("simulators", self._bundle, 1, self._labels, self._deadline)
                continue
            heard = time.monotonic()
            worker, chunk = flying.pop(ended[0])
            try:
                summary = ray.get(ended[0])
            except RayTaskError as error:
                if isinstance(error.cause, FokkerError):
                    raise error.cause from None
                raise PoolError(f"{self._name(chunk)}: {type(error.cause).__name__}: {error.cause}") from None
            except RayError as error:
                losses[chunk] += 1
                if losses[chunk] > RESTARTS:
                    raise PoolError(
                        f"{self._name(chunk)}: {losses[chunk]} actors were lost: {joining.reason(error)}"
                    ) from None
                self._workers.remove(worker)
                worker = self._new()
                self._workers.append(worker)
                flying[worker.ready.remote()] = worker, None
                if chunk:
                    waiting.append(chunk)
                continue
            if chunk:
                left -= 1
                losses[None] = 0
                yield chunk[0], summary
            if waiting:
                chunk = waiting.pop()
                flying[worker.run.remote(*chunk)] = worker, chunk

    def _name(self, chunk: tuple[int, int] | None) -> str:
        return str(ChunkStore(self._works[chunk[0]].directory).path(chunk[1])) if chunk else "the pool"

    def close(self) -> None:
        """End the actors."""
        for worker in self._workers:
            ray.kill(worker)
