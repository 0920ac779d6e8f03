"""The fields of dataclasses as options: how they are called, what they take, and what is said of them."""

import inspect
import types
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import tyro
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    StructFieldSpec,
)

from ...data.config import MoleculesConfig
from ...distributed.config import ClusterConfig
from ...distributed.runs.config import Config
from .values import Choices, is_option, shown

Hidden = Collection[tuple[type, str]]
"""Fields of dataclasses that a command has no option for."""

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
class Field:
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
        absent = self.value is None and any(map(is_dataclass, _alternatives(self.info.annotation)))
        known = {*self.hidden, *FOLLOWS, (self.kind, "kind")}
        return absent or (self.kind, self.name) in known or tyro.conf.Suppress in self.info.metadata

    @property
    def is_positional(self) -> bool:
        """Whether it is a word without an option."""
        return tyro.conf.Positional in self.info.metadata

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
        return StructFieldSpec(self.name, taken, default, self.about())

    def _words(self) -> PrimitiveConstructorSpec[Any]:
        """Any words; what they look like is what tyro would say of the type."""
        annotation: Any = self.info.annotation
        usual = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(annotation, set()))
        metavar = getattr(usual, "metavar", "").removeprefix("{None}|").replace("{None,", "{none,")
        for check in self.info.metadata:
            if isinstance(choices := getattr(check, "func", None), Choices):
                metavar = f"{{{','.join(choices.names)}}}"
        return PrimitiveConstructorSpec(
            nargs="*" if _is_list(annotation) else 1,
            metavar=metavar,
            instance_from_str=lambda words: plain(annotation, words),
            is_instance=lambda value: True,
            str_from_instance=lambda value: shown(value) or ["nothing"],
        )

    def about(self) -> str:
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


def _is_list(annotation: Any) -> bool:
    return any(get_origin(part) is tuple for part in _alternatives(annotation))


def fields(part: Any, hidden: Hidden = ()) -> Iterator[Field]:
    """Of a dataclass, or of an instance with the values that it has."""
    kind = part if isinstance(part, type) else type(part)
    for name, info in kind.__pydantic_fields__.items():
        value = info.get_default(call_default_factory=True) if part is kind else getattr(part, name)
        yield Field(kind, name, info, None if value is PydanticUndefined else value, hidden)


def options(part: Any, hidden: Hidden = (), prefix: str = "") -> dict[str, Option]:
    """Every option of a dataclass, or of an instance, by each of its names."""
    found: dict[str, Option] = {}
    for field in fields(part, hidden):
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
        if named or not _is_list(annotation):
            return words[0]
    return list(words)


def commands_with(option: str) -> list[str]:
    """Commands that have an option, as they are typed."""
    from . import COMMANDS  # They are made of what is here.

    return [f"fokker {name}" for name, command in COMMANDS.items() if option in options(command.kind)]
