"""Results of works whose segments were made up, beside the same numbers computed from all frames at once.

Every number of a result is compared, by works that are made in one way, hence the length.
"""

import pickle
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from fokker.analysis import series
from fokker.analysis.campaign_results import WorkResult
from fokker.analysis.metrics import MUELLER_BROWN, RAMACHANDRAN, histogram, js_divergence, js_floor, pmf_error
from fokker.analysis.reduction import wasserstein
from fokker.analysis.references import Reference
from fokker.analysis.statistics.lost import js_interval
from fokker.analysis.systems import System
from fokker.analysis.transitions import cores_of
from fokker.data.dataset import shards
from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads
from fokker.distributed.campaigns import arrived
from fokker.distributed.campaigns.arrived import Arrived
from fokker.distributed.campaigns.assessment import Stop, examine, passes, reference_of
from fokker.distributed.campaigns.ledger import GIVEN_UP, Ledger
from fokker.distributed.campaigns.segments import (
    LEFT,
    NOT_FINITE,
    Loss,
    Made,
    Segment,
    State,
    Store,
    summarise,
)
from fokker.distributed.campaigns.starts import FromData
from fokker.distributed.campaigns.works import Sampling, Simulation, lanes_of
from fokker.distributed.training import parameters
from fokker.model.config import SampleConfig, SimulateConfig

from ...analysis.points import pmf_histogram, spread_of_parts
from ..conftest import model_of, small_job

TOY = System.particle("toy", 23.0, 0.5)
BEADS = Beads.from_sequence("AKFA", BeadMap.parse("backbone"))
MOLECULE = System.molecule("AKFA", BEADS, [0.3] * len(BEADS.bonds), 300.0)
TRUE = np.array([0.4, 0.3, 0.15, 0.1, 0.05])
OTHER = np.array([0.3, 0.3, 0.2, 0.1, 0.1])
TIMESTEP, STRIDE, SECONDS = 0.002, 5, 3.0


@dataclass(frozen=True)
class Drawn:
    """A work whose frames are given: chains × frames, of which the first are after a burn-in."""

    directory: Path
    system: System
    frames: np.ndarray = field(compare=False, repr=False)
    burn_in: int = 10
    batch: int = 4
    segment: int = 10
    timestep: float = TIMESTEP
    tags: dict[str, str] = field(default_factory=lambda: {"run": "r", "kind": "simulation"})

    @property
    def chains(self) -> int:
        return len(self.frames)

    @property
    def length(self) -> int:
        return self.burn_in + self.frames.shape[1] * STRIDE

    def following(self, first: int, count: int, step: int) -> Segment | None:
        if step >= self.length:
            return None
        ahead = self.burn_in if step < self.burn_in else self.length
        return Segment(first, count, step, min(step + self.segment * STRIDE, ahead))

    def frame_steps(self, segment: Segment) -> range:
        kept = segment.begin >= self.burn_in
        return range(segment.begin + STRIDE, segment.end + 1, STRIDE) if kept else range(0)

    def compute(self, segment: Segment, start: State | None) -> Made:
        """Its frames; a chain is lost where they end to be finite."""
        steps = np.array(self.frame_steps(segment), int)
        rows = self.frames[segment.first : segment.first + segment.count]
        own = rows[:, (steps - self.burn_in) // STRIDE - 1]
        finite, losses = self.system.finite(rows), []
        for place in np.flatnonzero(~finite.all(axis=1)).tolist():
            last = self.burn_in + STRIDE * int(np.argmin(finite[place]))
            if segment.begin <= last < segment.end:
                losses.append(Loss(segment.first + place, last, NOT_FINITE if place % 2 else LEFT))
        heat = np.broadcast_to([[[23.0]], [[0.91 * 23.0]]], (2, *own.shape[:2]))
        return Made(own.astype(np.float32), heat, losses=tuple(losses))


def commit(work: Drawn, steps: int | None = None, lanes: Sequence[int] | None = None) -> Drawn:
    """Segments of all chains, or of those that begin with these, up to a step."""
    for first in range(0, work.chains, work.batch) if lanes is None else lanes:
        count, step = min(work.batch, work.chains - first), 0
        while (segment := work.following(first, count, step)) and segment.end <= (steps or work.length):
            store, step = Store(work.directory), segment.end
            if not store.path(segment).exists():
                made = work.compute(segment, None)
                taken = count * (segment.end - segment.begin)
                store.commit(segment, made, *summarise(made, segment, work.system, taken, SECONDS))
    return work


def points(chains: int, frames: int, seed: int = 0) -> np.ndarray:
    """Around a minimum of the potential."""
    random = np.random.default_rng(seed)
    return random.normal((-0.5, 1.2), 0.3, size=(chains, frames, 2)).astype(np.float32)


def molecules(chains: int, frames: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    found = 0.3 * random.normal(size=(chains, frames, *MOLECULE.shape))
    return (found - found.mean(axis=-2, keepdims=True)).astype(np.float32)


def sticky(chains: int, frames: int, proportions: np.ndarray, seed: int) -> np.ndarray:
    """At places that are far apart, ten frames at each: a tenth of them are independent."""
    random = np.random.default_rng(seed)
    place = random.choice(len(proportions), size=(chains, frames // 10), p=proportions)
    places = np.stack([np.linspace(-1.2, 0.8, len(proportions)), np.linspace(1.5, 0.1, len(proportions))])
    return np.repeat(places.T[place], 10, axis=1).astype(np.float32)


def slow(chains: int, frames: int, seed: int, memory: float = 0.9) -> np.ndarray:
    """Two autoregressive processes along x and y, of unit variance times 0.3², from equilibrium."""
    random = np.random.default_rng(seed)
    found = random.normal(size=(chains, frames, 2))
    for frame in range(1, frames):
        found[:, frame] = memory * found[:, frame - 1] + np.sqrt(1 - memory**2) * found[:, frame]
    return (0.3 * found + (-0.5, 1.2)).astype(np.float32)


def reference_from(system: System, frames: np.ndarray, **more) -> Reference:
    """Of trajectories."""
    flat, block = frames.reshape(-1, *system.shape), 37
    return Reference.of(
        system,
        lambda: (flat[begin : begin + block] for begin in range(0, len(flat), block)),
        [frames.shape[1]] * len(frames),
        **more,
    )


def assess(*what: Any, **more: Any) -> WorkResult:
    """What is known of a work, without the sums."""
    return examine(*what, **more)[0]


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Numbers and words of a result by their dotted names."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if is_list(value) else None
    if parts is None:
        yield name, value
    else:
        for key, part in parts:
            yield from flat(part, f"{name}.{key}")


def is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def assert_same(one: WorkResult, other: WorkResult, but: Sequence[str] = ()) -> None:
    """Numbers that are none are the same too."""
    known, found = (
        {k: v for k, v in flat(asdict(each)) if k.split(".")[1] not in but} for each in (one, other)
    )
    assert found.keys() == known.keys()
    for name, value in known.items():
        near = pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True) if isinstance(value, float) else value
        assert found[name] == near, name


# Comparisons


def test_a_particle_is_compared_as_if_all_frames_were_held(tmp_path: Path):
    work = commit(Drawn(tmp_path, TOY, points(9, 35)))
    trajectories = points(12, 50, 1)
    result = assess(work, reference_from(TOY, trajectories))
    p, q = (np.stack([histogram(x, MUELLER_BROWN) for x in of]) for of in (work.frames, trajectories))
    (one,), mean = result.projections.values(), result.mean
    assert one.against == mean
    assert mean is not None
    assert mean.js.value == pytest.approx(js_divergence(p.sum(axis=0), q.sum(axis=0)))
    a, b = (pmf_histogram(of.reshape(-1, 2), MUELLER_BROWN) for of in (trajectories, work.frames))
    assert mean.pmf.value == pytest.approx(pmf_error(a, b))
    assert mean.floor_spread == pytest.approx(js_floor(spread_of_parts(q), spread_of_parts(p)))
    assert mean.floor_effective > 0
    assert mean.js_without_lost == mean.js
    assert mean.js_interval == pytest.approx((mean.js.value,) * 2)
    assert (result.frames, result.chains, result.missing, result.lost) == (9 * 35, 9, 0.0, {})
    assert (result.bonds, result.distances, result.phi_positive, result.time_unit) == ({}, {}, None, "")


def test_a_molecule_is_compared_by_every_residue_and_length(tmp_path: Path):
    work = commit(Drawn(tmp_path, MOLECULE, molecules(8, 30)))
    trajectories = 1.2 * molecules(10, 40, 1)
    reference = reference_from(MOLECULE, trajectories)
    result, totals = examine(work, reference)
    every = []
    for projection in MOLECULE.projections:
        of = [projection(each.reshape(-1, *MOLECULE.shape)) for each in (work.frames, trajectories)]
        js = js_divergence(*(histogram(each, RAMACHANDRAN) for each in of))
        against = result.projections[projection.name].against
        assert against is not None
        assert against.js.value == pytest.approx(js)
        every.append(against)
    assert result.mean is not None
    for name in ("js", "pmf", "js_without_lost"):
        mean = np.mean([getattr(one, name).value for one in every])
        assert getattr(result.mean, name).value == pytest.approx(mean), name
    assert result.mean.js.corrected == pytest.approx(np.mean([one.js.corrected for one in every]))
    errors = [one.js.error for one in every]
    assert np.linalg.norm(errors) / len(errors) / 3 < result.mean.js.error < np.mean(errors)
    assert [*result.bonds] == [label for label, _ in MOLECULE.bonds]
    assert [*result.distances] == [label for label, _ in MOLECULE.far_pairs]
    lengths = result.bonds | result.distances
    for number, (label, (a, b)) in enumerate(MOLECULE.pairs):
        found, w1 = lengths[label], lengths[label].w1
        for kind, frames in (("", work.frames), ("reference_", trajectories)):
            apart = np.linalg.norm(frames[:, :, a].astype(float) - frames[:, :, b], axis=-1)
            assert getattr(found, f"{kind}mean") == pytest.approx(apart.mean())
            assert getattr(found, f"{kind}spread") == pytest.approx(apart.std())
        assert w1 is not None
        assert w1.value == pytest.approx(wasserstein(totals, reference.totals, number))
        assert w1.error > 0
    assert result.phi_positive is not None
    assert result.phi_positive["simulation"] == pytest.approx((MOLECULE.phi(work.frames) > 0).mean())


def test_errors_are_the_spread_of_repetitions_and_the_corrected_js_has_no_bias(tmp_path: Path):
    """Of chains whose frames depend on each other."""
    reference = reference_from(TOY, sticky(40, 1000, TRUE, 99))
    found = []
    for seed in range(100):
        work = Drawn(tmp_path / str(seed), TOY, sticky(24, 60, OTHER, seed), batch=12, segment=60)
        mean = assess(commit(work), reference, whole=False).mean
        assert mean is not None
        found.append(mean)
    for name in ("js", "pmf"):
        values, errors = (
            np.array([getattr(getattr(one, name), of) for one in found]) for of in ("value", "error")
        )
        assert np.sqrt(np.mean(errors**2)) == pytest.approx(values.std(ddof=1), rel=0.25), name
    values, corrected = (np.array([getattr(one.js, of) for one in found]) for of in ("value", "corrected"))
    counts = ((1000 * each).astype(int) for each in (OTHER, TRUE))
    truth, standard_error = js_divergence(*counts), values.std() / 10
    assert values.mean() - truth > 3 * standard_error
    assert abs(corrected.mean() - truth) < 2 * standard_error


def test_floors_are_the_js_of_sets_of_one_distribution(tmp_path: Path):
    reference = reference_from(TOY, sticky(60, 100, TRUE, 99))
    found = []
    for seed in range(60):
        work = Drawn(tmp_path / str(seed), TOY, sticky(30, 100, TRUE, seed), batch=15, segment=100)
        mean = assess(commit(work), reference, whole=False).mean
        assert mean is not None
        found.append((mean.js.value, mean.floor_spread, mean.floor_effective))
    js, spread, effective = np.mean(found, axis=0)
    assert spread == pytest.approx(js, rel=0.25)
    assert effective == pytest.approx(js, rel=0.35)


def test_without_a_reference_nothing_is_compared(tmp_path: Path):
    for system, frames in ((TOY, points(8, 20)), (MOLECULE, molecules(8, 20))):
        result = assess(commit(Drawn(tmp_path / system.name, system, frames)), None)
        assert result.mean is None
        assert result.course is None
        for one in result.projections.values():
            assert one.against is None
            assert one.ess > 0
        for length in (result.bonds | result.distances).values():
            assert (length.reference_mean, length.w1) == (None, None)
            assert length.mean > 0


def test_works_without_segments_or_with_their_burn_in_alone_have_no_frames(tmp_path: Path):
    work = Drawn(tmp_path, TOY, points(8, 20))
    reference = reference_from(TOY, points(9, 30))
    for until, chains in ((None, 0), (10, 8)):
        if until:
            commit(work, until)
        result = assess(work, reference)
        assert (result.frames, result.chains, result.until) == (0, chains, until or 0)
        assert result.mean is None
        assert np.isnan([result.ess, result.rhat]).all()
        assert len(passes(result, Stop())) == 3


# Which segments


def test_what_ended_later_is_not_in_it(tmp_path: Path):
    frames = points(8, 40)
    reference = reference_from(TOY, points(9, 30, 1))
    whole = commit(Drawn(tmp_path / "whole", TOY, frames))
    half = commit(Drawn(tmp_path / "half", TOY, frames[:, :20]))
    # What would end after 110 and before 160 is not there.
    for until in (110, 111, 159):
        result = assess(whole, reference, until)
        assert result.until == until
        assert_same(assess(half, reference), result, ["until"])
    assert assess(whole, reference, 160).frames == 8 * 30
    assert assess(half, reference).until == 110


def test_the_size_of_segments_and_of_blocks_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    frames, reference = molecules(6, 24), reference_from(MOLECULE, molecules(5, 30, 1))
    found = []
    for name, size, block, together in (("one", 24, 2**14, 16), ("many", 5, 7, 2)):
        monkeypatch.setattr("fokker.distributed.campaigns.segments.BLOCK", block)
        monkeypatch.setattr(arrived, "TOGETHER", together)
        work = commit(Drawn(tmp_path / name, MOLECULE, frames, segment=size))
        found.append(assess(work, reference))
    one, many = found
    assert one.course != many.course
    assert_same(one, many, ["seconds", "course"])


def test_a_round_is_what_all_chains_have_come_to(tmp_path: Path):
    work = Drawn(tmp_path, TOY, points(10, 30))
    assert Arrived(commit(work, lanes=[0, 8])).rounds() == []
    assert Arrived(commit(work, 60, lanes=[4])).rounds() == [10, 60]
    Ledger(Store(tmp_path)).failed(Segment(4, 4, 60, 110), "out of memory", given_up=True)
    assert Arrived(work).rounds() == [10, 60, 110, 160]
    assert Arrived(commit(work)).rounds() == [10, 60, 110, 160]


@pytest.mark.parametrize(
    ("there", "lanes"),
    [
        ([], [(0, 4), (4, 4), (8, 2)]),
        ([(0, 4)], [(0, 4), (4, 4), (8, 2)]),
        ([(8, 2), (0, 4)], [(0, 4), (4, 4), (8, 2)]),
        ([(4, 4)], [(0, 4), (4, 4), (8, 2)]),
        ([(0, 3)], [(0, 3), (3, 1), (4, 4), (8, 2)]),
        ([(0, 3), (8, 2)], [(0, 3), (3, 1), (4, 4), (8, 2)]),
        ([(0, 4), (4, 4), (8, 4)], [(0, 4), (4, 4), (8, 4)]),
    ],
)
def test_batches_that_are_missing_between_others_are_found(tmp_path: Path, there, lanes):
    """A driver that is killed leaves gaps: batches are committed in any order."""
    assert [*lanes_of(Drawn(tmp_path, TOY, points(10, 1)), there)] == lanes


def test_while_chains_are_at_different_steps_the_frames_of_all_count(tmp_path: Path):
    work = commit(commit(Drawn(tmp_path, TOY, points(8, 40)), 160), lanes=[0])
    result = assess(work, reference_from(TOY, points(9, 30, 1)))
    assert result.frames == 4 * 40 + 4 * 30
    (one,) = result.projections.values()
    assert [(axis.chains, axis.draws) for axis in one.axes.values()] == [(8, 30)] * 2
    assert result.missing == 0


def test_the_course_is_the_result_at_each_round(tmp_path: Path):
    work, reference = commit(Drawn(tmp_path, TOY, points(8, 40))), reference_from(TOY, points(9, 30, 1))
    course = assess(work, reference).course
    assert course is not None
    steps = [60, 110, 160, 210]
    assert course.time == pytest.approx([TIMESTEP * step for step in steps])
    for step, js, error in zip(steps, course.js, course.errors, strict=True):
        mean = assess(work, reference, step).mean
        assert mean is not None
        assert (js, error) == pytest.approx((mean.js.value, mean.js.error))


# Lost chains


def lossy() -> np.ndarray:
    frames = points(8, 40)
    frames[2, 25:] = np.nan
    frames[5, 7:] = np.nan
    return frames


def test_lost_chains_count_with_what_they_had_and_are_left_out_of_the_rest(tmp_path: Path):
    frames, reference = lossy(), reference_from(TOY, points(9, 30, 1))
    result = assess(commit(Drawn(tmp_path / "a", TOY, frames)), reference)
    assert result.lost == {LEFT: 1, NOT_FINITE: 1}
    assert result.missing == pytest.approx((15 + 33) / 320)
    assert result.frames == 320 - 48
    assert result.time == pytest.approx(TIMESTEP * (6 * 210 + (10 + 125) + (10 + 35)))
    kept = frames[~np.isnan(frames).any(axis=-1)]
    mean = result.mean
    assert mean is not None
    assert mean.js.value == pytest.approx(
        js_divergence(histogram(kept, MUELLER_BROWN), reference.totals.js[0])
    )
    assert mean.js_interval == js_interval(mean.js.value, result.missing)
    assert mean.js_interval[0] < mean.js.value < mean.js_interval[1]
    others = np.delete(frames, [2, 5], axis=0)
    without = assess(commit(Drawn(tmp_path / "b", TOY, others, batch=3)), reference)
    assert without.mean is not None
    assert mean.js_without_lost == without.mean.js
    (one,), (other,) = result.projections.values(), without.projections.values()
    assert one.axes == other.axes
    assert result.kinetic_temperature == pytest.approx(23.0)


def test_before_they_are_lost_chains_are_not(tmp_path: Path):
    result = assess(commit(Drawn(tmp_path, TOY, lossy())), None, until=110)
    assert result.lost == {NOT_FINITE: 1}
    assert result.missing == pytest.approx(13 / 160)


def test_given_up_chains_are_lost_where_the_others_go_on(tmp_path: Path):
    work = commit(commit(Drawn(tmp_path, TOY, lossy()), lanes=[0]), 110, lanes=[4])
    Ledger(Store(tmp_path)).failed(Segment(4, 4, 110, 160), "no result within 9 s", given_up=True)
    reference = reference_from(TOY, points(9, 30, 1))
    result = assess(work, reference)
    assert result.lost == {LEFT: 1, NOT_FINITE: 1, GIVEN_UP: 3}
    assert result.missing == pytest.approx((15 + 13 + 80) / 320)
    assert result.mean is not None
    (one,) = result.projections.values()
    assert [axis.chains for axis in one.axes.values()] == [3, 3]
    early = assess(work, reference, until=110)
    assert early.lost == {NOT_FINITE: 1}, "until then they were not lost"
    assert assess(commit(work), reference).lost == {LEFT: 1, NOT_FINITE: 1}, "they were tried again"


def test_chains_that_were_given_up_at_their_start_are_lost(tmp_path: Path):
    work = commit(Drawn(tmp_path, TOY, points(8, 40)), lanes=[0])
    Ledger(Store(tmp_path)).failed(Segment(4, 4, 0, 10), "out of memory", given_up=True)
    result = assess(work, reference_from(TOY, points(9, 30, 1)))
    assert (result.chains, result.lost, result.missing) == (8, {GIVEN_UP: 4}, 0.5)


def test_where_all_chains_are_lost_there_is_no_js_without_them(tmp_path: Path):
    frames = points(4, 20)
    frames[:, 12:] = np.nan
    result = assess(commit(Drawn(tmp_path, TOY, frames)), reference_from(TOY, points(9, 30, 1)))
    assert result.mean is not None
    assert np.isnan(result.mean.js_without_lost.value)
    assert result.mean.js.value > 0
    assert np.isnan(result.ess)
    assert result.kinetics is None


# Convergence, heat, cost


def test_heat_and_cost_are_those_of_the_summaries(tmp_path: Path):
    result = assess(commit(Drawn(tmp_path, TOY, points(8, 40))), None)
    assert (result.temperature, result.kinetic_temperature) == (23.0, pytest.approx(23.0))
    assert result.step_temperature == pytest.approx(0.91 * 23)
    assert result.rms_omega_dt == pytest.approx(2 * np.sqrt(0.09))
    assert (result.steps, result.evaluations) == (8 * 210, 8 * 210)
    assert result.seconds == 2 * 5 * SECONDS
    assert result.ess_per_hour == pytest.approx(result.ess / result.seconds * 3600)
    assert result.ess_per_million == pytest.approx(result.ess / 1680 * 1e6)
    assert result.tags["kind"] == "simulation"


def test_samples_are_independent_frames_without_time(tmp_path: Path):
    work = commit(Drawn(tmp_path, TOY, points(40, 1), burn_in=0, batch=20, segment=1))
    result = assess(work, reference_from(TOY, points(9, 30, 1), spacing=1.0, cores=cores_of(TOY)))
    assert result.ess == 40
    assert np.isnan(result.rhat)
    assert result.kinetics is None
    assert result.mean is not None
    assert result.mean.js.error > 0


@pytest.mark.parametrize("most", [{"MOST_DRAWS": 200}, {"MOST_NUMBERS": 400}])
def test_of_many_frames_convergence_sees_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: dict):
    work = commit(Drawn(tmp_path, TOY, slow(8, 100, 0, 0.99), segment=33))
    every = assess(work, None)
    for name, value in most.items():
        monkeypatch.setattr(series, name, value)
    some = assess(work, None)
    assert (every.stride, some.stride) == (1, 4)
    (one,), (other,) = every.projections.values(), some.projections.values()
    assert [(axis.chains, axis.draws) for axis in other.axes.values()] == [(8, 25)] * 2
    assert one.ess == pytest.approx(other.ess, rel=0.3)


def test_conditions_that_do_not_hold_are_named(tmp_path: Path):
    work = commit(Drawn(tmp_path, MOLECULE, molecules(8, 60)))
    result = assess(work, reference_from(MOLECULE, molecules(9, 60, 1)))
    assert result.time_unit == "ps"
    first, *others = result.projections
    assert passes(result, Stop(error=1.0, min_ess=100.0, rhat=1.1)) == []
    assert passes(result, Stop(metric="pmf", error=1e-9, min_ess=1.0, rhat=2.0))[0].startswith(
        "the error of pmf is"
    )
    assert len(passes(result, Stop(error=None, min_ess=1e9, rhat=2.0))) == len(result.projections)
    (line,) = passes(result, Stop(error=None, min_ess=1e9, rhat=2.0, observable=first))
    assert line.startswith(f"ESS of {first} is")
    assert line.endswith("below 1e+09")
    bare = assess(work, None)
    assert passes(bare, Stop(min_ess=1.0, rhat=2.0)) == ["js has no error: there is no reference"]
    with pytest.raises(ValueError, match=f"AKFA has no observable x: it has {first}, {others[0]}"):
        passes(result, Stop(observable="x"))


def test_a_reference_is_a_split_of_a_dataset(tmp_path: Path):
    system = replace(TOY, name="mueller-brown")
    known = [{"name": "", "split": "train", "frames": 50, "spacing": 0.1}] * 10
    frames = points(10, 50, 1).reshape(-1, 2)
    shards.write_system(tmp_path, system.name, {"trajectories": known}, {"train": frames})
    shards.finish(tmp_path, {"name": system.name}, [system.name])
    reference = reference_of(tmp_path, "train", system)
    assert len(reference.reductions) == len(reference.states) == 10
    assert reference.totals.frames == 500
    assert reference.spacing == 0.1
    assert reference.ess[0] == pytest.approx(500, rel=0.3)
    # One that does not say what it consists of.
    shards.write(tmp_path, {"name": system.name}, {"train": frames})
    untold = reference_of(tmp_path, "train", system)
    assert (len(untold.reductions), untold.states, untold.spacing) == (1, (), None)


def test_simulations_and_samples_of_a_model_are_assessed_as_they_arrive(data: Path, tmp_path: Path):
    jobs = [small_job(tmp_path / "experts" / str(index), data, index) for index in (0, 1)]
    for job in jobs:
        job.directory.mkdir(parents=True)
        parameters.save(job.directory, job.load()[1].init(jax.random.key(0)))
    system, model = System.particle("gaussian", 2.0, 0.5), model_of(jobs)
    settings = SimulateConfig(frames=400, chains=40, chunk=20, stride=5, burn_in=10, timestep=0.02, segment=5)
    sample = SampleConfig(samples=40, chunk=20, evaluations=6)
    places, more = (model, "run", system), {"seed": 3, "identity": "test"}
    simulation = Simulation(*places, FromData(data, "train"), settings, tmp_path / "simulate", **more)
    sampling = Sampling(*places, sample, tmp_path / "sample", **more)
    reference = reference_of(data, "train", system)
    for work, frames, steps in ((simulation, 400, 60), (sampling, 40, 6)):
        for first, count in lanes_of(work, ()):
            state, step = None, 0
            while segment := work.following(first, count, step):
                made, taken = work.compute(segment, state), count * (segment.end - segment.begin)
                counted = summarise(made, segment, system, taken, SECONDS)
                Store(work.directory).commit(segment, made, *counted)
                state, step = made.end, segment.end
                assert assess(work, reference).until == max(step, steps if first else 0)
        result = assess(work, reference)
        assert (result.frames, result.chains, result.evaluations) == (frames, 40, 40 * steps)
        assert result.mean is not None
        assert result.mean.js.value > 0
        assert result.mean.js.error > 0
        assert (result.kinetic_temperature is None) == (work is sampling)
        assert Arrived(work).rounds()[-1] == steps


def test_a_reference_travels_to_other_processes(tmp_path: Path):
    work = commit(Drawn(tmp_path, MOLECULE, molecules(8, 20)))
    reference = reference_from(MOLECULE, molecules(9, 30, 1), spacing=1.0, cores=cores_of(MOLECULE))
    assert_same(assess(work, reference), assess(work, pickle.loads(pickle.dumps(reference))))


def test_frames_are_held_a_block_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fokker.distributed.campaigns.segments.BLOCK", 2**10)
    for name in ("MOST_DRAWS", "MOST_STATES"):
        monkeypatch.setattr(series, name, 2**12)
    peaks = []
    for chains in (10, 100):
        frames = np.repeat(sticky(chains, 100, TRUE, 0), 100, axis=1)
        work = commit(Drawn(tmp_path / str(chains), TOY, frames, batch=10, segment=5000))
        reference = reference_from(TOY, sticky(9, 30, TRUE, 1))
        tracemalloc.start()
        result = assess(work, reference, whole=False)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert result.frames == chains * 10_000
    assert peaks[1] < 1.5 * peaks[0] < frames.nbytes


# Kinetics


def jumps(chains: int, frames: int, rate: float, seed: int) -> np.ndarray:
    """Between the two deep minima, with a chance each frame."""
    random = np.random.default_rng(seed)
    state = (
        random.integers(2, size=(chains, 1)) + np.cumsum(random.random((chains, frames)) < rate, axis=1)
    ) % 2
    centres = np.array([[-0.558, 1.442], [0.623, 0.028]])
    return (centres[state] + 0.02 * random.normal(size=(chains, frames, 2))).astype(np.float32)


def test_kinetics_are_those_of_jumps_and_are_compared_at_fractions_of_t2(tmp_path: Path):
    pytest.importorskip("deeptime")
    cores = cores_of(TOY)
    frames = jumps(20, 1000, 0.02, 0)
    frames[7, 500:] = np.nan
    work = commit(Drawn(tmp_path, TOY, frames, batch=10, segment=500))
    spacing = STRIDE * TIMESTEP
    reference = reference_from(TOY, jumps(20, 1000, 0.005, 1), spacing=1.0, cores=cores)
    found = assess(work, reference).kinetics
    assert found is not None
    assert found.reference is not None
    assert found.note is None
    for rate in found.model.rates.values():
        assert rate.value == pytest.approx(0.02 / spacing, rel=0.15)
        assert rate.low < 0.02 / spacing < rate.high
        assert rate.first_passage == pytest.approx(1 / rate.value)
    total = sum(rate.time for rate in found.model.rates.values())
    assert total == pytest.approx(19 * 999 * spacing)
    assert found.model.slowest == pytest.approx(spacing / -np.log(1 - 2 * 0.02), rel=0.2)
    assert found.ratio == pytest.approx(found.model.slowest / found.reference.slowest)
    assert found.ratio == pytest.approx(spacing * 0.005 / 0.02, rel=0.3)
    assert max(found.distances) < 0.1
    alone = assess(work, None).kinetics
    assert alone is not None
    assert (alone.model, alone.reference, alone.ratio) == (found.model, None, None)


def test_modes_of_a_peptide_are_told_by_phi_away_from_the_barriers(tmp_path: Path):
    """Frames of the torsion that a random molecule has, in either mode or between them."""
    pool = molecules(1, 20_000)[0]
    phi = np.degrees(MOLECULE.phi(pool))
    modes = ((phi > -150) & (phi < -40), (phi > 40) & (phi < 80), (phi > -20) & (phi < 20))
    left, right, between = (pool[np.flatnonzero(mode)[:60]] for mode in modes)
    visits = [left[:20], between[:20], left[20:40], between[20:40], right[:20], between[40:], left[40:]]
    chain = np.concatenate(visits)
    found = assess(commit(Drawn(tmp_path, MOLECULE, np.stack([chain] * 4))), None).kinetics
    assert found is not None
    assert [(name, rate.count) for name, rate in found.model.rates.items()] == [
        ("φ −150° to −40° to φ 40° to 80°", 4),
        ("φ 40° to 80° to φ −150° to −40°", 4),
    ]
    away, back = found.model.rates.values()
    assert (away.time, back.time) == pytest.approx(
        tuple(4 * count * STRIDE * TIMESTEP for count in (80 + 19, 40))
    )


def test_transitions_that_were_not_seen_have_a_rate_below_three_by_the_time(tmp_path: Path):
    frames = jumps(4, 50, 0.0, 0)
    frames[:] = frames[:1]
    found = assess(commit(Drawn(tmp_path, TOY, frames)), None).kinetics
    assert found is not None
    seen = [rate for rate in found.model.rates.values() if rate.time]
    assert len(seen) == 1
    assert (seen[0].count, seen[0].low) == (0, 0)
    assert seen[0].below == pytest.approx(3 / seen[0].time, rel=0.01)
    assert np.isinf(seen[0].first_passage)


def test_without_deeptime_a_line_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "deeptime.markov", None)
    work = commit(Drawn(tmp_path, TOY, jumps(4, 100, 0.1, 0)))
    reference = reference_from(TOY, jumps(4, 100, 0.1, 1), spacing=1.0, cores=cores_of(TOY))
    found = assess(work, reference).kinetics
    assert found is not None
    assert found.note is not None
    assert found.note.startswith("implied timescales need the package deeptime")
    assert (found.model.timescales, found.ratio) == ([], None)
    assert all(rate.count > 0 for rate in found.model.rates.values())


def test_the_summary_up_to_a_step_is_of_its_segments(tmp_path: Path):
    work = commit(Drawn(tmp_path, TOY, points(8, 40)))
    assert Arrived(work, 110).summary().frames == 8 * 20
    assert Arrived(work, 110).end == 110
