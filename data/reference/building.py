"""What dynamics of any sequence start from: a structure of all atoms, and OpenMM's system of it."""

import importlib.util
import random
import warnings
from typing import Any

import mdtraj
import numpy as np
from jaxtyping import Float

from ..molecules.residues import CODES, MoleculeError, parse_sequence, sequence_topology

HINT = "it needs OpenMM and Biopython: pip install 'fokker[openmm]'"
FORCE_FIELDS = {"amber14": "amber14/protein.ff14SB.xml", "amber99sb-ildn": "amber99sbildn.xml"}
SOLVENT = "OBC2"
_CAP_ATOMS = {"ACE": {"CH3": "CA"}, "NME": {"C": "CA"}}
"""Atoms of the caps by those of the glycine that is built in their place, where the names differ."""


def require_openmm() -> None:
    """MoleculeError, which says how to install them, if packages that build and simulate are missing."""
    for package in ("openmm", "Bio"):
        if importlib.util.find_spec(package) is None:
            raise MoleculeError(f"the package {package} is missing: {HINT}")


def heavy_atoms(sequence: str) -> tuple[mdtraj.Topology, Float[np.ndarray, "atoms 3"]]:
    """Topology and positions (nm) of all heavy atoms of one chain, extended, with L-amino acids.

    Bonds, angles and side chains are Biopython's defaults; caps are built as glycines. Raises MoleculeError
    for several chains.
    """
    chains = parse_sequence(sequence)
    if len(chains) > 1:
        raise MoleculeError(f"sequence {sequence!r} has {len(chains)} chains: build one at a time")
    names = next(iter(chains))
    letters = {name: code for code, name in CODES.items()}
    built = _biopython("".join(letters.get(name, "G") for name in names))
    topology = sequence_topology(sequence)
    positions = [
        built[residue.index][_CAP_ATOMS.get(names[residue.index], {}).get(atom.name, atom.name)]
        for residue in topology.residues
        for atom in residue.atoms
    ]
    return topology, 0.1 * np.asarray(positions)


def _biopython(letters: str) -> list[dict[str, Float[np.ndarray, "3"]]]:
    """Positions (Å) of every residue's atoms by name; the last has a second oxygen."""
    from Bio.PDB.PICIO import read_PIC_seq
    from Bio.Seq import Seq
    from Bio.SeqRecord import SeqRecord

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's of an uninitialised `out`, which Biopython overwrites.
        structure: Any = read_PIC_seq(SeqRecord(Seq(letters), id="X", description=""))
        structure.internal_to_atom_coordinates()
    return [{atom.get_name(): atom.coord for atom in residue} for residue in structure.get_residues()]


def build(sequence: str, force_field: Any) -> tuple[Any, Any]:
    """OpenMM topology and positions of a sequence, with the hydrogens of pH 7; not minimised.

    `force_field` is an `openmm.app.ForceField`. Raises MoleculeError for a residue that it does not know.
    """
    import openmm
    from openmm import app, unit

    nanometer: Any = vars(unit)["nanometer"]  # Made at run time, so that type checkers do not see it.
    topology, positions = heavy_atoms(sequence)
    modeller = app.Modeller(topology.to_openmm(), positions * nanometer)
    state = random.getstate()
    random.seed(0)  # OpenMM puts hydrogens near their places with Python's global generator.
    try:
        # Whose sums have one order: threads of the CPU platform would start every run elsewhere.
        platform = openmm.Platform.getPlatformByName("Reference")
        modeller.addHydrogens(force_field, pH=7.0, platform=platform)
    except ValueError as error:
        raise MoleculeError(f"sequence {sequence!r}: {error}") from None
    finally:
        random.setstate(state)
    return modeller.topology, modeller.positions


def make_system(topology: Any, force_field: Any) -> Any:
    """OpenMM system of a peptide in OBC2 solvent; bonds to hydrogen constrained, hydrogens of 3 amu.

    OpenMM's file for OBC2 makes a CustomGBForce, which is interpreted; as a GBSAOBCForce of the same radii
    and scales, which this is, the model is some thirty times as fast.
    """
    import openmm
    from openmm import app, unit
    from openmm.app.internal.customgbforces import GBSAOBC2Force

    system = force_field.createSystem(
        topology,
        nonbondedMethod=app.NoCutoff,
        constraints=app.HBonds,
        hydrogenMass=unit.Quantity(3.0, unit.amu),
    )
    (nonbonded,) = (force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    nonbonded.setReactionFieldDielectric(1)
    solvent = openmm.GBSAOBCForce()
    for index, (radius, scale) in enumerate(GBSAOBC2Force.getStandardParameters(topology)):
        solvent.addParticle(nonbonded.getParticleParameters(index)[0], radius, scale)
    system.addForce(solvent)
    return system
