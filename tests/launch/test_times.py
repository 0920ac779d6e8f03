"""The paper's table of times: finished runs are measured, others are planned, and once."""

import io
import json
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from fokker.data.dataset import shards
from fokker.distributed.cluster.devices import DEVICES, Device
from fokker.distributed.planning.prediction import Steps
from fokker.distributed.planning.sizes import Sizes
from fokker.distributed.runs.config import Config, Method, save
from fokker.distributed.runs.display import Display
from fokker.distributed.runs.presets import PRESETS
from fokker.distributed.runs.results import Origin
from fokker.distributed.runs.run import Run
from fokker.distributed.training import parameters
from fokker.launch import times
from fokker.launch.cli import parse
from fokker.launch.cli.times import TimesArguments
from fokker.launch.times import PUBLISHED, Time, markdown, measured, sampling_seconds, words

PAPER = Path(__file__).parents[2] / ".." / "shared" / "paper" / "plainer2025.txt"
TOY = Sizes(100_000, (2,), None, "")
SLOW = Device("slow", 1e9, 1e6, None, 1e30, 1e30, launch=0.0)
"""All but arithmetic takes no time."""


def config(method: Method = "diffusion", **changes) -> Config:
    return replace(PRESETS["mueller-brown"](method, "paper"), **changes)


def finished(config: Config, folder: Path, **timings: float) -> Run:
    """A run of so many seconds, whose experts are trained and whose samples were asked for."""
    run = Run(config, folder)
    shards.write(run.data, {"name": "mueller-brown"}, {"train": np.zeros((10, 2), np.float32)})
    for job in run.jobs:
        job.directory.mkdir(parents=True)
        parameters.save(job.directory, {"kernel": np.zeros(2)})
    save(folder / "config.json", config)
    run.samples.ask(config.sample, Origin("model", "data", 0, "train"))
    for stage, seconds in timings.items():
        run.add_timing(stage, seconds)
    return run


def test_published_times_are_those_of_the_papers_text():
    if not PAPER.exists():
        pytest.skip(f"{PAPER} is not here")
    text = PAPER.read_text()
    lines = text[: text.index("Table 7: We report")].splitlines()
    rows = [line for line in lines if re.match(r"(Alanine Dipeptide|Minipeptide)\t(Train|Inference)", line)]
    printed = [re.findall(r"(?:(\d+)h ?)?(\d+) ?min", row) for row in rows]
    minutes = [[60 * int(hours or 0) + int(rest) for hours, rest in row] for row in printed]
    ours = [[s / 60 for s in row.values()] for tasks in PUBLISHED.values() for row in tasks.values()]
    assert minutes == ours
    assert [words(60.0 * m) for m in minutes[2]] == ["4h 5min", "3h 50min", "28h 39min", "27h 5min"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.123, "0.12s"), (12.4, "12s"), (60.0, "1min"), (3599.0, "1h 0min"), (16_740.0, "4h 39min")],
)
def test_words(seconds: float, text: str):
    assert words(seconds) == text


def test_a_finished_run_is_measured(tmp_path: Path):
    run = finished(config(), tmp_path / "mueller-brown-diffusion-paper", train=100.0, sample=20.0)
    found = measured(tmp_path, config())
    assert found == {
        "train": Time(100.0, "measured", "1 cpu a host"),
        "inference": Time(20.0, "measured", "1 cpu a host"),
    }
    assert measured(tmp_path, config("mixture")) == {}
    # Twice the samples took that long.
    more = replace(config().sample, samples=200_000)
    save(run.directory / "config.json", config(sample=more))
    run.samples.ask(more, Origin("model", "data", 0, "train"))
    assert measured(tmp_path, config())["inference"].seconds == 10.0


def test_runs_of_other_trainings_unfinished_ones_and_several_results_are_not_measured(tmp_path: Path):
    own = config()
    other = replace(own, experts=(replace(own.experts[0], epochs=1),))
    finished(other, tmp_path / "a", train=100.0, sample=20.0)
    save(tmp_path / "b" / "config.json", own)
    assert measured(tmp_path, own) == {}
    run = finished(own, tmp_path / "c", train=100.0, sample=20.0)
    run.samples.ask(replace(own.sample, evaluations=10), Origin("model", "data", 0, "train"))
    assert [*measured(tmp_path, own)] == ["train"]


def test_samples_take_the_arithmetic_of_their_scores():
    """A perceptron's score costs three products for each weight and row, but for the first layer's two."""
    methods: tuple[Method, ...] = ("diffusion", "score")
    for method in methods:
        own = config(method, sample=replace(config().sample, evaluations=11, samples=2000, chunk=500))
        found = sampling_seconds(own, TOY, SLOW) * SLOW.float32
        widths = (2 + 4, 92, 92, 92, 1 if method == "diffusion" else 2)
        weights = sum(a * b for a, b in pairwise(widths))
        passes = 2 if method == "diffusion" else 1
        assert found / (10 * 2000 * 2 * weights * passes) == pytest.approx(1, abs=0.15)


def test_each_expert_is_evaluated_in_its_own_interval():
    mixture = config("mixture", sample=replace(config().sample, evaluations=1001, samples=500, chunk=500))
    steps = Steps(mixture.network, mixture.objective, mixture.train, (2,))
    each = [steps.evaluation(expert, 500).seconds(SLOW) for expert in mixture.experts]
    expected = np.dot(each, [99, 500, 401])  # 0.001 to 0.099, 0.1 to 0.599, 0.6 to 1, of equal steps.
    assert sampling_seconds(mixture, TOY, SLOW) == pytest.approx(expected, rel=2e-3)


def arguments(folder: Path, *words: str) -> TimesArguments:
    small = ("--presets", "mueller-brown", "--methods", "score", "diffusion", "--device", "t4")
    found = parse(("reproduce", "table7", *small, "--runs-dir", str(folder), *words))
    assert isinstance(found, TimesArguments)
    return found


def made(asked: TimesArguments) -> tuple[dict, str]:
    display = Display(Console(file=io.StringIO(), width=80))
    times.reproduce(asked, display)
    content = json.loads((asked.directory / "table7.json").read_text())
    assert isinstance(display.console.file, io.StringIO)
    text = display.console.file.getvalue()
    assert (asked.directory / "table7.md").read_text() in text
    return content, text


def test_a_table_is_planned_once_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real, counted = times.planned, []

    def counting(config: Config, *others):
        if len(counted) == 1 and counted[0] == "score":
            counted.append("interrupted")
            raise KeyboardInterrupt
        counted.append(config.method)
        return real(config, *others)

    monkeypatch.setattr(times, "planned", counting)
    with pytest.raises(KeyboardInterrupt):
        made(arguments(tmp_path))
    content, text = made(arguments(tmp_path))
    assert counted == ["score", "interrupted", "diffusion"], "what was planned is kept"
    again, _ = made(arguments(tmp_path))
    assert counted[3:] == []
    assert again == content
    cells = content["rows"]["mueller-brown"]
    assert {cell["how"] for row in cells.values() for cell in row.values()} == {"planned"}
    assert {cell["device"] for row in cells.values() for cell in row.values()} == {"t4"}
    assert "| mueller-brown | train | this work |" in text
    assert "Published" in text
    made(arguments(tmp_path, "--recipe", "fokker", "--name", "table7"))
    assert len(counted) == 5, "plans of other settings are not those that are asked for"


def test_what_is_measured_stands_in_place_of_what_was_planned(tmp_path: Path):
    asked = arguments(tmp_path)
    before, _ = made(asked)
    finished(config("score"), asked.directory / "mine", train=100.0)
    after, text = made(asked)
    row = after["rows"]["mueller-brown"]
    assert row["train"]["score"] == {"seconds": 100.0, "how": "measured", "device": "1 cpu a host"}
    assert row["train"]["diffusion"] == before["rows"]["mueller-brown"]["train"]["diffusion"]
    assert row["inference"] == before["rows"]["mueller-brown"]["inference"]
    assert "2min measured" in text


def test_markdown_has_the_published_row_below_ours():
    cells = {"diffusion": Time(100.0, "measured", "1 gpu a host"), "both": Time(3600.0, "planned", "t4")}
    lines = markdown({"alanine-dipeptide": {"train": cells, "inference": cells}}, "paper").splitlines()
    assert "(1 gpu a host)" in lines[2]
    assert "one device, t4." in lines[3]
    assert lines[6:] == [
        "| system | task | | diffusion | both |",
        "| --- | --- | --- | --- | --- |",
        "| alanine-dipeptide | train | this work | 2min measured | 1h 0min planned |",
        "| | | published | 49min | 3h 59min |",
        "| | inference | this work | 2min measured | 1h 0min planned |",
        "| | | published | 3min | 4min |",
    ]


def test_dipeptides_whose_data_are_not_here_have_the_frames_that_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen = []

    def plan(config: Config, data: Sizes, *others):
        seen.append((config.preset, data.frames, data.shape))
        raise KeyboardInterrupt

    monkeypatch.setattr(times, "planned", plan)
    for preset in ("dipeptides", "alanine-dipeptide"):
        asked = parse(("reproduce", "table7", "--presets", preset, "--runs-dir", str(tmp_path)))
        with pytest.raises(KeyboardInterrupt):
            times.reproduce(replace(asked, device=next(iter(DEVICES))), Display(Console(file=io.StringIO())))
    assert seen == [("dipeptides", 1_750_000, (10, 3)), ("alanine-dipeptide", 50_000, (5, 3))]
