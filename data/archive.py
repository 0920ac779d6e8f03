"""A trained model as one file, `model.safetensors`: what inference needs, and nothing else.

A safetensors archive: the averaged parameters of every expert, named EXPERT/PATH, and as metadata one JSON
description of about 25 fields, with its format. Reading checks it whole. A description of an earlier format
goes through `MIGRATIONS`. Equal models are equal bytes.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..model.config import (
    STRICT,
    ArchitectureConfig,
    Count,
    DynamicsConfig,
    GraphTransformerConfig,
    NetworkConfig,
    Positive,
    SamplerConfig,
    check_cover,
)
from ..model.experts import Expert, Parameters
from ..model.molecules import Molecule
from ..model.trained import Trained
from . import files
from .config import MoleculesConfig, MuellerBrownConfig
from .errors import FokkerError
from .molecules.arrays import molecule_of, padded
from .molecules.bead_map import BeadMap
from .molecules.beads import Beads, require_embeddable
from .molecules.residues import MoleculeError

FILE, ABOUT = "model.safetensors", "fokker"
MIGRATIONS: files.Migrations = ()
"""From each format to the next, the first from 1 to 2: a setting of another name or meaning is one more."""
FORMAT = 1 + len(MIGRATIONS)
NUMBERED = "transformer/nodes/kernel"
"""Parameters whose rows grow with the beads where these are told apart by their number."""

Moments = dict[str, tuple[float, float, float]]


class ArchiveError(FokkerError):
    """A file that is no model, or a damaged one; the message names it."""

    status = 2


@dataclass(frozen=True, config=STRICT)
class Description:
    """A model but for its parameters."""

    experts: tuple[ArchitectureConfig, ...]
    network: NetworkConfig
    sample: SamplerConfig
    """How it is sampled unless said otherwise."""
    simulate: DynamicsConfig
    """How it is simulated unless said otherwise."""
    temperature: Positive
    """Of the training data: K, or the unit of a toy's potential."""
    kT: Positive
    """Thermal energy (kJ/mol, or the unit of a toy's potential)."""
    norm: Positive = 1.0
    """What turns positions into normalised units (1/nm)."""
    beads: str | dict[str, list[str]] | None = None
    """Bead map, as `BeadMap.to_json` gives it; None for a toy."""
    springs: dict[str, Moments] | None = None
    """Moments of bonds and angles by kind, as `springs.pool` gives them."""
    shape: tuple[Count, ...] | None = None
    """Of a configuration of a toy; None for molecules."""
    mass: Annotated[float, Field(gt=0)] | None = None
    """Of the particle of a toy."""

    def __post_init__(self):
        check_cover(self.experts)


_DESCRIPTION = TypeAdapter(Description)


def system_of(data: MuellerBrownConfig | MoleculesConfig) -> dict[str, Any]:
    """What a description says of the system that data are of."""
    thermal = {"temperature": data.temperature, "kT": data.kT}
    if isinstance(data, MuellerBrownConfig):
        return thermal | {"shape": (2,), "mass": data.mass}
    return thermal | {"beads": BeadMap.parse(data.beads).to_json()}


class Bound(NamedTuple):
    """A trained model of one system, as the functions of `model.trained` take it."""

    model: Trained
    molecule: Molecule | None
    """Padded; None of a toy."""
    mass: jax.Array
    """Infinite for padding."""


@dataclasses.dataclass(frozen=True)
class Archive:
    """A description, and the parameters of every expert."""

    description: Description
    parameters: tuple[Parameters, ...]

    @cached_property
    def trained(self) -> Trained:
        """The model as JAX sees it."""
        about = self.description
        return Trained(
            tuple(jax.tree.map(lambda part: jnp.asarray(part, jnp.float32), own) for own in self.parameters),
            *(about.experts, about.network, about.norm, about.kT, about.shape),
        )

    def bind(self, beads: Beads | None) -> Bound:
        """The model of a molecule, or of the toy that it was trained on.

        Raises MoleculeError for more residues than a network has places for, and for more or fewer beads than
        those that a model tells apart by their number.
        """
        about = self.description
        if beads is None:
            return Bound(self.trained, None, jnp.asarray(about.mass, jnp.float32))
        molecule, known = molecule_of(beads, about.springs, about.norm), self.numbered_beads
        if known is None:
            require_embeddable(beads)
            molecule = padded(molecule)
        elif len(beads) != known:
            raise MoleculeError(
                f"{beads.sequence} has {len(beads)} beads, and this model tells beads apart by their "
                f"number, of which it knows {known}: take a model with network.embedding=features"
            )
        mass = np.pad(beads.masses, (0, len(molecule.mask) - len(beads)), constant_values=np.inf)
        return Bound(self.trained, molecule, jnp.asarray(mass[:, None], jnp.float32))

    @property
    def numbered_beads(self) -> int | None:
        """How many beads the model knows by their number; None if it knows them by their features."""
        network = self.description.network
        if not isinstance(network, GraphTransformerConfig) or network.embedding != "one-hot":
            return None
        own: dict[str, Any] = flatten_dict(dict(self.parameters[0]), sep="/")
        return own[NUMBERED].shape[0] - shapes_of(self.description.experts[0], network, 1)[NUMBERED][0] + 1


def write(path: Path, archive: Archive) -> None:
    """Write a model, whole or not at all. Raises FileError."""
    tensors = {
        f"{index}/{name}": np.ascontiguousarray(value, np.float32)
        for index, parameters in enumerate(archive.parameters)
        for name, value in flatten_dict(dict(parameters), sep="/").items()
    }
    description = {"format": FORMAT} | _DESCRIPTION.dump_python(archive.description, mode="json")
    files.write(path, save(tensors, {ABOUT: json.dumps(description)}))


def read(path: Path) -> Archive:
    """The model in a file. Raises ArchiveError if it is none, of a later format, or damaged."""
    try:
        with safe_open(str(path), framework="numpy") as file:
            about = file.metadata() or {}
            names = [*file.keys()]
            # Others than ours hold types that NumPy lacks.
            tensors = {name: file.get_tensor(name) for name in names} if ABOUT in about else {}
    except (OSError, SafetensorError, TypeError, AttributeError, ValueError) as error:
        raise ArchiveError(f"{path} is no model that fokker wrote: {_line(error)}") from None
    description = _description(path, about)
    experts: list[dict[str, Any]] = [{} for _ in description.experts]
    for name, value in tensors.items():
        index, _, rest = name.partition("/")
        if index not in map(str, range(len(experts))):
            raise ArchiveError(f"{path} holds {name}, but its description is of {len(experts)} experts")
        experts[int(index)][rest] = value
    _require_parameters(path, description, experts)
    return Archive(description, tuple(unflatten_dict(part, sep="/") for part in experts))


def _description(path: Path, about: Mapping[str, str]) -> Description:
    if ABOUT not in about:
        raise ArchiveError(f"{path} was written before models had a format: train again")
    try:
        values = json.loads(about[ABOUT])
        found = int(values.pop("format"))
        if found < 1:
            raise ValueError(f"format {found}")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ArchiveError(f"{path} has a damaged description: {_line(error)}") from None
    if found > FORMAT:
        raise ArchiveError(
            f"{path} is of format {found}, and this version reads up to {FORMAT}: it needs a newer fokker"
        )
    try:
        return _DESCRIPTION.validate_python(files.migrated(values, found, MIGRATIONS))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ArchiveError(f"{path} has a damaged description: {where}: {first['msg']}") from None


def _require_parameters(
    path: Path, description: Description, found: Sequence[Mapping[str, np.ndarray]]
) -> None:
    """ArchiveError unless the parameters, by their joined names, are those of networks as described."""
    network, size = description.network, (description.shape or (1,))[0]
    one_hot = isinstance(network, GraphTransformerConfig) and network.embedding == "one-hot"
    for index, (expert, own) in enumerate(zip(description.experts, found, strict=True)):
        wanted = dict(shapes_of(expert, network, size))
        if one_hot and own.get(NUMBERED) is not None:
            wanted[NUMBERED] = (*own[NUMBERED].shape[:1], *wanted[NUMBERED][1:])
        for name in (*wanted, *own):
            has, needs = (tuple(own[name].shape) if name in own else None), wanted.get(name)
            if has != needs:
                raise ArchiveError(
                    f"{path}: {name} of expert {index} is {_shape(has)}, and its description asks for "
                    f"{_shape(needs)}: it is damaged"
                )
        for name, value in own.items():
            if value.dtype.kind != "f":
                raise ArchiveError(f"{path}: {name} of expert {index} is of {value.dtype}, not of float32")


@cache
def shapes_of(expert: ArchitectureConfig, network: NetworkConfig, size: int) -> Mapping[str, tuple[int, ...]]:
    """Shapes of an expert's parameters, by their joined names; `size` beads, or numbers of a toy's point."""
    shape = (size,) if network.kind == "mlp" else (size, 3)
    # Nothing is computed, and no backend starts: a driver reads models before it starts processes.
    made: Any = jax.eval_shape(lambda: Expert(expert, network, shape).init(jax.random.key(0)))
    flat: dict[str, Any] = flatten_dict(made, sep="/")
    return {name: tuple(leaf.shape) for name, leaf in flat.items()}


def _shape(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else f"{' × '.join(map(str, shape)) or '1'}"


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
