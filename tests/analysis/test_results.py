"""Results come back from their file as they were, and those of another layout are refused in one line."""

import json
from dataclasses import replace
from math import isnan, nan, sqrt
from pathlib import Path

import pytest

from fokker.analysis import results
from fokker.analysis.results import (
    TABLE_HEADER,
    Estimate,
    FrameCounts,
    FreeEnergy,
    Length,
    MadeFrom,
    Metrics,
    MirrorImages,
    Part,
    Profiles,
    RunResult,
    Scores,
    SimulationCounts,
    Structure,
    SystemResult,
    Torsions,
)
from fokker.data.files import FileError, write_json

KINDS = {kind: Scores(value, 10 * value) for kind, value in (("iid", 0.011), ("sim", 0.015), ("floor", 0.01))}
COUNTS = FrameCounts(400, 1, 40, 2, 1)
HEAT = SimulationCounts(400, 1, 40, 2, 1, 300.0, 299.0, 278.0, None)
KNOWN = Estimate(3.8, 0.1)
STRUCTURE = Structure(
    bonds={"ALA1-N ALA1-CA": Length({"reference": (0.14, 0.003), "sim": (0.15, nan)}, {"sim": 0.01})},
    distances={},
    mirror_images={"reference": MirrorImages(0, 0.0, {}), "sim": MirrorImages(3, 0.1, {"ALA1": 0.1})},
    torsions=Torsions({"reference": 0.02, "sim": 0.5}, 12),
    profiles=Profiles(
        "φ of ALA2",
        "biased",
        {"reference": FreeEnergy([0.0, nan], [0.1, nan], Estimate(9.0, nan, True), KNOWN, KNOWN)},
    ),
)
SYSTEM = SystemResult(
    KINDS,
    KINDS | {"floor_sim": Scores(0.02, nan)},
    projections={"ALA2": Metrics(KINDS, KINDS)},
    sim_error=Scores(0.1, 0.2),
    molecule=STRUCTURE,
    sample=COUNTS,
    simulate=HEAT,
)
RUN = RunResult(
    KINDS,
    KINDS,
    sd=None,
    sample=COUNTS,
    simulate=HEAT,
    systems={"AC": SYSTEM, "KF": replace(SYSTEM, molecule=None, sim_error=None)},
    fokker_planck_error={"0-0.1": ([0.1, 0.2], [3.0, nan])},
    made_from=MadeFrom(Part(1, {"samples": 400}, {"AC": "0a"}), Part(2, {}, {}), {"seed": 0}),
    data_fingerprint="0123",
)


def test_a_result_comes_back_as_it_was_and_null_stands_for_what_is_not_finite(tmp_path: Path):
    path = tmp_path / "metrics.json"
    write_json(path, results.to_json(RUN))
    found = results.read(path)
    assert repr(found) == repr(RUN)
    content = json.loads(path.read_text())
    assert content["format"] == results.FORMAT
    assert content["corrected"]["sim"]["js"] == 0.015
    assert content["fokker_planck_error"]["0-0.1"] == [[0.1, 0.2], [3.0, None]]


def test_a_result_of_before_barriers_and_starts_is_read(tmp_path: Path):
    path, content = tmp_path / "metrics.json", results.to_json(RUN)
    del content["made_from"]["umbrella"]
    for part in (content, *content["systems"].values()):
        del part["simulate"]["start"]
    del content["systems"]["AC"]["molecule"]["profiles"]
    write_json(path, content)
    assert repr(results.read(path)) == repr(
        replace(
            RUN, systems=RUN.systems | {"AC": replace(SYSTEM, molecule=replace(STRUCTURE, profiles=None))}
        )
    )


@pytest.mark.parametrize("content", ["{}", '{"paper": {}, "corrected": {}}', '{"format": 0}', "[]"])
def test_an_older_result_is_refused_with_what_makes_it_anew(tmp_path: Path, content: str):
    path = tmp_path / "metrics.json"
    path.write_text(content)
    with pytest.raises(FileError, match=r"format .*, and this version reads 1: run `fokker evaluate` again$"):
        results.read(path)


def test_a_damaged_result_names_the_place(tmp_path: Path):
    path = tmp_path / "metrics.json"
    content = results.to_json(RUN)
    content["systems"]["AC"]["sample"]["chains"] = "many"
    write_json(path, content)
    with pytest.raises(
        FileError, match=r"damaged \(at systems\.AC\.sample\.chains\): run `fokker evaluate` again"
    ):
        results.read(path)


def test_table_has_a_row_for_each_definition_and_metric_with_ratios_to_the_floor():
    corrected = {kind: Scores(scores.js + 0.01, scores.pmf) for kind, scores in KINDS.items()}
    corrected["floor_sim"] = Scores(0.023, nan)
    assert Metrics(KINDS, corrected).table() == [
        ("paper", "JS", "0.0110", "0.0150", "0.0100", "1.10", "1.50", ""),
        ("paper", "PMF", "0.1100", "0.1500", "0.1000", "1.10", "1.50", ""),
        ("corrected", "JS", "0.0210", "0.0250", "0.0200", "1.05", "1.25", "0.0230"),
        ("corrected", "PMF", "0.1100", "0.1500", "0.1000", "1.10", "1.50", ""),
    ]
    one_chain = Metrics(KINDS, KINDS | {"floor_sim": Scores(nan, nan)})
    assert one_chain.table()[2][-1] == ""
    assert len(TABLE_HEADER) == 8


def test_means_and_their_spread_are_those_of_every_score():
    def result(value: float) -> Metrics:
        kinds = {kind: Scores(value, 10 * value) for kind in ("iid", "sim", "floor")}
        return Metrics(kinds, kinds | {"floor_sim": Scores(nan, nan)})

    several = [result(1.0), result(3.0)]
    assert Metrics.mean(several).paper["sim"] == Scores(2.0, 20.0)
    assert Metrics.deviation(several).corrected["iid"].js == pytest.approx(sqrt(2))
    assert isnan(Metrics.mean(several).corrected["floor_sim"].js)


@pytest.mark.parametrize(
    ("half", "step", "rms"), [(300.0, 278.0, 0.5416), (20.0, 21.0, None), (None, None, None)]
)
def test_the_mean_step_is_told_from_both_temperatures(
    half: float | None, step: float | None, rms: float | None
):
    """278 K of 300 is ω dt = 0.54; where noise makes the steps warmer, nothing is told."""
    found = replace(HEAT, kinetic_temperature=half, step_temperature=step).rms_omega_dt
    assert found == (rms if rms is None else pytest.approx(rms, abs=1e-4))
