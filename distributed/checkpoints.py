"""Checkpoints of one expert: asynchronous, atomic, the last and the best kept."""

import warnings
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from .train_step import TrainState


class CheckpointError(RuntimeError):
    """A checkpoint that does not fit the run or cannot be read; the message says which and what to do."""


class Checkpoints:
    """The checkpoints under one directory. Every process of a group calls every method."""

    def __init__(self, directory: Path, fingerprint: str):
        """`fingerprint` is that of the data; a checkpoint made on other data is refused."""
        self._fingerprint = fingerprint
        keep = checkpoint_managers.AnyPreservationPolicy(
            [
                checkpoint_managers.LatestN(1),
                checkpoint_managers.BestN(get_metric_fn=lambda metrics: metrics["loss"], reverse=True, n=1),
            ]
        )
        self._manager = ocp.CheckpointManager(
            directory.resolve(),
            options=ocp.CheckpointManagerOptions(preservation_policy=keep, cleanup_tmp_directories=True),
        )

    @property
    def latest_step(self) -> int | None:
        """Step of the newest checkpoint."""
        return self._manager.latest_step()

    def save(self, state: TrainState, loss: float) -> None:
        """Save in the background; `loss`, the mean since the last checkpoint, ranks the best."""
        step = int(state.step)
        if step == self.latest_step:
            return
        meta = {"data_fingerprint": self._fingerprint, "step": step}
        args = ocp.args.Composite(state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(meta))
        self._manager.save(step, args=args, metrics={"loss": loss})

    def restore(self, like: TrainState) -> TrainState | None:
        """The newest state that can be read, with the shardings of `like`; None if there is no checkpoint.

        Damaged checkpoints are skipped with a warning and removed, so that their step can be saved again.
        Raises CheckpointError if the state was trained on other data, and the OSError of a disk that fails.
        """
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        for step in sorted(self._manager.all_steps(), reverse=True):
            args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract), meta=ocp.args.JsonRestore())
            try:
                found: Any = self._manager.restore(step, args=args)
            except Exception as error:  # Orbax raises many kinds for files that are cut short.
                if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
                    raise  # A missing file is damage; a disk or a mount that fails may come back.
                warnings.warn(
                    f"checkpoint {self._manager.directory / str(step)} cannot be read, an older one is used: "
                    f"{str(error).splitlines()[0]}",
                    stacklevel=2,
                )
                self._manager.delete(step)
                continue
            if found.meta["data_fingerprint"] != self._fingerprint:
                raise CheckpointError(
                    f"{self._manager.directory / str(step)} was trained on data "
                    f"{found.meta['data_fingerprint'][:12]}, the run's data is {self._fingerprint[:12]}: "
                    "restore that data or use another --name"
                )
            return found.state
        return None

    def close(self) -> None:
        """Wait until everything is on disk."""
        self._manager.wait_until_finished()
        self._manager.close()
