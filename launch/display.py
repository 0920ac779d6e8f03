"""What a user sees while it works: live on a terminal, plain lines otherwise."""

import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..analysis.metrics import TABLE_HEADER, table
from ..distributed.expert import Progress
from ..distributed.pool import Tally

PLAIN_SECONDS = 5.0


def clock(seconds: float) -> str:
    """Seconds as 1:05 or 2:03:05; – if unknown."""
    if seconds != seconds:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


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

    def metrics(self, name: str, metrics: Mapping) -> None:
        """The table of a run's metrics."""
        grid = Table(*TABLE_HEADER, title=name, title_justify="left", box=SIMPLE_HEAD)
        for column in grid.columns[2:]:
            column.justify = "right"
        for row in table({definition: metrics[definition] for definition in ("paper", "corrected")}):
            grid.add_row(*row)
        self.console.print(grid)

    @contextmanager
    def watching(self):
        """Within, `training` and `chunks` repaint their lines (on a terminal) or print them now and then."""
        self._printed, self._last = 0.0, {}
        if self.console.is_terminal:
            with Live(console=self.console, refresh_per_second=4) as self._live:
                yield
            self._live = None
        else:
            yield

    def training(self, experts: Mapping[str, Progress | None]) -> None:
        """Progress of every expert."""
        done = all(progress and progress.finished for progress in experts.values())
        self._show([_training_cells(name, progress) for name, progress in experts.items()], done)

    def chunks(self, names: Sequence[str], tallies: Sequence[Tally], unit: str) -> None:
        """Progress of every list of chunks."""
        done = all(tally.done == tally.chunks for tally in tallies)
        rows = [_chunk_cells(name, tally, unit) for name, tally in zip(names, tallies, strict=True)]
        self._show(rows, done)

    def _show(self, rows: list[tuple[float, list[str]]], done: bool) -> None:
        if self._live:
            table = Table.grid(padding=(0, 2))
            for part, cells in rows:
                table.add_row("", cells[0], ProgressBar(total=1.0, completed=part, width=20), *cells[1:])
            self._live.update(Group(table))
        elif done or time.monotonic() - self._printed > PLAIN_SECONDS:
            self._printed = time.monotonic()
            for _, cells in rows:
                line = "  " + "  ".join(cell for cell in cells if cell)
                if line != self._last.get(cells[0]):  # What waits or has ended says so once.
                    self.console.print(line, soft_wrap=True)
                    self._last[cells[0]] = line


def _training_cells(name: str, progress: Progress | None) -> tuple[float, list[str]]:
    label = f"expert {name}"
    if progress is None or progress.steps == 0:
        return 0.0, [label, "starting" if progress else "waiting for room"]
    cells = [label, f"step {progress.step}/{progress.steps}"]
    if progress.denoising == progress.denoising:
        cells.append(f"loss {progress.denoising:.4f}")
        cells.append(f"Fokker-Planck {progress.fokker_planck:.3g}" if progress.fokker_planck else "")
        cells.append(f"{progress.samples_per_second / 1000:.0f}k samples/s")
        cells.append(f"wait {progress.input_wait:.1%}")
        cells.append(
            f"done in {clock(progress.seconds)}"
            if progress.finished
            else f"{clock(progress.seconds_left)} left"
        )
    elif progress.finished:
        cells.append("done before")
    return progress.step / progress.steps, cells


def _chunk_cells(name: str, tally: Tally, unit: str) -> tuple[float, list[str]]:
    cells = [name, f"chunk {tally.done}/{tally.chunks}"]
    if tally.total and tally.total.seconds:
        cells.append(f"{tally.total.frames} frames")
        cells.append(f"{tally.total.steps / tally.total.seconds / 1e6:.2f}M {unit}/s an actor")
        if tally.total.chains_left:
            cells.append(f"{tally.total.chains_left} of {tally.total.chains} chains left the range")
    return tally.done / tally.chunks, cells
