"""Missing bonds are other chains or gaps; bonds that are long in some frames only stay bonds."""

from pathlib import Path

import mdtraj
import numpy as np
import pytest

from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads, map_beads
from fokker.data.molecules.chains import standard_topology
from fokker.data.molecules.residues import MoleculeError, format_sequence, standard_residue
from fokker.data.readers.formats import Trajectory
from fokker.data.readers.gaps import without_gaps
from fokker.data.readers.sources import Source, coarse_frames

from ..examples import coarse_grain, made_up, real

BACKBONE, CALPHA = BeadMap.parse("backbone"), BeadMap.parse("calpha")
Molecule = tuple[mdtraj.Topology, np.ndarray]


def sequence_of(topology: mdtraj.Topology) -> str:
    chains = [[standard_residue(residue.name) for residue in chain.residues] for chain in topology.chains]
    return format_sequence([name for name in chain if name] for chain in chains if chain)


def one_chain(*molecules: Molecule, numbers: str = "restart") -> Molecule:
    """Molecules one after the other in one chain, each 3 nm further along (1, 1, 1), standard bonds joined.

    Their numbers restart, go on, or jump.
    """
    topology, count = mdtraj.Topology(), 0
    chain = topology.add_chain()
    for molecule, _ in molecules:
        count = {"restart": 0, "go on": count, "jump": count + 7 * bool(count)}[numbers]
        for residue in molecule.residues:
            count += 1
            new = topology.add_residue(residue.name, chain, count)
            for atom in residue.atoms:
                topology.add_atom(atom.name, atom.element, new)
    topology.create_standard_bonds()
    frames = [positions + 3 * place for place, (_, positions) in enumerate(molecules)]
    return topology, np.concatenate(frames, axis=1)


def without_ends(topology: mdtraj.Topology, frames: np.ndarray) -> Molecule:
    """Less OXT, as a fragment is; nothing but distances tells that it ends."""
    kept = [atom.index for atom in topology.atoms if atom.name != "OXT"]
    return topology.subset(kept), frames[:, kept]


def cut_out(topology: mdtraj.Topology, frames: np.ndarray, residues: range) -> Molecule:
    kept = [atom.index for atom in topology.atoms if atom.residue.index not in residues]
    return topology.subset(kept), frames[:, kept]


def source_of(folder: Path, molecule: Molecule, box: float | None = None, ending: str = "gro") -> Source:
    topology, frames = molecule
    lengths = None if box is None else np.full((len(frames), 3), box)
    angles = None if box is None else np.full((len(frames), 3), 90.0)
    trajectory = mdtraj.Trajectory(frames, topology, None, lengths, angles)
    trajectory[0].save(str(folder / f"x.{ending}"))
    trajectory.save_xtc(str(folder / "x.xtc"))
    return Source("x", "xtc", Trajectory(folder / "x.xtc"), folder / f"x.{ending}")


@pytest.mark.parametrize("numbers", ["restart", "go on", "jump"])
@pytest.mark.parametrize("ended", [True, False])
def test_two_molecules_that_follow_one_another_are_two_chains(numbers: str, ended: bool, tmp_path: Path):
    parts = [made_up("AC"), made_up("GSA", seed=1)]
    molecule = one_chain(*(parts if ended else [without_ends(*part) for part in parts]), numbers=numbers)
    source = source_of(tmp_path, molecule)
    assert source.sequence == "AC:GSA"
    assert source.beads(BACKBONE) == Beads.from_sequence("AC:GSA", BACKBONE, "x")
    frames = coarse_frames(source, BACKBONE)
    np.testing.assert_allclose(frames.mean(axis=1), 0, atol=1e-5)
    assert len(frames) == 20
    # That the first ended needs no warning, nor that numbers begin again.
    assert bool(source.gaps) == (not ended and numbers != "restart")


def test_ends_are_known_without_frames():
    molecules = [real("LA"), real("LA"), real("ET")]
    topology, _ = one_chain(*molecules, numbers="go on")
    assert sequence_of(topology) == "LALAET"
    assert sequence_of(standard_topology(topology)) == "LA:LA:ET"
    assert map_beads(topology, BACKBONE)[1] == Beads.from_sequence("LA:LA:ET", BACKBONE)
    charged = [cut_out(*molecule, range(1, 2)) for molecule in molecules]
    assert sequence_of(standard_topology(one_chain(*charged)[0])) == "L:L:E"


@pytest.mark.parametrize(
    ("missing", "words"), [(range(2, 3), "residue 3 is"), (range(2, 5), "residues 3 to 5 are")]
)
def test_a_gap_is_named(missing: range, words: str, tmp_path: Path):
    source = source_of(tmp_path, cut_out(*made_up("AGCSAVG"), missing))
    assert source.sequence == format_sequence([("ALA", "GLY"), source.beads(BACKBONE).residues[2:]])
    (gap,) = source.gaps
    topology, frames = made_up("AGCSAVG")
    index = {str(atom): atom.index for atom in topology.atoms}
    after = topology.residue(missing.stop)
    apart = np.linalg.norm(frames[:, index["GLY2-C"]] - frames[:, index[f"{after}-N"]], axis=-1).min()
    assert gap.startswith(f"GLY2 and {after} are at least {apart:.2f}"[:-1])
    assert f"nm apart and read as the ends of two chains: {words} missing" in gap


def test_a_gap_without_a_jump_in_the_numbers_may_be_the_box(tmp_path: Path):
    topology, frames = cut_out(*made_up("AGCSA"), range(2, 3))
    for number, residue in enumerate(topology.residues, 1):
        residue.resSeq = number
    source = source_of(tmp_path, (topology, frames))
    assert source.sequence == "AG:SA"
    assert source.gaps[0].startswith("GLY2 and SER3 are at least 0.")
    assert "unless the periodic box cuts the molecule in all frames" in source.gaps[0]


@pytest.mark.parametrize("spec", ["backbone", "calpha"])
def test_numbers_may_jump_or_fall_where_residues_are_joined(spec: str, tmp_path: Path):
    bead_map = BeadMap.parse(spec)
    for numbers in ((1, 2, 52, 53, 54), (10, 11, 30, 31, 50), (5, 4, 3, 2, 1)):
        topology, frames = made_up("AGCSA")
        if spec == "calpha":
            frames, beads = coarse_grain(frames, topology, bead_map)
            topology = beads.topology()
            frames[:] = 0.38 * np.arange(5)[None, :, None] * [1, 0, 0]
        for number, residue in zip(numbers, topology.residues, strict=True):
            residue.resSeq = number
        source = source_of(tmp_path, (topology, frames), ending="pdb")
        assert source.beads(bead_map) == Beads.from_sequence("AGCSA", bead_map, "x")
        assert source.gaps == ()


@pytest.mark.parametrize("numbers", [(1, 2, 1, 2), (1, 2, 9, 10), (1, 2, 3, 4)])
def test_calpha_that_are_far_apart_are_not_joined(numbers: tuple[int, ...], tmp_path: Path):
    beads = Beads.from_sequence("AGCS", CALPHA)
    frames = np.zeros((20, 4, 3), np.float32)
    frames[..., 0] = [0, 0.38, 1.5, 1.88]
    topology = beads.topology()
    for number, residue in zip(numbers, topology.residues, strict=True):
        residue.resSeq = number
    source = source_of(tmp_path, (topology, frames))
    assert source.beads(CALPHA) == Beads.from_sequence("AG:CS", CALPHA, "x")
    # Of chains that touch at times, the numbers tell.
    frames[::3, 2:, 0] -= 0.7
    touching = source_of(tmp_path, (topology, frames))
    if numbers[2] != 3:
        assert touching.beads(CALPHA).sequence == "AG:CS"
        assert len(coarse_frames(touching, CALPHA)) == 20
    else:
        with pytest.raises(MoleculeError, match=r"frame 1: the bond GLY2-CA to CYS3-CA is 1\.12 nm"):
            coarse_frames(touching, CALPHA)


def cut_at(frames: np.ndarray, topology: mdtraj.Topology, box: float, which: slice) -> np.ndarray:
    """The residues behind the first two on the other side of the box, in some frames."""
    behind = [atom.index for atom in topology.atoms if atom.residue.index > 1]
    moved = frames.copy()
    moved[which, behind] += np.array([0, box, 0], np.float32)
    return moved


def test_a_bond_that_the_box_cuts_in_some_frames_stays_a_bond(tmp_path: Path):
    topology, frames = made_up("AGCSA")
    source = source_of(tmp_path, (topology, cut_at(frames, topology, 4, slice(7, 12))))
    assert source.sequence == "AGCSA"
    with pytest.raises(MoleculeError, match=r"frame 7: the bond GLY2-C to CYS3-N is .* periodic box"):
        coarse_frames(source, BACKBONE)


@pytest.mark.parametrize("count", [1, 20])
def test_a_bond_that_the_box_of_the_file_cuts_in_every_frame_stays_a_bond(count: int, tmp_path: Path):
    topology, frames = made_up("AGCSA", count)
    molecule = topology, cut_at(frames, topology, 4, slice(None))
    boxed = source_of(tmp_path, molecule, box=4)
    assert boxed.sequence == "AGCSA"
    with pytest.raises(MoleculeError, match=r"frame 0: the bond GLY2-C to CYS3-N is .* periodic box"):
        coarse_frames(boxed, BACKBONE)
    assert source_of(tmp_path, molecule, box=5).sequence == "AG:CSA"
    unknown = source_of(tmp_path, molecule)
    assert unknown.sequence == "AG:CSA"
    assert "unless the periodic box cuts" in unknown.gaps[0]


def test_a_skewed_box_is_known_too():
    topology, frames = made_up("AGCSA")
    cell = np.array([[4, 0, 0], [0, 4, 0], [2, 2, 2.83]])
    behind = [atom.index for atom in topology.atoms if atom.residue.index > 1]
    frames[:, behind] += (cell[2] - cell[1]).astype(np.float32)
    assert without_gaps(topology, frames, lambda: cell) == (topology, ())
    assert sequence_of(without_gaps(topology, frames)[0]) == "AG:CSA"


def test_a_gap_that_closes_in_later_frames_was_the_box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fokker.data.readers.sources._EXAMINED", 5)
    topology, frames = made_up("AGCSA")
    source = source_of(tmp_path, (topology, cut_at(frames, topology, 4, slice(0, 13))))
    with pytest.raises(
        MoleculeError, match=r"x\.xtc: frame 13: GLY2 and CYS3 are joined, 0\.1.*periodic box"
    ):
        coarse_frames(source, BACKBONE)


def test_only_frames_that_are_whole_tell_a_gap(tmp_path: Path):
    topology, frames = one_chain(*(without_ends(*made_up(name)) for name in ("AC", "GS")))
    broken = frames.copy()
    broken[:8] = 0  # Here all are near.
    broken[8:12] = np.nan
    assert sequence_of(without_gaps(topology, broken)[0]) == "AC:GS"
    assert without_gaps(topology, 0 * frames) == without_gaps(topology, frames[:0]) == (topology, ())


def test_frames_that_cannot_be_read_leave_the_chains_as_they_are(tmp_path: Path):
    topology, frames = made_up("AGC")
    source = source_of(tmp_path, (topology, 7 * frames))
    assert source.sequence == "AGC"
    with pytest.raises(MoleculeError, match="belongs to another molecule"):
        next(source.blocks())


def test_dipeptides_of_two_chains_each_have_their_plane():
    for sequence, residues in (
        ("LA:LA", [1, 3]),
        ("ACE-ALA:LA", [3]),
        ("A:LA:G:GA", [2, 5]),
        ("LA:AGA", [3]),
    ):
        beads = Beads.from_sequence(sequence, BACKBONE)
        assert [phi.residue for phi, _ in beads.ramachandran] == residues, sequence
        for phi, psi in beads.ramachandran:
            same, shared = phi.residue == psi.residue, phi.beads[:2] == psi.beads[2:]
            assert same or shared
