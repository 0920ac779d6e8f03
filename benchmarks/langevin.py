"""Steps a second of Langevin dynamics in a learned potential, of all chains together.

The potential is the smallest expert of the paper's Müller-Brown runs (64, 64, 64), the integrator the
default. 5 million steps in all (the length of the paper's simulation) of 1000 chains are then timed as the
simulation pool runs them: one process a core, from the start of the processes to the last frame on disk. The
last line is JSON.
"""

import argparse
import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from fokker.distributed.cluster import joining

STEPS = 5_000_000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--gpu", action="store_true", help="run on JAX's default device, not on one CPU thread"
    )
    arguments = parser.parse_args()
    os.environ.update(joining.worker_environment(on_gpu=arguments.gpu))
    pooled = pool_seconds(arguments.gpu)
    print(f" 1000 chains in the pool: {STEPS:,} steps in {pooled:.2f} s")
    rates = {chains: one_process(chains) for chains in (1, 100, 1000)}
    for chains, rate in rates.items():
        print(f"{chains:5} chains in one process: {rate:12,.0f} steps/s of all chains")
    print(
        json.dumps(
            {
                "benchmark": "langevin",
                "steps_per_second": rates,
                "seconds_for_5M_steps_with_1000_chains": STEPS / rates[1000],
                "seconds_for_5M_steps_with_1000_chains_in_the_pool": pooled,
            }
        )
    )


def preset():
    """The default recipe, with chains that are not burnt in."""
    from fokker.data.config import MuellerBrownConfig
    from fokker.distributed.runs.presets import PRESETS

    config = PRESETS["mueller-brown"]("both", "fokker")
    assert isinstance(config.data, MuellerBrownConfig)
    return config.data, replace(config, simulate=replace(config.simulate, burn_in=0, chains=1000, chunk=500))


def one_process(chains: int) -> float:
    """Steps a second of all chains, in the fastest of three runs of at least a second."""
    import jax
    import jax.numpy as jnp

    from fokker.model import trained
    from fokker.model.experts import Expert

    data, config = preset()
    expert, settings = Expert(config.experts[0], config.network, (2,)), config.simulate
    parameters, mass = (expert.init(jax.random.key(0)),), jnp.asarray(data.mass)
    model = trained.Trained(parameters, config.experts[:1], config.network, 1.0, data.kT, (2,))
    stride, frames = settings.stride, max(20, 20_000 // chains)

    keys = jax.vmap(lambda chain: jax.random.fold_in(jax.random.key(1), chain))(jnp.arange(chains))
    state = trained.begin(model, settings, jnp.zeros((chains, 2)), mass, keys)

    def run(state):
        return trained.simulate(model, settings, state, mass, keys, frames)

    jax.block_until_ready(run(state))
    best = 0.0
    for _ in range(3):
        calls, begin = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - begin) < 1:
            state, trajectory = run(state)
            jax.block_until_ready(trajectory)
            calls += 1
        best = max(best, calls * chains * frames * stride / elapsed)
    return best


def pool_seconds(gpu: bool) -> float:
    """Seconds in which the pool takes 5 million steps of 1000 chains, its start and compilation included."""
    import jax
    import numpy as np

    from fokker.data.dataset import shards
    from fokker.distributed.campaigns import pool
    from fokker.distributed.runs.run import Run
    from fokker.distributed.training import parameters

    _, config = preset()
    config = replace(config, cluster=replace(config.cluster, device="gpu" if gpu else "cpu"))
    joining.connect(config.cluster)  # Before JAX has threads: it starts processes.
    with tempfile.TemporaryDirectory() as directory:
        run = Run(config, Path(directory))
        frames = np.random.default_rng(0).normal(size=(1000, 2)).astype(np.float32)
        shards.write(run.data, {"name": "benchmark"}, {"train": frames})
        for job in run.jobs:
            job.directory.mkdir(parents=True)
            parameters.save(job.directory, job.load()[1].init(jax.random.key(0)))
        run.save_model()
        begin = time.perf_counter()
        work = run.simulation(run.simulations.ask(config.simulate, run.origin))
        (tally,) = pool.run(work, config.cluster, lambda _: None)
        seconds = time.perf_counter() - begin
        joining.leave()
    assert tally.total is not None
    assert tally.total.steps == STEPS, tally
    return seconds


if __name__ == "__main__":
    main()
