"""What the file of a campaign names: models, systems, starts and references, found, checked and kept.

campaigns/NAME/models/MODEL.safetensors
campaigns/NAME/systems/NAME.pdb         structures, where systems are named by files
campaigns/NAME/start.npy                frames that replicas begin at, where a file has them
"""

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ...analysis.systems import System
from ...data import archive
from ...data.archive import Archive
from ...data.bound import Model
from ...data.dataset.shards import MANIFEST, Dataset
from ...data.files import FileError, replacing, sha256
from ...data.molecules.beads import Beads
from ...data.molecules.springs import kind
from ..campaigns.starts import FromData, FromFile, FromSamples, Start
from .campaign_config import STARTS, CampaignConfig
from .config import ConfigError, load
from .run import CONFIG

MODELS, SYSTEMS, START = "models", "systems", "start.npy"


@dataclass(frozen=True)
class Kept:
    """A file that a campaign is made of, which may go when there is a copy in the campaign's folder."""

    given: Path
    copy: Path
    field: str
    """That names it."""

    @property
    def path(self) -> Path:
        """The copy once there is one, as what was given may change."""
        return self.copy if self.copy.is_file() else self.given

    @cached_property
    def digest(self) -> str:
        """Hash of what it was when it was first looked at."""
        return sha256(self.path)

    def require_same(self) -> None:
        """ConfigError if the file has changed since it was copied."""
        if self.copy.is_file() and self.given.is_file() and sha256(self.given) != self.digest:
            what = "model" if self.field.startswith("models") else "file"
            raise ConfigError(
                f"{self.given} is another {what} than the one that the campaign was made with: take another "
                "--name",
                self.field,
            )

    def keep(self) -> None:
        """Copy it, unless that was done. FileError if it cannot be written, or is no longer what it was."""
        if self.copy.is_file():
            return
        with replacing(self.copy) as partial:
            shutil.copyfile(self.given, partial)
            if sha256(partial) != self.digest:
                raise FileError(f"{self.given} has just changed: give the same command again")


@dataclass(frozen=True)
class Parts:
    """All that a campaign is made of, whatever its replicas are and however they advance."""

    directory: Path
    config: CampaignConfig

    @cached_property
    def files(self) -> list[Kept]:
        """All files that are copied. ConfigError for those that are not there."""
        structures = [one for one in self._molecules.values() if isinstance(one, Kept)]
        return [*self.kept.values(), *structures, *([self.start_file] if self.start_file else [])]

    @cached_property
    def kept(self) -> dict[str, Kept]:
        """Files of the models, by a name of each."""
        found: dict[str, Kept] = {}
        for index, given in enumerate(self.config.models):
            path, field = Path(given), f"models.{index}"
            file, name = (path / archive.FILE, path.name) if path.is_dir() else (path, path.stem)
            if not file.is_file():  # And with a run its folder may be gone, which tells it from a file.
                names = [one for one in (path.name, path.stem) if self._copy(one).is_file()]
                if not names:
                    what = "a run has it when it is trained"
                    what = what if path.is_dir() else "name a model's file, or a run"
                    raise ConfigError(f"{file} is not there: {what}", field)
                name = names[0]
            if name in found:
                raise ConfigError(f"{given} is called {name}, as another one", field)
            found[name] = Kept(file, self._copy(name), field)
        return found

    def _copy(self, model: str) -> Path:
        return self.directory / MODELS / f"{model}{Path(archive.FILE).suffix}"

    @cached_property
    def models(self) -> dict[str, Archive]:
        """By their names."""
        return {name: archive.read(one.path) for name, one in self.kept.items()}

    @cached_property
    def _molecules(self) -> dict[str, str | Kept]:
        """Sequences, and files of structures, by the names of the systems."""
        found: dict[str, str | Kept] = {}
        for index, given in enumerate(self.config.systems):
            path, field = Path(given), f"systems.{index}"
            name = path.stem if path.suffix else given
            if name in found:
                raise ConfigError(f"{given} is called {name}, as another one", "systems")
            if not path.suffix:
                found[name] = given
                continue
            found[name] = kept = Kept(path, self.directory / SYSTEMS / path.name, field)
            if not kept.path.is_file():
                raise ConfigError(f"{given} is not there: name a sequence, or a structure's file", field)
        return found

    @cached_property
    def systems(self) -> dict[str, list[System]]:
        """By model, the molecules, or the plane of a toy. ConfigError for those that it cannot have."""
        return {model: self._systems_of(model) for model in self.models}

    def _systems_of(self, model: str) -> list[System]:
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
        found = []
        for name, given in self._molecules.items():
            beads = Model(own).beads(given.path if isinstance(given, Kept) else given)
            means = _bond_means(own, beads)
            found.append(System.molecule(name, beads, means, about.temperature, norm=about.norm))
        return found

    def start(self, model: str) -> Start:
        """Where replicas begin. ConfigError if it is not there."""
        if self.config.start == "samples":
            return FromSamples(self.models[model].description.sample)
        if self.start_file is None:
            return self._start_at_data(model)
        path = self.start_file.path
        try:
            shape = np.load(path, mmap_mode="r").shape
        except (ValueError, EOFError):
            raise ConfigError(f"{path} is no .npy file of numbers", "start") from None
        for system in self.systems[model]:
            if shape[1:] != system.shape or not shape[0]:
                raise ConfigError(
                    f"{path} is of shape {shape}, not frames × {' × '.join(map(str, system.shape))} as "
                    f"{system.name} has",
                    "start",
                )
        return FromFile(path)

    def _start_at_data(self, model: str) -> FromData:
        place, split = self._data_of(model)
        dataset = Dataset(place)
        for system in self.systems[model]:
            name = system.named_in(dataset)
            if system.beads is None:
                continue  # A run of a toy has no other.
            if name is None or split not in dataset.splits(name):
                raise ConfigError(
                    f"the data of {model} have no {system.name} in their split {split}: take samples, or the "
                    "frames of a .npy file",
                    "start",
                )
        return FromData(place, split)

    @cached_property
    def start_file(self) -> Kept | None:
        """That of the frames that replicas begin at, if a file has them."""
        if self.config.start in STARTS:
            return None
        found = Kept(Path(self.config.start), self.directory / START, "start")
        if not found.path.is_file() or found.given.suffix != ".npy":
            given = self.config.start
            raise ConfigError(f"has to be samples, data, or a .npy file that is there, not {given}", "start")
        return found

    @cached_property
    def data(self) -> dict[str, str]:
        """By model, the fingerprint of the dataset at whose frames replicas begin; none if they do not."""
        if self.config.start != "data":
            return {}
        return {model: Dataset(self._data_of(model)[0]).fingerprint for model in self.models}

    def _data_of(self, model: str) -> tuple[Path, str]:
        """Dataset of the run that a model is of, and the split that it is judged by."""
        folder = self.kept[model].given.parent
        if not (folder / CONFIG).exists() or not (folder / "data" / MANIFEST).exists():
            raise ConfigError(f"{model} is not of a run whose data are there: take samples", "start")
        return (folder / "data").absolute(), load(folder / CONFIG).data.evaluate

    @cached_property
    def _references(self) -> dict[str, tuple[Dataset, str] | None]:
        """By model, the dataset that systems are compared with, and the split to take if there is one."""
        if self.config.reference is None:
            return {model: self._data_of_run(model) for model in self.kept}
        path = Path(self.config.reference)
        place = path / "data" if (path / "data" / MANIFEST).exists() else path
        if not (place / MANIFEST).exists():
            raise ConfigError(f"{path} is no dataset: make one with fokker dataset convert", "reference")
        return dict.fromkeys(self.kept, (Dataset(place), "train"))

    def _data_of_run(self, model: str) -> tuple[Dataset, str] | None:
        try:
            place, split = self._data_of(model)
        except ConfigError:
            return None
        return Dataset(place), split

    def _compared(self, model: str, system: System) -> tuple[Dataset, str] | None:
        if (found := self._references[model]) is None:
            return None
        dataset, prefers = found
        if (name := system.named_in(dataset)) is None:
            return None
        splits = dataset.splits(name)
        return (dataset, prefers if prefers in splits else splits[0]) if splits else None

    def reference(self, model: str, system: System) -> tuple[Path, str] | None:
        """Dataset and split that a system is compared with; None where there is none.

        ConfigError if one is asked for that is no dataset.
        """
        found = self._compared(model, system)
        return found and (found[0].directory, found[1])

    def reference_digest(self, model: str, system: System) -> str | None:
        """By which the same reference is known again; None where there is none."""
        found = self._compared(model, system)
        return found and f"{found[0].fingerprint} {found[1]}"


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
