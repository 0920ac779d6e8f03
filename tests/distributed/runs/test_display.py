"""Progress on a terminal, as its screen shows it in the end, and as plain lines elsewhere."""

import io
import re
from dataclasses import replace
from math import nan

import pytest
from rich.console import Console

from fokker.analysis.results import (
    Estimate,
    FrameCounts,
    FreeEnergy,
    Profiles,
    Scores,
    SimulationCounts,
    SystemResult,
)
from fokker.distributed.campaigns.pool import Tally
from fokker.distributed.campaigns.segments import Summary
from fokker.distributed.groups.events import Event
from fokker.distributed.runs import display
from fokker.distributed.runs.display import Display, clock, heat, short
from fokker.distributed.training.progress import Progress

WIDTH = 80
RUNNING = Progress(
    step=300,
    steps=1500,
    denoising=0.86397,
    consistency=1234.5,
    gradient_norm=2.0,
    samples_per_second=12_345.0,
    seconds_left=75.0,
    input_wait=0.01,
    seconds=20.0,
)
ENDED = Progress(**vars(RUNNING) | {"step": 1500, "consistency": 0.0, "seconds": 3723.0})
EXPERTS: dict[str, Progress | None] = {"0-0.1": RUNNING, "0.1-0.6": ENDED, "0.6-1": None}


def result(
    values: dict[str, Scores],
    more: dict[str, Scores],
    half: float | None = None,
    step: float | None = None,
    largest: float | None = None,
) -> SystemResult:
    simulate = SimulationCounts(400, 0, 40, 0, 0, 300.0, half, step, largest)
    return SystemResult(
        values,
        values | more,
        projections={},
        sim_error=None,
        molecule=None,
        sample=FrameCounts(400, 0, 40, 0, 0),
        simulate=simulate,
    )


def tally(done: int, left: int = 0) -> Tally:
    summary = Summary(frames=10 * done, chains=2 * done, chains_left=left, steps=3000, seconds=2.0)
    return Tally(done, 20, summary)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Display:
    """Prints at every call, and not every few seconds."""
    monkeypatch.setattr(display, "PLAIN_SECONDS", -1.0)
    return Display(Console(file=io.StringIO(), width=WIDTH, highlight=False))


@pytest.fixture
def live() -> Display:
    file = io.StringIO()
    return Display(
        Console(file=file, width=WIDTH, height=12, force_terminal=True, color_system=None, _environ={})
    )


def printed(shown: Display) -> str:
    assert isinstance(shown.console.file, io.StringIO)
    return shown.console.file.getvalue()


def screen(shown: Display) -> list[str]:
    """What a terminal shows after all that was written, control characters included."""
    lines, row, column = [""], 0, 0
    for control, count, text in re.findall(
        r"(\r|\n|\x1b\[(\d*)[A-Za-z]|\x1b\[\?\d+[hl])|([^\r\n\x1b]+)", printed(shown)
    ):
        if text:
            lines[row] = lines[row][:column].ljust(column) + text + lines[row][column + len(text) :]
            column += len(text)
            assert column <= WIDTH, "a line that wraps"
        elif control == "\r":
            column = 0
        elif control == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif control.endswith("A"):
            row -= int(count or 1)
            assert row >= 0, "the cursor left the screen"
        elif control == "\x1b[2K":
            lines[row] = ""
    return [line.rstrip() for line in lines if line.strip()]


def test_plain_lines_name_step_losses_rate_and_time_left(plain: Display):
    with plain.watching():
        plain.training(EXPERTS)
    assert printed(plain).splitlines() == [
        "  expert 0-0.1  step 300/1500  loss 0.8640  term 1.23e+03  samples/s 12.3k  1:15 left",
        "  expert 0.1-0.6  step 1500/1500  loss 0.8640  samples/s 12.3k  took 1:02:03",
        "  expert 0.6-1  waiting for room",
    ]


def test_a_person_is_told_what_happens_to_the_group_of_an_expert(plain: Display):
    plain.event(Event("started", "0-0.1"))
    plain.event(Event("lost", "0-0.1", "rank 1 of 2 was lost"))
    plain.event(Event("started", "0-0.1", "again on 2 × 1 devices"))
    plain.event(Event("resumed", "0-0.1", "at step 200", {"step": 200}))
    plain.event(Event("saved", "0-0.1", "step 400", {"step": 400}))
    plain.event(Event("finished", "0-0.1", values={"step": 1500}))
    assert [line.strip() for line in printed(plain).splitlines()] == [
        "[0-0.1] lost: rank 1 of 2 was lost",
        "[0-0.1] started: again on 2 × 1 devices",
        "[0-0.1] resumed: at step 200",
        "[0-0.1] saved: step 400",
    ]


def test_plain_lines_that_do_not_change_are_printed_once(plain: Display):
    with plain.watching():
        for step in (300, 310):
            plain.training(EXPERTS | {"0-0.1": replace(RUNNING, step=step)})
    lines = printed(plain).splitlines()
    assert len(lines) == 4
    assert lines[-1].startswith("  expert 0-0.1  step 310/1500")


def test_plain_lines_come_now_and_then_and_at_the_end(plain: Display, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(display, "PLAIN_SECONDS", 3600.0)
    with plain.watching():
        plain._printed = display.time.monotonic()  # As if something had just been printed.
        plain.training(EXPERTS)
        assert printed(plain) == ""
        plain.training({"0-0.1": ENDED})
    assert printed(plain).splitlines() == [
        "  expert 0-0.1  step 1500/1500  loss 0.8640  samples/s 12.3k  took 1:02:03"
    ]


def test_an_expert_that_starts_or_was_done_before_says_so(plain: Display):
    with plain.watching():
        plain.training({"a": Progress(), "b": Progress(step=0, steps=9), "c": Progress(step=9, steps=9)})
    assert printed(plain).splitlines() == [
        "  expert a  starting",
        "  expert b  step 0/9",
        "  expert c  step 9/9  done before",
    ]


def test_plain_lines_of_segments_count_chains_that_left(plain: Display):
    with plain.watching():
        plain.segments(["", "both 0"], [tally(5), tally(20, left=3)], "steps")
    assert printed(plain).splitlines() == [
        "  segment 5/20  frames 50  steps/s of an actor 1.5k",
        "  both 0  segment 20/20  frames 200  steps/s of an actor 1.5k  left the range 3 of 40",
    ]


def test_a_terminal_shows_the_last_progress_below_the_names_of_its_values(live: Display):
    with live.watching():
        live.training(dict.fromkeys(EXPERTS))
        live.training(EXPERTS | {"0-0.1": replace(RUNNING, step=100)})
        live.training(EXPERTS)
    names, first, second, third = screen(live)
    assert names.split() == ["expert", "step", "loss", "term", "samples/s"]
    assert re.sub("[━╸╺]+", "BAR", first).split() == [
        *("0-0.1", "BAR", "300/1500", "0.8640", "1.23e+03", "12.3k", "1:15", "left")
    ]
    assert re.sub("[━╸╺]+", "BAR", second).split() == [
        *("0.1-0.6", "BAR", "1500/1500", "0.8640", "12.3k", "took", "1:02:03")
    ]
    assert third.endswith("waiting for room")


def test_a_terminal_leaves_room_for_the_echo_of_an_interrupt(live: Display):
    """The longest labels and numbers that there are."""
    long = Progress(**vars(RUNNING) | {"step": 140_579, "steps": 140_580, "seconds_left": 5999.0})
    with live.watching():
        live.training({"fokker-planck 10 0-1": long, "both 10 0.1-0.6": long})
    lines = screen(live)
    assert max(map(len, lines)) <= WIDTH - 3
    for line in lines[-2:]:
        for part in ("140579/140580", "0.8640", "1.23e+03", "12.3k", "1:39:59 left"):
            assert part in line
    assert "…" not in "".join(lines)


def test_a_terminal_too_low_for_all_shows_those_that_go_on(live: Display):
    many = {f"both {seed}": ENDED if seed < 20 else RUNNING if seed < 22 else None for seed in range(40)}
    with live.watching():
        live.training(many)
    names = [line.split()[1] for line in screen(live) if line.lstrip().startswith("both")]
    assert names == ["20", "21"]


def test_a_terminal_shows_segments(live: Display):
    with live.watching():
        live.segments([""], [tally(0)], "steps")
        live.segments([""], [tally(20, left=3)], "steps")
    names, values = screen(live)
    assert " ".join(names.split()) == "segment frames steps/s of an actor left the range"
    assert re.sub("[━╸╺]+", "BAR", values).split() == ["BAR", "20/20", "200", "1.5k", "3", "of", "40"]


def test_a_display_works_on_after_an_interrupt(live: Display):
    def interrupted() -> None:
        with live.watching():
            live.training(EXPERTS)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    live.stage("train", "again")
    with live.watching():
        live.training({"0-0.1": ENDED})
    lines = screen(live)
    assert "train     again" in lines
    assert "took 1:02:03" in lines[-1]


@pytest.mark.parametrize("worst", [0.0123, 190.8668])
def test_table_of_metrics_fits_80_columns(plain: Display, worst: float):
    values = {"iid": Scores(0.6931, worst), "sim": Scores(0.6931, worst), "floor": Scores(0.0101, 0.0871)}
    plain.metrics("fokker-planck 10", result(values, {"floor_sim": Scores(0.0104, nan)}))
    lines = printed(plain).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert "…" not in printed(plain)
    header, *rows = [line.split() for line in lines if re.match(r" +\w", line)]
    assert header == ["definition", "metric", "iid", "sim", "floor", "iid/floor", "sim/floor", "sim", "floor"]
    assert rows[0] == ["paper", "JS", "0.6931", "0.6931", "0.0101", "68.62", "68.62"]
    assert rows[2] == ["corrected", "JS", "0.6931", "0.6931", "0.0101", "68.62", "68.62", "0.0104"]
    assert [row[:2] for row in rows] == [
        *(["paper", "JS"], ["paper", "PMF"], ["corrected", "JS"], ["corrected", "PMF"])
    ]


def test_the_simulation_has_a_line_of_its_temperature_and_its_step(plain: Display):
    values = {kind: Scores(0.1, 0.2) for kind in ("iid", "sim", "floor")}
    for heats in ((299.91, 278.04, 1.31), (299.91, 278.04, None), (None, None, None)):
        plain.metrics("both", result(values, {}, *heats))
    found = [line.strip() for line in printed(plain).splitlines() if "simulation" in line]
    known = "simulation at 299.9, 278 at the steps, ω dt 0.54 rms"
    assert found == [f"{known}, ω dt at most 1.31 of 2", known]
    assert max(map(len, printed(plain).splitlines())) <= WIDTH


def test_the_table_of_a_simulation_says_where_its_chains_started(plain: Display):
    values = {kind: Scores(0.1, 0.2) for kind in ("iid", "sim", "floor")}
    one = result(values, {}, 299.91, 278.04)
    plain.metrics("both", replace(one, simulate=replace(one.simulate, start="samples of the model")))
    assert printed(plain).rstrip().splitlines()[-1] == " chains start at samples of the model"


def test_barriers_have_a_table_of_what_is_known_of_them(plain: Display):
    def of(*values: Estimate) -> FreeEnergy:
        return FreeEnergy([0.0, nan], [0.1, nan], *values)

    reference = of(Estimate(10.82, 0.16), Estimate(21.33, nan, at_least=True), Estimate(3.76, 0.14))
    learned = of(Estimate(10.9, 0.12), Estimate(15.04, 0.17), Estimate(2.35, 0.14))
    plain.barriers(Profiles("φ of ALA2", "biased", {"reference": reference, "umbrella": learned}))
    lines = [line.split("  ") for line in printed(plain).splitlines()]
    rows = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert rows[0] == ["φ, in kT", "reference", "learned", "difference"]
    assert rows[2:5] == [
        ["barrier near 0", "10.82 ± 0.16", "10.90 ± 0.12", "0.08 ± 0.20"],
        ["barrier near ±2π/3", "> 21.33", "15.04 ± 0.17", "< -6.29"],
        ["F(φ > 0) − F(φ < 0)", "3.76 ± 0.14", "2.35 ± 0.14", "-1.41 ± 0.20"],
    ]
    assert "φ of ALA2: reference by biased frames, learned by umbrella windows" in printed(plain)
    assert max(map(len, printed(plain).splitlines())) <= WIDTH


def test_with_inner_steps_the_line_says_which_step_is_meant():
    counts = SimulationCounts(400, 0, 40, 0, 0, 300.0, 299.91, 278.04, 2.1, inner_steps=4)
    said = "simulation at 299.9, 278 at the steps, inner ω dt 0.54 rms, ω dt at most 2.10 of 3.14"
    assert heat(counts) == said


def test_stages_stand_in_a_column_and_are_not_taken_for_markup(plain: Display):
    plain.stage("data", "2000 frames")
    plain.stage("", "[0-0.1] failed")
    assert printed(plain).splitlines() == ["data      2000 frames", "          [0-0.1] failed"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.6, "1:00"), (65, "1:05"), (3599.4, "59:59"), (7385, "2:03:05"), (float("nan"), "–")],
)
def test_clock(seconds: float, text: str):
    assert clock(float(seconds)) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.0, "0"), (850.4, "850"), (1000.0, "1.0k"), (12_345.0, "12.3k"), (1_300_000.0, "1.3M")],
)
def test_short_numbers(number: float, text: str):
    assert short(number) == text
