"""What the Fokker-Planck term costs: time of a training step over that of the plain denoising step.

One energy network of the paper's size for Müller-Brown (92, 92, 92), batches of 128. All variants take turns
in one process, so that other load on the machine falls on each alike; every figure is a median of the
ratios of one turn. The last line is JSON.
"""

import argparse
import json
import os
import time
from dataclasses import replace
from functools import partial

from fokker.distributed import cluster

BLOCK = 64
"""Steps in one call."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=15, help="times that every variant runs (default 15)")
    parser.add_argument(
        "--gpu", action="store_true", help="run on JAX's default device, not on one CPU thread"
    )
    arguments = parser.parse_args()
    os.environ.update(cluster.worker_environment(on_gpu=arguments.gpu))

    import jax
    import numpy as np

    from fokker.distributed.train_step import init_state, make_train_step, train_block
    from fokker.launch.presets import PRESETS
    from fokker.model.experts import Expert

    config = PRESETS["mueller-brown"]("fokker-planck", "paper")
    (regularised,) = config.experts
    plain = replace(regularised, consistency_weight=0.0)
    objectives = {
        "plain": (plain, config.objective),
        "weak": (regularised, replace(config.objective, estimator="weak")),
        "hutchinson": (regularised, replace(config.objective, estimator="hutchinson")),
        "exact": (regularised, replace(config.objective, estimator="exact")),
        "exact on a quarter of the batch": (
            regularised,
            replace(config.objective, estimator="exact", consistency_fraction=0.25),
        ),
    }
    batches = jax.random.normal(jax.random.key(0), (BLOCK, config.train.batch_size, 2))
    runs = {}
    for name, (settings, objective) in objectives.items():
        expert = Expert(settings, config.network, (2,))
        step = make_train_step(expert, objective, config.train, 10_000, 781)
        state = init_state(expert, config.train, 10_000, jax.random.key(2))
        runs[name] = jax.jit(partial(train_block, step)), state

    def seconds(name: str) -> float:
        run, state = runs[name]
        begin = time.perf_counter()
        jax.block_until_ready(run(state, batches, BLOCK, jax.random.key(1)))
        return (time.perf_counter() - begin) / BLOCK

    for name in runs:
        seconds(name)
    turns = [{name: seconds(name) for name in runs} for _ in range(arguments.turns)]
    milliseconds = {name: 1e3 * float(np.median([turn[name] for turn in turns])) for name in runs}

    def over(other: str) -> dict[str, float]:
        return {name: float(np.median([turn[name] / turn[other] for turn in turns])) for name in runs}

    print(f"{'variant':<32} {'ms/step':>8} {'over plain':>11} {'over weak':>10}")
    for name, value in milliseconds.items():
        print(f"{name:<32} {value:8.3f} {over('plain')[name]:11.2f} {over('weak')[name]:10.2f}")
    figures = {"milliseconds": milliseconds, "over_plain": over("plain"), "over_weak": over("weak")}
    print(json.dumps({"benchmark": "fp_step", "device": jax.devices()[0].device_kind, **figures}))


if __name__ == "__main__":
    main()
