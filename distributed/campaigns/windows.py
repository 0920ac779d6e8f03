"""Umbrella windows on a learned energy: the free energy along φ where no simulation comes by itself."""

from dataclasses import replace
from math import pi
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ...analysis.profiles import Profile
from ...analysis.systems import System
from ...data import archive
from ...data.dataset.shards import Split
from ...data.molecules.arrays import padded_frames
from ...model import trained
from ...model.config import DynamicsConfig, UmbrellaConfig
from ...model.dynamics.umbrella import Ladder
from ...model.experts import active_at
from ...model.keys import generator_of, key_of
from .starts import frames_of, phi_of


def profile(
    model: Path,
    system: System,
    dynamics: DynamicsConfig,
    settings: UmbrellaConfig,
    data: tuple[Path, str],
    seed: int,
) -> Profile | None:
    """The free energy along φ of a model's energy; None of a score, and of a system without torsions.

    Windows start at frames of the data, given by their place and split, and all advance as one batch.
    """
    torsion = system.torsion
    if torsion is None or not settings.windows:
        return None
    read = archive.read(model)
    experts = read.description.experts
    if not experts[active_at(dynamics.force_time, experts)].conservative:
        return None
    bound, frames = read.bind(system.beads), frames_of(system, *data)
    centres = -pi + 2 * pi * (np.arange(settings.windows) + 0.5) / settings.windows
    chosen = starts(system, frames, centres, settings.replicas, seed)
    stride = max(1, round(settings.interval / dynamics.timestep))
    kept, dropped = (
        max(1, round(time / dynamics.timestep / stride)) for time in (settings.length, settings.burn_in)
    )
    assert bound.molecule is not None
    found = trained.windows(
        bound.model,
        replace(dynamics, stride=stride),
        padded_frames(jnp.asarray(frames.gather(chosen.reshape(-1))), len(bound.molecule.mask)),
        bound.mass,
        key_of(seed, "umbrella", system.name),
        dropped + kept,
        Ladder(
            jnp.asarray(torsion.beads),
            jnp.asarray(centres, jnp.float32),
            jnp.float32(settings.strength * system.kT),
        ),
        bound.molecule,
    )
    return Profile.of_windows(np.asarray(found)[dropped:], centres, settings.strength)


def starts(
    system: System, frames: Split, centres: Float[np.ndarray, "windows"], replicas: int, seed: int
) -> Int[np.ndarray, "replicas windows"]:
    """Frames that windows start at: of each some of its own, at random, and where it has too few the nearest.

    What is not φ then is as the data have it from the start, wherever they are.
    """
    phi, random = phi_of(system, frames), generator_of(seed, "umbrella, starts", system.name)
    chosen = []
    for centre in centres:
        distance = np.abs(np.angle(np.exp(1j * (phi - centre))))
        own = max(min(replicas, len(phi)), int(np.sum(distance < pi / len(centres))))
        nearest = np.argpartition(distance, own - 1)[:own]
        chosen.append(random.choice(np.sort(nearest), replicas, replace=own < replicas))
    return np.stack(chosen, axis=1)
