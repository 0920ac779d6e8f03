"""The command line of `fokker plan`: a run, and the cluster that it is planned for."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..distributed.devices import DEVICES
from .config import Config
from .words import Options, UsageError, choice, path, take, whole

if TYPE_CHECKING:
    from .arguments import RunArguments

HERE = "cpu"
"""The device that is this machine."""


@dataclass(frozen=True)
class PlanArguments:
    """What would be trained, and on what."""

    config: Config
    directory: Path
    """Where a run of it would live, or does."""
    device: str
    hosts: int
    """Of the whole cluster; how many devices each has is the configuration's."""
    frames: int | None
    beads: int | None
    json: Path | None
    """File that the numbers are written to."""


def plan(
    words: list[str], options: Options, run: "Callable[[str, list[str], Options], RunArguments]"
) -> PlanArguments:
    """Those of `fokker plan`; `run` reads what it shares with the commands of a run. Raises UsageError."""
    device = choice("--device", take(options, "--device", HERE), (*DEVICES, HERE))
    hosts = whole(options, "--hosts")
    if devices := whole(options, "--devices-per-host"):  # For short, as --data is.
        options["--cluster.devices-per-host"] = str(devices)
    frames, beads = whole(options, "--frames"), whole(options, "--beads")
    file = path(take(options, "--json", "plan.json")) if "--json" in options else None
    if file is not None and (file.suffix != ".json" or not file.absolute().parent.is_dir()):
        raise UsageError(f"--json: {file} has to end with .json, in a folder that is there")
    this = run("plan", words, options)
    return PlanArguments(this.config, this.directory, device, hosts or 1, frames, beads, file)
