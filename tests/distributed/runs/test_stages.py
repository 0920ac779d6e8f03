"""Stages refuse to begin without what they need, and evaluate counts what a run holds."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import ray
from rich.console import Console

from fokker.analysis import results
from fokker.analysis.metrics import MUELLER_BROWN, histogram, js_floor
from fokker.analysis.results import FrameCounts, RunResult
from fokker.data.dataset import shards
from fokker.data.files import write_json
from fokker.distributed.campaigns.segments import NOT_FINITE, Loss, Made, Segment, Store, summarise
from fokker.distributed.campaigns.works import lanes_of
from fokker.distributed.runs import evaluate, stages
from fokker.distributed.runs.chosen import Chosen
from fokker.distributed.runs.config import to_dict
from fokker.distributed.runs.display import Display
from fokker.distributed.runs.presets import PRESETS, TRAINED
from fokker.distributed.runs.results import Origin
from fokker.distributed.runs.run import Run, StageError
from fokker.distributed.runs.stages import STAGES
from fokker.distributed.training import parameters

from ...analysis.points import compare, spread_of_parts

PRESET = PRESETS["mueller-brown"]("both", "fokker")
CONFIG = replace(
    PRESET,
    data=replace(PRESET.data, frames=500, chains=100),
    sample=replace(PRESET.sample, samples=200, chunk=100),
    simulate=replace(PRESET.simulate, frames=400, chains=40, chunk=20),
)
NAN, INF = float("nan"), float("inf")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(CONFIG, tmp_path)


@pytest.fixture(autouse=True)
def _without_ray():
    """Nothing here needs a cluster, which would be slow to start for a refusal."""
    before = ray.is_initialized()
    yield
    assert ray.is_initialized() == before


def stage(name: str, run: Run) -> str:
    display = Display(Console(file=io.StringIO(), width=80))
    STAGES[name]([run], display)
    assert isinstance(display.console.file, io.StringIO)
    return display.console.file.getvalue()


def points(count: int, seed: int) -> np.ndarray:
    """Around the deepest minimum of the potential."""
    return np.random.default_rng(seed).normal((-0.6, 1.4), 0.2, size=(count, 2)).astype(np.float32)


def give_data(run: Run, **source) -> None:
    splits = {"train": points(500, 0), "reference": points(500, 1)}
    shards.write(run.data, {"name": "mueller-brown"} | source, splits)


def give_experts(run: Run) -> None:
    for job in run.jobs:
        job.directory.mkdir(parents=True)
        parameters.save(job.directory, {"kernel": np.zeros(2)})


def give_results(run: Run, samples: np.ndarray, frames: np.ndarray, temperatures=(23.0, 23.0)) -> None:
    """Two chunks each: single frames of 100 chains, and ten frames of 20 chains; and the data."""
    give_data(run)
    trained = all(job.trained for job in run.jobs)
    origin = run.origin if trained else Origin("model", shards.Dataset(run.data).fingerprint, 0, "train")
    (sampling,) = run.sampling(run.samples.ask(run.config.sample, origin))
    (simulation,) = run.simulation(run.simulations.ask(run.config.simulate, origin))
    for work, batches, heat in (
        (sampling, samples.reshape(2, 100, 1, 2), (0.0, 0.0)),
        (simulation, frames.reshape(2, 20, 10, 2), temperatures),
    ):
        for (first, count), batch, kT in zip(lanes_of(work, ()), batches, heat, strict=True):
            both = np.broadcast_to([[[kT]], [[0.91 * kT]]], (2, *batch.shape[:2]))
            segment, left = Segment(first, count, 0, work.length), (~work.system.physical(batch)).any(axis=1)
            lost = np.flatnonzero(~work.system.finite(batch).all(axis=1)).tolist()
            losses = tuple(Loss(first + number, 0, NOT_FINITE) for number in lost)
            made = Made(batch, both, left=int(left.sum()), losses=losses)
            counted = summarise(made, segment, work.system, steps=1, seconds=1.0)
            Store(work.directory).commit(segment, made, *counted)


def result_of(run: Run) -> RunResult:
    chosen = Chosen.of(run, "evaluate")
    return evaluate._result(chosen, evaluate.sets_of(chosen))


# Order


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("train", r"train: .*/data is not there, run `fokker data` first"),
        ("sample", r"sample: expert 0-0\.1 is not trained to its end, run `fokker train` first"),
        ("simulate", r"simulate: expert 0-0\.1 is not trained to its end, run `fokker train` first"),
        ("evaluate", r"evaluate: .*/data is not there, run `fokker data` first"),
        ("report", r"report: .*/data is not there, run `fokker data` first"),
    ],
)
def test_a_stage_needs_the_one_before(run: Run, name: str, line: str):
    with pytest.raises(StageError, match=rf"^{line}$"):
        stage(name, run)
    assert [*run.directory.iterdir()] == []


def test_sampling_needs_the_last_expert_too(run: Run):
    give_experts(run)
    (run.jobs[2].directory / parameters.FILE).unlink()
    with pytest.raises(StageError, match=r"expert 0\.6-1 is not trained to its end"):
        stage("sample", run)


@pytest.mark.parametrize("missing", ["sample", "simulate"])
def test_evaluation_needs_every_segment(run: Run, missing: str):
    give_results(run, points(200, 2), points(400, 3))
    _, last = sorted((run.directory / missing / "1" / "mueller-brown").glob("*.npz"))
    last.unlink()
    with pytest.raises(
        StageError, match=rf"/{missing}/1/.*/chains-.*\.npz is missing, run `fokker {missing}`"
    ):
        stage("evaluate", run)


@pytest.mark.parametrize(
    "metrics",
    [None, "", "{}", '{"made_from": {"sample": {"result": 1, "frames": {"mueller-brown": "of others"}}}}'],
)
def test_metrics_of_other_samples_are_not_reported_however_new(run: Run, metrics: str | None):
    give_results(run, points(200, 2), points(400, 3))
    if metrics is not None:
        (run.directory / "metrics.json").write_text(metrics)
    line = r"metrics\.json is missing or not of samples 1, simulation 1: run `fokker evaluate` first"
    with pytest.raises(StageError, match=line):
        stage("report", run)


def test_data_of_other_settings_are_refused(run: Run):
    give_data(run, settings={"frames": 7})
    with pytest.raises(StageError, match=r"/data was made with other settings: take another --name"):
        stage("data", run)


def test_data_made_before_a_setting_existed_are_those_of_its_default(run: Run):
    settings = to_dict(run.config)["data"]
    assert settings.pop("burn_in") == 20_000
    give_data(run, settings=settings)
    assert "skipped: " in stage("data", run)
    changed = replace(run.config, data=replace(run.config.data, burn_in=9))
    with pytest.raises(StageError, match=r"/data was made with other settings"):
        stage("data", Run(changed, run.directory))


def test_references_of_peptides_that_are_judged_are_longer(tmp_path: Path):
    config = PRESETS["dipeptides-small"]("both", "fokker")
    *trained, first, second = stages.references(Run(config, tmp_path))
    assert {one.config for one in trained} == {config.reference}
    assert first.config == second.config == replace(trained[0].config, production=12.0, frames=11_000)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("train", "skipped: 3 experts are trained"),
        ("sample", "skipped: 2 segments are there"),
        ("simulate", "skipped: 2 segments are there"),
    ],
)
def test_what_is_done_is_skipped(run: Run, name: str, text: str):
    give_experts(run)
    give_results(run, points(200, 2), points(400, 3))
    assert stage(name, run) == f"{name:<10}{text}\n"


# Metrics


def test_metrics_compare_the_finite_frames_and_count_the_others(run: Run):
    give_data(run)
    samples, frames = points(200, 2), points(400, 3)
    samples[7] = NAN
    frames[35] = (INF, 0.0)  # The sixth frame of the fourth chain.
    frames[36] = (9.0, 0.0)  # The same chain has left.
    frames[215] = (-9.0, 0.0)
    give_results(run, samples, frames, temperatures=(20.0, 30.0))
    result = result_of(run)
    reference = points(500, 0)
    for kind, kept in (
        ("iid", np.delete(samples, 7, axis=0)),
        ("sim", np.delete(frames, 35, axis=0)),
        # As many as there are finite samples.
        ("floor", np.random.default_rng(0).choice(points(500, 1), 199, replace=False)),
    ):
        expected = compare(reference, kept, MUELLER_BROWN)
        assert (result.paper[kind], result.corrected[kind]) == (expected.paper, expected.corrected)
    assert result.sample == FrameCounts(
        frames=200, frames_not_finite=1, chains=200, chains_left_range=1, chains_not_finite=1
    )
    assert vars(result.simulate) == {
        "frames": 400,
        "frames_not_finite": 1,
        "chains": 40,
        "chains_left_range": 2,
        "chains_not_finite": 1,
        "temperature": 23.0,
        "kinetic_temperature": pytest.approx((199 * 20.0 + 200 * 30.0) / 399),
        "step_temperature": pytest.approx(0.91 * (199 * 20.0 + 200 * 30.0) / 399),
        "largest_omega_dt": None,
        "inner_steps": 1,
        "start": "frames of the data",
    }
    assert result.simulate.rms_omega_dt == pytest.approx(2 * np.sqrt(0.09))


def test_a_run_tells_the_floor_of_its_simulation_from_the_chains_of_both(run: Run):
    """Müller-Brown's data are chains too, one after another: 100 of 5 frames."""
    frames = points(400, 3)
    frames[:] = np.repeat(frames[::10], 10, axis=0)  # Chains that stand still: 40 frames, not 400.
    give_results(run, points(200, 2), frames)
    found = result_of(run)
    parts = (
        spread_of_parts(np.stack([histogram(part, MUELLER_BROWN) for part in of]))
        for of in (points(500, 0).reshape(100, 5, 2), frames.reshape(40, 10, 2))
    )
    own = found.corrected["floor_sim"].js
    assert own == pytest.approx(js_floor(*parts))
    independent = (
        spread_of_parts(histogram(of, MUELLER_BROWN)[None]) for of in (points(500, 0), points(400, 3))
    )
    assert own > js_floor(*independent)
    assert "floor_sim" not in found.paper


def test_the_largest_step_of_all_systems_is_that_of_the_run(run: Run):
    give_results(run, points(200, 2), points(400, 3))
    one = result_of(run)
    (system,) = one.systems.values()
    found = evaluate._with_margins(replace(one, systems={"a": system, "b": system}), {"a": 0.5, "b": 1.25})
    assert found.simulate.largest_omega_dt == 1.25
    assert [part.simulate.largest_omega_dt for part in found.systems.values()] == [0.5, 1.25]


@pytest.mark.parametrize("lost", ["sample", "simulate"])
def test_results_without_a_finite_frame_are_an_error_in_words(run: Run, lost: str):
    give_data(run)
    samples, frames = points(200, 2), points(400, 3)
    (samples if lost == "sample" else frames)[:] = NAN
    give_results(run, samples, frames)
    with pytest.raises(StageError, match=rf"/{lost} holds no finite frame: .*{lost}\.\*"):
        result_of(run)


def test_a_temperature_that_is_not_finite_is_null_for_programs(run: Run):
    give_data(run)
    give_results(run, points(200, 2), points(400, 3), temperatures=(NAN, 30.0))
    path = run.directory / "metrics.json"
    write_json(path, results.to_json(result_of(run)))
    counts = json.loads(path.read_text())["simulate"]
    assert [counts[name] for name in ("kinetic_temperature", "step_temperature")] == [None, None]
    assert results.read(path).simulate.rms_omega_dt is None


@pytest.mark.parametrize(
    ("preset", "folders"),
    [
        ("alanine-dipeptide-small", ["train/ACE-ALA-NME"]),
        ("dipeptides-small", [*(f"train/{name}" for name in TRAINED), "validation/ET", "validation/LA"]),
    ],
)
def test_a_run_without_data_simulates_every_peptide_also_where_it_judges_those_of_training(
    tmp_path: Path, preset: str, folders: list[str]
):
    made = stages.references(Run(PRESETS[preset]("both", "fokker"), tmp_path))
    assert [f"{one.directory.name}/{one.sequence}" for one in made] == folders
