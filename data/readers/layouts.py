"""Trajectories of peptides in the layouts in which people publish and keep them, behind one interface.

- Timewarp: NAME-traj-arrays.npz and NAME-traj-state0.pdb, in one folder or in train, val and test; with
  NAME-reference.json and NAME-biased-arrays.npz where `fokker dataset generate` made them.
- Klein & Noé's and the authors' release: [all_]train.npy …, each a pickled dictionary of peptides, with PDB
  files beside; all atoms, or beads already.
- MDTraj HDF5 (bgmol), and whatever else mdtraj opens, with a topology of the same name or the only one there,
  or in the folders above.
- Arrays of positions with a topology or a sequence, and structures alone, of one model or of many.

Folders are searched with all that is in them, but for those of fokker's own runs and datasets.
"""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..molecules.bead_map import BeadMap
from ..molecules.bonds import UNITS
from ..molecules.residues import MoleculeError, parse_sequence
from ..reference.biased import ENDING
from .arrays import ArchivedArray, StoredArray, members
from .formats import Trajectory
from .opening import HDF5, STRUCTURES, TOPOLOGIES, TRAJECTORIES, ending_of, require_reader, stem_of
from .pickles import read_dictionary
from .places import SPLITS, Place, split_of, walk
from .sources import UNKNOWN, Conditions, Source

TIMEWARP = Conditions("Amber-14", "OBC1", 310.0)
"""Of Timewarp's data, and of Klein & Noé's and the authors', which were taken from them."""
BGMOL = Conditions("Amber ff99SB-ILDN", "OBC2 (GBSAOBCForce)", 300.0)
_BGMOL_FOLDER = "AImplicitUnconstrained"

_ARRAYS, _STATE, _REPORT = "-traj-arrays.npz", "-traj-state0.pdb", "-reference.json"
_PICKLED = re.compile(rf"(?:all_)?({'|'.join(SPLITS)})\.npy", re.IGNORECASE)
_POSITIONS = ("positions", "coordinates", "coords", "xyz")
_NO_POSITIONS = re.compile(r"forces?|velocit|energ|box|time|step|type|-biased-arrays", re.IGNORECASE)


def open_source(
    path: str | Path,
    topology: str | Path | None = None,
    unit: str | None = None,
    skip_damaged: bool = False,
    sequence: str | None = None,
    bead_map: BeadMap | None = None,
) -> list[Source]:
    """The trajectories in a folder or file, whose layout is told by what is there. No frame is read yet.

    `topology` is for all of them, in place of those beside; `sequence` stands for one, and `bead_map` says
    which beads files without atoms may hold. `unit` replaces what is detected. `skip_damaged` leaves out what
    is broken. Raises MoleculeError if a file or its counterpart is missing or cannot be read, or nothing is
    recognised.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise MoleculeError(f"{path} does not exist")
    if unit is not None and unit not in UNITS:
        raise MoleculeError(f"unit {unit!r} has to be one of {', '.join(UNITS)}")
    given = None if topology is None else Path(topology).expanduser()
    if given is not None and sequence is not None:
        raise MoleculeError(f"{given} and sequence {sequence!r} are both given: one says what the atoms are")
    if given is not None:
        require_reader(given)
    if sequence is not None:
        parse_sequence(sequence)
    folder = path.is_dir() and ending_of(path) != ".dtr"
    place = Place(path if folder else path.parent, given, sequence)
    found = _folder(place) if folder else _file(path, place)
    return [
        replace(
            source,
            unit=unit,
            place=os.path.relpath(source.path, place.root) + source.place,
            skip_damaged=skip_damaged,
            given_sequence=sequence,
            bead_map=bead_map,
        )
        for source in found
    ]


def _folder(place: Place) -> list[Source]:
    files = walk(place.root)
    timewarp = _timewarp(files, place)
    pickled = [file for file in files if _PICKLED.fullmatch(file.name) and _is_pickled(file)]
    if timewarp and pickled:
        raise MoleculeError(f"{place.root} holds both {timewarp[0].path} and {pickled[0]}: give one of them")
    found = timewarp or [source for file in pickled for source in _pickled(file, place)]
    found = found or [
        _trajectory(file, place, split_of(file, place.root))
        for file in files
        if ending_of(file) in TRAJECTORIES
    ]
    found = found or [
        _array(file, place, split_of(file, place.root)) for file in files if _holds_positions(file)
    ]
    found = found or _structures(files, place)
    if not found:
        inside = ", ".join(sorted(entry.name for entry in place.root.iterdir())[:5]) or "nothing"
        raise MoleculeError(
            f"{place.root} holds {inside}, which is no layout that is known: NAME{_ARRAYS} "
            f"with NAME{_STATE} (also in train, val, test), all_train.npy or train.npy with pdbs/NAME.pdb, "
            f"trajectories ({', '.join(TRAJECTORIES)}) with a topology, arrays (.npy, .npz) of positions "
            f"with a topology or a sequence, or structures ({', '.join(STRUCTURES)})"
        )
    return found


def _file(path: Path, place: Place) -> list[Source]:
    require_reader(path)
    ending = ending_of(path)
    if path.name.endswith(_ARRAYS):
        return [_timewarp_pair(path, place)]
    if ending == ".npy" and _is_pickled(path):
        return _pickled(path, place)
    if ending in (".npz", ".npy"):
        return [_array(path, place)]
    if ending in TOPOLOGIES and ending not in STRUCTURES:
        raise MoleculeError(
            f"{path}: a topology without positions: name the trajectory, and it as --topology"
        )
    if ending in (*TRAJECTORIES, *STRUCTURES):
        return [_trajectory(path, place)]
    known = ", ".join((".npz", ".npy", *TRAJECTORIES, *STRUCTURES))
    raise MoleculeError(f"{path}: no trajectory: it has to be one of {known}")


def _timewarp(files: Sequence[Path], place: Place) -> list[Source]:
    arrays = [file for file in files if file.name.endswith(_ARRAYS)]
    found = [_timewarp_pair(file, place) for file in arrays]
    states = {file for file in files if file.name.endswith(_STATE)}
    lonely = states - {file.with_name(file.name.replace(_ARRAYS, _STATE)) for file in arrays}
    if found and lonely:
        state = min(lonely)
        missing = state.name.replace(_STATE, _ARRAYS)
        raise MoleculeError(
            f"{state} is there, but {missing} is missing beside it: get it, or remove the former"
        )
    return found


def _timewarp_pair(arrays: Path, place: Place) -> Source:
    name = arrays.name.removesuffix(_ARRAYS)
    state = place.topology or (None if place.sequence else arrays.with_name(name + _STATE))
    if state is not None and not state.exists():
        raise MoleculeError(f"{arrays} is there, but {state} is missing: get it, or give the topology")
    report = arrays.with_name(name + _REPORT)
    conditions = _timewarp_conditions(arrays, report)
    split = split_of(arrays, place.root)
    known, biased = report if report.exists() else None, arrays.with_name(name + ENDING)
    return Source(
        *(name, "timewarp", ArchivedArray(arrays), state, split),
        conditions=conditions,
        report=known,
        biased=biased if known and biased.exists() and "tables" in members(biased) else None,
    )


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


def _is_pickled(path: Path) -> bool:
    return np.dtype(StoredArray.in_npy(path).dtype).hasobject


def _pickled(path: Path, place: Place) -> list[Source]:
    match = _PICKLED.fullmatch(path.name)
    word = match[1] if match else path.stem
    split = SPLITS.get(word.lower())
    return [
        Source(
            name,
            "pickled dictionary",
            array,
            place.topology or (None if place.sequence else _structure_of(path, word, name)),
            split,
            conditions=TIMEWARP,
            place=f": {name}",
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


def _holds_positions(path: Path) -> bool:
    """Whether it is an array that can be positions by its names and shape."""
    if ending_of(path) not in (".npy", ".npz") or _NO_POSITIONS.search(stem_of(path)):
        return False
    if ending_of(path) == ".npy":
        return _fits(StoredArray.in_npy(path))
    inside = members(path)
    alone = len(inside) == 1 and _fits(ArchivedArray(path, next(iter(inside))))
    return alone or bool(inside.intersection(_POSITIONS))


def _fits(array: StoredArray | ArchivedArray) -> bool:
    """Whether it has the type and shape of positions."""
    try:
        return array.atoms > 0
    except MoleculeError:
        return False


def _array(path: Path, place: Place, split: str | None = None) -> Source:
    topology = place.topology_of(path)
    if ending_of(path) == ".npy":
        positions, forces = StoredArray.in_npy(path), _forces_beside(path)
    else:
        inside = members(path)
        alone = next(iter(inside)) if len(inside) == 1 else "positions"
        name = next((name for name in _POSITIONS if name in inside), alone)
        positions = ArchivedArray(path, name)
        forces = f"{path}: forces" if "forces" in inside else None
    return Source(stem_of(path), "array", positions, topology, split, forces=forces)


def _forces_beside(path: Path) -> str | None:
    """NAME_forces.npy beside NAME_coordinates.npy or NAME.npy."""
    stem = stem_of(path)
    names = [re.sub("|".join(_POSITIONS), word, stem) for word in ("forces", "force")] + [f"{stem}_forces"]
    found = [path.with_name(f"{name}.npy") for name in names if name != stem]
    return next((str(file) for file in found if file.exists()), None)


def _structures(files: Sequence[Path], place: Place) -> list[Source]:
    """Files that are their own topologies, of a folder that holds nothing else.

    MoleculeError if one stands beside an array that was meant for positions.
    """
    for file in files:
        if ending_of(file) == ".npy" and not _NO_POSITIONS.search(stem_of(file)):
            array = StoredArray.in_npy(file)
            if array.shape[-1:] == (3,):  # Three numbers of something, though not as positions have them.
                array.atoms  # noqa: B018 (it says what is wrong)
    own = [file for file in files if ending_of(file) in STRUCTURES and file != place.topology]
    return [_trajectory(file, place, split_of(file, place.root)) for file in own]


def _trajectory(path: Path, place: Place, split: str | None = None) -> Source:
    own = ending_of(path) in (*HDF5, *STRUCTURES)
    topology = place.topology or path if own else place.topology_of(path)
    bgmol = path.parent.name == _BGMOL_FOLDER
    conditions = BGMOL if bgmol else UNKNOWN
    name = path.parent.name if bgmol else stem_of(path)
    return Source(name, ending_of(path)[1:], Trajectory(path), topology, split, conditions=conditions)
