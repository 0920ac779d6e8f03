"""What is typed as typed arguments: tyro takes the words apart, and `from_dict` alone checks them.

The arguments of every command, the settings of a run among them, are frozen dataclasses of pydantic, and the
docstring of a field is its help. Free of JAX and Ray, so that help and errors appear at once.
"""

import contextlib
import difflib
import inspect
import io
import os
import re
import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeVar, cast

import tyro
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructTypeInfo

from ...distributed.runs.config import Config, ConfigError, from_dict
from .options import Hidden, Option, commands_with, fields, options
from .values import UsageError, is_option

Kind = TypeVar("Kind")
WIDTH = 80


class Help(Exception):
    """The text that was asked for instead of work."""


def read(
    kind: type[Kind],
    command: str,
    argv: Sequence[str],
    default: Kind | None = None,
    hidden: Hidden = (),
    about: str = "",
) -> Kind:
    """The arguments that are typed after a command, checked.

    `default` are those of a preset, `hidden` settings that the command does not have, `about` stands above
    the docstring of the arguments in the help. Raises UsageError, and Help if that is asked for.
    """
    if {"-h", "--help"} & {*argv}:
        raise Help(helped(kind, command, default, hidden, about))
    known = options(kind if default is None else default, hidden)
    given = _given(argv, known, command, default)
    try:
        values, extra = _tyro(kind, argv, default, hidden)
    except SystemExit:  # A word without an option is missing: the rest is looked for above.
        values, extra = {}, []
    if extra:
        raise UsageError(f"unexpected {extra[0]!r}: see 'fokker {command} --help'")
    _require(kind, values, given, command)
    if "given" in values:
        values["given"] = tuple(given)
    try:
        return from_dict(values, kind)
    except ConfigError as error:
        raise UsageError(_spelled(error, kind, known, given)) from None


def _tyro(
    kind: Any, argv: Sequence[str], default: Any, hidden: Hidden, prog: str | None = None, about: str = ""
) -> tuple[dict[str, Any], list[str]]:
    """Plain values, and the words that are too many; one rule makes a dictionary of each dataclass.

    It prints help alone, and that if it knows the program.
    """
    registry = ConstructorRegistry()

    @registry.struct_rule
    def rule(info: StructTypeInfo) -> StructConstructorSpec | None:
        if not hasattr(info.type, "__pydantic_fields__"):
            return None
        part = info.default if isinstance(info.default, info.type) else info.type
        taken = (field for field in fields(part, hidden) if field.value is not None or not field.is_hidden)
        return StructConstructorSpec(dict, tuple(field.spec() for field in taken))

    values, extra = tyro.cli(
        kind,
        args=argv,
        default=default or tyro.MISSING_NONPROP,
        return_unknown_args=True,
        config=(tyro.conf.PositionalMetavarFromFieldName,),
        registry=registry,
        console_outputs=prog is not None,
        add_help=prog is not None,
        prog=prog,
        description=about,
    )
    return cast(dict[str, Any], values), extra


def helped(kind: Any, command: str, default: Any = None, hidden: Hidden = (), about: str = "") -> str:
    """What tyro prints, at most 80 columns wide; without colours and frames, as it is caught."""
    said, columns = io.StringIO(), os.environ.get("COLUMNS")
    text = "\n\n".join(filter(None, (about, inspect.getdoc(kind))))
    os.environ["COLUMNS"] = str(WIDTH)
    try:
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            _tyro(kind, ["--help"], default, hidden, f"fokker {command}", text)
    finally:
        os.environ.pop("COLUMNS") if columns is None else os.environ.update(COLUMNS=columns)
    return "\n".join(textwrap.fill(line, WIDTH) for line in said.getvalue().rstrip().splitlines())


def _given(argv: Sequence[str], known: Mapping[str, Option], command: str, default: Any) -> dict[str, str]:
    """Paths of what is typed, each with its name there.

    Raises UsageError for all that tyro would not tell in one line: names that are not known, values that are
    missing or too many, and what is typed twice.
    """
    found: dict[str, str] = {}
    for word, after in pairwise([*argv, ""]):
        if not is_option(word):
            continue
        name, equals, value = word.partition("=")
        name = name.replace("_", "-")
        if (option := known.get(name)) is None:
            raise UsageError(_unknown_option(name, known, command, default))
        if option.path in found:
            raise UsageError(f"{name} is given twice")
        found[option.path] = name
        if option.annotation is bool:
            if equals or after in ("true", "false"):
                raise UsageError(f"{name} takes no value: {option.names[0]} or {option.names[-1]}")
        elif not (value if equals else after) or (not equals and is_option(after)):
            example = "" if option.value is None else f", such as {' '.join(option.words())}"
            raise UsageError(f"{name} needs a value{example}")
    return found


def _require(kind: Any, values: Mapping[str, Any], given: Mapping[str, str], command: str) -> None:
    """UsageError unless all is typed that has no default."""
    needed = [field for field in fields(kind) if field.info.is_required() and not field.is_hidden]
    if all(values.get(field.name) for field in needed):
        return
    words = {f.name: f.name.upper() if f.is_positional else f.option("").names[0] for f in needed}
    lacking = " and ".join(word for name, word in words.items() if name not in given)
    usage = " ".join(word if word.isupper() else f"{word} ..." for word in words.values())
    raise UsageError(f"name {lacking}: fokker {command} {usage}")


def _spelled(error: ConfigError, kind: Any, known: Mapping[str, Option], given: Mapping[str, str]) -> str:
    """The error with the settings as they are typed: train.batch_size becomes --train.batch-size.

    Where several settings disagree (a gap between experts), those that are given are named.
    """
    names = {option.path: option.names[0] for option in known.values()} | {**given}
    names |= {field.name: field.name.upper() for field in fields(kind) if field.is_positional}
    field = error.field.removeprefix("config.")
    while field not in names and "." in field:
        field = field.rpartition(".")[0]
    section = field.rpartition(".")[0]

    def typed(match: re.Match[str]) -> str:
        word = match[0]
        path = next((path for path in (word, f"{section}.{word}") if path in names), None)
        return names[path] if path and re.search(r"[._]", word) else word

    blamed = [names[field]] if field in names else [n for p, n in given.items() if p.startswith(f"{field}.")]
    problem = re.sub(r"\w+(?:\.\w+)*", typed, error.problem)
    if re.search(r"not '\d+,", problem):
        problem += ": values are separated by blanks"
    return ": ".join(filter(None, (", ".join(blamed) or field, problem)))


def _unknown_option(name: str, known: Mapping[str, Option], command: str, default: Any) -> str:
    config = getattr(default, "config", None)
    expert = re.match(r"--experts\.(\d+)\.", name)
    if expert and isinstance(config, Config) and int(expert[1]) >= (count := len(config.experts)):
        last = f"experts.0 to experts.{count - 1}" if count > 1 else "experts.0 only"
        return f"{name}: method {config.method} has {last}"
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
    # --batch-size is a setting without its section, --train a section without its setting.
    near = near or [path for path in known if path.endswith(f".{name[2:]}") or path.startswith(f"{name}.")]
    near = near or difflib.get_close_matches(name, known, n=1, cutoff=0.7) or commands_with(name)
    hint = f"did you mean {' or '.join(near[:3])}?" if near else f"see 'fokker {command} --help'"
    return f"unknown option {name}: {hint}"
