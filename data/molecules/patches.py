"""Caps that CHARMM patches into the amino acid beside them, as residues of their own.

Its patches ACE (ACED, ACP) and CT2, CT3 add their atoms to the first and the last residue, and its residue
ALAD is alanine dipeptide as a whole. NTER, GLYP, PROP, NNEU, CTER and CNEU change hydrogens, and oxygens
whose names are known. CT1, an ester, is none of the caps: what it adds is foreign to its residue.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import mdtraj
from mdtraj.core.topology import Residue

from .residues import (
    AMINO_ACIDS,
    atoms_in_order,
    implied_pairs,
    standard_residue,
    stated_pairs,
    symbol_of,
)

_ACETYL = {"CAY": "CH3", "CY": "C", "OY": "O", "HY1": "H1", "HY2": "H2", "HY3": "H3"}
_AMIDE = {"NT": "N", "HNT": "H", "CAT": "C", "CT": "C"}
_CAPS = {*_ACETYL, *_AMIDE, "CLP", "NR"}
_ALAD = (
    ("ACE", {"CL": "CH3", "CLP": "C", "OL": "O", "HL1": "H1", "HL2": "H2", "HL3": "H3"}),
    (
        "ALA",
        {"NL": "N", "HL": "H", "CRP": "C", "OR": "O"}
        | {name: name for name in ("CA", "HA", "CB", "HB1", "HB2", "HB3")},
    ),
    ("NME", {"NR": "N", "HR": "H", "CR": "C", "HR1": "H1", "HR2": "H2", "HR3": "H3"}),
)


@dataclass(frozen=True)
class Part:
    """A residue that is to be: indices of atoms in another topology, and what they are called."""

    name: str
    number: int
    segment: str
    atoms: Mapping[int, str]

    @classmethod
    def of(cls, residue: Residue) -> "Part":
        """As it is."""
        atoms = {atom.index: atom.name for atom in residue.atoms}
        return cls(residue.name, residue.resSeq, residue.segment_id, atoms)


def rebuilt(
    topology: mdtraj.Topology, chains: Sequence[tuple[str | None, Sequence[Part]]], pairs: Iterable[tuple]
) -> mdtraj.Topology:
    """The same atoms in the same order, in other chains (name, residues), with bonds between these pairs."""
    new, owners = mdtraj.Topology(), {}
    for name, parts in chains:
        chain = new.add_chain(name)
        for part in parts:
            residue = new.add_residue(part.name, chain, part.number, part.segment)
            owners |= {index: (label, residue) for index, label in part.atoms.items()}
    atoms = [
        new.add_atom(owners[atom.index][0], atom.element, owners[atom.index][1], atom.serial)
        for atom in atoms_in_order(topology)
    ]
    for first, second in sorted(pairs):
        new.add_bond(atoms[first], atoms[second])
    return new


def split_patches(topology: mdtraj.Topology) -> mdtraj.Topology:
    """A topology whose caps are residues ACE, NME and NH2; itself where nothing is to be split.

    Atoms keep their places, so that those of a residue need not follow one another. Where the file gives no
    bonds between the parts, those of their names replace what it has.
    """
    parts = {residue.index: _parts(residue) for residue in topology.residues}
    if all(len(found) == 1 for found in parts.values()):
        return topology
    chains = [
        (chain.chain_id, [part for residue in chain.residues for part in parts[residue.index]])
        for chain in topology.chains
    ]
    pairs = stated_pairs(topology)
    joined = {index for pair in pairs for index in pair}
    # The file itself may join a cap, which no reader does by names.
    capped = {atom.residue.index for atom in topology.atoms if atom.index in joined and atom.name in _CAPS}
    touched = {
        atom.index
        for atom in topology.atoms
        if len(parts[atom.residue.index]) > 1 and atom.residue.index not in capped
    }
    # A reader has joined atoms by their names, which are others here.
    kept = {pair for pair in pairs if touched.isdisjoint(pair)}
    implied = implied_pairs(rebuilt(topology, chains, ()))
    return rebuilt(topology, chains, kept | {pair for pair in implied if not touched.isdisjoint(pair)})


def _parts(residue: Residue) -> list[Part]:
    """A residue alone, or between the caps that are in it."""
    places = {atom.name.strip().upper(): atom.index for atom in residue.atoms}
    # The PDB has three letters for its name.
    if residue.name.strip().upper() == "ALAD" or {"CLP", "CRP"} <= places.keys():
        found = [(name, _renamed(places, table)) for name, table in _ALAD]
        return _numbered(residue, found, 1)
    if standard_residue(residue.name) not in AMINO_ACIDS:
        return [Part.of(residue)]
    before = _renamed(places, _ACETYL) if "CY" in places else {}
    after = _amide(residue, places) if "NT" in places else {}
    middle = {atom.index: atom.name for atom in residue.atoms if atom.index not in before | after}
    found = [("ACE", before), (residue.name, middle), ("NME" if "C" in after.values() else "NH2", after)]
    return _numbered(residue, [part for part in found if part[1]], int(bool(before)))


def _renamed(places: Mapping[str, int], names: Mapping[str, str]) -> dict[int, str]:
    return {places[old]: new for old, new in names.items() if old in places}


def _numbered(residue: Residue, found: Sequence[tuple[str, Mapping[int, str]]], middle: int) -> list[Part]:
    return [
        Part(name, residue.resSeq + place - middle, residue.segment_id, atoms)
        for place, (name, atoms) in enumerate(found)
    ]


def _amide(residue: Residue, places: Mapping[str, int]) -> dict[int, str]:
    """The atoms of CT2 or CT3 by the names of the cap.

    Its hydrogens HT1 … are called as those of a charged N are, and readers rename both: they are those that
    the file joins to the cap or, without such bonds, that stand behind its atoms.
    """
    found = _renamed(places, _AMIDE)
    heavy = {index for index, name in found.items() if name in ("N", "C")}
    near: dict[int, set[int]] = {}
    for first, second in residue.chain.topology.bonds:
        near.setdefault(first.index, set()).add(second.index)
        near.setdefault(second.index, set()).add(first.index)
    joined, last, hydrogens = bool(near.get(places["NT"])), -1, []
    for atom in residue.atoms:
        symbol = symbol_of(atom)
        last = atom.index if symbol not in ("H", None) else last
        if symbol == "H" and atom.index not in found:
            mine = near.get(atom.index, set()) & heavy if joined else last in heavy
            hydrogens += [atom.index] if mine else []
    prefix = "H" if len(heavy) > 1 else "HN"
    return found | {index: f"{prefix}{number}" for number, index in enumerate(hydrogens, 1)}
