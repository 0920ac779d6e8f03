"""The report says everything, needs nothing beside it, and takes nothing from the run as markup."""

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from math import nan
from typing import Any

import numpy as np
import pytest

from fokker.analysis.metrics import RAMACHANDRAN
from fokker.analysis.report import curves, figures
from fokker.analysis.report.page import Report, flatten, render
from fokker.analysis.report.verdict import Verdict
from fokker.analysis.report.view import View
from fokker.analysis.results import TABLE_HEADER, Metrics, Scores
from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads

HOSTILE = "<script>alert('&\"')</script>{{ 7 * 7 }}"
PLANE = np.arange(64 * 64).reshape(64, 64)
FINGERPRINT = "9503d768cef06dcb"
PNG = figures.to_png(curves.fokker_planck_curves({"0-1": ([0.1, 0.2], [1.0, 2.0])}))
KINDS = {kind: Scores(value, 5 * value) for kind, value in (("iid", 0.011), ("sim", 0.015), ("floor", 0.01))}
REPORT = Report(
    title="mueller-brown: both",
    subtitle=f"fokker recipe, seed 0, data {FINGERPRINT}",
    metrics=Metrics(KINDS, KINDS | {"floor_sim": Scores(0.0103, nan)}),
    warnings=["3 of 200 chains of the simulation left the physical range."],
    figures=[("Free energy.", PNG), ("Losses.", PNG[::-1])],
    tables=[
        ("Timings", ("stage", "time"), [("train", "1:05"), ("sample", "0:09")]),
        ("Versions", ("package", "version"), [("jax", "0.10.2"), ("ray", "2.60.0")]),
    ],
    config={"preset": "mueller-brown", "train": {"batch_size": 128}, "experts": [{"hidden": [64, 64]}]},
)


class Page(HTMLParser):
    """Tags with their attributes, and the text of the page; fails for a tag that is closed but not open."""

    VOID = ("meta", "img", "br")
    OPTIONAL = ("html", "p", "li", "tr", "td", "th")

    def __init__(self, source: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(source)
        self.close()
        assert not set(self._open) - set(self.OPTIONAL)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str):
        assert tag in self._open, f"</{tag}> closes nothing"
        while self._open.pop() != tag:
            pass

    def handle_data(self, data: str):
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render(REPORT))


def test_page_needs_nothing_beside_it(page: Page):
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            if name in ("src", "href", "srcset", "data", "poster"):
                assert tag == "img"
                assert str(value).startswith("data:image/png;base64,")
    source = render(REPORT)
    assert not re.search(r"https?://|url\(|@import", source)


def test_every_figure_is_in_the_page(page: Page):
    images = page.all("img")
    assert [image["alt"] for image in images] == ["Free energy.", "Losses."]
    found = [base64.b64decode(str(image["src"]).removeprefix("data:image/png;base64,")) for image in images]
    assert found == [PNG, PNG[::-1]]


@pytest.mark.parametrize(
    "said",
    [
        "mueller-brown: both",
        FINGERPRINT,
        "3 of 200 chains of the simulation left the physical range.",
        "train 1:05",
        "sample 0:09",
        "jax 0.10.2",
        "ray 2.60.0",
        "preset mueller-brown",
        "train.batch_size 128",
        "experts.0.hidden 64, 64",
        " ".join(TABLE_HEADER),
        "paper JS 0.0110 0.0150 0.0100 1.10 1.50",
        "corrected JS 0.0110 0.0150 0.0100 1.10 1.50 0.0103",
        "frames of one chain resemble each other",
        "corrected PMF 0.0550 0.0750 0.0500 1.10 1.50",
    ],
)
def test_page_says(page: Page, said: str):
    assert said in page.text


def test_a_run_without_warnings_says_that_nothing_left_the_range(page: Page):
    calm = "Every chain stayed within the physical range and every frame is finite."
    assert calm in Page(render(replace(REPORT, warnings=[]))).text
    assert calm not in page.text


def test_everything_that_comes_from_the_run_is_escaped():
    hostile = Report(
        title=HOSTILE,
        subtitle=HOSTILE,
        metrics=REPORT.metrics,
        warnings=[HOSTILE],
        figures=[(HOSTILE, b"png")],
        tables=[(HOSTILE, (HOSTILE,), [(HOSTILE,)])],
        config={HOSTILE: HOSTILE},
    )
    source = render(hostile)
    page = Page(source)
    assert not page.all("script")
    assert page.all("img")[0]["alt"] == HOSTILE
    # Title twice, subtitle, warning, caption, table, column, cell, setting, value.
    assert page.text.count(HOSTILE) == 10
    assert "49" not in page.text, "a template in a string is not carried out"


def test_page_is_the_same_for_the_same_report():
    assert render(REPORT) == render(REPORT)


@pytest.mark.parametrize(
    ("config", "pairs"),
    [
        ({}, []),
        ({"a": 1, "b": {"c": None, "d": {"e": 0.5}}}, [("a", "1"), ("b.c", "None"), ("b.d.e", "0.5")]),
        ({"hidden": [64, 64]}, [("hidden", "64, 64")]),
        ({"empty": []}, [("empty", "")]),
        ({"experts": [{"a": 1}, {"a": [2, 3]}]}, [("experts.0.a", "1"), ("experts.1.a", "2, 3")]),
        ({"flag": True, "text": "x, y"}, [("flag", "True"), ("text", "x, y")]),
    ],
)
def test_nested_settings_become_dotted_names(config: dict[str, Any], pairs: list[tuple[str, str]]):
    assert flatten(config) == pairs


# The molecule


def moving(name: str = "AKFA") -> Report:
    beads = Beads.from_sequence("AKFA", BeadMap.parse("backbone"))
    frames = np.random.default_rng(0).normal(size=(12, len(beads), 3))
    return replace(REPORT, views=[View(name, beads, frames[:4], frames[4:], 0.5)])


def test_the_molecule_moves_without_a_network_by_a_script_whose_licence_is_beside_it():
    source = render(moving())
    page = Page(source)
    scripts = page.all("script")
    assert [one.get("type") for one in scripts] == ["application/json", None, None, None]
    assert not any({"src", "href"} & {*one} for one in scripts)
    molecules = re.search(r'id="molecules">(.*?)</script>', source, re.DOTALL)
    assert molecules
    (found,) = json.loads(molecules[1])
    assert [one["frames"] for one in found["sets"]] == [4, 8]
    assert "BSD-3-Clause" in source
    assert "University of Pittsburgh" in source
    assert "3dmol v2.5.5" in source
    assert len(source) < 1_000_000
    assert source.count("<script") == source.count("</script>") == 4


def test_names_of_molecules_are_no_markup():
    source = render(moving(HOSTILE))
    assert len(Page(source).all("script")) == 4
    assert "alert('&" not in source


def test_the_verdict_stands_before_all_else():
    found = Verdict("differ", "They differ.", "By 3.1 <b>.", "Turn <i>.")
    turned = replace(found, advice="<i> (--train.clip-norm 5, --seed).")
    assert "&lt;i&gt; (<code>--train.clip-norm</code> 5, <code>--seed</code>)." in render(
        replace(REPORT, verdict=turned)
    )
    source = render(replace(REPORT, verdict=found))
    assert 'class="verdict differ"' in source
    text = Page(source).text
    assert "They differ. By 3.1 <b>. What to do next: Turn <i>." in text
    assert text.index("They differ.") < text.index("3 of 200 chains")


def test_figures_too_wide_for_a_telephone_are_scrolled_within_themselves():
    wide = figures.to_png(figures.free_energy_surfaces({"": dict.fromkeys("abc", PLANE)}, RAMACHANDRAN))
    source = render(replace(REPORT, figures=[("Wide.", wide), ("Narrow.", PNG)]))
    assert re.search(r'class="scroll wide"><img alt="Wide."', source)
    assert re.search(r'class="scroll"><img alt="Narrow."', source)
