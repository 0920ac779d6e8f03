"""What the report says first, and how it shows a run whose simulation failed in part."""

import json
from dataclasses import replace
from math import nan
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fokker.analysis.campaign_results import Course
from fokker.analysis.reduction import held
from fokker.analysis.results import (
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
from fokker.data.dataset import shards
from fokker.distributed.campaigns.segments import NOT_FINITE, Loss
from fokker.distributed.runs import reporting
from fokker.distributed.runs.gallery import Gallery
from fokker.distributed.runs.presets import PRESETS
from fokker.distributed.runs.run import Run
from fokker.distributed.training import parameters
from fokker.distributed.training.history import HISTORY

KINDS = ("reference", "iid", "sim")
SCORES = {kind: Scores(0.02, 0.1) for kind in ("iid", "sim", "floor")}
COUNTS = FrameCounts(frames=400, frames_not_finite=0, chains=40, chains_left_range=0, chains_not_finite=0)
HEAT = SimulationCounts(
    **vars(COUNTS), temperature=23.0, kinetic_temperature=22.5, step_temperature=21.5, largest_omega_dt=0.9
)
SYSTEM = SystemResult(
    SCORES, SCORES, projections={}, sim_error=None, molecule=None, sample=COUNTS, simulate=HEAT
)
RESULT = RunResult(
    SCORES,
    SCORES,
    sd=None,
    sample=COUNTS,
    simulate=HEAT,
    systems={"mueller-brown": SYSTEM},
    fokker_planck_error={"0-0.1": ([1e-5, 1e-2], [3.0, nan]), "0.1-0.6": ([0.1], [2.0])},
    made_from=MadeFrom(
        Part(3, {"samples": 400}, {}),
        Part(2, {"stride": 50, "integrator": "baoab", "first_phi_positive": True}, {}),
        {},
    ),
    data_fingerprint="0123456789abcdef",
)


def result(sample: dict[str, Any] | None = None, simulate: dict[str, Any] | None = None) -> RunResult:
    return replace(RESULT, sample=replace(COUNTS, **sample or {}), simulate=replace(HEAT, **simulate or {}))


def test_no_warning_of_a_run_that_went_well():
    assert reporting.warnings(result()) == []


def test_warnings_count_what_left_and_what_is_not_finite():
    found = reporting.warnings(
        result({"chains_left_range": 3}, {"chains_left_range": 2, "frames_not_finite": 9})
    )
    assert found == [
        "3 of 40 samples left the physical range.",
        "2 of 40 chains of the simulation left the physical range.",
        "9 of 400 frames of the chains of the simulation are not finite and were left out of the metrics.",
    ]


@pytest.mark.parametrize(("largest", "warned"), [(0.99, 0), (1.31, 1), (None, 0)])
def test_a_long_time_step_is_warned_of(largest: float | None, warned: int):
    found = reporting.warnings(result(simulate={"largest_omega_dt": largest}))
    assert len(found) == warned
    assert all("ω dt is 1.31 for the fastest mode, where 2 is the limit" in text for text in found)


def test_a_step_of_inner_ones_may_be_longer():
    """Its limit is half the period of the fastest mode, ω dt = π."""
    for largest, warned in ((2.4, 0), (2.6, 1)):
        found = reporting.warnings(result(simulate={"largest_omega_dt": largest, "inner_steps": 4}))
        assert len(found) == warned
        assert all("where 3.14 is the limit" in text for text in found)


@pytest.mark.parametrize(
    ("temperature", "shown", "rms"),
    [(22.5, "22.500 (bath: 23)", "0.42"), (None, "not known (bath: 23)", "not known")],
)
def test_report_of_a_simulation(tmp_path: Path, temperature: float | None, shown: str, rms: str):
    run = Run(PRESETS["mueller-brown"]("both", "fokker"), tmp_path)
    shards.write(run.data, {"name": "mueller-brown"}, {"train": np.zeros((2, 2), np.float32)})
    for job in run.jobs:
        job.directory.mkdir(parents=True)
        parameters.save(job.directory, {"kernel": np.zeros((2, 8))})
        line = {"step": 10, "denoising": 0.5, "consistency": 0.0, "gradient_norm": 1.0, "seconds": 65.0}
        (job.directory / HISTORY).write_text(json.dumps(line) + "\n")
    run.add_timing("train", 3661.0)
    points = np.random.default_rng(0).normal((-0.6, 1.4), 0.2, size=(100, 2))
    residue = Metrics({}, {"iid": Scores(0.01, 0.2), "sim": Scores(0.03, 0.4)})
    found = replace(
        result(simulate={"kinetic_temperature": temperature, "frames_not_finite": 1}),
        systems={
            "AKF": replace(SYSTEM, molecule=structure({}), projections={"LYS2": residue}),
            "toy": SYSTEM,
        },
    )
    totals = held(run.systems[0], points).totals
    lost = [Loss(number, 500 * number, NOT_FINITE) for number in range(reporting.FAILED + 2)]
    gallery = Gallery(courses={"toy": Course([1.0, 2.0], [0.2, 0.1], [nan, 0.01])}, losses={"toy": lost})
    sets = {"": {kind: totals for kind in ["reference", "samples", "simulation"]}}
    reporting.write(run, found, "0a1b", sets, gallery)
    report = (tmp_path / "report.html").read_text()
    assert f"<td>kinetic temperature, of half-step velocities</td><td>{shown}</td>" in report
    for name, value in (
        ("kinetic temperature at the steps, colder by (ω dt)²/4", "21.500"),
        ("ω dt by these temperatures, root mean square", rms),
        ("largest ω dt, by the mass-weighted Hessian at frames of the data", "0.90 (stable below 2)"),
    ):
        assert f"<td>{name}</td><td>{value}</td>" in report
    assert "the floor of the simulation, is what its own frames would score" in report
    assert "<td>0-0.1</td><td>16</td><td>10</td><td>1:05</td><td>0.5000</td><td>not used</td>" in report
    assert "<td>LYS2</td><td>0.0100</td><td>0.0300</td><td>0.2000</td><td>0.4000</td>" in report
    assert "<td>train</td><td>1:01:01</td>" in report
    assert "samples 3, simulation 2" in report
    assert (
        "<td>simulation</td><td>2</td><td>stride 50, integrator baoab, first_phi_positive True</td>" in report
    )
    assert "frames of the data, the first at one of φ &gt; 0" in report, (
        "of the result, not of the newest settings"
    )
    assert reporting.made_from(tmp_path / "report.html") == "0a1b"
    assert "1 of 400 frames of the chains of the simulation are not finite" in report
    assert {path.stem for path in (tmp_path / "figures").iterdir()} == {
        *("free-energy", "losses", "fokker-planck-error", "convergence")
    }
    assert "Samples and simulation agree with the reference." in report
    assert "<td>toy</td><td>3</td><td>7.5</td><td>not finite</td>" in report, "after 1500 steps of 0.005"
    assert "<td>toy</td><td>2 more</td>" in report
    assert report.count("<td>not finite</td>") == reporting.FAILED


def structure(bonds: dict[str, Length], torsions: bool = True, mirrored: bool = False) -> Structure:
    shares = zip(KINDS, (0.0, 0.125, 0.5), strict=True)
    return Structure(
        bonds,
        {},
        {kind: MirrorImages(1, share, {}) for kind, share in shares} if mirrored else None,
        Torsions(dict.fromkeys(KINDS, 0.02), 3) if torsions else None,
    )


def rows_of(molecule: Structure) -> list[tuple[str, ...]]:
    ((_, _, rows),) = reporting._molecule_tables({"ala": replace(SYSTEM, molecule=molecule)})
    return [tuple(row) for row in rows]


def test_mirror_images_stand_beside_the_modes_of_beads_that_have_a_hand():
    rows = rows_of(structure({}, mirrored=True))
    assert rows[2] == ("mirror images at CA", "0.0000", "0.1250", "0.5000", "", "")
    assert len(rows_of(structure({}))) == 2


def test_barriers_have_a_table_before_the_modes():
    known = FreeEnergy(
        [0.0], [0.1], Estimate(9.0, 0.2), Estimate(15.0, nan, at_least=True), Estimate(3.0, 0.1)
    )
    profiles = Profiles("φ of ALA2", "biased", {"reference": known, "umbrella": known})
    molecule = replace(structure({}), profiles=profiles)
    (title, header, rows), _ = reporting._molecule_tables({"ala": replace(SYSTEM, molecule=molecule)})
    assert title == "ala: φ of ALA2: reference by biased frames, learned by umbrella windows"
    assert header == ("φ, in kT", "reference", "learned", "difference")
    assert rows[0] == ("barrier near 0", "9.00 ± 0.20", "9.00 ± 0.20", "0.00 ± 0.28")
    assert rows[1][1:] == ("> 15.00", "> 15.00", "not known")


def test_what_has_no_torsions_is_reported_by_its_lengths_alone():
    bond = Length({kind: (0.38, 0.004) for kind in KINDS}, {"iid": 0.001, "sim": 0.002})
    pair = "ALA1-CA GLY2-CA"
    assert rows_of(structure({pair: bond}, torsions=False)) == [(pair, *["380.0 ± 4.0"] * 3, "1.0", "2.0")]
    parts = dict.fromkeys((pair, "GLY2-CA ALA3-CA"), Metrics(SCORES, SCORES))
    molecule = structure({pair: bond}, torsions=False)
    (title, header, _), _ = reporting._molecule_tables(
        {"AGA": replace(SYSTEM, molecule=molecule, projections=parts)}
    )
    assert (title, header[0]) == ("AGA by distance (JS corrected)", "distance")
