"""What a model to take away is made of: from a run, or from its file, checked whole when it is read.

The file is a safetensors archive: the averaged parameters of every expert, and as metadata the run's
configuration, the scale and the springs.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fokker import __version__

from ..data import files
from ..data.config import MoleculesConfig
from ..data.shards import Dataset
from ..data.springs import Table
from ..distributed import parameters as trained
from ..model.config import ExpertConfig, NetworkConfig
from ..model.experts import Expert, Parameters
from .config import Config, ConfigError, from_dict, to_dict
from .config import load as load_config
from .run import Run

FORMAT = 1
AGAIN = "export the model again"
NUMBERED = "transformer/nodes/kernel"
"""Parameters whose rows grow with the beads where these are told apart by their number."""


class Content(NamedTuple):
    """What a model is made of: settings, parameters of every expert, 1/scale (1/nm), springs."""

    config: Config
    parameters: tuple[Parameters, ...]
    norm: float
    springs: Table


def write(path: Path, content: Content) -> None:
    """Write a model, whole or not at all. Raises FileError."""
    tensors = {
        f"{index}/{name}": np.ascontiguousarray(value, np.float32)
        for index, parameters in enumerate(content.parameters)
        for name, value in flatten_dict(dict(parameters), sep="/").items()
    }
    about = {
        "format": str(FORMAT),
        "fokker": __version__,
        "norm": repr(content.norm),
        "springs": json.dumps(content.springs),
        "config": json.dumps(to_dict(_portable(content.config))),
    }
    files.write(path, save(tensors, about))


def _portable(config: Config) -> Config:
    """The configuration without places on the machine that trained."""
    assert isinstance(config.data, MoleculesConfig)
    return replace(config, data=replace(config.data, path=None, topology=None))


def read(path: Path) -> Content:
    """What `write` wrote. ConfigError for a file that is damaged, or of anything else."""
    try:
        with safe_open(str(path), framework="numpy") as file:
            about = file.metadata() or {}
            names = [*file.keys()]
            # Others than ours hold types that NumPy lacks.
            tensors = {name: file.get_tensor(name) for name in names} if "format" in about else {}
    except (OSError, SafetensorError, TypeError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"{path} is no run and no model that `fokker model export` wrote: {_line(error)}"
        ) from None
    if about.get("format") != str(FORMAT):
        found = about.get("format")
        raise ConfigError(
            f"{path} is of format {found}: this version reads what `fokker model export` wrote as {FORMAT}"
        )
    config, norm, springs = _settings(path, about)
    experts: list[dict[str, Any]] = [{} for _ in config.experts]
    for name, value in tensors.items():
        index, _, rest = name.partition("/")
        if index not in map(str, range(len(experts))):
            raise ConfigError(f"{path} holds {name}, but its settings are of {len(experts)} experts: {AGAIN}")
        experts[int(index)][rest] = value
    require_parameters(path, config.experts, config.network, experts)
    parameters = tuple(unflatten_dict(jax.tree.map(_float32, part), sep="/") for part in experts)
    return Content(config, parameters, norm, springs)


def _float32(value: np.ndarray) -> jax.Array:
    return jnp.asarray(value, jnp.float32)


def _settings(path: Path, about: Mapping[str, str]) -> tuple[Config, float, Table]:
    """Those in the metadata of a file, with the scale and the springs."""
    try:
        config, springs = from_dict(json.loads(about["config"])), json.loads(about["springs"])
        norm = float(about["norm"])
    except KeyError as error:
        raise ConfigError(f"{path} has no {error} in its metadata: {AGAIN}") from None
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path} has metadata that are damaged: {_line(error)}: {AGAIN}") from None
    if not isinstance(config.data, MoleculesConfig):
        raise ConfigError(f"{path} is a model of {config.preset}: only those of molecules are taken away")
    if not (math.isfinite(norm) and norm > 0):
        raise ConfigError(f"{path} has the scale {norm:g} in its metadata, which must be positive: {AGAIN}")
    if not _are_springs(springs):
        raise ConfigError(f"{path} has no table of bonds and angles as springs in its metadata: {AGAIN}")
    return config, norm, springs


def _are_springs(table: Any) -> bool:
    """Whether it is a number, a mean and a variance for every kind of bonds and angles."""
    if not (isinstance(table, dict) and {*table} == {"bonds", "angles"}):
        return False
    if not all(isinstance(kinds, dict) for kinds in table.values()):
        return False
    rows = [row for kinds in table.values() for row in kinds.values()]
    return all(
        isinstance(row, list) and len(row) == 3 and all(isinstance(value, (int, float)) for value in row)
        for row in rows
    )


def read_run(directory: Path) -> Content:
    """What a finished run has trained. ConfigError if it is none, or of a system that has no molecules."""
    config = load_config(directory / "config.json")
    if not isinstance(config.data, MoleculesConfig):
        raise ConfigError(f"{directory} is a run on {config.preset}: only models of molecules are taken away")
    run = Run(config, directory)
    missing = [job.name for job in run.jobs if not job.trained]
    if missing:
        raise ConfigError(
            f"{directory}: expert {missing[0]} is not trained to its end, run `fokker train` first"
        )
    try:
        found = [trained.load(job.directory) for job in run.jobs]
    except files.FileError as error:
        raise ConfigError(f"{directory} has parameters that are damaged: {error}") from None
    flat: Any = [flatten_dict(dict(part), sep="/") for part in found]
    require_parameters(directory, config.experts, config.network, flat)
    parameters = tuple(jax.tree.map(jnp.asarray, part) for part in found)
    dataset = Dataset(run.data)
    return Content(config, parameters, dataset.norm, dataset.springs or {"bonds": {}, "angles": {}})


def require_parameters(
    path: Path,
    experts: Sequence[ExpertConfig],
    network: NetworkConfig,
    found: Sequence[Mapping[str, np.ndarray]],
) -> None:
    """ConfigError unless the parameters, by their joined names, are those of networks of these settings."""
    for index, (expert, own) in enumerate(zip(experts, found, strict=True)):
        wanted = dict(shapes_of(expert, network, 1))
        if network.kind != "mlp" and network.embedding == "one-hot" and own.get(NUMBERED) is not None:
            rows = own[NUMBERED].shape[:1]
            wanted[NUMBERED] = (*rows, *wanted[NUMBERED][1:])
        for name in (*wanted, *own):
            has, needs = (tuple(own[name].shape) if name in own else None), wanted.get(name)
            if has != needs:
                raise ConfigError(
                    f"{path}: {name} of expert {index} is {_shape(has)}, and its settings ask for "
                    f"{_shape(needs)}: it is damaged, or of other settings"
                )
        for name, value in own.items():
            if value.dtype.kind != "f":
                raise ConfigError(f"{path}: {name} of expert {index} is of {value.dtype}, not of float32")


@cache
def shapes_of(expert: ExpertConfig, network: NetworkConfig, beads: int) -> Mapping[str, tuple[int, ...]]:
    """Shapes of an expert's parameters, by their joined names."""
    made: Any = jax.eval_shape(Expert(expert, network, (beads, 3)).init, jax.random.key(0))
    flat: dict[str, Any] = flatten_dict(made, sep="/")
    return {name: tuple(leaf.shape) for name, leaf in flat.items()}


def _shape(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else f"{' × '.join(map(str, shape)) or '1'}"


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
