"""Ray tasks: work of one process that needs JAX, so that the driver never starts a backend."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import ray
from jaxtyping import Float

from ..analysis.fokker_planck import fokker_planck_error
from ..data.config import MuellerBrownConfig
from ..data.dataset import convert, shards
from ..data.molecules.arrays import molecules_of
from ..data.molecules.bead_map import BeadMap
from ..data.readers.found import Found
from ..data.readers.pooling import Pool
from ..data.readers.sources import Source
from ..data.reference import mueller_brown
from ..data.reference.dynamics import Reference
from ..model.keys import generator_of, key_of
from ..model.losses.residual import exact
from .campaigns.works import Simulation
from .cluster import joining
from .training import parameters
from .training.job import ExpertJob

ERROR_FRAMES = 1000


def generate_mueller_brown(
    config: MuellerBrownConfig, directory: Path, seeds: Mapping[str, int], system: Mapping[str, Any]
) -> str:
    """Simulate one split for each seed and write them as shards; the fingerprint of the dataset."""
    splits = {name: np.asarray(mueller_brown.generate(config, seed)) for name, seed in seeds.items()}
    return shards.write(directory, system, splits).fingerprint


def mueller_brown_frames(config: MuellerBrownConfig, seed: int) -> Float[np.ndarray, "frames 2"]:
    """Frames of Langevin dynamics in the true potential."""
    return np.asarray(mueller_brown.generate(config, seed))


def convert_trajectory(source: Source, bead_map: BeadMap, directory: Path) -> Found:
    """Write one trajectory as a part of a dataset; what reading it found."""
    return convert.convert(source, bead_map, directory)


def write_pool(pool: Pool, bead_map: BeadMap, directory: Path) -> None:
    """Write a molecule, all of whose trajectories are converted, as a system of a dataset."""
    convert.write_pool(pool, bead_map, directory)


def simulate_reference(reference: Reference, walker: int) -> None:
    """Simulate one walker of a peptide to its end."""
    reference.walk(walker)


def finish_reference(reference: Reference) -> None:
    """Draw the frames of equilibrium from all walkers and write them."""
    reference.finish()


def fokker_planck_curves(
    jobs: Sequence[ExpertJob], times: Float[np.ndarray, "times"]
) -> dict[str, tuple[list[float], list[float]]]:
    """Mean |R|/D of each conservative expert at noised training frames: times of its interval, errors."""
    curves = {}
    for job in jobs:
        if job.expert.conservative:
            start, end = job.expert.interval
            own = times[(times >= start) & (times < end)]
            curves[job.name] = own.tolist(), _errors(job, own).tolist()
    return curves


def largest_steps(works: Sequence[Simulation]) -> dict[str, float]:
    """By system, the largest ω dt of its simulation at some frames of the data."""
    return {work.system.name: work.largest_step() for work in works}


def _errors(job: ExpertJob, times: Float[np.ndarray, "times"]) -> Float[np.ndarray, "times"]:
    dataset, expert, _ = job.load()
    weights = jax.tree.map(jnp.asarray, parameters.load(job.directory))
    frames = dataset.split("train")
    molecules = molecules_of(dataset, expert.shape)
    purpose = "fokker-planck error"
    random = generator_of(job.seed, f"{purpose}, frames", job.index)
    chosen = np.sort(random.choice(len(frames), min(ERROR_FRAMES, len(frames)), replace=False))
    own = jax.tree.map(lambda table: table[frames.system_of(chosen)], molecules)

    def relative(x, t, molecule):
        def log_density(y, s):
            return expert.log_density(weights, y, s, molecule)

        dimension = expert.space.dimension(molecule)
        with jax.default_matmul_precision("highest"):
            return exact(log_density, expert.schedule, x, t, dimension).first / dimension

    def noise(key):
        raw = jax.random.normal(key, (len(chosen), *expert.shape), jnp.float32)
        return jax.vmap(expert.space.project)(raw, own)

    x0 = dataset.norm * jnp.asarray(frames.gather(chosen))
    return np.asarray(
        fokker_planck_error(
            lambda x, t: jax.vmap(relative, in_axes=(0, None, 0))(x, t, own),
            noise,
            x0,
            jnp.asarray(times),
            key_of(job.seed, purpose, job.index),
            expert.schedule,
        )
    )


def submit(function, *args) -> ray.ObjectRef:
    """Run one of the functions above on the cluster."""
    environment = {"env_vars": joining.worker_environment(on_gpu=False)}
    return (
        ray.remote(function).options(num_cpus=min(1.0, joining.cpus()), runtime_env=environment).remote(*args)
    )
