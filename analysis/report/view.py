"""Molecules to be looked at while they move: what the page holds of their frames for 3Dmol.js.

The script is shipped as its authors built it (version and licence in `3Dmol-min.js.LICENSE.txt`) and is part
of the page, which so needs no network.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from jaxtyping import Float

from ...data.molecules.beads import Beads

SCRIPT, LICENCE, CONTROLS = "3Dmol-min.js", "3Dmol-min.js.LICENSE.txt", "viewer.js"
SAMPLES, CHAIN = 40, 100
"""Frames that are shown of each molecule, if there is room."""
MOST = 300_000
"""Characters of all coordinates; each number takes 8/3."""

Frames = Float[np.ndarray, "_ beads 3"]  # Samples and chain may differ in number.


@dataclass(frozen=True)
class View:
    """A molecule: independent samples, and one chain in order of time (nm); both finite."""

    name: str
    beads: Beads
    samples: Frames
    chain: Frames
    interval: float
    """Time between frames of the chain (ps)."""


def aligned(frames: Frames, onto: Float[np.ndarray, "beads 3"]) -> Frames:
    """Centred, and turned (never mirrored) to lie as near as they can to one frame (Kabsch, 1976)."""
    moved = frames - frames.mean(axis=1, keepdims=True)
    left, _, right = np.linalg.svd(np.swapaxes(moved, 1, 2) @ (onto - onto.mean(axis=0)))
    left[:, :, -1] *= np.linalg.det(left @ right)[:, None]
    return moved @ left @ right


def payload(views: Sequence[View]) -> list[dict[str, Any]]:
    """What the page's script reads, as plain JSON values; frames are thinned until all have room."""
    need = sum(8 * len(view.beads) * (len(view.samples) + len(view.chain)) for view in views)
    return [_molecule(view, max(1, ceil(need / MOST))) for view in views]


def _molecule(view: View, stride: int) -> dict[str, Any]:
    samples, chain = view.samples[::stride], view.chain[::stride]
    onto = np.concatenate([samples, chain])[0]
    return {
        "name": view.name,
        "elements": list(view.beads.elements),
        "labels": list(view.beads.labels),
        "bonds": [list(pair) for pair in view.beads.bonds],
        "sets": [
            {"kind": "samples", "step": None, "frames": len(samples), "data": _packed(samples, onto)},
            {
                "kind": "one chain of the simulation",
                "step": stride * view.interval,
                "frames": len(chain),
                "data": _packed(chain, onto),
            },
        ],
    }


def _packed(frames: Frames, onto: Float[np.ndarray, "beads 3"]) -> str:
    """Positions in pm as whole numbers of two bytes, little-endian, in base64."""
    picometres = np.clip(np.round(1000 * aligned(frames, onto)), -(2**15), 2**15 - 1)
    return base64.b64encode(picometres.astype("<i2").tobytes()).decode()
