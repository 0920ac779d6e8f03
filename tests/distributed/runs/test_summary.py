"""What trajectories hold is a row a system, of at most 80 columns, in which no value is cut."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from fokker.data.readers.arrays import ArchivedArray
from fokker.data.readers.found import Found
from fokker.data.readers.pooling import Pool
from fokker.data.readers.sources import Conditions, Source
from fokker.distributed.runs.display import Display
from fokker.distributed.runs.summary import conditions_line, summarise, without_repeats


def show(pools: list[Pool], founds: dict[str, list[Found]], each: bool = False) -> str:
    file = io.StringIO()
    summarise(pools, founds, Display(Console(file=file, width=80, highlight=False)), each)
    return file.getvalue()


def source(number: int, split: str | None = None, **changes: Any) -> Source:
    place = f"production-run-{number:02d}/a-trajectory-of-a-long-name.xtc"
    return Source(
        "a",
        "xtc",
        ArchivedArray(Path("/data") / place),
        None,
        split,
        place=place,
        given_sequence="ACE-ALA-NME",
        **changes,
    )


def found(**changes: Any) -> Found:
    return Found(**{"frames": 1_000_000, "atoms": 22, "unit": "angstrom", "spacing": 0.5} | changes)


@pytest.fixture(autouse=True)
def _no_files(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Source, "sequence", property(lambda self: "ACE-ALA-ALA-ALA-ALA-NME"))


def test_twenty_trajectories_are_one_row_and_on_request_one_each():
    pools = [Pool("ACE-ALA-ALA-ALA-ALA-NME", tuple(source(number) for number in range(20)))]
    founds = {pools[0].name: [found(marks=f"{number:016x}") for number in range(20)]}
    text = show(pools, founds)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    for part in ("20", "20000000", "0.5 ps", "1e+04 ns", "unit: angstrom", "split: train, as no folder"):
        assert part in text
    assert len(text.splitlines()) < 10
    each = show(pools, founds, each=True)
    assert max(map(len, each.splitlines())) <= 80
    assert "…" not in each
    assert each.count("500 ns") == 20


def test_everything_that_is_wrong_is_said_once():
    pool = Pool("x", (source(0, "train", forces="f.npy"), source(1, "test"), source(2, "train")))
    founds = [
        found(frames=2, marks="a" * 16 + "b" * 16, repeats=3),
        found(
            frames=3,
            marks="b" * 16 + "c" * 16 + "d" * 16,
            broken=2,
            first_broken=7,
            problem="the file ends in the middle of frame 9",
            spacing=1.0,
        ),
        found(frames=2, marks="a" * 16 + "b" * 16),
    ]
    text = " ".join(show([pool], {"x": founds}).split())
    for part in (
        "run-01/a-trajectory-of-a-long-name.xtc: 2 broken frames are left out, the first is 7; the file ends "
        "in the middle of frame 9, and is left out from there",
        "x: 3 of 7 frames repeat the frame before",
        "x: production-run-00/a-trajectory-of-a-long-name.xtc and "
        "production-run-02/a-trajectory-of-a-long-name.xtc hold the same frames, which count twice",
        "x: production-run-00/a-trajectory-of-a-long-name.xtc and "
        "production-run-01/a-trajectory-of-a-long-name.xtc hold 1 of 3 frames in common, which count twice",
        "x is in train and test: it is judged on a known molecule",
        "f.npy: forces are there, and are not used",
    ):
        assert text.count(part) == 1


def test_spacings_that_differ_are_said_to():
    pool = Pool("x", (source(0), source(1)))
    assert "differs" in show([pool], {"x": [found(), found(spacing=1.0)]})
    assert "differs" in show([pool], {"x": [found(), found(spacing=None)]})
    assert "spacing" not in show([pool], {"x": [found(spacing=None)] * 2})


def test_conditions_are_one_line_however_many_trajectories():
    known = Conditions("Amber-14", "OBC1", 310.0)
    assert conditions_line([known] * 20) == "conditions: Amber-14, OBC1, 310 K"
    assert conditions_line([known, Conditions()]) == "conditions: Amber-14, OBC1, 310 K; not known"


def test_columns_that_say_nothing_are_left_out():
    header = ("system", "sequence", "split", "files")
    assert without_repeats(header, [("A", "A", "train", "1"), ("B", "B", "train", "2")]) == (
        ["system", "files"],
        [["A", "1"], ["B", "2"]],
    )


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_no_table_cuts_a_value_or_drops_a_column(width: int):
    file = io.StringIO()
    names = [f"column{number}" for number in range(9)]
    values = [f"{value:.4f}" for value in np.random.default_rng(0).normal(size=8)]
    long = "a-name-of-letters-without-an-end" * 4
    Display(Console(file=file, width=width, highlight=False)).table(names, [(long, *values)])
    text = file.getvalue()
    assert "…" not in text
    assert all(value in text for value in (*names, *values))
    first = [line.split()[0] for line in text.splitlines()[3:] if line.strip()]
    assert "".join(first) == long
