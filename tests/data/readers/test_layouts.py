"""Every layout that people hold is told by its files, and what is missing from it is named.

Every layout is written out here, and so the file is longer than others.
"""

import gzip
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from fokker.data.molecules.beads import BeadMap
from fokker.data.molecules.residues import MoleculeError
from fokker.data.readers.layouts import BGMOL, TIMEWARP, open_source
from fokker.data.readers.opening import quietly
from fokker.data.readers.sources import UNKNOWN, Conditions, Source

from ..examples import SHARED, coarse_grain, made_up, real, save_structure

BACKBONE = BeadMap.parse("backbone")
PEPTIDES = {name: made_up(name, seed=seed) for seed, name in enumerate(("AC", "GV", "SAG"))}


def timewarp(folder: Path, names: Iterable[str] = PEPTIDES, **arrays: np.ndarray) -> Path:
    for name in names:
        topology, frames = PEPTIDES[name]
        save_structure(folder / f"{name}-traj-state0.pdb", topology, frames[0])
        content = {"positions": frames, "time": np.arange(len(frames)), **arrays}
        np.savez_compressed(folder / f"{name}-traj-arrays.npz", **content)
    return folder


def found(sources: list[Source]) -> list[tuple[str, str | None]]:
    return [(source.name, source.split) for source in sources]


def assert_same_frames(source: Source, atol: float = 1e-6) -> None:
    np.testing.assert_allclose(
        np.concatenate(list(source.blocks(7))), PEPTIDES[source.sequence][1], atol=atol
    )


def test_timewarp_in_the_published_folders(tmp_path: Path):
    timewarp(tmp_path / "train", ["AC", "SAG"])
    timewarp(tmp_path / "val", ["GV"])
    timewarp(tmp_path / "test", ["AC"])
    sources = open_source(tmp_path)
    assert found(sources) == [("AC", "test"), ("AC", "train"), ("SAG", "train"), ("GV", "validation")]
    for source in sources:
        assert_same_frames(source)
        assert (source.layout, source.frames, source.sequence) == ("timewarp", 20, source.name)


def test_timewarp_in_one_folder_or_file(tmp_path: Path):
    assert found(open_source(timewarp(tmp_path / "flat"))) == [("AC", None), ("GV", None), ("SAG", None)]
    timewarp(tmp_path / "validation", ["AC"])
    assert found(open_source(tmp_path / "validation")) == [("AC", "validation")]
    assert found(open_source(tmp_path / "validation" / "AC-traj-arrays.npz")) == [("AC", "validation")]


def test_a_unit_that_is_declared_counts(tmp_path: Path):
    (source,) = open_source(timewarp(tmp_path, ["AC"]), unit="angstrom")
    with pytest.raises(MoleculeError, match="positions in nm, not in angstrom: leave the unit out"):
        next(source.blocks())


def test_conditions_are_known_of_published_data_only(tmp_path: Path):
    timewarp(tmp_path / "ours", ["AC"])
    assert open_source(tmp_path / "ours")[0].conditions == UNKNOWN
    row = np.zeros(20)
    timewarp(tmp_path / "theirs", ["AC"], step=row, energies=row, velocities=row, forces=row)
    assert open_source(tmp_path / "theirs")[0].conditions == TIMEWARP == Conditions("Amber-14", "OBC1", 310.0)


def test_conditions_are_read_from_the_generators_report(tmp_path: Path):
    timewarp(tmp_path, ["AC"])
    physics = {"force_field": "ff14SB", "solvent": "OBC2", "temperature_K": 310, "openmm": "8.6"}
    report = tmp_path / "AC-reference.json"
    report.write_text(json.dumps({"physics": physics}))
    assert open_source(tmp_path)[0].conditions == Conditions("ff14SB", "OBC2", 310.0)
    for content in ("{}", "no JSON", '{"physics": {"solvent": "OBC2"}}', '{"physics": 1}'):
        report.write_text(content)
        with pytest.raises(MoleculeError, match=r"AC-reference\.json: not the report of a reference"):
            open_source(tmp_path)


@pytest.mark.parametrize("folder", [".", "train"])
def test_half_a_pair_is_named(folder: str, tmp_path: Path):
    timewarp(tmp_path / folder)
    (tmp_path / folder / "GV-traj-state0.pdb").rename(tmp_path / "elsewhere.pdb")
    message = r"GV-traj-arrays\.npz is there, but .*GV-traj-state0\.pdb is missing"
    with pytest.raises(MoleculeError, match=message):
        open_source(tmp_path)
    arrays = tmp_path / folder / "GV-traj-arrays.npz"
    with pytest.raises(MoleculeError, match=message):
        open_source(arrays)
    assert open_source(arrays, topology=tmp_path / "elsewhere.pdb")[0].sequence == "GV"
    (tmp_path / "elsewhere.pdb").rename(tmp_path / folder / "GV-traj-state0.pdb")
    arrays.unlink()
    with pytest.raises(
        MoleculeError, match=r"GV-traj-state0\.pdb is there, but GV-traj-arrays\.npz is missing"
    ):
        open_source(tmp_path)


def test_files_that_an_archiver_hid_are_passed_over(tmp_path: Path):
    timewarp(tmp_path, ["AC"])
    for ending in ("traj-arrays.npz", "traj-state0.pdb"):
        (tmp_path / f"._AC-{ending}").write_text("")
    assert found(open_source(tmp_path)) == [("AC", None)]


def dictionary(path: Path, names: Iterable[str], shape: str = "flat", scale: float = 1) -> None:
    content = {}
    for name in names:
        topology, frames = PEPTIDES[name]
        if shape == "beads":
            frames, _ = coarse_grain(frames, topology, BACKBONE)
        content[name] = scale * (frames.reshape(len(frames), -1) if shape == "flat" else frames)
    boxed = np.empty((), object)
    boxed[()] = content
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, boxed, allow_pickle=True)


@pytest.mark.parametrize("shape", ["flat", "atoms"])
@pytest.mark.parametrize("scale", [1, 10, 30])
def test_klein_and_noes_dictionaries(shape: str, scale: float, tmp_path: Path):
    dictionary(tmp_path / "all_train.npy", ["AC", "SAG"], shape, scale)
    dictionary(tmp_path / "all_val.npy", ["GV"], shape, scale)
    np.save(tmp_path / "atom_types_ecoding.npy", np.arange(5))
    for split, name in (("train", "AC"), ("train", "SAG"), ("val", "GV")):
        save_structure(tmp_path / split / f"{name}-traj-state0.pdb", PEPTIDES[name][0], PEPTIDES[name][1][0])
    sources = open_source(tmp_path)
    assert found(sources) == [("AC", "train"), ("SAG", "train"), ("GV", "validation")]
    for source in sources:
        assert_same_frames(source)
        assert (source.frames, source.sequence, source.conditions) == (20, source.name, TIMEWARP)
    assert found(open_source(tmp_path / "all_val.npy")) == [("GV", "validation")]


def test_the_authors_dictionaries_of_beads(tmp_path: Path):
    for split, names in {"train": ["AC"], "val": ["GV"], "test": ["SAG"]}.items():
        dictionary(tmp_path / f"{split}.npy", names, "beads")
    for name, (topology, frames) in PEPTIDES.items():
        save_structure(tmp_path / "pdbs" / f"{name}.pdb", topology, frames[0])
    sources = open_source(tmp_path)
    assert found(sources) == [("SAG", "test"), ("AC", "train"), ("GV", "validation")]
    for source in sources:
        topology, frames = PEPTIDES[source.name]
        coarse, beads = coarse_grain(frames, topology, BACKBONE, source.name)
        np.testing.assert_array_equal(np.concatenate(list(source.coarse_blocks(BACKBONE))), coarse)
        assert source.beads(BACKBONE) == beads


def test_a_missing_structure_of_a_dictionary_is_named(tmp_path: Path):
    dictionary(tmp_path / "train.npy", ["AC", "GV"])
    save_structure(tmp_path / "pdbs" / "AC.pdb", PEPTIDES["AC"][0], PEPTIDES["AC"][1][0])
    message = r"train\.npy holds GV, but .*train/GV-traj-state0\.pdb or .*pdbs/GV\.pdb"
    with pytest.raises(MoleculeError, match=message):
        open_source(tmp_path)


def test_a_malicious_dictionary_runs_nothing(tmp_path: Path):
    class Malicious:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    np.save(tmp_path / "train.npy", np.array({"AC": Malicious()}, object), allow_pickle=True)
    with pytest.raises(MoleculeError, match=r"train\.npy: the pickle asks for pathlib\S*\.Path\.touch"):
        open_source(tmp_path)
    assert not (tmp_path / "ran").exists()


def save_trajectory(path: Path, name: str, structure: Path | None = None) -> None:
    topology, frames = PEPTIDES[name]
    path.parent.mkdir(parents=True, exist_ok=True)
    mdtraj.Trajectory(frames, topology).save(str(path))
    if structure is not None:
        save_structure(structure, topology, frames[0])


@pytest.mark.parametrize("ending", ["xtc", "dcd", "trr", "xyz"])
def test_a_trajectory_and_its_structure(ending: str, tmp_path: Path):
    save_trajectory(tmp_path / f"AC.{ending}", "AC", tmp_path / "elsewhere" / "start.pdb")
    with pytest.raises(
        MoleculeError, match=rf"AC\.{ending}: its topology is missing: it has to be .*AC\.pdb"
    ):
        open_source(tmp_path / f"AC.{ending}")
    for path in (tmp_path, tmp_path / f"AC.{ending}"):
        (source,) = open_source(path, topology=tmp_path / "elsewhere" / "start.pdb")
        assert (source.name, source.split, source.layout, source.conditions) == (
            "AC",
            None,
            ending,
            UNKNOWN,
        )
        assert_same_frames(source, atol=6e-4)
    (tmp_path / "elsewhere" / "start.pdb").rename(tmp_path / "start.pdb")
    assert_same_frames(open_source(tmp_path)[0], atol=6e-4)


def test_each_trajectory_takes_the_structure_of_its_name(tmp_path: Path):
    for name in PEPTIDES:
        save_trajectory(tmp_path / f"{name}_R1.xtc", name, tmp_path / f"{name}.pdb")
    save_structure(tmp_path / "A.pdb", PEPTIDES["GV"][0], PEPTIDES["GV"][1][0])
    sources = open_source(tmp_path)
    assert [(source.name, source.sequence) for source in sources] == [
        ("AC_R1", "AC"),
        ("GV_R1", "GV"),
        ("SAG_R1", "SAG"),
    ]
    (tmp_path / "AC.pdb").unlink()
    (tmp_path / "A.pdb").unlink()
    with pytest.raises(MoleculeError, match=r"AC_R1\.xtc: which is its topology, GV\.pdb or SAG\.pdb in"):
        open_source(tmp_path)


def test_trajectories_in_folders_of_splits(tmp_path: Path):
    save_trajectory(tmp_path / "train" / "AC.dcd", "AC", tmp_path / "train" / "AC.pdb")
    save_trajectory(tmp_path / "val" / "GV.dcd", "GV", tmp_path / "val" / "GV.pdb")
    assert found(open_source(tmp_path)) == [("AC", "train"), ("GV", "validation")]


def test_a_structure_of_many_models_is_its_own_topology(tmp_path: Path):
    save_trajectory(tmp_path / "AC.pdb", "AC")
    assert_same_frames(open_source(tmp_path / "AC.pdb")[0], atol=6e-5)


@pytest.mark.parametrize("name", ["positions", "coordinates", "xyz", None])
def test_a_bare_array_with_a_structure(name: str | None, tmp_path: Path):
    topology, frames = PEPTIDES["AC"]
    path = tmp_path / ("AC.npz" if name else "AC.npy")
    if name:
        np.savez(path, **{name: frames, "other": frames[0]})
    else:
        np.save(path, frames)
    with pytest.raises(MoleculeError, match="its topology is missing"):
        open_source(path)
    save_structure(tmp_path / "AC.pdb", topology, frames[0])
    assert_same_frames(open_source(path)[0])


def test_a_trajectory_of_another_molecule_is_refused(tmp_path: Path):
    save_trajectory(tmp_path / "GV.xtc", "GV", tmp_path / "GV.pdb")
    save_structure(tmp_path / "AC.pdb", PEPTIDES["AC"][0], PEPTIDES["AC"][1][0])
    (source,) = open_source(tmp_path / "GV.xtc", topology=tmp_path / "AC.pdb")
    with pytest.raises(
        MoleculeError, match=r"GV\.xtc: frames of 12 atoms, but .*AC\.pdb has 12|another molecule"
    ):
        next(source.blocks())


def test_what_is_not_there_or_not_known_is_told(tmp_path: Path):
    with pytest.raises(MoleculeError, match=r"none does not exist"):
        open_source(tmp_path / "none")
    with pytest.raises(
        MoleculeError, match=r"holds nothing, which is no layout that is known: NAME-traj-arrays"
    ):
        open_source(tmp_path)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(MoleculeError, match=r"holds notes\.txt, which is no layout"):
        open_source(tmp_path)
    with pytest.raises(
        MoleculeError, match=r"notes\.txt: no trajectory: it has to be one of \.npz, \.npy, \.xtc"
    ):
        open_source(tmp_path / "notes.txt")
    with pytest.raises(MoleculeError, match=r"unit 'pm' has to be one of nm, angstrom"):
        open_source(tmp_path, unit="pm")
    timewarp(tmp_path)
    with pytest.raises(MoleculeError, match=r"start\.pdb is missing"):
        open_source(tmp_path, topology=tmp_path / "start.pdb")
    dictionary(tmp_path / "all_train.npy", ["AC"])
    with pytest.raises(MoleculeError, match=r"holds both .*AC-traj-arrays\.npz and .*all_train\.npy"):
        open_source(tmp_path)


def test_the_reference_data_opens_as_it_is():
    if not SHARED.is_dir():
        pytest.skip("../shared/data is not there")
    splits = [split for _, split in found(open_source(SHARED / "dipeptides"))]
    assert (splits.count("train"), splits.count("validation"), len(splits)) == (11, 2, 13)
    (source,) = open_source(SHARED / "alanine-dipeptide")
    _, frames = real("alanine-dipeptide", 30)
    np.testing.assert_array_equal(next(source.blocks(30)), frames)
    (beads,) = {source.beads(BeadMap.parse("alanine-dipeptide"))}
    assert (source.sequence, source.frames, len(beads)) == ("ACE-ALA-NME", 50_000, 5)


def test_hdf5_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "tables", None)  # As good as not installed.
    (tmp_path / "traj0.h5").write_bytes(b"")
    (source,) = open_source(tmp_path)
    needed = r"traj0\.h5: HDF5 needs the package tables: pip install 'fokker\[hdf5\]'"
    with pytest.raises(MoleculeError, match=needed):
        next(source.blocks())


@pytest.mark.parametrize("inside", [True, False])
def test_bgmols_hdf5(inside: bool, tmp_path: Path):
    import tables

    topology, positions = real("alanine-dipeptide")
    path = tmp_path / "AImplicitUnconstrained" / "traj0.h5"
    path.parent.mkdir()
    mdtraj.Trajectory(positions, topology, time=np.arange(len(positions))).save(str(path))
    with tables.open_file(str(path), "a") as file:  # bgmol's extension.
        file.create_array("/", "forces", positions)
        energy = file.create_array("/", "potentialEnergy", positions[:, 0, 0])
        energy.attrs.units = "kilojoules_per_mole"
    (source,) = open_source(path.parent if inside else tmp_path)
    assert (source.name, source.frames, source.conditions) == (
        "AImplicitUnconstrained",
        len(positions),
        BGMOL,
    )
    np.testing.assert_array_equal(np.concatenate(list(source.blocks(7))), positions)
    coarse = np.concatenate(list(source.coarse_blocks(BeadMap.parse("alanine-dipeptide"))))
    np.testing.assert_array_equal(coarse, positions[:, [4, 6, 8, 14, 16]])


def test_a_campaign_in_folders_is_found_with_the_topology_above(tmp_path: Path):
    for number in range(3):
        save_trajectory(tmp_path / f"RUN0{number}" / "frame0.xtc", "AC")
    save_structure(tmp_path / "native.pdb", PEPTIDES["AC"][0], PEPTIDES["AC"][1][0])
    sources = open_source(tmp_path)
    assert [source.place for source in sources] == [f"RUN0{n}/frame0.xtc" for n in range(3)]
    assert {source.topology_path for source in sources} == {tmp_path / "native.pdb"}
    for source in sources:
        assert_same_frames(source, atol=6e-4)
    save_structure(tmp_path / "RUN01" / "own.pdb", PEPTIDES["AC"][0], PEPTIDES["AC"][1][0])
    assert open_source(tmp_path)[1].topology_path == tmp_path / "RUN01" / "own.pdb"
    with pytest.raises(MoleculeError, match=r"frame0\.xtc: its topology is missing"):
        open_source(tmp_path / "RUN02")


def test_the_split_is_that_of_the_nearest_folder(tmp_path: Path):
    for folder in ("train/a", "val/b", "c"):
        save_trajectory(tmp_path / folder / "AC.xtc", "AC")
    save_structure(tmp_path / "AC.pdb", PEPTIDES["AC"][0], PEPTIDES["AC"][1][0])
    assert {source.place: source.split for source in open_source(tmp_path)} == {
        "c/AC.xtc": None,
        "train/a/AC.xtc": "train",
        "val/b/AC.xtc": "validation",
    }


def test_what_fokker_made_itself_and_links_in_a_circle_are_passed_over(tmp_path: Path):
    save_trajectory(tmp_path / "AC.xtc", "AC", tmp_path / "AC.pdb")
    save_trajectory(tmp_path / "runs" / "mine" / "trajectories" / "AC-sample.xtc", "AC")
    (tmp_path / "runs" / "mine" / "config.json").write_text("{}")
    (tmp_path / "runs" / "mine" / "experts").mkdir()
    save_trajectory(tmp_path / "dataset" / "AC.xtc", "AC")
    (tmp_path / "dataset" / "manifest.json").write_text("{}")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "back").symlink_to(tmp_path)
    assert [source.place for source in open_source(tmp_path)] == ["AC.xtc"]


def test_two_topologies_are_both_named_with_how_to_choose(tmp_path: Path):
    save_trajectory(tmp_path / "md.xtc", "AC", tmp_path / "start.pdb")
    with quietly():
        mdtraj.load(str(tmp_path / "start.pdb")).save(str(tmp_path / "conf.gro"))
    for path in (tmp_path, tmp_path / "md.xtc"):
        with pytest.raises(
            MoleculeError, match=r"which is its topology, conf\.gro or start\.pdb in .*--topology"
        ):
            open_source(path)
        assert_same_frames(open_source(path, topology=tmp_path / "conf.gro")[0], atol=6e-4)
    (tmp_path / "conf.gro").rename(tmp_path / "md.gro")
    assert open_source(tmp_path)[0].topology_path == tmp_path / "md.gro"


def test_a_topology_is_for_timewarp_and_dictionaries_too(tmp_path: Path):
    other = save_structure(tmp_path / "other.pdb", PEPTIDES["AC"][0], PEPTIDES["AC"][1][0])
    timewarp(tmp_path / "theirs", ["AC"])
    (tmp_path / "theirs" / "AC-traj-state0.pdb").unlink()
    dictionary(tmp_path / "authors" / "train.npy", ["AC"])
    for folder in ("theirs", "authors"):
        assert_same_frames(open_source(tmp_path / folder, topology=other)[0])
        assert_same_frames(open_source(tmp_path / folder, sequence="AC")[0])


@pytest.mark.parametrize("ending", ["pdb", "cif", "PDB", "ent", "pdb.gz"])
def test_a_folder_of_structures_alone_is_what_it_is(ending: str, tmp_path: Path):
    topology, frames = PEPTIDES["AC"]
    plain = tmp_path / f"written.{'cif' if ending == 'cif' else 'pdb'}"
    for number, part in enumerate((frames[:7], frames[7:8])):
        mdtraj.Trajectory(part, topology).save(str(plain))
        content = plain.read_bytes()
        plain.unlink()
        (tmp_path / f"{number}.{ending}").write_bytes(
            gzip.compress(content) if ending == "pdb.gz" else content
        )
    sources = open_source(tmp_path)
    assert [len(np.concatenate(list(source.blocks()))) for source in sources] == [7, 1]
    assert {source.sequence for source in sources} == {"AC"}


def test_a_topology_alone_is_no_trajectory(tmp_path: Path):
    (tmp_path / "a.prmtop").write_text("")
    with pytest.raises(MoleculeError, match=r"a\.prmtop: a topology without positions"):
        open_source(tmp_path / "a.prmtop")
    with pytest.raises(MoleculeError, match="no layout that is known"):
        open_source(tmp_path)


@pytest.mark.parametrize("together", [False, True])
def test_arrays_beside_forces_are_read_with_a_sequence_or_a_topology(together: bool, tmp_path: Path):
    topology, frames = PEPTIDES["AC"]
    if together:
        np.savez(tmp_path / "AC.npz", coordinates=frames, forces=frames)
    else:
        np.save(tmp_path / "AC_coordinates.npy", frames)
        np.save(tmp_path / "AC_forces.npy", frames)
        np.save(tmp_path / "atom_types.npy", np.arange(12))
    with pytest.raises(MoleculeError, match="--sequence ACE-ALA-NME"):
        open_source(tmp_path)
    structure = save_structure(tmp_path / "elsewhere" / "x.pdb", topology, frames[0])
    for given in (open_source(tmp_path, sequence="AC"), open_source(tmp_path, topology=structure)):
        (source,) = given
        assert_same_frames(source)
        assert source.forces is not None
        assert "AC" in source.forces
    with pytest.raises(MoleculeError, match="are both given"):
        open_source(tmp_path, topology=structure, sequence="AC")


@pytest.mark.parametrize("change", ["integers", "one frame", "four axes"])
def test_a_topology_beside_an_array_that_is_no_positions_is_not_the_data(change: str, tmp_path: Path):
    topology, frames = PEPTIDES["AC"]
    save_structure(tmp_path / "top.pdb", topology, frames[0])
    array = {"integers": (1000 * frames).astype(int), "one frame": frames[0], "four axes": frames[None]}
    np.save(tmp_path / "a.npy", array[change])
    with pytest.raises(MoleculeError, match=r"a\.npy: the array is .* of shape .*, and positions are floats"):
        open_source(tmp_path)


def test_arrays_of_something_else_may_lie_beside_structures(tmp_path: Path):
    topology, frames = PEPTIDES["AC"]
    save_structure(tmp_path / "AC.pdb", topology, frames[0])
    np.save(tmp_path / "weights.npy", np.ones(7))
    np.savez(tmp_path / "labels.npz", np.ones((7, 2)))
    assert [source.path.name for source in open_source(tmp_path)] == ["AC.pdb"]


def test_the_only_array_of_an_archive_needs_no_name(tmp_path: Path):
    topology, frames = PEPTIDES["AC"]
    save_structure(tmp_path / "AC.pdb", topology, frames[0])
    np.savez(tmp_path / "AC.npz", frames)
    for path in (tmp_path, tmp_path / "AC.npz"):
        (source,) = open_source(path)
        assert_same_frames(source)


def test_a_folder_that_cannot_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(MoleculeError, match=r"cannot be read: permission denied"):
        open_source(tmp_path)


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save_trajectory(tmp_path / "AC.xtc", "AC", tmp_path / "x" / "AC.pdb")
    assert_same_frames(open_source("~/AC.xtc", topology="~/x/AC.pdb")[0], atol=6e-4)
