import warnings
from contextlib import closing
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fokker.distributed.config import TrainConfig
from fokker.distributed.training.checkpoints import CheckpointError, Checkpoints, Origin
from fokker.distributed.training.step import TrainState, init_state
from fokker.model.config import ExpertConfig, MLPConfig
from fokker.model.experts import Expert


def state(step: int) -> TrainState:
    parameters = {"kernel": jnp.linspace(0, step, 7), "bias": jnp.ones(3) * step}
    return TrainState(jnp.asarray(step, jnp.int32), parameters, parameters, (jnp.zeros(2),))


def with_optimiser(config: TrainConfig) -> TrainState:
    expert = Expert(ExpertConfig(interval=(0, 0.1), hidden=(8,), epochs=1, midpoint=0.05), MLPConfig(), (2,))
    return init_state(expert, config, 10, jax.random.key(0))


def written(directory: Path, losses: dict[int, float]) -> None:
    checkpoints = Checkpoints(directory, Origin("data-1", 1, 1))
    for step, loss in losses.items():
        checkpoints.save(state(step), loss)
    checkpoints.close()


def steps(directory: Path) -> list[int]:
    return sorted(int(path.name) for path in directory.iterdir() if path.name.isdigit())


def restored(directory: Path, fingerprint: str = "data-1") -> TrainState | None:
    checkpoints = Checkpoints(directory, Origin(fingerprint, 1, 1))
    try:
        return checkpoints.restore(state(0))
    finally:
        checkpoints.close()


def test_a_state_comes_back_bitwise(tmp_path):
    written(tmp_path, {5: 1.0})
    found = restored(tmp_path)
    assert found is not None
    jax.tree.map(np.testing.assert_array_equal, found, state(5))


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
def test_the_optimiser_comes_back_too(tmp_path, optimiser: Literal["adamw", "muon"]):
    """Of Muon there are parts of the parameters that each of its halves does not see."""
    blank = with_optimiser(TrainConfig(optimiser=optimiser))
    full = jax.tree.map(lambda leaf: leaf + jnp.asarray(3, leaf.dtype), blank)
    with closing(Checkpoints(tmp_path, Origin("data-1", 1, 1))) as checkpoints:
        checkpoints.save(full, 1.0)
    with closing(Checkpoints(tmp_path, Origin("data-1", 1, 1))) as checkpoints:
        found = checkpoints.restore(blank)
    jax.tree.map(np.testing.assert_array_equal, found, full)


def test_the_last_two_and_the_best_are_kept(tmp_path):
    written(tmp_path, {1: 3.0, 2: 0.5, 3: 2.0, 4: 1.0, 5: 1.5})
    assert steps(tmp_path) == [2, 4, 5]
    found = restored(tmp_path)
    assert found is not None
    assert int(found.step) == 5


def test_no_checkpoint_is_no_state(tmp_path):
    assert restored(tmp_path / "nothing") is None


def test_a_state_of_other_data_is_refused(tmp_path):
    written(tmp_path, {1: 1.0})
    with pytest.raises(CheckpointError, match=r"was trained on data data-1.*data-2"):
        restored(tmp_path, "data-2")
    assert steps(tmp_path) == [1]


def test_a_damaged_checkpoint_is_skipped_with_a_warning_and_can_be_saved_again(tmp_path):
    written(tmp_path, {1: 1.0, 2: 2.0})
    for path in (tmp_path / "2" / "state").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:10])
    checkpoints = Checkpoints(tmp_path, Origin("data-1", 1, 1))
    with pytest.warns(UserWarning, match=r"2 cannot be read, an older one is used"):
        found = checkpoints.restore(state(0))
    assert found is not None
    assert int(found.step) == 1
    assert (tmp_path / "damaged-2" / "state").is_dir()
    checkpoints.save(state(2), 2.0)
    checkpoints.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = restored(tmp_path)
    assert found is not None
    assert int(found.step) == 2
