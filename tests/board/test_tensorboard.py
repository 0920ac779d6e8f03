"""`tensorboard --logdir runs` as a user sees it: what its pages ask for, and what a browser shows of them."""

import io
import json
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image

from fokker.distributed.groups import events
from fokker.distributed.training.history import HISTORY, read_history

from .browser import Page
from .conftest import ONE, PICTURE, THREE, Board

EXPERTS = [*(f"{THREE}/experts/{number}" for number in range(3)), f"{ONE}/experts/0"]
HIGHEST = np.array([253.0, 231.0, 36.0])
"""Colour of the highest free energies."""
STATUSES = [f"STATUS_{name}" for name in ("UNKNOWN", "SUCCESS", "FAILURE", "RUNNING")]


def curve(board: Board, run: str, tag: str) -> tuple[list[int], list[float]]:
    """Steps and values."""
    points = board.ask(f"/data/plugin/scalars/scalars?run={run}&tag={tag}")
    return [step for _, step, _ in points], [value for *_, value in points]


@pytest.mark.parametrize("expert", EXPERTS)
def test_the_losses_of_every_expert_are_curves_of_its_own(board: Board, runs: Path, expert: str):
    history = read_history(runs / expert / HISTORY)
    for loss in ("denoising", "consistency"):
        steps, values = curve(board, expert, f"loss/{loss}")
        assert steps == history["step"]
        np.testing.assert_allclose(values, history[loss], rtol=1e-6)


def test_a_lost_group_is_a_step_in_the_curve_of_restarts(board: Board, runs: Path):
    (resumed,) = [event for event in events.read(runs / THREE) if event["event"] == "resumed"]
    steps, values = curve(board, EXPERTS[0], "restarts")
    assert values == [float(step > resumed["step"]) for step in steps]
    assert {*values} == {0.0, 1.0}
    for other in EXPERTS[1:]:
        assert {*curve(board, other, "restarts")[1]} == {0.0}


def test_why_a_group_was_lost_is_told_in_words(board: Board):
    assert board.ask("/data/plugin/text/tags") == {THREE: ["0-0.1/text_summary"]}
    (told,) = board.ask(f"/data/plugin/text/text?run={THREE}&tag=0-0.1/text_summary")
    assert "<strong>lost</strong> after step" in told["text"]
    assert "rank 0 of 1 was lost" in told["text"]


def test_hparams_has_a_row_for_each_run_with_its_settings_and_metrics(board: Board, runs: Path):
    found = board.ask(
        "/data/plugin/hparams/session_groups",
        {"allowedStatuses": STATUSES, "colParams": [], "startIndex": 0, "sliceSize": 100},
    )
    rows = {row["name"]: row for row in found["sessionGroups"]}
    assert {*rows} == {THREE, ONE}
    for name, row in rows.items():
        config = json.loads((runs / name / "config.json").read_text())
        metrics = json.loads((runs / name / "metrics.json").read_text())
        shown = {
            (metric["name"]["group"], metric["name"]["tag"]): metric["value"]
            for metric in row["metricValues"]
        }
        assert row["hparams"]["method"] == name
        assert row["hparams"]["seed"] == config["seed"]
        assert row["hparams"]["experts.0.epochs"] == config["experts"][0]["epochs"]
        for kind in ("iid", "sim"):
            true = metrics["corrected"][kind]["js"]
            assert shown["evaluate", f"js_corrected/{kind}"] == pytest.approx(true)
        for number in range(len(config["experts"])):
            history = read_history(runs / name / "experts" / str(number) / HISTORY)
            assert shown[f"experts/{number}", "loss/denoising"] == pytest.approx(history["denoising"][-1])
        assert [session["status"] for session in row["sessions"]] == ["STATUS_SUCCESS"]


def test_the_free_energy_of_every_run_is_a_picture(board: Board):
    for name in (THREE, ONE):
        (picture,) = board.ask(f"/data/plugin/images/images?run={name}/evaluate&tag=free_energy&sample=0")
        content = board.ask(f"/data/plugin/images/individualImage?{picture['query']}")
        assert content.startswith(b"\x89PNG")


def test_a_browser_shows_experts_side_by_side(board: Board, browser: Page):
    browser.open(f"{board.address}/?tagFilter=loss#timeseries")
    browser.wait_for_text(*EXPERTS, "loss/denoising", "loss/consistency")
    # On both cards there is a line for each expert.
    browser.wait_for(f"nodes.filter(node => node.nodeName === 'path').length >= {2 * len(EXPERTS)}")


def test_a_browser_shows_settings_beside_metrics(board: Board, browser: Page):
    browser.open(f"{board.address}/#hparams")
    columns = ["method", "preset", "seed", "train.learning_rate", "experts.0.epochs", "JSsim", "PMFsim"]
    browser.wait_for_text("TrialID", THREE, ONE, "mueller-brown", *columns)


def test_a_browser_shows_free_energies_and_why_a_group_was_lost(board: Board, browser: Page):
    browser.open(f"{board.address}/#images")
    browser.wait_for_text("free_energy", f"{THREE}/evaluate", f"{ONE}/evaluate")
    browser.wait_for("nodes.filter(node => node.nodeName === 'IMG' && node.naturalWidth > 500).length === 2")
    browser.open(f"{board.address}/#text")
    browser.wait_for_text("lost", "rank0of1waslost")


def test_a_picture_shows_curves_and_settings(board: Board, browser: Page, tmp_path: Path):
    """The one in docs is this, of runs of the preset's full size."""
    shown = quote("free_energy|loss|restarts|samples_per_second")
    browser.open(f"{board.address}/?tagFilter={shown}&smoothing=0#timeseries", 1500, 960)
    browser.wait_for_text(*EXPERTS, "loss/denoising", "Settings")
    browser.click("node.ariaLabel === 'Close side pane'")
    browser.wait_for("nodes.filter(node => node.nodeName === 'IMG' && node.naturalWidth > 500).length === 2")
    parts = [browser.screenshot()]
    browser.open(f"{board.address}/#hparams", 1500, 330)
    browser.wait_for_text("TrialID", "JSsim", THREE, ONE)
    for column in ("preset", "recipe", "train.learning_rate"):  # They make room for metrics.
        browser.click(f"node.nodeName === 'PAPER-CHECKBOX' && node.textContent.trim() === '{column}'")
    parts.append(browser.screenshot())
    curves, table = (np.asarray(Image.open(io.BytesIO(part)).convert("RGB")) for part in parts)
    path = Path(PICTURE or tmp_path / "tensorboard.png")
    Image.fromarray(np.concatenate([curves, table])).quantize(256).save(path, optimize=True)
    assert (np.abs(curves - HIGHEST).max(axis=-1) < 10).sum() > 50, "the free energies are not to be seen"
