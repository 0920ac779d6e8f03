"""Judgements of sets whose distances are known."""

from pathlib import Path

import mdtraj
import numpy as np
import pytest

from fokker.analysis.evaluation import floor, floor_of, judge, judge_samples, lengths_of, mean
from fokker.analysis.metrics import (
    MUELLER_BROWN,
    RAMACHANDRAN,
    compare,
    histogram,
    js_divergence,
    js_floor,
)
from fokker.analysis.systems import System
from fokker.data.bead_map import BeadMap
from fokker.data.beads import Beads

ZERO = {name: {"js": 0.0, "pmf": 0.0} for name in ("paper", "corrected")}
TOY = System("toy", MUELLER_BROWN, 23.0, (0.5,))


def normal(seed: int, *shape: int) -> np.ndarray:
    return 0.3 * np.random.default_rng(seed).normal(size=(*shape, 2)).astype(np.float32)


def test_each_set_is_compared_with_the_reference_and_the_floor_with_itself():
    reference, samples, chains = normal(0, 4000), normal(1, 3000), normal(2, 30, 100)
    chains[3, 5] = np.nan
    lowest = compare(normal(3, 4000), normal(4, 3000), MUELLER_BROWN)
    found = judge(TOY, reference, samples, chains, lowest)
    finite = np.delete(chains.reshape(-1, 2), 305, axis=0)
    for kind, frames in (("iid", samples), ("sim", finite)):
        expected = compare(reference, frames, MUELLER_BROWN)
        assert {definition: found[definition][kind] for definition in expected} == expected
    assert {definition: found[definition]["floor"] for definition in lowest} == lowest
    assert "molecule" not in found


def test_the_error_of_a_simulation_grows_with_the_memory_of_its_chains():
    # Two states, (0, 0) and (1, 1); a chain changes at every frame or never.
    random = np.random.default_rng(0)
    fast = random.integers(2, size=(30, 100, 1)) * np.ones(2)
    slow = random.integers(2, size=(30, 1, 1)) * np.ones((100, 2))
    reference = np.repeat([[0.0, 0.0], [1.0, 1.0]], [1200, 800], axis=0)
    errors = [judge(TOY, reference, reference, chains, ZERO)["sim_error"]["js"] for chains in (fast, slow)]
    assert 0 < 3 * errors[0] < errors[1]


def parts_of(*sets: np.ndarray) -> np.ndarray:
    return np.stack([histogram(part, MUELLER_BROWN, MUELLER_BROWN.js_bins) for part in sets])


def floor_sim(reference: np.ndarray, chains: np.ndarray, lengths: tuple[int, ...] = ()) -> float:
    return judge(TOY, reference, reference, chains, ZERO, lengths)["corrected"]["floor_sim"]["js"]


def test_the_floor_of_a_simulation_is_told_from_its_chains_and_the_references_trajectories():
    reference, chains = normal(0, 4000), np.repeat(normal(2, 30, 10), 10, axis=1)
    chains[3, 5] = np.nan
    walked = parts_of(*(chain[np.isfinite(chain).all(axis=1)] for chain in chains))
    lengths = (500,) * 6 + (800, 200)
    cut = np.split(reference, np.cumsum(lengths)[:-1])
    assert floor_sim(reference, chains, lengths) == pytest.approx(js_floor(parts_of(*cut), walked))
    # Fewer than eight trajectories are cut into so many blocks that there are eight.
    blocks = [block for half in np.split(reference, [3000]) for block in np.array_split(half, 4)]
    assert floor_sim(reference, chains, (3000, 1000)) == pytest.approx(js_floor(parts_of(*blocks), walked))
    # Nothing known of it, or what cannot be of it: its frames are independent.
    for unknown in ((), (1000, 1000)):
        expected = js_floor(parts_of(reference), walked)
        assert floor_sim(reference, chains, unknown) == pytest.approx(expected)


def test_one_chain_tells_no_floor_of_its_own():
    one = normal(2, 1, 500)
    lost = np.concatenate([one, np.full_like(one, np.nan)])
    for chains in (one, lost):
        assert np.isnan(floor_sim(normal(0, 1000), chains))


def test_lengths_are_those_of_a_split():
    known = [{"name": "a", "split": "train", "frames": 5, "spacing": 1.0}]
    known += [{"name": "b", "split": "test", "frames": 7, "spacing": None}, {**known[0], "frames": 6}]
    assert lengths_of({"trajectories": known}, "train") == (5, 6)
    assert lengths_of({}, "train") == ()


def test_real_dynamics_lie_as_far_above_the_floor_of_independent_frames_as_their_chains_say():
    """30 ns of alanine dipeptide in windows of 100 ps: halves of them, and of their frames shuffled."""
    folder = Path(__file__).parents[3] / "shared/data/public/alanine-dipeptide-implicit"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    windows = []
    for path in sorted(folder.glob("*.dcd")):
        trajectory = mdtraj.load(path, top=folder / "ala2.pdb")
        angles = [mdtraj.compute_phi(trajectory)[1][:, 0], mdtraj.compute_psi(trajectory)[1][:, 0]]
        windows += np.array_split(np.stack(angles, axis=1), len(trajectory) // 100)
    counts = np.stack([histogram(window, RAMACHANDRAN, 64) for window in windows])
    frames, random = np.concatenate(windows), np.random.default_rng(0)
    found = []
    for _ in range(10):
        p, q = np.array_split(random.permutation(counts), 2)
        shuffled = np.array_split(random.permutation(frames), 2)
        found.append(
            (
                js_floor(p, q),
                js_floor(p.sum(axis=0)[None], q.sum(axis=0)[None]),
                js_divergence(p.sum(axis=0), q.sum(axis=0)),
                js_divergence(*(histogram(part, RAMACHANDRAN, 64) for part in shuffled)),
            )
        )
    own, independent, windowed, plain = np.mean(found, axis=0)
    assert own / independent == pytest.approx(windowed / plain, rel=0.05)
    assert own / independent > 1.05


@pytest.mark.parametrize("count", [2000, 5000, 20_000])
def test_the_floor_is_what_independent_draws_score(count: int):
    """Of fewer points than half of the reference, and of more, where it is carried on."""
    expected = [
        compare(normal(seed, 20_000), normal(100 + seed, count), MUELLER_BROWN)["corrected"]["js"]
        for seed in range(3)
    ]
    found = floor(normal(50, 20_000), count, MUELLER_BROWN, seed=0)
    assert found["corrected"]["js"] == pytest.approx(np.mean(expected), rel=0.15)
    assert 0 < found["corrected"]["pmf"] == found["paper"]["pmf"]


def test_a_molecule_is_judged_by_its_bonds_and_modes_too():
    beads = Beads.from_sequence("ACE-ALA-NME", BeadMap.parse("alanine-dipeptide"))
    system = System("ala", RAMACHANDRAN, 2.5, tuple(beads.masses), 10.0, beads, (0.14,) * 4)
    frames = np.random.default_rng(0).normal(size=(400, 5, 3)).astype(np.float32)
    stretched = 1.5 * frames
    chains = stretched.reshape(20, 20, 5, 3)
    found = judge(system, frames, frames, chains, ZERO)["molecule"]
    (first, *_), lengths = found["bonds"].items(), system.bonds(frames)[:, 0]
    label, bond = first
    assert label == "ACE1-C ALA2-N"
    assert bond["reference"] == pytest.approx([lengths.mean(), lengths.std()])
    assert bond["sim"] == pytest.approx([1.5 * lengths.mean(), 1.5 * lengths.std()], rel=1e-5)
    assert (bond["w1_iid"], bond["w1_sim"]) == pytest.approx((0, 0.5 * lengths.mean()), rel=1e-5)
    phi = system.points(frames)[:, 0]
    assert found["phi_positive"] == dict.fromkeys(("reference", "iid", "sim"), (phi > 0).mean())
    assert found["phi_crossings"] > 0


def test_a_longer_peptide_is_judged_residue_by_residue():
    beads = Beads.from_sequence("AGAS", BeadMap.parse("backbone"))
    system = System("agas", RAMACHANDRAN, 2.5, tuple(beads.masses), 10.0, beads, (0.14,) * len(beads.bonds))
    assert system.planes == ("GLY2", "ALA3")
    random = np.random.default_rng(0)
    reference, samples = random.normal(size=(2, 600, len(beads), 3)).astype(np.float32)
    chains = random.normal(size=(20, 30, len(beads), 3)).astype(np.float32)
    lowest = floor_of(system, reference, 600, 0)
    found = judge(system, reference, samples, chains, lowest)
    foreign = judge_samples(system, reference, samples)
    for kind, frames in (("iid", samples), ("sim", chains.reshape(-1, len(beads), 3))):
        each = [
            compare(system.points(reference, i), system.points(frames, i), RAMACHANDRAN) for i in range(2)
        ]
        for definition in ("paper", "corrected"):
            for i, name in enumerate(system.planes):
                assert found["residues"][name][definition][kind] == each[i][definition]
            for metric in ("js", "pmf"):
                mean_of = np.mean([part[definition][metric] for part in each])
                assert found[definition][kind][metric] == pytest.approx(mean_of)
                if kind == "iid":
                    assert foreign[definition]["samples"][metric] == pytest.approx(mean_of)
    floors = [floor(system.points(reference, i), 600, RAMACHANDRAN, 0) for i in range(2)]
    assert lowest["paper"]["js"] == pytest.approx(np.mean([part["paper"]["js"] for part in floors]))
    np.testing.assert_array_equal(system.points(reference), system.points(reference, 1))


def test_distances_of_alpha_carbons_are_judged_as_bonds_are():
    beads = Beads.from_sequence("AGA", BeadMap.parse("backbone"))
    system = System("aga", RAMACHANDRAN, 2.5, tuple(beads.masses), 10.0, beads, (0.14,) * len(beads.bonds))
    frames = np.random.default_rng(0).normal(size=(50, len(beads), 3)).astype(np.float32)
    found = judge_samples(system, frames, 2 * frames)["molecule"]["ca_distances"]
    assert [*found] == ["ALA1-CA GLY2-CA", "ALA1-CA ALA3-CA", "GLY2-CA ALA3-CA"]
    first, last = (beads.labels.index(name) for name in ("ALA1-CA", "ALA3-CA"))
    length = np.linalg.norm(frames[:, first] - frames[:, last], axis=-1)
    pair = found["ALA1-CA ALA3-CA"]
    assert pair["reference"] == pytest.approx([length.mean(), length.std()], rel=1e-5)
    assert pair["w1_samples"] == pytest.approx(length.mean(), rel=1e-5)


def test_frames_of_the_wrong_hand_are_counted():
    """One residue of three has no hand; another is D in every reference frame, as it may be on purpose."""
    beads = Beads.from_sequence("AGAS", BeadMap.parse("backbone"))
    system = System("agas", RAMACHANDRAN, 2.5, tuple(beads.masses), 10.0, beads, (0.14,) * len(beads.bonds))
    reference = np.random.default_rng(0).normal(size=(60, len(beads), 3)).astype(np.float32)
    for number, sign in ((0, 1), (2, 1), (3, -1)):
        n, ca, c, cb = (
            beads.labels.index(f"{beads.residues[number]}{number + 1}-{a}") for a in ("N", "CA", "C", "CB")
        )
        reference[:, [n, ca, c]] = [[1, 0, 0], [0, 0, 0], [0, 1, 0]]
        reference[:, cb] = [0, 0, sign]
    samples = reference.copy()
    samples[:6] *= -1
    samples[6, beads.labels.index("ALA3-CB")] *= -1
    counts = judge_samples(system, reference, samples)["molecule"]["mirror_images"]
    assert counts["reference"] == {"count": 60, "share": 1.0, "residues": {"SER4": 1.0}}
    assert counts["samples"]["count"] == 60
    assert counts["samples"]["residues"] == {"ALA1": 0.1, "ALA3": pytest.approx(7 / 60), "SER4": 0.9}
    chains = samples.reshape(6, 10, len(beads), 3)
    chains[0, :2] = np.nan  # Turned ones, which are left out.
    found = judge(system, reference, samples[6:], chains, ZERO)["molecule"]["mirror_images"]
    assert found["reference"] == counts["reference"]
    assert (found["iid"]["count"], found["sim"]["count"]) == (54, 58)
    assert found["sim"]["residues"]["ALA1"] == pytest.approx(4 / 58)
    bare = Beads.from_sequence("GG", BeadMap.parse("backbone"))
    system = System("gg", RAMACHANDRAN, 2.5, tuple(bare.masses), 10.0, bare, (0.14,) * len(bare.bonds))
    frames = np.random.default_rng(1).normal(size=(50, len(bare), 3)).astype(np.float32)
    assert judge_samples(system, frames, frames)["molecule"]["mirror_images"] is None


def test_means_and_their_spread_are_those_over_systems():
    def result(value: float) -> dict:
        kinds = {kind: {"js": value, "pmf": 10 * value} for kind in ("iid", "sim", "floor")}
        return {"paper": kinds, "corrected": kinds}

    found = mean([result(1.0), result(3.0)])
    assert found["paper"]["sim"] == {"js": 2.0, "pmf": 20.0}
    assert found["sd"]["corrected"]["iid"]["js"] == pytest.approx(np.sqrt(2))
    assert mean([result(1.0)]) == result(1.0)
