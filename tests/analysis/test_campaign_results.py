"""Results of campaigns come back from their file as they were, and fit into a terminal."""

import json
from dataclasses import replace
from math import inf, isnan, nan
from pathlib import Path

import pytest

from fokker.analysis.campaign_results import (
    FORMAT,
    Against,
    CampaignResult,
    Course,
    KineticsResult,
    LengthResult,
    Measured,
    Mixing,
    ProjectionResult,
    RateResult,
    StatesResult,
    WorkResult,
    read,
    to_json,
)
from fokker.analysis.report.campaign import TABLE_HEADER, kinetics_table, known, scalars, short, table
from fokker.data.files import FileError, write_json

JS = Measured(0.0123, 0.0011, 0.0101)
AGAINST = Against(JS, Measured(0.2, 0.01, nan), JS, (0.009, 0.02), 0.004, 0.0035)
AXES = {"φ": Mixing(1.02, 1.004, 912.0, 100, 1000), "ψ": Mixing(1.03, nan, 1200.0, 100, 1000)}
STATES = StatesResult({"a to b": RateResult(0, 10.0, 0.0, 0.0, 0.37, 0.3, inf)}, [0.1, 0.2], [nan, 3.0], 3.0)
WORK = WorkResult(
    name="ala/seed-0",
    system="ala",
    tags={"run": "r"},
    until=1000,
    time=2000.0,
    frames=98_500,
    chains=100,
    missing=0.015,
    lost={"not finite": 2},
    stride=1,
    projections={"ALA2": ProjectionResult(AXES, AGAINST)},
    mean=AGAINST,
    bonds={"C N": LengthResult(0.134, 0.003, 0.133, 0.003, Measured(0.001, nan, nan))},
    distances={},
    phi_positive={"simulation": 0.02, "reference": 0.03},
    temperature=300.0,
    kinetic_temperature=301.0,
    step_temperature=None,
    rms_omega_dt=None,
    steps=1_000_000,
    evaluations=1_000_000,
    seconds=3600.0,
    course=Course([1.0, 2.0], [0.02, 0.0123], [nan, 0.0011]),
    kinetics=KineticsResult(STATES, STATES, 1.0, [0.1], [0.03]),
)
BARE = replace(
    WORK,
    name="a peptide with a name that does not fit into any terminal/seed-1",
    mean=None,
    course=None,
    kinetics=None,
    projections={"ALA2": ProjectionResult({"φ": Mixing(nan, nan, nan, 0, 0)}, None)},
    seconds=0.0,
    lost={},
    missing=0.0,
)
CAMPAIGN = CampaignResult.of([WORK, BARE], "2026-11-30T06:00:00+00:00")


def test_the_worst_axis_of_the_worst_projection_counts():
    assert (WORK.ess, WORK.rhat) == (912.0, 1.03)
    better = ProjectionResult({"φ": Mixing(1.5, 1.0, 5000.0, 100, 10)}, None)
    both = replace(WORK, projections=WORK.projections | {"b": better})
    assert (both.ess, both.rhat) == (912.0, 1.03)
    assert isnan(replace(WORK, projections=WORK.projections | BARE.projections).ess)
    assert isnan(replace(WORK, projections={}).rhat)
    assert (WORK.ess_per_hour, WORK.ess_per_million) == (912.0, 912.0)
    assert isnan(BARE.ess_per_hour)


def test_totals_are_sums():
    assert (CAMPAIGN.frames, CAMPAIGN.chains, CAMPAIGN.lost_chains) == (197_000, 200, 2)
    assert (CAMPAIGN.steps, CAMPAIGN.evaluations, CAMPAIGN.seconds) == (2_000_000, 2_000_000, 3600.0)


def test_a_result_comes_back_as_it_was_and_null_stands_for_what_is_not_finite(tmp_path: Path):
    path = tmp_path / "results.json"
    write_json(path, to_json(CAMPAIGN))
    content = json.loads(path.read_text())
    assert content["format"] == FORMAT
    first = content["works"]["ala/seed-0"]
    assert first["mean"]["pmf"]["corrected"] is None
    assert first["derived"] == {"ess": 912.0, "rhat": 1.03, "ess_per_hour": 912.0, "ess_per_million": 912.0}
    found = read(path)
    assert repr(found).replace("inf", "nan") == repr(CAMPAIGN).replace("inf", "nan")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": FORMAT + 1}, f"is of format {FORMAT + 1}, and this version reads {FORMAT}"),
        ({"works": {"a": {}}}, r"is damaged \(at works\.a\.name\): run `fokker campaign run` again"),
    ],
)
def test_what_is_of_another_layout_is_refused(tmp_path: Path, change: dict, words: str):
    path = tmp_path / "results.json"
    write_json(path, to_json(CAMPAIGN) | change)
    with pytest.raises(FileError, match=words):
        read(path)


def test_the_table_fits_into_a_terminal():
    header, *rows = table([WORK, BARE])
    assert header == TABLE_HEADER
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    assert sum(widths) + len(widths) - 1 <= 80
    assert rows[0] == ("ala/seed-0", "98.5k", "1.5%", "0.0123 ± 0.0011", "0.0035", "1.030", "912", "912")
    name, frames, lost, *others = rows[1]
    assert name.startswith("a pep")
    assert "…" in name
    assert name.endswith("seed-1")
    assert (frames, lost, others) == ("98.5k", "0.0%", [""] * 5)


def test_kinetics_stand_beside_those_of_the_reference_where_it_has_any():
    alone = replace(WORK, kinetics=KineticsResult(STATES, None))
    unresolved = replace(WORK, kinetics=KineticsResult(STATES, replace(STATES, slowest=nan), note="not seen"))
    header, *rows = kinetics_table([WORK, BARE, alone, unresolved])
    assert " ".join(header) == "work t₂ (ps) of the reference ratio at 0.1 t₂ at 0.3 t₂ at 1 t₂"
    assert rows == [
        ("ala/seed-0", "3", "3", "1", "0.030", "", ""),
        ("ala/seed-0", "3", "", "", "", "", ""),
    ]
    assert kinetics_table([BARE, alone]) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (950, "950"), (9999, "9999"), (12_345, "12.3k"), (3e6, "3M"), (2.5e9, "2.5G"), (nan, "")],
)
def test_counts_are_short(value, text: str):
    assert short(value) == text


def test_what_is_not_known_is_empty():
    assert [known(value, ".1f") for value in (nan, inf, 1.0)] == ["", "∞", "1.0"]


def test_tensorboard_gets_what_is_known():
    found = scalars(WORK)
    assert found["js/mean"] == found["js/ALA2"] == 0.0123
    assert found["js_error/mean"] == 0.0011
    assert found["campaign/ess_per_hour"] == 912.0
    assert "campaign/rms_omega_dt" not in found
    assert not {"campaign/ess", "js/mean"} & {*scalars(BARE)}
