"""Molecules are judged by their torsions, and those that have none by the lengths that they have."""

from itertools import combinations

import numpy as np
import pytest

from fokker.analysis.metrics import RAMACHANDRAN, histogram
from fokker.analysis.projections import MOST_DISTANCES, far_pairs, projections_of
from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads
from fokker.data.molecules.residues import MoleculeError

from .points import pmf_histogram


def beads_of(sequence: str, bead_map: str) -> Beads:
    return Beads.from_sequence(sequence, BeadMap.parse(bead_map))


def names(beads: Beads) -> list[str]:
    return [projection.name for projection in projections_of(beads, [0.4] * len(beads.bonds), 0.2)]


def test_torsions_of_every_residue_come_first():
    beads = beads_of("AGAS", "backbone")
    found = projections_of(beads, [0.14] * len(beads.bonds), 1.0)
    assert [projection.name for projection in found] == ["GLY2", "ALA3"]
    assert {projection.grid for projection in found} == {RAMACHANDRAN}
    assert found[0](np.random.default_rng(0).normal(size=(4, 5, len(beads), 3))).shape == (4, 5, 2)


@pytest.mark.parametrize(
    ("sequence", "bead_map", "expected"),
    [
        ("AGA", "calpha", ["ALA1-CA GLY2-CA", "GLY2-CA ALA3-CA", "ALA1-CA ALA3-CA"]),
        ("A", "name N or name CA or name C", ["ALA1-N ALA1-CA", "ALA1-CA ALA1-C", "ALA1-N ALA1-C"]),
        ("AA", "name CB", ["ALA1-CB ALA2-CB"]),
    ],
)
def test_without_torsions_bonds_and_other_distances_stand_for_them(
    sequence: str, bead_map: str, expected: list[str]
):
    assert sorted(names(beads_of(sequence, bead_map))) == sorted(expected)


def test_a_distance_is_compared_on_bins_that_its_chain_can_reach():
    beads = beads_of("AGA", "calpha")
    first, _, last = projections_of(beads, [0.38, 0.36], 0.2)
    assert first.grid.limits == ((pytest.approx(0.85 * 0.38), pytest.approx(1.15 * 0.38)),)
    assert last.grid.limits == ((0.0, pytest.approx(1.1 * 0.74)),)
    (alone,) = projections_of(beads_of("AA", "name CB"), [], 0.2)
    assert alone.grid.limits == ((0.0, pytest.approx(1.6)),), "where no bonds join them"
    frames = np.random.default_rng(0).normal(size=(500, 3, 3))
    points = last(frames)
    lengths = np.linalg.norm(frames[:, 0] - frames[:, 2], axis=-1)
    np.testing.assert_allclose(points, lengths[:, None], rtol=1e-12)
    clipped = np.clip(lengths, *last.grid.limits[0])
    np.testing.assert_array_equal(
        histogram(points, last.grid), np.histogram(clipped, bins=64, range=last.grid.limits[0])[0]
    )
    assert pmf_histogram(points, last.grid)[-1] == (lengths >= last.grid.limits[0][1]).sum()


def test_of_many_distances_so_many_are_taken_from_all_of_the_chain():
    beads = beads_of("A" * 20, "calpha")
    pairs = far_pairs(beads)
    assert len(pairs) == MOST_DISTANCES < len([*combinations(range(20), 2)]) - 19
    assert {bead for pair in pairs for bead in pair} == {*range(20)}
    assert len(names(beads)) == MOST_DISTANCES


def test_a_single_bead_cannot_be_judged():
    with pytest.raises(MoleculeError, match="one bead has no distance and no torsion"):
        projections_of(beads_of("A", "calpha"), [], 0.2)
