"""What chemistry knows of residues, so that a type which was never trained on is not wholly unknown."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..config import UNKNOWN, VOCABULARY

PROPERTIES = ("charge", "size", "hydropathy", "β-branched", "aromatic", "glycine", "proline")
"""Columns: charge at pH 7 (histidine neutral, as in our reference dynamics); heavy atoms of the side chain
over ten; hydropathy by Kyte and Doolittle (J. Mol. Biol. 157, 105, 1982) over 4.5; four flags."""

# In the order of the residue types of `data.molecules.residues`: charge, heavy atoms, hydropathy.
_AMINO_ACIDS = {
    "ALA": (0, 1, 1.8),
    "ARG": (1, 7, -4.5),
    "ASN": (0, 4, -3.5),
    "ASP": (-1, 4, -3.5),
    "CYS": (0, 2, 2.5),
    "GLN": (0, 5, -3.5),
    "GLY": (0, 0, -0.4),
    "GLU": (-1, 5, -3.5),
    "HIS": (0, 6, -3.2),
    "ILE": (0, 4, 4.5),
    "LEU": (0, 4, 3.8),
    "LYS": (1, 5, -3.9),
    "MET": (0, 4, 1.9),
    "PHE": (0, 7, 2.8),
    "PRO": (0, 3, -1.6),
    "SER": (0, 2, -0.8),
    "THR": (0, 3, -0.7),
    "TRP": (0, 10, -0.9),
    "TYR": (0, 8, -1.3),
    "VAL": (0, 3, 4.2),
}
_FLAGS = ({"ILE", "THR", "VAL"}, {"HIS", "PHE", "TRP", "TYR"}, {"GLY"}, {"PRO"})
_SCALES = (1, 10, 4.5)


def _table() -> Float[np.ndarray, "types properties"]:
    table = np.zeros((VOCABULARY[0], len(PROPERTIES)), np.float32)
    for row, (name, values) in zip(table, _AMINO_ACIDS.items(), strict=False):
        row[:3] = np.divide(values, _SCALES)
        row[3:] = [name in names for names in _FLAGS]
    return table


TABLE = _table()
"""By type; caps, and a type that is unknown, have zeros."""


def shown_types(kinds: Int[Array, "*beads"]) -> Int[Array, "*beads"]:
    """Types as an embedding sees them: what is hidden is unknown."""
    return jnp.minimum(kinds, UNKNOWN)


def properties_of(kinds: Int[Array, "*beads"]) -> Float[Array, "*beads properties"]:
    """Properties of the true types, also of what is hidden: UNKNOWN + 1 + type stands for that."""
    return jnp.asarray(TABLE)[jnp.where(kinds > UNKNOWN, kinds - UNKNOWN - 1, kinds)]
