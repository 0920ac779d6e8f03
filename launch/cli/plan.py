"""`fokker plan`: a run, and the cluster that it is planned for."""

from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator
from pydantic.dataclasses import dataclass

from ...distributed.cluster.devices import DEVICES
from ...model.config import STRICT, Count
from .command import Command
from .run import RunArguments, read
from .values import Choices, HomePath, new_file

if TYPE_CHECKING:
    from ...distributed.runs.display import Display

HERE = "cpu"
"""The device that is this machine."""


@dataclass(frozen=True, config=STRICT, kw_only=True)
class PlanArguments(RunArguments):
    """Nothing is started. Without a preset, the settings hold that the run of this --name has saved."""

    device: Annotated[str, AfterValidator(Choices((*DEVICES, HERE)))] = HERE
    """What each device is; cpu is a thread of this machine."""
    hosts: Count = 1
    """Hosts of the whole cluster."""
    frames: Count | None = None
    """Training frames (none: those of the data, or what the settings would make)."""
    beads: Count | None = None
    """Beads of the largest molecule (none: those of the data or of the sequences)."""
    json: Annotated[HomePath | None, new_file(".json")] = None
    """Write the numbers to this file as well."""


def carry_out(arguments: PlanArguments, display: "Display") -> None:
    """Compile, and print the plan."""
    from .. import plan  # JAX takes seconds to import.

    plan.carry_out(arguments, display)


COMMANDS = {
    "plan": Command(
        "say what a training would take on a cluster, without training",
        PlanArguments,
        carry_out,
        partial(read, writes=False),
    )
}
