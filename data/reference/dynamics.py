"""Reference dynamics of a peptide: all atoms in implicit solvent, made with OpenMM.

Peptides cross the barriers of φ in nanoseconds to microseconds. So a bias on every φ is learned first
(well-tempered metadynamics, Barducci et al. 2008), then takes away what lies above a ceiling while the frames
are made; drawing them with weights exp(V/kT) gives the equilibrium back (Torrie & Valleau 1977). Walkers are
independent, so that they can run in parallel. Units: nm, ps, kJ/mol, K.

    NAME-traj-arrays.npz    frames of equilibrium: positions
    NAME-biased-arrays.npz  those that they were drawn from, in order of time: positions, bias, walker; and
                            the bias of each walker along each torsion (tables) of four atoms (atoms)
    NAME-traj-state0.pdb    a structure
    NAME-reference.json     how it was made, and the weights of φ of the biased frames (`profiles`)
"""

import io
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from math import log, pi
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
from jaxtyping import Float, Int
from mdtraj.geometry.dihedral import indices_phi

from .. import files
from ..config import ReferenceConfig
from ..molecules.residues import MoleculeError
from . import biased, profiles
from .building import FORCE_FIELDS, SOLVENT, build, make_system, require_openmm

BINS = 72
"""Bins of a torsion's bias over the circle."""
HILL_WIDTH = 0.2  # radians
HILL_HEIGHT = 0.1  # kT
HILL_STEPS = 100
BIAS_FACTOR = 10.0
_BIAS_GROUP = 1
_WORK = ".work"


@dataclass(frozen=True)
class Reference:
    """The reference of one peptide and the folder that it is written to, in Timewarp's layout."""

    sequence: str
    config: ReferenceConfig
    directory: Path

    @property
    def finished(self) -> bool:
        """Whether its files are there, which are written last of all."""
        return self._file("reference.json").exists()

    @property
    def blocks(self) -> int:
        """Blocks of one walker, those of the learning included."""
        return self._learning_blocks + -(-self._frames_per_walker // self._frames_per_block)

    def done(self) -> int:
        """Blocks of all walkers that are on disk."""
        if self.finished:
            return self.blocks * self.config.walkers
        return sum(1 for path in self._work.glob("walker-*/block-*.npz") if not path.name.startswith("."))

    def walk(self, walker: int) -> None:
        """Simulate one walker to its end; goes on after the last block on disk.

        Raises MoleculeError for a sequence that cannot be built, or dynamics that became not finite.
        """
        _Walk(self, walker).run()

    def finish(self) -> dict[str, Any]:
        """Draw the frames of equilibrium from all walkers and write them; what is reported of them."""
        if self.finished:
            return json.loads(self._file("reference.json").read_text())
        random = np.random.default_rng([self.config.seed, self.config.walkers])
        share, left = divmod(self.config.frames, self.config.walkers)
        drawn, sizes, crossings, seen, made, tables = [], [], 0, [], [], []
        topology = mdtraj.load(str(self._work / "walker-0" / "start.pdb")).topology
        for walker in range(self.config.walkers):
            blocks = [
                np.load(self._work / f"walker-{walker}" / f"block-{index:05d}.npz")
                for index in range(self._learning_blocks, self.blocks)
            ]
            positions = np.concatenate([block["positions"] for block in blocks])
            bias = np.concatenate([block["bias"] for block in blocks])
            weights = np.exp((bias - bias.max()) / self.config.kT)
            weights /= weights.sum()
            sizes.append(float(1 / np.sum(weights**2)))
            phi = _phi(positions, topology)
            crossings += _crossings(phi)
            seen.append([profiles.weigh(angles, weights) for angles in phi.T])
            made.append((positions, bias, np.full(len(bias), walker)))
            tables.append(blocks[-1]["production"])
            drawn.append(positions[random.choice(len(weights), share + (walker < left), p=weights)])
        frames = random.permutation(np.concatenate(drawn))
        report = {
            "sequence": self.sequence,
            "physics": {
                "force_field": self.config.force_field,
                "solvent": SOLVENT,
                "temperature_K": self.config.temperature,
            },
            "settings": asdict(self.config),
            "frames": len(frames),
            "effective_samples": float(np.sum(sizes)),
            "effective_samples_of_each_walker": sizes,
            "phi_crossings": crossings,
            "phi_positive": _positive(_phi(frames, topology)),
            "phi_positive_of_each_walker": [_positive(_phi(part, topology)) for part in drawn],
            "phi": _by_residue(topology, seen),
        }
        positions, bias, walkers = (np.concatenate(part) for part in zip(*made, strict=True))
        kept = {
            "positions": positions.astype(np.float32),
            "bias": bias.astype(np.float32),
            "walker": walkers.astype(np.int32),
            "tables": np.stack(tables).astype(np.float32),
            "atoms": np.asarray(indices_phi(topology), np.int32).reshape(-1, 4),
        }
        self._write(frames, kept, report)
        return report

    def _write(
        self,
        frames: Float[np.ndarray, "frames atoms 3"],
        kept: Mapping[str, np.ndarray],
        report: dict[str, Any],
    ) -> None:
        self._write_arrays(biased.ENDING.removeprefix("-"), **kept)
        times = np.arange(len(frames)) * 1.0
        self._write_arrays("traj-arrays.npz", positions=frames.astype(np.float32), time=times)
        start = (self._work / "walker-0" / "start.pdb").read_bytes()
        files.write(self._file("traj-state0.pdb"), start)
        files.write_json(self._file("reference.json"), report)
        shutil.rmtree(self._work)
        with suppress(OSError):  # Another sequence's is in it.
            self._work.parent.rmdir()

    def _write_arrays(self, ending: str, **arrays: Any) -> None:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        files.write(self._file(ending), buffer.getvalue())

    def _file(self, ending: str) -> Path:
        return self.directory / f"{self.sequence}-{ending}"

    @cached_property
    def _work(self) -> Path:
        return self.directory / _WORK / self.sequence

    @property
    def _learning_blocks(self) -> int:
        return max(1, round(self.config.learning / self.config.block))

    @property
    def _frames_per_walker(self) -> int:
        return self.config.biased // self.config.walkers

    @property
    def _frames_per_block(self) -> int:
        return max(1, round(1000 * self.config.block / self.config.interval))


class _Walk:
    """One walker in a running OpenMM context."""

    def __init__(self, reference: Reference, walker: int):
        self._reference, self._config = reference, reference.config
        self._folder = reference._work / f"walker-{walker}"
        self._seed = 1 + int(np.random.default_rng([self._config.seed, walker]).integers(2**31 - 2))

    def run(self) -> None:
        """Every block that is not on disk."""
        folder, reference = self._folder, self._reference
        learning, blocks = reference._learning_blocks, reference.blocks
        paths = [folder / f"block-{index:05d}.npz" for index in range(blocks)]
        first = next((index for index, path in enumerate(paths) if not path.exists()), blocks)
        if first == blocks:
            return
        topology, positions = self._prepare()
        if first:
            with np.load(paths[first - 1]) as block:
                self._context.loadCheckpoint(block["checkpoint"].tobytes())
                self._set_bias(block["hills"] if first < learning else block["production"])
                hills = block["hills"]
        else:
            self._start(topology, positions)
            hills = np.zeros((len(self._torsions), BINS))
        left = reference._frames_per_walker - max(0, first - learning) * reference._frames_per_block
        for index in range(first, blocks):
            kept: dict[str, Any] = {}
            if index < learning:
                hills = self._learn(hills)
            else:
                count = min(left, reference._frames_per_block)
                left -= count
                kept["positions"], kept["bias"] = self._produce(count)
            kept["production"] = self._production_bias(hills)
            if index == learning - 1:
                self._set_bias(kept["production"])
            buffer = io.BytesIO()
            checkpoint = np.frombuffer(self._context.createCheckpoint(), np.uint8)
            np.savez(buffer, hills=hills, checkpoint=checkpoint, **kept)
            files.write(paths[index], buffer.getvalue())

    def _prepare(self) -> tuple[Any, Any]:
        """Make the context; topology and positions to start from."""
        require_openmm()
        import openmm
        from openmm import app, unit

        config = self._config
        force_field = app.ForceField(FORCE_FIELDS[config.force_field])
        topology, positions = build(self._reference.sequence, force_field)
        self._torsions = indices_phi(mdtraj.Topology.from_openmm(topology))
        system = make_system(topology, force_field)
        self._forces = [_torsion_force(openmm, atoms) for atoms in self._torsions.tolist()]
        for force in self._forces:
            system.addForce(force)
        integrator = openmm.LangevinMiddleIntegrator(
            config.temperature, config.friction, config.timestep * 1e-3
        )
        integrator.setRandomNumberSeed(self._seed)
        platform = openmm.Platform.getPlatformByName(config.platform)
        self._context = openmm.Context(system, integrator, platform)
        self._integrator, self._unit = integrator, unit
        return topology, positions

    def _start(self, topology: Any, positions: Any) -> None:
        """Minimise, and keep the structure beside the frames."""
        import openmm
        from openmm import app

        self._context.setPositions(positions)
        openmm.LocalEnergyMinimizer.minimize(self._context)
        text = io.StringIO()
        app.PDBFile.writeFile(topology, self._context.getState(getPositions=True).getPositions(), text)
        files.write(self._folder / "start.pdb", text.getvalue())
        self._context.setVelocitiesToTemperature(self._config.temperature, self._seed)

    def _learn(self, hills: Float[np.ndarray, "torsions bins"]) -> Float[np.ndarray, "torsions bins"]:
        """A block of metadynamics, one bias for each torsion; the hills (kJ/mol) afterwards."""
        kT, grid = self._config.kT, np.linspace(-pi, pi, BINS + 1)[:-1]
        steps = round(1e6 * self._config.block / self._config.timestep)
        for _ in range(max(1, steps // HILL_STEPS)):
            self._integrator.step(HILL_STEPS)
            angles = _dihedrals(self._positions(), self._torsions)
            for bias, angle in zip(hills, angles, strict=True):
                here = np.interp(angle, grid, bias, period=2 * pi)
                height = HILL_HEIGHT * kT * np.exp(-here / ((BIAS_FACTOR - 1) * kT))
                distance = np.angle(np.exp(1j * (grid - angle)))
                bias += height * np.exp(-0.5 * (distance / HILL_WIDTH) ** 2)
            self._set_bias(hills)
        return hills

    def _production_bias(self, hills: Float[np.ndarray, "torsions bins"]) -> np.ndarray:
        """What cuts the learned free energy off at the ceiling."""
        kT = self._config.kT
        energy = -BIAS_FACTOR / (BIAS_FACTOR - 1) * hills
        energy -= energy.min(axis=1, keepdims=True)
        # The more torsions are lifted at once, the less of the time all are where they belong.
        ceiling = self._config.ceiling + max(0.0, log(max(1, len(hills)) / 2))
        return -np.maximum(energy - ceiling * kT, 0.0)

    def _produce(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Frames of the fixed bias and its energy (kJ/mol) in each."""
        positions, bias = [], np.empty(count)
        for index in range(count):
            self._integrator.step(self._config.stride)
            positions.append(self._positions().astype(np.float32))
            state = self._context.getState(getEnergy=True, groups=1 << _BIAS_GROUP)
            bias[index] = state.getPotentialEnergy().value_in_unit(self._unit.kilojoule_per_mole)
        return np.stack(positions), bias

    def _positions(self) -> Float[np.ndarray, "atoms 3"]:
        state = self._context.getState(getPositions=True)
        positions = state.getPositions(asNumpy=True).value_in_unit(self._unit.nanometer)
        if not np.isfinite(positions).all():
            raise MoleculeError(
                f"{self._reference.sequence}: the dynamics became not finite: take a smaller timestep than "
                f"{self._config.timestep:g} fs"
            )
        return np.asarray(positions)

    def _set_bias(self, values: Float[np.ndarray, "torsions bins"]) -> None:
        for force, bias in zip(self._forces, values, strict=True):
            force.getTabulatedFunction(0).setFunctionParameters([*bias, bias[0]], -pi, pi)
            force.updateParametersInContext(self._context)


def _torsion_force(openmm: Any, atoms: Sequence[int]) -> Any:
    """A bias on one torsion, given on a grid and zero at first."""
    force = openmm.CustomCompoundBondForce(4, "bias(dihedral(p1, p2, p3, p4))")
    table = openmm.Continuous1DFunction([0.0] * (BINS + 1), -pi, pi, True)
    force.addTabulatedFunction("bias", table)
    force.addBond(atoms, [])
    force.setForceGroup(_BIAS_GROUP)
    return force


def _dihedrals(
    positions: Float[np.ndarray, "atoms 3"], quadruples: Int[np.ndarray, "torsions 4"]
) -> Float[np.ndarray, "torsions"]:
    """Torsions (radians) of one frame, in OpenMM's sign, which is IUPAC's."""
    a, b, c, d = (positions[quadruples[:, i]] for i in range(4))
    first, axis, last = b - a, c - b, d - c
    one, other = np.cross(first, axis), np.cross(axis, last)
    sine = np.sum(np.linalg.norm(axis, axis=-1)[:, None] * first * other, axis=-1)
    return np.arctan2(sine, np.sum(one * other, axis=-1))


def _phi(frames: np.ndarray, topology: mdtraj.Topology) -> Float[np.ndarray, "frames torsions"]:
    return mdtraj.compute_phi(mdtraj.Trajectory(frames, topology))[1]


def _by_residue(topology: mdtraj.Topology, seen: Sequence[Sequence[np.ndarray]]) -> profiles.Weights:
    """The weights of each φ by the number of its residue, those of all walkers together 1."""
    residues = [topology.atom(int(atoms[1])).residue.index for atoms in indices_phi(topology)]
    return {
        str(residue): [
            [float(f"{weight:.6g}") for weight in part]
            for part in np.concatenate([walker[place] for walker in seen]) / len(seen)
        ]
        for place, residue in enumerate(residues)
    }


def _positive(phi: Float[np.ndarray, "frames torsions"]) -> list[float]:
    return (phi > 0).mean(axis=0).tolist()


def _crossings(phi: Float[np.ndarray, "frames torsions"]) -> int:
    """Changes of sign through 0."""
    before, after = phi[:-1], phi[1:]
    return int(np.sum((before * after < 0) & (np.abs(after - before) < pi)))
