import numpy as np
import pytest

from fokker.data.files import FileError
from fokker.distributed.training import parameters

from ..conftest import disk_full

WEIGHTS = {
    "Dense_0": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "bias": np.zeros(3, np.float32)},
    "Dense_1": {"kernel": np.full((3, 1), 1 / 3, np.float32)},
}


def test_parameters_come_back_bitwise_in_their_tree(tmp_path):
    parameters.save(tmp_path, WEIGHTS)
    found = parameters.load(tmp_path)
    assert {name: set(layer) for name, layer in found.items()} == {
        "Dense_0": {"kernel", "bias"},
        "Dense_1": {"kernel"},
    }
    for name, layer in WEIGHTS.items():
        for part, values in layer.items():
            np.testing.assert_array_equal(found[name][part], values, strict=True)


def test_every_weight_is_counted():
    assert parameters.count(WEIGHTS) == 6 + 3 + 3


def test_an_expert_that_is_not_trained_names_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"average\.npz is missing: .* run `fokker train`"):
        parameters.load(tmp_path)


def test_a_save_that_fails_leaves_the_parameters_of_before(tmp_path):
    parameters.save(tmp_path, WEIGHTS)
    large = {"kernel": np.random.default_rng(0).normal(size=10_000)}
    with disk_full(20_000), pytest.raises(FileError, match="cannot be written: file too large"):
        parameters.save(tmp_path, large)
    np.testing.assert_array_equal(
        parameters.load(tmp_path)["Dense_0"]["kernel"], WEIGHTS["Dense_0"]["kernel"]
    )


def test_a_first_save_that_fails_leaves_an_untrained_expert(tmp_path):
    with disk_full(100), pytest.raises(FileError, match="cannot be written: file too large"):
        parameters.save(tmp_path, WEIGHTS)
    with pytest.raises(FileNotFoundError, match="is missing"):
        parameters.load(tmp_path)
