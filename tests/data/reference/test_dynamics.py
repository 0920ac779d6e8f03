"""Reference dynamics: an equilibrium that the bias does not show in, and exact resume."""

import json
from dataclasses import replace
from math import pi
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from fokker.data.config import ReferenceConfig
from fokker.data.readers.layouts import open_source
from fokker.data.readers.sources import Conditions
from fokker.data.reference.dynamics import BINS, Reference, _Walk
from fokker.data.reference.profiles import BINS as PROFILE_BINS
from fokker.data.reference.profiles import PARTS, bins_of

SHORT = ReferenceConfig(learning=0.004, production=0.008, block=0.004, interval=0.2, frames=30)


def test_a_walk_that_was_cut_off_ends_as_an_undisturbed_one(tmp_path: Path):
    whole = Reference("GA", replace(SHORT, learning=0.008, walkers=2), tmp_path / "whole")
    cut = replace(whole, directory=tmp_path / "cut")
    for reference in (whole, cut):
        for walker in range(2):
            reference.walk(walker)
    assert whole.done() == 2 * whole.blocks == 6
    for first in (2, 1):  # From the production, then from the middle of the learning.
        for index in range(first, 3):
            (cut.directory / ".work" / "GA" / "walker-0" / f"block-0000{index}.npz").unlink()
        assert cut.done() == 3 + first
        cut.walk(0)
    assert cut.finish() == whole.finish()
    made = [np.load(r.directory / "GA-traj-arrays.npz")["positions"] for r in (whole, cut)]
    np.testing.assert_array_equal(*made)
    assert not list(tmp_path.rglob(".work")), "nothing is left behind"
    assert whole.finished
    assert whole.finish()["frames"] == 30, "what is finished is not made again"
    with np.load(whole.directory / "GA-biased-arrays.npz") as biased:
        assert biased["positions"].shape == (40, 20, 3)
        assert biased["positions"].dtype == biased["bias"].dtype == np.float32
        assert biased["walker"].tolist() == [0] * 20 + [1] * 20
        assert biased["tables"].shape == (2, 1, BINS)
        assert biased["tables"].max() <= 0
        assert biased["atoms"].shape == (1, 4)
        assert biased["positions"].shape[0] == whole.config.biased
        phi = mdtraj.compute_phi(
            mdtraj.Trajectory(
                biased["positions"], mdtraj.load(whole.directory / "GA-traj-state0.pdb").topology
            )
        )[1][:, 0]
        weights = np.exp(biased["bias"] / whole.config.kT).reshape(2, 20)
    weights /= 2 * weights.sum(axis=1, keepdims=True)
    parts = np.array(whole.finish()["phi"]["1"])
    assert parts.shape == (2 * PARTS, PROFILE_BINS)
    expected = np.bincount(bins_of(phi), weights.reshape(-1), PROFILE_BINS)
    np.testing.assert_allclose(parts.sum(axis=0), expected, rtol=1e-4)
    np.testing.assert_allclose(parts.reshape(2, -1).sum(axis=1), 0.5, rtol=1e-5)


def test_its_files_are_read_with_their_conditions(tmp_path: Path):
    reference = Reference("GA", SHORT, tmp_path / "train")
    reference.walk(0)
    report = reference.finish()
    (source,) = open_source(tmp_path)
    assert (source.name, source.sequence, source.split, source.frames) == ("GA", "GA", "train", 30)
    assert source.conditions == Conditions("amber14", "OBC2", 310.0)
    assert sum(len(block) for block in source.blocks()) == 30, "and its bonds are possible"
    saved = json.loads((tmp_path / "train" / "GA-reference.json").read_text())
    assert saved == report
    assert 1 <= report["effective_samples"] <= 40


@pytest.mark.long
def test_frames_are_drawn_as_if_there_had_been_no_bias(tmp_path: Path):
    config = replace(SHORT, production=0.4, block=0.4, interval=0.2, frames=2000)
    reference = Reference("GA", config, tmp_path)
    reference.walk(0)
    path = tmp_path / ".work" / "GA" / "walker-0" / "block-00001.npz"
    with np.load(path) as block:
        content = {**block}
    # Of two kinds of frames as many were made, but one was favoured by ln 9 kT.
    kinds = np.arange(len(content["bias"])) % 2
    content["bias"] = -config.kT * np.log(9) * kinds
    content["positions"][:, 0, 0] = kinds
    np.savez(path, **content)
    report = reference.finish()
    drawn = np.load(tmp_path / "GA-traj-arrays.npz")["positions"][:, 0, 0]
    assert drawn.mean() == pytest.approx(0.1, abs=0.02)
    expected = (1 + 1 / 9) ** 2 / (1 + 1 / 81) / 2 * len(kinds)
    assert report["effective_samples"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("torsions", "ceiling"), [(1, 2.0), (4, 2.0 + np.log(2))])
def test_the_bias_takes_away_what_lies_above_the_ceiling(torsions: int, ceiling: float):
    walk = _Walk(Reference("GA", SHORT, Path()), 0)
    energy = SHORT.kT * 4 * (1 + np.cos(np.linspace(-pi, pi, BINS + 1)[:-1]))
    hills = np.tile(-0.9 * energy, (torsions, 1))  # What a bias factor of 10 leaves of it.
    left = (energy + walk._production_bias(hills)[0]) / SHORT.kT
    assert left.min() == pytest.approx(0, abs=0.02)
    assert left.max() == pytest.approx(ceiling)
    np.testing.assert_allclose(left[left < ceiling - 1e-9] * SHORT.kT, energy[left < ceiling - 1e-9])


def test_learning_fills_the_valleys_where_the_dynamics_are():
    reference = Reference("ACE-ALA-NME", replace(SHORT, block=0.05), Path())
    walk = _Walk(reference, 0)
    walk._folder.mkdir(parents=True, exist_ok=True)
    try:
        walk._start(*walk._prepare())
        hills = walk._learn(np.zeros((1, BINS)))
    finally:
        (walk._folder / "start.pdb").unlink()
        for folder in (walk._folder, *list(walk._folder.parents)[:2]):
            folder.rmdir()
    where = np.linspace(-180, 180, BINS + 1)[hills[0].argmax()]
    assert -170 < where < -50, "φ of α and β, where alanine dipeptide is"
    assert hills.min() >= 0
    assert hills.max() > SHORT.kT


def test_a_time_step_that_is_too_long_is_said(tmp_path: Path):
    reference = Reference("GA", replace(SHORT, timestep=20.0, interval=0.2), tmp_path)
    with pytest.raises(
        ValueError, match="GA: the dynamics became not finite: take a smaller timestep than 20 fs"
    ):
        reference.walk(0)
