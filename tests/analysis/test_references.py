"""Kinetics of references from files, beside the Markov chains that they were written from."""

from pathlib import Path

import mdtraj
import numpy as np
import pytest

from fokker.analysis.references import Reference
from fokker.analysis.systems import System
from fokker.analysis.transitions import PHI, kinetics_of
from fokker.data.dataset.convert import convert_all, finish_conversion
from fokker.data.dataset.shards import Dataset
from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads
from fokker.data.readers.layouts import open_source
from fokker.data.readers.pooling import pool
from fokker.distributed.campaigns.assessment import reference_of

from .statistics.test_kinetics import markov

PUBLIC = Path(__file__).parents[2] / ".." / "shared" / "data" / "public"
MAP = BeadMap.parse("alanine-dipeptide")
BEADS = Beads.from_sequence("ACE-ALA-NME", MAP)
LEFT, RIGHT = PHI.names


def public(name: str) -> Path:
    folder = PUBLIC / name
    if not folder.is_dir():
        pytest.skip(f"../shared/data/public has no {name}: its kinetics are not compared with known ones")
    return folder


def frames_at(phi: np.ndarray) -> np.ndarray:
    """Alanine dipeptide of such torsions (degrees) C-N-CA-C, and bonds of one length."""
    angle = np.radians(phi)
    found, bond, flat = np.zeros((len(phi), 5, 3)), 0.14, np.zeros(len(phi))
    found[:, 0] = 0.14 * np.array([-0.34, 0.94, 0])
    found[:, 2] = (bond, 0, 0)
    found[:, 3] = found[:, 2] + bond * np.stack([flat + 0.34, 0.94 * np.cos(angle), 0.94 * np.sin(angle)], 1)
    found[:, 4] = found[:, 3] + (bond, 0, 0)
    return found


def converted(folder: Path, out: Path) -> Dataset:
    pools = pool(open_source(folder, bead_map=MAP), MAP)
    convert_all(pools, MAP, out)
    return finish_conversion(out, pools, {"name": "test"})


def system_of(dataset: Dataset) -> System:
    (name,) = dataset.systems
    about = dataset.description(name)
    return System.molecule(name, Beads.from_json(about["beads"]), about["bond_means"], 300.0, dataset.norm)


def written(folder: Path, chains: list[np.ndarray], spacing: float | None, ending: str = "xtc") -> Path:
    """A trajectory for each chain of states, which are torsions in one core or the other."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for number, chain in enumerate(chains):
        phi = np.where(chain == 0, -80, 60) + random.uniform(-15, 15, len(chain))
        times = None if spacing is None else spacing * np.arange(len(chain))
        trajectory = mdtraj.Trajectory(frames_at(phi), BEADS.topology(), time=times)
        trajectory.save(str(folder / f"run-{number}.{ending}"))
    mdtraj.Trajectory(frames_at(np.array([-80.0])), BEADS.topology()).save_pdb(str(folder / "top.pdb"))
    return folder


def reference_from(dataset: Dataset) -> Reference:
    return reference_of(dataset.directory, "train", system_of(dataset))


def test_a_markov_chain_that_was_written_as_trajectories_has_its_timescale(tmp_path: Path):
    """t₂ = −Δ/ln(1 − p − q), mean times Δ/p and Δ/q; compared with another pace of the same."""
    pytest.importorskip("deeptime")
    p, q, spacing = 0.03, 0.06, 2.0
    chains = markov(np.array([[1 - p, p], [q, 1 - q]]), 5, 6000)
    dataset = converted(written(tmp_path / "in", chains, spacing), tmp_path / "out")
    assert dataset.trajectories(dataset.systems[0], "train") == ([6000] * 5, spacing)
    reference = reference_from(dataset)
    assert (reference.spacing, [len(one) for one in reference.states]) == (spacing, [6000] * 5)
    assert len(reference.reductions) == 10, "parts are blocks of them"
    faster = markov(np.array([[1 - 4 * p, 4 * p], [4 * q, 1 - 4 * q]]), 20, 6000, seed=1)
    found = kinetics_of(PHI, faster, 0.1, reference)
    assert found.reference is not None
    slowest, model = -spacing / np.log(1 - p - q), -0.1 / np.log(1 - 4 * (p + q))
    assert found.reference.slowest == pytest.approx(slowest, rel=0.1)
    assert found.ratio == pytest.approx(model / slowest, rel=0.1)
    for name, rate in ((f"{LEFT} to {RIGHT}", p), (f"{RIGHT} to {LEFT}", q)):
        seen = found.reference.rates[name]
        assert seen.low < rate / spacing < seen.high
        assert seen.first_passage == pytest.approx(spacing / rate, rel=0.1)
    counts = sum(int((np.diff(chain) != 0).sum()) for chain in chains)
    assert sum(rate.count for rate in found.reference.rates.values()) == counts, "none across two files"
    assert max(found.distances[1:]) < 0.05


@pytest.mark.parametrize(("spacing", "ending"), [(None, "dcd"), (2.0, "xtc")], ids=["untimed", "shuffled"])
def test_frames_that_are_not_known_to_be_in_order_of_time_have_no_kinetics(
    tmp_path: Path, spacing: float | None, ending: str
):
    """Of a file without them (mdtraj's DCD), and of times that go to and fro."""
    chains = markov(np.array([[0.9, 0.1], [0.1, 0.9]]), 2, 200)
    folder = written(tmp_path / "in", chains, spacing, ending)
    if spacing is not None:
        path = folder / "run-1.xtc"
        whole = mdtraj.load(path, top=folder / "top.pdb")
        whole[np.random.default_rng(0).permutation(len(whole))].save_xtc(str(path))
    dataset = converted(folder, tmp_path / "out")
    assert dataset.trajectories(dataset.systems[0], "train") == ([200, 200], None)
    reference = reference_from(dataset)
    assert (reference.spacing, reference.states) == (None, ())
    found = kinetics_of(PHI, chains, 1.0, reference)
    assert (found.reference, found.ratio, found.distances) == (None, None, [])


def counted(trajectories: list[mdtraj.Trajectory]) -> tuple[int, int]:
    """Frames in or after a core, but for the last of each, and changes of core: by hand."""
    frames = changes = 0
    for trajectory in trajectories:
        phi, last = np.degrees(mdtraj.compute_phi(trajectory)[1][:, 0]), None
        cores = [LEFT if -150 <= x <= -40 else RIGHT if 40 <= x <= 80 else None for x in phi]
        for number, core in enumerate(cores):
            changes += last is not None and core is not None and core != last
            last = core or last
            frames += last is not None and number < len(cores) - 1
    return frames, changes


def test_short_trajectories_of_alanine_dipeptide_have_the_transitions_that_are_counted_by_hand(
    tmp_path: Path,
):
    folder = public("alanine-dipeptide-replicas")
    reference = reference_from(converted(folder, tmp_path / "out"))
    assert reference.spacing == 1.0
    assert [len(states) for states in reference.states] == [501] * 10
    files = sorted(folder.glob("*/*.xtc"))
    frames, changes = counted([mdtraj.load(path, top=folder / "native.pdb") for path in files])
    found = kinetics_of(PHI, reference.states, 1.0, None).model
    assert sum(rate.count for rate in found.rates.values()) == changes
    assert sum(rate.time for rate in found.rates.values()) == frames


def test_long_trajectories_of_alanine_dipeptide_never_cross_and_say_how_slow_that_is(tmp_path: Path):
    """Their headers tell the step, of OpenMM: a frame every ps."""
    pytest.importorskip("deeptime")
    folder = public("alanine-dipeptide-implicit")
    reference = reference_from(converted(folder, tmp_path / "out"))
    trajectories = [mdtraj.load(path, top=folder / "ala2.pdb") for path in sorted(folder.glob("*.dcd"))]
    assert reference.spacing == 1.0
    assert [len(states) for states in reference.states] == [len(one) for one in trajectories]
    frames, changes = counted(trajectories)
    crossing = markov(np.array([[0.99, 0.01], [0.01, 0.99]]), 4, 2000)
    found = kinetics_of(PHI, crossing, 1.0, reference)
    assert found.reference is not None
    rate = found.reference.rates[f"{LEFT} to {RIGHT}"]
    assert (rate.count, rate.time) == (changes, frames) == (0, frames)
    assert rate.below == pytest.approx(3 / frames, rel=0.01)
    assert found.note is not None
    assert "are not resolved" in found.note
    assert found.ratio is None
