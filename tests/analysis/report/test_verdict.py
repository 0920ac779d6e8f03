"""The verdict says what the numbers say, on both sides of every threshold, and what to turn first."""

from dataclasses import replace
from math import exp, log, nan
from typing import Any

import pytest

from fokker.analysis.report.verdict import (
    CLOSE,
    HEAT,
    LOST,
    MODES,
    SIGMAS,
    SMALL,
    TELLING,
    Agreement,
    Setup,
    Verdict,
    verdict,
)
from fokker.analysis.results import (
    Estimate,
    FrameCounts,
    FreeEnergy,
    MadeFrom,
    Part,
    Profiles,
    RunResult,
    Scores,
    SimulationCounts,
    Structure,
    SystemResult,
)

FLOOR = 0.01
COUNTS = FrameCounts(50_000, 0, 1000, 0, 0)
HEAT_OK = SimulationCounts(
    **vars(COUNTS), temperature=300.0, kinetic_temperature=301.0, step_temperature=None
)
SETUP = Setup(timestep=0.004, force_time=1e-5, conservative=True, regularised=True)


def system(
    iid: float = 1.0,
    sim: float = 1.0,
    between: float = 1.0,
    floor_sim: float = FLOOR,
    error: float | None = None,
    molecule: Structure | None = None,
) -> SystemResult:
    """Distances in units of the floor."""
    scores = {
        "iid": Scores(iid * FLOOR, 0.1),
        "sim": Scores(sim * floor_sim, 0.1),
        "floor": Scores(FLOOR, 0.1),
        "floor_sim": Scores(floor_sim, nan),
        "between": Scores(between * floor_sim, 0.1),
        "floor_between": Scores(floor_sim, nan),
    }
    own = None if error is None else Scores(error, nan)
    return SystemResult(scores, scores, {}, own, molecule, COUNTS, HEAT_OK)


def judged(simulate: dict[str, Any] | None = None, setup: Setup = SETUP, **distances: Any) -> Verdict:
    return verdict(run({"ala": system(**distances)}, simulate), setup)


def run(systems: dict[str, SystemResult], simulate: dict[str, Any] | None = None) -> RunResult:
    mean = SystemResult.mean([*systems.values()])
    return RunResult(
        mean.paper,
        mean.corrected,
        None,
        COUNTS,
        replace(HEAT_OK, **simulate or {}),
        systems,
        {},
        MadeFrom(Part(1, {}, {}), Part(1, {}, {}), {}),
        "",
    )


@pytest.mark.parametrize(
    ("ratio", "floor", "error", "level"),
    [
        (1.0, FLOOR, nan, "agree"),
        (0.8, FLOOR, nan, "agree"),
        (CLOSE - 0.01, FLOOR, nan, "agree"),
        (CLOSE + 0.01, FLOOR, nan, "nearly"),
        (SMALL - 0.01, FLOOR, nan, "nearly"),
        (SMALL + 0.01, FLOOR, nan, "differ"),
        # What is not certain by two errors does not count.
        (SMALL + 0.1, FLOOR, 0.11 * FLOOR / SIGMAS, "nearly"),
        (SMALL + 0.1, FLOOR, 0.09 * FLOOR / SIGMAS, "differ"),
        # Sets that chance alone makes so different tell nothing, unless they are further apart.
        (1.1, TELLING * 0.99, nan, "agree"),
        (1.1, TELLING * 1.01, nan, "unknown"),
        (2.1, TELLING * 1.01, nan, "differ"),
        (nan, FLOOR, nan, "unknown"),
    ],
)
def test_a_distance_is_judged_beside_its_floor(ratio: float, floor: float, error: float, level: str):
    assert Agreement(ratio * floor, floor, error).level == level


@pytest.mark.parametrize(
    ("distances", "level", "headline"),
    [
        ({}, "agree", "Samples and simulation agree with the reference and with each other."),
        (
            {"iid": 1.5, "sim": 1.5, "between": 1.5},
            "nearly",
            "Samples and simulation nearly agree with the reference and with each other.",
        ),
        (
            {"sim": 4.0, "between": 3.0},
            "differ",
            "Samples agree with the reference, the simulation does not agree with it; with each other they "
            "do not agree.",
        ),
        (
            {"iid": 3.0, "sim": 3.0},
            "differ",
            "Samples and simulation do not agree with the reference; with each other they agree.",
        ),
        (
            {"between": nan},
            "agree",
            "Samples and simulation agree with the reference.",
        ),
    ],
)
def test_the_headline_tells_samples_simulation_and_both(distances: dict[str, Any], level: str, headline: str):
    found = judged(**distances)
    assert (found.level, found.headline) == (level, headline)


def test_what_is_measured_is_in_units_of_the_floor_with_its_error():
    text = judged(iid=1.1, sim=1.6, between=1.4, error=0.1 * FLOOR).measured
    assert (
        "samples to reference 1.1, simulation to reference 1.6 ± 0.1, samples to simulation 1.4 ± 0.1" in text
    )


def test_chains_tell_no_more_than_independent_frames():
    """A floor by chains that is below that of as many independent frames does not count."""
    found = judged(sim=2.2, between=1.0, floor_sim=FLOOR / 2)
    assert found.level == "agree"
    assert "simulation to reference 1.1" in found.measured


def test_older_metrics_and_single_chains_are_judged_by_what_they_have():
    one = system()
    kept = {kind: one.corrected[kind] for kind in ("iid", "sim", "floor")}
    found = verdict(run({"ala": replace(one, corrected=kept)}), SETUP)
    assert found.headline == "Samples and simulation agree with the reference."
    assert "samples to simulation" not in found.measured
    alone = kept | {"floor_sim": Scores(nan, nan)}
    assert verdict(run({"ala": replace(one, corrected=alone)}), SETUP).level == "agree"


def test_of_several_molecules_it_is_said_in_how_many_and_which_is_farthest():
    text = verdict(
        run({"KS": system(), "AT": system(iid=3.0, sim=5.0), "LW": system(sim=2.5)}), SETUP
    ).measured
    assert "Of 3 molecules samples agree at least nearly in 2, the simulation in 1" in text
    assert "the farthest simulation is AT, 5.0 times its floor away." in text


def test_where_all_agree_nothing_is_to_be_turned():
    assert judged().advice.startswith("Nothing has to be changed.")
    assert judged(sim=1.5).advice.startswith("Good enough where")


@pytest.mark.parametrize("kind", ["chains_left_range", "chains_not_finite"])
def test_chains_that_failed_come_first(kind: str):
    few, many = round(LOST * COUNTS.chains), round(LOST * COUNTS.chains) + 1
    assert "failed" not in judged({kind: few}, iid=9.0).advice
    text = judged({kind: many}, iid=9.0).advice
    assert text.startswith(f"{many} of 1000 chains failed")
    assert "--simulate.timestep 0.002" in text


def test_heat_asks_for_a_shorter_step_or_for_an_energy():
    for sign in (1, -1):
        assert "instead of" not in judged({"kinetic_temperature": 300 * (1 + sign * (HEAT - 0.001))}).advice
        hot = {"kinetic_temperature": 300 * (1 + sign * (HEAT + 0.001))}
        assert "--simulate.timestep 0.002" in judged(hot).advice
        assert "--method both" in judged(hot, replace(SETUP, conservative=False)).advice
    assert judged({"kinetic_temperature": None}).advice.startswith("Nothing")


def test_samples_that_are_wrong_ask_for_training_before_forces_are_looked_at():
    assert "no simulation can be better" in judged(iid=SMALL + 0.1, sim=9.0).advice
    assert "no simulation can be better" not in judged(iid=SMALL - 0.1, sim=9.0).advice


@pytest.mark.parametrize("distances", [{"sim": SMALL + 0.1}, {"between": SMALL + 0.1}])
def test_a_simulation_that_is_wrong_asks_for_what_ties_it_to_the_samples(distances: dict[str, Any]):
    assert "--method both" in judged(setup=replace(SETUP, regularised=False), **distances).advice
    text = judged(**distances).advice
    assert "--simulate.force-time 0.001" in text
    assert "--experts.0.consistency-weight" in text
    later = judged(setup=replace(SETUP, force_time=2e-3), **distances).advice
    assert "--simulate.force-time 0.006" in later
    nearly: dict[str, Any] = dict.fromkeys(distances, SMALL - 0.1)
    assert "force-time" not in judged(**nearly).advice


def modes(learned: Estimate, known: Estimate) -> Structure:
    def of(difference: Estimate) -> FreeEnergy:
        return FreeEnergy([], [], Estimate(nan, nan), Estimate(nan, nan), difference)

    profiles = Profiles("φ of ALA2", "frames", {"reference": of(known), "umbrella": of(learned)})
    return Structure({}, {}, None, None, profiles)


@pytest.mark.parametrize(
    ("learned", "known", "said"),
    [
        (Estimate(3.0 - MODES - 0.1, 0.1), Estimate(3.0, 0.1), f"{exp(MODES + 0.1):.1f} times as often"),
        (Estimate(3.0 + MODES + 0.1, 0.1), Estimate(3.0, 0.1), f"{exp(MODES + 0.1):.1f} times as rarely"),
        (Estimate(3.0 - MODES + 0.1, 0.1), Estimate(3.0, 0.1), ""),
        (Estimate(2.0, 0.6), Estimate(3.0, 0.1), ""),
        (Estimate(2.0, 0.1), Estimate(8.0, nan, at_least=True), ""),
        (Estimate(nan, nan), Estimate(3.0, 0.1), ""),
    ],
)
def test_modes_that_the_energy_weighs_wrong_are_told_although_chains_agree(
    learned: Estimate, known: Estimate, said: str
):
    found = judged(molecule=modes(learned, known))
    assert found.level == "agree"
    assert ("by its own energy" in found.advice.lower()) == bool(said)
    assert said in found.advice
    assert log(2) == MODES


def test_chains_too_short_to_tell_ask_for_longer_ones():
    text = judged(floor_sim=TELLING * 1.1)
    assert text.level == "unknown"
    assert "--simulate.frames" in text.advice
    assert "simulate longer" in text.advice
