"""What is known of a molecule without a model: the plane of all training molecules, each with one weight."""

import numpy as np
import pytest

from fokker.analysis.metrics import RAMACHANDRAN
from fokker.analysis.reduction import FrameSet, held
from fokker.analysis.systems import System
from fokker.analysis.transfer import against_pooled, pooled_plane
from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads

from .points import compare


def frames_of(sequence: str, count: int, seed: int = 0, bead_map: str = "backbone") -> FrameSet:
    """Beads anywhere, whose torsions are anything."""
    beads = Beads.from_sequence(sequence, BeadMap.parse(bead_map))
    system = System.molecule(sequence, beads, [0.15] * len(beads.bonds), 300.0)
    frames = np.random.default_rng(seed).normal(size=(count, len(beads), 3))
    return held(system, frames.astype(np.float32))


def points_of(one: FrameSet) -> np.ndarray:
    """Of all residues of all frames, one residue after another."""
    every = np.concatenate([*one.blocks()])
    return np.concatenate([projection(every) for projection in one.totals.system.projections])


def rows(points: np.ndarray) -> set[tuple[float, ...]]:
    return {*map(tuple, np.round(points, 6).tolist())}


def test_every_training_molecule_gives_the_same_number_of_points_and_each_residue_of_it():
    training = [frames_of("AV", 900), frames_of("KF", 300, 1), frames_of("ACE-ALA-ALA-NME", 400, 2)]
    plane = pooled_plane(training, 600)
    assert len(plane) == len(rows(plane)) == 600
    own = [rows(points_of(one)) for one in training]
    assert [len(rows(plane) & each) for each in own] == [200, 200, 200]
    half = [rows(points[:400]) for points in (points_of(training[2]),)]
    assert 70 < len(rows(plane) & half[0]) < 130, "of one residue of two, within four standard deviations"
    first = [len(rows(plane[:300]) & each) for each in own]
    assert min(first) > 65, "any part of the plane is of all"


def test_a_molecule_of_few_frames_gives_all_that_it_has():
    plane = pooled_plane([frames_of("AV", 50), frames_of("KF", 300, 1)], 400)
    assert len(plane) == 250


def test_metrics_are_those_of_the_points_as_samples():
    plane = pooled_plane([frames_of("AV", 300), frames_of("KF", 300, 1)], 600)
    reference = frames_of("ACE-ALA-ALA-NME", 200, 2)
    points = np.split(points_of(reference), 2)
    for count in (600, 100):
        found = against_pooled(plane, reference, count)
        for one, own in zip(found, points, strict=True):
            truth = compare(own, plane[:count], RAMACHANDRAN)
            np.testing.assert_allclose(one.numbers, truth.numbers, rtol=1e-6)


def test_a_plane_of_the_molecule_itself_is_as_far_as_its_frames():
    one = frames_of("AV", 500)
    (found,) = against_pooled(pooled_plane([one], 500), one, 500)
    np.testing.assert_allclose(found.numbers, 0, atol=1e-12)


@pytest.mark.parametrize("training", [[], [frames_of("AV", 20), frames_of("KF", 20, bead_map="calpha")]])
def test_without_training_molecules_or_without_their_torsions_there_is_no_plane(training: list[FrameSet]):
    plane = pooled_plane(training, 100)
    assert plane.shape == (0, 2)
    assert against_pooled(plane, frames_of("AV", 20), 100) == []


def test_a_reference_without_torsions_is_not_compared():
    plane = pooled_plane([frames_of("AV", 20)], 20)
    assert against_pooled(plane, frames_of("KF", 20, bead_map="calpha"), 20) == []
