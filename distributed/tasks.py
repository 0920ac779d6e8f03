"""Ray tasks: work of one process, most of which needs JAX, so that the driver never starts a backend."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import ray
from jaxtyping import Float

from ..analysis.fokker_planck import fokker_planck_error
from ..analysis.profiles import Profile
from ..data.molecules.arrays import molecules_of
from ..model.config import UmbrellaConfig
from ..model.keys import generator_of, key_of
from ..model.losses.residual import FokkerPlanck
from .campaigns import windows
from .campaigns.works import Simulation
from .cluster import joining
from .training import parameters
from .training.job import ExpertJob

ERROR_FRAMES = 1000


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


def umbrella_profile(work: Simulation, settings: UmbrellaConfig, data: Path, split: str) -> Profile | None:
    """The free energy along φ of the energy that a simulation is of; windows start at frames of a split."""
    return windows.profile(work.model, work.system, work.config, settings, (data, split), work.seed)


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
        log_density = partial(expert.log_density, weights, molecule=molecule)
        dimension = expert.space.dimension(molecule)
        with jax.default_matmul_precision("highest"):
            return FokkerPlanck(log_density, expert.schedule, dimension).exact(x, t).first / dimension

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


def submit(function: Callable, *args, on_gpu: bool = False, beside: bool = False) -> ray.ObjectRef:
    """Run a function on the cluster, on one of its CPUs, and with a GPU if it asks for one.

    What runs `beside` waits for no CPU to be free, where actors have all of them.
    """
    environment = {"env_vars": joining.worker_environment(on_gpu=on_gpu)}
    wanted = {"num_cpus": 0 if beside else min(1.0, joining.cpus()), "num_gpus": 1 if on_gpu else 0}
    return ray.remote(function).options(**wanted, runtime_env=environment).remote(*args)
