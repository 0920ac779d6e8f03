"""A trained model as Python and JAX have it. Units: nm, ps, amu, kJ/mol, K.

Results have the type of the positions: float32, or float64 where JAX computes in it (JAX_ENABLE_X64).
The functions of a bound molecule take configurations with any axes before theirs, and can be transformed
by `jit`, `grad` and `vmap`, of which a bound molecule can be an argument as well. What it answers, samples
and simulates stands in one class, and with it the chains that it makes and goes on from, hence the length.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import mdtraj
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray

from ..model import trained
from ..model.config import DynamicsConfig, SamplerConfig, require_springs
from ..model.dynamics import langevin
from ..model.keys import key_of
from . import archive
from .archive import Archive, ArchiveError, Bound, Description
from .config import BOLTZMANN
from .molecules.arrays import padded_frames
from .molecules.bead_map import BeadMap
from .molecules.beads import Beads, map_beads
from .molecules.residues import MoleculeError
from .readers.opening import load_topology
from .trajectories import write

Positions = Float[Array, "*batch beads 3"]
Given = Any
"""What NumPy makes an array of; its shape is checked, so that an error is in words."""
Time = trained.Time
SeedOrKey = int | PRNGKeyArray
Watcher = Callable[[int], None]
"""Sees how many samples or chains are done."""


def _unwatched(done: int) -> None:
    pass


@dataclass(frozen=True)
class Model:
    """The experts of a run, for any molecule of known residues that its bead map can make."""

    archive: Archive

    @property
    def description(self) -> Description:
        """Experts, network, how it is sampled and simulated unless said otherwise, temperature, bead map."""
        return self.archive.description

    @property
    def temperature(self) -> float:
        """That of the training data (K)."""
        return self.description.temperature

    @property
    def bead_map(self) -> BeadMap:
        """Which atoms are beads. ValueError for a toy, which has none."""
        if self.description.beads is None:
            raise ValueError("this is a model of a toy, not of molecules")
        return BeadMap.parse(self.description.beads)

    def molecule(self, what: str | Path | mdtraj.Topology) -> "BoundMolecule":
        """The model of one molecule: a sequence such as AC or ACE-ALA-NME, a structure's file, or a topology.

        Raises MoleculeError for what it cannot be, such as an unknown residue.
        """
        beads, about = self.beads(what), self.description
        return BoundMolecule(self.archive.bind(beads), beads, about.sample, about.simulate)

    def molecules(self, several: Sequence[str | Path | mdtraj.Topology]) -> "BoundMolecules":
        """The model of several molecules; those of about a size share what is compiled."""
        return BoundMolecules(tuple(map(self.molecule, several)))

    def beads(self, what: str | Path | mdtraj.Topology) -> Beads:
        """The beads of a molecule, named as for `molecule`, which raises the same."""
        if isinstance(what, str) and not (Path(what).suffix and Path(what).exists()):
            return Beads.from_sequence(what, self.bead_map)
        if isinstance(what, str | Path):
            return map_beads(load_topology(Path(what)), self.bead_map, source=str(what))[1]
        return map_beads(what, self.bead_map)[1]

    def save(self, path: str | Path) -> None:
        """Write the model as one safetensors file, whole or not at all. Raises FileError."""
        archive.write(Path(path), self.archive)


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("bound",),
    meta_fields=("beads", "sampler", "dynamics"),
)
@dataclass(frozen=True)
class BoundMolecule:
    """A model of one molecule: a pytree."""

    bound: Bound
    beads: Beads
    """Which atoms the beads are, of which residues, and their bonds."""
    sampler: SamplerConfig
    """How it is sampled unless said otherwise."""
    dynamics: DynamicsConfig
    """How it is simulated unless said otherwise."""

    @property
    def masses(self) -> Float[np.ndarray, "beads"]:
        """Of the beads (amu)."""
        return self.beads.masses

    @cached_property
    def topology(self) -> mdtraj.Topology:
        """The beads for other programs."""
        return self.beads.topology()

    @property
    def kT(self) -> float:
        """Thermal energy (kJ/mol) at the temperature of the training data."""
        return self.bound.model.kT

    def log_density(self, x: Given, t: Time | None = None) -> Float[Array, "*batch"]:
        """Unnormalised log-density of positions (nm) at a diffusion time, that of the forces unless given.

        Zeros of densities of different experts differ. Raises what `energy` does.
        """
        return self._ask(trained.log_density, x, t)

    def energy(self, x: Given, t: Time | None = None) -> Float[Array, "*batch"]:
        """U (kJ/mol), up to a constant, at positions (nm), by the expert of the time.

        Raises ValueError for a time outside (0, 1) or one whose expert is a score, which has no energy, and
        MoleculeError for positions of another shape.
        """
        return self._ask(trained.energy, x, t)

    def forces(self, x: Given, t: Time | None = None) -> Positions:
        """−∇U (kJ/mol/nm) at positions (nm); of a score, the field that would be one.

        Raises ValueError for a time outside (0, 1), MoleculeError for positions of another shape.
        """
        return self._real(self._ask(trained.forces, x, t))

    def energy_and_forces(self, x: Given, t: Time | None = None) -> tuple[Float[Array, "*batch"], Positions]:
        """U (kJ/mol) and −∇U (kJ/mol/nm), in one pass. Raises what `energy` does."""
        energy, forces = self._ask(trained.energy_and_forces, x, t)
        return energy, self._real(forces)

    def score(self, x: Given, t: Time | None = None) -> Positions:
        """∇ log p (1/nm) at positions (nm), by the expert of the time. Raises what `forces` does."""
        return self._real(self._ask(trained.score, x, t))

    def _ask(self, function: Callable[..., Any], x: Given, t: Time | None) -> Any:
        model, molecule, _ = self.bound
        time = self.dynamics.force_time if t is None else t
        return function(model, self._padded(self._checked(x)), time, molecule)

    def sample(
        self,
        count: int,
        key: SeedOrKey = 0,
        batch: int | None = None,
        watch: Watcher = _unwatched,
    ) -> Float[Array, "count beads 3"]:
        """Independent samples (nm), `batch` at a time, or as many as the run drew together.

        Equal keys give equal samples, as long as `batch` is the same.
        """
        return self._samples(count, key, "model: samples", batch, watch)

    def simulate(
        self,
        frames: int,
        *,
        chains: int | None = None,
        start: "Given | ChainState" = None,
        stride: int | None = None,
        burn_in: int | None = None,
        timestep: float | None = None,
        inner_steps: int | None = None,
        key: SeedOrKey = 0,
        batch: int | None = None,
        watch: Watcher = _unwatched,
    ) -> "Chains":
        """Langevin dynamics: `frames` of each chain (nm), every `stride` steps after `burn_in` steps.

        Chains start at `start` (nm, the first `chains` of it, or all), at samples of the model (100, unless
        `chains` is given), or where others ended (their `state`): then they go on exactly, with all settings
        of theirs. What is not given is as the run had it. `batch` chains are advanced together. With
        `inner_steps` above 1 each step is made of so many by the springs' forces alone, and the network's are
        computed once; ValueError for a model without springs, and for another integrator than BAOAB.
        """
        frames = _at_least(1, "frames", frames)
        asked = {"stride": stride, "burn_in": burn_in, "timestep": timestep, "inner_steps": inner_steps}
        asked["chunk"] = batch
        changes = {name: value for name, value in asked.items() if value is not None}
        if isinstance(start, ChainState):
            if named := [*changes, *(["chains"] if chains is not None else [])]:
                raise ValueError(f"{named[0]}: chains that go on do so as they began: leave it out")
            return self._advance(start, frames, watch)
        settings = replace(self.dynamics, **changes)
        require_springs(settings, self.bound.model.network)
        if start is None:
            start = self._samples(100 if chains is None else chains, key, "model: starts", None)
        return self._advance(self._begin(self._starts(start, chains), settings, key), frames, watch)

    def _samples(
        self, count: int, key: SeedOrKey, purpose: str, batch: int | None, watch: Watcher = _unwatched
    ) -> Float[Array, "count beads 3"]:
        model, molecule, _ = self.bound
        settings = self.sampler if batch is None else replace(self.sampler, chunk=batch)
        parts = []
        for index, rows in _chunks(_at_least(1, "count", count), settings.chunk):
            own = key_of(key, purpose, self.beads.sequence, index)
            parts.append(jax.block_until_ready(trained.sample(model, settings, own, len(rows), molecule)))
            watch(min((index + 1) * len(rows), count))
        return self._real(jnp.concatenate(parts)[:count])

    def _starts(self, given: Given, chains: int | None) -> Float[Array, "chains beads 3"]:
        x = self._checked(given)
        if x.ndim != 3:
            raise MoleculeError(
                f"start of shape {x.shape} is not (chains, {len(self.beads)}, 3); one frame is start[None]"
            )
        count = _at_least(1, "chains", len(x) if chains is None else chains)
        if count > len(x):
            raise ValueError(f"chains: {count} are asked for, and start has positions of {len(x)}")
        return x[:count]

    def _begin(
        self, x: Float[Array, "chains beads 3"], settings: DynamicsConfig, key: SeedOrKey
    ) -> "ChainState":
        model, molecule, mass = self.bound
        padded = self._padded(x)
        keys, parts = self._keys(key, len(x)), []
        for _, rows in _chunks(len(x), settings.chunk):
            state = trained.begin(model, settings, padded[rows], mass, keys[rows], molecule)
            if settings.burn_in:
                steps = settings.burn_in
                state = trained.advance(model, settings, state, mass, keys[rows], steps, None, molecule)
            parts.append(state)
        return ChainState(_joined(parts, 0, len(x)), 0, key, settings)

    def _advance(self, state: "ChainState", frames: int, watch: Watcher) -> "Chains":
        model, molecule, mass = self.bound
        settings, count, ends, parts = state.settings, len(state.chains.position), [], []
        keys = self._keys(state.key, count)
        for index, rows in _chunks(count, settings.chunk):
            now = jax.tree.map(lambda part, rows=rows: part[rows], state.chains)
            made = trained.simulate(
                model, settings, now, mass, keys[rows], frames, None, molecule, velocities=True
            )
            end, found = jax.block_until_ready(made)
            ends.append(end)
            parts.append(found)
            watch(min((index + 1) * len(rows), count))
        found = langevin.Trajectory(*(part.swapaxes(0, 1) for part in _joined(parts, 1, count)))
        positions, velocities = self._real(found.position), found.velocity
        assert velocities is not None
        return Chains(
            positions=positions - positions.mean(axis=-2, keepdims=True),
            velocities=self._real(velocities),
            temperature=found.kinetic_temperature / BOLTZMANN,
            state=ChainState(_joined(ends, 0, count), state.frames + frames, state.key, settings),
            beads=self.beads,
        )

    def _keys(self, key: SeedOrKey, chains: int) -> Key[Array, "chains"]:
        """Of each chain."""
        own = key_of(key, "model: simulate", self.beads.sequence)
        return jax.vmap(partial(jax.random.fold_in, own))(jnp.arange(chains))

    def _checked(self, given: Given) -> Positions:
        """Positions in a type of floating point. MoleculeError for a shape that is not theirs."""
        count = len(self.beads)
        if not isinstance(given, jax.Array):
            try:
                given = np.asarray(given)
            except ValueError as error:
                raise MoleculeError(f"positions of {self.beads.sequence} are no array: {error}") from None
            if given.dtype.kind not in "fiu":
                raise MoleculeError(
                    f"positions of {self.beads.sequence} are of {given.dtype}: give numbers, in nm"
                )
        if given.shape[-2:] != (count, 3):
            raise MoleculeError(
                f"positions of shape {given.shape} are not those of {self.beads.sequence}: it has {count} "
                f"beads, so they have to be (…, {count}, 3)"
            )
        # Whole numbers become JAX's usual type, and float64 is kept where JAX computes in it.
        wanted = jnp.promote_types(given.dtype, jnp.float32) if given.dtype.kind == "f" else float
        return jnp.asarray(given, jax.dtypes.canonicalize_dtype(wanted))

    def _padded(self, x: Positions) -> Float[Array, "*batch size 3"]:
        return padded_frames(x, len(self.bound.mass))

    def _real(self, x: Float[Array, "*batch size 3"]) -> Positions:
        """Without padding."""
        count = len(self.beads)
        return x if x.shape[-2] == count else _cut(x, count)


@dataclass(frozen=True)
class BoundMolecules:
    """A model of several molecules, sampled and simulated one after another."""

    each: tuple[BoundMolecule, ...]

    def sample(self, count: int, key: SeedOrKey = 0, batch: int | None = None) -> dict[str, Array]:
        """`BoundMolecule.sample` of each, by sequence."""
        return {one.beads.sequence: one.sample(count, key, batch) for one in self.each}

    def simulate(self, frames: int, **options: Any) -> "dict[str, Chains]":
        """`BoundMolecule.simulate` of each, by sequence."""
        return {one.beads.sequence: one.simulate(frames, **options) for one in self.each}


@dataclass(frozen=True)
class ChainState:
    """Where chains stand; `simulate(start=…)` goes on from here as if it had never stopped."""

    chains: langevin.State
    """Positions, velocities and forces, with padding."""
    frames: int
    """How many each has kept."""
    key: SeedOrKey
    settings: DynamicsConfig


@dataclass(frozen=True)
class Chains:
    """Frames of several chains of one molecule."""

    positions: Float[Array, "chains frames beads 3"]
    """In nm, about the mean of the beads, which dynamics let drift."""
    velocities: Float[Array, "chains frames beads 3"]
    """In nm/ps."""
    temperature: Float[Array, "chains frames"]
    """Kinetic temperature (K) half a step before each frame, where it is exact for harmonic forces; with
    inner steps half of one of these before, where it is exact for the springs alone."""
    state: ChainState
    beads: Beads

    def to_mdtraj(self) -> mdtraj.Trajectory:
        """All chains, one after another, with the time of each frame in its chain (ps)."""
        settings, (chains, frames) = self.state.settings, self.positions.shape[:2]
        spacing = settings.stride * settings.timestep
        last = settings.burn_in * settings.timestep + spacing * self.state.frames
        time = last - spacing * np.arange(frames)[::-1]
        # mdtraj computes torsions of arrays that can be written alone, which those of JAX cannot.
        positions = np.array(self.positions, np.float32).reshape(-1, len(self.beads), 3)
        return mdtraj.Trajectory(positions, self.beads.topology(), np.tile(time, chains))

    def save(self, path: str | Path) -> None:
        """Write all frames, chain after chain, as XTC, with the beads as PDB beside it.

        Raises FileError for what cannot be written, MoleculeError if no frame is finite.
        """
        write(self.beads, np.asarray(self.positions, np.float32).reshape(-1, len(self.beads), 3), Path(path))


def load(path: str | Path) -> Model:
    """A trained model: its file, or the folder of a run. ArchiveError if it is neither, or damaged."""
    found = Path(path)
    if found.is_dir():
        found = found / archive.FILE
        if not found.exists():
            raise ArchiveError(f"{found} is not there: a run has it when it is trained, by `fokker train`")
    return Model(archive.read(found))


def _chunks(count: int, chunk: int) -> Iterator[tuple[int, np.ndarray]]:
    """Numbers of chunks, and the rows of each: all of one length, so that none compiles anew.

    The last is filled up with the first rows.
    """
    size = min(count, chunk)
    for index, begin in enumerate(range(0, count, size)):
        yield index, np.arange(begin, begin + size) % count


def _joined(parts: Sequence[Any], axis: int, count: int) -> Any:
    """Pieces along the axis of chains in one, as many as there are."""
    return jax.tree.map(
        lambda *pieces: jax.lax.slice_in_dim(jnp.concatenate(pieces, axis), 0, count, axis=axis), *parts
    )


@partial(jax.jit, static_argnames="count")
def _cut(x: Float[Array, "*batch size 3"], count: int) -> Positions:
    return x[..., :count, :]


def _at_least(least: int, name: str, value: int) -> int:
    if int(value) != value or value < least:
        raise ValueError(f"{name}: must be a whole number, at least {least}, not {value}")
    return int(value)
