"""Words as values, and what is said of those that are none."""

import re
from collections.abc import Collection, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator

from ...data.errors import FokkerError, unknown

Text = TypeVar("Text", bound=str)


class UsageError(FokkerError):
    """What was typed cannot be carried out."""

    status = 2

    def __init__(self, problem: str, command: str = ""):
        super().__init__(problem)
        self.command = command
        """That it was typed for."""


def is_option(word: str) -> bool:
    """Whether a word is an option, and neither a value nor a negative number."""
    return re.match(r"--?[A-Za-z]", word) is not None


def typed(argv: Sequence[str], option: str) -> str | None:
    """The value of one option, before all are known. Raises UsageError if it has none."""
    for word, after in pairwise([*argv, ""]):
        name, equals, value = word.partition("=")
        if name.replace("_", "-") == option:
            if not (value if equals else after):
                raise UsageError(f"{option} needs a value")
            return value if equals else after
    return None


def shown(value: Any) -> list[str]:
    """A value as it would be typed, a word for each of a list."""
    if isinstance(value, tuple | list):
        return [word for part in value for word in shown(part)]
    return ["none" if value is None else str(value).removesuffix(".0")]


def choice(what: str, text: str, names: Sequence[Text]) -> Text:
    """The name that was typed. Raises UsageError, with a suggestion."""
    for name in names:
        if name == text:
            return name
    raise UsageError(f"{what}: {unknown(text, names)}")


class Choices:
    """Checks that a word, if there is one, is one of these; not Literal, as they are made elsewhere."""

    def __init__(self, names: Collection[str]):
        self.names = tuple(names)

    def __call__(self, text: str | None) -> str | None:
        """The word. Raises ValueError, with a suggestion."""
        if text is not None and text not in self.names:
            raise ValueError(unknown(text, self.names))
        return text


def matching(pattern: str, problem: str) -> AfterValidator:
    """For a word that, if there is one, has to look so; the problem is told where it does not."""

    def check(text: str | None) -> str | None:
        if text is not None and not re.fullmatch(pattern, text, re.ASCII):
            raise ValueError(f"{problem}, not {text!r}")
        return text

    return AfterValidator(check)


def _at_home(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError(f"{path}: there is no home folder that ~ could stand for: name it in full") from None


def _of_a_run(path: Path) -> Path:
    if not path.is_dir():
        raise ValueError(f"{path} is not the folder of a run")
    return path


HomePath = Annotated[Path, AfterValidator(_at_home)]
"""A path as it was typed; ~ at its beginning is the user's home, also where the shell left it."""
RunFolder = Annotated[HomePath, AfterValidator(_of_a_run)]
"""The folder of a run, which is there."""


def new_file(ending: str) -> AfterValidator:
    """For a file, if there is one, of this ending, in a folder that is there."""

    def check(path: Path | None) -> Path | None:
        if path and path.is_dir():
            raise ValueError(f"{path} is a folder: name another file")
        if path and (path.suffix != ending or not path.absolute().parent.is_dir()):
            raise ValueError(f"{path} has to end with {ending}, in a folder that is there")
        return path

    return AfterValidator(check)
