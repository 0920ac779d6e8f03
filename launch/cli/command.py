"""What every command has: a line about it, its arguments, and its work."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...distributed.cluster import machine
from ...distributed.runs.config import ConfigError
from . import parsing
from .values import UsageError


@dataclass(frozen=True)
class Command:
    """One command of `fokker`."""

    about: str
    """One line, for the overview and above its own help."""
    kind: type
    """Its arguments, a dataclass whose docstrings are the help."""
    work: Callable[..., int | None]
    """What it does, given the arguments and, if it shows anything, the display; a status if it is not 0."""
    reading: Callable[..., Any] = parsing.read
    """What makes the arguments of the command's name and of the words that follow it."""
    shows: bool = True
    """Whether it needs the display, which takes seconds to import."""

    def read(self, name: str, argv: Sequence[str]) -> Any:
        """The arguments, as `parsing.read`. Raises UsageError, with the name of the command, and Help."""
        try:
            return self.reading(self.kind, name, argv, about=f"{self.about[0].upper()}{self.about[1:]}.")
        except OSError as error:
            # Of a path that cannot be looked at: its name is too long, or a loop of links.
            raise UsageError(f"{error.filename}: {(error.strerror or '').lower()}", name) from None
        except (UsageError, ConfigError) as error:
            raise UsageError(str(error), name) from None

    def carry_out(self, arguments: Any) -> int:
        """Do the work; the status."""
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        machine.prepare_matplotlib()
        if not self.shows:
            return self.work(arguments) or 0
        # Now that nothing can be wrong with the words: Ray and JAX take seconds to import.
        from rich.console import Console

        from ...distributed.runs.display import Display

        return self.work(arguments, Display(Console(highlight=False))) or 0
