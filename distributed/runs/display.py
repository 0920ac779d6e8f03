"""What a user sees while it works: live on a terminal, plain lines otherwise."""

import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.constrain import Constrain
from rich.live import Live
from rich.measure import Measurement
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ...analysis import transfer
from ...analysis.results import (
    BARRIER_HEADER,
    TABLE_HEADER,
    Profiles,
    RunResult,
    SimulationCounts,
    SystemResult,
)
from ..campaigns.pool import Tally
from ..groups.events import LOUD, Event
from ..training.progress import Progress

PLAIN_SECONDS = 5.0
BAR_WIDTH = 20
NARROW, FOLDED = 12, 8
"""Characters of a column up to which its values stay in one line, and to which longer ones may shrink."""


def clock(seconds: float) -> str:
    """Seconds as 1:05 or 2:03:05; – if unknown."""
    if seconds != seconds:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def short(number: float) -> str:
    """A number as 850, 12.5k or 1.3M."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.1f}{unit}"
    return f"{number:.0f}"


def size(number: float | int) -> str:
    """Bytes as 850 B, 12.5 kB or 1.3 MB."""
    for bytes_of, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= bytes_of:
            return f"{number / bytes_of:.3g} {unit}"
    return f"{number:.0f} B"


def heat(simulation: SimulationCounts) -> str:
    """Temperatures and time step of a simulation in one line; nothing where they were not measured."""
    half, step = simulation.kinetic_temperature, simulation.step_temperature
    rms, largest = simulation.rms_omega_dt, simulation.largest_omega_dt
    inner = "inner " if simulation.inner_steps > 1 else ""
    parts = [
        f"simulation at {half:.4g}" if half is not None else "",
        f"{step:.4g} at the steps" if step is not None else "",
        f"{inner}ω dt {rms:.2f} rms" if rms is not None else "",
        f"ω dt at most {largest:.2f} of {simulation.limit:.3g}" if largest is not None else "",
    ]
    return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class Row:
    """One line of progress: of what kind and name, the part that is done, named values, and the time."""

    kind: str
    name: str
    part: float
    values: Mapping[str, str] = field(default_factory=dict)
    state: str = ""

    def __str__(self):
        label = f"{self.kind} {self.name}".strip()
        texts = (label, *(f"{name} {value}" for name, value in self.values.items() if value), self.state)
        return "  " + "  ".join(text for text in texts if text)


class Display:
    """Prints stages, and keeps one line for each expert or work up to date."""

    def __init__(self, console: Console):
        self.console = console
        self._live: Live | None = None
        self._printed = 0.0
        self._last: dict[str, str] = {}

    def stage(self, name: str, text: str) -> None:
        """Announce a stage, or say that it is skipped."""
        self.console.print(Text.assemble((f"{name:<10}", "bold"), text), soft_wrap=True)

    def metrics(self, name: str, metrics: RunResult | SystemResult) -> None:
        """The table of a run's metrics, and a line on the temperature and the time step of its simulation."""
        self._numbers(TABLE_HEADER, metrics.table(), texts=2, title=name)
        start = metrics.simulate.start
        lines = [line for line in (heat(metrics.simulate), start and f"chains start at {start}") if line]
        if lines:
            self.console.print(Text("\n".join(f" {line}" for line in lines) + "\n"), soft_wrap=True)

    def barriers(self, profiles: Profiles) -> None:
        """The table of the free energies along φ that decide its modes."""
        self._numbers(BARRIER_HEADER, profiles.table(), texts=1)
        self.console.print(Text(f" {profiles.words}\n"), soft_wrap=True)

    def transfer(self, result: RunResult) -> None:
        """Unseen peptides, if there are any, beside trained ones and what is known without a model."""
        if rows := transfer.table(result, "corrected"):
            title = "transfer (corrected JS; pooled: the planes of all training peptides together)"
            self._numbers(transfer.HEADER, rows, texts=2, title=title, gap=0)

    def _numbers(
        self, header: Sequence[str], rows: Sequence[Sequence[str]], texts: int, title: str = "", gap: int = 1
    ) -> None:
        """A table of numbers, the first columns of which are texts."""
        grid = Table(*header, box=SIMPLE_HEAD, padding=(0, gap, 0, 0), pad_edge=False, show_edge=False)
        for column in grid.columns[texts:]:
            column.justify = "right"
        for row in rows:
            grid.add_row(*row)
        if title:
            self.console.print(Text(f"{title}\n", "italic"))
        self.console.print(Padding(grid, (0, 0, 1, 1), expand=False))

    @contextmanager
    def watching(self):
        """Within, `training` and `segments` repaint their lines (on a terminal) or print them at times."""
        self._printed, self._last = 0.0, {}
        if not self.console.is_terminal:
            yield
            return
        try:
            with Live(console=self.console, refresh_per_second=4) as self._live:
                yield
        finally:
            self._live = None

    def training(self, experts: Mapping[str, Progress | None]) -> None:
        """Progress of every expert."""
        done = all(progress and progress.finished for progress in experts.values())
        self._show([_training_row(name, progress) for name, progress in experts.items()], done)

    def event(self, event: Event) -> None:
        """What happened to the group of an expert, if it is worth saying."""
        if event.kind in LOUD and event.text:
            self.stage("", f"[{event.expert}] {event.kind}: {event.text}")

    def segments(self, names: Sequence[str], tallies: Sequence[Tally], unit: str) -> None:
        """Progress of every list of segments."""
        done = all(tally.done == tally.segments for tally in tallies)
        rows = [_segment_row(name, tally, unit) for name, tally in zip(names, tallies, strict=True)]
        self._show(rows, done)

    def parts(self, kind: str, counts: Mapping[str, tuple[int, int]]) -> None:
        """How many of its equal parts are done of every piece of work."""
        rows = [
            Row(kind, name, done / count, {"done": f"{done}/{count}"})
            for name, (done, count) in counts.items()
        ]
        self._show(rows, all(row.part == 1 for row in rows))

    def table(self, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """A table of plain values, none of which is cut: long ones go on in the next line."""
        grid = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        texts = [[str(value) for value in row] for row in rows]
        for number, name in enumerate(header):
            longest = max(map(len, (*name.split(), *(row[number] for row in texts))))
            grid.add_column(name, overflow="fold", min_width=longest if longest <= NARROW else FOLDED)
        for row in texts:
            grid.add_row(*map(Text, row))
        # Where the narrowest is too wide it goes beyond the margin: rich would leave columns out.
        least = Measurement.get(self.console, self.console.options.update(width=1000), grid).minimum
        self.console.print(grid, width=max(least, self.console.width), crop=False)

    def _show(self, rows: list[Row], done: bool) -> None:
        if self._live:
            going_on = [row for row in rows if 0 < row.part < 1]
            fit = len(rows) < self.console.height - 3
            grid = _grid(rows if fit or not going_on else going_on)
            # A terminal echoes ^C at the end of the last line; if it wrapped there, lines would double.
            self._live.update(Constrain(grid, self.console.width - 3))
        elif done or time.monotonic() - self._printed > PLAIN_SECONDS:
            self._printed = time.monotonic()
            for row in rows:
                if str(row) != self._last.get(row.name):  # What waits or has ended says so once.
                    self.console.print(str(row), soft_wrap=True)
                    self._last[row.name] = str(row)


def _grid(rows: list[Row]) -> Table:
    """The rows below the names of their values; only the bars give way on a narrow terminal."""
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    grid = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim", show_header=bool(names))
    grid.add_column(f"  {rows[0].kind}", no_wrap=True)
    grid.add_column("", max_width=BAR_WIDTH)
    for name in names:
        grid.add_column(name, no_wrap=True)
    grid.add_column("", no_wrap=True)
    for row in rows:
        bar = ProgressBar(total=1.0, completed=row.part)
        grid.add_row(f"  {row.name}", bar, *(row.values.get(name, "") for name in names), row.state)
    return grid


def _training_row(name: str, progress: Progress | None) -> Row:
    row = partial(Row, "expert", name)
    if progress is None or progress.steps == 0:
        return row(0.0, state="starting" if progress else "waiting for room")
    values = {"step": f"{progress.step}/{progress.steps}"}
    part = progress.step / progress.steps
    if progress.denoising != progress.denoising:
        return row(part, values, "done before" if progress.finished else "")
    values |= {
        "loss": f"{progress.denoising:.4f}",
        "term": f"{progress.consistency:.3g}" if progress.consistency else "",
        "samples/s": short(progress.samples_per_second),
    }
    state = f"took {clock(progress.seconds)}" if progress.finished else f"{clock(progress.seconds_left)} left"
    return row(part, values, state)


def _segment_row(name: str, tally: Tally, unit: str) -> Row:
    values = {"segment": f"{tally.done}/{tally.segments}"}
    if tally.total and tally.total.seconds:
        values |= {
            "frames": str(tally.total.frames),
            f"{unit}/s of an actor": short(tally.total.steps / tally.total.seconds),
        }
        if tally.total.chains_left:
            values["left the range"] = f"{tally.total.chains_left} of {tally.total.chains}"
    return Row("", name, tally.done / tally.segments, values)
