"""A source gives checked frames in nm, whatever the unit, and knows what may stand beside it in a dataset."""

import pickle
from dataclasses import replace
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from fokker.data.beads import BeadMap, coarse_grain
from fokker.data.readers_arrays import ArchivedArray, StoredArray, Trajectory
from fokker.data.residues import MoleculeError
from fokker.data.sources import UNKNOWN, Conditions, Source, require_same_conditions

from .molecules import made_up, real, save_structure

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


def test_a_unit_declared_wrong_is_refused(tmp_path: Path):
    with pytest.raises(
        MoleculeError, match=r"ACG\.npz: frame 0: the bond .* should be .*positions in angstrom"
    ):
        next(source_of(tmp_path, 10 * FRAMES, unit="nm").blocks())
    with pytest.raises(MoleculeError, match=r"ACG\.npz: frame 0: .*positions in nm/10"):
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
    monkeypatch.setattr("fokker.data.sources._BLOCK", 10 * 3 * TOPOLOGY.n_atoms)
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
