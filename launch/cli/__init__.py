"""The `fokker` command: one file for each of its commands, the arguments beside the work."""

import os
import shlex
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fokker import __version__

from ...data.errors import FokkerError, unknown
from ...distributed.groups.interrupts import INTERRUPTED
from ...distributed.runs.presets import PRESETS
from . import (
    campaign,
    checkpoint,
    clean,
    completion,
    dataset,
    deploy,
    help,
    model,
    plan,
    reproduce,
    run,
    slurm,
    submit,
)
from .command import Command
from .parsing import WIDTH, Help
from .values import UsageError

IN_A_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set by Ray in the process of a job."""
COMMANDS: dict[str, Command] = {
    name: command
    for module in (
        run,
        campaign,
        plan,
        clean,
        dataset,
        model,
        checkpoint,
        reproduce,
        submit,
        deploy,
        slurm,
        help,
        completion,
    )
    for name, command in module.COMMANDS.items()
}


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out a command line, by default the program's own.

    Its status: 0, 1 for a failure, 2 for a wrong setting, 130 for Ctrl-C. Raises what only a mistake of ours
    can cause.
    """
    words = sys.argv[1:] if argv is None else [*argv]
    try:
        name, rest = split(words)
        command = COMMANDS[name]
        return command.carry_out(command.read(name, rest))
    except Help as text:
        print(text)
        return 0
    except KeyboardInterrupt:
        interrupted(words)
        return INTERRUPTED
    except Exception as error:
        return failure(error)


def parse(argv: Sequence[str]) -> Any:
    """The arguments of a command line. Creates nothing. Raises UsageError, and Help if that is asked for."""
    name, rest = split(argv)
    return COMMANDS[name].read(name, rest)


def split(argv: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The command, of one word or two, and what follows it. Raises UsageError, and Help where it is asked."""
    first, second, *_ = [*argv, "", ""]
    if first in ("-h", "--help"):
        raise Help(_overview())
    if first == "--version":
        raise Help(f"fokker {__version__}")
    if not first:
        raise UsageError(f"name a command: {', '.join(_firsts())}")
    if first in COMMANDS:
        return first, argv[1:]
    if first not in _firsts():
        others = [f"fokker {name}" for name in COMMANDS if first in name.split()[1:]]
        raise UsageError(f"command: {unknown(first, _firsts(), others)}")
    if f"{first} {second}" in COMMANDS:
        return f"{first} {second}", argv[2:]
    parts = {name.split()[1]: command.about for name, command in COMMANDS.items() if name.split()[0] == first}
    if second in ("-h", "--help"):
        raise Help(f"usage: fokker {first} {'|'.join(parts)} ...\n\n{_listed(parts)}")
    if not second:
        raise UsageError(f"say what: fokker {first} {'|'.join(parts)}", first)
    raise UsageError(unknown(second, tuple(parts)), first)


def _firsts() -> tuple[str, ...]:
    """What a command line can begin with."""
    return tuple(dict.fromkeys(name.split()[0] for name in COMMANDS))


def _overview() -> str:
    """What `fokker --help` says."""
    return f"""\
usage: fokker COMMAND ...   or   fokker --version

Train energy-based diffusion models whose samples and dynamics agree.

{_listed({name: command.about for name, command in COMMANDS.items()})}

{textwrap.fill(f"presets: {', '.join(PRESETS)}", WIDTH, break_on_hyphens=False)}

'fokker COMMAND --help' explains a command, 'fokker run PRESET --help' every
setting, 'fokker help' the rest. The same command again resumes a run."""


def _listed(commands: dict[str, str]) -> str:
    """Commands with what they do in a second column."""
    indent = max(map(len, commands)) + 4
    lines = (
        textwrap.fill(f"  {name}".ljust(indent) + about, WIDTH, subsequent_indent=" " * indent)
        for name, about in commands.items()
    )
    return "commands:\n" + "\n".join(lines)


def interrupted(words: Sequence[str]) -> None:
    """Say how what was stopped goes on."""
    print(f"\nInterrupted; what was done is kept. Go on with:\n  {shlex.join([*_program(), *words])}")


def _program() -> list[str]:
    """What this command was begun by."""
    if IN_A_JOB in os.environ:
        return ["fokker", "submit", "--"]
    return ["python", "-m", "fokker"] if Path(sys.argv[0]).name == "__main__.py" else ["fokker"]


def failure(error: Exception) -> int:
    """Print an expected error as one line and give its exit status; raise any other."""
    from ...data.files import REFUSALS, file_error

    found = getattr(error, "cause", error)  # Ray's own hold what a task raised.
    if isinstance(found, OSError) and found.errno in REFUSALS:  # Of what data/files.py does not write.
        found = file_error(Path(os.fsdecode(found.filename or "a file")), found)
    if lost := _lost(error):
        found = FokkerError(
            f"Ray lost what the work was done by ({lost}): what was finished is kept, and the same command "
            "goes on"
        )
    if not isinstance(found, FokkerError):
        raise error
    command = found.command if isinstance(found, UsageError) else ""
    print(f"{f'fokker {command}'.rstrip()}: error: {' '.join(str(found).split())}", file=sys.stderr)
    return found.status


def _lost(error: Exception) -> str | None:
    """Why a node, a process or its memory was lost, if that is the error; Ray may not be installed."""
    exceptions = sys.modules.get("ray.exceptions")
    if exceptions is None:
        return None
    kinds = ("LocalRayletDied", "NodeDied", "WorkerCrashed", "RayActor", "OutOfMemory")
    if not isinstance(error, tuple(getattr(exceptions, f"{kind}Error") for kind in kinds)):
        return None
    from ...distributed.cluster import joining

    return joining.reason(error)
