"""`fokker model`: a trained model as a file, and what is drawn from it for any sequence."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from ...model.config import STRICT, Count
from . import parsing
from .command import Command
from .values import HomePath, RunFolder, UsageError, new_file

if TYPE_CHECKING:
    import numpy as np

    from ...data.bound import BoundMolecule
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
    """Copy the model of a run. FileError if its place cannot be written, ArchiveError if the run has none."""
    from ...data.bound import load
    from ...data.files import require_file

    require_file(arguments.file)
    load(arguments.run).save(arguments.file)
    display.stage("export", str(arguments.file))


def sample(arguments: SampleArguments, display: "Display") -> None:
    """Draw samples, a chunk at a time, and write them. Raises what `_write` does."""

    def made(molecule: "BoundMolecule", watch: Callable[[int], None]) -> "np.ndarray":
        return _array(molecule.sample(arguments.count, arguments.seed, watch=watch))[:, None]

    _write(arguments, "sample", arguments.count, "samples", made, display)


def simulate(arguments: SimulateArguments, display: "Display") -> None:
    """Simulate, a chunk of chains at a time, and write all frames. Raises what `_write` does."""

    def made(molecule: "BoundMolecule", watch: Callable[[int], None]) -> "np.ndarray":
        settings = {"stride": arguments.stride, "burn_in": arguments.burn_in, "key": arguments.seed}
        chains = molecule.simulate(arguments.frames, chains=arguments.chains, watch=watch, **settings)
        return _array(chains.positions)

    _write(arguments, "simulate", arguments.chains, "chains", made, display)


def _array(x: Any) -> "np.ndarray":
    import numpy as np

    return np.asarray(x)


def _write(
    arguments: TakenArguments,
    command: str,
    count: int,
    what: str,
    made: "Callable[[BoundMolecule, Callable[[int], None]], np.ndarray]",
    display: "Display",
) -> None:
    """Make (count, frames, beads, 3) positions, and write them as XTC with PDB.

    Raises ArchiveError for a file that is no model, ConfigError for a result that is there already,
    MoleculeError for a sequence that it cannot be, FileError for a place that cannot be written, StageError
    if nothing is finite.
    """
    import numpy as np

    from ...data import trajectories
    from ...data.bound import load
    from .. import backend
    from ..checks import require_free
    from ..run import StageError

    backend.require()
    molecule = load(arguments.model).molecule(arguments.sequence)
    sequence, beads = molecule.beads.sequence, len(molecule.beads)
    path = arguments.out or Path(f"{sequence.replace(':', '_')}-{command}.xtc")
    require_free(path, path.with_suffix(".pdb"), force=arguments.force)
    display.stage(command, f"{count} of {sequence}, {beads} beads")
    with display.watching():
        frames = made(molecule, lambda done: display.parts(command, {sequence: (done, count)}))
    finite = np.isfinite(frames).all(axis=(-3, -2, -1))
    if not finite.any():
        raise StageError(
            f"{command}: all of the {count} {what} became not finite, and nothing is written: the model is "
            "not trained well, or its time step is too long"
        )
    if not finite.all():
        display.stage("warning", f"{int((~finite).sum())} of {count} became not finite and are left out")
    kept = frames[finite].reshape(-1, beads, 3)
    trajectories.write(molecule.beads, kept, path)
    display.stage("", f"{len(kept)} frames in {path}, topology in {path.with_suffix('.pdb')}")


COMMANDS = {
    "model export": Command("write a trained model as one file to take away", ExportArguments, export, read),
    "model sample": Command("draw samples of such a file", SampleArguments, sample),
    "model simulate": Command("run Langevin dynamics of such a file", SimulateArguments, simulate),
}
