"""A campaign: what its file asks for, and the folder that holds everything made of it.

campaigns/NAME/campaign.json            what was asked for, and what was settled when it was made
campaigns/NAME/models/ …                copies of the files that it is made of (campaign_parts.py)
campaigns/NAME/MODEL/SYSTEM/0-0/        segments, ledger and failures of settings 0 and seed 0
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import pydantic

from ...data.files import FileError, read_json, sha256_of, write_json
from ...model.config import STRICT, Count, SimulateConfig, require_springs
from ..campaigns.works import Simulation
from .campaign_config import STARTS, CampaignConfig, require_growth
from .campaign_parts import Parts
from .config import ConfigError, from_dict, identifying, to_dict

FILE, FORMAT = "campaign.json", 1


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class Batching:
    """How the replicas of a model advance, settled when the campaign is made, as bits depend on it."""

    batch: Count
    """Together."""
    segment: Count
    """Frames of each at a time."""


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class Content:
    """Of the file of a campaign, beside its format."""

    config: CampaignConfig
    batching: dict[str, Batching]
    """By model."""
    data: dict[str, str] = field(default_factory=dict)
    """By model, the fingerprint of the dataset at whose frames replicas begin."""

    @classmethod
    def read(cls, directory: Path) -> "Content":
        """ConfigError if there is none, FileError if it is damaged."""
        path = directory / FILE
        try:
            content = read_json(path)
        except FileNotFoundError:
            raise ConfigError(f"{directory} is not the folder of a campaign: {FILE} is missing") from None
        if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
            raise FileError(f"{path} is of another format than {FORMAT}: it needs another version of fokker")
        try:
            return from_dict(content, cls)
        except ConfigError as error:
            raise FileError(f"{path} was edited, or is damaged: {error}") from None


@dataclass(frozen=True)
class Campaign:
    """What is asked for, in the folder where it is made."""

    parts: Parts
    batching: Mapping[str, Batching]
    """By model."""
    data: Mapping[str, str]
    """As in its file."""

    @classmethod
    def read(cls, directory: Path) -> "Campaign":
        """That which is there. ConfigError if there is none, FileError if its file is damaged."""
        found = Content.read(directory)
        return cls(Parts(directory.absolute(), found.config), found.batching, found.data)

    @classmethod
    def plan(cls, directory: Path, config: CampaignConfig) -> "Campaign":
        """What is there, grown to this; nothing is written. ConfigError for what cannot grow so.

        Of a new one, and of models that are new in it, nothing is settled yet.
        """
        config, before = _located(config), None
        if (directory / FILE).exists():
            before = Content.read(directory)
            require_growth(before.config, config)
            kept = {name: getattr(before.config, name) for name in ("batch", "segment")}
            config = replace(config, **{k: v for k, v in kept.items() if getattr(config, k) is None})
        parts = Parts(directory.absolute(), config)
        for one in parts.files:
            one.require_same()
        planned = cls(parts, before.batching if before else {}, before.data if before else {})
        planned._require_possible()
        return planned

    def settle(self, batching: Mapping[str, Batching]) -> "Campaign":
        """With what was measured for new models; written, with copies of its files.

        Raises FileError, and ConfigError if another process has changed it since it was planned.
        """
        path = self.directory / FILE
        if path.exists():
            there = Content.read(self.directory)
            if there.batching != self.batching:
                raise ConfigError(f"{path} has changed since: give the same command again")
            require_growth(there.config, self.config)
        settled = replace(self, batching={**batching, **self.batching}, data={**self.parts.data, **self.data})
        for one in self.parts.files:
            one.keep()
        content = Content(self.config, dict(settled.batching), dict(settled.data))
        write_json(path, {"format": FORMAT} | to_dict(content))
        return settled

    def _require_possible(self) -> None:
        """ConfigError for what is found late otherwise."""
        stop = self.config.stop_when
        for model, systems in self.parts.systems.items():
            self.parts.start(model)
            self.settings(model)
            for system in systems:
                self.parts.reference(model, system)
                named = [projection.name for projection in system.projections]
                if stop and stop.observable is not None and stop.observable not in named:
                    raise ConfigError(
                        f"{system.name} has no {stop.observable}: it has {', '.join(named)}",
                        "stop_when.observable",
                    )
        self.require_same_data()

    def require_same_data(self) -> None:
        """ConfigError if replicas begin at frames of another dataset than the campaign was made with."""
        for model, found in self.parts.data.items():
            if self.data.get(model, found) != found:
                raise ConfigError(
                    f"the data of {model} are not those that the campaign was made with: take another --name",
                    "start",
                )

    @property
    def directory(self) -> Path:
        """Where it is made."""
        return self.parts.directory

    @property
    def config(self) -> CampaignConfig:
        """What is asked for."""
        return self.parts.config

    def settings(self, model: str) -> list[SimulateConfig]:
        """What replicas of a model are simulated by, for each of the settings.

        ConfigError for those that the model cannot be simulated by.
        """
        about, found = self.parts.models[model].description, []
        batching = self.batching.get(model, Batching(1, 1))
        replicas = -(-self.config.replicas // batching.batch) * batching.batch
        fixed = {
            "chunk": batching.batch,
            "segment": batching.segment,
            "chains": replicas,
            "frames": replicas * self.config.frames,
            "ends_unless": self.config.ends_unless,
        }
        for index, each in enumerate(self.config.settings):
            try:
                found.append(from_dict(to_dict(about.simulate) | each.given | fixed, SimulateConfig))
                require_springs(found[-1], about.network)
            except ValueError as error:
                raise ConfigError(str(error), f"settings.{index}") from None
        return found

    @cached_property
    def works(self) -> list["Replicas"]:
        """The simulations of all models, systems, settings and seeds."""
        parts, found = self.parts, []
        began = [parts.start_file.digest] if parts.start_file else self.config.start
        for model, kept in parts.kept.items():
            start = parts.start(model)
            several = self.settings(model)
            for system in parts.systems[model]:
                for index, settings in enumerate(several):
                    own = identifying(settings, EXTENT)
                    identity = sha256_of({"model": kept.digest, "settings": own, "start": began})
                    for seed in self.config.seeds:
                        place = self.directory / model / system.name / f"{index}-{seed}"
                        found.append(
                            Replicas(
                                *(kept.path, self.directory.name, system, start, settings, place, seed),
                                identity=identity,
                                replicas=self.config.replicas,
                            )
                        )
        return found

    def model_of(self, work: "Replicas") -> str:
        """The name of the model of a work."""
        return work.directory.relative_to(self.directory).parts[0]

    def name_of(self, work: "Replicas") -> str:
        """What a work is called where it stands among others: what they differ in."""
        model, system, last = work.directory.relative_to(self.directory).parts
        many = len(self.config.settings) > 1, len(self.config.seeds) > 1
        parts = [part for part, shown in zip(last.split("-"), many, strict=True) if shown]
        several = len(self.config.models) > 1
        return "/".join([*([model] if several else []), system, *(["-".join(parts)] if parts else [])])


EXTENT = ("chains", "frames", "segment", "chunk")
"""Settings of a simulation that its random numbers do not depend on."""


def _located(config: CampaignConfig) -> CampaignConfig:
    """With its files named in full, as people ask for it from any folder."""

    def full(given: str) -> str:
        return str(Path(given).expanduser().absolute())

    return replace(
        config,
        models=tuple(map(full, config.models)),
        systems=tuple(full(one) if Path(one).suffix else one for one in config.systems),
        start=config.start if config.start in STARTS else full(config.start),
        reference=None if config.reference is None else full(config.reference),
    )


@dataclass(frozen=True)
class Replicas(Simulation):
    """A simulation of any number of chains, in whose last batch places may be empty."""

    replicas: int = 0

    @property
    def chains(self) -> int:
        """How many there are to be."""
        return self.replicas
