"""A trained expert on disk: its averaged parameters, paths joined with '/', in one npz file."""

import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from ..model.experts import Parameters

FILE = "average.npz"


def save(directory: Path, parameters: Parameters) -> None:
    """Write the parameters; the file is there whole or not at all, and says that the expert is finished."""
    leaves = flatten_dict(parameters, sep="/")
    flat: dict[str, Any] = {path: np.asarray(value) for path, value in leaves.items()}
    partial = directory / f".{FILE}"
    with open(partial, "wb") as file:
        np.savez(file, **flat)
    os.replace(partial, directory / FILE)


def load(directory: Path) -> Parameters:
    """The parameters that `save` wrote. FileNotFoundError if the expert was not trained to its end."""
    path = directory / FILE
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing: the expert is not trained to its end, run `fokker train`"
        )
    with np.load(path) as file:
        return unflatten_dict({name: file[name] for name in file.files}, sep="/")


def count(parameters: Parameters) -> int:
    """Number of weights."""
    return sum(np.size(leaf) for leaf in jax.tree.leaves(parameters))
