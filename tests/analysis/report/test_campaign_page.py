"""The page of a campaign says everything, and takes nothing from it as markup."""

import re
from dataclasses import replace

import numpy as np
import pytest

from fokker.analysis.campaign_results import CampaignResult, KineticsResult
from fokker.analysis.reduction import Totals, held
from fokker.analysis.report import campaign_page
from fokker.analysis.report.campaign_page import free_energies, page, tables, warnings
from fokker.analysis.systems import System
from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads

from ..test_campaign_results import BARE, CAMPAIGN, WORK
from .test_page import HOSTILE, Page

TOY = System.particle("toy", 23.0, 0.5)
BEADS = Beads.from_sequence("AKFA", BeadMap.parse("backbone"))
CALPHAS = Beads.from_sequence("AKFAKF", BeadMap.parse("calpha"))
PEPTIDE = System.molecule("AKFA", BEADS, [0.3] * len(BEADS.bonds), 300.0)
CHAIN = System.molecule("AKFAKF", CALPHAS, [0.38] * len(CALPHAS.bonds), 300.0)


def totals(system: System) -> Totals:
    frames = 0.3 * np.random.default_rng(0).normal(size=(500, *system.shape))
    return held(system, frames.astype(np.float32)).totals


def test_the_page_shows_every_work_and_needs_nothing_beside_it():
    sets = {"reference": totals(TOY), "simulation": totals(TOY)}
    found = Page(page("peptides", CAMPAIGN, {WORK.name: sets}, {"replicas": 100}, "ab12"))
    for text in (
        "ala/seed-0",
        "0.0123 ± 0.0011",
        "1.030",
        "2 works, 200 chains",
        "t₂",
        "replicas",
        "0.3 /ps",
    ):
        assert text in found.text or text == "0.3 /ps"
    assert BARE.name in found.text
    assert len(found.all("img")) == 2
    assert {"name": "made-from", "content": "ab12"} in found.all("meta")
    assert not {"script", "link", "iframe"} & {tag for tag, _ in found.tags}
    assert "2 of 100 chains were lost (2 not finite), and with them 1.50% of the frames" in found.text


def test_what_a_campaign_says_is_no_markup():
    hostile = CampaignResult.of([replace(WORK, name=HOSTILE, lost={HOSTILE: 1})], "now")
    source = page(HOSTILE, hostile, {HOSTILE: {"simulation": totals(TOY)}}, {"a": HOSTILE})
    assert "<script" not in source
    assert "49" not in Page(source).all("h1")


def test_where_nothing_was_lost_that_is_said():
    source = page("a", CampaignResult.of([BARE], "now"), {}, {})
    assert "No chain was lost, and every frame is finite." in source
    assert "<img" not in source


@pytest.mark.parametrize(("system", "panels"), [(TOY, 2), (PEPTIDE, 4), (CHAIN, 8)])
def test_each_projection_is_drawn_beside_the_reference(system: System, panels: int):
    figure = free_energies({"reference": totals(system), "simulation": totals(system)})
    drawn = [axes for axes in figure.axes if axes.images or axes.lines]
    assert len(drawn) == panels
    if system is not CHAIN:
        assert {axes.get_title() for axes in drawn} == {"reference", "simulation"}
    else:
        assert all(len(axes.lines) == 2 for axes in drawn)


def test_of_many_works_some_are_drawn():
    works = [replace(WORK, name=f"work-{number}") for number in range(campaign_page.MOST_WORKS + 5)]
    found = Page(page("many", CampaignResult.of(works, "now"), {}, {}))
    assert f"JS over simulated time, {campaign_page.MOST_WORKS} of {len(works)} works." in found.text
    assert "work-16" in found.text


def test_kinetics_are_beside_those_of_the_reference_and_what_is_missing_is_said():
    (*_, (title, header, rows)) = tables(WORK)
    assert title == "ala/seed-0: kinetics of unbroken chains"
    assert all(len(row) == len(header) for row in rows)
    found = {row[0]: row[1:] for row in rows}
    assert found["transitions, a to b"] == ("0 in 10 ps: 0 to 0.37 /ps",) * 2
    assert found["mean time, a to b (ps)"] == ("∞", "∞")
    assert found["slowest time t₂ (ps)"] == ("3", "3")
    assert WORK.kinetics is not None
    without = replace(
        WORK, lost={}, kinetics=KineticsResult(WORK.kinetics.model, None, note="deeptime is missing")
    )
    assert warnings(without) == ["ala/seed-0: deeptime is missing."]
    for one in (WORK, BARE, without):
        for _, header, rows in tables(one):
            assert all(len(row) == len(header) for row in rows)


def test_a_toy_has_no_unit_of_ours(monkeypatch: pytest.MonkeyPatch):
    """Neither in tables, nor at axes."""
    drawn, draw = [], campaign_page.to_png
    monkeypatch.setattr(campaign_page, "to_png", lambda figure: drawn.append(figure) or draw(figure))
    toy = replace(WORK, name="toy", bonds={}, time_unit=TOY.time_unit)
    sets = {"reference": totals(TOY), "simulation": totals(TOY)}
    found = Page(page("toys", CampaignResult.of([toy], "now"), {"toy": sets}, {}))
    labels = [
        text for figure in drawn for axes in figure.axes for text in (axes.get_xlabel(), axes.get_ylabel())
    ]
    assert "time of each chain" in labels
    for text in (found.text, *labels):
        assert not re.search(r"\b(ps|ns|nm|pm|K)\b", text)
    assert "times in the potential's own unit" in found.text
    rows = {row[0]: row[1] for row in campaign_page.tables(toy)[-1][2]}
    assert rows["transitions, a to b"] == "0 in 10: 0 to 0.37"
    assert rows["slowest time t₂"] == "3"
    assert PEPTIDE.time_unit == "ps"
