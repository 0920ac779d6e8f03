"""One trajectory of one molecule, checked while it is read, and what is known of where it comes from.

What it holds, how that is checked and what is told of it stand together, hence the length.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import NoReturn

import mdtraj
import numpy as np
from jaxtyping import Float, Int

from ..molecules.bead_map import BeadMap
from ..molecules.beads import Beads, map_beads
from ..molecules.bonds import UNITS, Bonds, check_bonds, detect_unit
from ..molecules.chains import standard_topology
from ..molecules.chirality import chiral_centres
from ..molecules.residues import MoleculeError, format_sequence, sequence_topology, solute_atoms
from .arrays import Block, CutShort, StoredArray
from .formats import Positions, Trajectory
from .found import Found, Watch
from .gaps import Gap, require_apart, without_gaps
from .opening import load_topology

_BLOCK = 2**21
"""Numbers in a block of positions."""
_EXAMINED, _BLOCKS_EXAMINED = 100, 500
"""Frames that tell the unit, and where a chain has gaps; how many such blocks at most, until one is good."""


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

    @property
    def line(self) -> str:
        """To be read: "Amber-14, OBC1, 310 K"."""
        kelvin = None if self.temperature is None else f"{self.temperature:g} K"
        return ", ".join(part for part in (self.force_field, self.solvent, kelvin) if part) or "not known"


UNKNOWN = Conditions()


@dataclass(frozen=True)
class Source:
    """One trajectory of one molecule. Making it reads nothing; it can be sent to another process."""

    name: str
    """The peptide, as the file calls it, or the file's own name."""
    layout: str
    positions: Positions
    topology_path: Path | None
    """None where a sequence stands for it."""
    split: str | None = None
    """train, validation or test; None if the layout does not say."""
    unit: str | None = None
    """One of `bonds.UNITS`, of the numbers in the file; None to detect it from the bonds N–CA."""
    conditions: Conditions = UNKNOWN
    place: str = ""
    """Path of the trajectory, from the folder that was given."""
    skip_damaged: bool = False
    """Leave out broken frames and torn ends instead of refusing them."""
    given_sequence: str | None = None
    """In place of a topology: its heavy atoms, or those that are beads."""
    bead_map: BeadMap | None = None
    """Beads that a file without atoms may hold, before the built-in ones."""
    forces: str | None = None
    """Where forces stand, which are not used."""
    report: Path | None = None
    """Of a reference that `fokker dataset generate` made."""
    biased: Path | None = None
    """Those that the frames of such a reference were drawn from, where it tells their bias."""

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
        if self.topology_path is None:
            whole = sequence_topology(self.given_sequence or "")
        else:
            whole = load_topology(self.topology_path)
        stored = _stored_topology(whole, self.positions.atoms, self.path, self._topology_words, self.bead_map)
        kept = solute_atoms(stored)
        if not len(kept):
            raise MoleculeError(
                f"{self._topology_words}: only water and ions: give the topology of a molecule"
            )
        solute = stored if len(kept) == stored.n_atoms else stored.subset(kept.tolist())
        return stored, standard_topology(solute), kept

    @cached_property
    def _chains(self) -> tuple[mdtraj.Topology, tuple[Gap, ...]]:
        topology = self._file[1]
        try:
            _, frames = next(self._raw(_EXAMINED), (None, np.empty((0, topology.n_atoms, 3))))
            positions, stored = self.positions, self._file[0]
            cell = partial(positions.cell, stored) if isinstance(positions, Trajectory) else lambda: None
            return without_gaps(topology, frames * self.factor, cell)
        except MoleculeError:  # Of frames, which reading them raises with their number.
            return topology, ()

    @property
    def _topology_words(self) -> str:
        return str(self.topology_path or f"sequence {self.given_sequence!r}")

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
        chains = BeadMap(selection="all").choose(self.topology, self._topology_words)
        return format_sequence([name for name, _ in residues] for residues in chains)

    @cached_property
    def factor(self) -> float:
        """To nm from what is read. Raises MoleculeError if it cannot be detected, or is not the given one."""
        if self.unit is not None:
            return UNITS[self.unit] / self._assumed
        problem, bonds = None, Bonds.of(self._file[1])
        # The first frames may be broken ones.
        for numbers, frames in islice(self._raw(_EXAMINED), _BLOCKS_EXAMINED):
            try:
                if not bonds.finite(frames).any():
                    check_bonds(frames, bonds, self._label, numbers)
                return detect_unit(frames, bonds, self._label)
            except MoleculeError as error:
                problem = problem or error
        raise problem or MoleculeError(f"{self.path}: no frame in it")

    @property
    def _assumed(self) -> float:
        """The unit, in nm, that the reader took the numbers of the file for."""
        return UNITS[self.positions.unit] if isinstance(self.positions, Trajectory) else 1.0

    @property
    def unit_found(self) -> str:
        """That of the numbers in the file, as the setting `unit` takes it."""
        nm = self.factor * self._assumed
        return next((name for name, value in UNITS.items() if abs(value / nm - 1) < 1e-6), f"{nm:.4g} nm")

    @property
    def _label(self) -> str:
        return f"{self.path}: {self.name}" if isinstance(self.positions, StoredArray) else str(self.path)

    def _raw(self, size: int | None, found: Found | None = None) -> Iterator[Block]:
        """Blocks as they are read. Of a file that ends before it should a `found` takes the reason."""
        stored, _, kept = self._file
        size = min(size or _BLOCK, max(1, _BLOCK // (3 * stored.n_atoms)))
        try:
            for numbers, frames in self.positions.blocks(size, stored):
                if frames.shape[1] != stored.n_atoms:
                    raise MoleculeError(
                        f"{self.path}: frames of {frames.shape[1]} atoms, but {self._topology_words} has "
                        f"{stored.n_atoms}: it is that of another molecule"
                    )
                if len(numbers):
                    yield numbers, frames if len(kept) == stored.n_atoms else frames[:, kept]
        except CutShort as error:
            if not self.skip_damaged:
                raise
            if found is not None:
                found.problem = error.problem

    def blocks(
        self,
        size: int | None = None,
        beads: Collection[int] | Int[np.ndarray, "beads"] = (),
        found: Found | None = None,
    ) -> Iterator[Float[np.ndarray, "frames atoms 3"]]:
        """All frames in order, in nm and float32, at most `size` and 8 MiB at a time.

        `found` is filled, when they have all passed. Raises MoleculeError for a file without frames, for one
        that ends before it should, and at the first frame that is not finite or has a bond of impossible
        length; where damage is skipped, only if no good frame is left. Of hydrogens only those of `beads`
        matter.
        """
        bonds = Bonds.of(self.topology).with_beads(beads)
        watch = Watch(found or Found(), chiral_centres(self.topology))
        if self.positions.cut and not self.skip_damaged:
            raise self.positions.cut
        for numbers, raw in self._raw(size, watch.found):
            frames = np.asarray(raw * self.factor, np.float32)
            good = bonds.good(frames)
            if not good.all():
                if not self.skip_damaged:
                    self._refuse(frames, bonds, numbers, watch.found.frames)
                watch.leave_out(numbers[~good])
                numbers, frames = numbers[good], frames[good]
            if len(frames):
                require_apart(frames, self._chains[1], self._label, numbers)
                watch.see(numbers, frames, bonds)
                yield frames
        if not watch.found.frames:
            self._refuse_all(bonds, watch.found)
        watch.found.atoms, watch.found.unit = self.topology.n_atoms, self.unit_found
        watch.found.gaps = self.gaps
        watch.end(self.positions.times)

    def _refuse_all(self, bonds: Bonds, found: Found) -> NoReturn:
        if found.broken:
            for numbers, raw in self._raw(None):
                check_bonds(np.asarray(raw * self.factor, np.float32), bonds, self._label, numbers)
        raise MoleculeError(f"{self.path}: no frame in it" + (f": {found.problem}" if found.problem else ""))

    def _refuse(self, frames: np.ndarray, bonds: Bonds, numbers: np.ndarray, before: int) -> None:
        """Raise what is wrong with the first bad frame of a block, `before` which so many were good."""
        if self.unit is not None and not before and (found := self._other_unit()):
            raise MoleculeError(
                f"{self.path}: its bonds are those of positions in {found}, not in {self.unit}: leave the "
                f"unit out, or give {found}"
            )
        check_bonds(frames, bonds, self._label, numbers, before)

    def _other_unit(self) -> str | None:
        try:
            found = replace(self, unit=None).unit_found
        except MoleculeError:
            return None
        return found if found != self.unit else None

    def beads(self, bead_map: BeadMap) -> Beads:
        """The molecule under a bead map. Raises MoleculeError as `beads.map_beads` does."""
        return map_beads(self.topology, bead_map, self.name, self._topology_words)[1]

    def atoms_of(self, bead_map: BeadMap) -> Int[np.ndarray, "beads"]:
        """The atom that each bead is, by its number in a frame."""
        return map_beads(self.topology, bead_map, self.name, self._topology_words)[0]

    def coarse_blocks(
        self, bead_map: BeadMap, size: int | None = None, found: Found | None = None
    ) -> Iterator[Float[np.ndarray, "frames beads 3"]]:
        """As `blocks`, of the beads; every bond of the molecule but those of hydrogens is checked before."""
        indices = self.atoms_of(bead_map)
        for frames in self.blocks(size, indices, found):
            yield np.ascontiguousarray(frames[:, indices])


def coarse_frames(
    source: Source, bead_map: BeadMap, found: Found | None = None
) -> Float[np.ndarray, "frames beads 3"]:
    """All beads of a trajectory in nm, every frame centred. Raises MoleculeError as reading does."""
    blocks = source.coarse_blocks(bead_map, found=found)
    return np.concatenate([block - block.mean(axis=1, keepdims=True) for block in blocks])


def _stored_topology(
    whole: mdtraj.Topology, atoms: int | None, path: Path, source: str, asked: BeadMap | None
) -> mdtraj.Topology:
    """The topology of a frame of so many positions: all atoms, those without water, or beads."""
    if atoms in (None, whole.n_atoms):
        return whole
    kept = solute_atoms(whole)
    if len(kept) == atoms:
        return whole.subset(kept.tolist())
    maps = [BeadMap.parse(name) for name in ("backbone", "alanine-dipeptide", "calpha")]
    for bead_map in [asked, *maps] if asked else maps:
        try:
            _, beads = map_beads(whole, bead_map)
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
                "convert them apart"
            )
    return sources[0].conditions if sources else UNKNOWN
