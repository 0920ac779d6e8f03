"""What reading a trajectory finds beside its frames: how many, how far apart, and what is wrong with them."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float


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
    repeats: int = 0
    """Frames that are those before them once more."""
    digest: str = ""
    """Of all frames: equal for equal ones."""
    ends: tuple[str, str] = ("", "")
    """Of the first frame and of the last."""


@dataclass
class Watch:
    """Looks at every block as it passes."""

    found: Found
    numbers: list[np.ndarray] = field(default_factory=list)
    last: np.ndarray | None = None
    hash: Any = field(default_factory=hashlib.blake2b)

    def see(self, numbers: np.ndarray, frames: Float[np.ndarray, "frames atoms 3"]) -> None:
        """The good frames of a block."""
        found = self.found
        if self.last is None:
            found.ends = _digest(frames[0]), ""
        before = frames[:1] if self.last is None else self.last[None]
        same = (np.concatenate([before, frames[:-1]]) == frames).all(axis=(1, 2))
        found.repeats += int(same.sum()) - (self.last is None)
        found.frames += len(frames)
        self.last = frames[-1].copy()
        self.numbers.append(numbers)
        self.hash.update(np.ascontiguousarray(frames).tobytes())

    def leave_out(self, numbers: np.ndarray) -> None:
        """The broken ones."""
        if len(numbers) and self.found.first_broken is None:
            self.found.first_broken = int(numbers[0])
        self.found.broken += len(numbers)

    def end(self, times: np.ndarray | None) -> None:
        """After the last block."""
        if self.last is not None:
            self.found.ends = self.found.ends[0], _digest(self.last)
            self.found.digest = self.hash.hexdigest()
            if times is not None:
                self.found.spacing = _spacing(times[np.concatenate(self.numbers)])


def _digest(frame: np.ndarray) -> str:
    return hashlib.blake2b(np.ascontiguousarray(frame).tobytes(), digest_size=16).hexdigest()


def _spacing(times: Float[np.ndarray, "frames"]) -> float | None:
    """What all frames are apart; files keep times in 32 bits."""
    if len(times) < 2 or not np.isfinite(times).all():
        return None
    steps = np.diff(times)
    spacing = float(times[-1] - times[0]) / len(steps)
    tolerance = 1e-3 * spacing + 4 * float(np.finfo(np.float32).eps) * float(np.abs(times).max())
    regular = spacing > 0 and bool((np.abs(steps - spacing) <= tolerance).all())
    return float(f"{spacing:.6g}") if regular else None
