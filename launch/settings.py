"""The settings of a configuration, as a flat list of dotted paths."""

import dataclasses
import types
from typing import Any, Literal, Union, get_args, get_origin

CHOSEN_OTHERWISE = ("preset", "method", "recipe", "kind")
"""Fields that have an option of their own, or follow from the preset."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """One field of the configuration that an option can set."""

    path: str
    """Dotted path, such as experts.0.hidden."""
    annotation: Any
    description: str
    value: Any
    """Its value in the configuration at hand."""

    @property
    def choices(self) -> tuple[str, ...]:
        """The values it can take, where they can be listed."""
        if self.annotation is bool:
            return ("true", "false")
        return get_args(self.annotation) if get_origin(self.annotation) is Literal else ()

    @property
    def optional(self) -> bool:
        """Whether it can be null."""
        return self._is_union and type(None) in get_args(self.annotation)

    @property
    def _is_union(self) -> bool:
        return get_origin(self.annotation) in (types.UnionType, Union)

    @property
    def shown(self) -> str:
        """Its value as it would be typed."""
        return _typed(self.value)

    def read(self, text: str) -> Any:
        """The plain value of a typed one: a list for a tuple, None for null; all else is left to pydantic."""
        if self.optional and text.lower() in ("null", "none"):
            return None
        kinds = get_args(self.annotation) if self._is_union else (self.annotation,)
        if any(get_origin(kind) is Literal and text in get_args(kind) for kind in kinds):
            return text
        return text.split(",") if any(get_origin(kind) is tuple for kind in kinds) else text


def settings(config: Any) -> dict[str, Setting]:
    """Every setting of a configuration, or of one group of it, by its dotted path."""
    found = {}
    for path, part in sections(config).items():
        for name, info in type(part).__pydantic_fields__.items():
            value = getattr(part, name)
            if name in CHOSEN_OTHERWISE or _is_group(value) or _may_be_group(info.annotation):
                continue
            full = f"{path}.{name}" if path else name
            found[full] = Setting(full, info.annotation, info.description or "", value)
    return found


def sections(config: Any) -> dict[str, Any]:
    """The configuration itself, under the empty path, then each group of settings in it."""
    found: dict[str, Any] = {"": config}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, tuple) and _is_group(value):
            found |= {f"{field.name}.{index}": item for index, item in enumerate(value)}
        elif _is_group(value):
            found[field.name] = value
    return found


def option(path: str) -> str:
    """The option that sets a field: --train.batch-size for train.batch_size."""
    return "--" + path.replace("_", "-")


def _may_be_group(annotation: Any) -> bool:
    return any(dataclasses.is_dataclass(kind) for kind in (annotation, *get_args(annotation)))


def _is_group(value: Any) -> bool:
    if dataclasses.is_dataclass(value):
        return True
    return isinstance(value, tuple) and any(dataclasses.is_dataclass(item) for item in value)


def _typed(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(map(_typed, value))
    return str(value).removesuffix(".0")
