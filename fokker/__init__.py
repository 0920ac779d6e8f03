"""Energy-based diffusion models of molecules whose samples and dynamics agree."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .launch.trained import Model

__version__ = "0.1.0"


def load(path: str | Path) -> "Model":
    """A trained model: the directory of a run, or a file that `fokker model export` wrote (`launch.trained.load`)."""
    from .launch.trained import load  # JAX takes seconds to import.

    return load(path)
