"""Energy-based diffusion models of molecules whose samples and dynamics agree."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .comparison import compare
    from .data.bound import BoundMolecule, BoundMolecules, Chains, ChainState, Model, load
    from .runs import Run, Step, preset, train

__all__ = [
    "BoundMolecule",
    "BoundMolecules",
    "ChainState",
    "Chains",
    "Model",
    "Run",
    "Step",
    "__version__",
    "compare",
    "load",
    "preset",
    "train",
]

__version__ = "0.1.0"

_HOMES = {
    "comparison": ("compare",),
    "data.bound": ("BoundMolecule", "BoundMolecules", "ChainState", "Chains", "Model", "load"),
    "runs": ("Run", "Step", "preset", "train"),
}
"""Where names come from when they are first asked for: JAX takes most of a second to import."""


def __getattr__(name: str) -> Any:
    from importlib import import_module

    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f".{home}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
