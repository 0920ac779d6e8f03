"""Topologies as all else reads them: caps are residues, and chains end where molecules do."""

from collections.abc import Collection
from typing import NamedTuple

import mdtraj
from mdtraj.core.topology import Residue

from .patches import Part, rebuilt, split_patches
from .residues import AMINO_ACIDS, CAPS, neighbours, standard_atoms, standard_residue, stated_pairs

_ON_NITROGEN = {f"{prefix}{number}" for prefix in ("H", "HN", "HT") for number in "123"} | {
    *("H", "HN", "1H", "2H", "3H")
}


def standard_topology(topology: mdtraj.Topology) -> mdtraj.Topology:
    """The same atoms, with the caps of CHARMM's patches as residues and a chain for each molecule.

    A chain ends at a second carboxyl oxygen and begins at a charged N, whatever the file says: formats
    without chains (GRO) let one molecule follow another. Itself where nothing is to be done.
    """
    topology = split_patches(topology)
    breaks = {second.index for first, second in neighbours(topology) if _ended(first) or _begun(second)}
    return parted(topology, breaks) if breaks else topology


def _ended(residue: Residue) -> bool:
    return standard_residue(residue.name) in AMINO_ACIDS and "OXT" in standard_atoms(residue)


def _begun(residue: Residue) -> bool:
    """Whether it has the hydrogens of a charged N: three, or the two of proline."""
    standard = standard_residue(residue.name)
    hydrogens = [atom for atom in residue.atoms if atom.name.strip().upper() in _ON_NITROGEN]
    return standard not in CAPS and len(hydrogens) > (1 if standard == "PRO" else 2)


class Joint(NamedTuple):
    """The atoms that join neighbours, and their names."""

    pair: tuple[int, int]
    names: tuple[str, str]


def joint(first: Residue, second: Residue) -> Joint | None:
    """C and N or, of Cα models, both CA; None if they are not there."""
    here, there = standard_atoms(first), standard_atoms(second)
    for one, other in (("C", "N"), ("CA", "CA")):
        if one in here and other in there:
            return Joint((here[one].index, there[other].index), (one, other))
    return None


def parted(
    topology: mdtraj.Topology, breaks: Collection[int], bonds: Collection[tuple[int, int]] = ()
) -> mdtraj.Topology:
    """With a new chain from each of these residues (by index) on, and no bond to the one before.

    `bonds` are joined besides.
    """
    chains: list[tuple[str | None, list[Part]]] = []
    for chain in topology.chains:
        chains.append((chain.chain_id, []))
        for residue in chain.residues:
            if residue.index in breaks:
                chains.append((None, []))
            chains[-1][1].append(Part.of(residue))
    joints = [joint(first, second) for first, second in neighbours(topology) if second.index in breaks]
    cut = {frozenset(found.pair) for found in joints if found}
    pairs = {pair for pair in stated_pairs(topology) | {*bonds} if frozenset(pair) not in cut}
    return rebuilt(topology, chains, pairs)
