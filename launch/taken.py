"""`fokker sample` and `fokker simulate` of a model that was taken away, for a sequence of one's own."""

from pathlib import Path

import numpy as np

from ..analysis import trajectories
from .display import Display
from .molecule_arguments import TakenArguments
from .trained import Model, load


def carry_out(arguments: TakenArguments, display: Display) -> None:
    """Draw samples or simulate, a chunk at a time, and write them as XTC with PDB.

    Raises ConfigError for a file that is no model, MoleculeError for a sequence that it cannot be.
    """
    model = load(arguments.model)
    beads, count, chunk = model.beads(arguments.sequence), arguments.count, _chunk(model, arguments.command)
    display.stage(arguments.command, f"{count} of {beads.sequence}, {len(beads)} beads")
    parts = []
    with display.watching():
        for number, begin in enumerate(range(0, count, chunk)):
            # All chunks of one shape, so that the last compiles nothing new.
            part = _part(model, arguments, min(chunk, count), arguments.seed + number)
            parts.append(part[: count - begin])
            display.parts(arguments.command, {beads.sequence: (min(begin + chunk, count), count)})
    made = np.concatenate(parts)
    finite = np.isfinite(made).all(axis=(-3, -2, -1))
    if not finite.all():
        display.stage("warning", f"{int((~finite).sum())} of {count} became not finite and are left out")
    frames = made[finite].reshape(-1, len(beads), 3)
    path = arguments.out or Path(f"{beads.sequence.replace(':', '_')}-{arguments.command}.xtc")
    if len(frames):
        trajectories.write(beads, frames, path)
        display.stage("", f"{len(frames)} frames in {path}, topology in {path.with_suffix('.pdb')}")


def _chunk(model: Model, command: str) -> int:
    return model.config.sample.chunk if command == "sample" else model.config.simulate.chunk


def _part(model: Model, arguments: TakenArguments, count: int, seed: int) -> np.ndarray:
    """Frames of so many samples or chains: (count, frames, beads, 3)."""
    if arguments.command == "sample":
        return model.sample(arguments.sequence, count, seed)[:, None]
    return model.simulate(
        arguments.sequence,
        arguments.frames,
        chains=count,
        stride=arguments.stride,
        burn_in=arguments.burn_in,
        seed=seed,
    )
