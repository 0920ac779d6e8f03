"""Which atoms of a molecule become beads, as data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import mdtraj
from mdtraj.core.topology import Atom, Residue

from .chains import standard_topology
from .residues import (
    ATOMS,
    CAPS,
    HEAVY_ATOMS,
    RESIDUES,
    MoleculeError,
    foreign_atoms,
    is_solvent,
    standard_atoms,
    standard_residue,
)

EVERY = "*"
"""Stands for every amino acid that a map does not name."""

_BACKBONE = {EVERY: ("N", "CA", "CB", "C", "O"), "ACE": ("C", "O"), "NME": ("N",), "NH2": ("N",)}
BUILT_IN = {
    "alanine-dipeptide": {"ACE": ("C",), "ALA": ("N", "CA", "C"), "NME": ("N",)},
    "backbone": _BACKBONE,
    "dipeptide": _BACKBONE,
    "calpha": {EVERY: ("CA",)},
}

Spec = str | Sequence[str] | Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class BeadMap:
    """Atom names by residue, or a selection in mdtraj's language.

    Names keep the order of the list; what an amino acid never has (CB of glycine) is left out of the list of
    `EVERY`. Selected atoms stand, within a residue, in the order of `residues.ATOMS`.
    """

    atoms: Mapping[str, tuple[str, ...]] | None = None
    selection: str | None = None

    @classmethod
    def parse(cls, spec: Spec) -> "BeadMap":
        """From a built-in name, a selection, a list of atom names, or such a list for each residue.

        MoleculeError if a list is empty or names an atom twice, or a residue is unknown.
        """
        if isinstance(spec, str) and spec.strip():
            return cls(atoms=BUILT_IN[spec]) if spec in BUILT_IN else cls(selection=spec)
        atoms = {}
        for residue, names in (spec if isinstance(spec, Mapping) else {EVERY: spec or ()}).items():
            standard = residue if residue == EVERY else standard_residue(residue)
            if standard is None:
                known = ", ".join((EVERY, *RESIDUES))
                raise MoleculeError(f"bead map: unknown residue {residue!r}: it has to be one of {known}")
            if isinstance(names, str) or len(set(names)) != len(names):
                raise MoleculeError(
                    f"bead map: {residue}: {names!r} has to be a list of different atom names"
                )
            atoms[standard] = tuple(name.strip().upper() for name in names)
        if not any(atoms.values()):
            raise MoleculeError("bead map: it names no atom")
        return cls(atoms=atoms)

    def to_json(self) -> str | dict[str, list[str]]:
        """A value for `parse`."""
        if self.atoms is not None:
            return {residue: list(names) for residue, names in self.atoms.items()}
        return self.selection or "none"

    def choose(
        self, topology: mdtraj.Topology, source: str = "topology"
    ) -> list[list[tuple[str, dict[str, Atom]]]]:
        """Chain by chain, every residue's standard name and those atoms that become beads, in order.

        Water and ions are left out, and of a selection other residues that are unknown. A cap ends its chain.
        Raises MoleculeError, which begins with `source`, for an unknown residue or a missing atom and, of a
        map by names, for an atom but hydrogen that a residue of that name does not have.
        """
        topology = standard_topology(topology)
        selected, chains = self._select(topology, source), []
        for chain in topology.chains:
            chains.append([])
            for residue in chain.residues:
                atoms = self._choose(residue, selected, source)
                name = standard_residue(residue.name)
                if atoms is None or name is None:
                    continue
                if chains[-1] and (name == "ACE" or chains[-1][-1][0] in ("NME", "NH2")):
                    chains.append([])
                chains[-1].append((name, atoms))
        return [residues for residues in chains if residues]

    def _select(self, topology: mdtraj.Topology, source: str) -> set[int] | None:
        if self.atoms is not None:
            return None
        try:
            return set(topology.select(self.selection or "none").tolist())
        except Exception:  # Whatever mdtraj's parser lets through, with all of its grammar in the message.
            raise MoleculeError(
                f"{source}: bead map {self.selection!r} is neither built in ({', '.join(BUILT_IN)}) nor a "
                "selection of mdtraj, as 'name CA or name CB' is"
            ) from None

    def _choose(self, residue: Residue, selected: set[int] | None, source: str) -> dict[str, Atom] | None:
        """None for a residue that is not meant."""
        mine = {atom.index for atom in residue.atoms}
        standard = standard_residue(residue.name)
        if standard is None:
            if is_solvent(residue) if selected is None else mine.isdisjoint(selected):
                return None
            raise MoleculeError(
                f"{source}: unknown residue {residue}: only the twenty amino acids and the caps "
                f"{', '.join(CAPS)} can be beads; rename it to the one that it stands for, or select others"
            )
        atoms = standard_atoms(residue)
        if selected is None:
            return self._named(residue, standard, atoms, source)
        place = {name: number for number, name in enumerate(ATOMS)}
        order = sorted(atoms, key=lambda name: (place.get(name, len(ATOMS)), atoms[name].index))
        return {name: atoms[name] for name in order if atoms[name].index in selected}

    def _named(
        self, residue: Residue, standard: str, atoms: Mapping[str, Atom], source: str
    ) -> dict[str, Atom]:
        own, every = (self.atoms or {}).get(standard), (self.atoms or {}).get(EVERY)
        if own is None and every is None:
            raise MoleculeError(
                f"{source}: residue {residue} is not in the bead map, only {', '.join(self.atoms or ())}"
            )
        # A name that no residue has at all is a mistake, which must not go unseen.
        known = [name for name in every or () if name in HEAVY_ATOMS[standard] or name not in ATOMS]
        names = (() if standard in CAPS else known) if own is None else own
        missing = [name for name in names if name not in atoms]
        if missing:
            raise MoleculeError(
                f"{source}: residue {residue} has no atom {missing[0]}, only {', '.join(sorted(atoms))}: "
                f"the bead map needs {', '.join(names)}"
            )
        foreign = foreign_atoms(residue)
        if foreign:
            labels = ", ".join(atom.name for atom in foreign)
            raise MoleculeError(
                f"{source}: residue {residue} has {labels}, which {standard} has not: "
                f"{_what_it_is(foreign, standard, atoms)}, or choose beads by a selection"
            )
        return {name: atoms[name] for name in names}


def _what_it_is(foreign: Sequence[Atom], standard: str, atoms: Mapping[str, Atom]) -> str:
    """Why a residue may have atoms that its name does not allow, and what would be right."""
    symbols = {getattr(atom.element, "symbol", "") for atom in foreign}
    names = {atom.name.strip().upper() for atom in foreign}
    if "Se" in symbols or "SE" in names:
        return f"it is selenomethionine, which is no {standard}: call the atom SD to take it for MET"
    if "P" in symbols | names:
        return f"it is phosphorylated, which is no {standard}: take a structure without the phosphate"
    if names == {"CT"} and "OXT" in atoms:
        return "it is CHARMM's patch CT1, a methyl ester, which no cap is: cap it with CT2 (NH2) or CT3 (NME)"
    return f"it is modified, or another molecule called {standard}: name it as what it is"
