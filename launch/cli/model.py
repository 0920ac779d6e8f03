"""`fokker model`: a trained model as a file, and what is drawn from it for any sequence."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from ...model.config import STRICT, Count, DynamicsConfig, Positive, require_springs
from . import parsing
from .command import Command
from .values import HomePath, RunFolder, UsageError, new_file

if TYPE_CHECKING:
    import numpy as np

    from ...data.bound import BoundMolecule
    from ...distributed.runs.display import Display


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
    timestep: Positive | None = None
    """Time step in ps (none: the run's)."""
    inner_steps: Count | None = None
    """Steps by the springs' forces alone that each step is made of (none: the run's)."""

    @property
    def changes(self) -> dict[str, Any]:
        """Settings of the dynamics that are not to be the run's."""
        given = {name: getattr(self, name) for name in ("stride", "burn_in", "timestep", "inner_steps")}
        return {name: value for name, value in given.items() if value is not None}


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
    """Copy the model. FileError if its place cannot be written, ArchiveError if the run has none."""
    # JAX takes seconds to import.
    from ...data.bound import load
    from ...data.files import require_file

    require_file(arguments.file)
    load(arguments.run).save(arguments.file)
    display.stage("export", str(arguments.file))


def draw(arguments: SampleArguments | SimulateArguments, display: "Display") -> None:
    """Draw samples or simulate, a batch at a time, and write them as XTC with PDB.

    Raises ArchiveError for a file that is no model, ConfigError for a result that is there already and for
    dynamics that the model does not have, MoleculeError for a sequence that it cannot be, FileError for a
    place that cannot be written, StageError if nothing is finite.
    """
    import numpy as np

    from ...data import trajectories
    from ...data.bound import load
    from ...distributed.runs.checks import require_free
    from ...distributed.runs.run import StageError
    from .. import backend

    backend.require()
    molecule = load(arguments.model).molecule(arguments.sequence)
    if isinstance(arguments, SampleArguments):
        command, what, count = "sample", "samples", arguments.count
    else:
        command, what, count = "simulate", "chains", arguments.chains
        _require(arguments.changes, molecule)
    beads = molecule.beads
    path = arguments.out or Path(f"{beads.sequence.replace(':', '_')}-{command}.xtc")
    require_free(path, path.with_suffix(".pdb"), force=arguments.force)
    display.stage(command, f"{count} of {beads.sequence}, {len(beads)} beads")
    with display.watching():
        made = _made(
            molecule, arguments, lambda done: display.parts(command, {beads.sequence: (done, count)})
        )
    finite = np.isfinite(made).all(axis=(-3, -2, -1))
    if not finite.any():
        raise StageError(
            f"{command}: all of the {count} {what} became not finite, and nothing is written: the model is "
            "not trained well, or its time step is too long"
        )
    if not finite.all():
        display.stage("warning", f"{int((~finite).sum())} of {count} became not finite and are left out")
    frames = made[finite].reshape(-1, len(beads), 3)
    trajectories.write(beads, frames, path)
    display.stage("", f"{len(frames)} frames in {path}, topology in {path.with_suffix('.pdb')}")


def _require(changes: dict[str, Any], molecule: "BoundMolecule") -> None:
    """Raise ConfigError unless the model can be simulated with these changes."""
    from ...distributed.runs.config import ConfigError, from_dict, to_dict

    settings = from_dict(to_dict(molecule.dynamics) | changes, DynamicsConfig)
    try:
        require_springs(settings, molecule.bound.model.network)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _made(
    molecule: "BoundMolecule", arguments: SampleArguments | SimulateArguments, watch: Callable[[int], None]
) -> "np.ndarray":
    """Frames of all samples or chains: (count, frames, beads, 3)."""
    import numpy as np

    if isinstance(arguments, SampleArguments):
        return np.asarray(molecule.sample(arguments.count, arguments.seed, watch=watch))[:, None]
    chains = molecule.simulate(
        arguments.frames, chains=arguments.chains, key=arguments.seed, watch=watch, **arguments.changes
    )
    return np.asarray(chains.positions)


COMMANDS = {
    "model export": Command("write a trained model as one file to take away", ExportArguments, export, read),
    "model sample": Command("draw samples of such a file", SampleArguments, draw),
    "model simulate": Command("run Langevin dynamics of such a file", SimulateArguments, draw),
}
