"""The command line of `fokker slurm`: a run, and what its job asks Slurm for."""

import math
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..distributed.machine import RAY_BYTES, SOCKET_BYTES
from .config import Config
from .usage import SLURM_OPTIONS, run_help, slurm_wait_help
from .words import Options, UsageError, choice, joined, only, print_and_exit, take, whole

if TYPE_CHECKING:
    from .arguments import RunArguments

SAVE_SECONDS = 120
"""So long before its time is up a job is told to save."""
LEAST_SECONDS = 300
"""A shorter job would do little but start and save."""
CPUS = 8
"""Of each node, or for each of its GPUs."""
FOLDER_BYTES = len("/fokker-4294967295")
"""Of the folder of a job in that for temporary files, at most."""

Run = Callable[[str, list[str], Options], "RunArguments"]


@dataclass(frozen=True)
class Job:
    """What a job asks for."""

    nodes: int
    gpus: str
    """Of each node, after their type where it is given; empty for none."""
    cpus: int
    """Of each node."""
    time: str
    memory: str | None = None
    """Of each node."""
    partition: str | None = None
    account: str | None = None
    temporary: str = "/tmp"
    """Folder for temporary files on every node."""
    container: str | None = None
    """Image of apptainer."""
    setup: str | None = None
    """Commands that it begins with."""


@dataclass(frozen=True)
class RenderArguments:
    """A run, and the job that carries it out."""

    typed: tuple[str, ...]
    """After `fokker`."""
    run: tuple[str, ...]
    """What `fokker` carries out in the job."""
    name: str
    places: tuple[str, ...]
    """Absolute paths that the run reads and writes."""
    job: Job


@dataclass(frozen=True)
class WaitArguments:
    """How many nodes a Ray cluster is to have."""

    nodes: int


Arguments = RenderArguments | WaitArguments


def slurm(words: list[str], options: Options, run: Run) -> Arguments:
    """Those of `fokker slurm`; `run` reads what it shares with the commands of a run. Raises UsageError."""
    if not words:
        if "--help" in options:
            print_and_exit(run_help("slurm"))
        raise UsageError("say what, and of which run: fokker slurm render PRESET > job.sbatch")
    if choice("slurm", words[0], ("render", "wait")) == "wait":
        return _wait(words[1:], options)
    return _render(words[1:], options, run)


def _wait(words: list[str], options: Options) -> WaitArguments:
    if "--help" in options:
        print_and_exit(slurm_wait_help())
    number = only(words, "number of nodes")
    if options or number is None:
        raise UsageError("say for how many nodes, and nothing else: fokker slurm wait 2")
    return WaitArguments(whole({"nodes": number}, "nodes") or 1)


def _render(words: list[str], options: Options, run: Run) -> RenderArguments:
    typed = ("slurm", "render", *joined(words, options))
    if any(re.search(r"[\x00-\x1f\x7f]", word) for word in typed):
        raise UsageError("line breaks and other control characters have no place in the script of a job")
    asked = {name: options.pop(name) for name in [*options] if name in SLURM_OPTIONS}
    config = run("slurm", words, dict(options)).config
    if config.cluster.address is not None:
        raise UsageError("--cluster.address: a job has a Ray cluster of its own (null: none is named)")
    gpus = _gpus(asked, options, config)
    for name, text in _devices(gpus).items():
        options.setdefault(name, text)
    this = run("slurm", words, dict(options))
    data = getattr(this.config.data, "path", None)
    places = (str(this.directory.parent), *([data] if data else []))
    return RenderArguments(
        typed,
        ("run", *joined(words, options)),
        this.directory.name,
        tuple(place for place in places if place.startswith("/")),
        _job(asked, gpus, this.config),
    )


def _job(asked: Options, gpus: int, config: Config) -> Job:
    """What is asked for, with the defaults."""
    return Job(
        nodes=_nodes(whole(asked, "--nodes"), gpus, config),
        gpus=(asked.get("--gpus-per-node") or str(gpus)) if gpus else "",
        cpus=whole(asked, "--cpus-per-task") or CPUS * max(1, gpus),
        time=_time(take(asked, "--time", "24:00:00")),
        memory=_plain(asked, "--mem", r"\d{1,9}[KMGT]?", "64G"),
        partition=_plain(asked, "--partition", r"[\w.@+,-]+", "gpu"),
        account=_plain(asked, "--account", r"[\w.@+-]+", "mine"),
        temporary=_temporary(take(asked, "--temp-dir", "/tmp")),
        container=take(asked, "--container", "fokker.sif") if "--container" in asked else None,
        setup=_setup(asked),
    )


def _plain(asked: Options, name: str, pattern: str, example: str) -> str | None:
    """The value of an option that Slurm takes, if it is given."""
    if name not in asked:
        return None
    text = take(asked, name, example)
    if not re.fullmatch(pattern, text, re.ASCII):
        raise UsageError(
            f"{name}: {text!r} is nothing that Slurm would take; write it as in {name} {example}"
        )
    return text


def _gpus(asked: Options, given: Options, config: Config) -> int:
    """GPUs of each node, those of a run on GPUs unless it is said. UsageError if the two disagree."""
    device, devices = config.cluster.device, config.cluster.devices_per_host
    text = _plain(
        dict(asked), "--gpus-per-node", r"(?:[A-Za-z][\w.-]*:)?\d{1,3}", "4 or --gpus-per-node a100:4"
    )
    if text is None:
        return devices if device == "gpu" else 0
    count = int(text.rpartition(":")[2])
    if "--cluster.device" in given and (device == "gpu") != (count > 0):
        raise UsageError(f"--cluster.device {device}: does not go with --gpus-per-node {text}; leave it out")
    if "--cluster.devices-per-host" in given and 0 < count < devices:
        raise UsageError(f"--cluster.devices-per-host {devices}: a node has --gpus-per-node {text}")
    return count


def _devices(gpus: int) -> dict[str, str]:
    """What the run is told of the devices of its nodes."""
    if not gpus:
        return {"--cluster.device": "cpu"}
    return {"--cluster.device": "gpu", "--cluster.devices-per-host": str(gpus)}


def _nodes(asked: int | None, gpus: int, config: Config) -> int:
    """As many as is said, or as the groups need at the same time; one where hosts are shared out."""
    cluster, experts = config.cluster, len(config.experts)
    if not isinstance(cluster.hosts, tuple):
        return asked or 1
    hosts = cluster.hosts * experts if len(cluster.hosts) == 1 else cluster.hosts
    # On GPUs a node holds so many groups; CPUs are divided among all.
    held = gpus // cluster.devices_per_host if gpus else experts
    if asked is not None and asked < max(hosts):
        raise UsageError(f"--nodes {asked}: a group has {max(hosts)} hosts, by --cluster.hosts")
    return asked or max(max(hosts), math.ceil(sum(hosts) / held))


def _time(text: str) -> str:
    """A limit, as Slurm writes it."""
    found = re.fullmatch(r"(?:(\d{1,3})-)?(\d{1,6})(?::(\d\d))?(?::(\d\d))?", text, re.ASCII)
    if found is None:
        raise UsageError(f"--time: must be MINUTES, HOURS:MINUTES:SECONDS or DAYS-HOURS, not {text!r}")
    days, *rest = found.groups()
    parts = [int(part) for part in rest if part is not None]
    units = (3600, 60, 1) if days or len(parts) == 3 else (60, 1)
    seconds = 86400 * int(days or 0) + sum(map(math.prod, zip(parts, units, strict=False)))
    if seconds < LEAST_SECONDS:
        raise UsageError(
            f"--time: {text} are {seconds} seconds, and a job needs {LEAST_SECONDS} at least: the last "
            f"{SAVE_SECONDS} are for saving"
        )
    return text


def _temporary(text: str) -> str:
    """A folder whose name leaves room for those of sockets below it."""
    longest = SOCKET_BYTES - RAY_BYTES - FOLDER_BYTES
    folder = text.rstrip("/")
    if not re.fullmatch(r"(?:/[\w.+-]+)+", folder, re.ASCII) or len(folder) > longest:
        raise UsageError(
            f"--temp-dir: must be an absolute path without blanks, of at most {longest} characters (longer "
            f"ones leave no room for sockets), not {text!r}"
        )
    return folder


def _setup(asked: Options) -> str | None:
    if "--setup" not in asked:
        return None
    text = take(asked, "--setup", "'module load python'")
    try:
        shlex.split(text, comments=True)
    except ValueError as error:
        raise UsageError(f"--setup: {text!r} is no command: {str(error).lower()}") from None
    return text
