"""The molecules of a dataset, as the networks see them."""

import jax
import jax.numpy as jnp
import numpy as np

from ..data.beads import Beads
from ..data.shards import Dataset
from ..data.springs import Table, springs_of
from ..model.molecules import Molecule
from ..model.springs import Springs


def molecule_of(
    beads: Beads, springs: Table | None = None, norm: float = 1.0, padded: int | None = None
) -> Molecule:
    """One molecule, padded to a number of beads, with the springs of a dataset in its normalised units."""
    size = len(beads) if padded is None else padded
    features = np.zeros((size, 4), np.int32)
    features[: len(beads)] = beads.features
    own = None if springs is None else _springs(beads, springs, norm)
    return Molecule(jnp.asarray(features), jnp.arange(size) < len(beads), own)


def _springs(beads: Beads, table: Table, norm: float) -> Springs:
    bonds, lengths, angles, cosines = springs_of(beads, table)
    mean_of = {tuple(sorted(pair)): norm * mean for pair, (mean, _) in zip(bonds, lengths, strict=True)}
    legs = np.array(
        [[mean_of[tuple(sorted(pair))] for pair in (triple[:2], triple[1:])] for triple in angles]
    ).reshape(-1, 2)
    # |grad cos|² of an angle between legs of these lengths.
    cosine = cosines[:, 0]
    noise = 2 * (np.sum(1 / legs**2, axis=1) - cosine / np.prod(legs, axis=1)) * (1 - cosine**2)
    arrays = bonds, norm * lengths[:, 0], norm**2 * lengths[:, 1], angles, cosine, cosines[:, 1], noise
    return Springs(*(jnp.asarray(a, jnp.int32 if a.dtype.kind == "i" else jnp.float32) for a in arrays))


def molecules_of(dataset: Dataset, shape: tuple[int, ...]) -> Molecule | None:
    """All systems of a dataset in the order of their numbers, padded to frames of a shape; None for a toy.

    Systems that such frames cannot hold, which are never trained on, have no bead in the table.
    """
    descriptions = [dataset.description(system) for system in dataset.systems]
    if not all("beads" in description for description in descriptions):
        return None
    every = [Beads.from_json(description["beads"]) for description in descriptions]
    fitting = [beads for beads in every if len(beads) <= shape[0]]
    bonds, angles = (max(len(getattr(beads, part)) for beads in fitting) for part in ("bonds", "angles"))
    tables = []
    for beads in every:
        fits = len(beads) <= shape[0]
        molecule = molecule_of(beads if fits else fitting[0], dataset.springs, dataset.norm, shape[0])
        if not fits:
            molecule = molecule._replace(mask=jnp.zeros(shape[0], bool))
        tables.append(molecule._replace(springs=_padded(molecule.springs, bonds, angles)))
    return jax.tree.map(lambda *parts: jnp.stack(parts), *tables)


def _padded(springs: Springs | None, bonds: int, angles: int) -> Springs | None:
    """To these numbers, with springs of no stiffness."""
    if springs is None:
        return None

    def pad(name: str, part: jax.Array) -> jax.Array:
        count = (bonds if name in ("bonds", "lengths", "length_variances") else angles) - len(part)
        fill = jnp.inf if name.endswith("variances") else 0
        return jnp.pad(part, [(0, count)] + [(0, 0)] * (part.ndim - 1), constant_values=fill)

    return Springs(*(pad(name, part) for name, part in springs._asdict().items()))
