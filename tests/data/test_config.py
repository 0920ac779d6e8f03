"""The data's settings refuse what cannot be simulated, and name it."""

from typing import Any

import pytest
from pydantic import ValidationError

from fokker.data.config import MuellerBrownConfig


def test_every_chain_keeps_the_same_number_of_frames():
    assert MuellerBrownConfig(frames=300, chains=100).chains == 100
    with pytest.raises(ValidationError, match="frames 301 is not a multiple of chains 100"):
        MuellerBrownConfig(frames=301, chains=100)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("frames", 0),
        ("chains", 0),
        ("stride", 0),
        ("burn_in", -1),
        ("integrator", "leapfrog"),
        ("timestep", 0.0),
        ("temperature", -1.0),
        ("temperature", float("inf")),
        ("mass", float("nan")),
        ("friction", 0.0),
        ("seed", -1),
        ("seed", 2**31),
        ("step", 1),
    ],
)
def test_an_impossible_setting_is_named(field: str, value: Any):
    with pytest.raises(ValidationError) as caught:
        MuellerBrownConfig(**{field: value})
    assert [error["loc"] for error in caught.value.errors()] == [(field,)]


def test_the_ends_of_a_range_belong_to_it():
    config = MuellerBrownConfig(frames=1, chains=1, stride=1, burn_in=0, seed=2**31 - 1)
    assert (config.burn_in, config.seed) == (0, 2**31 - 1)
