"""The base of all errors that a user can mend, and what is said of a name that is not known."""

import difflib
from collections.abc import Sequence


class FokkerError(Exception):
    """One line that says what is wrong, where, and what would be right; the `fokker` command prints it."""

    status = 1
    """What the command ends with."""


def unknown(text: str, known: Sequence[str], others: Sequence[str] = ()) -> str:
    """That a name is not known, and which was meant, also of `others` that belong elsewhere."""
    near = [name for name in known if text and name.startswith(text)]
    near = near or [*others] or difflib.get_close_matches(text, known, n=1)
    hint = f" (did you mean {' or '.join(near)}?)" if near else ""
    return f"unknown {text!r}{hint}; choose from {', '.join(known)}"
