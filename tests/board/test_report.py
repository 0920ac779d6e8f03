"""The report as a browser shows it: on a telephone, in the dark, on paper, and with a molecule that moves."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from fokker.analysis.metrics import RAMACHANDRAN
from fokker.analysis.report.figures import free_energy_surfaces, to_png
from fokker.analysis.report.page import render
from fokker.analysis.report.verdict import Verdict

from ..analysis.report.test_page import PLANE, moving
from .browser import OPTIONS, Page, page

SCREENS = [(width, scheme) for width in (400, 800, 1400) for scheme in ("light", "dark")]
OUTPUT = "(document.querySelector('#viewer output')?.textContent ?? '')"
"""What stands below the molecule; nothing while the page is loaded."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of a report with a wide figure, a long line in a table and long settings."""
    wide = to_png(free_energy_surfaces({"": dict.fromkeys("abc", PLANE)}, RAMACHANDRAN))
    found = replace(
        moving(),
        verdict=Verdict("differ", "They differ.", "By 3.1.", "Turn --experts.0.consistency-weight."),
        figures=[("Free energy.", wide)],
        tables=[("Results", ("what", "settings"), [("samples", "chunk 5000, solver dpm-solver, " * 9)])],
    )
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(found), "utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def screen(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """With WebGL, which a machine without a graphics card computes."""
    options = [*(one for one in OPTIONS if one != "--disable-3d-apis"), "--enable-unsafe-swiftshader"]
    with page(chromium, tmp_path_factory.mktemp("profile"), options) as this:
        yield this


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_no_page_is_scrolled_sideways(screen: Page, report: str, width: int, scheme: str):
    screen.emulate(prefers_color_scheme=scheme, prefers_reduced_motion="reduce")
    screen.open(report, width)
    screen.wait_for(f"{OUTPUT} === '1 of 8, 0.00 ps'")
    assert screen.evaluate("document.documentElement.scrollWidth") <= width
    ink, paper = (
        screen.evaluate(f"getComputedStyle(document.body).{name}.match(/\\d+/g).slice(0, 3).join(' ')")
        for name in ("color", "backgroundColor")
    )
    brighter = sum(map(int, ink.split())) > sum(map(int, paper.split()))
    assert brighter == (scheme == "dark")


def test_the_molecule_moves_and_stops(screen: Page, report: str):
    screen.emulate(prefers_reduced_motion="no-preference")
    screen.open(report, 800)
    screen.wait_for(f"{OUTPUT}.startsWith('3 of 8')")
    assert screen.evaluate("document.querySelectorAll('#viewer canvas').length")
    screen.click("node.nodeName === 'BUTTON'")
    shown = screen.evaluate(OUTPUT)
    screen.wait_for("document.querySelector('#viewer button').textContent === 'Play'")
    assert screen.evaluate(OUTPUT) == shown


def test_on_paper_there_are_no_controls(screen: Page, report: str):
    screen.emulate("print")
    screen.open(report, 800)
    screen.wait_for("document.querySelector('#viewer .controls') !== null")
    hidden = "getComputedStyle(document.querySelector('#viewer .controls')).display"
    assert screen.evaluate(hidden) == "none"
    screen.emulate()
