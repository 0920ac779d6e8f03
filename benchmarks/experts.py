"""What training the experts at the same time is worth: wall times together and alone, through Ray.

The three experts of the paper's Müller-Brown model at their full budget, then three of equal cost. Times are
from the submission of the jobs to the last parameters on disk, start of the processes and compilation
included. The last line is JSON.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from fokker.distributed import cluster, training
from fokker.distributed.expert import ExpertJob
from fokker.launch import stages
from fokker.launch.display import Display
from fokker.launch.presets import PRESETS
from fokker.launch.run import Run


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--equal-epochs", type=int, default=60, help="epochs of the equal experts (default 60)"
    )
    arguments = parser.parse_args()
    config = PRESETS["mueller-brown"]("both", "fokker")
    with tempfile.TemporaryDirectory() as directory:
        run = Run(config, Path(directory))
        stages.data([run], Display(Console(quiet=True)))
        cpus = cluster.cpus()

        def seconds(label: str, jobs: Sequence[ExpertJob]) -> float:
            # Nothing is shared: a finished expert would not train again, nor a compiled one compile.
            os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(directory) / label / "cache")
            jobs = [replace(job, directory=Path(directory) / label / job.name) for job in jobs]
            begin = time.perf_counter()
            outcomes = training.train_experts(jobs, config.cluster, len(jobs), lambda _: None)
            elapsed = time.perf_counter() - begin
            errors = [outcome.error for outcome in outcomes.values() if outcome.error]
            if errors:
                raise SystemExit(errors[0])
            print(f"{label:<32} {elapsed:7.1f} s", flush=True)
            return elapsed

        equal = [
            replace(
                run.jobs[1],
                name=f"equal {index}",
                index=index,
                expert=replace(run.jobs[1].expert, epochs=arguments.equal_epochs),
            )
            for index in range(3)
        ]
        alone = {job.name: seconds(f"{job.name} alone", [job]) for job in run.jobs}
        together = seconds("all three together", run.jobs)
        equal_alone = [seconds(f"{job.name} alone", [job]) for job in equal]
        equal_together = seconds("three equal ones together", equal)
        cluster.leave()
    figures = {
        "cpus": cpus,
        "seconds_alone": alone,
        "seconds_together": together,
        "together_over_slowest_alone": together / max(alone.values()),
        "equal_seconds_alone": equal_alone,
        "equal_seconds_together": equal_together,
        "equal_together_over_sum_alone": equal_together / sum(equal_alone),
    }
    print(json.dumps({"benchmark": "experts", **figures}))


if __name__ == "__main__":
    main()
