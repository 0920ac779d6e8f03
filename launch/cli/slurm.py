"""`fokker slurm`: the script of a job that carries out a run, and what that waits for."""

import math
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass as plain
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Annotated, TypeVar

import tyro
from pydantic import AfterValidator
from pydantic.dataclasses import dataclass

from ...distributed.cluster.machine import RAY_BYTES, SOCKET_BYTES
from ...distributed.runs.config import Config
from ...model.config import STRICT, Count
from .. import templates
from . import parsing, run
from .campaign import CampaignFile, CampaignName
from .command import Command
from .run import RunArguments
from .values import HomePath, UsageError, matching

Job = TypeVar("Job", bound="JobArguments")
SAVE_SECONDS = 120
"""So long before its time is up a job is told to save."""
LEAST_SECONDS = 300
"""A shorter job would do little but start and save."""
CPUS = 8
"""Of each node, or for each of its GPUs."""
FOLDER_BYTES = len("/fokker-4294967295")
"""Of the folder of a job in that for temporary files, at most."""
TEMPORARY = SOCKET_BYTES - RAY_BYTES - FOLDER_BYTES
"""Characters that this leaves to the name of that folder."""


def _as_slurm(pattern: str, example: str) -> AfterValidator:
    return matching(pattern, f"must be what Slurm would take, such as {example}")


def _time(text: str) -> str:
    """A limit, as Slurm writes it. Raises ValueError."""
    found = re.fullmatch(r"(?:(\d{1,3})-)?(\d{1,6})(?::(\d\d))?(?::(\d\d))?", text, re.ASCII)
    if found is None:
        raise ValueError(f"must be MINUTES, HOURS:MINUTES:SECONDS or DAYS-HOURS, not {text!r}")
    days, *rest = found.groups()
    parts = [int(part) for part in rest if part is not None]
    units = (3600, 60, 1) if days or len(parts) == 3 else (60, 1)
    seconds = 86400 * int(days or 0) + sum(map(math.prod, zip(parts, units, strict=False)))
    if seconds < LEAST_SECONDS:
        raise ValueError(
            f"{text} are {seconds} seconds, and a job needs {LEAST_SECONDS} at least: the last "
            f"{SAVE_SECONDS} are for saving"
        )
    return text


def _commands(text: str | None) -> str | None:
    """What a shell can read. Raises ValueError."""
    try:
        shlex.split(text or "", comments=True)
    except ValueError as error:
        raise ValueError(f"{text!r} is no command: {str(error).lower()}") from None
    return text


@dataclass(frozen=True, config=STRICT, kw_only=True)
class JobArguments:
    """What a job asks for."""

    nodes: Count | None = None
    """Nodes (none: what the groups of --cluster.hosts need at a time, or 1)."""
    gpus_per_node: Annotated[str | None, _as_slurm(r"(?:[A-Za-z][\w.-]*:)?\d{1,3}", "4 or a100:4")] = None
    """GPUs of each, perhaps after their type (none: 0; with --cluster.device gpu, what a group takes)."""
    cpus_per_task: Count | None = None
    """CPUs of each (none: 8, or 8 for each GPU)."""
    mem: Annotated[str | None, _as_slurm(r"\d{1,9}[KMGT]?", "64G")] = None
    """Memory of each, such as 64G (none: what the cluster gives)."""
    time: Annotated[str, AfterValidator(_time)] = "24:00:00"
    """Limit, as Slurm writes it; what is left by then is done by the job again."""
    partition: Annotated[str | None, _as_slurm(r"[\w.@+,-]+", "gpu")] = None
    """Partition, or several with commas (none: the cluster's)."""
    account: Annotated[str | None, _as_slurm(r"[\w.@+-]+", "mine")] = None
    """Who is charged (none: you)."""
    container: str | None = None
    """Run in this image, by apptainer (none: what fokker is on PATH)."""
    setup: Annotated[str | None, AfterValidator(_commands)] = None
    """Commands that the job begins with, such as 'module load python'."""
    temp_dir: Annotated[
        str,
        matching(
            rf"(?=.{{1,{TEMPORARY}}}/*$)(?:/[\w.+-]+)+/*",
            f"must be an absolute path without blanks, of at most {TEMPORARY} characters (longer ones leave "
            "no room for sockets)",
        ),
    ] = "/tmp"
    """Folder for temporary files on every node; a short name."""


@dataclass(frozen=True, config=STRICT, kw_only=True)
class SlurmArguments(JobArguments, RunArguments):
    """The script is printed. Without a preset, the settings hold that the run of this --name has saved."""


@dataclass(frozen=True, config=STRICT, kw_only=True)
class SlurmCampaignArguments(JobArguments):
    """The script is printed. Actors are on all of its nodes; what is stopped goes on when it begins again."""

    file: tyro.conf.Positional[CampaignFile]
    """YAML file of the campaign, where every node sees it."""
    name: CampaignName = None
    """Of its folder (none: that of the file)."""
    campaigns_dir: HomePath = Path("campaigns")
    """Folder of all campaigns, where every node sees it."""


@plain(frozen=True)
class Script:
    """A run, and the job that carries it out."""

    typed: tuple[str, ...]
    """After `fokker`."""
    command: tuple[tuple[str, ...], ...]
    """What follows `fokker` in the job: the command and what it is of, and each option with its value."""
    name: str
    places: tuple[str, ...]
    """Absolute paths that the run reads and writes."""
    job: JobArguments
    """What is asked for, with all that was left open."""


@dataclass(frozen=True, config=STRICT)
class WaitArguments:
    """The script of a job does so before it begins; status 1 if the nodes do not come."""

    nodes: tyro.conf.Positional[Count]
    """How many nodes the Ray cluster at RAY_ADDRESS is to have."""


def read(kind: type[SlurmArguments], command: str, argv: Sequence[str], about: str) -> Script:
    """The run as its job will see it, and what it asks for. Raises UsageError."""
    _require_plain(argv)
    asked = run.read(kind, command, argv, about, writes=False)
    if asked.config.cluster.address is not None:
        raise UsageError("--cluster.address: a job has a Ray cluster of its own (none: no other is named)")
    gpus = _gpus(asked)
    handed = asked.words(run.on_devices(gpus))
    first, *options = handed
    this = run.read(RunArguments, command, [*chain(*handed)], writes=False)
    data = getattr(this.config.data, "path", None)
    places = (str(this.directory.parent), *([data] if data else []))
    return Script(
        (*command.split(), *argv),
        (("run", *first), *options),
        this.directory.name,
        tuple(place for place in places if place.startswith("/")),
        _settled(asked, _nodes(asked.nodes, gpus, this.config), gpus),
    )


def read_campaign(
    kind: type[SlurmCampaignArguments], command: str, argv: Sequence[str], about: str
) -> Script:
    """The campaign as its job will see it, and what that asks for. Raises UsageError."""
    _require_plain(argv)
    asked = parsing.read(kind, command, argv, about=about)
    gpus = int((asked.gpus_per_node or "0").rpartition(":")[2])
    words = [("campaign", "run", str(asked.file)), ("--campaigns-dir", str(asked.campaigns_dir))]
    words += [("--name", asked.name)] if asked.name else []
    words += [("--cluster.device", "gpu")] if gpus else []
    places = (str(place) for place in (asked.file.parent, asked.campaigns_dir) if place.is_absolute())
    name = asked.name or asked.file.stem
    job = _settled(asked, asked.nodes or 1, gpus)
    return Script((*command.split(), *argv), tuple(words), name, tuple(places), job)


def _settled(asked: Job, nodes: int, gpus: int) -> Job:
    """With all that was left open."""
    return replace(
        asked,
        nodes=nodes,
        gpus_per_node=(asked.gpus_per_node or str(gpus)) if gpus else None,
        cpus_per_task=asked.cpus_per_task or CPUS * max(1, gpus),
        temp_dir=asked.temp_dir.rstrip("/"),
    )


def _require_plain(argv: Sequence[str]) -> None:
    if any(re.search(r"[\x00-\x1f\x7f]", word) for word in argv):
        raise UsageError("line breaks and other control characters have no place in the script of a job")


def _gpus(asked: SlurmArguments) -> int:
    """GPUs of each node, those of a run on GPUs unless it is said. UsageError if the two disagree."""
    device, devices = asked.config.cluster.device, asked.config.cluster.devices_per_host
    text = asked.gpus_per_node
    if text is None:
        return devices if device == "gpu" else 0
    count = int(text.rpartition(":")[2])
    if "cluster.device" in asked.given and (device == "gpu") != (count > 0):
        raise UsageError(f"--cluster.device {device}: does not go with --gpus-per-node {text}; leave it out")
    if "cluster.devices_per_host" in asked.given and 0 < count < devices:
        raise UsageError(f"--cluster.devices-per-host {devices}: a node has --gpus-per-node {text}")
    return count


def _nodes(asked: int | None, gpus: int, config: Config) -> int:
    """As many as is said, or as the groups need at the same time; one where hosts are shared out."""
    if (hosts := config.hosts) is None:
        return asked or 1
    # On GPUs a node holds so many groups; CPUs are divided among all.
    held = gpus // config.cluster.devices_per_host if gpus else len(hosts)
    if asked is not None and asked < max(hosts):
        raise UsageError(f"--nodes {asked}: a group has {max(hosts)} hosts, by --cluster.hosts")
    return asked or max(max(hosts), math.ceil(sum(hosts) / held))


def render(arguments: Script) -> None:
    """Print the script, and on stderr what it asks for."""
    job = arguments.job
    print(script(arguments), end="")
    asked = f"--nodes={job.nodes} --cpus-per-task={job.cpus_per_task} --time={job.time}"
    gpus = f" --gpus-per-node={job.gpus_per_node}" if job.gpus_per_node else ""
    print(
        f"fokker slurm: a job of {asked}{gpus}; submit it with sbatch in a folder that every node sees",
        file=sys.stderr,
    )


def wait(arguments: WaitArguments) -> None:
    """Wait for the nodes. ClusterError if they do not come."""
    from ...distributed.cluster import joining  # Ray takes seconds to import.

    joining.wait_for_nodes(arguments.nodes)


def script(arguments: Script) -> str:
    """The job as sbatch takes it."""
    return templates.load("job.sbatch.jinja").render(
        typed=shlex.join(["fokker", *arguments.typed]),
        name=arguments.name,
        job=arguments.job,
        save_seconds=SAVE_SECONDS,
        places=dict.fromkeys((arguments.job.temp_dir, *arguments.places)),
        run=" \\\n    ".join(map(shlex.join, [("fokker", *arguments.command[0]), *arguments.command[1:]])),
    )


COMMANDS = {
    "slurm render": Command(
        "write the script of a job that carries a run out on a cluster with Slurm",
        SlurmArguments,
        render,
        read,
        shows=False,
    ),
    "slurm campaign": Command(
        "write the script of a job that carries a campaign out",
        SlurmCampaignArguments,
        render,
        read_campaign,
        shows=False,
    ),
    "slurm wait": Command("wait until a Ray cluster has its nodes", WaitArguments, wait, shows=False),
}
