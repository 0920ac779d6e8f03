"""`fokker reproduce`: a table of the paper, and how it is made."""

from collections.abc import Sequence
from dataclasses import dataclass as plain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from pydantic import AfterValidator
from pydantic.dataclasses import dataclass

from ...distributed.runs.config import Config, Method, Recipe
from ...distributed.runs.presets import PRESETS
from ...model.config import STRICT, Count
from . import parsing, times
from .command import Command
from .options import FLAT
from .run import METHODS, RECIPES, FolderName, require_place
from .times import TimesArguments
from .values import Choices, HomePath, UsageError, choice, is_option, typed

if TYPE_CHECKING:
    from ...distributed.runs.display import Display

TABLES = {"table1": "alanine-dipeptide", "table2": "dipeptides", "table6": "mueller-brown"}
"""Tables of the paper, and the preset of each."""
MOLECULES: tuple[Method, ...] = ("diffusion", "two-for-one", "mixture", "fokker-planck", "both")
ROWS: dict[str, tuple[Method, ...]] = {
    "table1": MOLECULES,
    "table2": MOLECULES,
    "table6": ("diffusion", "mixture", "fokker-planck", "both"),
}
NAMES = (*TABLES, times.TABLE)
SEEDS = {"table1": 3, "table2": 1, "table6": 3}


@dataclass(frozen=True, config=STRICT, kw_only=True)
class ReproduceArguments:
    """A setting holds for every run of the table."""

    table: tyro.conf.Positional[Annotated[str, AfterValidator(Choices(NAMES))]]
    """Table of the paper: table1, table2, table6 or table7, which has other options (table7 --help)."""
    config: Annotated[Config, FLAT]
    seeds: Count | None = None
    """Models of each method, which differ in their seed (none: 3, of table2 1)."""
    methods: tuple[Method, ...] | None = None
    """Rows (none: those of the table)."""
    recipe: Recipe = "paper"
    """The paper's protocol, or ours."""
    size: Literal["full", "small"] = "full"
    """Of the tables of molecules: the paper's, or for two cores."""
    name: FolderName = None
    """Name of the result (none: the table's, with the recipe and size if they are not the usual)."""
    runs_dir: HomePath = Path("runs")
    """Folder of all runs; the result lives in it under its name."""
    given: tyro.conf.Suppress[tuple[str, ...]] = ()
    """Dotted paths of what was typed."""

    @property
    def directory(self) -> Path:
        """Where the table and all its runs live."""
        recipe = [] if self.recipe == "paper" else [self.recipe]
        size = [] if self.size == "full" else [self.size]
        return self.runs_dir / (self.name or "-".join([self.table, *recipe, *size]))


@plain(frozen=True)
class Table:
    """One table of the paper: every method, with several seeds."""

    table: str
    seeds: int
    """Number of seeds: 0, 1, …"""
    configs: dict[Method, Config]
    """Each method's configuration, with seed 0."""
    directory: Path
    given: tuple[str, ...] = ()
    """Settings that were typed."""


def read(
    kind: type[ReproduceArguments], command: str, argv: Sequence[str], about: str
) -> Table | TimesArguments:
    """The table, after every method's settings were checked. Raises UsageError."""
    hidden = {(Config, "seed")}
    table = argv[0] if argv and not is_option(argv[0]) else None
    if table is None:
        if {"-h", "--help"} & {*argv}:
            raise parsing.Help(parsing.helped(kind, command, hidden=hidden, about=about))
        raise UsageError(f"name a table: {', '.join(NAMES)}")
    if choice("table", table, NAMES) == times.TABLE:
        return times.read(command, argv, about)
    preset = TABLES[table]
    if typed(argv, "--size") == "small":
        preset = f"{preset}-small"
        if preset not in PRESETS:
            raise UsageError(f"--size: {table} has its full size alone, which two cores carry out")
    recipe = choice("--recipe", typed(argv, "--recipe") or "paper", RECIPES)

    def of(method: Method) -> ReproduceArguments:
        default = kind(table=table, config=PRESETS[preset](method, recipe), recipe=recipe)
        return parsing.read(kind, command, argv, default, hidden, about)

    first = choice("--methods", typed(argv, "--methods") or ROWS[table][0], METHODS)
    asked = of(first)
    methods = asked.methods or ROWS[table]
    for method in methods:
        if methods.count(method) > 1:
            raise UsageError(f"--methods: {method!r} is given twice")
    require_place(asked.directory, asked.runs_dir)
    configs: dict[Method, Config] = {method: of(method).config for method in methods}
    return Table(table, asked.seeds or SEEDS[table], configs, asked.directory, asked.given)


def carry_out(arguments: Table | TimesArguments, display: "Display") -> None:
    """Train, sample, simulate and judge every row; or measure, or plan, how long that takes."""
    if isinstance(arguments, TimesArguments):
        times.carry_out(arguments, display)
        return
    from ..reproduce import reproduce

    reproduce(arguments, display)


COMMANDS = {
    "reproduce": Command(
        "train and evaluate every row of a table of the paper", ReproduceArguments, carry_out, read
    )
}
