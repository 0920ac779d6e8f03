"""Trajectories of peptides in the layouts in which people publish and keep them, behind one interface.

- Timewarp: NAME-traj-arrays.npz and NAME-traj-state0.pdb, in one folder or in train, val and test; with
  NAME-reference.json where `fokker data generate` made them.
- Klein & Noé's and the authors' release: [all_]train.npy …, each a pickled dictionary of peptides, with PDB
  files beside; all atoms, or beads already.
- MDTraj HDF5 (bgmol), and whatever else mdtraj opens, with a topology of the same name or the only one there.
"""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from .bonds import UNITS
from .readers_arrays import HDF5, ArchivedArray, StoredArray, Trajectory, members, require_reader
from .readers_pickle import read_dictionary
from .residues import MoleculeError
from .sources import UNKNOWN, Conditions, Source

SPLITS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
"""Names of folders and files, and the split that each is."""

TIMEWARP = Conditions("Amber-14", "OBC1", 310.0)
"""Of Timewarp's data, and of Klein & Noé's and the authors', which were taken from them."""
BGMOL = Conditions("Amber ff99SB-ILDN", "OBC2 (GBSAOBCForce)", 300.0)
_BGMOL_FOLDER = "AImplicitUnconstrained"

_ARRAYS, _STATE, _REPORT = "-traj-arrays.npz", "-traj-state0.pdb", "-reference.json"
_PICKLED = re.compile(rf"(?:all_)?({'|'.join(SPLITS)})\.npy", re.IGNORECASE)
_TRAJECTORIES = (".xtc", ".dcd", ".trr", ".nc", ".netcdf", ".ncdf", ".dtr", ".mdcrd", ".crd", ".xyz", *HDF5)
_TOPOLOGIES = (".pdb", ".gro", ".prmtop", ".parm7", ".prm7", ".psf", ".cif", ".mmcif", ".pdbx", ".mol2")

_REGULAR_STEPS = 2000
"""Timewarp keeps a frame at each multiple of these steps, and in some sets more in between."""


def open_source(
    path: str | Path,
    topology: str | Path | None = None,
    split: str | None = None,
    unit: str | None = None,
    regular: bool = False,
    conditions: Conditions | None = None,
) -> list[Source]:
    """The trajectories in a folder or file, whose layout is told by what is there. No frame is read yet.

    `topology` is for a file without one beside it, or for all trajectories of a folder. `split` is for files
    whose layout gives none. `unit` and `conditions` replace what is detected or known of the layout.
    `regular` leaves out Timewarp's frames between the regular ones. Raises MoleculeError if a file or its
    counterpart is missing, or nothing is recognised.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise MoleculeError(f"{path} does not exist")
    if unit is not None and unit not in UNITS:
        raise MoleculeError(f"unit {unit!r} has to be one of {', '.join(UNITS)}")
    given = None if topology is None else Path(topology).expanduser()
    if given is not None:
        require_reader(given)
    found = _folder(path, given) if path.is_dir() and path.suffix != ".dtr" else _file(path, given)
    return [_declare(source, split, unit, regular, conditions) for source in found]


def _declare(
    source: Source, split: str | None, unit: str | None, regular: bool, conditions: Conditions | None
) -> Source:
    positions = source.positions
    if regular and isinstance(positions, ArchivedArray):
        positions = replace(positions, every=_REGULAR_STEPS)
    return replace(
        source,
        positions=positions,
        split=source.split or split,
        unit=unit,
        conditions=conditions or source.conditions,
    )


def _folder(path: Path, topology: Path | None) -> list[Source]:
    timewarp, pickled = _timewarp(path), _pickled_files(path)
    if timewarp and pickled:
        raise MoleculeError(f"{path} holds both {timewarp[0].path} and {pickled[0]}: give one of them")
    if topology is not None and (timewarp or pickled):
        raise MoleculeError(f"{path}: every molecule in it has its own topology: leave out {topology}")
    found = timewarp or [source for file in pickled for source in _pickled(file)]
    found = found or _trajectories(path, topology)
    if not found:
        entries = ", ".join(sorted(entry.name for entry in path.iterdir())[:5])
        raise MoleculeError(
            f"{path} holds {entries or 'nothing'}, which is no layout that is known: NAME{_ARRAYS} with "
            f"NAME{_STATE} (also in train, val, test), all_train.npy or train.npy with pdbs/NAME.pdb, or "
            f"trajectories ({', '.join(_TRAJECTORIES)}) with a topology"
        )
    return found


def _file(path: Path, topology: Path | None) -> list[Source]:
    if path.name.endswith(_ARRAYS):
        return [_timewarp_pair(path, SPLITS.get(path.parent.name.lower()), topology)]
    if path.suffix == ".npy" and _is_pickled(path):
        return _pickled(path, topology)
    if path.suffix in (".npz", ".npy"):
        return [_array(path, topology or _topology_of(path))]
    if path.suffix in (*HDF5, *_TOPOLOGIES):
        return [_trajectory(path, topology or path)]
    if path.suffix in _TRAJECTORIES:
        return [_trajectory(path, topology or _topology_of(path))]
    known = ", ".join((".npz", ".npy", *_TRAJECTORIES, *_TOPOLOGIES))
    raise MoleculeError(f"{path}: no trajectory: it has to be one of {known}")


def _files(folder: Path, *endings: str) -> list[Path]:
    """Those with such names, in order; none that an archiver hid."""
    files = sorted(folder.iterdir())
    return [file for file in files if file.name.endswith(endings) and not file.name.startswith(".")]


def _roots(path: Path) -> list[tuple[str | None, Path]]:
    """A folder and those of its splits, with what split each is."""
    folders = [sub for sub in sorted(path.iterdir()) if sub.is_dir() and sub.name.lower() in SPLITS]
    return [(SPLITS.get(folder.name.lower()), folder) for folder in (*folders, path)]


def _timewarp(path: Path) -> list[Source]:
    found, states = [], set()
    for split, root in _roots(path):
        found += [_timewarp_pair(file, split) for file in _files(root, _ARRAYS)]
        states |= {*_files(root, _STATE)}
    lonely = states - {source.topology_path for source in found}
    if found and lonely:
        state = min(lonely)
        arrays = state.name.replace(_STATE, _ARRAYS)
        raise MoleculeError(
            f"{state} is there, but {arrays} is missing beside it: get it, or remove the former"
        )
    return found


def _timewarp_pair(arrays: Path, split: str | None, topology: Path | None = None) -> Source:
    name = arrays.name.removesuffix(_ARRAYS)
    state = topology or arrays.with_name(name + _STATE)
    if not state.exists():
        raise MoleculeError(f"{arrays} is there, but {state} is missing: get it, or give the topology")
    conditions = _timewarp_conditions(arrays, arrays.with_name(name + _REPORT))
    return Source(name, "timewarp", ArchivedArray(arrays), state, split, conditions=conditions)


def _timewarp_conditions(arrays: Path, report: Path) -> Conditions:
    """As the generator reports; Timewarp's own if all arrays that it published are there."""
    if not report.exists():
        published = {"step", "energies", "positions", "velocities", "forces"} <= members(arrays)
        return TIMEWARP if published else UNKNOWN
    try:
        physics = json.loads(report.read_text())["physics"]
        return Conditions(physics["force_field"], physics["solvent"], float(physics["temperature_K"]))
    except (ValueError, KeyError, TypeError) as error:
        raise MoleculeError(f"{report}: not the report of a reference ({error!r}): make it again") from None


def _pickled_files(path: Path) -> list[Path]:
    files = [file for file in _files(path, ".npy") if _PICKLED.fullmatch(file.name)]
    return [file for file in files if _is_pickled(file)]


def _is_pickled(path: Path) -> bool:
    return np.dtype(StoredArray.in_npy(path).dtype).hasobject


def _pickled(path: Path, topology: Path | None = None) -> list[Source]:
    match = _PICKLED.fullmatch(path.name)
    word = match[1] if match else path.stem
    split = SPLITS.get(word.lower())
    return [
        Source(
            name,
            "pickled dictionary",
            array,
            topology or _structure_of(path, word, name),
            split,
            conditions=TIMEWARP,
        )
        for name, array in read_dictionary(path).items()
    ]


def _structure_of(path: Path, word: str, name: str) -> Path:
    folders = [path.parent / word, path.parent / "pdbs", path.parent / "pdbs" / word, path.parent]
    candidates = [folder / file for folder in folders for file in (f"{name}{_STATE}", f"{name}.pdb")]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    raise MoleculeError(
        f"{path} holds {name}, but its structure is missing: it has to be {candidates[0]} or {candidates[3]}"
    )


def _array(path: Path, topology: Path) -> Source:
    if path.suffix == ".npy":
        return Source(path.stem, "array", StoredArray.in_npy(path), topology)
    names = [name for name in ("positions", "coordinates", "coords", "xyz") if name in members(path)]
    return Source(path.stem, "array", ArchivedArray(path, names[0] if names else "positions"), topology)


def _trajectories(path: Path, topology: Path | None) -> list[Source]:
    """Every trajectory of a folder, of its splits, and of bgmol's folder in it."""
    found = []
    for split, root in (*_roots(path), (None, path / _BGMOL_FOLDER)):
        for file in _files(root, *_TRAJECTORIES) if root.is_dir() else []:
            own = file if file.suffix in HDF5 else topology or _topology_of(file)
            found.append(_trajectory(file, own, split))
    return found


def _trajectory(path: Path, topology: Path, split: str | None = None) -> Source:
    bgmol = path.parent.name == _BGMOL_FOLDER
    conditions = BGMOL if bgmol else UNKNOWN
    name = path.parent.name if bgmol else path.stem
    return Source(name, path.suffix[1:], Trajectory(path), topology, split, conditions=conditions)


def _topology_of(path: Path) -> Path:
    """The topology beside a trajectory: of the longest name with which its own begins, or the only one."""
    near = [file for file in _files(path.parent, *_TOPOLOGIES) if file != path]
    alike = [file for file in near if path.stem.startswith(file.stem)]
    if alike:
        return max(alike, key=lambda file: len(file.stem))
    if len(near) == 1:
        return near[0]
    raise MoleculeError(
        f"{path}: its topology is missing: it has to be {path.with_suffix('.pdb')}, or the only one of "
        f"{', '.join(_TOPOLOGIES)} in its folder, or given"
    )
