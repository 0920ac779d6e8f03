"""Frames in the page are those that were given, turned and moved, and never mirrored or too many."""

import base64
import json
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fokker.analysis.report.view import CHAIN, MOST, SAMPLES, View, aligned, payload
from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads

RANDOM = np.random.default_rng(0)


def view(sequence: str = "AKFA", bead_map: str = "backbone", samples: int = 5, chain: int = 7) -> View:
    beads = Beads.from_sequence(sequence, BeadMap.parse(bead_map))
    frames = RANDOM.normal(size=(samples + chain, len(beads), 3))
    return View(sequence, beads, frames[:samples], frames[samples:], 0.5)


def unpacked(one: dict[str, Any], beads: int) -> np.ndarray:
    """In nm."""
    return np.frombuffer(base64.b64decode(one["data"]), "<i2").reshape(-1, beads, 3) / 1000


def test_turned_and_moved_frames_lie_upon_each_other():
    frame = RANDOM.normal(size=(9, 3))
    turns = Rotation.random(20, rng=RANDOM).as_matrix()
    frames = frame @ turns + RANDOM.normal(size=(20, 1, 3))
    np.testing.assert_allclose(
        aligned(frames, frame), np.broadcast_to(frame - frame.mean(0), frames.shape), atol=1e-12
    )


def test_a_mirror_image_stays_one():
    frame = RANDOM.normal(size=(9, 3))
    found = aligned((frame * [1, 1, -1])[None], frame)[0]
    volume = np.linalg.det(found[1:4] - found[0]) * np.linalg.det(frame[1:4] - frame[0])
    assert volume < 0


@pytest.mark.parametrize("beads", [1, 2, 3])
def test_a_few_beads_on_a_line_are_aligned_too(beads: int):
    frames = RANDOM.normal(size=(4, beads, 3))
    found = aligned(frames, frames[0])
    assert np.isfinite(found).all()
    np.testing.assert_allclose(
        np.linalg.norm(np.diff(found, axis=1), axis=-1), np.linalg.norm(np.diff(frames, axis=1), axis=-1)
    )


@pytest.mark.parametrize("bead_map", ["backbone", "calpha"])
def test_the_page_has_beads_bonds_and_frames_to_a_picometre(bead_map: str):
    shown = view(bead_map=bead_map)
    (found,) = payload([shown])
    assert json.loads(json.dumps(found)) == found
    assert found["labels"][0].startswith("ALA1-")
    assert [tuple(pair) for pair in found["bonds"]] == [*shown.beads.bonds]
    assert len(found["elements"]) == len(shown.beads)
    samples, chain = found["sets"]
    assert (samples["frames"], samples["step"]) == (5, None)
    assert (chain["frames"], chain["step"]) == (7, 0.5)
    for one, frames in ((samples, shown.samples), (chain, shown.chain)):
        expected = aligned(frames, shown.samples[0])
        np.testing.assert_allclose(unpacked(one, len(shown.beads)), expected, atol=0.5001e-3)


def test_frames_are_thinned_until_they_have_room():
    many = [view("AKFA" * 3, "backbone", SAMPLES, CHAIN) for _ in range(30)]
    found = payload(many)
    size = sum(len(one["data"]) for molecule in found for one in molecule["sets"])
    assert 0.3 * MOST < size < 1.1 * MOST
    chain = found[0]["sets"][1]
    stride = round(chain["step"] / 0.5)
    assert chain["frames"] == -(-CHAIN // stride)
    expected = aligned(many[0].chain[::stride], many[0].samples[0])
    np.testing.assert_allclose(unpacked(chain, len(many[0].beads)), expected, atol=0.5001e-3)
