"""What the data of a run decide of its settings."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from ...data.config import DataConfig
from ...data.dataset.convert import known_temperature, sources_of
from ...data.dataset.shards import MANIFEST, Dataset
from .config import Config, ConfigError


def settled(config: Config, data: Path, given: Collection[str]) -> tuple[Config, list[str]]:
    """The configuration with what its data decide, and remarks: temperature and split, unless typed.

    `data` is where the run's dataset lies, or will; `given` are the settings that were typed. Raises
    ConfigError if another temperature was asked for, MoleculeError for data that cannot be opened.
    """
    found = _at_data_temperature(config, data, given)
    asked = config.data.evaluate
    if "data.evaluate" in given or asked == "train" or _splits(config.data, data) != {"train"}:
        return found, []
    note = f"the data have no split {asked!r}: judged on what is trained on"
    return replace(found, data=replace(found.data, evaluate="train")), [note]


def _at_data_temperature(config: Config, data: Path, given: Collection[str]) -> Config:
    """The configuration at the temperature that its data are known to have, whatever its preset says."""
    made = Dataset(data).manifest["source"].get("conditions", {}) if (data / MANIFEST).exists() else None
    known = known_temperature(config.data) if made is None else made.get("temperature")
    asked = config.data.temperature
    if known in (None, asked):
        return config
    if "data.temperature" in given:
        where = data if made is not None else config.data.path
        raise ConfigError(
            f"{asked:g} K is asked for, and {where} is known to be of {known:g} K: leave it out, or take "
            "data of this temperature",
            "data.temperature",
        )
    return replace(config, data=replace(config.data, temperature=known))


def _splits(config: DataConfig, data: Path) -> set[str]:
    """Those that the data have, as far as they are there; none otherwise."""
    if (dataset := dataset_of(config, data)) is not None:
        return {split for system in dataset.systems for split in dataset.splits(system)}
    return {source.split or "train" for source in sources_of(config)} if config.path is not None else set()


def dataset_of(config: DataConfig, data: Path) -> Dataset | None:
    """The dataset that is there, the run's own at `data` or the one that it is made of."""
    for place in (data, *([Path(config.path).expanduser()] if config.path else [])):
        if (place / MANIFEST).exists():
            return Dataset(place)
    return None
