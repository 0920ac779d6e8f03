"""The whole configuration of a run, composed of what each folder defines for its own part."""

import json
import re
import reprlib
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import ErrorDetails

from ...data.config import DataConfig, MuellerBrownConfig, ReferenceConfig
from ...data.errors import FokkerError
from ...data.files import Migrations, migrated, write_json
from ...model.config import (
    STRICT,
    ExpertConfig,
    NetworkConfig,
    ObjectiveConfig,
    SampleConfig,
    SimulateConfig,
    UmbrellaConfig,
    check_cover,
    require_springs,
)
from ..config import ClusterConfig, TrainConfig

MIGRATIONS: Migrations = ()
"""Of saved runs: a setting of another name or meaning is one more. One that is new has its default."""

Method = Literal["score", "diffusion", "two-for-one", "mixture", "fokker-planck", "both"]
Recipe = Literal["paper", "fokker"]


_PROBLEMS = {
    "missing": "is missing",
    "unexpected_keyword_argument": "is not a setting",
    "dataclass_type": "must be a group of settings",
    "tuple_type": "must be a list of values",
    "too_long": "must have {max_length} values",
    "too_short": "must have {min_length} or more values",
    "invalid_key": "is not a setting",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number of fewer digits",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "literal_error": "must be {expected}",
    "greater_than": "must be above {gt:.10g}",
    "greater_than_equal": "must be at least {ge:.10g}",
    "less_than": "must be below {lt:.10g}",
    "less_than_equal": "must be at most {le:.10g}",
}


class ConfigError(FokkerError, ValueError):
    """A setting that cannot be: one line that names the field, the value and what would be right."""

    status = 2

    def __init__(self, problem: str, field: str = ""):
        super().__init__(f"{field}: {problem}" if field else problem)
        self.problem = problem
        self.field = field
        """Dotted path, such as experts.0.interval; empty where no field is at fault."""


@dataclass(frozen=True, config=STRICT)
class Config:
    """Everything that determines a run, and where it runs."""

    preset: str
    """The experiment that the defaults come from."""
    method: Method
    """Row of the paper's tables."""
    recipe: Recipe
    """The paper's protocol, or ours."""
    data: DataConfig
    experts: tuple[ExpertConfig, ...]
    network: NetworkConfig
    objective: ObjectiveConfig
    train: TrainConfig
    sample: SampleConfig
    simulate: SimulateConfig
    cluster: ClusterConfig
    umbrella: UmbrellaConfig = UmbrellaConfig()
    """How the learned energy is judged along φ."""
    reference: ReferenceConfig | None = None
    """How a reference is simulated where the data have no path (none: it is not)."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of the training, the samples and the simulations."""

    def __post_init__(self):
        check_cover(self.experts)
        require_springs(self.simulate, self.network, "simulate.inner_steps")
        if self.train.hide_residues and getattr(self.network, "embedding", "features") != "features":
            raise ValueError("train.hide_residues needs network.embedding=features: others know no residues")
        if self.train.hide_residues and self.network.kind == "mlp":
            raise ValueError("train.hide_residues needs molecules: a toy has no residues")
        self._check_shares()
        made, temperature = self.reference, self.data.temperature
        given = getattr(self.data, "path", None)
        if made is not None and given is None and made.temperature != temperature:
            raise ValueError(
                f"reference.temperature {made.temperature:g} is not that of the data, "
                f"data.temperature {temperature:g}"
            )
        if isinstance(self.data, MuellerBrownConfig) and self.train.batch_size > self.data.frames:
            raise ValueError(
                f"train.batch_size {self.train.batch_size} is larger than the data, "
                f"data.frames {self.data.frames}"
            )

    @property
    def hosts(self) -> tuple[int, ...] | None:
        """Of the group of each expert, where they are given; None where hosts are shared out."""
        given = self.cluster.hosts
        if not isinstance(given, tuple):
            return None
        return given * len(self.experts) if len(given) == 1 else given

    def replace(self, changes: Mapping[str, Any]) -> "Config":
        """With other values of some settings, such as {"train.batch_size": 64}. Raises ConfigError."""
        values = to_dict(self)
        for name, value in changes.items():
            *parents, last = name.split(".")
            part: Any = values
            try:
                for parent in parents:
                    part = part[int(parent) if isinstance(part, list) else parent]
                part[last]
            except (KeyError, IndexError, ValueError, TypeError):
                raise ConfigError("is not a setting", name) from None
            part[last] = value
        return from_dict(values)

    def _check_shares(self) -> None:
        """Raise ValueError unless every group of hosts can share its batches equally."""
        hosts, devices = self.cluster.hosts, self.cluster.devices_per_host
        counts = hosts if isinstance(hosts, tuple) else (1,)
        if len(counts) not in (1, len(self.experts)):
            raise ValueError(
                f"cluster.hosts has {len(counts)} values: give one for all experts, or one for each of the "
                f"{len(self.experts)}"
            )
        batch, accumulate = self.train.batch_size, self.train.accumulate
        for count in counts:
            parts = count * devices * accumulate
            if not self.objective.divides(batch, parts):
                what = f"{count} × {devices} devices" + (f" × {accumulate} parts" if accumulate > 1 else "")
                raise ValueError(
                    f"train.batch_size {batch} cannot be shared equally by {what}: with "
                    f"objective.consistency_fraction {self.objective.consistency_fraction:g} it consists of "
                    f"{self.objective.shares(batch)} equal groups, which has to be a multiple of {parts}"
                )


Settings = TypeVar("Settings")
_adapter = lru_cache(TypeAdapter)


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration, or one group of its settings, as plain JSON values."""
    return _adapter(type(config)).dump_python(config, mode="json")


def from_dict(values: Any, kind: type[Settings] = Config) -> Settings:
    """The configuration, or group, of plain values, strings included.

    Raises ConfigError, which names the first wrong field.
    """
    adapter: TypeAdapter[Any] = _adapter(kind)
    try:
        found = adapter.validate_python(values)
    except ValidationError as error:
        raise _config_error(error.errors(include_url=False)) from None
    _require_no_truth(values, adapter.dump_python(found))
    return found


def identifying(settings: SampleConfig | SimulateConfig, extent: Collection[str]) -> dict[str, Any]:
    """What its random numbers depend on, as plain values: all but its extent.

    And but for settings that came later where they change nothing: what was begun without them goes on.
    """
    found = to_dict(settings).items()
    return {name: value for name, value in found if name not in extent and LATER.get(name) != value}


LATER = {"inner_steps": 1, "start": "data"}
"""Settings that came later, and the value at which all is as it was without them."""


def save(path: Path, config: Config) -> None:
    """Write the configuration of a run. Raises FileError."""
    write_json(path, {"format": 1 + len(MIGRATIONS)} | to_dict(config))


def load(path: Path) -> Config:
    """The configuration that a run saved; ConfigError names the file and what is wrong with it."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist: name a run that has started") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from None
    found = values.pop("format", None) if isinstance(values, dict) else None
    if not isinstance(found, int) or found < 1:
        raise ConfigError(f"{path} was saved before runs had a format: begin a new run")
    if found > 1 + len(MIGRATIONS):
        raise ConfigError(f"{path} is of format {found}: it needs a newer fokker")
    try:
        return from_dict(migrated(values, found, MIGRATIONS))
    except ConfigError as error:
        raise ConfigError(f"{path} was edited, or is damaged: {error}") from None


def _config_error(found: Sequence[ErrorDetails]) -> ConfigError:
    """The first that pydantic found, in the words of this project."""
    details, *others = found
    kind, path, given = details["type"], details["loc"], details["input"]
    problem = details["msg"].removeprefix("Value error, ")
    if kind == "value_error":
        # By convention a __post_init__ begins its message with the field at fault, relative to itself.
        named = re.match(r"([\w.]+):? ", problem)
        if named and isinstance(given, dict) and named[1].split(".")[0] in given:
            path, problem = (*path, named[1]), problem[named.end() :]
    elif kind == "missing" and isinstance(path[-1], int):
        problem = f"must have at least {path[-1] + 1} values, not {reprlib.repr(given)}"
    elif kind in _PROBLEMS:
        problem = _PROBLEMS[kind].format(**details.get("ctx", {}))
        if kind not in ("missing", "unexpected_keyword_argument", "invalid_key"):
            problem += f", not {reprlib.repr(given)}"
    if kind == "literal_error" and others and str(path[-1]).startswith("literal["):  # Or else, say, numbers.
        either, _, _ = problem.partition(", not ")
        return ConfigError(
            f"{either} or {_config_error(others).problem.removeprefix('must be ')}", _dotted(path[:-1])
        )
    return ConfigError(problem, _dotted(path))


def _require_no_truth(given: Any, found: Any, path: tuple[int | str, ...] = ()) -> None:
    """ConfigError where true or false was given for a number, as pydantic takes them for 1 and 0."""
    if isinstance(found, Mapping) and isinstance(given, Mapping):
        for name in (name for name in given if name in found):
            _require_no_truth(given[name], found[name], (*path, name))
    elif isinstance(found, list | tuple):
        several = given if isinstance(given, list | tuple) else [given]  # One of them needs no list.
        for index, (one, other) in enumerate(zip(several, found, strict=False)):
            _require_no_truth(one, other, (*path, index))
    elif isinstance(given, bool) and not isinstance(found, bool):
        what = "number" if isinstance(found, float) else "whole number"
        raise ConfigError(f"must be a {what}, not {given}", _dotted(path))


def _dotted(path: Sequence[int | str]) -> str:
    return ".".join(str(part) for part in path)
