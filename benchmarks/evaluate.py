"""Peak memory of the process that evaluates a run, of ten times as many frames over that of as many.

Reference, samples and simulation are of a dipeptide and of one distribution; what the actors commit is made
beforehand, in a process of its own.
"""

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

FRAMES = (50_000, 500_000)
CHAINS = 100


def run_of(folder: Path, frames: int):
    """A run of one dipeptide with as many frames of each set."""
    from fokker.distributed.runs.presets import PRESETS
    from fokker.distributed.runs.run import Run

    config = PRESETS["dipeptides-small"]("both", "fokker")
    config = replace(
        config,
        data=replace(config.data, evaluate="train"),
        sample=replace(config.sample, samples=frames, chunk=5000),
        simulate=replace(
            config.simulate, frames=frames, chains=CHAINS, chunk=CHAINS // 10, segment=frames, burn_in=0
        ),
    )
    return Run(config, folder / f"{frames}")


def make(folder: Path, frames: int) -> None:
    """The dataset, and the segments of samples and simulation, as actors commit them."""
    import numpy as np

    from fokker.data.dataset import shards
    from fokker.data.molecules.bead_map import BeadMap
    from fokker.data.molecules.beads import Beads
    from fokker.data.trajectories import write_part
    from fokker.distributed.campaigns.segments import Made, Segment, Store, summarise
    from fokker.distributed.campaigns.works import lanes_of
    from fokker.distributed.runs.results import Origin

    random, run = np.random.default_rng(0), run_of(folder, frames)
    beads = Beads.from_sequence("AC", BeadMap.parse("backbone"))
    shape = random.normal(0, 0.2, (len(beads), 3))

    def drawn(*sizes: int) -> np.ndarray:
        return (shape + 0.05 * random.normal(size=(*sizes, *shape.shape))).astype(np.float32)

    parts = [{"name": "AC", "split": "train", "frames": frames, "spacing": 1.0}]
    description = {"beads": beads.to_json(), "bond_means": [0.3] * len(beads.bonds), "trajectories": parts}
    shards.write_system(run.data, "AC", description, {"train": drawn(frames)})
    dataset = shards.finish(run.data, {"name": "AC", "norm": 5.0}, ["AC"])
    origin = Origin("model", dataset.fingerprint, run.config.seed, "train")
    works = (
        *run.sampling(run.samples.ask(run.config.sample, origin)),
        *run.simulation(run.simulations.ask(run.config.simulate, origin)),
    )
    for work in works:
        store = Store(work.directory)
        for first, count in lanes_of(work, ()):
            segment = Segment(first, count, 0, work.length)
            batch = drawn(count, len(work.frame_steps(segment)))
            made = Made(batch, np.ones((2, *batch.shape[:2])))
            ends = write_part(batch.reshape(-1, *shape.shape), store.xtc(segment), chains=count)
            store.commit(segment, made, *summarise(made, segment, work.system, 1, 1.0), ends)


def judge(folder: Path, frames: int) -> tuple[float, float]:
    """Seconds and peak memory (MB) of metrics, files for other programs and figures."""
    from fokker.analysis.report import figures
    from fokker.distributed.runs import evaluate
    from fokker.distributed.runs.chosen import Chosen

    chosen, begin = Chosen.of(run_of(folder, frames), "evaluate"), time.perf_counter()
    sets = evaluate.sets_of(chosen)
    evaluate._result(chosen, sets)
    evaluate._write_trajectories(chosen)
    for _, figure in figures.free_energies(evaluate.drawn(sets)).values():
        figures.to_png(figure)
    return time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def apart(function, *arguments):
    """The result of a function in a new process, whose peak memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def main() -> None:
    """Print a line for each number of frames, and all as JSON."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for frames in FRAMES:
            apart(make, Path(folder), frames)
            found[frames] = apart(judge, Path(folder), frames)
            print(
                f"{frames:7d} frames of each set: {found[frames][1]:.0f} MB, {found[frames][0]:.1f} s",
                flush=True,
            )
    few, many = (found[frames][1] for frames in FRAMES)
    print(json.dumps({"benchmark": "evaluate", "peak_mb": [few, many], "ratio": many / few}))


if __name__ == "__main__":
    main()
