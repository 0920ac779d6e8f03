"""What is typed as typed arguments: tyro takes the words apart, and `from_dict` alone checks them.

The arguments of every command, the settings of a run among them, are frozen dataclasses of pydantic, and the
docstring of a field is its help. Free of JAX and Ray, so that help and errors appear at once.
"""

import contextlib
import dataclasses
import difflib
import inspect
import io
import os
import re
import textwrap
import types
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

import tyro
from pydantic import AfterValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

from ...data.config import MoleculesConfig
from ...data.errors import FokkerError
from ...distributed.config import ClusterConfig
from ..config import Config, ConfigError, from_dict

Kind = TypeVar("Kind")
Hidden = Collection[tuple[type, str]]
"""Fields of dataclasses that a command has no option for."""
Text = TypeVar("Text", bound=str)

WIDTH = 80
FLAT = tyro.conf.arg(name="")
"""Of a group of settings that are typed without its name."""
SHORT = {
    (MoleculesConfig, "path"): "--data",
    (ClusterConfig, "profile"): "--profile",
    (ClusterConfig, "devices_per_host"): "--devices-per-host",
}
"""Other names of settings, for what is typed often."""
CHOSEN_OTHERWISE = ("preset", "method", "recipe")
"""Fields of a configuration that follow from how a run is named."""
METAVARS = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH"}


class UsageError(FokkerError):
    """What was typed cannot be carried out."""

    status = 2

    def __init__(self, problem: str, command: str = ""):
        super().__init__(problem)
        self.command = command
        """That it was typed for."""


class Help(Exception):
    """The text that was asked for instead of work."""


@dataclasses.dataclass(frozen=True)
class Option:
    """A setting, or an option of a command alone."""

    path: str
    """Dotted path, such as experts.0.hidden."""
    annotation: Any
    value: Any
    """What it is unless it is typed."""
    names: tuple[str, ...]
    """As it is typed, the usual name first."""

    def words(self) -> tuple[str, ...]:
        """Itself and its value as they would be typed."""
        if isinstance(self.value, bool):
            return (self.names[0 if self.value else -1],)
        first, *others = shown(self.value)
        return (f"{self.names[0]}={first}",) if is_option(first) else (self.names[0], first, *others)


def shown(value: Any) -> list[str]:
    """A value as it would be typed, a word for each of a list."""
    if isinstance(value, tuple | list):
        return [word for part in value for word in shown(part)]
    return ["none" if value is None else str(value).removesuffix(".0")]


def path(text: Path) -> Path:
    """A path as it was typed; ~ at its beginning is the user's home, also where the shell left it."""
    try:
        return text.expanduser()
    except RuntimeError:
        raise ValueError(f"{text}: there is no home folder that ~ could stand for: name it in full") from None


HomePath = Annotated[Path, AfterValidator(path)]


def a_run(path: Path) -> Path:
    """The folder of a run. Raises ValueError."""
    if not path.is_dir():
        raise ValueError(f"{path} is not the folder of a run")
    return path


def new_file(ending: str) -> AfterValidator:
    """For a file of this ending, in a folder that is there."""

    def check(path: Path | None) -> Path | None:
        if path and (path.suffix != ending or not path.absolute().parent.is_dir() or path.is_dir()):
            raise ValueError(f"{path} has to end with {ending}, in a folder that is there")
        return path

    return AfterValidator(check)


RunFolder = Annotated[HomePath, AfterValidator(a_run)]


class Choices:
    """Checks that a word is one of these, or one of their names."""

    def __init__(self, *names: str):
        self.names = names

    def __call__(self, text: str | None) -> str | None:
        """The word. Raises ValueError, with a suggestion."""
        if text is not None and text not in self.names:
            raise ValueError(unknown(text, self.names))
        return text


def one_of(names: Collection[str]) -> AfterValidator:
    """For a text that has to be one of these."""
    return AfterValidator(Choices(*names))


def matching(pattern: str, problem: str) -> AfterValidator:
    """For a text that has to look so; the problem is told where it does not."""

    def check(text: str | None) -> str | None:
        if text is not None and not re.fullmatch(pattern, text, re.ASCII):
            raise ValueError(f"{problem}, not {text!r}")
        return text

    return AfterValidator(check)


def choice(what: str, text: str, names: Sequence[Text]) -> Text:
    """The name that was typed. Raises UsageError, with a suggestion."""
    for name in names:
        if name == text:
            return name
    raise UsageError(f"{what}: {unknown(text, names)}")


def unknown(text: str, known: Sequence[str], others: Sequence[str] = ()) -> str:
    """That a name is not known, and which was meant, also of `others` that belong elsewhere."""
    near = [name for name in known if text and name.startswith(text)]
    near = near or [*others] or difflib.get_close_matches(text, known, n=1)
    hint = f" (did you mean {' or '.join(near)}?)" if near else ""
    return f"unknown {text!r}{hint}; choose from {', '.join(known)}"


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


def commands_with(option: str) -> list[str]:
    """Commands that have an option, as they are typed."""
    from . import COMMANDS  # They are made of what is here.

    return [f"fokker {name}" for name, command in COMMANDS.items() if option in options(command.kind)]


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
    values, extra = _parsed(kind, argv, default, hidden)
    if extra:
        raise UsageError(f"unexpected {extra[0]!r}: see 'fokker {command} --help'")
    _require(kind, values, given, command)
    if "given" in values:
        values["given"] = tuple(given)
    try:
        return from_dict(values, kind)
    except ConfigError as error:
        raise UsageError(_spelled(error, kind, known, given)) from None


def options(part: Any, hidden: Hidden = (), prefix: str = "") -> dict[str, Option]:
    """Every option of a dataclass, or of an instance, by each of its names."""
    found: dict[str, Option] = {}
    for name, info, value in _fields(part):
        if _is_hidden(_kind(part), name, info, value, hidden) or tyro.conf.Positional in info.metadata:
            continue
        inner = prefix if FLAT in info.metadata else f"{prefix}{name}."
        if dataclasses.is_dataclass(value):
            found |= options(value, hidden, inner)
        elif _is_groups(value):
            for index, one in enumerate(value):
                found |= options(one, hidden, f"{inner}{index}.")
        else:
            option = Option(f"{prefix}{name}", info.annotation, value, _names(_kind(part), name, prefix))
            found |= dict.fromkeys(option.names, option)
    return found


def _names(kind: type, name: str, prefix: str) -> tuple[str, ...]:
    start, ending = "--" + prefix.replace("_", "-"), name.replace("_", "-")
    short = (SHORT[kind, name],) if (kind, name) in SHORT else ()
    inverse = (f"{start}no-{ending}",) if _info(kind, name).annotation is bool else ()
    return (f"{start}{ending}", *short, *inverse)


def _fields(part: Any) -> Iterator[tuple[str, FieldInfo, Any]]:
    """Fields of a dataclass or of an instance, with the value that holds where none is typed."""
    for name, info in _kind(part).__pydantic_fields__.items():
        default = info.get_default(call_default_factory=True)
        if not isinstance(part, type):
            default = getattr(part, name)
        yield name, info, None if default is PydanticUndefined else default


def _kind(part: Any) -> Any:
    return part if isinstance(part, type) else type(part)


def _info(kind: Any, name: str) -> FieldInfo:
    return kind.__pydantic_fields__[name]


def _is_groups(value: Any) -> bool:
    return isinstance(value, tuple) and any(map(dataclasses.is_dataclass, value))


def _is_hidden(kind: type, name: str, info: FieldInfo, value: Any, hidden: Hidden) -> bool:
    """Whether no option sets a field."""
    is_group = any(map(dataclasses.is_dataclass, (info.annotation, *get_args(info.annotation))))
    follows = name == "kind" or (kind is Config and name in CHOSEN_OTHERWISE)
    absent = is_group and value is None
    return follows or absent or (kind, name) in hidden or tyro.conf.Suppress in info.metadata


def _registry(hidden: Hidden) -> ConstructorRegistry:
    """The one rule: a dataclass becomes a plain dictionary, and each of its values what was typed."""
    registry = ConstructorRegistry()

    @registry.struct_rule
    def rule(info: StructTypeInfo) -> StructConstructorSpec | None:
        if not hasattr(info.type, "__pydantic_fields__"):
            return None
        part = info.default if isinstance(info.default, info.type) else info.type
        fields = (
            StructFieldSpec(
                name,
                _typed(info.type, name, field, value, hidden),
                tyro.MISSING if field.is_required() and value is None else value,
                _about(info.type, name, value),
            )
            for name, field, value in _fields(part)
            if not (field.is_required() and _is_hidden(info.type, name, field, value, hidden))
            or value is not None
        )
        return StructConstructorSpec(dict, tuple(fields))

    return registry


def _about(kind: type, name: str, value: Any) -> str:
    """The help of an option, or what stands above those of a group."""
    if dataclasses.is_dataclass(value) and FLAT not in _info(kind, name).metadata:
        return inspect.getdoc(value) or ""
    # Pydantic reads docstrings where a field is defined alone.
    fields = (getattr(base, "__pydantic_fields__", {}).get(name) for base in kind.__mro__)
    description = next((field.description for field in fields if field and field.description), "")
    return " ".join(description.split())


def _typed(kind: type, name: str, info: FieldInfo, value: Any, hidden: Hidden) -> Any:
    """A field as tyro is to take it."""
    markers = [mark for mark in info.metadata if isinstance(mark, type(FLAT) | type(tyro.conf.Positional))]
    if _is_hidden(kind, name, info, value, hidden):
        markers.append(tyro.conf.Suppress)
    elif (kind, name) in SHORT:
        markers.append(tyro.conf.arg(aliases=(SHORT[kind, name],)))
    if dataclasses.is_dataclass(value):
        plain: Any = type(value)
    elif _is_groups(value):
        plain = info.annotation
    elif info.annotation is bool and tyro.conf.Suppress not in markers:
        plain = bool
    else:
        plain = Annotated[Any, _spec(info)]
    return Annotated[(plain, *markers)] if markers else plain


def _spec(info: FieldInfo) -> PrimitiveConstructorSpec[Any]:
    return PrimitiveConstructorSpec(
        nargs="*" if _is_list(info.annotation) else 1,
        metavar=_metavar(info),
        instance_from_str=lambda words: plain(info.annotation, words),
        is_instance=lambda value: True,
        str_from_instance=lambda value: shown(value) or ["nothing"],
    )


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """What a value may be."""
    is_union = get_origin(annotation) in (types.UnionType, Union)
    return get_args(annotation) if is_union else (annotation,)


def _is_list(annotation: Any) -> bool:
    return any(get_origin(kind) is tuple for kind in _kinds(annotation))


def plain(annotation: Any, words: Sequence[str]) -> Any:
    """The plain value of typed words: a list for a tuple, None for none; all else is left to pydantic."""
    kinds = _kinds(annotation)
    if len(words) == 1:
        if type(None) in kinds and words[0].lower() == "none":
            return None
        if not _is_list(annotation) or any(
            words[0] in get_args(k) for k in kinds if get_origin(k) is Literal
        ):
            return words[0]
    return list(words)


def _metavar(info: FieldInfo) -> str:
    names = [check.func.names for check in info.metadata if isinstance(getattr(check, "func", None), Choices)]
    if names:
        return "{" + ",".join(names[0]) + "}"
    return "|".join(_one_metavar(kind) for kind in _kinds(info.annotation) if kind is not type(None))


def _one_metavar(kind: Any) -> str:
    kind = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    if get_origin(kind) is Literal:
        return "{" + ",".join(map(str, get_args(kind))) + "}"
    if get_origin(kind) is tuple:
        first, *others = map(_one_metavar, get_args(kind)[:1] if ... in get_args(kind) else get_args(kind))
        return " ".join([first, *(others or ["..."])])
    return METAVARS.get(kind, "")


def _given(argv: Sequence[str], known: Mapping[str, Option], command: str, default: Any) -> dict[str, str]:
    """Paths of what is typed, each with its name there.

    Raises UsageError for all that tyro would not tell in one line: names that are not known, values that are
    missing or too many, and what is typed twice.
    """
    found: dict[str, str] = {}
    for token, after in pairwise([*argv, ""]):
        if not is_option(token):
            continue
        name, equals, value = token.partition("=")
        name = name.replace("_", "-")
        option = known.get(name)
        if option is None:
            raise UsageError(_unknown_option(name, known, command, default))
        if option.path in found:
            raise UsageError(f"{name} is given twice")
        found[option.path] = name
        if option.annotation is bool:
            if equals or after in ("true", "false"):
                raise UsageError(f"{name} takes no value: {option.names[0]} or {option.names[-1]}")
        elif (equals and not value) or (not equals and (is_option(after) or not after)):
            example = " ".join(shown(option.value)) if option.value is not None else _one_metavar(str)
            raise UsageError(f"{name} needs a value, such as {name} {example}")
    return found


def _parsed(kind: Any, argv: Sequence[str], default: Any, hidden: Hidden) -> tuple[dict[str, Any], list[str]]:
    """Plain values, and words that are too many; no values where a word is missing."""
    try:
        values, extra = tyro.cli(
            kind,
            args=argv,
            default=tyro.MISSING_NONPROP if default is None else default,
            return_unknown_args=True,
            console_outputs=False,
            add_help=False,
            registry=_registry(hidden),
        )
    except SystemExit:
        return {}, []
    return cast(dict[str, Any], values), extra


def _require(kind: Any, values: Mapping[str, Any], given: Mapping[str, str], command: str) -> None:
    """UsageError unless all is typed that has no default."""
    needed = {name: info for name, info in kind.__pydantic_fields__.items() if info.is_required()}
    if all(values.get(name) for name in needed):
        return
    words = {
        name: name.upper() if tyro.conf.Positional in info.metadata else "--" + name.replace("_", "-")
        for name, info in needed.items()
    }
    lacking = " and ".join(word for name, word in words.items() if name not in given)
    usage = [word if word.isupper() else f"{word} {_metavar(needed[name])}" for name, word in words.items()]
    raise UsageError(f"name {lacking}: fokker {command} {' '.join(usage)}")


def helped(kind: Any, command: str, default: Any = None, hidden: Hidden = (), about: str = "") -> str:
    """What tyro prints, at most 80 columns wide; without colours and frames, as it is caught."""
    said, columns = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(WIDTH)
    try:
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            tyro.cli(
                kind,
                prog=f"fokker {command}",
                description="\n\n".join(filter(None, (about, inspect.getdoc(kind)))),
                args=["--help"],
                default=tyro.MISSING_NONPROP if default is None else default,
                config=(tyro.conf.PositionalMetavarFromFieldName,),
                registry=_registry(hidden),
            )
    finally:
        os.environ.pop("COLUMNS") if columns is None else os.environ.update(COLUMNS=columns)
    return "\n".join(textwrap.fill(line, WIDTH) for line in said.getvalue().rstrip().splitlines())


def _spelled(error: ConfigError, kind: Any, known: Mapping[str, Option], given: Mapping[str, str]) -> str:
    """The error with the settings as they are typed: train.batch_size becomes --train.batch-size.

    Where several settings disagree (a gap between experts), those that are given are named.
    """
    names = {option.path: option.names[0] for option in known.values()}
    names |= given
    names |= {name: name.upper() for name, info, _ in _fields(kind) if tyro.conf.Positional in info.metadata}
    field = error.field.removeprefix("config.")
    while field not in names and "." in field:
        field = field.rpartition(".")[0]
    section = field.rpartition(".")[0]

    def typed(match: re.Match[str]) -> str:
        word = match[0]
        path = next((path for path in (word, f"{section}.{word}") if path in names), None)
        return names[path] if path and re.search(r"[._]", word) else word

    blamed = [names[field]] if field in names else [n for p, n in given.items() if p.startswith(f"{field}.")]
    name = ", ".join(blamed) or field
    problem = re.sub(r"\w+(?:\.\w+)*", typed, error.problem)
    if "," in problem and any(
        option.names[0] == name and _is_list(option.annotation) for option in known.values()
    ):
        problem += ": values are separated by blanks"
    return f"{name}: {problem}" if name else problem


def _unknown_option(name: str, known: Mapping[str, Option], command: str, default: Any) -> str:
    config = getattr(default, "config", None)
    expert = re.match(r"--experts\.(\d+)\.", name)
    if expert and isinstance(config, Config) and int(expert[1]) >= (count := len(config.experts)):
        last = f"experts.0 to experts.{count - 1}" if count > 1 else "experts.0 only"
        return f"{name}: method {config.method} has {last}"
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
    # --batch-size is a setting without its section, --train a section without its setting.
    near = near or [path for path in known if path.endswith(f".{name[2:]}") or path.startswith(f"{name}.")]
    near = near or difflib.get_close_matches(name, known, n=1, cutoff=0.7)
    near = near or commands_with(name)
    hint = f"did you mean {' or '.join(near[:3])}?" if near else f"see 'fokker {command} --help'"
    return f"unknown option {name}: {hint}"
