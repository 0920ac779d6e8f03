"""`fokker slurm`: the script of a job that carries out a run, and what that waits for."""

import shlex
import sys
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined

from .slurm_arguments import SAVE_SECONDS, Arguments, Job, RenderArguments, WaitArguments


def carry_out(arguments: Arguments) -> None:
    """Print the script, and on stderr what it asks for; or wait. ClusterError if nodes do not come."""
    if isinstance(arguments, WaitArguments):
        from ..distributed import cluster  # Ray takes seconds to import.

        cluster.wait_for_nodes(arguments.nodes)
        return
    job = arguments.job
    print(script(arguments), end="")
    asked = f"--nodes={job.nodes} --cpus-per-task={job.cpus} --time={job.time}"
    gpus = f" --gpus-per-node={job.gpus}" if job.gpus else ""
    print(
        f"fokker slurm: a job of {asked}{gpus}; submit it with sbatch in a folder that every node sees",
        file=sys.stderr,
    )


def script(arguments: RenderArguments) -> str:
    """The job as sbatch takes it."""
    environment = Environment(
        loader=PackageLoader("fokker.launch", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("job.sbatch.jinja").render(
        typed=shlex.join(["fokker", *arguments.typed]),
        name=arguments.name,
        job=arguments.job,
        save_seconds=SAVE_SECONDS,
        inside=_inside(arguments.job, arguments.places),
        run=_lines(["fokker", *arguments.run]),
    )


def _inside(job: Job, places: Sequence[str]) -> str:
    """What a command in the job's container begins with; empty without one."""
    if job.container is None:
        return ""
    others = dict.fromkeys((job.temporary, *places))
    binds = ['--bind "$PWD"', *(f"--bind {shlex.quote(place)}" for place in others)]
    return " ".join(
        ["apptainer exec", *(["--nv"] if job.gpus else []), *binds, shlex.quote(job.container), ""]
    )


def _lines(words: Sequence[str]) -> str:
    """A command with each of its options on a line."""
    heads = [index for index, word in enumerate(words) if word.startswith("--")]
    first = heads[0] if heads else len(words)
    parts = [shlex.join(words[:first]), *(shlex.quote(word) for word in words[first:])]
    return " \\\n    ".join(parts)
