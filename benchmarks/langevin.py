"""Steps a second of Langevin dynamics in a learned potential, of all chains together.

The potential is the smallest expert of the paper's Müller-Brown runs (64, 64, 64), the integrator the
default. 5 million steps in all (the length of the paper's simulation) of 1000 chains are then timed as the
simulation pool runs them: one process a core, from the start of the processes to the last frame on disk.

Then alanine dipeptide, five beads on springs, by a network of the paper's size with random parameters: ns an
hour of one core with plain steps and with longer ones that are made of inner steps, in turns, so that the
ratio holds on a busy machine. The last line is JSON.
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
PLAIN, SPLIT = (4e-3, 1), (8e-3, 4)
"""Time steps (ps) of alanine dipeptide, and inner steps of each."""
CHAINS, TURNS = 100, 7


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--gpu", action="store_true", help="run on JAX's default device, not on one CPU thread"
    )
    parser.add_argument("--molecule", action="store_true", help="measure alanine dipeptide alone")
    arguments = parser.parse_args()
    os.environ.update(joining.worker_environment(on_gpu=arguments.gpu))
    found = {} if arguments.molecule else toy(arguments.gpu)
    print(json.dumps({"benchmark": "langevin"} | found | molecule()))


def toy(gpu: bool) -> dict:
    """Müller–Brown, in the pool and in one process."""
    pooled = pool_seconds(gpu)
    print(f" 1000 chains in the pool: {STEPS:,} steps in {pooled:.2f} s")
    rates = {chains: one_process(chains) for chains in (1, 100, 1000)}
    for chains, rate in rates.items():
        print(f"{chains:5} chains in one process: {rate:12,.0f} steps/s of all chains")
    return {
        "steps_per_second": rates,
        "seconds_for_5M_steps_with_1000_chains": STEPS / rates[1000],
        "seconds_for_5M_steps_with_1000_chains_in_the_pool": pooled,
    }


def molecule() -> dict:
    """Alanine dipeptide: medians over turns, in each of which both kinds of step are timed."""
    import numpy as np

    runs = [of_alanine(*kind) for kind in (PLAIN, SPLIT)]
    turns = np.array([[seconds_a_step(run) for run in runs] for _ in range(TURNS)])
    timesteps = np.array([PLAIN[0], SPLIT[0]])
    hourly = 3.6 * CHAINS * timesteps / np.median(turns, axis=0)
    cost = float(np.median(turns[:, 1] / turns[:, 0]))
    for (timestep, inner), rate in zip((PLAIN, SPLIT), hourly, strict=True):
        print(f"alanine dipeptide, {1e3 * timestep:g} fs, inner steps {inner}: {rate:8.1f} ns/hour of a core")
    faster = SPLIT[0] / PLAIN[0] / cost
    print(f"a step of {SPLIT[1]} inner ones costs {cost:.2f} plain ones: {faster:.2f} times the ns/hour")
    return {
        "ns_per_core_hour": {
            f"{1e3 * t:g} fs / {n}": rate for (t, n), rate in zip((PLAIN, SPLIT), hourly, strict=True)
        },
        "cost_of_a_step_of_inner_ones": cost,
        "ns_per_core_hour_ratio": faster,
    }


def of_alanine(timestep: float, inner_steps: int):
    """A function that simulates on, a few steps at a time, and tells how many."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from fokker.data.molecules.arrays import molecule_of
    from fokker.data.molecules.bead_map import BeadMap
    from fokker.data.molecules.beads import Beads
    from fokker.data.molecules.springs import measure
    from fokker.distributed.runs.presets import PRESETS
    from fokker.model import trained
    from fokker.model.experts import Expert

    config = PRESETS["alanine-dipeptide"]("both", "fokker")
    beads = Beads.from_sequence("ACE-ALA-NME", BeadMap.parse("alanine-dipeptide"))
    zigzag = 0.12 * np.stack([np.arange(5), np.arange(5) % 2, np.zeros(5)], axis=1)
    frames = zigzag + 0.003 * np.random.default_rng(0).normal(size=(1000, 5, 3))
    norm = float(1 / (frames - frames.mean(axis=1, keepdims=True)).std())
    bound, mass = molecule_of(beads, measure(beads, frames), norm), jnp.asarray(beads.masses[:, None], "f4")
    parameters = Expert(config.experts[0], config.network, (5, 3)).init(jax.random.key(0))
    model = trained.Trained((parameters,), config.experts[:1], config.network, norm, config.data.kT)
    settings = replace(config.simulate, timestep=timestep, inner_steps=inner_steps)
    keys = jax.vmap(lambda chain: jax.random.fold_in(jax.random.key(1), chain))(jnp.arange(CHAINS))
    start = jnp.asarray(frames[:CHAINS], jnp.float32)
    state = trained.begin(model, settings, start, mass, keys, bound)

    def run(steps: int) -> None:
        nonlocal state
        state = trained.advance(model, settings, state, mass, keys, jnp.asarray(steps), None, bound)
        assert jnp.isfinite(jax.block_until_ready(state).position).all()

    run(1)
    return run


def seconds_a_step(run, steps: int = 100) -> float:
    """Seconds of one step of all chains."""
    begin = time.perf_counter()
    run(steps)
    return (time.perf_counter() - begin) / steps


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
