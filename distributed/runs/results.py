"""Samples and simulations of a run, each beside the settings that made it. None is ever replaced by another.

    runs/NAME/sample/results.json          the list, in the order in which they were last asked for
    runs/NAME/sample/1/SYSTEM/chains-*.npz  the first

A result is known by what its numbers depend on: its settings, the model, the data and the seed. What only
makes it longer (samples; chains, and frames of each) is no part of that: a result grows, and never shrinks.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from ...data.files import sha256_of, write_json
from ...model.config import SampleConfig, SimulateConfig
from .config import ConfigError, from_dict, identifying, to_dict

LIST = "results.json"
FORMAT = 1
EXTENT = ("samples", "training_peptides", "chains", "frames", "segment")
"""Settings that only make a result longer, or say what is saved at a time."""
BEFORE: dict[type, dict[str, Any]] = {SampleConfig: {"training_peptides": 0}}
"""What was made before there was a setting is what this value of it makes."""
Settings = TypeVar("Settings", SampleConfig, SimulateConfig)


@dataclass(frozen=True)
class Origin:
    """What a result was made from, beside its settings."""

    model: str
    """Hash of the experts' averaged parameters."""
    data: str
    """Fingerprint of the dataset."""
    seed: int
    split: str
    """Split whose systems it is of, and whose frames simulations start from."""


@dataclass(frozen=True)
class Result(Generic[Settings]):
    """One entry of the list."""

    number: int
    settings: Settings
    """Its extent included: how far it was ever asked for."""
    origin: Origin

    @property
    def identity(self) -> str:
        """Hash of what its numbers depend on, but for the seed."""
        origin = {name: value for name, value in asdict(self.origin).items() if name != "seed"}
        return sha256_of({"settings": _identity(self.settings), "origin": origin})


@dataclass(frozen=True)
class Results(Generic[Settings]):
    """The results of one kind."""

    directory: Path
    kind: type[Settings]

    def folder(self, result: Result) -> Path:
        """Where its segments lie, by system."""
        return self.directory / str(result.number)

    def all(self) -> list[Result[Settings]]:
        """In the order in which they were last asked for. Raises ConfigError for a damaged list."""
        path = self.directory / LIST
        if not path.exists():
            return []
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise ConfigError(f"it is of format {content['format']}, this version reads {FORMAT}")
            return [
                Result(
                    int(entry["number"]),
                    from_dict(BEFORE.get(self.kind, {}) | entry["settings"], self.kind),
                    Origin(**entry["origin"]),
                )
                for entry in content["results"]
            ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{path} is damaged ({error}): put it back from a copy, or move {self.directory} away"
            ) from None

    def last(self) -> Result[Settings] | None:
        """The one that was asked for last."""
        return next(reversed(self.all()), None)

    def numbered(self, number: int) -> Result[Settings] | None:
        """The one of this number."""
        return next((result for result in self.all() if result.number == number), None)

    @property
    def numbers(self) -> str:
        """Of all, for people."""
        return ", ".join(map(str, sorted(result.number for result in self.all())))

    def ask(self, settings: Settings, origin: Origin) -> Result[Settings]:
        """The result of these settings, which becomes the last of the list; a new one if there is none yet.

        One that is there keeps what it has, or grows.
        """
        found = self.all()
        made_by = origin, _identity(settings)
        same = next((one for one in found if (one.origin, _identity(one.settings)) == made_by), None)
        if same is None:
            number = max((result.number for result in found), default=0) + 1
            asked = Result(number, settings, origin)
        else:
            asked = replace(same, settings=_longer(same.settings, settings))
        self._write([*(result for result in found if result is not same), asked])
        return asked

    def remove(self, number: int) -> None:
        """Strike one off the list; its files are the caller's."""
        self._write([result for result in self.all() if result.number != number])

    def _write(self, results: list[Result[Settings]]) -> None:
        if results == self.all():
            return
        entries = [
            {"number": r.number, "settings": to_dict(r.settings), "origin": asdict(r.origin)} for r in results
        ]
        write_json(self.directory / LIST, {"format": FORMAT, "results": entries})


def _identity(settings: SampleConfig | SimulateConfig) -> dict[str, Any]:
    return identifying(settings, EXTENT)


def _longer(settings: Settings, other: Settings) -> Settings:
    """The settings with the larger extent of both; chains keep the frames of the longer ones."""
    if isinstance(settings, SampleConfig):
        assert isinstance(other, SampleConfig)
        return replace(
            settings,
            samples=max(settings.samples, other.samples),
            training_peptides=max(settings.training_peptides, other.training_peptides),
        )
    assert isinstance(settings, SimulateConfig)
    assert isinstance(other, SimulateConfig)
    chains = max(settings.chains, other.chains)
    each = max(part.frames // part.chains for part in (settings, other))
    return replace(settings, chains=chains, frames=chains * each)
