"""Judgements of sets whose distances are known."""

from collections.abc import Sequence
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from fokker.analysis.evaluation import (
    RESAMPLES,
    compared,
    floor_against,
    floor_of,
    judge,
    judge_samples,
    parts_of,
)
from fokker.analysis.metrics import (
    MUELLER_BROWN,
    RAMACHANDRAN,
    Spread,
    histogram,
    js_divergence,
    js_floor,
)
from fokker.analysis.reduction import FrameSet, Totals, draws_of, held, in_parts, reduce
from fokker.analysis.results import Comparison, FrameCounts, Scores, SimulationCounts, Structure, SystemResult
from fokker.analysis.systems import System
from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads

from .points import compare, spread_of_parts

TOY = System.particle("toy", 23.0, 0.5)
ZERO = Comparison(Scores(0.0, 0.0), Scores(0.0, 0.0))
COUNTS = FrameCounts(0, 0, 0, 0, 0)
HEAT = SimulationCounts(0, 0, 0, 0, 0, temperature=23.0, kinetic_temperature=None, step_temperature=None)


def normal(seed: int, *shape: int) -> np.ndarray:
    return 0.3 * np.random.default_rng(seed).normal(size=(*shape, 2)).astype(np.float32)


def molecule(sequence: str, bead_map: str = "backbone", bond: float = 0.14) -> System:
    beads = Beads.from_sequence(sequence, BeadMap.parse(bead_map))
    return System.molecule(sequence, beads, [bond] * len(beads.bonds), 300.0, 10.0)


def simulated(system: System, chains: np.ndarray) -> FrameSet:
    """As chunks of three chains are committed and added."""
    finite = chains[system.finite(chains)]
    chunks = [chains[begin : begin + 3] for begin in range(0, len(chains), 3)]
    parts = [np.repeat(np.arange(len(some)), chains.shape[1]) for some in chunks]
    reductions = (
        reduce(system, some.reshape(-1, *system.shape), part, len(some))
        for some, part in zip(chunks, parts, strict=True)
    )
    draws = draws_of(len(chains), RESAMPLES) if len(chains) > 1 else None
    return FrameSet(Totals(system, reductions, draws), lambda: iter([finite]))


def judged(
    system: System,
    reference: np.ndarray,
    samples: np.ndarray,
    chains: np.ndarray,
    floor: Sequence[Comparison] | None = None,
    lengths: Sequence[int] | None = None,
) -> SystemResult:
    parts = in_parts(system, held(system, reference).blocks, lengths or [len(reference)])
    lowest = floor or [ZERO] * len(system.projections)
    sets = parts, held(system, samples), simulated(system, chains)
    return judge(system, *sets, lowest, COUNTS, HEAT, crossings=7)


def structure_of(found: SystemResult) -> Structure:
    assert found.molecule is not None
    return found.molecule


def test_each_set_is_compared_with_the_reference_and_the_floor_with_itself():
    reference, samples, chains = normal(0, 4000), normal(1, 3000), normal(2, 30, 100)
    chains[3, 5] = np.nan
    lowest = compare(normal(3, 4000), normal(4, 3000), MUELLER_BROWN)
    found = judged(TOY, reference, samples, chains, [lowest])
    finite = np.delete(chains.reshape(-1, 2), 305, axis=0)
    for kind, frames in (("iid", samples), ("sim", finite)):
        expected = compare(reference, frames, MUELLER_BROWN)
        assert (found.paper[kind], found.corrected[kind]) == (expected.paper, expected.corrected)
    assert (found.paper["floor"], found.corrected["floor"]) == (lowest.paper, lowest.corrected)
    assert found.molecule is None


def test_streams_score_what_all_frames_at_once_do():
    """To the last bit: also the paper's JS, whose bins end at the extremes of both sets."""
    system = molecule("AGAS")
    random = np.random.default_rng(0)
    reference, other = random.normal(size=(2, 900, *system.shape)).astype(np.float32)
    sets = (in_parts(system, lambda s=s: iter(np.array_split(s, 7)), [900]) for s in (reference, other))
    assert compared(*sets) == [
        compare(projection(reference), projection(other), projection.grid)
        for projection in system.projections
    ]


def test_the_error_of_a_simulation_grows_with_the_memory_of_its_chains():
    # Two states, (0, 0) and (1, 1); a chain changes at every frame or never.
    random = np.random.default_rng(0)
    fast = random.integers(2, size=(30, 100, 1)) * np.ones(2)
    slow = random.integers(2, size=(30, 1, 1)) * np.ones((100, 2))
    reference = np.repeat([[0.0, 0.0], [1.0, 1.0]], [1200, 800], axis=0)
    errors = [judged(TOY, reference, reference, chains).sim_error for chains in (fast, slow)]
    assert errors[0] is not None
    assert errors[1] is not None
    assert 0 < 3 * errors[0].js < errors[1].js


def spread_of(*sets: np.ndarray) -> Spread:
    return spread_of_parts(np.stack([histogram(part, MUELLER_BROWN) for part in sets]))


def floor_sim(reference: np.ndarray, chains: np.ndarray, lengths: Sequence[int] | None = None) -> float:
    return judged(TOY, reference, reference, chains, lengths=lengths).corrected["floor_sim"].js


def test_the_floor_of_a_simulation_is_told_from_its_chains_and_the_references_trajectories():
    reference, chains = normal(0, 4000), np.repeat(normal(2, 30, 10), 10, axis=1)
    chains[3, 5] = np.nan
    walked = spread_of(*(chain[np.isfinite(chain).all(axis=1)] for chain in chains))
    lengths = (500,) * 6 + (800, 200)
    cut = np.split(reference, np.cumsum(lengths)[:-1])
    assert floor_sim(reference, chains, lengths) == pytest.approx(js_floor(spread_of(*cut), walked))
    assert floor_sim(reference, chains) == pytest.approx(js_floor(spread_of(reference), walked))
    assert judged(TOY, reference, reference, chains).paper.keys() == {"iid", "sim", "floor"}


def test_a_reference_consists_of_its_trajectories_and_of_blocks_where_there_are_few():
    known = (("train", 3000), ("test", 7), ("train", 1001))
    system = System.particle("toy", 23.0, 0.5, known)
    assert parts_of(system, "train", 4001) == [750] * 4 + [251, 250, 250, 250]
    many = System.particle("toy", 23.0, 0.5, [("train", 500)] * 6 + [("train", 800), ("train", 200)])
    assert parts_of(many, "train", 4000) == [500] * 6 + [800, 200]
    # Nothing known of it, or what cannot be of it: its frames are independent.
    for split, frames in (("validation", 100), ("train", 4000)):
        assert parts_of(system, split, frames) == [frames]


def test_one_chain_tells_no_floor_of_its_own():
    one = normal(2, 1, 500)
    lost = np.concatenate([one, np.full_like(one, np.nan)])
    for chains in (one, lost):
        assert np.isnan(floor_sim(normal(0, 1000), chains))


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
    counts = np.stack([histogram(window, RAMACHANDRAN) for window in windows])
    frames, random = np.concatenate(windows), np.random.default_rng(0)
    found = []
    for _ in range(10):
        p, q = np.array_split(random.permutation(counts), 2)
        shuffled = np.array_split(random.permutation(frames), 2)
        found.append(
            (
                js_floor(spread_of_parts(p), spread_of_parts(q)),
                js_floor(spread_of_parts(p.sum(axis=0)[None]), spread_of_parts(q.sum(axis=0)[None])),
                js_divergence(p.sum(axis=0), q.sum(axis=0)),
                js_divergence(*(histogram(part, RAMACHANDRAN) for part in shuffled)),
            )
        )
    own, independent, windowed, plain = np.mean(found, axis=0)
    assert own / independent == pytest.approx(windowed / plain, rel=0.05)
    assert own / independent > 1.05


@pytest.mark.parametrize("count", [2000, 5000, 20_000])
def test_the_floor_is_what_independent_draws_score(count: int):
    """Of fewer points than half of the reference, and of more, where it is carried on."""
    expected = [
        compare(normal(seed, 20_000), normal(100 + seed, count), MUELLER_BROWN).corrected.js
        for seed in range(3)
    ]
    (found,) = floor_of(held(TOY, normal(50, 20_000)), count, seed=0)
    assert found.corrected.js == pytest.approx(np.mean(expected), rel=0.15)
    assert 0 < found.corrected.pmf == found.paper.pmf


def test_a_floor_is_drawn_from_disjoint_halves_of_whole_frames():
    """As the mean of three draws of all points at once gives it."""
    points, random = normal(50, 3000), np.random.default_rng(5)
    size = int(2 / (1 / 3000 + 1 / 500))
    drawn = [random.permutation(points)[: 2 * size] for _ in range(3)]
    each = [compare(pair[:size], pair[size:], MUELLER_BROWN).numbers for pair in drawn]
    (found,) = floor_of(held(TOY, points), 500, seed=5)
    np.testing.assert_allclose(found.numbers, np.mean(each, axis=0), rtol=1e-12)


@pytest.mark.parametrize("count", [200, 5000])
def test_an_independent_reference_gives_the_floor_where_there_is_one(count: int):
    """Of as many frames, or of all that it has."""
    reference, other = normal(0, 4000), normal(1, 3000)
    drawn = np.random.default_rng(0).choice(3000, min(count, 3000), replace=False)
    (found,) = floor_against(held(TOY, reference), held(TOY, other), count)
    assert found == compare(reference, other[np.sort(drawn)], MUELLER_BROWN)


def test_a_molecule_is_judged_by_its_bonds_and_modes_too():
    system = molecule("ACE-ALA-NME", "alanine-dipeptide")
    frames = np.random.default_rng(0).normal(size=(400, 5, 3)).astype(np.float32)
    stretched = 1.5 * frames
    found = structure_of(judged(system, frames, frames, stretched.reshape(20, 20, 5, 3)))
    (first, *_), lengths = found.bonds.items(), np.linalg.norm(frames[:, 0] - frames[:, 1], axis=-1)
    label, bond = first
    assert label == "ACE1-C ALA2-N"
    assert bond.spread["reference"] == pytest.approx((lengths.mean(), lengths.std()))
    assert bond.spread["sim"] == pytest.approx((1.5 * lengths.mean(), 1.5 * lengths.std()), rel=1e-5)
    assert bond.w1 == pytest.approx({"iid": 0, "sim": 0.5 * lengths.mean()}, rel=1e-5)
    phi, torsions = system.phi(frames), found.torsions
    assert torsions is not None
    assert torsions.phi_positive == dict.fromkeys(("reference", "iid", "sim"), (phi > 0).mean())
    assert torsions.phi_crossings == 7


def test_a_longer_peptide_is_judged_residue_by_residue():
    system = molecule("AGAS")
    random = np.random.default_rng(0)
    reference, samples = random.normal(size=(2, 600, *system.shape)).astype(np.float32)
    chains = random.normal(size=(20, 30, *system.shape)).astype(np.float32)
    lowest = floor_of(held(system, reference), 600, 0)
    found = judged(system, reference, samples, chains, lowest)
    foreign = judge_samples(system, reference, samples)
    assert [*found.projections] == [*foreign.projections] == ["GLY2", "ALA3"]
    for kind, frames in (("iid", samples), ("sim", chains.reshape(-1, *system.shape))):
        each = [compare(one(reference), one(frames), RAMACHANDRAN) for one in system.projections]
        for one, part in zip(each, found.projections.values(), strict=True):
            assert (part.paper[kind], part.corrected[kind]) == (one.paper, one.corrected)
        mean = Comparison.of(np.mean([one.numbers for one in each], axis=0))
        assert (found.paper[kind], found.corrected[kind]) == (mean.paper, mean.corrected)
        if kind == "iid":
            assert foreign.paper["samples"] == mean.paper
    assert found.paper["floor"].js == pytest.approx(np.mean([part.paper.js for part in lowest]))
    np.testing.assert_array_equal(system.shown(reference), system.projections[1](reference))


def test_distances_of_alpha_carbons_are_judged_as_bonds_are():
    system = molecule("AGA")
    assert system.beads is not None
    frames = np.random.default_rng(0).normal(size=(50, *system.shape)).astype(np.float32)
    found = judge_samples(system, frames, 2 * frames).molecule
    assert found is not None
    assert [*found.distances] == ["ALA1-CA GLY2-CA", "ALA1-CA ALA3-CA", "GLY2-CA ALA3-CA"]
    first, last = (system.beads.labels.index(name) for name in ("ALA1-CA", "ALA3-CA"))
    length = np.linalg.norm(frames[:, first] - frames[:, last], axis=-1)
    pair = found.distances["ALA1-CA ALA3-CA"]
    assert pair.spread["reference"] == pytest.approx((length.mean(), length.std()), rel=1e-5)
    assert pair.w1["samples"] == pytest.approx(length.mean(), rel=1e-5)


def test_beads_without_torsions_are_judged_by_their_lengths_alone():
    system = molecule("AGA", "calpha", bond=0.38)
    random = np.random.default_rng(0)
    line = np.array([[0, 0, 0], [0.38, 0, 0], [0.38, 0.38, 0]])
    reference, samples = line + 0.02 * random.normal(size=(2, 2000, 3, 3))
    chains = line + 0.05 * random.normal(size=(20, 100, 3, 3))
    found = judged(system, reference, samples, chains, floor_of(held(system, reference), 2000, 0))
    assert [*found.projections] == ["ALA1-CA GLY2-CA", "GLY2-CA ALA3-CA", "ALA1-CA ALA3-CA"]
    for part in (found, *found.projections.values()):
        for metric in ("js", "pmf"):
            iid, sim, floor = (getattr(part.corrected[kind], metric) for kind in ("iid", "sim", "floor"))
            assert 0 < iid < 2 * floor < sim
    structure = structure_of(found)
    assert (structure.torsions, structure.mirror_images) == (None, None)
    assert [*structure.bonds, *structure.distances] == [*found.projections]


def test_frames_of_the_wrong_hand_are_counted():
    """One residue of three has no hand; another is D in every reference frame, as it may be on purpose."""
    system = molecule("AGAS")
    beads = system.beads
    assert beads is not None
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
    foreign = judge_samples(system, reference, samples).molecule
    assert foreign is not None
    counts = foreign.mirror_images
    assert counts is not None
    assert (counts["reference"].count, counts["reference"].share) == (60, 1.0)
    assert counts["reference"].residues == {"SER4": 1.0}
    assert counts["samples"].count == 60
    assert counts["samples"].residues == {"ALA1": 0.1, "ALA3": pytest.approx(7 / 60), "SER4": 0.9}
    chains = samples.reshape(6, 10, len(beads), 3)
    chains[0, :2] = np.nan  # Turned ones, which are left out.
    found = structure_of(judged(system, reference, samples[6:], chains)).mirror_images
    assert found is not None
    assert found["reference"] == counts["reference"]
    assert (found["iid"].count, found["sim"].count) == (54, 58)
    assert found["sim"].residues["ALA1"] == pytest.approx(4 / 58)
    bare = molecule("GG")
    frames = np.random.default_rng(1).normal(size=(50, *bare.shape)).astype(np.float32)
    without = judge_samples(bare, frames, frames).molecule
    assert without is not None
    assert without.mirror_images is None
