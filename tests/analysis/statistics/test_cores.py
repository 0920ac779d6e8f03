"""Cores and milestones against places and sequences worked out by hand."""

from math import pi

import numpy as np
import pytest

from fokker.analysis.statistics.cores import Arcs, Discs, milestones


def points(*values: tuple[float, ...]) -> np.ndarray:
    return np.array(values, float)


def angles(*values: float) -> np.ndarray:
    return np.array(values, float)[:, None]


def test_arcs_go_upwards_and_through_pi():
    cores = Arcs(((-0.5, 0.5), (2.5, -2.5)))
    inside = angles(-0.5, 0, 0.5, 2.5, 3.1, -3.1, pi, -pi, -2.5, 2.5 + 2 * pi)
    assert cores(inside).tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 1, 1]
    assert cores(angles(-0.6, 0.6, 2.4, -2.4)).tolist() == [-1] * 4
    # Of several axes the first is the angle.
    assert cores(points((0, 3), (3, 0), (1, 0))).tolist() == [0, 1, -1]


def test_discs_lie_in_the_plane_or_on_the_torus():
    centres, radii = ((0.0, 0.0), (3.0, -3.0)), (1.0, 0.5)
    some = points((0.6, 0.8), (0.8, 0.8), (3, -2.5), (-3, 3), (0, 0))
    assert Discs(centres, radii)(some).tolist() == [0, -1, 1, -1, 0]
    assert Discs(centres, radii, periodic=True)(some).tolist() == [0, -1, 1, 1, 0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Arcs(((0.0, 1.0), (0.9, 2.0))),
        lambda: Arcs(((-3.0, 3.0), (-1.0, 1.0))),
        lambda: Arcs(((3.0, -3.0), (-3.1, 0.0))),
        lambda: Discs(((0.0, 0.0), (1.0, 0.0)), (0.5, 0.5)),
        lambda: Discs(((3.0, 0.0), (-3.0, 0.0)), (0.2, 0.2), periodic=True),
    ],
)
def test_cores_that_overlap_are_an_error(make):
    with pytest.raises(ValueError, match="cores 0 and 1 overlap"):
        make()


def test_cores_that_do_not_overlap_on_the_other_side_are_none():
    Discs(((3.0, 0.0), (-3.0, 0.0)), (0.2, 0.2))
    Arcs(((3.0, -3.0), (-2.9, 2.9)))


def test_every_disc_has_a_radius_and_every_arc_a_length():
    with pytest.raises(ValueError, match="2 centres of discs and 1 radii"):
        Discs(((0.0, 0.0), (3.0, 0.0)), (0.5,))
    for arc in ((1.0, 1.0), (-pi, pi)):
        with pytest.raises(ValueError, match="no length or is the whole circle"):
            Arcs((arc,))


def test_a_milestone_lasts_until_the_next_core():
    values = points((9,), (9,), (0,), (9,), (0,), (1,), (9,), (9,), (0,))
    found = milestones(values, lambda some: np.where(some[:, 0] < 5, some[:, 0].astype(int), -1))
    assert found.tolist() == [-1, -1, 0, 0, 0, 1, 1, 1, 0]


def test_no_frames_and_no_cores_have_no_milestones():
    assert milestones(np.zeros((0, 1)), Arcs(((0.0, 1.0),))).tolist() == []
    assert milestones(angles(2, 3), Arcs(((0.0, 1.0),))).tolist() == [-1, -1]


def test_trembling_on_a_barrier_is_no_transition():
    values = angles(0, *([0.9, 1.1] * 50), 0)
    found = milestones(values, Arcs(((-0.5, 0.5), (1.5, 2.5))))
    assert set(found.tolist()) == {0}


def test_a_chain_ends_where_it_goes_bad():
    with pytest.raises(ValueError, match="frame 1 of the chain is not finite: cut the chain before it"):
        milestones(angles(0, np.nan, 1), Arcs(((0.0, 1.0),)))
