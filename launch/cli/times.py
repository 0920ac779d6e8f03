"""`fokker reproduce table7`: which trainings are timed, or planned, and for what device."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro
from pydantic import AfterValidator
from pydantic.dataclasses import dataclass

from ...distributed.cluster.devices import DEVICES
from ...distributed.runs.config import Method, Recipe
from ...distributed.runs.presets import PRESETS
from ...model.config import STRICT, Count
from . import parsing
from .plan import HERE
from .run import FolderName, require_place
from .values import Choices, HomePath, UsageError

if TYPE_CHECKING:
    from ...distributed.runs.display import Display

TABLE = "table7"
METHODS: tuple[Method, ...] = ("diffusion", "mixture", "fokker-planck", "both")


def _presets(names: Sequence[str]) -> Sequence[str]:
    """Each a preset, and none twice. Raises ValueError, with a suggestion."""
    for name in names:
        Choices(PRESETS)(name)
        if names.count(name) > 1:
            raise ValueError(f"{name!r} is given twice")
    return names


@dataclass(frozen=True, config=STRICT, kw_only=True)
class TimesArguments:
    """Times of training and of drawing samples: measured, of runs in the folder of the table that are
    finished (fokker run PRESET --method METHOD --recipe paper --runs-dir runs/table7); or else planned."""

    table: tyro.conf.Positional[Annotated[str, AfterValidator(Choices([TABLE]))]]
    """Table of the paper."""
    presets: Annotated[tuple[str, ...], AfterValidator(_presets)] = ("alanine-dipeptide", "dipeptides")
    """Experiments."""
    methods: tuple[Method, ...] = METHODS
    """Columns."""
    recipe: Recipe = "paper"
    """The paper's protocol, or ours."""
    device: Annotated[str, AfterValidator(Choices((*DEVICES, HERE)))] = HERE
    """What is planned for, one of them; cpu is a thread of this machine."""
    frames: Count = 1_750_000
    """Training frames of an experiment whose data are not here (as if each of the paper's 175 dipeptides had
    10000, which it does not say)."""
    beads: Count = 10
    """Beads of its largest molecule."""
    name: FolderName = None
    """Name of the result (none: table7, with the recipe if it is not the paper's)."""
    runs_dir: HomePath = Path("runs")
    """Folder of all runs; the result lives in it under its name."""

    @property
    def directory(self) -> Path:
        """Where the table lives, and runs that are measured."""
        recipe = "" if self.recipe == "paper" else f"-{self.recipe}"
        return self.runs_dir / (self.name or f"{TABLE}{recipe}")


def read(command: str, argv: Sequence[str], about: str) -> TimesArguments:
    """The arguments, checked. Raises UsageError, and Help if that is asked for."""
    arguments = parsing.read(TimesArguments, command, argv, about=about)
    for name, given in (("--presets", arguments.presets), ("--methods", arguments.methods)):
        if not given:
            raise UsageError(f"{name} needs a value")
    require_place(arguments.directory, arguments.runs_dir)
    return arguments


def carry_out(arguments: TimesArguments, display: "Display") -> None:
    """Look for runs, plan the others, and write the table."""
    from ..times import reproduce

    reproduce(arguments, display)
