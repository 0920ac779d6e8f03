"""Where trajectories and what belongs to them lie: the files of a folder, their splits and topologies."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..dataset.shards import MANIFEST
from ..molecules.residues import MoleculeError
from .opening import TOPOLOGIES, ending_of, stem_of

_RUN = "config.json", "experts"
"""What a folder of a run holds, whose trajectories are a model's."""

SPLITS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
"""Names of folders and files, and the split that each is."""


@dataclass(frozen=True)
class Place:
    """What was given, and what stands for a topology where none is found."""

    root: Path
    topology: Path | None
    sequence: str | None

    def topology_of(self, path: Path) -> Path | None:
        """That of a trajectory; None if the sequence stands for it."""
        if self.topology is not None or self.sequence is not None:
            return self.topology
        return _topology_of(path, self.root)


def walk(folder: Path, seen: set[tuple[int, int]] | None = None) -> list[Path]:
    """Every file in a folder, those of its folders first, each in order; none that is hidden or fokker's own.

    MoleculeError if a folder cannot be read. `seen` are folders that were walked.
    """
    seen = set() if seen is None else seen
    try:
        stat, entries = folder.stat(), sorted(folder.iterdir())
    except OSError as error:
        raise MoleculeError(f"{folder} cannot be read: {(error.strerror or str(error)).lower()}") from None
    if (stat.st_dev, stat.st_ino) in seen:  # A link led back.
        return []
    seen.add((stat.st_dev, stat.st_ino))
    shown = [entry for entry in entries if not entry.name.startswith(".")]
    folders = [entry for entry in shown if entry.is_dir() and ending_of(entry) != ".dtr"]
    files = [entry for entry in shown if entry not in folders]
    return [file for sub in folders if not _is_ours(sub) for file in walk(sub, seen)] + files


def _is_ours(folder: Path) -> bool:
    return (folder / MANIFEST).exists() or all((folder / part).exists() for part in _RUN)


def split_of(path: Path, root: Path) -> str | None:
    """By the nearest folder, up to the root, that is called like a split."""
    found = (SPLITS.get(folder.name.lower()) for folder in _folders(path, root))
    return next(filter(None, found), None)


def _folders(path: Path, root: Path) -> Iterator[Path]:
    """Those that a file is in, up to the root."""
    for folder in path.parents:
        yield folder
        if folder == root:
            return


def _topology_of(path: Path, root: Path) -> Path:
    """The nearest topology, from the trajectory's folder up to the root.

    In a folder it is that of the longest name with which the trajectory's begins, or the only one.
    """
    for folder in _folders(path, root):
        near = [file for file in _topologies_in(folder, folder.stat().st_mtime_ns) if file != path]
        alike = [file for file in near if path.name.startswith(stem_of(file))]
        if alike:
            return max(alike, key=lambda file: len(stem_of(file)))
        if len(near) == 1:
            return near[0]
        if near:
            raise MoleculeError(
                f"{path}: which is its topology, {' or '.join(file.name for file in near[:4])} in {folder}? "
                f"Choose one by --topology {near[0]}, or by its name: {stem_of(path)}{ending_of(near[0])}"
            )
    raise MoleculeError(
        f"{path}: its topology is missing: it has to be {path.with_name(stem_of(path) + '.pdb')}, or the "
        f"only one of {', '.join(TOPOLOGIES)} in its folder or in those above up to {root}, or given by "
        "--topology FILE or --sequence ACE-ALA-NME"
    )


@lru_cache(maxsize=64)
def _topologies_in(folder: Path, _: int) -> list[Path]:
    shown = (entry for entry in sorted(folder.iterdir()) if not entry.name.startswith("."))
    return [entry for entry in shown if ending_of(entry) in TOPOLOGIES]
