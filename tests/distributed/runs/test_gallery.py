"""What a report shows of frames is some of them, of a chain that did not fail, in order of time."""

from pathlib import Path

import numpy as np
import pytest

from fokker.analysis.report.view import CHAIN, SAMPLES
from fokker.distributed.runs.gallery import _chain, _view

from ..campaigns.test_assessment import MOLECULE, STRIDE, TIMESTEP, TOY, Drawn, commit, molecules, points


def test_the_chain_is_the_first_that_was_not_lost(tmp_path: Path):
    frames = molecules(8, 40)
    frames[0, 12:] = np.nan
    found, stride = _chain(commit(Drawn(tmp_path / "a", MOLECULE, frames)))
    assert stride == 1
    np.testing.assert_array_equal(found, frames[1])


def test_of_a_single_chain_that_was_lost_what_it_had_is_shown(tmp_path: Path):
    frames = molecules(1, 40)
    frames[0, 12:] = np.nan
    found, _ = _chain(commit(Drawn(tmp_path / "a", MOLECULE, frames)))
    np.testing.assert_array_equal(found, frames[0, :12])


@pytest.mark.parametrize("segment", [10, 7, 64])
def test_of_a_long_chain_every_so_many_th_frame_is_shown_whatever_the_segments(tmp_path: Path, segment: int):
    frames = molecules(3, 3 * CHAIN + 50)
    work = commit(Drawn(tmp_path / "a", MOLECULE, frames, segment=segment))
    found, stride = _chain(work)
    assert stride == 3
    np.testing.assert_array_equal(found, frames[0, ::3])
    view = _view(work, work)
    assert view is not None
    assert view.interval == pytest.approx(3 * STRIDE * TIMESTEP)


def test_samples_are_the_first_finite_ones(tmp_path: Path):
    frames = molecules(SAMPLES + 20, 1)
    frames[3] = np.nan
    samples = commit(Drawn(tmp_path / "samples", MOLECULE, frames, burn_in=0))
    view = _view(samples, commit(Drawn(tmp_path / "chains", MOLECULE, molecules(4, 20))))
    assert view is not None
    kept = np.delete(frames[:, 0], 3, axis=0)[:SAMPLES]
    np.testing.assert_array_equal(view.samples, kept)


def test_neither_a_toy_nor_a_molecule_without_frames_is_shown(tmp_path: Path):
    toy = commit(Drawn(tmp_path / "toy", TOY, points(4, 20)))
    assert _view(toy, toy) is None
    lost = commit(Drawn(tmp_path / "lost", MOLECULE, np.full((4, 20, *MOLECULE.shape), np.nan, np.float32)))
    assert _view(lost, lost) is None
