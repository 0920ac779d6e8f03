"""A trained model to take away: one file, and its use from Python. Units: nm, ps, amu, kJ/mol, K.

Results have the type of the positions that are given: float32, or float64 where JAX computes in it
(JAX_ENABLE_X64); samples are float32, as the parameters are.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Key

from ..analysis.systems import BOLTZMANN
from ..data.bead_map import BeadMap
from ..data.beads import Beads, require_embeddable
from ..data.config import MoleculesConfig
from ..data.residues import MoleculeError
from ..data.springs import Table
from ..distributed.molecules import molecule_of
from ..model import langevin, samplers
from ..model.config import SimulateConfig
from ..model.experts import Expert, Parameters, active_at
from ..model.keys import key_of
from ..model.molecules import Molecule
from ..model.potential import Potential
from . import model_file
from .config import Config, ConfigError

Positions = Float[np.ndarray, "frames beads 3"]
Given = Any
"""What NumPy makes an array of; its shape is checked, so that an error is in words."""
Watcher = Callable[[int], None]
"""Sees how many samples or chains are done."""


def _unwatched(done: int) -> None:
    pass


@dataclass(frozen=True)
class Model:
    """The experts of a run, for any peptide of known residues that its bead map can make."""

    config: Config
    parameters: tuple[Parameters, ...]
    norm: float
    springs: Table

    @property
    def bead_map(self) -> BeadMap:
        """Which atoms are beads."""
        assert isinstance(self.config.data, MoleculesConfig)
        return BeadMap.parse(self.config.data.beads)

    @property
    def kT(self) -> float:
        """Thermal energy in kJ/mol, at the temperature of the training data."""
        return BOLTZMANN * self.config.data.temperature

    def beads(self, sequence: str) -> Beads:
        """The beads of a sequence, such as AC or ACE-ALA-NME. Raises MoleculeError for unknown residues."""
        return Beads.from_sequence(sequence, self.bead_map)

    def log_density(
        self, sequence: str, positions: Given, time: float | int | None = None
    ) -> Float[np.ndarray, "frames"]:
        """Unnormalised log-density of positions (nm) at a diffusion time, that of the forces unless given.

        Raises what `energy` does. Zeros of densities of different experts differ.
        """
        return -self.energy(sequence, positions, time) / self.kT

    def energy(
        self, sequence: str, positions: Given, time: float | int | None = None
    ) -> Float[np.ndarray, "frames"]:
        """U (kJ/mol), up to a constant, at positions (nm) of shape (frames, beads, 3), by the time's expert.

        Raises ConfigError for a time outside (0, 1) or one whose expert is a score, which has no energy, and
        MoleculeError for positions of another shape.
        """
        expert = self.config.experts[self._active(time)]
        if not expert.conservative:
            energies = [_shown(each.interval) for each in self.config.experts if each.conservative]
            right = (
                f"ask for a time in {' or '.join(energies)}, or for forces" if energies else "ask for forces"
            )
            raise ConfigError(
                f"time {self._time(time):g}: the expert of {_shown(expert.interval)} is a score, which has "
                f"no energy and no log-density: {right}"
            )
        return self._evaluate(_energy, sequence, positions, time)

    def forces(self, sequence: str, positions: Given, time: float | int | None = None) -> Positions:
        """−∇U (kJ/mol/nm) at positions in nm; of a score, the field that would be one.

        Raises ConfigError for a time outside (0, 1), MoleculeError for positions of another shape.
        """
        return self._evaluate(_forces, sequence, positions, time)

    def sample(self, sequence: str, count: int, seed: int = 0, watch: Watcher = _unwatched) -> Positions:
        """Independent samples in nm, a chunk of the run's `sample` settings at a time."""
        return self._samples(self.beads(sequence), count, seed, "model: samples", watch)

    def simulate(
        self,
        sequence: str,
        frames: int,
        *,
        chains: int = 100,
        stride: int | None = None,
        burn_in: int | None = None,
        start: Given = None,
        seed: int = 0,
        watch: Watcher = _unwatched,
    ) -> Float[np.ndarray, "chains frames beads 3"]:
        """Langevin dynamics: `frames` of each chain (nm), every `stride` steps after `burn_in` steps.

        Time step, friction, integrator and diffusion time are those of the run's `simulate` settings, and so
        are stride and burn-in unless given. Chains start at `start` (nm, one for each), or at as many samples
        of the model as `chains` says. With more frames each chain begins as it does with fewer.
        """
        beads, settings = self.beads(sequence), self.config.simulate
        stride = _at_least(1, "stride", settings.stride if stride is None else stride)
        burn_in = _at_least(0, "burn_in", settings.burn_in if burn_in is None else burn_in)
        settings = replace(settings, stride=stride, burn_in=burn_in)
        frames = _at_least(1, "frames", frames)
        if start is None:
            start = self._samples(beads, chains, seed, "model: starts")
        x = _checked(beads, start)
        molecule, mass = self._molecule(beads), jnp.asarray(np.asarray(beads.masses, x.dtype)[:, None])
        potential, parameters = self._potential(beads, None)
        parts = []
        for index, rows in _chunks(_at_least(1, "chains", len(x)), settings.chunk):
            parts_of = (f"model: {part}" for part in langevin.PARTS)
            keys = jnp.stack([key_of(seed, part, beads.sequence, index) for part in parts_of])
            found = _simulate(potential, settings, frames, molecule, mass, parameters, x[rows], keys)
            parts.append(np.asarray(found.position).swapaxes(0, 1))
            watch(min((index + 1) * len(rows), len(x)))
        positions = np.concatenate(parts)[: len(x)]
        return positions - positions.mean(axis=-2, keepdims=True)

    def _samples(
        self, beads: Beads, count: int, seed: int, purpose: str, watch: Watcher = _unwatched
    ) -> Positions:
        experts, molecule, settings = self.experts(beads), self._molecule(beads), self.config.sample
        parts = []
        for index, rows in _chunks(_at_least(1, "count", count), settings.chunk):
            key = key_of(seed, purpose, beads.sequence, index)
            part = _sample(experts, self.parameters, settings, key, len(rows), molecule)
            parts.append(np.asarray(part) / self.norm)
            watch(min((index + 1) * len(rows), count))
        return np.concatenate(parts)[:count]

    def _evaluate(self, function, sequence: str, positions: Given, time: float | int | None) -> np.ndarray:
        beads = self.beads(sequence)
        x = jnp.asarray(_checked(beads, positions))
        potential, parameters = self._potential(beads, time)
        return np.asarray(function(potential, self._molecule(beads), parameters, x))

    def _time(self, time: float | int | None) -> float:
        return self.config.simulate.force_time if time is None else float(time)

    def _active(self, time: float | int | None) -> int:
        """Number of the expert that answers at a time."""
        try:
            return active_at(self._time(time), self.config.experts)
        except ValueError as error:
            raise ConfigError(str(error)) from None

    def _potential(self, beads: Beads, time: float | int | None) -> tuple[Potential, Parameters]:
        """Without its molecule, so that it can be static; the functions below put it in."""
        active = self._active(time)
        potential = Potential(self.experts(beads)[active], self.kT, self._time(time), self.norm)
        return potential, self.parameters[active]

    def _molecule(self, beads: Beads) -> Molecule:
        return molecule_of(beads, self.springs, self.norm)

    def experts(self, beads: Beads) -> tuple[Expert, ...]:
        """The experts' functions for one molecule.

        Raises MoleculeError for more residues than a network has places for, and for more or fewer beads than
        those that a model tells apart by their number.
        """
        network = self.config.network
        if network.kind != "mlp":
            require_embeddable(beads, network.embedding)
        if network.kind != "mlp" and network.embedding == "one-hot":
            rows = self.parameters[0]["transformer"]["nodes"]["kernel"].shape[0]
            alone = model_file.shapes_of(self.config.experts[0], network, 1)[model_file.NUMBERED][0]
            if len(beads) != (known := rows - alone + 1):
                raise MoleculeError(
                    f"{beads.sequence} has {len(beads)} beads, and this model tells beads apart by their "
                    f"number, of which it knows {known}: take a model with network.embedding=features"
                )
        return tuple(Expert(expert, network, (len(beads), 3)) for expert in self.config.experts)

    def save(self, path: Path) -> None:
        """Write the model as one safetensors file, whole or not at all. Raises FileError."""
        model_file.write(path, model_file.Content(self.config, self.parameters, self.norm, self.springs))


def _checked(beads: Beads, given: Given) -> Positions:
    """Positions in their own type, float32 or float64. MoleculeError for a shape that is not of the beads."""
    try:
        x = np.asarray(given)
    except ValueError as error:
        raise MoleculeError(f"positions of {beads.sequence} are no array: {error}") from None
    if x.dtype.kind not in "fiu":
        raise MoleculeError(f"positions of {beads.sequence} are of {x.dtype}: give numbers, in nm")
    if x.ndim != 3 or x.shape[1:] != (len(beads), 3):
        hint = "; one frame is positions[None]" if x.shape == (len(beads), 3) else ""
        raise MoleculeError(
            f"positions of shape {x.shape} are not those of {beads.sequence}: it has {len(beads)} beads, "
            f"so they have to be (frames, {len(beads)}, 3){hint}"
        )
    return x.astype(np.float64 if x.dtype.kind == "f" and x.dtype.itemsize > 4 else np.float32)


def _chunks(count: int, chunk: int) -> Iterator[tuple[int, np.ndarray]]:
    """Numbers of chunks, and the rows of each: all of one length, so that none compiles anew.

    The last is filled up with the first rows.
    """
    size = min(count, chunk)
    for index, begin in enumerate(range(0, count, size)):
        yield index, np.arange(begin, begin + size) % count


def _at_least(least: int, name: str, value: int) -> int:
    if int(value) != value or value < least:
        raise ConfigError(f"must be a whole number, at least {least}, not {value}", name)
    return int(value)


def _shown(interval: tuple[float, float]) -> str:
    return f"[{interval[0]:g}, {interval[1]:g})"


# Of the module, and with the molecule as an argument: JAX compiles each once, not at every call, and peptides
# of as many beads share it.
_sample = jax.jit(samplers.sample, static_argnames=("experts", "config", "samples"))


@partial(jax.jit, static_argnames="potential")
def _energy(potential: Potential, molecule: Molecule, parameters: Parameters, x: langevin.Positions):
    return replace(potential, molecule=molecule).energy(parameters, x)


@partial(jax.jit, static_argnames="potential")
def _forces(potential: Potential, molecule: Molecule, parameters: Parameters, x: langevin.Positions):
    return replace(potential, molecule=molecule).force(parameters, x)


@partial(jax.jit, static_argnames=("potential", "settings", "frames"))
def _simulate(
    potential: Potential,
    settings: SimulateConfig,
    frames: int,
    molecule: Molecule,
    mass: Float[jax.Array, "beads 1"],
    parameters: Parameters,
    start: langevin.Positions,
    keys: Key[jax.Array, "3"],
) -> langevin.Trajectory:
    force = partial(replace(potential, molecule=molecule).force, parameters)
    bath = langevin.Bath(potential.kT, mass, settings.friction, settings.timestep)
    return langevin.run(
        settings.integrator, force, bath, start, keys, frames, settings.stride, settings.burn_in
    )


def load(path: str | Path) -> Model:
    """A model from the directory of a finished run, or from a file that `fokker model export` wrote.

    Raises ConfigError if it is neither, damaged, or of a system that has no molecules.
    """
    path = Path(path)
    return Model(*(model_file.read_run(path) if path.is_dir() else model_file.read(path)))
