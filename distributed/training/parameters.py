"""A trained expert on disk: its averaged parameters, paths joined with '/', in one npz file."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from ...data.files import reading, replacing
from ...model.experts import Parameters

FILE = "average.npz"


def save(directory: Path, parameters: Parameters) -> None:
    """Write the parameters; the file is there whole or not at all, and says that the expert is finished.

    Raises FileError.
    """
    leaves = flatten_dict(parameters, sep="/")
    flat: dict[str, Any] = {path: np.asarray(value) for path, value in leaves.items()}
    with replacing(directory / FILE) as partial:
        np.savez(partial, **flat)


def load(directory: Path) -> Parameters:
    """The parameters that `save` wrote. FileNotFoundError if the expert was not trained to its end.

    Raises FileError if they are damaged.
    """
    path = directory / FILE
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing: the expert is not trained to its end, run `fokker train`"
        )
    with reading(path) as opened, np.load(opened) as file:
        return unflatten_dict({name: file[name] for name in file.files}, sep="/")


def count(parameters: Parameters) -> int:
    """Number of weights."""
    return sum(np.size(leaf) for leaf in jax.tree.leaves(parameters))
