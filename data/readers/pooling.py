"""Trajectories of one molecule are one system: which belong together, and what the system is called."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import chain, count, takewhile

import numpy as np

from ..molecules.bead_map import BeadMap
from ..molecules.beads import Beads
from .found import Found
from .sources import Source

DEFAULT_SPLIT = "train"
LONGEST = 100
"""Bytes of a system's name, which is that of a folder."""

_SAY_NOTHING = re.compile(
    "a|all|clone|conf|coordinates|coords|dyn|equil|frames?|gen|md|min|mol|npt|nve|nvt|out|output|part|pos|"
    "positions|prod|production|r|rep|replicas?|run|samples?|sim|simulation|step|t|top|traj|trajectory|trj|"
    "whole|x|xyz",
    re.IGNORECASE,
)
"""Words of file names that tell nothing of a molecule."""


@dataclass(frozen=True)
class Pool:
    """All trajectories of one molecule."""

    name: str
    """Unique among those that are read together, and safe as that of a folder."""
    sources: tuple[Source, ...]

    def beads(self, bead_map: BeadMap) -> Beads:
        """The molecule under a bead map. Raises MoleculeError as `beads.map_beads` does."""
        return replace(self.sources[0].beads(bead_map), name=self.name)

    @property
    def splits(self) -> tuple[str, ...]:
        """In the order in which they first appear."""
        return tuple(dict.fromkeys(source.split or DEFAULT_SPLIT for source in self.sources))

    def of(self, split: str) -> tuple[Source, ...]:
        """Its trajectories of one split, in the order in which their frames follow one another."""
        return tuple(source for source in self.sources if (source.split or DEFAULT_SPLIT) == split)


def pool(sources: Sequence[Source], bead_map: BeadMap) -> list[Pool]:
    """Every molecule with its trajectories, told apart by sequence and beads; reads topologies only.

    Raises MoleculeError as `beads.map_beads` does.
    """
    groups: dict[tuple, list[Source]] = {}
    for source in sources:
        beads = source.beads(bead_map)
        groups.setdefault((beads.sequence, beads.atoms, beads.residue_of), []).append(source)
    taken: set[str] = set()
    pools = []
    for (sequence, *_), members in groups.items():
        name = _unused([_common_name(members), _in_full(members), sequence], taken)
        taken.add(name.casefold())
        pools.append(Pool(name, tuple(members)))
    return pools


def repeated(founds: Sequence[Found]) -> tuple[int, dict[tuple[int, int], int]]:
    """How many frames follow themselves, and how many of one trajectory are in one before it as well.

    The latter by the places of the earlier and the later trajectory, as of restarts that overlap and of files
    that are there twice.
    """
    marks = np.frombuffer(bytes.fromhex("".join(found.marks for found in founds)), np.uint64)
    owners = np.repeat(np.arange(len(founds)), [len(found.marks) // 16 for found in founds])
    _, first, frames = np.unique(marks, return_index=True, return_inverse=True)
    origins = owners[first][frames]
    twice = Counter(zip(origins[origins != owners].tolist(), owners[origins != owners].tolist(), strict=True))
    return sum(found.repeats for found in founds), dict(twice)


def _common_name(sources: Sequence[Source]) -> str:
    """What the layout calls the molecule, or the words with which the names of all its files begin."""
    names = list(dict.fromkeys(source.name for source in sources))
    if len(names) == 1 and (len(sources) == 1 or not _says_nothing(_words(names[0]))):
        return names[0]
    alike = takewhile(lambda words: len(set(words)) == 1, zip(*map(_words, names), strict=False))
    shared = [words[0] for words in alike]
    while shared and (re.fullmatch(r"[\W_]+", shared[-1]) or _SAY_NOTHING.fullmatch(shared[-1])):
        shared.pop()
    return "" if _says_nothing(shared) else "".join(shared)


def _in_full(sources: Sequence[Source]) -> str:
    """Of a single trajectory, its folders as well."""
    return "-".join([*sources[0].place.split("/")[:-1], sources[0].name]) if len(sources) == 1 else ""


def _words(name: str) -> list[str]:
    """Letters, numbers and what is between them, in turn."""
    return re.findall(r"[^\W\d_]+|\d+|[\W_]+", name)


def _says_nothing(words: Collection[str]) -> bool:
    letters = [word for word in words if re.search(r"[^\W\d_]", word)]
    return all(_SAY_NOTHING.fullmatch(word) for word in letters)


def _unused(candidates: Sequence[str], taken: Collection[str]) -> str:
    safe = [name for name in map(safe_name, candidates) if name]
    numbered = (safe_name(f"{safe[-1][:80]}-{number}") for number in count(2))
    return next(name for name in chain(safe, numbered) if name.casefold() not in taken)


def safe_name(text: str) -> str:
    """A name as one of a folder, of at most `LONGEST` bytes; a longer one ends in a hash of itself."""
    name = re.sub(r"[^\w.+-]+", "-", text.replace(":", "_")).strip("-.")
    if len(name.encode()) <= LONGEST:
        return name
    mark = sha256(text.encode()).hexdigest()[:8]
    return f"{name.encode()[: LONGEST - 9].decode(errors='ignore')}-{mark}"
