"""What reading a trajectory finds that stops nothing, and that a user should hear of."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from .bonds import Bonds


@dataclass
class Notes:
    """Collected while frames are read; reading itself shows nothing."""

    frames: int = 0
    """How many were read."""
    stray: int = 0
    """How many of them have a hydrogen, which is no bead, where it cannot be."""
    first: str = ""
    """The first such hydrogen."""

    def see(
        self,
        frames: Float[np.ndarray, "frames atoms 3"],
        bonds: Bonds,
        numbers: Sequence[int] | Int[np.ndarray, "frames"],
    ) -> None:
        """Count these frames (nm), which have these numbers in the file."""
        self.frames += len(frames)
        wrong = ~(bonds.right(frames) | bonds.needed)
        bad = wrong.any(axis=1)
        if bad.any() and not self.stray:
            frame = int(np.argmax(bad))
            bond = int(np.argmax(wrong[frame]))
            near, light = sorted(bonds.pairs[bond], key=lambda atom: not bonds.heavy[atom])
            length = np.linalg.norm(frames[frame, light].astype(np.float64) - frames[frame, near])
            light_name, near_name = bonds.labels[light], bonds.labels[near]
            self.first = f"{light_name} is {length:.3g} nm from {near_name} in frame {numbers[frame]}"
        self.stray += int(bad.sum())

    def words(self) -> tuple[str, ...]:
        """A line for each finding."""
        if not self.stray:
            return ()
        return (
            f"{self.stray} of {self.frames} frames have hydrogens where none can be, which are no beads and "
            f"change nothing ({self.first})",
        )
