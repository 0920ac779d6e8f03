"""The base of all errors that a user can mend."""


class FokkerError(Exception):
    """One line that says what is wrong, where, and what would be right; the `fokker` command prints it."""

    status = 1
    """What the command ends with."""
