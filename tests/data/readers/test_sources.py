"""A source gives checked frames in nm, whatever the unit, and knows what may stand beside it in a dataset."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest

from fokker.data.molecules.beads import BeadMap
from fokker.data.molecules.residues import MoleculeError
from fokker.data.readers.arrays import ArchivedArray, StoredArray
from fokker.data.readers.formats import Trajectory
from fokker.data.readers.found import Found
from fokker.data.readers.opening import quietly
from fokker.data.readers.sources import UNKNOWN, Conditions, Source, require_same_conditions

from ..examples import coarse_grain, made_up, real, save_structure

BACKBONE = BeadMap.parse("backbone")
TOPOLOGY, FRAMES = made_up("ACG", frames=50)


def source_of(
    folder: Path, frames: np.ndarray, topology: mdtraj.Topology = TOPOLOGY, unit: str | None = None
) -> Source:
    structure = save_structure(folder / "ACG.pdb", topology, np.zeros((topology.n_atoms, 3)))
    np.savez(folder / "ACG.npz", positions=frames)
    return Source("ACG", "array", ArchivedArray(folder / "ACG.npz"), structure, unit=unit)


def all_frames(source: Source, size: int | None = None) -> np.ndarray:
    return np.concatenate(list(source.blocks(size)))


def with_water(frames: np.ndarray) -> tuple[mdtraj.Topology, np.ndarray]:
    """The molecule between an ion and water that is anywhere."""
    topology = mdtraj.Topology()
    ion = topology.add_residue("NA", topology.add_chain())
    topology.add_atom("NA", mdtraj.element.sodium, ion)
    topology = topology.join(TOPOLOGY)
    chain = topology.add_chain()
    for _ in range(3):
        water = topology.add_residue("HOH", chain)
        atoms = [
            topology.add_atom(name, mdtraj.element.get_by_symbol(name[0]), water)
            for name in ("O", "H1", "H2")
        ]
        topology.add_bond(atoms[0], atoms[1])
        topology.add_bond(atoms[0], atoms[2])
    rng = np.random.default_rng(1)
    around = [rng.normal(size=(len(frames), count, 3)).astype(np.float32) for count in (1, 9)]
    return topology, np.concatenate([around[0], frames, around[1]], axis=1)


@pytest.mark.parametrize(("scale", "unit"), [(1, "nm"), (10, "angstrom"), (30, "nm*30"), (0.1, "nm/10")])
@pytest.mark.parametrize("declared", [False, True])
def test_frames_come_in_nm_whether_the_unit_is_detected_or_declared(
    scale: float, unit: str, declared: bool, tmp_path: Path
):
    source = source_of(tmp_path, scale * FRAMES.astype(np.float64), unit=unit if declared else None)
    frames = all_frames(source, 7)
    np.testing.assert_allclose(frames, FRAMES, atol=1e-6)
    assert frames.dtype == np.float32
    assert source.factor == pytest.approx(1 / scale)


def test_a_unit_declared_wrong_is_refused_with_the_right_one(tmp_path: Path):
    with pytest.raises(
        MoleculeError, match=r"ACG\.npz: .* positions in angstrom, not in nm: .* give angstrom"
    ):
        next(source_of(tmp_path, 10 * FRAMES, unit="nm").blocks())
    with pytest.raises(MoleculeError, match=r"ACG\.npz: .* positions in nm, not in angstrom: .* give nm"):
        next(source_of(tmp_path, FRAMES, unit="angstrom").blocks())


def test_a_bad_frame_is_named_by_its_number_in_the_file(tmp_path: Path):
    frames = FRAMES.copy()
    frames[33, 2] = np.nan
    blocks = source_of(tmp_path, frames).blocks(10)
    for _ in range(3):
        next(blocks)
    with pytest.raises(MoleculeError, match=r"ACG\.npz: frame 33: atom ALA1-C is at \[nan"):
        next(blocks)
    frames[:40] = np.nan
    with pytest.raises(MoleculeError, match=r"ACG\.npz: frame 0: atom ALA1-N is at \[nan"):
        next(source_of(tmp_path, frames).blocks(10))


def test_another_unit_in_the_middle_is_refused(tmp_path: Path):
    frames = FRAMES.copy()
    frames[20:] *= 10
    with pytest.raises(MoleculeError, match=r"frame 20: .*positions in angstrom"):
        all_frames(source_of(tmp_path, frames), 16)


@pytest.mark.parametrize("size", [None, 1, 7, 50, 1000])
def test_blocks_are_no_larger_than_asked(size: int | None, tmp_path: Path):
    blocks = list(source_of(tmp_path, FRAMES).blocks(size))
    assert max(map(len, blocks)) <= (size or 50)
    np.testing.assert_array_equal(np.concatenate(blocks), FRAMES)


def test_large_systems_come_in_smaller_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fokker.data.readers.sources._BLOCK", 10 * 3 * TOPOLOGY.n_atoms)
    assert [len(block) for block in source_of(tmp_path, FRAMES).blocks(1000)] == [10] * 5


@pytest.mark.parametrize("spec", ["backbone", "calpha", "name CA or name SG"])
def test_coarse_blocks_are_the_beads_of_the_frames(spec: str, tmp_path: Path):
    bead_map = BeadMap.parse(spec)
    frames, beads = coarse_grain(FRAMES, TOPOLOGY, bead_map, "ACG")
    source = source_of(tmp_path, 10 * FRAMES)
    np.testing.assert_allclose(np.concatenate(list(source.coarse_blocks(bead_map, 7))), frames, atol=1e-6)
    assert source.beads(bead_map) == beads
    assert source.sequence == "ACG"


def test_every_bond_is_checked_before_beads_are_taken(tmp_path: Path):
    frames = FRAMES.copy()
    frames[5, next(atom.index for atom in TOPOLOGY.atoms if atom.name == "SG")] += 4
    with pytest.raises(MoleculeError, match="frame 5: the bond CYS2-CB to CYS2-SG"):
        list(source_of(tmp_path, frames).coarse_blocks(BeadMap.parse("calpha")))


def test_water_and_ions_are_left_out(tmp_path: Path):
    topology, frames = with_water(FRAMES)
    source = source_of(tmp_path, frames, topology)
    np.testing.assert_array_equal(all_frames(source), FRAMES)
    assert [atom.name for atom in source.topology.atoms] == [atom.name for atom in TOPOLOGY.atoms]
    assert source.sequence == "ACG"


def test_frames_without_water_go_with_a_structure_that_has_it(tmp_path: Path):
    np.testing.assert_array_equal(all_frames(source_of(tmp_path, FRAMES, with_water(FRAMES)[0])), FRAMES)


def test_a_structure_of_water_alone_is_refused(tmp_path: Path):
    topology, frames = with_water(FRAMES)
    water = [atom.index for atom in topology.atoms if atom.residue.is_water]
    with pytest.raises(MoleculeError, match=r"ACG\.pdb: only water and ions"):
        next(source_of(tmp_path, frames[:, water], topology.subset(water)).blocks())


@pytest.mark.parametrize("spec", ["backbone", "calpha"])
def test_files_that_hold_beads_already_are_recognised(spec: str, tmp_path: Path):
    frames, beads = coarse_grain(FRAMES, TOPOLOGY, BeadMap.parse(spec), "ACG")
    source = source_of(tmp_path, 10 * frames)
    np.testing.assert_allclose(all_frames(source), frames, atol=1e-6)
    assert source.beads(BeadMap.parse(spec)) == beads
    np.testing.assert_allclose(
        np.concatenate(list(source.coarse_blocks(BeadMap.parse(spec)))), frames, atol=1e-6
    )


def test_five_beads_of_alanine_dipeptide_are_recognised(tmp_path: Path):
    topology, positions = real("alanine-dipeptide")
    frames, beads = coarse_grain(positions, topology, BeadMap.parse("alanine-dipeptide"), "ACG")
    source = source_of(tmp_path, frames, topology)
    np.testing.assert_array_equal(all_frames(source), frames)
    assert source.beads(BeadMap.parse("alanine-dipeptide")) == beads


def test_a_calpha_trajectory_goes_with_an_all_atom_structure(tmp_path: Path):
    frames, beads = coarse_grain(FRAMES, TOPOLOGY, BeadMap.parse("calpha"))
    mdtraj.Trajectory(frames, beads.topology()).save(str(tmp_path / "ca.dcd"))
    structure = save_structure(tmp_path / "all.pdb", TOPOLOGY, FRAMES[0])
    source = Source("ACG", "dcd", Trajectory(tmp_path / "ca.dcd"), structure)
    np.testing.assert_allclose(all_frames(source), frames, atol=1e-6)


def test_beads_that_are_not_in_the_file_are_refused(tmp_path: Path):
    frames, _ = coarse_grain(FRAMES, TOPOLOGY, BeadMap.parse("calpha"))
    with pytest.raises(MoleculeError, match=r"ACG\.pdb: residue ALA1 has no atom N"):
        source_of(tmp_path, frames).beads(BACKBONE)


def test_frames_of_another_molecule_are_refused(tmp_path: Path):
    with pytest.raises(MoleculeError, match=r"ACG\.npz: frames of 15 atoms, but .*ACG\.pdb has 16"):
        next(source_of(tmp_path, FRAMES[:, 1:]).blocks())


def test_an_unknown_residue_and_a_missing_atom_are_named_with_the_structure(tmp_path: Path):
    topology = made_up("ACG")[0]
    topology.residue(1).name = "NLE"
    with pytest.raises(MoleculeError, match=r"ACG\.pdb: unknown residue NLE2"):
        source_of(tmp_path, FRAMES, topology).beads(BACKBONE)
    kept = [atom.index for atom in TOPOLOGY.atoms if str(atom) != "CYS2-CB"]
    with pytest.raises(MoleculeError, match=r"ACG\.pdb: residue CYS2 has no atom CB"):
        next(source_of(tmp_path, FRAMES[:, kept], TOPOLOGY.subset(kept)).coarse_blocks(BACKBONE))


def test_a_file_without_frames_is_refused(tmp_path: Path):
    for unit in (None, "nm"):
        with pytest.raises(MoleculeError, match=r"ACG\.npz: no frame in it"):
            next(source_of(tmp_path, FRAMES[:0], unit=unit).blocks())


def test_messages_about_an_array_among_many_name_it(tmp_path: Path):
    source = source_of(tmp_path, FRAMES)
    np.save(tmp_path / "train.npy", FRAMES * np.nan)
    array = replace(StoredArray.in_npy(tmp_path / "train.npy"), what="array 'ACG'")
    with pytest.raises(MoleculeError, match=r"train\.npy: ACG: frame 0: atom ALA1-N"):
        next(replace(source, positions=array).blocks())


def test_a_source_can_be_sent_to_another_process(tmp_path: Path):
    source = source_of(tmp_path, 10 * FRAMES)
    for sent in (source, replace(source)):
        assert pickle.loads(pickle.dumps(sent)) == source
        np.testing.assert_allclose(all_frames(pickle.loads(pickle.dumps(sent))), FRAMES, atol=1e-6)
        all_frames(source)  # What it has learned by then goes with it.


def test_sources_of_one_dataset_share_their_conditions(tmp_path: Path):
    source = source_of(tmp_path, FRAMES)
    first, second = (Conditions("Amber-14", solvent, 310.0) for solvent in ("OBC1", "OBC2"))
    assert require_same_conditions([]) == UNKNOWN
    assert require_same_conditions([source, source]) == UNKNOWN
    assert require_same_conditions([replace(source, conditions=first)] * 2) == first
    for other in (second, UNKNOWN, replace(first, temperature=300.0), replace(first, force_field=None)):
        mixed = [replace(source, conditions=first)] * 2 + [replace(source, conditions=other)]
        with pytest.raises(
            MoleculeError, match=r"solvent OBC1, temperature 310\.0\) are not of one distribution"
        ):
            require_same_conditions(mixed)


def skipping(folder: Path, frames: np.ndarray, **changes: Any) -> Source:
    return replace(source_of(folder, frames), skip_damaged=True, **changes)


def test_broken_frames_are_left_out_where_that_is_asked_and_counted(tmp_path: Path):
    frames = FRAMES.copy()
    frames[:12] = 0
    frames[33, 2] = np.nan
    frames[40, 5] += 3
    good = [number for number in range(12, 50) if number not in (33, 40)]
    found = Found()
    kept = np.concatenate(list(skipping(tmp_path, 10 * frames).blocks(7, found=found)))
    np.testing.assert_allclose(kept, FRAMES[good], atol=1e-6)
    assert (found.frames, found.broken, found.first_broken, found.problem) == (36, 14, 0, None)
    assert (found.unit, found.atoms) == ("angstrom", TOPOLOGY.n_atoms)


def test_a_broken_frame_among_good_ones_says_how_to_go_on(tmp_path: Path):
    frames = FRAMES.copy()
    frames[33] = 0
    with pytest.raises(MoleculeError, match=r"ACG\.npz: frame 33: .*: leave it out \(--skip-damaged\)"):
        all_frames(source_of(tmp_path, frames), 10)
    frames[:12] = 0
    with pytest.raises(MoleculeError, match=r"ACG\.npz: frame 0: .*: leave it out \(--skip-damaged\)"):
        all_frames(source_of(tmp_path, frames), 50)
    with pytest.raises(MoleculeError) as refused:
        all_frames(source_of(tmp_path, np.zeros_like(frames)))
    assert "--skip-damaged" not in str(refused.value), "where no frame is good"


@pytest.mark.parametrize("value", [0, np.nan])
def test_a_file_of_broken_frames_alone_is_refused_all_the_same(value: float, tmp_path: Path):
    with pytest.raises(MoleculeError, match=r"ACG\.npz: "):
        all_frames(skipping(tmp_path, np.full_like(FRAMES, value)))
    with pytest.raises(MoleculeError, match=r"ACG\.npz: frame 0: "):
        all_frames(skipping(tmp_path, np.full_like(FRAMES, value), unit="nm"))


def torn(folder: Path) -> Source:
    mdtraj.Trajectory(FRAMES, TOPOLOGY, 2.0 * np.arange(50)).save(str(folder / "a.xtc"))
    (folder / "a.xtc").write_bytes((folder / "a.xtc").read_bytes()[:-30])
    structure = save_structure(folder / "a.pdb", TOPOLOGY, FRAMES[0])
    return Source("a", "xtc", Trajectory(folder / "a.xtc"), structure)


def test_a_torn_end_is_refused_at_once_or_left_out(tmp_path: Path):
    with pytest.raises(MoleculeError, match=r"a\.xtc: 49 frames are whole, then the file ends in the middle"):
        next(torn(tmp_path).blocks(10))
    found = Found()
    kept = np.concatenate(list(replace(torn(tmp_path), skip_damaged=True).blocks(10, found=found)))
    np.testing.assert_allclose(kept, FRAMES[:49], atol=6e-4)
    assert (found.frames, found.problem) == (49, "the file ends in the middle of frame 49")
    assert found.spacing == 2.0


def test_frames_that_repeat_are_counted_across_blocks(tmp_path: Path):
    order = [0, 1, 1, 2, 3, 3, 3, 4, 0, 9, 9]
    for size in (1, 2, 3, 100):
        found = Found()
        list(source_of(tmp_path, FRAMES[order]).blocks(size, found=found))
        assert (found.frames, found.repeats) == (11, 4)


def test_equal_frames_have_equal_marks_whatever_the_blocks(tmp_path: Path):
    founds = [Found() for _ in range(4)]
    for found, size, frames in zip(
        founds, (7, 50, 7, 7), (FRAMES, FRAMES, FRAMES[::-1], FRAMES[:-1]), strict=True
    ):
        list(source_of(tmp_path, frames).blocks(size, found=found))
    marks = [[found.marks[at : at + 16] for at in range(0, len(found.marks), 16)] for found in founds]
    assert marks[0] == marks[1] == marks[2][::-1]
    assert marks[0][:-1] == marks[3]
    assert len(set(marks[0])) == len(FRAMES)


@pytest.mark.parametrize(
    ("time", "spacing"),
    [
        (0.2 * np.arange(50), 0.2),
        (1e6 + 0.5 * np.arange(50), 0.5),
        (np.r_[np.arange(25), np.arange(25)], None),
        (np.arange(50)[::-1], None),
        (np.zeros(50), None),
        (np.random.default_rng(0).permutation(50), None),
        (None, None),
    ],
)
def test_the_spacing_is_that_of_all_frames_or_unknown(
    time: np.ndarray | None, spacing: float | None, tmp_path: Path
):
    source = source_of(tmp_path, FRAMES)
    if time is not None:
        np.savez(tmp_path / "ACG.npz", positions=FRAMES, time=time.astype(np.float32))
    found = Found()
    list(source.blocks(7, found=found))
    assert found.spacing == (spacing if spacing is None else pytest.approx(spacing, rel=2e-3))


def test_a_frame_left_out_of_the_middle_leaves_no_single_spacing(tmp_path: Path):
    frames = FRAMES.copy()
    frames[20] = 0
    source, found = skipping(tmp_path, frames), Found()
    np.savez(tmp_path / "ACG.npz", positions=frames, time=np.arange(50.0))
    list(source.blocks(7, found=found))
    assert found.spacing is None


@pytest.mark.parametrize("ending", ["xtc", "dcd", "nc"])
@pytest.mark.parametrize(("scale", "unit"), [(1.0, "nm"), (10.0, "angstrom")])
def test_the_unit_shown_is_that_of_the_numbers_in_the_file_and_can_be_given(
    ending: str, scale: float, unit: str, tmp_path: Path
):
    """mdtraj writes ten times the number that it is given to DCD and NetCDF."""
    path = tmp_path / f"a.{ending}"
    with quietly():
        factor = 1.0 if ending == "xtc" else 0.1
        mdtraj.Trajectory(factor * scale * FRAMES, TOPOLOGY).save(str(path))
    structure = save_structure(tmp_path / "a.pdb", TOPOLOGY, FRAMES[0])
    source = Source("a", ending, Trajectory(path), structure)
    assert source.unit_found == unit
    np.testing.assert_allclose(all_frames(replace(source, unit=source.unit_found)), FRAMES, atol=6e-4)


def test_a_sequence_stands_for_a_topology_of_heavy_atoms_or_beads(tmp_path: Path):
    for frames in (FRAMES, coarse_grain(FRAMES, TOPOLOGY, BACKBONE)[0]):
        source = replace(source_of(tmp_path, frames), topology_path=None, given_sequence="ACG")
        np.testing.assert_array_equal(all_frames(source), frames)
        assert source.sequence == "ACG"
        assert source.beads(BACKBONE).atoms == coarse_grain(FRAMES, TOPOLOGY, BACKBONE)[1].atoms
    own = BeadMap.parse("name CA or name CB")
    frames = coarse_grain(FRAMES, TOPOLOGY, own)[0]
    source = replace(source_of(tmp_path, frames), topology_path=None, given_sequence="ACG", unit="nm")
    with pytest.raises(MoleculeError, match="sequence 'ACG' has 16"):
        all_frames(source)
    np.testing.assert_array_equal(all_frames(replace(source, bead_map=own)), frames)


def test_conditions_are_one_readable_line():
    assert Conditions("Amber-14", "OBC1", 310.0).line == "Amber-14, OBC1, 310 K"
    assert Conditions(temperature=300.5).line == "300.5 K"
    assert UNKNOWN.line == "not known"
