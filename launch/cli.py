"""The `fokker` command."""

import os
import shlex
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ..distributed import interrupts, machine
from ..distributed.interrupts import INTERRUPTED
from . import streams

if TYPE_CHECKING:
    from .arguments import OtherArguments, RunArguments
    from .display import Display
    from .run import Run

IN_A_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set by Ray in the process of a job."""
READING = ("evaluate", "report")
"""Commands that change no setting of a run, and remove nothing."""
LAST_SECONDS = 3.0
"""What a command is given to end by itself when its cluster has been ended."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Carry out a command line, the program's own if none is given, and exit with the status of `command`."""
    words = sys.argv[1:] if argv is None else argv
    streams.prepare()
    interrupts.install(partial(_end_without_cluster, words))
    try:
        status = streams.finish(command(words))
    finally:
        machine.remove_scratch()
    # Not sys.exit: threads of Ray can crash while the interpreter takes itself down, and the status is lost.
    os._exit(status)


def _end_without_cluster(words: Sequence[str]) -> None:
    """After a signal, end where Ray is not to be waited for: its processes got the signal as well."""
    from ..distributed import ray_compat

    while not ray_compat.lost():
        time.sleep(0.2)
    time.sleep(LAST_SECONDS)
    ray_compat.kill()
    _interrupted(words)
    status = streams.finish(INTERRUPTED)
    machine.remove_scratch()
    os._exit(status)


def command(argv: Sequence[str]) -> int:
    """Carry out a command line; 0, 1 for a failure, 2 for a wrong setting, 130 for Ctrl-C."""
    try:
        from .arguments import RunArguments, parse
        from .slurm_arguments import RenderArguments, WaitArguments

        arguments = parse(argv)
        # Without the seconds that a display takes to import.
        if isinstance(arguments, RenderArguments | WaitArguments):
            from . import slurm

            slurm.carry_out(arguments)
            return 0
        # Now that nothing can be wrong with the words: Ray and JAX take seconds to import.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        machine.prepare_matplotlib()
        from rich.console import Console

        from .display import Display

        display = Display(Console(highlight=False))
        if isinstance(arguments, RunArguments):
            run(arguments, display)
        else:
            return other(arguments, display)
    except KeyboardInterrupt:
        _interrupted(argv)
        return INTERRUPTED
    except Exception as error:
        return failure(error)
    return 0


def _interrupted(words: Sequence[str]) -> None:
    again = shlex.join([*_program(), *words])
    print(f"\nInterrupted; what was done is kept. Go on with:\n  {again}")


def _program() -> list[str]:
    """What this command was begun by."""
    if IN_A_JOB in os.environ:
        return ["fokker", "submit", "--"]
    return ["python", "-m", "fokker"] if Path(sys.argv[0]).name == "__main__.py" else ["fokker"]


def other(arguments: "OtherArguments", display: "Display") -> int:
    """What is not a stage of a run; its status."""
    from . import arguments as given
    from . import molecule_arguments as molecules
    from .clean import CleanArguments
    from .deploy_arguments import RenderArguments
    from .plan_arguments import PlanArguments
    from .submit import SubmitArguments

    if isinstance(arguments, SubmitArguments):
        from . import submit

        return submit.carry_out(arguments, display)
    if isinstance(arguments, CleanArguments):
        from . import clean

        clean.carry_out(arguments, display)
    elif isinstance(arguments, given.ExportArguments):
        from . import export

        export.carry_out(arguments, display)
    elif isinstance(arguments, given.CheckpointArguments):
        from . import checkpoint

        checkpoint.carry_out(arguments, display)
    elif isinstance(arguments, PlanArguments):
        from . import plan

        plan.carry_out(arguments, display)
    elif isinstance(arguments, RenderArguments):
        from . import deploy

        deploy.carry_out(arguments)
    elif isinstance(arguments, given.ReproduceArguments):
        from .reproduce import reproduce

        reproduce(arguments, display)
    elif isinstance(arguments, molecules.TakenArguments):
        from . import backend, taken

        backend.require()
        taken.carry_out(arguments, display)
    elif isinstance(arguments, molecules.JudgeArguments):
        from . import judge

        judge.carry_out(arguments, display)
    else:
        from . import datasets

        datasets.carry_out(arguments, display)
    return 0


def failure(error: Exception) -> int:
    """Print an expected error as one line and give its exit status; raise any other."""
    from ray.exceptions import RayTaskError

    from ..data.fence import FencedError
    from ..data.files import REFUSALS, FileError, file_error
    from ..data.residues import MoleculeError
    from ..data.shards import DatasetError
    from ..distributed.cluster import ClusterError
    from ..distributed.pool import PoolError
    from .config import ConfigError
    from .run import BusyError, StageError

    found = error.cause if isinstance(error, RayTaskError) else error
    if isinstance(found, OSError) and found.errno in REFUSALS:  # Of what data/files.py does not write.
        found = file_error(Path(os.fsdecode(found.filename or "a file")), found)
    expected = (
        *(BusyError, ConfigError, DatasetError, MoleculeError),
        *(ClusterError, FencedError, FileError, PoolError, StageError),
    )
    if not isinstance(found, expected):
        raise error
    print(f"fokker: error: {found}", file=sys.stderr)
    return 2 if isinstance(found, ConfigError) else 1


def run(arguments: "RunArguments", display: "Display") -> None:
    """All stages of a run, or one."""
    from rich.pretty import Pretty

    from ..data.shards import MANIFEST
    from ..distributed import storage
    from . import checks
    from .run import Run, locked
    from .stages import STAGES

    directory, reads = arguments.directory, arguments.command in READING
    config = arguments.config
    if not reads or (directory / "data" / MANIFEST).exists():
        config = checks.at_data_temperature(config, directory / "data", arguments.given)
    this = Run(config, directory, allowed=arguments.allowed, result=arguments.result)
    judged = []
    if reads:
        this.require_saved()
    else:
        this.changes()  # Refuses before anything is created.
        storage.require_no_objects(directory)
        judged = checks.require_judgeable(this)
    with locked(directory) as note:
        notes = [note] if note else []
        notes += [] if reads else this.claim()
        display.console.print(Pretty(config, expand_all=False, max_string=80))
        if not reads:
            checks.require_room(this, judged)
        for note in notes:
            display.stage("note", note)
        stages = STAGES if arguments.command == "run" else [arguments.command]
        execute(list(stages), [this], display)


def execute(stages: Sequence[str], runs: "Sequence[Run]", display: "Display") -> None:
    """The stages of several runs, each stage for all of them together."""
    from ..distributed import cluster
    from . import checks
    from .stages import STAGES

    try:
        if not {*stages} <= {*READING}:
            for note in checks.require_storage(runs[0].directory, runs[0].config.cluster):
                display.stage("note", note)
        for stage in stages:
            begin = time.perf_counter()
            STAGES[stage](runs, display)
            for this in runs:
                this.add_timing(stage, (time.perf_counter() - begin) / len(runs))
    finally:
        cluster.leave()


if __name__ == "__main__":
    main()
