"""`fokker model sample` and `simulate`: what is drawn from a model that was taken away."""

from pathlib import Path

import numpy as np

from ..analysis import trajectories
from ..data.beads import Beads
from .checks import require_free
from .cli.model import SampleArguments, SimulateArguments
from .display import Display
from .run import StageError
from .trained import Model, load


def carry_out(arguments: SampleArguments | SimulateArguments, display: Display) -> None:
    """Draw samples or simulate, a chunk at a time, and write them as XTC with PDB.

    Raises ConfigError for a file that is no model or a result that is there already, MoleculeError for a
    sequence that it cannot be, FileError for a place that cannot be written, StageError if nothing is finite.
    """
    model = load(arguments.model)
    if isinstance(arguments, SampleArguments):
        command, count = "sample", arguments.count
    else:
        command, count = "simulate", arguments.chains
    beads = model.beads(arguments.sequence)
    path = arguments.out or Path(f"{beads.sequence.replace(':', '_')}-{command}.xtc")
    require_free(path, path.with_suffix(".pdb"), force=arguments.force)
    display.stage(command, f"{count} of {beads.sequence}, {len(beads)} beads")
    with display.watching():
        made = _made(model, arguments, count, beads, display)
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


def _made(
    model: Model, arguments: SampleArguments | SimulateArguments, count: int, beads: Beads, display: Display
) -> np.ndarray:
    """Frames of all samples or chains: (count, frames, beads, 3)."""

    def watch(done: int) -> None:
        display.parts(
            "sample" if isinstance(arguments, SampleArguments) else "simulate",
            {beads.sequence: (done, count)},
        )

    if isinstance(arguments, SampleArguments):
        return model.sample(arguments.sequence, count, arguments.seed, watch)[:, None]
    return model.simulate(
        arguments.sequence,
        arguments.frames,
        chains=count,
        stride=arguments.stride,
        burn_in=arguments.burn_in,
        seed=arguments.seed,
        watch=watch,
    )
