"""Signals that ask a command to end, all of them as Ctrl-C does: by KeyboardInterrupt.

SIGTERM comes from `timeout`, batch systems and the end of a container, SIGHUP from a terminal that is closed.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

NUMBERS = tuple(
    number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None
)
INTERRUPTED = 130
"""Status of a command that was asked to end."""
IMPATIENT_SECONDS = 1.0
"""After which a second Ctrl-C is that of somebody who does not want to wait."""


class Interrupts:
    """The first signal ends the command; those that follow would end what it still saves.

    `timeout` sends two, to the command and to its group, and a terminal that is closed several. Only Ctrl-C
    again is heeded, when some time has passed.
    """

    def __init__(self, told: Callable[[], None]):
        """Take the signals, but for those that whoever started the command wants to be ignored (nohup)."""
        self._told, self._first, self._held = told, None, False
        for number in NUMBERS:
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                signal.signal(number, self._take)

    def _take(self, number: int, _) -> None:
        now, first = time.monotonic(), self._first
        if first is None:
            self._first = now
            threading.Thread(target=self._told, daemon=True).start()
            if not self._held:
                raise KeyboardInterrupt
        elif number == signal.SIGINT and now - first > IMPATIENT_SECONDS:
            raise KeyboardInterrupt

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Let what is within come to its end first."""
        self._held = self._first is None
        try:
            yield
        finally:
            held, self._held = self._held, False
        if held and self._first is not None:
            raise KeyboardInterrupt


_installed: Interrupts | None = None


def install(told: Callable[[], None]) -> None:
    """Let the signals end this process's command; `told` runs in a thread of its own after the first."""
    global _installed
    _installed = Interrupts(told)


def holding() -> AbstractContextManager[None]:
    """Within, the first signal is kept waiting, if signals are taken at all."""
    return _installed.holding() if _installed else nullcontext()
