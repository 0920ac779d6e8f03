"""The whole configuration of a run, composed of what each folder defines for its own part."""

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ..data.config import MuellerBrownConfig
from ..distributed.config import ClusterConfig, TrainConfig
from ..model.config import (
    STRICT,
    ExpertConfig,
    NetworkConfig,
    ObjectiveConfig,
    SampleConfig,
    SimulateConfig,
    check_cover,
)

Method = Literal["score", "diffusion", "two-for-one", "mixture", "fokker-planck", "both"]
Recipe = Literal["paper", "fokker"]


class ConfigError(ValueError):
    """A setting that cannot be: one line that names the field, the value and what would be right."""


@dataclass(frozen=True, config=STRICT)
class Config:
    """Everything that determines a run, and where it runs."""

    preset: str
    """The experiment that the defaults come from."""
    method: Method
    """Row of the paper's tables."""
    recipe: Recipe
    """The paper's protocol, or ours."""
    data: MuellerBrownConfig
    experts: tuple[ExpertConfig, ...]
    network: NetworkConfig
    objective: ObjectiveConfig
    train: TrainConfig
    sample: SampleConfig
    simulate: SimulateConfig
    cluster: ClusterConfig
    seed: int = 0
    """Seed of the training, the samples and the simulations."""

    def __post_init__(self):
        check_cover(self.experts)
        if self.train.batch_size > self.data.frames:
            raise ValueError(
                f"train.batch_size {self.train.batch_size} is larger than the data, "
                f"data.frames {self.data.frames}"
            )


_ADAPTER = TypeAdapter(Config)


def to_dict(config: Config) -> dict[str, Any]:
    """The configuration as plain JSON values."""
    return _ADAPTER.dump_python(config, mode="json")


def from_dict(values: dict[str, Any]) -> Config:
    """The configuration of plain values, strings included; ConfigError names the first wrong field."""
    try:
        return _ADAPTER.validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        given = "" if first["type"] == "value_error" else f", not {first['input']!r}"
        raise ConfigError(f"{field}: {message}{given}" if field else message) from None
