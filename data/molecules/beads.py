"""Coarse-grained molecules: which atoms become beads, and what is known of each bead."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any, Literal

import mdtraj
import numpy as np
from jaxtyping import Float, Int
from mdtraj.core.topology import Atom
from pydantic import TypeAdapter

from ...model.config import VOCABULARY
from .bead_map import BeadMap
from .chains import standard_topology
from .residues import (
    ATOMS,
    ELEMENTS,
    RESIDUES,
    MoleculeError,
    bonded_pairs,
    format_sequence,
    parse_sequence,
    sequence_topology,
)


@dataclass(frozen=True)
class Dihedral:
    """A backbone torsion: φ (C of the residue before, N, CA, C) or ψ (N, CA, C, N of the residue after)."""

    kind: Literal["phi", "psi"]
    residue: int
    """Number of the residue, from 0."""
    beads: tuple[int, int, int, int]


@dataclass(frozen=True)
class Beads:
    """One molecule as beads, without positions. Equal molecules under equal maps are equal."""

    sequence: str
    """As `residues.parse_sequence` reads it, residues without beads included."""
    atoms: tuple[str, ...]
    """The atom that each bead is."""
    elements: tuple[str, ...]
    """Its chemical symbol."""
    residue_of: tuple[int, ...]
    """Number of its residue, from 0, in the sequence of all chains."""
    bonds: tuple[tuple[int, int], ...]
    """Pairs of beads: bonds of the molecule, and CA–CA of neighbours that none joins."""
    dihedrals: tuple[Dihedral, ...]
    name: str = ""
    """What the user calls it; the sequence if nothing else."""

    @classmethod
    def from_sequence(cls, sequence: str, bead_map: BeadMap, name: str = "") -> "Beads":
        """What coarse-graining a structure of this sequence gives, whose heavy atoms are known."""
        return map_beads(sequence_topology(sequence), bead_map, name, f"sequence {sequence!r}")[1]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Beads":
        """The inverse of `to_json`."""
        return _JSON.validate_python(values)

    def to_json(self) -> dict[str, Any]:
        """Plain lists, numbers and strings."""
        values = _JSON.dump_python(self, mode="json")
        dihedrals = values.pop("dihedrals")
        return values | {"dihedrals": dihedrals}  # Last, as ever: fingerprints are of the order too.

    def __len__(self) -> int:
        return len(self.atoms)

    @cached_property
    def residues(self) -> tuple[str, ...]:
        """Standard names of all residues."""
        return tuple(name for chain in parse_sequence(self.sequence) for name in chain)

    @cached_property
    def features(self) -> Int[np.ndarray, "beads 4"]:
        """Residue, atom, element as places in `RESIDUES`, `ATOMS`, `ELEMENTS`; number of the residue."""
        columns = [
            [RESIDUES.index(self.residues[number]) for number in self.residue_of],
            [ATOMS.index(atom if atom in ATOMS else "other") for atom in self.atoms],
            [ELEMENTS.index(element) for element in self.elements],
            self.residue_of,
        ]
        return np.array(columns, np.int32).T

    @cached_property
    def masses(self) -> Float[np.ndarray, "beads"]:
        """Masses in amu, of the beads' own atoms."""
        return np.array([mdtraj.element.get_by_symbol(symbol).mass for symbol in self.elements])

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """For messages: "ALA2-CA"."""
        return tuple(
            f"{self.residues[number]}{number + 1}-{atom}"
            for number, atom in zip(self.residue_of, self.atoms, strict=True)
        )

    @cached_property
    def angles(self) -> tuple[tuple[int, int, int], ...]:
        """Every two bonds that share a bead, which stands in the middle."""
        near: dict[int, list[int]] = {}
        for first, second in self.bonds:
            near.setdefault(first, []).append(second)
            near.setdefault(second, []).append(first)
        return tuple(
            (first, centre, last)
            for centre in sorted(near)
            for first, last in combinations(sorted(near[centre]), 2)
        )

    @property
    def ramachandran(self) -> tuple[tuple[Dihedral, Dihedral], ...]:
        """The pairs (φ, ψ): both of a residue; for dipeptides those of one bond, φ of the second residue."""
        phi, psi = (
            {entry.residue: entry for entry in self.dihedrals if entry.kind == kind}
            for kind in ("phi", "psi")
        )
        both = tuple((phi[residue], psi[residue]) for residue in sorted(phi.keys() & psi.keys()))
        # ψ ends with C and N, with which φ of the next residue begins.
        after = {entry.beads[2:]: entry for entry in psi.values()}
        return both or tuple((one, after[one.beads[:2]]) for one in phi.values() if one.beads[:2] in after)

    def topology(self) -> mdtraj.Topology:
        """For trajectories of beads that other programs open. Residues without beads are not in it."""
        topology, residues = mdtraj.Topology(), []
        for names in parse_sequence(self.sequence):
            chain = topology.add_chain()
            for name in names:
                number = len(residues)
                used = number in self.residue_of
                residues.append(topology.add_residue(name, chain, number + 1) if used else None)
        atoms = [
            topology.add_atom(name, mdtraj.element.get_by_symbol(symbol), residues[number], serial=serial)
            for serial, (name, symbol, number) in enumerate(
                zip(self.atoms, self.elements, self.residue_of, strict=True), 1
            )
        ]
        for first, second in self.bonds:
            topology.add_bond(atoms[first], atoms[second])
        return topology


_JSON = TypeAdapter(Beads)


def map_beads(
    topology: mdtraj.Topology, bead_map: BeadMap, name: str = "", source: str = "topology"
) -> tuple[Int[np.ndarray, "beads"], Beads]:
    """Which atoms become beads, and what they are.

    Raises MoleculeError, which begins with `source`, for an unknown residue, a missing atom, an atom that its
    residue does not have (of maps by names), or no bead.
    """
    topology = standard_topology(topology)
    chains = bead_map.choose(topology, source)
    residues = [residue for chain in chains for residue in chain]
    found = [
        (number, label, atom) for number, (_, atoms) in enumerate(residues) for label, atom in atoms.items()
    ]
    if not found:
        raise MoleculeError(f"{source}: the bead map selects no atom: it has to name atoms of this molecule")
    indices = np.array([atom.index for _, _, atom in found])
    bead_of = {int(index): bead for bead, index in enumerate(indices)}
    pairs = ((bead_of[first], bead_of[second]) for first, second in bonded_pairs(topology, bead_of.keys()))
    bonds = tuple(sorted((min(pair), max(pair)) for pair in pairs))
    sequence = format_sequence([residue for residue, _ in chain] for chain in chains)
    atoms, residue_of = tuple(label for _, label, _ in found), tuple(number for number, _, _ in found)
    return indices, Beads(
        sequence=sequence,
        atoms=atoms,
        elements=tuple(_element(atom, label, source) for _, label, atom in found),
        residue_of=residue_of,
        bonds=bonds,
        dihedrals=_dihedrals(atoms, residue_of, bonds),
        name=name or sequence,
    )


def require_embeddable(beads: Beads, embedding: str = "features") -> None:
    """Raise MoleculeError for a molecule of more residues than a network's embedding tells apart.

    `embedding` is that of `GraphTransformerConfig`; "one-hot" has no such limit. Beyond it a network's
    outputs are not finite.
    """
    residues, limit = len(beads.residues), VOCABULARY[3]
    if embedding == "features" and residues > limit:
        raise MoleculeError(
            f"{beads.name}: {residues} residues, and a network that knows beads by their features has places "
            f"for {limit}: take a part of it or, if it is the only molecule, --network.embedding one-hot"
        )


def require_torsions(beads: Beads) -> None:
    """Raise MoleculeError for a molecule without φ and ψ, along which it would be drawn."""
    if not beads.ramachandran:
        raise MoleculeError(
            f"{beads.name}: its beads hold no pair of torsions φ and ψ to draw it by: use a map "
            "with N, CA and C, and a molecule of two residues or more, caps included"
        )


def _element(atom: Atom, name: str, source: str) -> str:
    # Names of heavy atoms say it surely; files leave the element out, or take CA for calcium.
    symbol = name[0] if name in ATOMS else getattr(atom.element, "symbol", None)
    if symbol not in ELEMENTS:
        raise MoleculeError(
            f"{source}: atom {atom} is of element {symbol}: a bead has to be one of {', '.join(ELEMENTS)}"
        )
    return symbol


def _dihedrals(
    atoms: Sequence[str], residue_of: Sequence[int], bonds: Sequence[tuple[int, int]]
) -> tuple[Dihedral, ...]:
    """φ and ψ of all residues whose four atoms are beads."""
    bead = {key: number for number, key in enumerate(zip(residue_of, atoms, strict=True))}
    # The peptide bonds, from the bead N to the bead C and back.
    before = {
        n: c
        for pair in bonds
        for c, n in (pair, pair[::-1])
        if (atoms[c], atoms[n]) == ("C", "N") and residue_of[c] != residue_of[n]
    }
    after = {c: n for n, c in before.items()}
    found = []
    for residue in sorted(set(residue_of)):
        if not all((residue, atom) in bead for atom in ("N", "CA", "C")):
            continue
        n, ca, c = (bead[residue, atom] for atom in ("N", "CA", "C"))
        if n in before:
            found.append(Dihedral("phi", residue, (before[n], n, ca, c)))
        if c in after:
            found.append(Dihedral("psi", residue, (n, ca, c, after[c])))
    return tuple(found)
