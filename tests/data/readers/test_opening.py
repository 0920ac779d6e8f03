"""Whatever a file is called, mdtraj opens it, and what is offered it can open."""

import gzip
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from fokker.data.files import FileError
from fokker.data.molecules.residues import MoleculeError
from fokker.data.readers.formats import Trajectory
from fokker.data.readers.opening import (
    STRUCTURES,
    TOPOLOGIES,
    TRAJECTORIES,
    ending_of,
    load_topology,
    quietly,
    readable,
    stem_of,
    writable,
)

from ..examples import made_up

TOPOLOGY, FRAMES = made_up("AC", frames=30)
WRITTEN_AS = {".ent": ".pdb", ".hdf5": ".h5", ".mmcif": ".cif", ".pdbx": ".cif"}
"""Endings that mdtraj reads, and does not write."""


def save(path: Path) -> Path:
    """The frames in the format of the ending, which may be in any case."""
    ending = ending_of(path)
    plain = WRITTEN_AS.get(ending.removesuffix(".gz"), ending.removesuffix(".gz"))
    first = path.parent / f"written{plain}"
    with quietly():
        box = np.full((len(FRAMES), 3), 5.0), np.full((len(FRAMES), 3), 90.0)
        mdtraj.Trajectory(FRAMES, TOPOLOGY, None, *box).save(str(first))
    if ending.endswith(".gz"):
        path.write_bytes(gzip.compress(first.read_bytes()))
        first.unlink()
    else:
        shutil.move(first, path)
    return path


def spelled(ending: str) -> list[str]:
    return [f"a{ending}", f"ä β{ending.upper()}"]


CASES = [name for ending in (*TRAJECTORIES, *STRUCTURES) for name in spelled(ending)]


@pytest.mark.parametrize("name", CASES)
def test_every_ending_of_trajectories_is_read_in_any_case_and_with_any_letters(name: str, tmp_path: Path):
    path = save(tmp_path / name)
    frames = np.concatenate([block for _, block in Trajectory(path).blocks(7, TOPOLOGY)])
    np.testing.assert_allclose(frames, FRAMES, atol=6e-4)


@pytest.mark.parametrize("name", [name for ending in STRUCTURES for name in spelled(ending)])
def test_every_structure_is_a_topology(name: str, tmp_path: Path):
    found = load_topology(save(tmp_path / name))
    assert [atom.name for atom in found.atoms] == [atom.name for atom in TOPOLOGY.atoms]


PSF = """PSF

       1 !NTITLE
 REMARKS

       2 !NATOM
       1 A    1    ALA  N    NH1    -0.470000       14.0070           0
       2 A    1    ALA  CA   CT1     0.070000       12.0110           0

       1 !NBOND: bonds
       1       2

"""


@pytest.mark.parametrize("name", spelled(".psf"))
def test_psf_is_a_topology(name: str, tmp_path: Path):
    (tmp_path / name).write_text(PSF)
    assert load_topology(tmp_path / name).n_bonds == 1


@pytest.mark.parametrize(
    "name", [name for ending in (".prmtop", ".parm7", ".prm7") for name in spelled(ending)]
)
def test_ambers_topologies_are_read(name: str, tmp_path: Path):
    public = Path(__file__).parents[3] / ".." / "shared" / "data" / "public" / "trpzip2" / "tz2.parm7"
    if not public.exists():
        pytest.skip("../shared/data/public has no trpzip2, and mdtraj writes no prmtop")
    shutil.copy(public, tmp_path / name)
    assert load_topology(tmp_path / name).n_atoms == 223


def test_every_topology_that_is_offered_is_tried_above():
    assert {*TOPOLOGIES} - {*STRUCTURES} == {".psf", ".prmtop", ".parm7", ".prm7"}


def test_endings_are_told_from_names():
    for name, ending, stem in (
        ("a.XTC", ".xtc", "a"),
        ("1abc.PDB.gz", ".pdb.gz", "1abc"),
        ("a.b.ent", ".ent", "a.b"),
        ("a.txt", "", "a.txt"),
        (".xtc", "", ".xtc"),
    ):
        assert (ending_of(Path(name)), stem_of(Path(name))) == (ending, stem)


def test_links_are_gone_afterwards_also_if_the_folder_for_temporary_files_has_other_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    other = tmp_path / "tmp ü"
    other.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(other))
    path = save(tmp_path / "é.xtc")
    with readable(path) as name:
        assert name.isascii()
        assert Path(name).read_bytes() == path.read_bytes()
    assert not os.path.lexists(name)
    assert not Path(name).parent.exists()
    with pytest.raises(ZeroDivisionError), readable(path) as name:
        raise ZeroDivisionError
    assert not Path(name).parent.exists()
    assert not list(other.iterdir())


def test_a_plain_name_needs_no_link(tmp_path: Path):
    with readable(tmp_path / "a.xtc") as name:
        assert name == str(tmp_path / "a.xtc")


def test_what_is_written_under_the_name_is_in_the_file(tmp_path: Path):
    with writable(tmp_path / "ö.xtc") as name:
        mdtraj.Trajectory(FRAMES, TOPOLOGY).save(name)
    assert Trajectory(tmp_path / "ö.xtc").frames == len(FRAMES)
    assert [path.name for path in tmp_path.iterdir()] == ["ö.xtc"]


def test_no_place_for_a_link_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(**_: str) -> str:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    with (
        pytest.raises(FileError, match="set TMPDIR to a folder of such a name"),
        readable(tmp_path / "ü.xtc"),
    ):
        pass


LOUD = """
import ctypes, os
from fokker.data.readers.opening import quietly
libc = ctypes.CDLL(None)
print("before", flush=True)
libc.puts(b"C before")
with quietly():
    libc.puts(b"dcdplugin) detected standard 32-bit DCD file of native endianness")
    libc.puts(b"dcdplugin) file size (1) indicates there are actually ")
    libc.puts(b"10 frames of size (224)")
    os.write(1, b"another thread\\n")
    libc.puts(b"C within")
print("after", flush=True)
libc.puts(b"C after")
libc.fflush(None)
"""


def test_the_plugins_words_alone_are_held_back():
    done = subprocess.run([sys.executable, "-c", LOUD], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.splitlines()) == sorted(
        ["before", "C before", "another thread", "C within", "after", "C after"]
    )


def test_a_closed_stdout_is_no_reason_to_fail():
    closed = "import os; os.close(1)\nfrom fokker.data.readers.opening import quietly\nwith quietly(): pass"
    done = subprocess.run([sys.executable, "-c", closed], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_reading_dcd_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    path = save(tmp_path / "a.dcd")
    path.write_bytes(path.read_bytes()[:-300])
    positions = Trajectory(path)
    assert (positions.atoms, positions.frames) == (12, 28)
    with pytest.raises(MoleculeError, match="28 frames are whole"):
        list(positions.blocks(5, TOPOLOGY))
    assert capfd.readouterr().out == ""


# mdtraj leaves a file open in which it fails.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("ending", [".pdb", ".gro"])
def test_a_structure_whose_last_model_is_cut_is_still_a_topology(ending: str, tmp_path: Path):
    path = save(tmp_path / f"a{ending}")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3 + 400])
    assert load_topology(path).n_atoms == 12
    blocks = Trajectory(path).blocks(10, TOPOLOGY)
    for start in (0, 10):
        np.testing.assert_allclose(next(blocks)[1], FRAMES[start : start + 10], atol=6e-4)
    with pytest.raises(MoleculeError, match="20 frames are whole, then the file ends"):
        next(blocks)


# mdtraj leaves a file open in which it fails.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("ending", [".gro", ".prmtop", ".cif", ".h5", ".psf", ".pdb"])
def test_a_topology_that_is_empty_or_something_else_is_told_without_the_words_of_code(
    ending: str, tmp_path: Path
):
    path = tmp_path / f"a{ending}"
    for content, problem in (
        (b"", "it is empty"),
        (b"hello\nworld\n", "it is damaged|it has no atom|literal|PSF"),
    ):
        path.write_bytes(content)
        with pytest.raises(MoleculeError, match=rf"finds no topology in it \(.*({problem})") as caught:
            load_topology(path)
        for word in ("NoneType", "trace", "POINTERS", "index"):
            assert word not in str(caught.value)


def test_a_structure_that_ends_within_an_atom_is_no_smaller_molecule(tmp_path: Path):
    lines = save(tmp_path / "a.pdb").read_text().split("MODEL")[1].splitlines()
    atoms = [line for line in lines if line.startswith("ATOM")]
    path = tmp_path / "b.pdb"
    path.write_text("\n".join([*atoms[:5], atoms[5][:40]]))
    with pytest.raises(MoleculeError, match=r"b\.pdb: the file ends in the middle of an atom: get the file"):
        load_topology(path)
    path.write_text("\n".join([*atoms[:5], atoms[5][:54]]))
    assert load_topology(path).n_atoms == 6


def test_what_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = save(tmp_path / "a.pdb")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(MoleculeError, match=r"a\.pdb cannot be read: permission denied"):
        load_topology(path)
