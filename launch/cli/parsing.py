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
import types
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

import tyro
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

from ...data.config import MoleculesConfig
from ...distributed.config import ClusterConfig
from ..config import Config, ConfigError, from_dict
from .values import Choices, UsageError, is_option, shown

Kind = TypeVar("Kind")
Hidden = Collection[tuple[type, str]]
"""Fields of dataclasses that a command has no option for."""

WIDTH = 80
FLAT = tyro.conf.arg(name="")
"""Of a group of settings that are typed without its name."""
SHORT = {
    (MoleculesConfig, "path"): "--data",
    (ClusterConfig, "profile"): "--profile",
    (ClusterConfig, "devices_per_host"): "--devices-per-host",
}
"""Other names of settings, for what is typed often."""
FOLLOWS = {(Config, "preset"), (Config, "method"), (Config, "recipe")}
"""Fields of a configuration that follow from how a run is named."""


class Help(Exception):
    """The text that was asked for instead of work."""


@dataclass(frozen=True)
class Option:
    """A setting, or an option of a command alone."""

    path: str
    """Dotted path, such as experts.0.hidden."""
    annotation: Any
    value: Any
    """What it is unless it is typed."""
    names: tuple[str, ...]
    """As it is typed, the usual name first; of a flag the last one is its opposite."""

    def words(self) -> tuple[str, ...]:
        """Itself and its value as they would be typed."""
        if isinstance(self.value, bool):
            return (self.names[0 if self.value else -1],)
        first, *others = shown(self.value)
        return (f"{self.names[0]}={first}",) if is_option(first) else (self.names[0], first, *others)


@dataclass(frozen=True)
class _Field:
    """A field of arguments, and how tyro is to take it."""

    kind: Any
    """The dataclass that it belongs to."""
    name: str
    info: FieldInfo
    value: Any
    """What holds where nothing is typed; None as well where something must be."""
    hidden: Hidden

    @property
    def is_group(self) -> bool:
        """Whether it holds settings, or a tuple of such groups."""
        return any(map(is_dataclass, self.value if isinstance(self.value, tuple) else [self.value]))

    @property
    def is_hidden(self) -> bool:
        """Whether nothing sets it."""
        absent = self.value is None and any(map(is_dataclass, (self.info.annotation, *self._parts)))
        known = {*self.hidden, *FOLLOWS, (self.kind, "kind")}
        return absent or (self.kind, self.name) in known or tyro.conf.Suppress in self.info.metadata

    @property
    def is_positional(self) -> bool:
        """Whether it is a word without an option."""
        return tyro.conf.Positional in self.info.metadata

    @property
    def is_list(self) -> bool:
        """Whether several words may follow."""
        return any(get_origin(part) is tuple for part in self._parts)

    @property
    def _parts(self) -> tuple[Any, ...]:
        """What a value may be."""
        return _alternatives(self.info.annotation)

    def option(self, prefix: str) -> Option:
        """What sets it, in the group of this prefix."""
        start, ending = "--" + prefix.replace("_", "-"), self.name.replace("_", "-")
        short = [SHORT[key]] if (key := (self.kind, self.name)) in SHORT else []
        opposite = [f"{start}no-{ending}"] if self.info.annotation is bool else []
        names = (f"{start}{ending}", *short, *opposite)
        return Option(f"{prefix}{self.name}", self.info.annotation, self.value, names)

    def spec(self) -> StructFieldSpec:
        """For tyro."""
        own = (type(FLAT), type(tyro.conf.Positional))
        marks = [mark for mark in self.info.metadata if isinstance(mark, own)]
        if self.is_hidden:
            marks.append(tyro.conf.Suppress)
        elif short := SHORT.get((self.kind, self.name)):
            marks.append(tyro.conf.arg(aliases=(short,)))
        taken: Any = Annotated[Any, self._words()]
        if self.is_group:
            taken = self.info.annotation if isinstance(self.value, tuple) else type(self.value)
        elif self.info.annotation is bool:
            taken = bool
        if marks:
            taken = Annotated[(taken, *marks)]
        default = tyro.MISSING if self.value is None and self.info.is_required() else self.value
        return StructFieldSpec(self.name, taken, default, self._about())

    def _words(self) -> PrimitiveConstructorSpec[Any]:
        """Any words; what they look like is what tyro would say of the type."""
        annotation: Any = self.info.annotation
        usual = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(annotation, set()))
        metavar = getattr(usual, "metavar", "").removeprefix("{None}|").replace("{None,", "{none,")
        for check in self.info.metadata:
            if isinstance(choices := getattr(check, "func", None), Choices):
                metavar = f"{{{','.join(choices.names)}}}"
        return PrimitiveConstructorSpec(
            nargs="*" if self.is_list else 1,
            metavar=metavar,
            instance_from_str=lambda words: plain(annotation, words),
            is_instance=lambda value: True,
            str_from_instance=lambda value: shown(value) or ["nothing"],
        )

    def _about(self) -> str:
        """The help of an option, or what stands above those of a group."""
        if is_dataclass(self.value) and FLAT not in self.info.metadata:
            return inspect.getdoc(self.value) or ""
        # Pydantic reads a docstring where its field is defined alone.
        fields = (getattr(base, "__pydantic_fields__", {}).get(self.name) for base in self.kind.__mro__)
        text = next((field.description for field in fields if field and field.description), "")
        return " ".join(text.split())


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    is_union = get_origin(annotation) in (types.UnionType, Union)
    return get_args(annotation) if is_union else (annotation,)


def _fields(part: Any, hidden: Hidden = ()) -> Iterator[_Field]:
    """Of a dataclass, or of an instance with the values that it has."""
    kind = part if isinstance(part, type) else type(part)
    for name, info in kind.__pydantic_fields__.items():
        value = info.get_default(call_default_factory=True) if part is kind else getattr(part, name)
        yield _Field(kind, name, info, None if value is PydanticUndefined else value, hidden)


def options(part: Any, hidden: Hidden = (), prefix: str = "") -> dict[str, Option]:
    """Every option of a dataclass, or of an instance, by each of its names."""
    found: dict[str, Option] = {}
    for field in _fields(part, hidden):
        inner = prefix if FLAT in field.info.metadata else f"{prefix}{field.name}."
        if field.is_hidden or field.is_positional:
            continue
        if field.is_group and isinstance(field.value, tuple):
            for index, one in enumerate(field.value):
                found |= options(one, hidden, f"{inner}{index}.")
        elif field.is_group:
            found |= options(field.value, hidden, inner)
        else:
            option = field.option(prefix)
            found |= dict.fromkeys(option.names, option)
    return found


def plain(annotation: Any, words: Sequence[str]) -> Any:
    """The plain value of typed words: a list for a tuple, None for none; all else is left to pydantic."""
    parts = _alternatives(annotation)
    if len(words) == 1:
        if type(None) in parts and words[0].lower() == "none":
            return None
        named = any(words[0] in get_args(part) for part in parts if get_origin(part) is Literal)
        if named or not any(get_origin(part) is tuple for part in parts):
            return words[0]
    return list(words)


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
        fields = (field for field in _fields(part, hidden) if field.value is not None or not field.is_hidden)
        return StructConstructorSpec(dict, tuple(field.spec() for field in fields))

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
    needed = [field for field in _fields(kind) if field.info.is_required() and not field.is_hidden]
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
    names |= {field.name: field.name.upper() for field in _fields(kind) if field.is_positional}
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


def commands_with(option: str) -> list[str]:
    """Commands that have an option, as they are typed."""
    from . import COMMANDS  # They are made of what is here.

    return [f"fokker {name}" for name, command in COMMANDS.items() if option in options(command.kind)]
