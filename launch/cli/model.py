"""`fokker model`: a trained model as a file, and what is drawn from it for any sequence."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from ...model.config import STRICT, Count
from . import parsing
from .command import Command
from .values import HomePath, RunFolder, UsageError, new_file

if TYPE_CHECKING:
    from ..display import Display


def _exists(path: Path) -> Path:
    if not path.exists():
        raise ValueError(f"{path} does not exist: name what fokker model export wrote, or a run's folder")
    return path


Index = Annotated[int, Field(ge=0)]


@dataclass(frozen=True, config=STRICT)
class ExportArguments:
    """The file holds the averaged parameters, the settings, the scale and the bead map of the run.

    fokker.load(FILE) reads it in Python.
    """

    run: tyro.conf.Positional[RunFolder]
    """Folder of the run, such as runs/NAME."""
    file: tyro.conf.Positional[HomePath]
    """File that is written, such as model.safetensors."""
    force: bool = False
    """Replace a file that is there."""


@dataclass(frozen=True, config=STRICT, kw_only=True)
class TakenArguments:
    """A model that was taken away, and where what is made of it goes."""

    model: tyro.conf.Positional[Annotated[HomePath, AfterValidator(_exists)]]
    """File that fokker model export wrote, or the folder of a finished run."""
    sequence: str
    """A peptide such as AC or ACE-ALA-NME; no PDB file is needed."""
    seed: Index = 0
    """Of the random numbers."""
    out: Annotated[HomePath | None, new_file(".xtc")] = None
    """XTC file of the beads (none: SEQUENCE-COMMAND.xtc); its topology lies beside it."""
    force: bool = False
    """Replace what is there."""


@dataclass(frozen=True, config=STRICT, kw_only=True)
class SampleArguments(TakenArguments):
    """Independent samples of any sequence."""

    count: Count = 1000
    """Samples."""


@dataclass(frozen=True, config=STRICT, kw_only=True)
class SimulateArguments(TakenArguments):
    """Chains of any sequence, each of which starts from a sample of the model."""

    chains: Count = 100
    """Independent chains."""
    frames: Count = 100
    """Frames kept of each chain."""
    stride: Count | None = None
    """Steps from one kept frame to the next (none: the run's)."""
    burn_in: Index | None = None
    """Steps of each chain that are dropped first (none: the run's)."""


def read(kind: type[ExportArguments], command: str, argv: Sequence[str], about: str) -> ExportArguments:
    """As `parsing.read`; UsageError as well for a file that cannot be made, or must not be replaced."""
    arguments = parsing.read(kind, command, argv, about=about)
    file = arguments.file
    if not file.absolute().parent.is_dir() or file.is_dir():
        raise UsageError(f"{file}: there is no folder for it, or it is one itself")
    if file.exists() and not arguments.force:
        raise UsageError(f"{file} exists: take another name, or --force to replace it")
    return arguments


def export(arguments: ExportArguments, display: "Display") -> None:
    """Write the model of a run as a file."""
    from .. import export

    export.carry_out(arguments, display)


def draw(arguments: SampleArguments | SimulateArguments, display: "Display") -> None:
    """Samples, or a simulation, of a model that was taken away."""
    from .. import backend, taken

    backend.require()
    taken.carry_out(arguments, display)


COMMANDS = {
    "model export": Command("write a trained model as one file to take away", ExportArguments, export, read),
    "model sample": Command("draw samples of such a file", SampleArguments, draw),
    "model simulate": Command("run Langevin dynamics of such a file", SimulateArguments, draw),
}
