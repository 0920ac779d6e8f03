"""The `fokker` command."""

import os
import shlex
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from .arguments import OtherArguments, RunArguments
    from .display import Display
    from .run import Run

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Carry out a command line, the program's own if none is given, and exit with the status of `command`."""
    status = command(sys.argv[1:] if argv is None else argv)
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: threads of Ray can crash while the interpreter takes itself down, and the status is lost.
    os._exit(status)


def command(argv: Sequence[str]) -> int:
    """Carry out a command line; 0, 1 for a failure, 2 for a wrong setting, 130 for Ctrl-C."""
    try:
        from .arguments import RunArguments, parse

        arguments = parse(argv)
        # Now that nothing can be wrong with the words: Ray and JAX take seconds to import.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        from rich.console import Console

        from .display import Display

        display = Display(Console(highlight=False))
        if isinstance(arguments, RunArguments):
            run(arguments, display)
        else:
            other(arguments, display)
    except KeyboardInterrupt:
        again = shlex.join(["fokker", *argv])
        print(f"\nInterrupted; what was done is kept. Go on with:\n  {again}")
        return INTERRUPTED
    except Exception as error:
        return failure(error)
    return 0


def other(arguments: "OtherArguments", display: "Display") -> None:
    """What is not a stage of a run."""
    from . import arguments as given
    from . import molecule_arguments as molecules
    from .plan_arguments import PlanArguments

    if isinstance(arguments, given.ExportArguments):
        from .trained import load

        load(arguments.run).save(arguments.file)
        display.stage("export", str(arguments.file))
    elif isinstance(arguments, given.CheckpointArguments):
        from . import checkpoint

        checkpoint.carry_out(arguments, display)
    elif isinstance(arguments, PlanArguments):
        from . import plan

        plan.carry_out(arguments, display)
    elif isinstance(arguments, given.ReproduceArguments):
        from .reproduce import reproduce

        reproduce(arguments, display)
    elif isinstance(arguments, molecules.TakenArguments):
        from . import taken

        taken.carry_out(arguments, display)
    elif isinstance(arguments, molecules.JudgeArguments):
        from . import judge

        judge.carry_out(arguments, display)
    else:
        from . import datasets

        datasets.carry_out(arguments, display)


def failure(error: Exception) -> int:
    """Print an expected error as one line and give its exit status; raise any other."""
    from ray.exceptions import RayTaskError

    from ..data.files import FileError
    from ..data.residues import MoleculeError
    from ..data.shards import DatasetError
    from ..distributed.cluster import ClusterError
    from ..distributed.pool import PoolError
    from .config import ConfigError
    from .run import BusyError
    from .stages import StageError

    found = error.cause if isinstance(error, RayTaskError) else error
    expected = (
        BusyError,
        ConfigError,
        DatasetError,
        FileError,
        MoleculeError,
        ClusterError,
        PoolError,
        StageError,
    )
    if not isinstance(found, expected):
        raise error
    print(f"fokker: error: {found}", file=sys.stderr)
    return 2 if isinstance(found, ConfigError) else 1


def run(arguments: "RunArguments", display: "Display") -> None:
    """All stages of a run, or one."""
    from rich.pretty import Pretty

    from .run import Run, locked
    from .stages import STAGES

    this = Run(arguments.config, arguments.directory, allowed=arguments.allowed)
    with locked(this.directory):
        notes = this.claim()
        display.console.print(Pretty(arguments.config, expand_all=False, max_string=80))
        for note in notes:
            display.stage("note", note)
        stages = STAGES if arguments.command == "run" else [arguments.command]
        execute(list(stages), [this], display)


def execute(stages: Sequence[str], runs: "Sequence[Run]", display: "Display") -> None:
    """The stages of several runs, each stage for all of them together."""
    from ..distributed import cluster
    from .stages import STAGES

    try:
        for stage in stages:
            begin = time.perf_counter()
            STAGES[stage](runs, display)
            for this in runs:
                this.add_timing(stage, (time.perf_counter() - begin) / len(runs))
    finally:
        cluster.leave()


if __name__ == "__main__":
    main()
