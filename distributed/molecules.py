"""The molecules of a dataset, as the networks see them."""

import jax.numpy as jnp
import numpy as np

from ..data.beads import Beads
from ..data.shards import Dataset
from ..model.molecules import Molecule


def molecule_of(beads: Beads, padded: int | None = None) -> Molecule:
    """One molecule, padded to a number of beads."""
    size = len(beads) if padded is None else padded
    features = np.zeros((size, 4), np.int32)
    features[: len(beads)] = beads.features
    return Molecule(jnp.asarray(features), jnp.arange(size) < len(beads))


def molecules_of(dataset: Dataset, shape: tuple[int, ...]) -> Molecule | None:
    """All systems of a dataset in the order of their numbers, padded to frames of a shape; None for a toy.

    Systems that such frames cannot hold, which are never trained on, have no bead in the table.
    """
    descriptions = [dataset.description(system) for system in dataset.systems]
    if not all("beads" in description for description in descriptions):
        return None
    nothing = Molecule(jnp.zeros((shape[0], 4), jnp.int32), jnp.zeros(shape[0], bool))
    every = [Beads.from_json(description["beads"]) for description in descriptions]
    tables = [molecule_of(beads, shape[0]) if len(beads) <= shape[0] else nothing for beads in every]
    return Molecule(*(jnp.stack(parts) for parts in zip(*tables, strict=True)))
