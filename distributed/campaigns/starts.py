"""Where chains begin: at frames of data, at samples of the model, or at frames of a file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from ...analysis.projections import Frames
from ...analysis.reduction import BLOCK
from ...analysis.systems import System
from ...data.archive import Bound
from ...data.dataset.shards import Dataset, Split
from ...model import trained
from ...model.config import SamplerConfig
from ...model.keys import generator

Start = Callable[[System, int, int, PRNGKeyArray, Bound], Frames | jax.Array]
"""Frames of the chains of one batch, given its number, how many chains it has, and a key of its own."""


def frames_of(system: System, data: Path, split: str) -> Split:
    """Those of a system in a dataset, where it may have another name."""
    dataset = Dataset(data)
    return dataset.split(split, system.named_in(dataset) or system.name)


def phi_of(system: System, frames: Split) -> Float[np.ndarray, "frames"]:
    """φ (radians) of the residue in the middle, of every frame; memory holds a block of them."""
    return np.concatenate([system.phi(block) for block in frames.blocks(BLOCK)])


@dataclass(frozen=True)
class FromData:
    """Frames of a dataset, drawn at random."""

    data: Path
    split: str
    first_phi_positive: bool = False
    """The first chain begins at a frame of φ > 0 if there is one."""

    def __call__(self, system: System, number: int, batch: int, key: PRNGKeyArray, bound: Bound) -> Frames:
        """Frames of one batch."""
        frames = frames_of(system, self.data, self.split)
        chosen = generator(key).integers(len(frames), size=batch)
        if self.first_phi_positive and number == 0:
            rare = np.flatnonzero(system.phi(frames.read()) > 0)
            if len(rare):
                chosen[0] = rare[0]
        return frames.gather(chosen)


@dataclass(frozen=True)
class Stratified:
    """Frames of a dataset, of which the chains have both signs of φ by their shares.

    Of the first n chains, for every n, the number with φ > 0 is that of the share, to the nearest.
    """

    data: Path
    split: str

    def __call__(self, system: System, number: int, batch: int, key: PRNGKeyArray, bound: Bound) -> Frames:
        """Frames of one batch; at random where there is no φ."""
        frames, random = frames_of(system, self.data, self.split), generator(key)
        positive = phi_of(system, frames) > 0
        begun = np.floor(positive.mean() * np.arange(number * batch, (number + 1) * batch + 1) + 0.5)
        chosen = np.zeros(batch, int)
        for sign in (False, True):
            places = np.flatnonzero(np.diff(begun).astype(bool) == sign)
            if len(places):
                chosen[places] = random.choice(np.flatnonzero(positive == sign), len(places))
        return frames.gather(chosen)


@dataclass(frozen=True)
class FromSamples:
    """Independent samples of the model."""

    settings: SamplerConfig

    def __call__(self, system: System, number: int, batch: int, key: PRNGKeyArray, bound: Bound) -> jax.Array:
        """Samples of one batch, with padding."""
        return trained.sample(bound.model, self.settings, key, batch, bound.molecule)


@dataclass(frozen=True)
class FromFile:
    """Frames of a .npy file (nm), one after another, and again from the first."""

    path: Path

    def __call__(self, system: System, number: int, batch: int, key: PRNGKeyArray, bound: Bound) -> Frames:
        """Frames of one batch."""
        frames = np.load(self.path, mmap_mode="r")
        return np.asarray(frames[np.arange(number * batch, (number + 1) * batch) % len(frames)], np.float32)
