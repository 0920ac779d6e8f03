"""`fokker sample` and `fokker simulate` of a model that was taken away, for a sequence of one's own."""

from pathlib import Path

import numpy as np

from ..data import trajectories
from ..data.bound import BoundMolecule, load
from .checks import require_free
from .display import Display
from .molecule_arguments import TakenArguments
from .run import StageError


def carry_out(arguments: TakenArguments, display: Display) -> None:
    """Draw samples or simulate, a chunk at a time, and write them as XTC with PDB.

    Raises ArchiveError for a file that is no model, ConfigError for a result that is there already,
    MoleculeError for a sequence that it cannot be, FileError for a place that cannot be written, StageError
    if nothing is finite.
    """
    command, count = arguments.command, arguments.count
    molecule = load(arguments.model).molecule(arguments.sequence)
    beads = molecule.beads
    path = arguments.out or Path(f"{beads.sequence.replace(':', '_')}-{command}.xtc")
    require_free(path, path.with_suffix(".pdb"), force=arguments.force)
    display.stage(command, f"{count} of {beads.sequence}, {len(beads)} beads")
    with display.watching():
        made = _made(molecule, arguments, display)
    finite = np.isfinite(made).all(axis=(-3, -2, -1))
    what = "samples" if command == "sample" else "chains"
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


def _made(molecule: BoundMolecule, arguments: TakenArguments, display: Display) -> np.ndarray:
    """Frames of all samples or chains: (count, frames, beads, 3)."""
    count, seed = arguments.count, arguments.seed

    def watch(done: int) -> None:
        display.parts(arguments.command, {molecule.beads.sequence: (done, count)})

    if arguments.command == "sample":
        return np.asarray(molecule.sample(count, seed, watch=watch))[:, None]
    settings = {"stride": arguments.stride, "burn_in": arguments.burn_in}
    chains = molecule.simulate(arguments.frames, chains=count, key=seed, watch=watch, **settings)
    return np.asarray(chains.positions)
