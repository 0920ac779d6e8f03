"""What more actors are worth to a campaign, and what it costs to schedule, save and reduce its segments.

Replicas of the Müller-Brown potential and of a dipeptide, by networks of the presets with random parameters,
are advanced by one actor and by two, in segments of some seconds; each actor has one thread. Both take turns,
and every figure is a median over the turns. Rates are those between the first segment of every actor and its
last but one, so that compilation and the end count for neither. The last line is JSON.
"""

import argparse
import json
import os
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from fokker.distributed.campaigns import pool
from fokker.distributed.campaigns.pool import Tally
from fokker.distributed.campaigns.works import Simulation
from fokker.distributed.cluster import joining
from fokker.distributed.config import ClusterConfig

BATCH, SEGMENTS = 100, 5
"""Replicas of each actor, and segments of each replica."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=3, help="times that everything runs (default 3)")
    parser.add_argument("--seconds", type=float, default=6.0, help="of a segment, about (default 6)")
    parser.add_argument("--actors", type=int, default=2, help="compared with one (default 2)")
    arguments = parser.parse_args()
    found = {}
    with joining.leaving(), tempfile.TemporaryDirectory() as folder:
        joining.connect(ClusterConfig())
        for name, work in works(Path(folder), arguments.actors).items():
            work = sized(work, arguments.seconds)
            turns = [
                (measure(work, 1, turn), measure(work, arguments.actors, turn))
                for turn in range(arguments.turns)
            ]
            found[name] = {
                "throughput": median(many.rate / one.rate for one, many in turns),
                "steps per CPU-second": median(many.per_cpu / one.per_cpu for one, many in turns),
                "overhead": median(many.overhead for _, many in turns),
                "steps/s": median(many.rate for _, many in turns),
            }
            print(name, *(f"{key} {value:,.3f}" for key, value in found[name].items()), sep="  ")
    print(json.dumps({"benchmark": "campaign", "actors": arguments.actors, **found}))


def works(folder: Path, actors: int) -> dict[str, Simulation]:
    """One simulation of each system, with as many batches as both numbers of actors can share equally."""
    from fokker.analysis.systems import System
    from fokker.data import archive
    from fokker.data.archive import Archive, Description
    from fokker.data.molecules.bead_map import BeadMap
    from fokker.data.molecules.beads import Beads
    from fokker.distributed.campaigns.starts import FromSamples
    from fokker.distributed.runs.presets import PRESETS

    found = {}
    for name in ("mueller-brown", "dipeptides-small"):
        config = PRESETS[name]("both", "fokker")
        beads = None if name == "mueller-brown" else Beads.from_sequence("AV", BeadMap.parse("backbone"))
        about = Description(
            experts=config.experts,
            network=config.network,
            sample=config.sample,
            simulate=config.simulate,
            springs=None if beads is None else springs(beads),
            **archive.system_of(config.data),
        )
        path = folder / f"{name}.safetensors"
        archive.write(path, Archive(about, parameters(config, beads)))
        system = System.particle(name, about.kT, 0.5)
        if beads is not None:
            system = System.molecule("AV", beads, [0.15] * len(beads.bonds), about.temperature)
        settings = replace(
            config.simulate, chains=BATCH * actors, frames=BATCH * actors, chunk=BATCH, burn_in=0
        )
        found[name] = Simulation(
            *(path, "benchmark", system, FromSamples(config.sample), settings, folder / name, 0, "benchmark")
        )
    return found


def springs(beads) -> Any:
    """Of frames that are none: random ones, as stiff as the real ones are not."""
    import numpy as np

    from fokker.data.molecules.springs import measure as moments

    return moments(beads, 0.1 * np.random.default_rng(0).normal(size=(50, len(beads), 3)))


def parameters(config, beads):
    """Random parameters of all experts."""
    import jax

    from fokker.model.experts import Expert

    shape = (2,) if beads is None else (len(beads), 3)
    return tuple(Expert(one, config.network, shape).init(jax.random.key(0)) for one in config.experts)


def sized(work: Simulation, seconds: float) -> Simulation:
    """With segments of about so many seconds."""
    import ray

    from fokker.distributed import tasks
    from fokker.distributed.runs.campaign_run import seconds_of_a_step

    step = ray.get(tasks.submit(seconds_of_a_step, work))
    frames = max(1, round(seconds / (step * work.config.stride)))
    config = replace(work.config, segment=frames, frames=work.config.chains * frames * SEGMENTS)
    return replace(work, config=config)


@dataclass(frozen=True)
class Measured:
    """What some actors did together."""

    rate: float
    """Steps a second of all replicas."""
    per_cpu: float
    """Steps for each second of a CPU."""
    overhead: float
    """Part of the actors' time that is not spent on computing segments."""


def measure(work: Simulation, actors: int, turn: int) -> Measured:
    """From the first segment of every actor to its last but one."""
    seen: list[tuple[float, float, Tally]] = []

    def watch(tallies: list[Tally]) -> None:
        seen.append((time.perf_counter(), cpu_seconds(), tallies[0]))

    pool.run(
        [replace(work, directory=work.directory.with_name(f"{work.directory.name}-{actors}-{turn}"))],
        ClusterConfig(simulators=actors),
        watch,
    )
    (begin, cpu, first), (end, cpu_end, last) = seen[actors], seen[-1 - actors]
    assert first.total is not None
    assert last.total is not None
    steps, wall = last.total.steps - first.total.steps, end - begin
    busy = last.total.seconds - first.total.seconds
    return Measured(steps / wall, steps / (cpu_end - cpu), 1 - busy / (actors * wall))


def cpu_seconds() -> float:
    """Of all actors so far."""
    total = 0.0
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if "PoolWorker" in (path / "cmdline").read_text():
                user, system = (path / "stat").read_text().rpartition(") ")[2].split()[11:13]
                total += (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
        except OSError:
            continue  # It has ended meanwhile.
    return total


if __name__ == "__main__":
    main()
