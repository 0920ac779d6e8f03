"""One expert under supervision: its group, and what is done when that is lost, stuck, or told to leave."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import jax
import ray
from ray.exceptions import RayError, RayTaskError

from ...data.fence import FencedError
from ...data.files import FileError
from ..cluster import joining, ray_compat
from ..config import ClusterConfig
from ..training.expert import NonFiniteLoss
from ..training.job import ExpertJob
from ..training.progress import Progress
from . import metrics
from .events import Event, Kind
from .group import ExpertGroup

LAST_WORDS_SECONDS = 2.0
"""What the others of a group are given to say, once one has ended with an error, which of them was lost."""
LONGEST_BACK_OFF = 60.0

Start = Callable[[ExpertJob, int], ExpertGroup | None]
"""Places a group of a job that was started so often before; None while there is no room."""


@dataclass(frozen=True)
class Outcome:
    """How the training of one expert ended."""

    progress: Progress
    error: str | None = None


class Supervisor:
    """Starts the group of one expert, again where that helps, until the expert is trained or given up.

    A lost or stuck group counts against `failures`, one that was told to leave against `preemptions`. After a
    loss that is not finite the group goes on from its last good checkpoint; the second at the same step ends
    the expert, as does an error that would only come again.
    """

    def __init__(
        self, job: ExpertJob, config: ClusterConfig, start: Start, record: Callable[[ExpertJob, Event], None]
    ):
        self.job, self.outcome, self.group = job, None, None
        self.seen: Progress | None = None
        self._config, self._start, self._record = config, start, record
        self._failures = self._preemptions = self._restarts = 0
        self._in_a_row = 0
        self._not_before, self._reported = 0.0, False
        self._bad_step: int | None = None
        self._leaving: tuple[Kind, str] | None = None
        self._warned, self._saved = "", 0

    @property
    def _step(self) -> int:
        """The last that was heard of."""
        return self.seen.step if self.seen else 0

    @property
    def waits(self) -> bool:
        """Whether it has no group, and needs one."""
        return self.group is None and self.outcome is None

    def check(self) -> None:
        """Take up what happened since the last call.

        Waits for no process that may not answer, but to say which one does not.
        """
        now = time.monotonic()
        if self.outcome is not None:
            return
        if self.group is None:
            if now >= self._not_before:
                self._begin()
            return
        self._follow(self.group)
        ended, _ = ray.wait(self.group.results, num_returns=len(self.group.results), timeout=0)
        if ended and self._ended(self.group, ended):
            return
        if problem := self._overdue(self.group, now):
            self._stuck(self.group, problem)
        elif self._has_no_place(self.group):
            self._again(0.0)
        elif not self._leaving and self.group.nodes & ray_compat.draining():
            self._leave(self.group, "preempted", "its host is being taken away")

    def resize(self) -> None:
        """Let the group save and start again, as there is room for a larger one."""
        if self.group is not None and not self._leaving:
            self._leave(self.group, "resized", "there is room for more hosts")

    def stop(self) -> None:
        """Ask the group to save and return; nothing is started again."""
        if self.group is not None:
            self.group.stop()

    def remove(self) -> None:
        """End the group's processes."""
        if self.group is not None:
            self.group.remove()
            self.group = None

    def stopped(self) -> None:
        """Say where the expert stood when all was interrupted: where it saved, if it came to that."""
        if self.group is not None:
            ended, _ = ray.wait(self.group.results[:1], timeout=0)
            with suppress(RayError):
                for result in ended:
                    progress: Any = ray.get(result)
                    self._note_saved(progress)
                    self.seen = progress
        self._say("stopped", f"at step {self._step}", step=self._step)

    def _begin(self) -> None:
        self.group = self._start(self.job, self._restarts)
        if self.group is None:
            return
        self._leaving, self._reported = None, False
        resources = self.group.resources
        size = f"{resources.hosts} × {resources.devices} devices"
        self._say(
            "started",
            f"again on {size}" if self._restarts else "",
            hosts=resources.hosts,
            devices=resources.hosts * resources.devices,
            restarts=self._restarts,
        )

    def _follow(self, group: ExpertGroup) -> None:
        """What the progress of its first process tells."""
        progress = group.poll()
        if progress is None or progress.steps == 0:
            return
        if not self._reported:
            self._reported, self._saved = True, progress.saved
            if progress.resumed:
                self._say("resumed", f"at step {progress.resumed}", step=progress.resumed)
        self._note_saved(progress)
        if progress.warning and progress.warning != self._warned:
            self._warned = progress.warning
            self._say("warning", progress.warning, step=progress.step)
        if progress.compiled:
            self._in_a_row = 0
        self.seen = progress

    def _overdue(self, group: ExpertGroup, now: float) -> str:
        """What takes longer than it may; nothing if all goes well."""
        heard = [member for member in group.members if member.progress is not None]
        if not heard:
            return ""  # Not placed yet: as long as there is no room.
        deadlines = {
            "starting": ("start_deadline", "start"),
            "saving": ("save_deadline", "save"),
            "ending": ("save_deadline", "save and end"),
        }
        since = max(member.changed for member in heard)
        for member in heard:
            assert member.progress is not None
            name, what = deadlines.get(member.progress.phase, ("step_deadline", "take its next steps"))
            limit = getattr(self._config, name)
            if now - since > limit:
                return f"did not {what} within {limit:g} s (cluster.{name})"
        return ""

    def _has_no_place(self, group: ExpertGroup) -> bool:
        """Whether it waits for hosts that are no longer there, while there are others."""
        if any(member.progress for member in group.members):
            return False
        return 0 < group.resources.most < group.resources.hosts and not self._config.autoscaled

    def _stuck(self, group: ExpertGroup, problem: str) -> None:
        rank = group.stuck()
        stack = group.stack(rank)
        text = f"{problem}; rank {rank} of {len(group.members)} holds it up"
        self._say("stuck", f"{text}, at\n{stack}", rank=rank, step=self._step)
        self._again_after_failure(text)

    def _leave(self, group: ExpertGroup, kind: Kind, reason: str) -> None:
        self._leaving = kind, reason
        group.stop()

    def _ended(self, group: ExpertGroup, ended: list[ray.ObjectRef]) -> bool:
        """Some of its processes have returned, or were lost: whether that was the end of the group."""
        errors = _errors(group, ended)
        if errors:
            if len(group.members) > 1:  # The others fail too, and only one of them was lost.
                ended, _ = ray.wait(group.results, num_returns=len(group.results), timeout=LAST_WORDS_SECONDS)
                errors = _errors(group, ended)
            if 0 not in errors and all(_not_finite(error) for error in errors.values()):
                return False  # The first process says it as well, when its checkpoint is whole.
            self._judge(group, errors)
            return True
        if group.results[0] in ended:
            progress: Progress = ray.get(group.results[0])
            self._note_saved(progress)
            self.seen = progress
            if progress.finished:
                self.remove()
                self._say("finished", seconds=progress.seconds, step=progress.step)
                self.outcome = Outcome(progress)
            else:
                self._preempted(progress)
            return True
        return False  # The first process still saves.

    def _note_saved(self, progress: Progress) -> None:
        if progress.saved > self._saved:
            self._saved = progress.saved
            self._say("saved", f"step {progress.saved}", step=progress.saved)

    def _judge(self, group: ExpertGroup, errors: dict[int, RayError]) -> None:
        """Go on or give up, by the errors of a group's processes; FencedError ends all."""
        causes = {rank: error.cause for rank, error in errors.items() if isinstance(error, RayTaskError)}
        lost = {rank: error for rank, error in errors.items() if rank not in causes}
        for cause in causes.values():
            if isinstance(cause, FencedError):
                raise cause
            if isinstance(cause, NonFiniteLoss):
                self._rewind(cause)
                return
        final = [cause for cause in causes.values() if not _may_pass(cause)]
        if final and not lost:
            self._fail(f"{type(final[0]).__name__}: {final[0]}")
            return
        rank = min(lost or causes)
        reason = joining.reason(lost[rank]) if lost else str(causes[rank]).splitlines()[0]
        text = f"rank {rank} of {len(group.members)} was lost: {reason}"
        self._say("lost", text, rank=rank, step=self._step)
        self._again_after_failure(text)

    def _rewind(self, cause: NonFiniteLoss) -> None:
        if cause.step == self._bad_step or self._failures >= self._config.failures:
            self._fail(f"{type(cause).__name__}: {cause}")
            return
        self._bad_step = cause.step
        self._failures += 1
        self._say("rewound", f"{cause}; goes back to it once", step=cause.step)
        self._again(0.0)

    def _preempted(self, progress: Progress) -> None:
        kind, reason = self._leaving or ("preempted", "it was told to leave")
        self._say(kind, f"{reason}; saved at step {progress.step}", step=progress.step)
        if kind == "preempted":
            self._preemptions += 1
            if self._preemptions > self._config.preemptions:
                self._fail(f"expert {self.job.name}: it was told to leave {self._preemptions} times")
                return
        self._again(self._config.back_off)

    def _again_after_failure(self, reason: str) -> None:
        self._failures += 1
        if self._failures > self._config.failures:
            self._fail(f"expert {self.job.name}: its group was lost {self._failures} times: {reason}")
            return
        wait = min(self._config.back_off * 2**self._in_a_row, LONGEST_BACK_OFF)
        self._in_a_row += 1
        self._again(wait)

    def _again(self, wait: float) -> None:
        self.remove()
        self._restarts += 1
        metrics.count(self.job.tags, restarts=1)
        self._not_before = time.monotonic() + wait
        if self.seen is not None:
            self.seen = replace(self.seen, phase="starting", samples_per_second=0.0)

    def _fail(self, error: str) -> None:
        self.remove()
        self._say("failed", error)
        self.outcome = Outcome(self.seen or Progress(), error)

    def _say(self, kind: Kind, text: str = "", **values) -> None:
        self._record(self.job, Event(kind, self.job.name, text, values))


def _errors(group: ExpertGroup, ended: list[ray.ObjectRef]) -> dict[int, RayError]:
    """The errors of the processes that have ended, by rank."""
    found = {}
    for rank, result in enumerate(group.results):
        if result in ended:
            try:
                ray.get(result)
            except RayError as error:
                found[rank] = error
    return found


def _not_finite(error: RayError) -> bool:
    return isinstance(error, RayTaskError) and isinstance(error.cause, NonFiniteLoss)


def _may_pass(cause: BaseException) -> bool:
    """Whether an error of a process need not come again: of its disk, or of its link to the others."""
    if isinstance(cause, jax.errors.JaxRuntimeError):
        return "RESOURCE_EXHAUSTED" not in str(cause)
    return isinstance(cause, (OSError, FileError)) and not isinstance(cause, FileNotFoundError)
