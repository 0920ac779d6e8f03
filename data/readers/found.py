"""What reading a trajectory finds beside its frames: how many, how far apart, and what is wrong with them."""

import hashlib
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from ..molecules.bonds import Bonds
from ..molecules.chirality import wrong_hand

Centres = tuple[Int[np.ndarray, "centres 4"], tuple[str, ...]]
"""As `chirality.chiral_centres` gives them."""


@dataclass
class Found:
    """What reading one trajectory found, beside its frames."""

    frames: int = 0
    """Those that were good."""
    atoms: int = 0
    """Of a frame, without water and ions."""
    unit: str = ""
    """Of the numbers in the file, as the setting `unit` takes it."""
    spacing: float | None = None
    """Time from each to the next in ps; None if the file does not tell, or it is not always the same."""
    broken: int = 0
    """Frames left out because they are not finite or have impossible bonds."""
    first_broken: int | None = None
    problem: str | None = None
    """Why the file ends before it should."""
    stray: int = 0
    """Frames with a hydrogen, which is no bead, where none can be."""
    first_stray: str = ""
    """The first such hydrogen."""
    mirrored: int = 0
    """Frames with a residue of the wrong hand at CA."""
    first_mirrored: str = ""
    """The first such residue."""
    gaps: tuple[str, ...] = ()
    """A warning for each gap within a molecule."""
    repeats: int = 0
    """Frames that are those before them once more."""
    marks: str = ""
    """A hash of each frame, of 16 digits."""


@dataclass
class Watch:
    """Looks at every block as it passes."""

    found: Found
    centres: Centres
    """Where the hand of residues shows."""
    numbers: list[np.ndarray] = field(default_factory=list)
    last: np.ndarray | None = None
    marks: list[str] = field(default_factory=list)

    def see(self, numbers: np.ndarray, frames: Float[np.ndarray, "frames atoms 3"], bonds: Bonds) -> None:
        """The good frames of a block (nm)."""
        found = self.found
        self._count_stray(numbers, frames, bonds)
        self._count_mirrored(numbers, frames)
        before = frames[:1] if self.last is None else self.last[None]
        same = (np.concatenate([before, frames[:-1]]) == frames).all(axis=(1, 2))
        found.repeats += int(same.sum()) - (self.last is None)
        found.frames += len(frames)
        self.last = frames[-1].copy()
        self.numbers.append(numbers)
        self.marks += map(_mark, frames)

    def _count_stray(self, numbers: np.ndarray, frames: np.ndarray, bonds: Bonds) -> None:
        wrong = ~(bonds.right(frames) | bonds.needed)
        if wrong.any() and not self.found.stray:
            frame, bond = np.argwhere(wrong)[0]
            near, light = sorted(bonds.pairs[bond], key=lambda atom: not bonds.heavy[atom])
            length = np.linalg.norm(frames[frame, light].astype(np.float64) - frames[frame, near])
            where = f"{length:.3g} nm from {bonds.labels[near]} in frame {numbers[frame]}"
            self.found.first_stray = f"{bonds.labels[light]} is {where}"
        self.found.stray += int(wrong.any(axis=1).sum())

    def _count_mirrored(self, numbers: np.ndarray, frames: np.ndarray) -> None:
        places, labels = self.centres
        wrong = wrong_hand(places, frames)
        if wrong.any() and not self.found.mirrored:
            frame, centre = np.argwhere(wrong)[0]
            self.found.first_mirrored = f"{labels[centre]} in frame {numbers[frame]}"
        self.found.mirrored += int(wrong.any(axis=1).sum())

    def leave_out(self, numbers: np.ndarray) -> None:
        """The broken ones."""
        if len(numbers) and self.found.first_broken is None:
            self.found.first_broken = int(numbers[0])
        self.found.broken += len(numbers)

    def end(self, times: np.ndarray | None) -> None:
        """After the last block."""
        if self.last is not None:
            self.found.marks = "".join(self.marks)
            if times is not None:
                self.found.spacing = _spacing(times[np.concatenate(self.numbers)])


def _mark(frame: np.ndarray) -> str:
    return hashlib.blake2b(frame.tobytes(), digest_size=8).hexdigest()


def _spacing(times: Float[np.ndarray, "frames"]) -> float | None:
    """What all frames are apart; files keep times in 32 bits."""
    if len(times) < 2 or not np.isfinite(times).all():
        return None
    steps = np.diff(times)
    spacing = float(times[-1] - times[0]) / len(steps)
    tolerance = 1e-3 * spacing + 4 * float(np.finfo(np.float32).eps) * float(np.abs(times).max())
    regular = spacing > 0 and bool((np.abs(steps - spacing) <= tolerance).all())
    return float(f"{spacing:.6g}") if regular else None
