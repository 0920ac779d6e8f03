"""Training of all experts at once: one supervised group for each, placed as room appears."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import ray

from ...data import fence
from ...data.files import require_writable
from ..cluster import joining
from ..config import ClusterConfig, selector
from ..planning.sharing import fitting, hosts, work
from ..training.job import ExpertJob
from ..training.progress import Progress
from .events import Event
from .group import ExpertGroup, Resources
from .supervision import Outcome, Supervisor

POLL_SECONDS = 0.5
STOP_SECONDS = 60.0
"""What groups are given to save after Ctrl-C: a person waits."""

SPACE = 1_000_000
"""Bytes without which no training begins: what it makes could not be kept."""

Watcher = Callable[[Mapping[str, Progress | None]], None]


def train_experts(
    jobs: Sequence[ExpertJob],
    config: ClusterConfig,
    at_once: int,
    watch: Watcher,
    record: Callable[[ExpertJob, Event], None] = lambda job, event: None,
) -> dict[str, Outcome]:
    """Train every job; one that fails leaves the others undisturbed. A lost group starts again from disk.

    `at_once` experts share the CPUs of a cluster that has fewer; `watch` sees every expert's progress twice a
    second, and `record` what happens to its group. On KeyboardInterrupt all groups save and stop before it
    goes on. Raises FileError, before anything starts, if the experts' folders cannot be written, ClusterError
    if there is no place for any group, and FencedError if another attempt has begun.
    """
    for job in jobs:
        require_writable(job.directory, SPACE)
    placement = _Placement(jobs, config, at_once)
    supervisors = [
        Supervisor(job, config, placement.start, record)
        for job in sorted(jobs, key=lambda job: -placement.work[job.name])
    ]
    placement.supervisors = supervisors
    try:
        while any(supervisor.outcome is None for supervisor in supervisors):
            for supervisor in supervisors:
                if not supervisor.waits or placement.may_begin(supervisor):
                    supervisor.check()
            placement.grow()
            placement.require_place()
            fence.beat()
            watch({supervisor.job.name: supervisor.seen for supervisor in supervisors})
            first = [s.group.results[0] for s in supervisors if s.group]
            if first:
                ray.wait(first, timeout=POLL_SECONDS)
            else:
                time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        _stop(supervisors, config)
        raise
    finally:
        for supervisor in supervisors:
            supervisor.remove()
        placement.close()
    return {s.job.name: s.outcome for s in supervisors if s.outcome is not None}


class _Placement:
    """Which expert may begin, and on how many hosts."""

    def __init__(self, jobs: Sequence[ExpertJob], config: ClusterConfig, at_once: int):
        self._config = config
        self.supervisors: Sequence[Supervisor] = ()
        self.work = {job.name: work(job) for job in jobs}
        on_gpu, devices = config.device == "gpu", config.devices_per_host
        fixed = config.hosts if isinstance(config.hosts, tuple) else (1,)
        labels = selector(config.train_on)
        # Hosts that were asked for are hosts; a machine of one's own stands for as many as are wanted.
        apart = joining.joins(config) and (not on_gpu or config.hosts != "auto")
        # One that is still to come, or counted dead for a moment, makes the shares of the others no smaller.
        each = min(max(fixed), max(1, len(joining.nodes(labels)))) if apart else max(fixed)
        share = min(1.0, int(1e4 * joining.cpus(labels) / (at_once * devices * each)) / 1e4)
        if config.autoscaled:  # Hosts of CPUs that nobody knows yet.
            share = 1.0
        cpus = share if on_gpu else share * devices
        self._resources = Resources(1, devices, cpus, on_gpu, labels=labels, apart=apart)
        slots = joining.slots(self._resources.bundle, sys.maxsize if on_gpu else 1, labels)
        self._wanted = dict(zip(self.work, hosts(jobs, config.hosts, devices, slots), strict=True))
        dearest = max(self.work.values(), default=0.0)
        # On too few cores the expert that ends last goes first, so that all end when it would alone: the
        # cheaper ones begin one by one when it has compiled, and take what it leaves.
        self._yielding = {
            name for name, own in self.work.items() if share < 1 and not on_gpu and own < 0.5 * dearest
        }
        self._room_since: float | None = None
        self._nobody_since: float | None = None
        if config.autoscaled:
            joining.ask_for([self._resources.bundle] * sum(self._wanted.values()), labels)

    def close(self) -> None:
        """Ask for no hosts any more."""
        if self._config.autoscaled:
            joining.ask_for([], {})

    def require_place(self) -> None:
        """ClusterError if groups have waited too long for a place while none was at work."""
        groups = [s.group for s in self.supervisors if s.group]
        if not groups or any(group.placed for group in groups):
            self._nobody_since = None
            return
        now, limit = time.monotonic(), self._config.place_deadline
        self._nobody_since = self._nobody_since or now
        if now - self._nobody_since > limit:
            wants = groups[0].resources
            who = f"expert {groups[0].job.name}"
            raise joining.no_place(who, wants.bundle, wants.hosts, wants.labels, limit)

    def may_begin(self, supervisor: Supervisor) -> bool:
        """Whether its turn has come: cheap experts on too few cores let the others compile first."""
        if supervisor.job.name not in self._yielding:
            return True
        for other in self.supervisors:
            if other is supervisor:
                return True
            if other.outcome is None and not (other.seen and other.seen.compiled):
                return False
        return True

    def start(self, job: ExpertJob, restarts: int) -> ExpertGroup | None:
        """A group on as many of the wanted hosts as there are; None while others will make room for more."""
        count = self._hosts(job, restarts)
        if not count:
            return None
        resources = replace(self._resources, hosts=count, yields=job.name in self._yielding)
        return ExpertGroup(job, resources, self._config.start_deadline, restarts)

    def _hosts(self, job: ExpertJob, restarts: int) -> int:
        wanted = self._wanted[job.name]
        room = self._room()
        if room >= wanted or self._config.autoscaled:
            return wanted
        others = any(s.group for s in self.supervisors)
        more = room < self._resources.most  # If the others end.
        if others and (room < 1 or (more and not restarts)):
            return 0
        return fitting(job, self._resources.devices, max(1, room))

    def _room(self, own: int = 0) -> int:
        """Hosts that a group could have beside the others at work, if it gave back its `own`."""
        held = sum(s.group.resources.hosts for s in self.supervisors if s.group) - own
        room = joining.slots(self._resources.bundle, labels=self._resources.labels) - held
        return min(room, self._resources.most)

    def grow(self) -> None:
        """Let one group that runs on fewer hosts than it should start again, once there is lasting room."""
        smaller = [
            s
            for s in self.supervisors
            if s.group and s.group.resources.hosts < self._wanted[s.job.name] and s.seen and s.seen.compiled
        ]
        waiting = any(s.waits for s in self.supervisors)
        possible = [s for s in smaller if s.group and self._grown(s) > s.group.resources.hosts]
        if waiting or not possible:
            self._room_since = None
            return
        now = time.monotonic()
        self._room_since = self._room_since or now
        if now - self._room_since > self._config.grow_after:
            possible[0].resize()
            self._room_since = None

    def _grown(self, supervisor: Supervisor) -> int:
        """Hosts that a group could have if it started again now."""
        assert supervisor.group is not None
        most = min(self._wanted[supervisor.job.name], self._room(supervisor.group.resources.hosts))
        return fitting(supervisor.job, self._resources.devices, most)


def _stop(supervisors: Sequence[Supervisor], config: ClusterConfig) -> None:
    """Let the groups save, those that have started, and wait for them as long as is fair."""
    for supervisor in supervisors:
        supervisor.stop()
    started = [s.group for s in supervisors if s.group and s.group.progress is not None]
    results = [ref for group in started for ref in group.results]
    if results:
        ray.wait(results, num_returns=len(results), timeout=min(config.save_deadline, STOP_SECONDS))
    for supervisor in supervisors:
        if supervisor.group is not None:
            supervisor.stopped()
