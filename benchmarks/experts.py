"""What training the experts at the same time is worth: wall times together and alone, through Ray.

The three experts of the paper's Müller-Brown model at their full budget, the slowest of them alone in the
same turn, then three of equal cost. Times are from the submission of the jobs to the last parameters on disk,
start of the processes and compilation included; ratios are medians over the turns. The last line is JSON.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from rich.console import Console

from fokker.distributed.cluster import joining
from fokker.distributed.groups import training
from fokker.distributed.planning.sharing import work
from fokker.distributed.runs import stages
from fokker.distributed.runs.display import Display
from fokker.distributed.runs.presets import PRESETS
from fokker.distributed.runs.run import Run
from fokker.distributed.training.job import ExpertJob


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--equal-epochs", type=int, default=60, help="epochs of the equal experts (default 60)"
    )
    parser.add_argument("--turns", type=int, default=3, help="times that everything runs (default 3)")
    arguments = parser.parse_args()
    config = PRESETS["mueller-brown"]("both", "fokker")
    with tempfile.TemporaryDirectory() as directory:
        run = Run(config, Path(directory))
        stages.data([run], Display(Console(quiet=True)))
        cpus = joining.cpus()

        def seconds(label: str, jobs: Sequence[ExpertJob]) -> float:
            # Nothing is shared: a finished expert would not train again, nor a compiled one compile.
            place = Path(tempfile.mkdtemp(dir=directory))
            os.environ["JAX_COMPILATION_CACHE_DIR"] = str(place / "cache")
            jobs = [replace(job, directory=place / job.name) for job in jobs]
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
        slowest = max(run.jobs, key=work)
        turns = []
        for _ in range(arguments.turns):
            alone = seconds(f"{slowest.name}, the slowest, alone", [slowest])
            together = seconds("all three together", run.jobs)
            equal_alone = [seconds(f"{job.name} alone", [job]) for job in equal]
            equal_together = seconds("three equal ones together", equal)
            turns.append((together / alone, equal_together / sum(equal_alone)))
        joining.leave()
    unequal_ratios, equal_ratios = zip(*turns, strict=True)
    figures = {
        "cpus": cpus,
        "together_over_slowest_alone": median(unequal_ratios),
        "equal_together_over_sum_alone": median(equal_ratios),
        "turns": turns,
    }
    print(json.dumps({"benchmark": "experts", **figures}))


if __name__ == "__main__":
    main()
