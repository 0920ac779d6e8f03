"""Signals that ask a command to end, all of them as Ctrl-C does: by KeyboardInterrupt.

SIGTERM comes from `timeout`, batch systems and the end of a container, SIGHUP from a terminal that is closed.
"""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FrameType
from typing import Any

NUMBERS = tuple(
    number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None
)
INTERRUPTED = 130
"""Status of a command that was asked to end."""
IMPATIENT_SECONDS = 1.0
"""After which a second Ctrl-C is that of somebody who does not want to wait."""
AGAIN_SECONDS = 0.05
"""After which a signal is sent again that came where nothing can be raised."""


class Interrupts:
    """The first signal ends the command; those that follow would end what it still saves.

    `timeout` sends two, to the command and to its group, and a terminal that is closed several. Only Ctrl-C
    again is heeded, when some time has passed. Python drops what is raised in a finaliser or in a callback of
    the garbage collector (jax has one, which takes long): such a signal is raised again, until it ends the
    command.
    """

    def __init__(self, told: Callable[[], None]):
        """Take the signals, but for those that whoever started the command wants to be ignored (nohup)."""
        self._told, self._first, self._number = told, None, signal.SIGINT
        self._held = self._dropped = False
        self._again: threading.Thread | None = None
        self._print = sys.unraisablehook
        sys.unraisablehook = self._drop
        for number in NUMBERS:
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                signal.signal(number, self._take)

    def _take(self, number: int, frame: FrameType | None) -> None:
        now, first = time.monotonic(), self._first
        if first is None:
            self._first, self._number = now, number
            threading.Thread(target=self._told, daemon=True).start()
        if first is None or self._dropped:
            if not (self._held or self._dropping(frame)):
                self._dropped = False
                raise KeyboardInterrupt
        elif number == signal.SIGINT and now - first > IMPATIENT_SECONDS:
            raise KeyboardInterrupt

    def _drop(self, unraisable: Any) -> None:
        """Where an exception could not be raised: that of a signal will be again, others are printed."""
        if unraisable.exc_type is not KeyboardInterrupt or self._first is None:
            self._print(unraisable)
            return
        self._dropped = True
        if not self._again:
            self._again = threading.Thread(target=self._send_again, daemon=True)
            self._again.start()

    def _dropping(self, frame: FrameType | None) -> bool:
        """Whether `_drop` runs, where nothing can be raised either."""
        while frame and frame.f_code is not Interrupts._drop.__code__:
            frame = frame.f_back
        return frame is not None

    def _send_again(self) -> None:
        main = threading.main_thread().ident
        assert main
        while True:
            time.sleep(AGAIN_SECONDS)
            if self._dropped:
                signal.pthread_kill(main, self._number)

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Let what is within come to its end first."""
        self._held = self._first is None or self._dropped
        try:
            yield
        finally:
            held, self._held = self._held, False
        if held and self._first is not None:
            self._dropped = False
            raise KeyboardInterrupt


_installed: Interrupts | None = None


def install(told: Callable[[], None]) -> None:
    """Let the signals end this process's command; `told` runs in a thread of its own after the first."""
    global _installed
    _installed = Interrupts(told)


def holding() -> AbstractContextManager[None]:
    """Within, the first signal is kept waiting, if signals are taken at all."""
    return _installed.holding() if _installed else nullcontext()
