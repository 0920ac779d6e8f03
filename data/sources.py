"""One trajectory of one molecule, checked while it is read, and what is known of where it comes from."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import mdtraj
import numpy as np
from jaxtyping import Float, Int

from .bead_map import BeadMap
from .beads import Beads, map_beads
from .bonds import UNITS, Bonds, check_bonds, detect_unit
from .chains import standard_topology
from .gaps import Cell, Gap, require_apart, without_gaps
from .notes import Notes
from .readers_arrays import Block, Positions, StoredArray, Trajectory, load_topology
from .residues import MoleculeError, format_sequence, solute_atoms

_BLOCK = 2**21
"""Numbers in a block of positions."""
_EXAMINED = 100
"""Frames that tell the unit, and where a chain has gaps."""


@dataclass(frozen=True)
class Conditions:
    """What decides a reference distribution; None where it is not known."""

    force_field: str | None = None
    solvent: str | None = None
    temperature: float | None = None
    """In K."""

    @property
    def words(self) -> str:
        """For messages."""
        entries = asdict(self).items()
        return ", ".join(f"{key} {'unknown' if value is None else value}" for key, value in entries)


UNKNOWN = Conditions()


@dataclass(frozen=True)
class Source:
    """One trajectory of one molecule. Making it reads nothing; it can be sent to another process."""

    name: str
    """The peptide, as the file calls it."""
    layout: str
    positions: Positions
    topology_path: Path
    split: str | None = None
    """train, validation or test; None if the layout does not say."""
    unit: str | None = None
    """One of `bonds.UNITS`; None to detect it from the bonds N–CA."""
    conditions: Conditions = UNKNOWN

    @property
    def path(self) -> Path:
        """The file of the positions."""
        return self.positions.path

    @property
    def frames(self) -> int | None:
        """How many there are, if that is known without reading them."""
        return self.positions.frames

    @cached_property
    def _file(self) -> tuple[mdtraj.Topology, mdtraj.Topology, Int[np.ndarray, "atoms"]]:
        """The topology of a frame in the file, the standard one without water and ions, and its atoms."""
        whole = load_topology(self.topology_path)
        stored = _stored_topology(whole, self.positions.atoms, self.path, self.topology_path)
        kept = solute_atoms(stored)
        if not len(kept):
            raise MoleculeError(f"{self.topology_path}: only water and ions: give the topology of a molecule")
        solute = stored if len(kept) == stored.n_atoms else stored.subset(kept.tolist())
        return stored, standard_topology(solute), kept

    @cached_property
    def _chains(self) -> tuple[mdtraj.Topology, tuple[Gap, ...]]:
        topology = self._file[1]
        try:
            _, frames = next(self._raw(_EXAMINED), (None, np.empty((0, topology.n_atoms, 3))))
            return without_gaps(topology, frames * self.factor, self._cell)
        except MoleculeError:  # Of frames, which reading them raises with their number.
            return topology, ()

    def _cell(self) -> Cell | None:
        """The periodic box of the first frame (nm), of files that have one."""
        if not isinstance(self.positions, Trajectory):
            return None
        try:
            first = next(mdtraj.iterload(str(self.path), chunk=1, top=self._file[0]))
        except Exception:  # Each format has its own.
            return None
        return None if first.unitcell_vectors is None else np.asarray(first.unitcell_vectors[0])

    @property
    def topology(self) -> mdtraj.Topology:
        """Of what `blocks` gives: all atoms but water and ions, or beads if the file holds beads.

        A chain ends where the first frames have no bond to the next residue. Caps that CHARMM patches into a
        residue are residues: their atoms keep their places, so that those of a residue need not be together.
        """
        return self._chains[0]

    @property
    def gaps(self) -> tuple[str, ...]:
        """A warning for each gap within a molecule; what follows another molecule is none."""
        return tuple(gap.words for gap in self._chains[1] if not gap.between_molecules)

    @cached_property
    def sequence(self) -> str:
        """As in `residues.parse_sequence`; MoleculeError for residues that are unknown."""
        chains = BeadMap(selection="all").choose(self.topology, str(self.topology_path))
        return format_sequence([name for name, _ in residues] for residues in chains)

    @cached_property
    def factor(self) -> float:
        """From the unit of the file to nm. Raises MoleculeError if it cannot be detected."""
        if self.unit is not None:
            return UNITS[self.unit]
        first = next(self._raw(_EXAMINED), None)
        if first is None:
            raise MoleculeError(f"{self.path}: no frame in it")
        numbers, frames = first
        bonds = Bonds.of(self._file[1])
        if not bonds.finite(frames).any():
            check_bonds(frames, bonds, self._label, numbers)
        return detect_unit(frames, bonds, self._label)

    @cached_property
    def _bonds(self) -> Bonds:
        return Bonds.of(self.topology)

    @property
    def _label(self) -> str:
        label = str(self.path)
        return f"{label}: {self.name}" if isinstance(self.positions, StoredArray) else label

    def _raw(self, size: int | None) -> Iterator[Block]:
        stored, _, kept = self._file
        size = min(size or _BLOCK, max(1, _BLOCK // (3 * stored.n_atoms)))
        for numbers, frames in self.positions.blocks(size, stored):
            if len(numbers):
                yield numbers, frames if len(kept) == stored.n_atoms else frames[:, kept]

    def blocks(
        self,
        size: int | None = None,
        beads: Int[np.ndarray, "beads"] | None = None,
        notes: Notes | None = None,
    ) -> Iterator[Float[np.ndarray, "frames atoms 3"]]:
        """All frames in order, in nm and float32, at most `size` and 8 MiB at a time.

        Raises MoleculeError at the first frame that is not finite or has a bond of impossible length. Of
        hydrogens only those of `beads` matter; `notes` counts the others that are out of place.
        """
        bonds = self._bonds if beads is None else self._bonds.with_beads(beads)
        before = 0
        for numbers, frames in self._raw(size):
            frames = np.asarray(frames * self.factor, np.float32)
            check_bonds(frames, bonds, self._label, numbers, before)
            require_apart(frames, self._chains[1], self._label, numbers)
            before += len(frames)
            if notes is not None:
                notes.see(frames, bonds, numbers)
            yield frames
        if not before:
            raise MoleculeError(f"{self.path}: no frame in it")

    def beads(self, bead_map: BeadMap) -> Beads:
        """The molecule under a bead map. Raises MoleculeError as `beads.map_beads` does."""
        return map_beads(self.topology, bead_map, self.name, str(self.topology_path))[1]

    def coarse_blocks(
        self, bead_map: BeadMap, size: int | None = None, notes: Notes | None = None
    ) -> Iterator[Float[np.ndarray, "frames beads 3"]]:
        """As `blocks`, of the beads; every bond of the molecule but those of hydrogens is checked before."""
        indices, _ = map_beads(self.topology, bead_map, self.name, str(self.topology_path))
        for frames in self.blocks(size, indices, notes):
            yield np.ascontiguousarray(frames[:, indices])


def coarse_frames(
    source: Source, bead_map: BeadMap, notes: Notes | None = None
) -> Float[np.ndarray, "frames beads 3"]:
    """All beads of a trajectory in nm, every frame centred. Raises MoleculeError as reading does."""
    blocks = source.coarse_blocks(bead_map, notes=notes)
    return np.concatenate([block - block.mean(axis=1, keepdims=True) for block in blocks])


def _stored_topology(whole: mdtraj.Topology, atoms: int | None, path: Path, source: Path) -> mdtraj.Topology:
    """The topology of a frame of so many positions: all atoms, those without water, or beads."""
    if atoms in (None, whole.n_atoms):
        return whole
    kept = solute_atoms(whole)
    if len(kept) == atoms:
        return whole.subset(kept.tolist())
    for name in ("backbone", "alanine-dipeptide", "calpha"):
        try:
            _, beads = map_beads(whole, BeadMap.parse(name))
        except MoleculeError:
            continue
        if len(beads) == atoms:
            return beads.topology()
    raise MoleculeError(
        f"{path}: frames of {atoms} atoms, but {source} has {whole.n_atoms}, and not so many backbone or CA "
        "beads either: they belong to different molecules"
    )


def require_same_conditions(sources: Iterable[Source]) -> Conditions:
    """Those of all sources; MoleculeError if two differ, or only some are known."""
    sources = list(sources)
    for source in sources[1:]:
        if source.conditions != sources[0].conditions:
            raise MoleculeError(
                f"{source.path} ({source.conditions.words}) and {sources[0].path} "
                f"({sources[0].conditions.words}) are not of one distribution, as one dataset has to be: "
                "convert them apart, or declare the conditions that are not known"
            )
    return sources[0].conditions if sources else UNKNOWN
