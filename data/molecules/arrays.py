"""Molecules as the networks see them: arrays, padded to common sizes."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...model.losses.weights import Bias
from ...model.molecules import Molecule
from ...model.networks.springs import Springs
from ..dataset.shards import Dataset
from .beads import Beads
from .springs import Table, springs_of


def molecule_of(beads: Beads, springs: Table | None = None, norm: float = 1.0) -> Molecule:
    """One molecule, with the springs of a dataset in its normalised units."""
    own = None if springs is None else _springs(beads, springs, norm)
    return Molecule(jnp.asarray(beads.features), jnp.ones(len(beads), bool), own)


def padded_size(count: int) -> int:
    """What a count is padded to, in steps of an eighth to a quarter: few programs serve all molecules."""
    step = max(1, 2 ** (count.bit_length() - 3))
    return -(-count // step) * step


def padded(molecule: Molecule) -> Molecule:
    """A molecule padded such that others of about its size share its programs."""
    size, springs = padded_size(len(molecule.mask)), molecule.springs
    if springs is None:
        return _pad(molecule, size)
    bonds, angles = padded_size(len(springs.bonds)), padded_size(len(springs.angles))
    # As many as beads without rings have, but for those of more: so springs make no difference between sizes.
    return _pad(molecule, size, max(size, bonds), max(2 * size, angles))


def molecules_of(dataset: Dataset, shape: tuple[int, ...]) -> Molecule | None:
    """All systems of a dataset in the order of their numbers, padded to frames of a shape; None for a toy.

    Systems that such frames cannot hold, which are never trained on, have no bead in the table.
    """
    descriptions = [dataset.description(system) for system in dataset.systems]
    if not all("beads" in description for description in descriptions):
        return None
    every = [Beads.from_json(description["beads"]) for description in descriptions]
    known = {
        beads: molecule_of(beads, dataset.springs, dataset.norm) for beads in every if len(beads) <= shape[0]
    }
    bonds, angles = (max(len(getattr(beads, part)) for beads in known) for part in ("bonds", "angles"))
    tables = {beads: _pad(molecule, shape[0], bonds, angles) for beads, molecule in known.items()}
    nothing = next(iter(tables.values()))._replace(mask=jnp.zeros(shape[0], bool))
    return jax.tree.map(lambda *parts: jnp.stack(parts), *(tables.get(beads, nothing) for beads in every))


def bias_of(dataset: Dataset) -> Bias:
    """What is known of the bias under which the biased frames of each system of a dataset were made."""
    every = [dataset.description(system).get("bias", {}) for system in dataset.systems]
    known = [bias if bias.get("torsions") else None for bias in every]
    beads = [np.array(bias["torsions"] if bias else np.empty((0, 4)), np.int32) for bias in known]
    tables = [np.array(bias["tables"] if bias else np.empty((1, 0, 1)), np.float32) for bias in known]
    return Bias(_stacked(beads), _stacked(tables))


def _stacked(arrays: Sequence[np.ndarray]) -> Array:
    """Along a new axis, filled up with zeros to the largest."""
    largest = np.max([array.shape for array in arrays], axis=0)
    filled = [
        np.pad(array, [(0, size - own) for size, own in zip(largest, array.shape, strict=True)])
        for array in arrays
    ]
    return jnp.asarray(np.stack(filled))


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


def _pad(molecule: Molecule, beads: int, bonds: int = 0, angles: int = 0) -> Molecule:
    """To these numbers, with beads that are none and springs of no stiffness."""

    def pad(part: jax.Array, size: int, fill: float = 0.0) -> jax.Array:
        rest = np.full((size - len(part), *part.shape[1:]), fill, part.dtype)
        return jnp.asarray(np.concatenate([part, rest]))

    springs = molecule.springs
    if springs is not None:
        parts = {}
        for name, part in springs._asdict().items():
            size = angles if "angle" in name or "cosine" in name else bonds
            parts[name] = pad(part, size, np.inf if name.endswith("variances") else 0.0)
        springs = Springs(**parts)
    return Molecule(pad(molecule.features, beads), pad(molecule.mask, beads), springs)


def padded_frames(frames: Float[Array, "*batch beads 3"], size: int) -> Float[Array, "*batch size 3"]:
    """Frames filled up with beads at the origin."""
    return frames if frames.shape[-2] == size else _pad_frames(frames, size)


@partial(jax.jit, static_argnames="size")
def _pad_frames(frames: Float[Array, "*batch beads 3"], size: int) -> Float[Array, "*batch size 3"]:
    return jnp.pad(frames, [(0, 0)] * (frames.ndim - 2) + [(0, size - frames.shape[-2]), (0, 0)])
