"""Names of residues and atoms as everybody writes them, and the ones that this package knows.

A sequence is "AC", with one-letter codes and charged ends, or "ACE-ALA-NME", with caps. A colon parts chains.
"""

from collections.abc import Collection, Iterable
from itertools import pairwise

import mdtraj
import numpy as np
from jaxtyping import Int
from mdtraj.core.topology import Atom, Residue

from ..errors import FokkerError

_NAMES = "ALA ARG ASN ASP CYS GLN GLY GLU HIS ILE LEU LYS MET PHE PRO SER THR TRP TYR VAL"
AMINO_ACIDS = tuple(_NAMES.split())
"""In the order of the authors' release, on which imported weights depend."""
CAPS = ("ACE", "NME", "NH2")
RESIDUES = AMINO_ACIDS + CAPS
"""The residue feature of a bead is a place in this list."""
CODES = dict(zip("ARNDCQGEHILKMFPSTWYV", AMINO_ACIDS, strict=True))
"""One-letter codes."""

_SIDE_CHAINS = {
    "ALA": "CB",
    "ARG": "CB CG CD NE CZ NH1 NH2",
    "ASN": "CB CG OD1 ND2",
    "ASP": "CB CG OD1 OD2",
    "CYS": "CB SG",
    "GLN": "CB CG CD OE1 NE2",
    "GLY": "",
    "GLU": "CB CG CD OE1 OE2",
    "HIS": "CB CG ND1 CD2 CE1 NE2",
    "ILE": "CB CG1 CG2 CD1",
    "LEU": "CB CG CD1 CD2",
    "LYS": "CB CG CD CE NZ",
    "MET": "CB CG SD CE",
    "PHE": "CB CG CD1 CD2 CE1 CE2 CZ",
    "PRO": "CB CG CD",
    "SER": "CB OG",
    "THR": "CB OG1 CG2",
    "TRP": "CB CG CD1 CD2 NE1 CE2 CE3 CZ2 CZ3 CH2",
    "TYR": "CB CG CD1 CD2 CE1 CE2 CZ OH",
    "VAL": "CB CG1 CG2",
}
HEAVY_ATOMS = {name: ("N", "CA", "C", "O", *side.split()) for name, side in _SIDE_CHAINS.items()} | {
    "ACE": ("CH3", "C", "O"),
    "NME": ("N", "C"),
    "NH2": ("N",),
}
"""Atoms but hydrogen, without the second oxygen of a charged end."""

_BACKBONE = ("N", "CA", "CB", "C", "O")
_OTHERS = sorted({atom for atoms in HEAVY_ATOMS.values() for atom in (*atoms, "OXT")} - {*_BACKBONE})
ATOMS = (*_BACKBONE, *_OTHERS, "other")
"""The atom feature of a bead is a place in this list; hydrogens are the last."""
ELEMENTS = ("C", "N", "O", "S", "H")
"""The element feature of a bead is a place in this list."""

_VARIANTS = {
    "HIS": "HID HIE HIP HSD HSE HSP HISD HISE HISH HISA HISB HIS1 HIS2 HSH HIH",
    "CYS": "CYX CYM CYSH CYS1 CYS2",
    "LYS": "LYN LYSH LYSN LSN",
    "ASP": "ASH ASPH ASPP",
    "GLU": "GLH GLUH GLUP",
    "ARG": "ARN ARGN",
    "TYR": "TYM",
    "NME": "NMA NAC",
    "NH2": "NHE",
}
_STANDARD = {name: name for name in RESIDUES} | {
    variant: name for name, variants in _VARIANTS.items() for variant in variants.split()
}
# Names of the ends of chains and of caps in other force fields and programs: CHARMM's OT1, Amber's
# and GROMACS' OC1, OPLS' O1, CNS' OCT1 (the second oxygen of an acid is OT). An NME of older Amber files has
# a CH3.
_ALIASES = {
    "ACE": {"CH3": ("CAY", "CA", "CT", "CM"), "C": ("CY",), "O": ("OY",)},
    "NME": {"N": ("NT",), "C": ("CH3", "CAT", "CA", "CT", "CM")},
    "NH2": {"N": ("NT",)},
}
_AMINO_ALIASES = {"O": ("OT1", "OC1", "O1", "OCT1", "O'"), "OXT": ("OT2", "OC2", "O2", "OCT2", "O''", "OT")}
_MASSLESS = ("LP", "EP", "VS", "M")
"""How names of lone pairs and virtual sites begin, those of GROMACS' rigid groups with M."""

Pairs = set[tuple[int, int]]


class MoleculeError(FokkerError, ValueError):
    """Structures or frames that cannot be what they are said to be.

    The message names the file, the frame and the atom as far as there are any, and what would be right.
    """


def standard_residue(name: str) -> str | None:
    """The residue that a protonation variant (HIE, CYX …) or a terminal one of Amber (NALA, CHIE …) is."""
    name = name.strip().upper()
    if name in _STANDARD:
        return _STANDARD[name]
    inner = _STANDARD.get(name[1:]) if len(name) == 4 and name[0] in "NC" else None
    return None if inner in CAPS else inner


def standard_atoms(residue: Residue) -> dict[str, Atom]:
    """A residue's atoms under the names that the Protein Data Bank gives them."""
    atoms = {atom.name.strip().upper(): atom for atom in reversed(list(residue.atoms))}
    standard = standard_residue(residue.name)
    for name, aliases in _ALIASES.get(standard or "", _AMINO_ALIASES).items():
        for alias in aliases:
            if alias in atoms and name not in atoms:
                atoms[name] = atoms.pop(alias)
    if standard == "ILE" and "CD" in atoms:
        atoms.setdefault("CD1", atoms.pop("CD"))
    return atoms


def symbol_of(atom: Atom, name: str = "") -> str | None:
    """Chemical symbol of an amino acid's or a cap's atom of this standard name; None of what has no mass.

    Names come first: files leave elements out, take CA for calcium and HG for mercury, or tell them by masses
    that are not those of atoms, as where hydrogens were made heavier.
    """
    name = name or atom.name.strip().upper()
    if name in ATOMS[:-1]:
        return name[0]
    letters = name.lstrip("0123456789'\"")
    if letters[:1] in ("H", "D"):  # D is deuterium, or a Drude particle, which is as light.
        return "H"
    symbol = getattr(atom.element, "symbol", None)
    if symbol == "VS" or letters.startswith(_MASSLESS):
        return None
    return symbol or (letters[:1] if letters[:1] in ELEMENTS else None)


def foreign_atoms(residue: Residue) -> list[Atom]:
    """The atoms but hydrogen that a residue of this name, which is a known one, does not have."""
    standard = standard_residue(residue.name)
    known = {*HEAVY_ATOMS[standard], "OXT"} if standard in AMINO_ACIDS else {*HEAVY_ATOMS[standard or "ACE"]}
    strange = {atom.index for name, atom in standard_atoms(residue).items() if name not in known}
    atoms = [atom for atom in residue.atoms if atom.index in strange]
    return [atom for atom in atoms if symbol_of(atom) not in ("H", None)]


def is_solvent(residue: Residue) -> bool:
    """Whether it is water or an ion, which no bead map means."""
    if standard_residue(residue.name) is not None:
        return False
    atoms = [atom.name.strip().upper() for atom in residue.atoms]
    if residue.is_water or (len(atoms) == 1 and (atoms != ["CA"] or residue.name.strip().upper() == "CA")):
        return True
    # Water by its atoms, whatever a force field calls it (SPC, T4P, SWM4), with sites that have no mass.
    symbols = sorted(filter(None, map(symbol_of, residue.atoms)))
    return symbols[-1:] == ["O"] and set(symbols[:-1]) == {"H"} and len(symbols) > 2


def atoms_in_order(topology: mdtraj.Topology) -> list[Atom]:
    """All atoms by their index; mdtraj goes through them residue by residue, which may be interleaved."""
    return sorted(topology.atoms, key=lambda atom: atom.index)


def residues_of_atoms(topology: mdtraj.Topology) -> list[int]:
    """The index of each atom's residue."""
    return [atom.residue.index for atom in atoms_in_order(topology)]


def neighbours(topology: mdtraj.Topology) -> list[tuple[Residue, Residue]]:
    """Every two known residues that follow one another in a chain."""
    pairs = [pair for chain in topology.chains for pair in pairwise(chain.residues)]
    return [pair for pair in pairs if all(standard_residue(residue.name) for residue in pair)]


def solute_atoms(topology: mdtraj.Topology) -> Int[np.ndarray, "atoms"]:
    """Indices of all atoms but water and ions."""
    solute = (residue for residue in topology.residues if not is_solvent(residue))
    return np.array([atom.index for residue in solute for atom in residue.atoms], int)


def parse_sequence(sequence: str) -> tuple[tuple[str, ...], ...]:
    """Standard residue names, chain by chain; MoleculeError names the residue that is none."""
    return tuple(_parse_chain(chain, sequence) for chain in sequence.split(":"))


def _parse_chain(chain: str, sequence: str) -> tuple[str, ...]:
    codes = chain.strip().upper().split("-") if "-" in chain else list(chain.strip().upper())
    names = [CODES.get(code) or standard_residue(code) for code in codes]
    last = len(names) - 1
    for number, (code, name) in enumerate(zip(codes, names, strict=True)):
        misplaced = (name == "ACE" and number > 0) or (name in ("NME", "NH2") and number < last)
        if name is None or misplaced:
            raise MoleculeError(
                f"sequence {sequence!r}: residue {number + 1} is {code!r}, none of {''.join(CODES)}, nor of "
                "their names with dashes between, nor ACE at the start, NME or NH2 at the end: ACE-ALA-NME"
            )
    if not set(names) & set(AMINO_ACIDS):
        raise MoleculeError(f"sequence {sequence!r} has no amino acid: give one like AC or ACE-ALA-NME")
    return tuple(name for name in names if name)


def format_sequence(chains: Iterable[Collection[str]]) -> str:
    """The sequence string of standard residue names: the inverse of `parse_sequence`."""
    letters = {name: code for code, name in CODES.items()}
    return ":".join(
        "-".join(chain) if set(chain) & set(CAPS) else "".join(letters[name] for name in chain)
        for chain in chains
    )


def sequence_topology(sequence: str) -> mdtraj.Topology:
    """All heavy atoms of a sequence with their bonds."""
    topology = mdtraj.Topology()
    for names in parse_sequence(sequence):
        chain = topology.add_chain()
        for number, name in enumerate(names, 1):
            residue = topology.add_residue(name, chain, number)
            charged_end = number == len(names) and name in AMINO_ACIDS
            for atom in (*HEAVY_ATOMS[name], *(["OXT"] if charged_end else [])):
                topology.add_atom(atom, mdtraj.element.get_by_symbol(atom[0]), residue)
    topology.create_standard_bonds()
    return topology


def bonded_pairs(topology: mdtraj.Topology, kept: Collection[int] | None = None) -> Pairs:
    """Bonds between the atoms that are kept (all, if not given), lower index first.

    Residues for which the file gives none have those that their names imply. Neighbours in a chain that no
    bond joins any more, because only some of their atoms are kept, are joined from CA to CA.
    """
    pairs, residue_of = stated_pairs(topology), residues_of_atoms(topology)
    joined = {residue_of[first] for first, second in pairs if residue_of[first] == residue_of[second]}
    bare = {residue.index for residue in topology.residues if residue.n_atoms > 1} - joined
    if bare:
        implied = implied_pairs(topology)
        pairs |= {pair for pair in implied if not bare.isdisjoint(residue_of[index] for index in pair)}
    kept = range(topology.n_atoms) if kept is None else set(kept)
    inside = {(first, second) for first, second in pairs if first in kept and second in kept}
    return inside | _virtual_pairs(topology, pairs, inside, kept)


def stated_pairs(topology: mdtraj.Topology) -> Pairs:
    """The bonds that the file gives."""
    return {(min(a.index, b.index), max(a.index, b.index)) for a, b in topology.bonds}


def implied_pairs(topology: mdtraj.Topology) -> Pairs:
    """The bonds of the standard residues, whatever the names in the file."""
    renamed, order = mdtraj.Topology(), []
    for chain in topology.chains:
        new_chain = renamed.add_chain()
        for residue in chain.residues:
            new = renamed.add_residue(standard_residue(residue.name) or residue.name, new_chain)
            names = {atom.index: name for name, atom in standard_atoms(residue).items()}
            for atom in residue.atoms:
                renamed.add_atom(names.get(atom.index, atom.name), atom.element, new)
                order.append(atom.index)
    renamed.create_standard_bonds()
    pairs = ((order[a.index], order[b.index]) for a, b in renamed.bonds)
    return {(min(pair), max(pair)) for pair in pairs}


def _virtual_pairs(topology: mdtraj.Topology, pairs: Pairs, inside: Pairs, kept: Collection[int]) -> Pairs:
    residue_of = residues_of_atoms(topology)
    joined = {tuple(sorted(residue_of[index] for index in pair)) for pair in inside}
    virtual = set()
    for first, second in neighbours(topology):
        here, there = standard_atoms(first), standard_atoms(second)
        if (first.index, second.index) in joined or "CA" not in here or "CA" not in there:
            continue
        if "C" in here and "N" in there:
            follows = tuple(sorted((here["C"].index, there["N"].index))) in pairs
        else:
            follows = second.resSeq - first.resSeq <= 1
        pair = here["CA"].index, there["CA"].index
        if follows and pair[0] in kept and pair[1] in kept:
            virtual.add(pair)
    return virtual
