"""`fokker clean`: the only command that removes what a run has made."""

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..model.config import SampleConfig, SimulateConfig
from .config import ConfigError
from .results import Results

if TYPE_CHECKING:
    from .display import Display

HEADER = ("what", "files", "size")
KINDS: dict[str, type] = {"sample": SampleConfig, "simulate": SimulateConfig}


@dataclass(frozen=True)
class CleanArguments:
    """What of which run is removed."""

    run: Path
    """Folder of the run."""
    only: tuple[str, ...] = ()
    """Parts as they are listed, such as simulate/1 or experts; none: all of it."""
    yes: bool = False
    """Remove without asking."""


def carry_out(arguments: CleanArguments, display: "Display") -> None:
    """List what would go, ask unless told not to, and remove it.

    Raises ConfigError if it is no run, has no such part, or there is nobody to ask.
    """
    # Which take seconds to import, and the command line reads this module.
    from .display import size
    from .run import CONFIG, locked

    directory = arguments.run
    if not (directory / CONFIG).exists():
        raise ConfigError(f"{directory} is not the folder of a run: {CONFIG} is missing")
    with locked(directory):
        parts = _chosen(_parts(directory), arguments.only, directory)
        rows = [(name, str(len(_files(path))), size(_bytes(path))) for name, path in parts.items()]
        display.table(HEADER, rows)
        total = size(sum(_bytes(path) for path in parts.values()))
        what = f"{', '.join(parts) if arguments.only else 'all'} of {directory}, {total}"
        if not arguments.yes and not _agreed(what):
            display.stage("clean", "nothing is removed")
            return
        if arguments.only:
            for path in parts.values():
                _remove(path)
        else:
            shutil.rmtree(directory)
    display.stage("clean", f"removed {what}")


def _parts(directory: Path) -> dict[str, Path]:
    """What lies in the folder of a run; of samples and simulations each result by itself."""
    parts: dict[str, Path] = {}
    for path in sorted(directory.iterdir()):
        results = [child for child in sorted(path.iterdir()) if child.is_dir()] if path.name in KINDS else []
        if path.name != ".lock":
            parts |= {f"{path.name}/{child.name}": child for child in results} or {path.name: path}
    return parts


def _chosen(parts: Mapping[str, Path], only: tuple[str, ...], directory: Path) -> dict[str, Path]:
    if not parts:
        raise ConfigError(f"{directory} holds nothing")
    found = {}
    for name in only:
        inside = {key: path for key, path in parts.items() if key == name or key.startswith(f"{name}/")}
        if not inside:
            raise ConfigError(f"{directory} has no part {name!r}, only {', '.join(parts)}", "--only")
        found |= inside
    return found or dict(parts)


def _files(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if not file.is_dir()] if path.is_dir() else [path]


def _bytes(path: Path) -> int:
    return sum(file.lstat().st_size for file in _files(path))


def _agreed(what: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError(f"{what} would be removed, and nobody is there to ask: add --yes")
    try:
        return input(f"Remove {what}? [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _remove(path: Path) -> None:
    kind = KINDS.get(path.parent.name)
    if kind and path.name.isdigit():
        # First: a list that names what is not there is wrong.
        Results(path.parent, kind).remove(int(path.name))
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
