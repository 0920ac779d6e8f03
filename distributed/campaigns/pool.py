"""The pool of long-lived actors that computes segments, whose bits no number of actors and no loss changes.

Segments of one fixed shape, so that an actor compiles once. Actors commit them and return summaries, which
the driver adds up as they arrive; it never sees a frame. A finished segment never runs again. One that fails
again and again is given up, and with it the chains that it would have advanced; all others go on. What actors
do, and what is done when one of them does not, stand together, hence the length.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayError, RayTaskError

from ...data import fence
from ...data.errors import FokkerError
from ...data.fence import Fence
from ...data.files import FileError
from ...data.trajectories import write_part
from ..cluster import joining, ray_compat
from ..config import ClusterConfig, selector
from ..groups import metrics
from .ledger import Ledger
from .segments import Loss, Segment, Store, Summary, summarise
from .works import Work, lanes_of

RESTARTS = 3
"""Attempts at a segment after the first."""
WAIT_SECONDS = 1.0
PAUSE_SECONDS = 5.0
"""Between two looks at a disk that was full."""
GROW_SECONDS = 30.0
"""Between two looks for hosts that have joined."""
IDLE_LOSSES = 100

Arrived = tuple[Summary, list[Loss]]


class PoolError(FokkerError):
    """Segments that cannot be computed; the finished ones are kept."""


class PoolWorker:
    """One actor: keeps what it compiled from segment to segment."""

    def __init__(self, works: Sequence[Work], fences: Sequence[Fence]):
        fence.hold(fences)
        self._works = works

    def ready(self) -> str:
        """Answers once the actor has its place: the node."""
        return ray.get_runtime_context().get_node_id()

    def run(self, number: int, segment: Segment, before: Segment | None) -> Arrived:
        """Compute and commit a segment of one of the works, unless a lost actor had committed it."""
        work, begin = self._works[number], time.perf_counter()
        store, system = Store(work.directory), work.system
        if store.path(segment).exists():
            return store.summary(segment), store.losses(segment)
        start = None if before is None else store.state(before)
        made, steps = work.compute(segment, start), np.asarray(work.frame_steps(segment), int)
        seconds = time.perf_counter() - begin
        follows = start is not None and before is not None and len(work.frame_steps(before))
        evaluations = segment.count * (segment.end - segment.begin)
        last = system.centred(start.position) if start is not None and follows else None
        summary, reduction = summarise(made, segment, system, evaluations, seconds, last)
        ends = []
        late = store.path(segment).exists()  # Another actor's, whose XTC stays as well.
        if system.beads is not None and len(steps) and not late:
            frames, numbers = made.trajectories.reshape(-1, *system.shape), np.tile(steps, segment.count)
            ends = write_part(frames, store.xtc(segment), numbers, work.timestep, segment.count)
        store.commit(segment, made, summary, reduction, ends)
        metrics.count(work.tags, chains=segment.count if segment.end == work.length else 0)
        return summary, [*made.losses]


@dataclass(frozen=True)
class Tally:
    """The finished segments of one work, and the sum of their summaries."""

    done: int
    segments: int
    total: Summary | None = None

    def add(self, summary: Summary) -> "Tally":
        """With one more segment."""
        return replace(
            self, done=self.done + 1, total=summary if self.total is None else self.total + summary
        )


Watcher = Callable[[list[Tally]], None]
Rounds = Callable[[int, int], bool]
"""Whether a work, by its number, goes on after a step that all its chains have reached."""


@dataclass(frozen=True)
class Lane:
    """Chains that advance together, and where they stand."""

    work: int
    first: int
    count: int
    last: Segment | None = None
    """That is done."""

    def following(self, work: Work) -> Segment | None:
        """The next segment; None at the end."""
        return work.following(self.first, self.count, 0 if self.last is None else self.last.end)


def tally(work: Work, write: bool = False) -> Tally:
    """What is on disk of a work. Raises FileError for what is damaged."""
    return _state(0, work, write)[0]


def missing(work: Work) -> Path | None:
    """The first segment that is not on disk; None of a work that is done."""
    for lane in _state(0, work)[1]:
        segment = lane.following(work)
        if segment:
            return Store(work.directory).path(segment)
    return None


def _state(number: int, work: Work, write: bool = False) -> tuple[Tally, list[Lane]]:
    store = Store(work.directory)
    done, lanes, ahead = Ledger(store).done(write), [], 0
    for first, count in lanes_of(work, store.lanes):
        own = store.lanes.get((first, count), ())
        lane = Lane(number, first, count, own[-1] if own else None)
        lanes.append(lane)
        while segment := lane.following(work):
            ahead, lane = ahead + 1, replace(lane, last=segment)
    found = Tally(0, len(done) + ahead)
    for summary in done.values():
        found = found.add(summary)
    return found, lanes


def run(
    works: Sequence[Work],
    config: ClusterConfig,
    watch: Watcher,
    notify: Callable[[str], None] = print,
    rounds: Rounds | None = None,
) -> list[Tally]:
    """Compute every segment that is not on disk.

    `watch` sees the tallies as segments arrive, `notify` what people should know. With `rounds`, chains of a
    work wait for each other after every segment, and it says whether they go on. An actor that is lost, or
    at a segment for too long, is replaced and its segment runs again. Raises PoolError, when all others are
    done, for segments that failed again and again; on KeyboardInterrupt those in flight are given up.
    """
    found = [_state(number, work, write=True) for number, work in enumerate(works)]
    tallies = [done for done, _ in found]
    watch(tallies)
    if not any(lane.following(works[lane.work]) for _, own in found for lane in own):
        return tallies
    pool = _Pool(works, config, [lane for _, own in found for lane in own], notify, rounds)
    try:
        for number, summary in pool.results():
            tallies[number] = tallies[number].add(summary)
            watch(tallies)
    finally:
        pool.close()
    if pool.given_up:
        raise PoolError(
            f"{len(pool.given_up)} segments were given up after {RESTARTS + 1} attempts each, the rest is "
            f"done; the same command tries them again. The first: {pool.given_up[0]}"
        )
    return tallies


def _size(config: ClusterConfig) -> int:
    if config.simulators:
        return config.simulators
    kind = config.device.upper()
    return max(1, int(sum(node.get(kind, 0) for node in joining.nodes(selector(config.simulate_on)))))


@dataclass(frozen=True)
class _Flight:
    """What an actor is at: its start, where there is no lane, or the next segment of one."""

    worker: Any
    lane: Lane | None
    until: float


class _Pool:
    """Actors that take the next segment as they get free."""

    def __init__(
        self,
        works: Sequence[Work],
        config: ClusterConfig,
        lanes: Sequence[Lane],
        notify: Callable[[str], None],
        rounds: Rounds | None,
    ):
        gpus = 1 if config.device == "gpu" else 0
        self._config, self._labels, self._notify = config, selector(config.simulate_on), notify
        self._bundle = {"CPU": min(1.0, joining.cpus(self._labels)), "GPU": gpus}
        self._actor: Any = ray.remote(PoolWorker).options(
            num_cpus=self._bundle["CPU"],
            num_gpus=gpus,
            label_selector=self._labels,
            runtime_env={"env_vars": joining.worker_environment(on_gpu=gpus > 0)},
        )
        self._works, self._shared = works, ray.put(list(works))
        self._waiting, self._flying = list[Lane](), dict[ray.ObjectRef, _Flight]()
        self._rounds = rounds
        # Of each work, by their first, the chains that are not given up, and those of them that wait.
        self._standing: list[dict[int, Lane]] = [{} for _ in works]
        self._held: list[set[int]] = [set() for _ in works]
        for lane in lanes:
            self._standing[lane.work][lane.first] = lane
            self._held[lane.work].add(lane.first)
        self._nodes: dict[Any, str] = {}
        self._failures: Counter[tuple[int, Segment]] = Counter()
        self._idle_losses, self._pause, self._grown = 0, 0.0, time.monotonic()
        self.given_up: list[str] = []
        for number in reversed(range(len(works))):
            self._go_on(number)
        self._grow()

    def _grow(self) -> None:
        """As many actors as there is room for and work; an actor gets a segment when it is there."""
        coming = sum(flight.lane is None for flight in self._flying.values())
        for _ in range(min(len(self._waiting) - coming, _size(self._config) - len(self._flying))):
            worker = self._actor.remote(self._shared, fence.held())
            self._flying[worker.ready.remote()] = _Flight(worker, None, float("inf"))
        self._grown = time.monotonic()

    def results(self) -> Iterator[tuple[int, Summary]]:
        """The number of a work and the summary of a segment of it, as they arrive."""
        heard = time.monotonic()
        while self._waiting or any(flight.lane for flight in self._flying.values()):
            fence.beat()
            ended, _ = (
                ray.wait([*self._flying], num_returns=1, timeout=WAIT_SECONDS) if self._flying else ([], [])
            )
            now = time.monotonic()
            if now - self._grown > GROW_SECONDS or not self._flying:
                self._grow()
            self._stop_what_hangs(now, ended)
            if not ended:
                busy = any(flight.lane for flight in self._flying.values())
                if not busy and now > self._pause and now - heard > self._config.place_deadline:
                    raise joining.no_place(
                        "simulators", self._bundle, 1, self._labels, self._config.place_deadline
                    )
                continue
            heard, flight = now, self._flying.pop(ended[0])
            try:
                answer = ray.get(ended[0])
            except RayTaskError as error:
                if not self._mended(flight, error):
                    raise error.cause from None
                self._next(flight.worker)
                continue
            except RayError as error:
                self._lost(flight, joining.reason(error))
                continue
            self._idle_losses = 0
            if flight.lane:
                segment = flight.lane.following(self._works[flight.lane.work])
                assert segment is not None
                summary, losses = answer
                Ledger(Store(self._works[flight.lane.work].directory)).add(segment, summary, losses)
                lane = replace(flight.lane, last=segment)
                self._standing[lane.work][lane.first] = lane
                self._held[lane.work].add(lane.first)
                self._go_on(lane.work)
                self._next(flight.worker)
                yield lane.work, summary
            else:
                self._nodes[flight.worker] = answer
                self._next(flight.worker)

    def _go_on(self, number: int) -> None:
        """Let those chains of a work take their next segment that need not wait for others, nor end here."""
        standing, held = self._standing[number], self._held[number]
        if self._rounds is None:
            free = set(held)
        else:
            steps = {first: lane.last.end if lane.last else 0 for first, lane in standing.items()}
            least = min(steps.values(), default=0)
            free = {first for first in held if steps[first] == least}
            together = least > 0 and all(step == least for step in steps.values())
            if together and (len(free) < len(standing) or not self._rounds(number, least)):
                return
        held.difference_update(free)
        lanes = [standing[first] for first in sorted(free, reverse=True)]
        # The same chains first: so those that began are soon whole.
        self._waiting += [lane for lane in lanes if lane.following(self._works[number])]

    def _next(self, worker: Any) -> None:
        """Give an actor a segment if there is one and the disk has room.

        It is ended where there is none, and where its host is about to be taken away.
        """
        leaving = self._nodes[worker] in ray_compat.draining()
        if leaving or not self._waiting:
            ray.kill(worker)
            if leaving:
                self._grow()
            return
        lane, now = self._waiting[-1], time.monotonic()
        if now < self._pause:
            self._flying[worker.ready.remote()] = _Flight(worker, None, float("inf"))
            time.sleep(min(WAIT_SECONDS, self._pause - now))
            return
        self._waiting.pop()
        segment = lane.following(self._works[lane.work])
        until = now + self._config.segment_deadline
        self._flying[worker.run.remote(lane.work, segment, lane.last)] = _Flight(worker, lane, until)

    def _mended(self, flight: _Flight, error: RayTaskError) -> bool:
        """Whether the work goes on after an error of a segment, which is tried again or given up."""
        cause, lane = error.cause, flight.lane
        full = isinstance(cause, FileError) and cause.full
        if lane is None or (isinstance(cause, FokkerError) and not full):
            return False
        if full:
            if time.monotonic() > self._pause:
                self._notify(
                    f"{cause}: paused, and looked at again every {PAUSE_SECONDS:g} s (Ctrl-C ends it)"
                )
            self._pause = time.monotonic() + PAUSE_SECONDS
            self._waiting.append(lane)
        else:
            self._failed(lane, f"{type(cause).__name__}: {cause}")
        return True

    def _failed(self, lane: Lane, reason: str) -> None:
        work = self._works[lane.work]
        segment = lane.following(work)
        assert segment is not None
        store = Store(work.directory)
        self._failures[lane.work, segment] += 1
        given_up = self._failures[lane.work, segment] > RESTARTS
        Ledger(store).failed(segment, reason, given_up)
        if given_up:
            self.given_up.append(f"{store.path(segment)}: {reason}")
            del self._standing[lane.work][lane.first]
            self._go_on(lane.work)
        else:
            self._waiting.insert(0, lane)  # After all others: what ends actors shall not hold them up.

    def _lost(self, flight: _Flight, reason: str) -> None:
        """An actor is gone. Those that were at no segment are free: hosts that leave cost many of them."""
        if flight.lane:
            self._failed(flight.lane, reason)
        else:
            self._idle_losses += 1
            if self._idle_losses > IDLE_LOSSES:
                raise PoolError(f"{self._idle_losses} actors in a row were lost before they began: {reason}")
        self._grow()

    def _stop_what_hangs(self, now: float, ended: Sequence[ray.ObjectRef]) -> None:
        for reference, flight in [*self._flying.items()]:
            if now > flight.until and flight.lane and reference not in ended:
                del self._flying[reference]
                ray.kill(flight.worker)
                self._failed(flight.lane, f"no result within {self._config.segment_deadline:g} s")
                self._grow()

    def close(self) -> None:
        """End the actors."""
        for flight in self._flying.values():
            ray.kill(flight.worker)
