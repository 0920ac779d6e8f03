"""`fokker clean`: the only command that removes what a run has made."""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic.dataclasses import dataclass

from ...data import fence
from ...distributed.runs.config import ConfigError
from ...model.config import STRICT, SampleConfig, SimulateConfig
from .command import Command
from .run import Which, read

if TYPE_CHECKING:
    from ...distributed.runs.display import Display

HEADER = ("what", "files", "size")
KINDS: dict[str, type] = {"sample": SampleConfig, "simulate": SimulateConfig}


@dataclass(frozen=True, config=STRICT, kw_only=True)
class CleanArguments(Which):
    """A run is named by its preset, or by --name. No other command removes anything."""

    only: tuple[str, ...] = ()
    """Parts to remove, as they are listed, such as simulate/1 experts (nothing: all of the run)."""
    yes: bool = False
    """Remove without asking."""


def carry_out(arguments: CleanArguments, display: "Display") -> None:
    """List what would go, ask unless told not to, and remove it.

    Raises ConfigError if it is no run, has no such part, or there is nobody to ask.
    """
    # Which take seconds to import.
    from ...distributed.runs.display import size
    from ...distributed.runs.run import CONFIG, locked

    directory = arguments.directory
    if not (directory / CONFIG).exists():
        raise ConfigError(f"{directory} is not the folder of a run: {CONFIG} is missing")
    with locked(directory):
        parts = _chosen(_parts(directory), arguments.only, directory)
        rows = [(name, str(len(_files(place))), size(bytes_of(place))) for name, place in parts.items()]
        display.table(HEADER, rows)
        total = size(sum(bytes_of(place) for place in parts.values()))
        what = f"{', '.join(parts) if arguments.only else 'all'} of {directory}, {total}"
        if not arguments.yes and not _agreed(what):
            display.stage("clean", "nothing is removed")
            return
        if arguments.only:
            for place in parts.values():
                _remove(place)
        else:
            shutil.rmtree(directory)
    display.stage("clean", f"removed {what}")


def _parts(directory: Path) -> dict[str, Path]:
    """What lies in the folder of a run; of samples and simulations each result by itself."""
    parts: dict[str, Path] = {}
    for place in sorted(directory.iterdir()):
        results = (
            [child for child in sorted(place.iterdir()) if child.is_dir()] if place.name in KINDS else []
        )
        if place.name not in (".lock", fence.FILE):
            parts |= {f"{place.name}/{child.name}": child for child in results} or {place.name: place}
    return parts


def _chosen(parts: Mapping[str, Path], only: tuple[str, ...], directory: Path) -> dict[str, Path]:
    if not parts:
        raise ConfigError(f"{directory} holds nothing")
    found = {}
    for name in only:
        inside = {key: place for key, place in parts.items() if key == name or key.startswith(f"{name}/")}
        if not inside:
            raise ConfigError(f"{directory} has no part {name!r}, only {', '.join(parts)}", "--only")
        found |= inside
    return found or dict(parts)


def _files(place: Path) -> list[Path]:
    return [file for file in place.rglob("*") if not file.is_dir()] if place.is_dir() else [place]


def bytes_of(place: Path) -> int:
    """Of a file, or of all in a folder."""
    return sum(file.lstat().st_size for file in _files(place))


def _agreed(what: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError(f"{what} would be removed, and nobody is there to ask: add --yes")
    try:
        return input(f"Remove {what}? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _remove(place: Path) -> None:
    from ...distributed.runs.results import Results

    kind = KINDS.get(place.parent.name)
    if kind and place.name.isdigit():
        # First: a list that names what is not there is wrong.
        Results(place.parent, kind).remove(int(place.name))
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


COMMANDS = {
    "clean": Command(
        "list what a run has made, and remove it once you agree", CleanArguments, carry_out, read
    )
}
