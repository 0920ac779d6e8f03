"""Bounds of what lost chains can do, against every way to lose them that is tried."""

from math import log, nan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fokker.analysis.metrics import js_divergence
from fokker.analysis.statistics.lost import js_interval, js_shift

COUNTS = st.lists(st.integers(0, 1000), min_size=6, max_size=6).filter(any).map(np.array)


@given(COUNTS, COUNTS, COUNTS)
def test_js_of_all_frames_is_within_the_interval(kept: np.ndarray, lost: np.ndarray, reference: np.ndarray):
    missing = float(lost.sum() / (kept + lost).sum())
    low, high = js_interval(js_divergence(kept, reference), missing)
    assert low - 1e-12 <= js_divergence(kept + lost, reference) <= high + 1e-12


@pytest.mark.parametrize("lost", [0, 1, 10, 100, 900])
def test_the_bound_is_reached_where_all_lost_frames_were_elsewhere(lost: int):
    kept, full = np.array([600, 400, 0]), np.array([600, 400, lost])
    missing = lost / (1000 + lost)
    assert js_shift(missing) == pytest.approx(sqrt(js_divergence(kept, full)), abs=1e-12)
    assert js_interval(0.0, missing)[1] == pytest.approx(js_divergence(kept, full), abs=1e-12)


def test_ends():
    assert js_shift(0.0) == 0
    assert js_shift(1.0) == pytest.approx(sqrt(log(2)))
    assert js_interval(0.01, 0.0) == (pytest.approx(0.01), pytest.approx(0.01))
    assert js_interval(0.01, 1.0) == (0, log(2))
    # To first order ½ s ln 2.
    assert js_shift(1e-6) ** 2 == pytest.approx(0.5e-6 * log(2), rel=1e-5)
    low, high = js_interval(0.01, 0.02)
    assert low == pytest.approx((0.1 - js_shift(0.02)) ** 2)
    assert high == pytest.approx((0.1 + js_shift(0.02)) ** 2)


@pytest.mark.parametrize("share", [-0.1, 1.1, nan])
def test_shares_are_between_0_and_1(share: float):
    for call in (js_shift, lambda s: js_interval(0.1, s)):
        with pytest.raises(ValueError, match="not between 0 and 1"):
            call(share)
    with pytest.raises(ValueError, match="not between 0 and ln 2"):
        js_interval(share, 0.1)
