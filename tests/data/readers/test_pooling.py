"""Trajectories of one molecule are one system, under a name that tells what it is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fokker.data.molecules.bead_map import BeadMap
from fokker.data.readers.arrays import ArchivedArray
from fokker.data.readers.found import Found
from fokker.data.readers.pooling import LONGEST, Pool, pool, repeated, safe_name
from fokker.data.readers.sources import Source

from ..examples import made_up, save_structure

BACKBONE = BeadMap.parse("backbone")


def source(folder: Path, sequence: str, name: str, place: str = "", topology: str = "top") -> Source:
    made, frames = made_up(sequence, frames=2)
    path = folder / f"{name}-{place.replace('/', '-')}.npz"
    folder.mkdir(exist_ok=True)
    np.savez(path, positions=frames)
    structure = save_structure(folder / f"{sequence}-{topology}.pdb", made, frames[0])
    return Source(name, "xtc", ArchivedArray(path), structure, place=place or f"{name}.xtc")


def names(pools: list[Pool]) -> list[str]:
    return [part.name for part in pools]


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (["rep1", "rep2", "rep10"], "GA"),
        (["trajectory-0", "trajectory-1"], "GA"),
        (["glyala_R1", "glyala_R2"], "glyala"),
        (["ala2_run_1", "ala2_run_2"], "ala2"),
        (["frame0", "frame0"], "GA"),
        (["mine"], "mine"),
        (["one", "two"], "GA"),
        (["GA", "GA"], "GA"),
    ],
)
def test_a_system_is_called_by_what_its_files_share_or_its_sequence(
    files: list[str], name: str, tmp_path: Path
):
    sources = [source(tmp_path, "GA", file, f"{n}/{file}.xtc", str(n)) for n, file in enumerate(files)]
    (found,) = pool(sources, BACKBONE)
    assert found.name == name
    assert found.sources == tuple(sources)
    assert found.beads(BACKBONE).name == name


def test_different_molecules_stay_apart_and_their_names_differ(tmp_path: Path):
    sources = [
        source(tmp_path, sequence, "md", f"{sequence}/md.xtc") for sequence in ("GA", "AC", "GA", "AAA")
    ]
    pools = pool(sources, BACKBONE)
    assert names(pools) == ["GA", "md", "AAA-md"]
    assert [len(part.sources) for part in pools] == [2, 1, 1]


def test_one_sequence_with_other_beads_is_another_system(tmp_path: Path):
    topology, frames = made_up("GA", frames=2)
    kept = [atom.index for atom in topology.atoms if atom.name != "O"]
    full = source(tmp_path, "GA", "a")
    save_structure(tmp_path / "less.pdb", topology.subset(kept), frames[0, kept])
    np.savez(tmp_path / "less.npz", positions=frames[:, kept])
    less = replace(full, positions=ArchivedArray(tmp_path / "less.npz"), topology_path=tmp_path / "less.pdb")
    assert len(pool([full, less], BeadMap.parse("name CA or name O"))) == 2
    assert len(pool([full, less], BeadMap.parse("calpha"))) == 1


def test_splits_are_those_of_the_trajectories(tmp_path: Path):
    parts = [
        replace(source(tmp_path, "GA", f"r{n}"), split=split)
        for n, split in enumerate(("test", None, "test"))
    ]
    (found,) = pool(parts, BACKBONE)
    assert found.splits == ("test", "train")
    assert found.of("test") == (parts[0], parts[2])


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("AC:GV", "AC_GV"),
        ("../x y/z", "x-y-z"),
        ("ü λ", "ü-λ"),
        (".hidden", "hidden"),
        ("a" * 100, "a" * 100),
    ],
)
def test_names_are_safe_as_folders(text: str, name: str):
    assert safe_name(text) == name


def test_long_names_are_cut_and_stay_apart():
    first, second = (safe_name("ä" * 200 + end) for end in "xy")
    assert first != second
    assert max(len(name.encode()) for name in (first, second)) <= LONGEST


def test_names_that_are_taken_are_counted(tmp_path: Path):
    sources = [source(tmp_path, sequence, "x", "x.xtc", sequence) for sequence in ("GA", "AG")]
    sources.append(source(tmp_path, "AGA", "AG", "AG.xtc", "b"))
    assert names(pool(sources, BACKBONE)) == ["x", "AG", "AGA"]


def test_repeats_are_counted_within_files_and_between_them():
    def found(first: int, last: int, repeats: int = 0) -> Found:
        return Found(
            frames=last - first, marks="".join(f"{n:016x}" for n in range(first, last)), repeats=repeats
        )

    restarts = [found(0, 100, 3), found(80, 200), found(199, 300, 1), found(400, 500)]
    assert repeated(restarts) == (4, {(0, 1): 20, (1, 2): 1})
    assert repeated([found(0, 5), found(9, 12), found(0, 5), found(0, 5)]) == (0, {(0, 2): 5, (0, 3): 5})
    assert repeated([]) == (0, {})
