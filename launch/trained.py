"""A trained model to take away: one file, and its use from Python.

The file is a safetensors archive: the averaged parameters of every expert, and as metadata the run's
configuration, the scale, and the bead map. Units: nm, ps, amu, kJ/mol, K.
"""

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fokker import __version__

from ..analysis.systems import BOLTZMANN
from ..data.bead_map import BeadMap
from ..data.beads import Beads
from ..data.config import MoleculesConfig
from ..data.shards import Dataset
from ..distributed import parameters as trained
from ..distributed.molecules import molecule_of
from ..model import langevin, samplers
from ..model.experts import Expert, Parameters
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
        potential = self._potential(sequence, time)
        return np.asarray(jax.jit(potential.energy)(self.parameters[0], jnp.asarray(positions, jnp.float32)))

    def forces(self, sequence: str, positions: Positions, time: float | None = None) -> Positions:
        """−∇U (kJ/mol/nm) at positions in nm."""
        potential = self._potential(sequence, time)
        return np.asarray(jax.jit(potential.force)(self.parameters[0], jnp.asarray(positions, jnp.float32)))

    def sample(self, sequence: str, count: int, seed: int = 0) -> Positions:
        """Independent samples in nm."""
        draw = _sampler(self, sequence, count)
        return np.asarray(draw(self.parameters, key=jax.random.key(seed))) / self.norm

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
        start_key, velocity_key, burn_key, key = jax.random.split(jax.random.key(seed), 4)
        if start is None:
            start = self.sample(sequence, chains, int(jax.random.randint(start_key, (), 0, 2**31 - 1)))
        mass = jnp.asarray(self.beads(sequence).masses, jnp.float32)[:, None]
        bath = langevin.Bath(self.kT, mass, settings.friction, settings.timestep)
        potential = self._potential(sequence, None)
        burn = settings.burn_in if burn_in is None else burn_in
        every = settings.stride if stride is None else stride

        @jax.jit
        def run(parameters: Parameters, start: jax.Array):
            force = partial(potential.force, parameters)
            advance = partial(langevin.simulate, settings.integrator, force, bath)
            state = langevin.init(force, bath, start, velocity_key)
            if burn:
                state, _ = advance(state, burn_key, frames=1, stride=burn)
            return advance(state, key, frames=frames, stride=every)[1].position

        positions = np.asarray(run(self.parameters[0], jnp.asarray(start, jnp.float32))).swapaxes(0, 1)
        return positions - positions.mean(axis=-2, keepdims=True)

    def _potential(self, sequence: str, time: float | None) -> Potential:
        beads = self.beads(sequence)
        return Potential(
            self.experts(beads)[0],
            self.kT,
            self.config.simulate.force_time if time is None else time,
            self.norm,
            molecule_of(beads),
        )

    def experts(self, beads: Beads) -> list[Expert]:
        """The experts' functions for one molecule."""
        return [Expert(expert, self.config.network, (len(beads), 3)) for expert in self.config.experts]

    def save(self, path: Path) -> None:
        """Write the model as one safetensors file, whole or not at all."""
        tensors = {
            f"{index}/{name}": np.ascontiguousarray(value, np.float32)
            for index, parameters in enumerate(self.parameters)
            for name, value in flatten_dict(dict(parameters), sep="/").items()
        }
        about = {"format": str(FORMAT), "fokker": __version__, "norm": repr(self.norm)}
        partial_path = path.with_name(f".partial-{path.name}")
        about["config"] = json.dumps(to_dict(_portable(self.config)))
        partial_path.write_bytes(save(tensors, about))
        partial_path.replace(path)


def _portable(config: Config) -> Config:
    """The configuration without places on the machine that trained."""
    assert isinstance(config.data, MoleculesConfig)
    return replace(config, data=replace(config.data, path=None, topology=None))


def _sampler(model: Model, sequence: str, count: int):
    beads = model.beads(sequence)
    return jax.jit(
        partial(
            samplers.sample,
            model.experts(beads),
            config=model.config.sample,
            samples=count,
            molecule=molecule_of(beads),
        )
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
    missing = [job.name for job in run.jobs if not (job.directory / trained.FILE).exists()]
    if missing:
        raise ConfigError(
            f"{directory}: expert {missing[0]} is not trained to its end, run `fokker train` first"
        )
    parameters = tuple(jax.tree.map(jnp.asarray, trained.load(job.directory)) for job in run.jobs)
    return Model(config, parameters, Dataset(run.data).norm)


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
    return Model(config, parameters, float(about["norm"]))
