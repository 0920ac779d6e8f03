"""Checkpoints of one expert: asynchronous, atomic, the last two and the best kept.

The state is the same on every process of a group, so the first alone reads and writes it, as plain arrays: no
save waits for another process, and a state fits any number of them.
"""

import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers
from orbax.checkpoint.options import MultiprocessingOptions

from ...data import fence
from .step import TrainState

FOLDER = "checkpoints"
UNFINISHED = "*.orbax-checkpoint-tmp*"


class CheckpointError(RuntimeError):
    """A checkpoint that does not fit the run; the message says which and what to do."""


@dataclass(frozen=True)
class Origin:
    """What a checkpoint was made by."""

    data: str
    """Fingerprint of the dataset."""
    hosts: int
    devices: int
    """Of the whole group."""


class Checkpoints:
    """The checkpoints under one directory, for the first process of a group."""

    def __init__(self, directory: Path, origin: Origin, other_data: bool = False):
        """A checkpoint made on other data than `origin` says is refused, unless `other_data`."""
        self._directory, self._origin, self._other_data = directory.resolve(), origin, other_data
        self._manager = self._open()

    def _open(self) -> ocp.CheckpointManager:
        keep = checkpoint_managers.AnyPreservationPolicy(
            [
                checkpoint_managers.LatestN(2),  # One to fall back on.
                checkpoint_managers.BestN(get_metric_fn=lambda metrics: metrics["loss"], reverse=True, n=1),
            ]
        )
        first_alone = MultiprocessingOptions(
            primary_host=0, active_processes={0}, barrier_sync_key_prefix="first"
        )
        options = ocp.CheckpointManagerOptions(
            preservation_policy=keep,
            cleanup_tmp_directories=True,
            multiprocessing_options=first_alone,
            create=False,  # Orbax cannot, for a part of the processes.
        )
        self._directory.mkdir(parents=True, exist_ok=True)
        return ocp.CheckpointManager(self._directory, options=options)

    @property
    def latest_step(self) -> int | None:
        """Step of the newest checkpoint."""
        return self._manager.latest_step()

    def save(self, state: TrainState, loss: float) -> None:
        """Save in the background; `loss`, the mean since the last checkpoint, ranks the best.

        Raises FencedError where another attempt has begun, and what went wrong with this save or the last;
        nothing of a failed one is left, and the next may succeed.
        """
        step = int(state.step)
        if step == self.latest_step:
            return
        fence.require(self._directory)
        plain = jax.tree.map(np.asarray, state)
        meta = {"step": step, **asdict(self._origin)}
        args = ocp.args.Composite(state=ocp.args.StandardSave(plain), meta=ocp.args.JsonSave(meta))
        with self._forgetting_failures():
            self._manager.save(step, args=args, metrics={"loss": loss})

    def wait(self) -> None:
        """Wait until everything is on disk; raises what went wrong with the last save."""
        with self._forgetting_failures():
            self._manager.wait_until_finished()
            self._manager.check_for_errors()

    def check(self) -> None:
        """Raise what went wrong with a save that has ended since; does not wait."""
        with self._forgetting_failures():
            self._manager.check_for_errors()

    @contextmanager
    def _forgetting_failures(self) -> Iterator[None]:
        """A manager whose save has failed cannot be used again, and what it wrote takes room."""
        try:
            yield
        except Exception:
            for path in self._directory.glob(UNFINISHED):
                shutil.rmtree(path, ignore_errors=True)
            self._manager = self._open()
            raise

    def restore(self, like: TrainState) -> TrainState | None:
        """The newest state that can be read, as plain arrays of the shapes of `like`; None if there is none.

        Damaged checkpoints are skipped with a warning and put aside, so that their step can be saved again.
        Raises CheckpointError if the state was trained on other data or is of other networks, and the OSError
        of a disk that fails.
        """
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                found = _read(self._manager, step)
            except Exception as error:  # Orbax raises many kinds for files that are cut short.
                if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
                    raise  # A missing file is damage; a disk or a mount that fails may come back.
                self._put_aside(step, error)
                continue
            self._check(step, found.meta)
            return self._fitted(step, like, found.state)
        return None

    def _check(self, step: int, meta: dict[str, Any]) -> None:
        if meta["data"] != self._origin.data and not self._other_data:
            raise CheckpointError(
                f"{self._directory / str(step)} was trained on data {meta['data'][:12]}, the run's data is "
                f"{self._origin.data[:12]}: restore that data, use another --name, or go on with these by "
                "--allow-changed data"
            )

    def _fitted(self, step: int, like: TrainState, state: Any) -> TrainState:
        """The tree that orbax returns, in which tuples are lists or dicts, in the structure of `like`."""
        name = partial(jax.tree_util.keystr, simple=True, separator="/")
        there = {name(path): leaf for path, leaf in jax.tree.leaves_with_path(state)}

        def fitted(path: Any, wanted: Any) -> np.ndarray:
            found = there.get(name(path))
            if found is None or np.shape(found) != wanted.shape:
                raise CheckpointError(
                    f"{self._directory / str(step)} holds other parameters than the run's expert "
                    f"({jax.tree_util.keystr(path)}): take another --name, or the network it was made with"
                )
            return np.asarray(found, wanted.dtype)

        return jax.tree.map_with_path(fitted, like)

    def _put_aside(self, step: int, error: Exception) -> None:
        damaged = self._directory / str(step)
        warnings.warn(
            f"checkpoint {damaged} cannot be read, an older one is used: {str(error).splitlines()[0]}",
            stacklevel=3,
        )
        aside = self._directory / f"damaged-{step}"
        shutil.rmtree(aside, ignore_errors=True)
        damaged.rename(aside)
        self._manager.reload()

    def close(self) -> None:
        """Wait until everything is on disk, and let go."""
        try:
            self.wait()
        finally:
            self._manager.close()


def _read(manager: ocp.CheckpointManager, step: int) -> Any:
    """A checkpoint as it is on disk: `state`, nested plain arrays, and `meta`."""
    args = ocp.args.Composite(state=ocp.args.StandardRestore(), meta=ocp.args.JsonRestore())
    return manager.restore(step, args=args)


def verify(path: Path) -> str:
    """Read one checkpoint without touching its folder: what is wrong with it, or nothing."""
    options = ocp.CheckpointManagerOptions(read_only=True)
    with ocp.CheckpointManager(path.parent.resolve(), options=options) as manager:
        try:
            found = _read(manager, int(path.name))
        except Exception as error:  # Orbax raises many kinds for files that are cut short.
            return str(error).splitlines()[0]
    finite = all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found.state))
    return "" if finite else "it holds numbers that are not finite"
