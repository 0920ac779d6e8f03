"""Words and options as they are typed, and their errors: what every command line is read with."""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from ..data.config import MoleculesConfig, ReferenceConfig
from .config import Config, ConfigError, from_dict, to_dict
from .settings import Setting, option, settings

Choice = TypeVar("Choice", bound=str)
Group = TypeVar("Group", ReferenceConfig, MoleculesConfig)
FLAGS = ("--help", "--force", "--yes", "--trajectories", "--wait", "--no-wait", "--spot")
"""Options that take no value, also where a word follows."""
SWITCHES = ("--skip-damaged", "--data.skip-damaged")
"""Options that need none, so that a word behind them is one of its own unless it is true or false."""
Options = dict[str, str | None]
"""Option, with its dashes, to the text given; None where no value follows."""


class UsageError(Exception):
    """What was typed cannot be carried out."""


def split(tokens: list[str]) -> tuple[list[str], Options]:
    """Words and options of a command line; underscores in an option's name are dashes."""
    words: list[str] = []
    options: Options = {}
    rest = list(tokens)
    while rest:
        token = rest.pop(0)
        if not token.startswith("-"):
            words.append(token)
            continue
        name, equals, value = token.partition("=")
        name = "--help" if name == "-h" else name.replace("_", "-")
        takes = name not in FLAGS and (name not in SWITCHES or rest[:1] in (["true"], ["false"]))
        if not equals and takes and rest and not rest[0].startswith("--"):
            value = rest.pop(0)
        if name in options and name != "--help":
            raise UsageError(f"{name} is given twice: {options[name]!r} and {value!r}")
        options[name] = value or None
    return words, options


def joined(words: Sequence[str], options: Options) -> list[str]:
    """What `split` takes for these: a command line to hand on."""
    given = (name if value is None else f"{name}={value}" for name, value in options.items())
    return [*words, *given]


def path(text: str) -> Path:
    """A path as it was typed; ~ at its beginning is the user's home, also where the shell left it."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise UsageError(f"{text}: there is no home folder that ~ could stand for: name it in full") from None


def only(words: list[str], what: str) -> str | None:
    """The only word, if there is one. Raises UsageError for more."""
    if len(words) > 1:
        raise UsageError(f"unexpected {words[1]!r}: one {what} is enough, and {words[0]!r} is given")
    return words[0] if words else None


def take(options: Options, name: str, default: str) -> str:
    """The option's value, removed from the options; the default where it is not given."""
    value = options.pop(name, default)
    if value is None:
        raise UsageError(f"{name} needs a value, such as {name} {default}")
    return value


def whole(options: Options, name: str, most: int | None = None) -> int | None:
    """The option's whole number above 0, removed from the options; None where it is not given."""
    if name not in options:
        return None
    text = take(options, name, "4")
    if not re.fullmatch(r"0*[1-9][0-9]{0,9}", text) or int(text) > (most or 999_999_999):
        bounds = "above 0" if most is None else f"from 1 to {most}"
        raise UsageError(f"{name}: must be a whole number {bounds}, not {text!r}")
    return int(text)


def choice(what: str, text: str, choices: Sequence[Choice]) -> Choice:
    """The choice of this name. Raises UsageError, with a suggestion."""
    for choice in choices:
        if choice == text:
            return choice
    raise UsageError(f"{what}: {_unknown(text, choices)}")


def settings_of(group: Group, options: Options, others: list[str]) -> Group:
    """One group of settings with those of the options, which are named without their section."""
    known = {option(path): setting for path, setting in settings(group).items()}
    values = to_dict(group)
    for name, text in options.items():
        if name not in known:
            near = difflib.get_close_matches(name, [*others, *known], n=1, cutoff=0.6)
            hint = f"did you mean {near[0]}?" if near else f"choose from {', '.join([*others, *known])}"
            raise UsageError(f"unknown option {name}: {hint}")
        if text is None and known[name].annotation is not bool:
            raise UsageError(f"{name} needs a value, such as {name} {known[name].shown}")
        values[known[name].path] = known[name].read("true" if text is None else text)
    try:
        return from_dict(values, type(group))
    except ConfigError as error:
        raise UsageError(_spelled(error, settings(group), [*options])) from None


def override(config: Config, options: Options, others: list[str], without: Sequence[str] = ()) -> Config:
    """The configuration with the settings of the options; `others` are what else could have been meant."""
    known = {name: setting for name, setting in settings(config).items() if name not in without}
    typed = {option(path): setting for path, setting in known.items()}
    values = to_dict(config)
    for name, text in options.items():
        setting = typed.get(name)
        if setting is None:
            raise UsageError(_unknown_option(name, config, [*others, *typed]))
        if text is None and setting.annotation is not bool:
            raise UsageError(f"{name} needs a value, such as {name} {setting.shown}")
        _assign(values, setting.path, setting.read("true" if text is None else text))
    try:
        return from_dict(values)
    except ConfigError as error:
        raise UsageError(_spelled(error, known, [*options])) from None


def _assign(values: Any, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for part in parents:
        values = values[int(part) if isinstance(values, list) else part]
    values[last] = value


def _spelled(error: ConfigError, known: dict[str, Setting], given: list[str]) -> str:
    """The error with the settings as they are typed: train.batch_size becomes --train.batch-size.

    Where several settings disagree (a gap between experts), those among the options `given` are named.
    """
    field = error.field
    while field not in known and "." in field:
        field = field.rpartition(".")[0]
    section = field.rpartition(".")[0]

    def typed(match: re.Match[str]) -> str:
        word = match[0]
        path = next((path for path in (word, f"{section}.{word}") if path in known), None)
        return option(path) if path and re.search(r"[._]", word) else word

    blamed = [option(field)] if field in known else [name for name in given if name.startswith(f"--{field}.")]
    name = ", ".join(blamed) or field
    problem = re.sub(r"\w+(?:\.\w+)*", typed, error.problem)
    return f"{name}: {problem}" if name else problem


def _unknown_option(name: str, config: Config, known: list[str]) -> str:
    expert = re.match(r"--experts\.(\d+)\.", name)
    count = len(config.experts)
    if expert and int(expert[1]) >= count:
        last = f"experts.0 to experts.{count - 1}" if count > 1 else "experts.0 only"
        return f"{name}: method {config.method} has {last}"
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
    # --batch-size is a setting without its section, --train a section without its setting.
    near = near or [path for path in known if path.endswith(f".{name[2:]}") or path.startswith(f"{name}.")]
    near = near or difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    if near:
        return f"unknown option {name}: did you mean {' or '.join(near[:3])}?"
    return f"unknown option {name}: see 'fokker run {config.preset} --help'"


def _unknown(text: str, known: Sequence[str]) -> str:
    near = [name for name in known if text and name.startswith(text)]
    near = near or difflib.get_close_matches(text, known, n=1)
    hint = f" (did you mean {' or '.join(near)}?)" if near else ""
    return f"unknown {text!r}{hint}; choose from {', '.join(known)}"


def print_and_exit(text: str) -> NoReturn:
    """Print a help text and end, with status 0."""
    print(text)
    raise SystemExit(0)
