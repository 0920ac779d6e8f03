"""Standard output and error that never end the work: closed, broken off, full, or without Greek letters."""

import errno
import io
import os
import sys
from typing import Any

QUIET = (errno.EPIPE, errno.EIO, errno.EBADF)
"""Nobody reads any more (`| head`), or the terminal was closed: that is no failure of ours."""


class _Lasting(io.FileIO):
    """Writes as long as somebody takes it, and then to nowhere."""

    failed: OSError | None = None

    def write(self, data: Any) -> int | None:
        if self.failed is None:
            try:
                return super().write(data)
            except OSError as error:
                self.failed = error
        return memoryview(data).nbytes


_output: _Lasting | None = None


def prepare() -> None:
    """Make the standard streams of this process last; those that are closed become /dev/null.

    Otherwise the next file that is opened would take the number of a closed one, and what libraries print
    there would go into it.
    """
    global _output
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stdout is sys.__stdout__:  # Not within a test that takes it.
        _output = _Lasting(1, "w", closefd=False)
        sys.stdout = _text(_output, sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text(_Lasting(2, "w", closefd=False), sys.stderr)


def _text(raw: _Lasting, before: Any) -> io.TextIOWrapper:
    """Letters that the user's encoding lacks are spelled out."""
    encoding = "utf-8" if before is None else before.encoding
    by_line = raw.isatty() or raw.fileno() == 2
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding, errors="backslashreplace", line_buffering=by_line
    )


def finish(status: int) -> int:
    """Write what is left. The status to end with: 1 instead of 0 if output was lost that somebody wanted."""
    sys.stdout.flush()
    failed = _output and _output.failed
    if failed and failed.errno not in QUIET:
        print(f"fokker: error: standard output cannot be written: {failed.strerror}", file=sys.stderr)
        status = status or 1
    sys.stderr.flush()
    return status
