"""Where unseen peptides are judged, a few of those that were trained on stand beside them, in no mean."""

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from fokker.analysis.results import RunResult
from fokker.analysis.transfer import against_pooled, pooled_plane, table
from fokker.data.dataset import shards
from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads
from fokker.distributed.campaigns.segments import Made, Store, summarise
from fokker.distributed.campaigns.works import Work, lanes_of
from fokker.distributed.runs import evaluate
from fokker.distributed.runs.chosen import Chosen
from fokker.distributed.runs.config import Config
from fokker.distributed.runs.display import Display
from fokker.distributed.runs.presets import PRESETS
from fokker.distributed.runs.reporting import _transfer_tables
from fokker.distributed.runs.results import Origin
from fokker.distributed.runs.run import Run, StageError

PRESET = PRESETS["dipeptides-small"]("both", "fokker")
TRAINED, UNSEEN = ("AV", "CN", "DR", "EK", "HL"), ("ET", "LA")
FRAMES = 150


def config(training: int, split: str = "validation") -> Config:
    return replace(
        PRESET,
        data=replace(PRESET.data, evaluate=split),
        sample=replace(PRESET.sample, samples=400, chunk=100, training_peptides=training),
        simulate=replace(PRESET.simulate, frames=200, chains=20, chunk=20, burn_in=0),
    )


def frames_of(beads: Beads, seed: int, count: int = FRAMES) -> np.ndarray:
    """Beads anywhere."""
    return np.random.default_rng(seed).normal(size=(count, len(beads), 3)).astype(np.float32)


def a_run(directory: Path, config: Config, splits: Mapping[str, tuple[str, ...]] | None = None) -> Run:
    """With data, peptides of these splits."""
    run, given = Run(config, directory), splits or {"train": TRAINED, "validation": UNSEEN}
    names = dict.fromkeys(name for several in given.values() for name in several)
    for seed, name in enumerate(names):
        beads = Beads.from_sequence(name, BeadMap.parse("backbone"))
        parts = {split: frames_of(beads, seed) for split, several in given.items() if name in several}
        description = {"beads": beads.to_json(), "bond_means": [0.15] * len(beads.bonds)}
        shards.write_system(run.data, name, description, parts)
    shards.finish(run.data, {"name": "peptides"}, [*names])
    return run


def give(work: Work, seed: int) -> None:
    """Frames of every segment of a work."""
    assert work.system.beads is not None
    for first, count in lanes_of(work, ()):
        segment = work.following(first, count, 0)
        while segment is not None:
            steps = len(work.frame_steps(segment))
            frames = frames_of(work.system.beads, seed + first, count * steps)
            made = Made(frames.reshape(count, steps, -1, 3), np.zeros((2, count, steps)), left=0)
            Store(work.directory).commit(segment, made, *summarise(made, segment, work.system, 1, 1.0))
            segment = work.following(first, count, segment.end)


def judged(run: Run) -> RunResult:
    origin = Origin("model", shards.Dataset(run.data).fingerprint, 0, run.split)
    sampling = run.samples.ask(run.config.sample, origin)
    simulation = run.simulations.ask(run.config.simulate, origin)
    works = run.sampling(sampling) + run.training_sampling(sampling) + run.simulation(simulation)
    for number, work in enumerate(works):
        give(work, 1000 * (number + 1))
    chosen = Chosen.of(run, "evaluate")
    return evaluate._result(chosen, evaluate.sets_of(chosen))


@pytest.mark.parametrize(
    ("count", "names"),
    [(0, ""), (1, "AV"), (2, "AV HL"), (3, "AV DR HL"), (5, "AV CN DR EK HL"), (9, "AV CN DR EK HL")],
)
def test_they_are_spread_over_the_list_and_have_as_many_samples_as_frames(
    tmp_path: Path, count: int, names: str
):
    run = a_run(tmp_path, config(count))
    result = run.samples.ask(run.config.sample, Origin("model", "data", 0, "validation"))
    works = run.training_sampling(result)
    assert [work.system.name for work in works] == names.split()
    assert {work.chains for work in works} <= {200}, "whole chunks"
    assert [work.system.name for work in run.sampling(result)] == [*UNSEEN]


@pytest.mark.parametrize(
    ("split", "splits"),
    [("train", {"train": TRAINED}), ("validation", {"train": TRAINED, "validation": ("AV",)})],
)
def test_where_the_judged_were_trained_on_there_are_none(tmp_path: Path, split: str, splits: dict):
    result = judged(a_run(tmp_path, config(3, split), splits))
    assert result.trained == {}
    assert "pooled" not in result.corrected
    assert table(result, "corrected") == []


def test_unseen_peptides_have_the_pooled_plane_beside_them_and_trained_ones_are_in_no_mean(tmp_path: Path):
    run = a_run(tmp_path, config(2))
    result = judged(run)
    assert [*result.systems], [*result.trained] == [[*UNSEEN], ["AV", "HL"]]
    for kind in ("iid", "sim", "floor", "pooled"):
        every = [one.corrected[kind].js for one in result.systems.values()]
        assert result.corrected[kind].js == pytest.approx(np.mean(every))
    assert all([*one.corrected] == ["iid", "floor"] for one in result.trained.values())
    # The simulation has the fewest frames: so many points of the plane stand beside it.
    plane = pooled_plane(evaluate._training(run), 200, run.config.data.seed)
    reference = evaluate._split(run, run.systems[0], "validation")
    (truth,) = against_pooled(plane, reference, 200)
    assert result.systems["ET"].paper["pooled"] == truth.paper
    assert result.systems["ET"].corrected["pooled"] == truth.corrected


def test_more_of_them_make_a_result_longer_and_evaluate_waits_for_them(tmp_path: Path):
    run = a_run(tmp_path, config(0))
    assert judged(run).trained == {}
    before = Chosen.of(run, "evaluate").made_from
    more = Run(config(3), tmp_path)
    result = more.samples.ask(more.config.sample, Chosen.of(run, "evaluate").samples.origin)
    assert (result.number, result.settings.training_peptides) == (1, 3)
    with pytest.raises(StageError, match="is missing, run `fokker sample` first"):
        Chosen.of(more, "evaluate")
    for work in more.training_sampling(result):
        give(work, 7)
    made_from = Chosen.of(more, "evaluate").made_from
    assert made_from != before
    assert made_from.sample.frames.keys() - before.sample.frames.keys() == {"AV", "DR", "HL"}


def test_the_table_has_a_row_for_each_peptide_within_80_columns(tmp_path: Path):
    result = judged(a_run(tmp_path, config(2)))
    display = Display(Console(file=io.StringIO(), width=200))
    display.transfer(result)
    assert isinstance(display.console.file, io.StringIO)
    lines = display.console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line.split() for line in lines if line.split()[1:2] in (["unseen"], ["trained"])]
    assert [row[:2] for row in rows] == [
        *(["ET", "unseen"], ["LA", "unseen"], ["mean", "unseen"]),
        *(["AV", "trained"], ["HL", "trained"]),
    ]
    assert [len(row) for row in rows] == [10, 10, 10, 6, 6]
    et = result.systems["ET"].corrected
    kinds = ("iid", "sim", "floor", "pooled")
    assert rows[0][2:] == [f"{getattr(et[kind], m):.4f}" for m in ("js", "pmf") for kind in kinds]
    corrected, paper = (_transfer_tables(result)[place][-1][0] for place in (1, 0))
    assert [*corrected] == rows[0]
    assert paper[2] == f"{result.systems['ET'].paper['iid'].js:.4f}"
