"""What a script trains in its own process is a run as the command makes it."""

import subprocess
import sys
from pathlib import Path

import mdtraj
import numpy as np
import pytest

import fokker
from fokker.distributed.runs.config import ConfigError

from ..data.examples import made_up

SMALL = {
    "network.heads": 2,
    "network.head_width": 4,
    "train.batch_size": 16,
    "train.block": 4,
    "objective.consistency_fraction": 0.125,
    "sample.samples": 8,
    "sample.chunk": 8,
    "sample.evaluations": 6,
} | {
    f"experts.{index}.{name}": value for index in range(3) for name, value in (("hidden", [8]), ("epochs", 2))
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[fokker.Step]]:
    """The folder of a run of AV, and what its training told."""
    folder, seen = tmp_path_factory.mktemp("work"), []
    topology, positions = made_up("GA", 100)
    trajectory = mdtraj.Trajectory(positions, topology)
    trajectory.save_xtc(str(folder / "GA.xtc"))
    trajectory[0].save_pdb(str(folder / "GA.pdb"))
    config = fokker.preset("dipeptides-small").replace(SMALL)
    fokker.train(config, folder / "GA.xtc", directory=folder / "run", progress=seen.append)
    return folder / "run", seen


def test_a_training_in_this_process_is_a_run(trained: tuple[Path, list[fokker.Step]]):
    folder, seen = trained
    run = fokker.Run(folder)
    assert run.config.train.batch_size == 16
    assert run.config.data.evaluate == "train", "there is no other split"
    assert {*run.losses} == {"0-0.25", "0.25-0.6", "0.6-1"}
    assert run.losses["0-0.25"]["step"][-1] == 2 * (100 // 16)
    assert np.isfinite(run.losses["0-0.25"]["denoising"]).all()
    assert run.model.molecule("GA").sample(3).shape == (3, 9, 3)
    assert {step.expert for step in seen} == {*run.losses}
    last = [str(step) for step in seen if step.expert == "0-0.25"][-1]
    assert last.startswith("expert 0-0.25  step 12/12  loss ")


def test_the_same_call_again_takes_no_step(trained: tuple[Path, list[fokker.Step]]):
    folder, seen = trained[0], []
    model = fokker.train(fokker.Run(folder).config, directory=folder, progress=seen.append)
    assert not seen
    np.testing.assert_array_equal(
        model.molecule("GA").sample(2), fokker.load(folder).molecule("GA").sample(2)
    )


def test_training_needs_no_ray():
    program = (
        "import sys, fokker; fokker.preset('mueller-brown'); fokker.train; print(*{'ray'} & {*sys.modules})"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_settings_are_replaced_by_name():
    config = fokker.preset("dipeptides-small", method="mixture", recipe="paper")
    assert (config.method, config.recipe) == ("mixture", "paper")
    assert config.replace({"experts.1.epochs": 3}).experts[1].epochs == 3
    for name in ("train.batch", "experts.7.epochs", "nothing", "seed.x"):
        with pytest.raises(ConfigError, match=rf"^{name}: is not a setting$"):
            config.replace({name: 1})
    with pytest.raises(ConfigError, match=r"^train\.batch_size: must be above 0"):
        config.replace({"train.batch_size": 0})
    with pytest.raises(ConfigError, match="did you mean dipeptides-small"):
        fokker.preset("dipeptide-small")


def test_the_data_of_a_toy_are_its_own():
    with pytest.raises(ValueError, match="those of mueller-brown are simulated: leave it out"):
        fokker.train(fokker.preset("mueller-brown"), "data.npz")
