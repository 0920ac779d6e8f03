"""A trained model to take away: one file, and its use from Python.

The file is a safetensors archive: the averaged parameters of every expert, and as metadata the run's
configuration, the scale, the bead map, and the springs. Units: nm, ps, amu, kJ/mol, K.
"""

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Float, Key
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fokker import __version__

from ..analysis.systems import BOLTZMANN
from ..data import files
from ..data.bead_map import BeadMap
from ..data.beads import Beads
from ..data.config import MoleculesConfig
from ..data.shards import Dataset
from ..data.springs import Table
from ..distributed import parameters as trained
from ..distributed.molecules import molecule_of
from ..model import langevin, samplers
from ..model.config import SimulateConfig
from ..model.experts import Expert, Parameters
from ..model.molecules import Molecule
from ..model.potential import Potential
from .config import Config, ConfigError, from_dict, to_dict
from .config import load as load_config
from .run import Run

Positions = Float[np.ndarray, "frames beads 3"]
FORMAT = 1


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
        self, sequence: str, positions: Positions, time: float | None = None
    ) -> Float[np.ndarray, "frames"]:
        """Unnormalised log-density of positions (nm) at a diffusion time, that of the forces unless given."""
        return -self.energy(sequence, positions, time) / self.kT

    def energy(
        self, sequence: str, positions: Positions, time: float | None = None
    ) -> Float[np.ndarray, "frames"]:
        """U (kJ/mol), up to a constant, at positions in nm. ValueError if the model is only a score."""
        return self._evaluate(_energy, sequence, positions, time)

    def forces(self, sequence: str, positions: Positions, time: float | None = None) -> Positions:
        """−∇U (kJ/mol/nm) at positions in nm."""
        return self._evaluate(_forces, sequence, positions, time)

    def sample(self, sequence: str, count: int, seed: int = 0) -> Positions:
        """Independent samples in nm."""
        beads, key = self.beads(sequence), jax.random.key(seed)
        experts, molecule = self.experts(beads), self._molecule(beads)
        samples = _sample(experts, self.parameters, self.config.sample, key, count, molecule)
        return np.asarray(samples) / self.norm

    def simulate(
        self,
        sequence: str,
        frames: int,
        *,
        chains: int = 100,
        stride: int | None = None,
        burn_in: int | None = None,
        start: Float[np.ndarray, "starts beads 3"] | None = None,
        seed: int = 0,
    ) -> Float[np.ndarray, "chains frames beads 3"]:
        """Langevin dynamics: `frames` of each chain (nm), every `stride` steps after `burn_in` steps.

        Time step, friction, integrator and diffusion time are those of the run's `simulate` settings, and so
        are stride and burn-in unless given. Chains start at `start` (nm, one for each), or at as many samples
        of the model as `chains` says.
        """
        settings = self.config.simulate
        start_key, *keys = jax.random.split(jax.random.key(seed), 4)
        if start is None:
            start = self.sample(sequence, chains, int(jax.random.randint(start_key, (), 0, 2**31 - 1)))
        if stride is not None:
            settings = replace(settings, stride=stride)
        if burn_in is not None:
            settings = replace(settings, burn_in=burn_in)
        beads = self.beads(sequence)
        trajectory = _simulate(
            self._potential(beads, None),
            settings,
            frames,
            self._molecule(beads),
            jnp.asarray(beads.masses, jnp.float32)[:, None],
            self.parameters[0],
            jnp.asarray(start, jnp.float32),
            jnp.stack(keys),
        )
        positions = np.asarray(trajectory.position).swapaxes(0, 1)
        return positions - positions.mean(axis=-2, keepdims=True)

    def _evaluate(self, function, sequence: str, positions: Positions, time: float | None) -> np.ndarray:
        beads, x = self.beads(sequence), jnp.asarray(positions, jnp.float32)
        return np.asarray(
            function(self._potential(beads, time), self._molecule(beads), self.parameters[0], x)
        )

    def _potential(self, beads: Beads, time: float | None) -> Potential:
        """Without its molecule, so that it can be static; the functions below put it in."""
        t = self.config.simulate.force_time if time is None else time
        return Potential(self.experts(beads)[0], self.kT, t, self.norm)

    def _molecule(self, beads: Beads) -> Molecule:
        return molecule_of(beads, self.springs, self.norm)

    def experts(self, beads: Beads) -> tuple[Expert, ...]:
        """The experts' functions for one molecule."""
        return tuple(Expert(expert, self.config.network, (len(beads), 3)) for expert in self.config.experts)

    def save(self, path: Path) -> None:
        """Write the model as one safetensors file, whole or not at all. Raises FileError."""
        tensors = {
            f"{index}/{name}": np.ascontiguousarray(value, np.float32)
            for index, parameters in enumerate(self.parameters)
            for name, value in flatten_dict(dict(parameters), sep="/").items()
        }
        about = {"format": str(FORMAT), "fokker": __version__, "norm": repr(self.norm)}
        about["springs"] = json.dumps(self.springs)
        about["config"] = json.dumps(to_dict(_portable(self.config)))
        files.write(path, save(tensors, about))


def _portable(config: Config) -> Config:
    """The configuration without places on the machine that trained."""
    assert isinstance(config.data, MoleculesConfig)
    return replace(config, data=replace(config.data, path=None, topology=None))


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
    """A model from the directory of a finished run, or from a file that `fokker export` wrote.

    Raises ConfigError if it is neither, or of a system that has no molecules.
    """
    path = Path(path)
    return _of_run(path) if path.is_dir() else _of_file(path)


def _of_run(directory: Path) -> Model:
    config = load_config(directory / "config.json")
    if not isinstance(config.data, MoleculesConfig):
        raise ConfigError(f"{directory} is a run on {config.preset}: only models of molecules are taken away")
    run = Run(config, directory)
    missing = [job.name for job in run.jobs if not job.trained]
    if missing:
        raise ConfigError(
            f"{directory}: expert {missing[0]} is not trained to its end, run `fokker train` first"
        )
    parameters = tuple(jax.tree.map(jnp.asarray, trained.load(job.directory)) for job in run.jobs)
    dataset = Dataset(run.data)
    return Model(config, parameters, dataset.norm, dataset.springs or {"bonds": {}, "angles": {}})


def _of_file(path: Path) -> Model:
    try:
        with safe_open(str(path), framework="numpy") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{path} is no run and no model that `fokker export` wrote: {error}") from None
    if about.get("format") != str(FORMAT):
        found = about.get("format")
        raise ConfigError(
            f"{path} is of format {found}: this version reads what `fokker export` wrote as {FORMAT}"
        )
    config = from_dict(json.loads(about["config"]))
    experts: list[dict[str, jax.Array]] = [{} for _ in config.experts]
    for name, value in tensors.items():
        index, _, rest = name.partition("/")
        experts[int(index)][rest] = jnp.asarray(value)
    parameters = tuple(unflatten_dict(part, sep="/") for part in experts)
    return Model(config, parameters, float(about["norm"]), json.loads(about["springs"]))
