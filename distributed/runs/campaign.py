"""A campaign: what its file asks for, and the folder that holds everything made of it.

campaigns/NAME/campaign.json            what was asked for, and what was settled when it was made
campaigns/NAME/models/MODEL.safetensors
campaigns/NAME/start.npy                frames that replicas begin at, where a file has them
campaigns/NAME/MODEL/SYSTEM/0-0/        segments, ledger and failures of settings 0 and seed 0

Whatever its file can name is found, checked and kept here, hence the length.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from ...analysis.systems import System
from ...data import archive
from ...data.archive import Archive
from ...data.bound import Model
from ...data.dataset.shards import MANIFEST, Dataset
from ...data.files import FileError, read_json, replacing, sha256, sha256_of, write_json
from ...data.molecules.beads import Beads
from ...data.molecules.springs import kind
from ...model.config import SimulateConfig, require_springs
from ..campaigns.starts import FromData, FromFile, FromSamples, Start
from ..campaigns.works import Simulation
from .campaign_config import CampaignConfig, require_growth
from .config import ConfigError, from_dict, identifying, load, to_dict
from .run import CONFIG

FILE, FORMAT = "campaign.json", 1
MODELS, START = "models", "start.npy"


@dataclass(frozen=True)
class Batching:
    """How the replicas of a model advance, settled when the campaign is made, as bits depend on it."""

    batch: int
    """Together."""
    segment: int
    """Frames of each at a time."""


@dataclass(frozen=True)
class Campaign:
    """What is asked for, in the folder where it is made."""

    directory: Path
    config: CampaignConfig
    batching: Mapping[str, Batching]
    """By model."""

    @classmethod
    def read(cls, directory: Path) -> "Campaign":
        """That which is there. ConfigError if there is none, FileError if its file is damaged."""
        path = directory / FILE
        try:
            content = read_json(path)
        except FileNotFoundError:
            raise ConfigError(f"{directory} is not the folder of a campaign: {FILE} is missing") from None
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise FileError(f"{path} is of another format than {FORMAT}: it needs another version of fokker")
        try:
            batching = {name: Batching(**values) for name, values in content["batching"].items()}
            config = from_dict(content["config"], CampaignConfig)
        except (KeyError, TypeError, AttributeError, ConfigError) as error:
            raise FileError(f"{path} was edited, or is damaged: {error}") from None
        return cls(directory.absolute(), config, batching)

    @classmethod
    def plan(cls, directory: Path, config: CampaignConfig) -> "Campaign":
        """What is there, grown to this; nothing is written. ConfigError for what cannot grow so.

        Of a new one, and of models that are new in it, nothing is settled yet.
        """
        batching: Mapping[str, Batching] = {}
        config = _located(config)
        if (directory / FILE).exists():
            before = cls.read(directory)
            require_growth(before.config, config)
            batching = before.batching
            kept = {name: getattr(before.config, name) for name in ("batch", "segment")}
            config = replace(config, **{k: v for k, v in kept.items() if getattr(config, k) is None})
        planned = cls(directory.absolute(), config, batching)
        planned._require_same_files()
        return planned

    def settle(self, batching: Mapping[str, Batching]) -> "Campaign":
        """With what was measured for new models; written, with copies of its files. Raises FileError."""
        settled = replace(self, batching={**batching, **self.batching})
        copies = [(self._model(name), source) for name, source in self._sources.items()]
        copies += [(self.directory / START, source) for source in self._start_file]
        for target, source in copies:
            if not target.exists():
                with replacing(target) as partial:
                    shutil.copyfile(source, partial)
        values = {name: vars(one) for name, one in settled.batching.items()}
        write_json(
            self.directory / FILE, {"format": FORMAT, "config": to_dict(self.config), "batching": values}
        )
        return settled

    @cached_property
    def _sources(self) -> dict[str, Path]:
        """Files of the models, by a name of each; of those that are gone, the copies."""
        found: dict[str, Path] = {}
        for index, given in enumerate(self.config.models):
            path = Path(given)
            file, name = (path / archive.FILE, path.name) if path.is_dir() else (path, path.stem)
            if not file.is_file():
                kept = [one for one in map(self._model, (path.name, path.stem)) if one.is_file()]
                if not kept:
                    what = (
                        "a run has it when it is trained"
                        if path.is_dir()
                        else "name a model's file, or a run"
                    )
                    raise ConfigError(f"{file} is not there: {what}", f"models.{index}")
                file, name = kept[0], kept[0].stem
            if name in found:
                raise ConfigError(f"{given} is called {name}, as another one", f"models.{index}")
            found[name] = file
        return found

    def _model(self, name: str) -> Path:
        return self.directory / MODELS / f"{name}{Path(archive.FILE).suffix}"

    def _require_same_files(self) -> None:
        models = enumerate(self._sources.items())
        copies = [(self._model(name), source, f"models.{index}") for index, (name, source) in models]
        copies += [(self.directory / START, source, "start") for source in self._start_file]
        for kept, source, field in copies:
            if kept.exists() and sha256(kept) != sha256(source):
                what = "another file" if field == "start" else "another model"
                raise ConfigError(
                    f"{source} is {what} than the one that the campaign was made with: take another --name",
                    field,
                )

    @cached_property
    def models(self) -> dict[str, Archive]:
        """By their names."""
        return {name: archive.read(source) for name, source in self._sources.items()}

    def settings(self, model: str) -> list[SimulateConfig]:
        """What replicas of a model are simulated by, for each of the settings.

        ConfigError for those that the model cannot be simulated by.
        """
        about, found = self.models[model].description, []
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

    def systems(self, model: str) -> list[System]:
        """The molecules, or the plane of a toy. ConfigError for those that the model cannot have."""
        own = self.models[model]
        about = own.description
        if about.shape is not None:
            if self.config.systems:
                raise ConfigError(
                    f"{model} is a model of a toy, which has no molecules: leave them out", "systems"
                )
            assert about.mass is not None
            return [System.particle("mueller-brown", about.kT, about.mass)]
        if not self.config.systems:
            raise ConfigError("name the molecules, such as AC or ACE-ALA-NME, or structures", "systems")
        found = {}
        for given in self.config.systems:
            beads = Model(own).beads(given)
            name = Path(given).stem if Path(given).suffix else given
            if name in found:
                raise ConfigError(f"{given} is called {name}, as another one", "systems")
            found[name] = System.molecule(
                name, beads, _bond_means(own, beads), about.temperature, norm=about.norm
            )
        return [*found.values()]

    def start(self, model: str) -> Start:
        """Where replicas begin. ConfigError if it is not there."""
        given = self.config.start
        if given == "samples":
            return FromSamples(self.models[model].description.sample)
        if given == "data":
            data, split = self._data_of(model)
            return FromData(data, split)
        (path,) = self._start_file
        try:
            shape = np.load(path, mmap_mode="r").shape
        except (ValueError, EOFError):
            raise ConfigError(f"{path} is no .npy file of numbers", "start") from None
        for system in self.systems(model):
            if shape[1:] != system.shape or not shape[0]:
                raise ConfigError(
                    f"{path} is of shape {shape}, not frames × {' × '.join(map(str, system.shape))} as "
                    f"{system.name} has",
                    "start",
                )
        kept = self.directory / START
        return FromFile(kept if kept.exists() else path)

    @cached_property
    def _start_file(self) -> list[Path]:
        """That of the frames that replicas begin at, if a file has them; its copy if it is gone."""
        given = self.config.start
        if given in STARTS:
            return []
        path, kept = Path(given), self.directory / START
        if path.is_file() and path.suffix == ".npy":
            return [path]
        if not kept.is_file():
            raise ConfigError(f"has to be samples, data, or a .npy file that is there, not {given}", "start")
        return [kept]

    def _data_of(self, model: str) -> tuple[Path, str]:
        """Dataset of the run that a model is of, and the split that it is judged by."""
        folder = self._sources[model].parent
        if not (folder / CONFIG).exists() or not (folder / "data" / MANIFEST).exists():
            raise ConfigError(f"{model} is not of a run whose data are there: take samples", "start")
        return (folder / "data").absolute(), load(folder / CONFIG).data.evaluate

    def reference(self, model: str, system: str) -> tuple[Path, str] | None:
        """Dataset and split that a system is compared with; None where there is none.

        ConfigError if one is asked for that is no dataset.
        """
        if self.config.reference is not None:
            path = Path(self.config.reference)
            place = path / "data" if (path / "data" / MANIFEST).exists() else path
            if not (place / MANIFEST).exists():
                raise ConfigError(f"{path} is no dataset: make one with fokker dataset convert", "reference")
            known, prefers = Dataset(place).manifest["systems"], "train"
        else:
            try:
                place, prefers = self._data_of(model)
            except ConfigError:
                return None
            known = Dataset(place).manifest["systems"]
        splits = list(known.get(system, {"splits": {}})["splits"])
        return (place, prefers if prefers in splits else splits[0]) if splits else None

    @cached_property
    def works(self) -> list["Replicas"]:
        """The simulations of all models, systems, settings and seeds."""
        found, began = [], [sha256(file) for file in self._start_file] or self.config.start
        for model in self.models:
            start, file = self.start(model), self._model(model)
            digest = sha256(self._sources[model])
            for system in self.systems(model):
                for index, settings in enumerate(self.settings(model)):
                    for seed in self.config.seeds:
                        kept = identifying(settings, EXTENT)
                        identity = sha256_of({"model": digest, "settings": kept, "start": began})
                        place = self.directory / model / system.name / f"{index}-{seed}"
                        found.append(
                            Replicas(
                                *(file, self.directory.name, system, start, settings, place, seed, identity),
                                replicas=self.config.replicas,
                            )
                        )
        return found

    def model_of(self, work: "Replicas") -> str:
        """The name of the model of a work."""
        return work.directory.relative_to(self.directory).parts[0]

    def source(self, model: str) -> Path:
        """The file that a model was named by."""
        return self._sources[model]

    def name_of(self, work: "Replicas") -> str:
        """What a work is called where it stands among others: what they differ in."""
        model, system, last = work.directory.relative_to(self.directory).parts
        many = len(self.config.settings) > 1, len(self.config.seeds) > 1
        parts = [part for part, shown in zip(last.split("-"), many, strict=True) if shown]
        return "/".join(
            [*([model] if len(self.models) > 1 else []), system, *(["-".join(parts)] if parts else [])]
        )


EXTENT = ("chains", "frames", "segment", "chunk")
"""Settings of a simulation that its random numbers do not depend on."""


STARTS = ("samples", "data")
"""Where replicas begin, without a file."""


def _located(config: CampaignConfig) -> CampaignConfig:
    """With its files named in full, as people ask for it from any folder."""

    def full(given: str) -> str:
        return str(Path(given).expanduser().absolute())

    systems = [full(one) if Path(one).suffix and Path(one).exists() else one for one in config.systems]
    return replace(
        config,
        models=tuple(map(full, config.models)),
        systems=tuple(systems),
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


def _bond_means(model: Archive, beads: Beads) -> list[float]:
    """Mean length (nm) of each bond in the training data, by its kind."""
    known = (model.description.springs or {}).get("bonds", {})
    found = [known.get(kind(beads, pair)) for pair in beads.bonds]
    if None in found:
        what = kind(beads, beads.bonds[found.index(None)])
        raise ConfigError(
            f"{beads.sequence} has a bond {what}, of which the training data had none", "systems"
        )
    return [moments[1] for moments in found if moments]
