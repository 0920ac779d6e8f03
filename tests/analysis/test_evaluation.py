"""Judgements of sets whose distances are known."""

import numpy as np
import pytest

from fokker.analysis.evaluation import judge, mean, resampled
from fokker.analysis.metrics import MUELLER_BROWN, RAMACHANDRAN, compare
from fokker.analysis.systems import System
from fokker.data.bead_map import BeadMap
from fokker.data.beads import Beads

TOY = System("toy", MUELLER_BROWN, 23.0, (0.5,))


def normal(seed: int, *shape: int) -> np.ndarray:
    return 0.3 * np.random.default_rng(seed).normal(size=(*shape, 2)).astype(np.float32)


def test_each_set_is_compared_with_the_reference_and_the_floor_with_itself():
    reference, samples, chains = normal(0, 4000), normal(1, 3000), normal(2, 30, 100)
    chains[3, 5] = np.nan
    floor = normal(3, 4000), normal(4, 3000)
    found = judge(TOY, reference, samples, chains, floor)
    finite = np.delete(chains.reshape(-1, 2), 305, axis=0)
    for kind, pair in (("iid", (reference, samples)), ("sim", (reference, finite)), ("floor", floor)):
        expected = compare(*pair, MUELLER_BROWN)
        assert {definition: found[definition][kind] for definition in expected} == expected
    assert "molecule" not in found


def test_the_error_of_a_simulation_grows_with_the_memory_of_its_chains():
    # Two states, (0, 0) and (1, 1); a chain changes at every frame or never.
    random = np.random.default_rng(0)
    fast = random.integers(2, size=(30, 100, 1)) * np.ones(2)
    slow = random.integers(2, size=(30, 1, 1)) * np.ones((100, 2))
    reference = np.repeat([[0.0, 0.0], [1.0, 1.0]], [1200, 800], axis=0)
    errors = [
        judge(TOY, reference, reference, chains, (reference, reference))["sim_error"]["js"]
        for chains in (fast, slow)
    ]
    assert 0 < 3 * errors[0] < errors[1]


def test_a_resampled_reference_lies_as_far_away_as_independent_draws():
    reference = normal(0, 20_000)
    drawn = compare(resampled(reference, 20_000, 0), resampled(reference, 5000, 1), MUELLER_BROWN)
    independent = compare(reference, normal(1, 5000), MUELLER_BROWN)
    for definition in drawn:
        assert drawn[definition]["js"] == pytest.approx(independent[definition]["js"], rel=0.2)


def test_a_molecule_is_judged_by_its_bonds_and_modes_too():
    beads = Beads.from_sequence("ACE-ALA-NME", BeadMap.parse("alanine-dipeptide"))
    system = System("ala", RAMACHANDRAN, 2.5, tuple(beads.masses), 10.0, beads, (0.14,) * 4)
    frames = np.random.default_rng(0).normal(size=(400, 5, 3)).astype(np.float32)
    stretched = 1.5 * frames
    chains = stretched.reshape(20, 20, 5, 3)
    found = judge(system, frames, frames, chains, (frames, frames))["molecule"]
    (first, *_), lengths = found["bonds"].items(), system.bonds(frames)[:, 0]
    label, bond = first
    assert label == "ACE1-C ALA2-N"
    assert bond["reference"] == pytest.approx([lengths.mean(), lengths.std()])
    assert bond["sim"] == pytest.approx([1.5 * lengths.mean(), 1.5 * lengths.std()], rel=1e-5)
    assert (bond["w1_iid"], bond["w1_sim"]) == pytest.approx((0, 0.5 * lengths.mean()), rel=1e-5)
    phi = system.points(frames)[:, 0]
    assert found["phi_positive"] == dict.fromkeys(("reference", "iid", "sim"), (phi > 0).mean())
    assert found["phi_crossings"] > 0


def test_means_and_their_spread_are_those_over_systems():
    def result(value: float) -> dict:
        kinds = {kind: {"js": value, "pmf": 10 * value} for kind in ("iid", "sim", "floor")}
        return {"paper": kinds, "corrected": kinds}

    found = mean([result(1.0), result(3.0)])
    assert found["paper"]["sim"] == {"js": 2.0, "pmf": 20.0}
    assert found["sd"]["corrected"]["iid"]["js"] == pytest.approx(np.sqrt(2))
    assert mean([result(1.0)]) == result(1.0)
