"""Files as mdtraj opens them, whatever they are called.

mdtraj encodes names as ASCII and tells formats by endings in lower case, so other names are read and written
through a link. What it or its plugins print is held back.
"""

import contextlib
import ctypes
import importlib.util
import os
import re
import shutil
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import mdtraj

from ..files import FileError
from ..molecules.residues import MoleculeError

HDF5 = (".h5", ".hdf5")
NETCDF = (".nc", ".netcdf", ".ncdf")
MDCRD = (".mdcrd", ".crd")
TRAJECTORIES = (".xtc", ".dcd", ".trr", *NETCDF, ".dtr", *MDCRD, ".xyz", ".xyz.gz", ".lammpstrj", *HDF5)
PDB = (".pdb", ".ent", ".pdb.gz", ".ent.gz")
MMCIF = (".cif", ".mmcif", ".pdbx", ".cif.gz", ".mmcif.gz", ".pdbx.gz")
STRUCTURES = (*PDB, ".gro", *MMCIF)
"""Topologies that hold positions as well, of one frame or of many; mdtraj reads all of them at once."""
TOPOLOGIES = (*STRUCTURES, ".prmtop", ".parm7", ".prm7", ".psf")
IN_NM = (".xtc", ".trr", ".gro", *HDF5)
"""Formats whose numbers mdtraj takes for nm; those of all others it takes for Å."""

_KNOWN = sorted((*TRAJECTORIES, *TOPOLOGIES, ".npy", ".npz"), key=len, reverse=True)
_SPELLED = {".ent": ".pdb", ".ent.gz": ".pdb.gz", ".hdf5": ".h5"}
_CHATTER = re.compile(rb"dcdplugin\).*|\(xdrfile error\).*|\d+ frames of size \(\d+\)")


def ending_of(path: Path) -> str:
    """The ending that tells the format, in lower case, such as ".pdb.gz"; "" if it tells none."""
    name = path.name.lower()
    return next((ending for ending in _KNOWN if name.endswith(ending) and name != ending), "")


def stem_of(path: Path) -> str:
    """The name without that ending."""
    return path.name[: len(path.name) - len(ending_of(path))]


def readable(path: Path) -> AbstractContextManager[str]:
    """A name under which mdtraj opens a file: its own, or a link that is gone afterwards."""
    ending = ending_of(path)
    return _named(path, _SPELLED.get(ending, ending))


def writable(path: Path) -> AbstractContextManager[str]:
    """A name under which mdtraj can write a file that is not there yet."""
    return _named(path, path.suffix.lower())


@contextmanager
def _named(path: Path, ending: str) -> Iterator[str]:
    if str(path).isascii() and path.name.endswith(ending):
        yield str(path)
        return
    folder = _folder_of_links(path)
    try:
        link = f"{folder}/link{ending}"
        os.symlink(path.absolute(), link)
        yield link
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _folder_of_links(path: Path) -> str:
    """A new folder of ASCII name; that of temporary files may have another."""
    for place in (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"):
        if place.isascii():
            with contextlib.suppress(OSError):
                return tempfile.mkdtemp(prefix="fokker-link-", dir=place)
    raise FileError(
        f"{path}: mdtraj takes names in ASCII alone, and a link to it can be written nowhere: set TMPDIR to "
        "a folder of such a name"
    )


_SILENCE = threading.Lock()


@contextmanager
def quietly() -> Iterator[None]:
    """Hold back the warnings of mdtraj and what its libraries print; all else still comes out.

    They are C and write to the process's stdout and stderr, which stand for the time at files.
    """
    with _SILENCE, warnings.catch_warnings(), _caught(sys.stdout, 1), _caught(sys.stderr, 2):
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _caught(stream: Any, number: int) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            caught = stack.enter_context(tempfile.TemporaryFile())
            real = os.dup(number)
        except OSError:  # The stream is closed, or there is no room for a file: then it is not quiet.
            yield
            return
        try:
            _flush()
            os.dup2(caught.fileno(), number)
            yield
        finally:
            _flush()
            os.dup2(real, number)
            os.close(real)
            caught.seek(0)
            others = [line for line in caught.read().splitlines(True) if not _CHATTER.fullmatch(line.strip())]
            if others:
                if stream is not None:
                    stream.flush()
                os.write(number, b"".join(others))


def _flush() -> None:
    """Empty the buffers of C, whose text otherwise goes where stdout stands later."""
    ctypes.CDLL(None).fflush(None)


def require_reader(path: Path) -> None:
    """MoleculeError if the file is missing or cannot be read, or needs a package that is not installed."""
    if not path.exists():
        raise MoleculeError(f"{path} is missing")
    try:
        if not path.is_dir():
            open(path, "rb").close()
    except OSError as error:
        raise MoleculeError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    if ending_of(path) in HDF5 and importlib.util.find_spec("tables") is None:
        raise MoleculeError(
            f"{path}: HDF5 needs the package tables: pip install 'fokker[hdf5]', or convert to .xtc and .pdb"
        )


def load_topology(path: Path) -> mdtraj.Topology:
    """A topology in any of `TOPOLOGIES`, or in HDF5; MoleculeError if there is none."""
    require_reader(path)
    stamp = path.stat()
    return _load_topology(path, stamp.st_mtime_ns, stamp.st_size)


@lru_cache(maxsize=16)
def _load_topology(path: Path, *stamp: int) -> mdtraj.Topology:
    problem = "it has no atom"
    if _ends_in_an_atom(path) and load_models(path) is None:
        raise MoleculeError(f"{path}: the file ends in the middle of an atom: get the file again")
    if ending_of(path) not in (*TOPOLOGIES, *HDF5):
        raise MoleculeError(f"{path}: no topology: it has to be one of {', '.join((*TOPOLOGIES, *HDF5))}")
    try:
        found, cut = load_structure(path, mdtraj.load_topology)
        topology = found.topology if cut else found
        if topology is not None and topology.n_atoms:
            return topology
    except Exception as error:  # Each format has its own.
        problem = _problem(path, error)
    raise MoleculeError(f"{path}: mdtraj finds no topology in it ({problem}): a .pdb file is the surest")


def _ends_in_an_atom(path: Path) -> bool:
    """Whether a PDB file's last line is an atom without all of its position, which mdtraj passes over."""
    if ending_of(path) not in (".pdb", ".ent") or not path.is_file():
        return False
    last = path.read_bytes()[-200:].splitlines()[-1:]
    return bool(last) and last[0].startswith((b"ATOM", b"HETATM")) and len(last[0].rstrip()) < 54


def _problem(path: Path, error: Exception) -> str:
    """Why a topology cannot be read; errors of mdtraj's own code, and traces of HDF5's, say nothing of it."""
    if path.is_file() and not path.stat().st_size:
        return "it is empty"
    if ending_of(path) in HDF5 or isinstance(error, (AttributeError, LookupError, TypeError)):
        return "it is damaged, cut in its beginning, or of another format"
    return one_line(error)


def load_structure(path: Path, load: Callable[[str], Any] = mdtraj.load) -> tuple[Any, bool]:
    """All frames of one of `STRUCTURES`, and whether the file ends in the middle of another.

    `load` may read less of a file that is whole.
    """
    try:
        with quietly(), readable(path) as name:
            return load(name), False
    except Exception:
        whole = load_models(path)
        if whole is None:
            raise
        return whole, True


def load_models(path: Path) -> mdtraj.Trajectory | None:
    """The frames before the one in which a PDB or GRO file ends, if there are any."""
    ending, text = ending_of(path), ""
    with contextlib.suppress(OSError, ValueError):
        if ending in (".pdb", ".ent"):
            before, mark, _ = path.read_text(errors="replace").rpartition("\nENDMDL")
            text = before + mark + "\n" if mark else ""
        elif ending == ".gro":
            lines = path.read_text(errors="replace").splitlines(keepends=True)
            size = int(lines[1]) + 3 if len(lines) > 1 else len(lines) + 1
            text = "".join(lines[: len(lines) // size * size])
    if not text:
        return None
    folder = _folder_of_links(path)
    try:
        part = Path(folder, f"whole{_SPELLED.get(ending, ending)}")
        part.write_text(text)
        with quietly():
            return mdtraj.load(str(part))
    except Exception:  # Damaged elsewhere as well: the first complaint tells more.
        return None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def one_line(error: Any) -> str:
    """What an error says, without its back trace."""
    return " ".join(str(error).split())[:200]
