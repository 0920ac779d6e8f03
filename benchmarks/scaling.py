"""Samples a second of one expert trained by two processes on two cores, over those of one process on one.

The expert of the smallest times of alanine-dipeptide-small with the Fokker-Planck residual, trained by groups
as `fokker train` starts them, on frames of random beads. Both take turns; the rate of a turn is the median
over its blocks but the first, which compiles. The last line is JSON.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from fokker.data.dataset import shards
from fokker.data.molecules.bead_map import BeadMap
from fokker.data.molecules.beads import Beads
from fokker.distributed.cluster import joining
from fokker.distributed.config import ClusterConfig
from fokker.distributed.groups.training import train_experts
from fokker.distributed.runs.presets import PRESETS
from fokker.distributed.training.history import HISTORY, read_history
from fokker.distributed.training.job import ExpertJob

BLOCK = 8


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=3, help="times that both are taken (default 3)")
    parser.add_argument("--steps", type=int, default=96, help="steps of a turn (default 96)")
    parser.add_argument("--hosts", type=int, default=2, help="processes of the larger group (default 2)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        job = small_expert(Path(folder), arguments.steps)
        joining.connect(ClusterConfig())
        turns = [
            [rate(job, hosts, Path(folder) / f"{turn}-{hosts}") for hosts in (1, arguments.hosts)]
            for turn in range(arguments.turns)
        ]
        joining.leave()
    report(arguments.hosts, turns)


def small_expert(folder: Path, steps: int) -> ExpertJob:
    """The expert, and a dataset of as many batches as it takes steps in one epoch."""
    config = PRESETS["alanine-dipeptide-small"]("fokker-planck", "fokker")
    beads = Beads.from_sequence("A", BeadMap.parse("backbone"))
    frames = np.random.default_rng(0).normal(size=(steps * config.train.batch_size, len(beads), 3))
    description = {"beads": beads.to_json()}
    shards.write_system(folder / "data", "A", description, {"train": frames.astype(np.float32)})
    shards.finish(folder / "data", {"name": "A", "norm": 1.0}, ["A"])
    return ExpertJob(
        "expert",
        0,
        folder,
        folder / "data",
        replace(config.experts[0], epochs=1, consistency_weight=1e-4),
        replace(config.network, springs=False),  # pyright: ignore[reportCallIssue]
        replace(config.objective, consistency="fokker-planck", estimator="exact", consistency_fraction=0.125),
        replace(config.train, block=BLOCK, checkpoint_every=10 * steps),
        0,
    )


def rate(job: ExpertJob, hosts: int, directory: Path) -> float:
    """Samples a second of a group of so many processes, each with a core of its own."""
    settings = ClusterConfig(hosts=(hosts,))
    outcome = train_experts([replace(job, directory=directory)], settings, 1, lambda seen: None)["expert"]
    if outcome.error:
        raise RuntimeError(outcome.error)
    seconds = read_history(directory / HISTORY)["seconds"]
    return job.train.batch_size * BLOCK / statistics.median(b - a for a, b in pairwise(seconds))


def report(hosts: int, turns: Sequence[Sequence[float]]) -> None:
    """Print the rates and their ratio, as medians over the turns."""
    one, more = (statistics.median(column) for column in zip(*turns, strict=True))
    ratio = statistics.median(b / a for a, b in turns)
    print(f"{'processes':<10} {'samples/s':>10}")
    for count, value in ((1, one), (hosts, more)):
        print(f"{count:<10} {value:10.0f}")
    print(f"{'ratio':<10} {ratio:10.2f}   (each turn: {', '.join(f'{b / a:.2f}' for a, b in turns)})")
    figures = {"one": one, "more": more, "ratio": ratio}
    print(json.dumps({"benchmark": "scaling", "device": "cpu", "processes": hosts, **figures}))


if __name__ == "__main__":
    main()
