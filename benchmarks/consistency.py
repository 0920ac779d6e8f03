"""What each consistency term is worth on alanine dipeptide: sim JS and PMF over wall time.

The expert of the smallest times of alanine-dipeptide-small trains for the same wall time with every term, one
after another in one process on one CPU thread (unless --gpu). Its moving average is simulated several times
on the way, by chains from frames of the data. Needs the trajectory, as --data PATH. The last line is JSON.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

from fokker.distributed.cluster import joining

TERMS = {
    "none": {"weight": 0.0},
    "fokker-planck": {"weight": 1e-4, "consistency_fraction": 0.125, "consistency_start": 0.8},
    "rne": {"weight": 1e-4, "consistency_fraction": 0.5, "consistency_start": 0.5},
    "diffclf": {"weight": 0.02, "consistency_fraction": 0.5},
}
"""Weight and where it is taken, each as it did best in short trials; the Fokker-Planck residual is exact."""
BLOCK = 64
FRAME_PICOSECONDS = 0.2


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="trajectory of alanine dipeptide")
    parser.add_argument("--minutes", type=float, default=10, help="training time of each term (default 10)")
    parser.add_argument("--points", type=int, default=2, help="simulations of each term (default 2)")
    parser.add_argument("--terms", default=",".join(TERMS), help=f"default {','.join(TERMS)}")
    parser.add_argument("--chains", type=int, default=200, help="chains of a simulation (default 200)")
    parser.add_argument("--picoseconds", type=float, default=40, help="length of each (default 40)")
    parser.add_argument("--gpu", action="store_true", help="run on JAX's default device")
    arguments = parser.parse_args()
    unknown = set(arguments.terms.split(",")) - {*TERMS}
    if unknown:
        sys.exit(f"--terms: unknown {', '.join(unknown)}: choose from {', '.join(TERMS)}")
    os.environ.update(joining.worker_environment(on_gpu=arguments.gpu))
    with tempfile.TemporaryDirectory() as folder:
        measure(arguments, Path(folder))


def measure(arguments: argparse.Namespace, folder: Path) -> None:
    """Train and simulate with every term."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from fokker.analysis.evaluation import compared, floor_of
    from fokker.analysis.observables import distances, sign_changes
    from fokker.analysis.reduction import held
    from fokker.analysis.systems import System
    from fokker.data.dataset.convert import convert_all, finish_conversion
    from fokker.data.dataset.loader import Plan, blocks
    from fokker.data.molecules.arrays import molecule_of, molecules_of
    from fokker.data.molecules.bead_map import BeadMap
    from fokker.data.readers.layouts import open_source
    from fokker.data.readers.pooling import pool
    from fokker.distributed.runs.presets import PRESETS
    from fokker.distributed.training.step import Batch, init_state, make_train_step, train_block
    from fokker.model import trained
    from fokker.model.experts import Expert

    config = PRESETS["alanine-dipeptide-small"]("both", "fokker")
    bead_map = BeadMap.parse("alanine-dipeptide")
    (molecule_data,) = pool(open_source(arguments.data), bead_map)
    convert_all([molecule_data], bead_map, folder)
    dataset = finish_conversion(folder, [molecule_data], {"name": "alanine-dipeptide", "units": "nm"})
    split, system = dataset.split("train"), System.of(dataset, molecule_data.name, config.data)
    assert system.beads is not None
    reference, bonds = split.read(), partial(distances, pairs=system.beads.bonds)
    molecule = molecule_of(system.beads, dataset.springs, dataset.norm)
    molecules, mass = molecules_of(dataset, split.shape), jnp.asarray(system.masses)[:, None]
    frames = round(0.8 * arguments.picoseconds / FRAME_PICOSECONDS)
    settings = replace(
        config.simulate,
        stride=round(FRAME_PICOSECONDS / config.simulate.timestep),
        burn_in=round(0.2 * arguments.picoseconds / config.simulate.timestep),
    )
    key = jax.random.key(config.seed)

    def run(term: str) -> list[dict[str, float]]:
        objective = {name: value for name, value in TERMS[term].items() if name != "weight"}
        kind = {} if term == "none" else {"consistency": term}
        expert = Expert(
            replace(config.experts[0], consistency_weight=TERMS[term]["weight"]), config.network, split.shape
        )

        def program(steps: int):
            chosen = replace(config.objective, **objective, **kind)
            step = make_train_step(expert, chosen, config.train, steps, len(split), molecules)
            return jax.jit(partial(train_block, step))

        def walk(parameters, start, key):
            model = trained.Trained((parameters,), (expert.config,), config.network, system.norm, system.kT)
            keys = jax.random.split(key, 3)
            state = trained.begin(model, settings, start, mass, keys[:2], molecule)
            return trained.simulate(model, settings, state, mass, keys[2], frames, 0, molecule)[1].position

        source_of = blocks(
            split, Plan(len(split), config.train.batch_size, 1000, 0), BLOCK, norm=dataset.norm
        )

        def batch() -> Batch:
            rows, systems = next(source_of)
            return Batch(jnp.asarray(rows), jnp.asarray(systems))

        # How many steps fit, from the price of one before and after the term begins.
        trial, first = program(1000), init_state(expert, config.train, 1000, key)
        begins = TERMS[term].get("consistency_start", 0.0)
        prices, data = [], batch()
        for at in (0, 999) if begins else (0,):
            state = first._replace(step=jnp.asarray(at))
            jax.block_until_ready(trial(state, data, 1, key))
            begin = time.perf_counter()
            jax.block_until_ready(trial(state, data, 16, key))
            prices.append((time.perf_counter() - begin) / 16)
        steps = int(60 * arguments.minutes / (prices[0] * begins + prices[-1] * (1 - begins)))
        train, state, rows, spent = program(steps), init_state(expert, config.train, steps, key), [], 0.0
        marks = [round(steps * (i + 1) / arguments.points) for i in range(arguments.points)]
        done = 0
        while done < steps:
            data, count = batch(), min(BLOCK, min(mark for mark in marks if mark > done) - done)
            begin = time.perf_counter()
            state, _ = jax.block_until_ready(train(state, data, count, key))
            spent, done = spent + time.perf_counter() - begin, done + count
            if done in marks:
                chosen = np.random.default_rng(0).integers(len(reference), size=arguments.chains)
                start = jnp.asarray(reference[np.sort(chosen)])
                walks = np.asarray(walk(state.average, start, key)).swapaxes(0, 1)
                finite = system.finite(walks)
                angles = system.shown(walks)
                found = compared(held(system, reference), held(system, walks[finite]))[0].corrected
                spread = bonds(walks[finite]).std(axis=0) / bonds(reference).std(axis=0)
                rows.append(
                    {
                        "minutes": spent / 60,
                        "steps": done,
                        "js": found.js,
                        "pmf": found.pmf,
                        "phi_positive": float((angles[finite][:, 0] > 0).mean()),
                        "phi_crossings": sign_changes(angles[..., 0]),
                        "bond_spread": float(spread.max()),
                        "not_finite": int((~finite).sum()),
                    }
                )
                last = rows[-1]
                print(
                    f"{term:<14} {last['minutes']:8.1f} {done:7d} {last['js']:8.4f} {last['pmf']:8.3f} "
                    f"{last['phi_positive']:8.4f} {last['phi_crossings']:6d} {last['bond_spread']:7.2f}",
                    flush=True,
                )
        source_of.close()
        return rows

    print(
        f"{'term':<14} {'minutes':>8} {'steps':>7} {'sim JS':>8} {'sim PMF':>8} {'p(φ>0)':>8} {'cross':>6} "
        f"{'bonds':>7}"
    )
    figures = {term: run(term) for term in arguments.terms.split(",")}
    lowest = floor_of(held(system, reference), arguments.chains * frames, 0)[0].corrected
    print(f"{'floor':<14} {'':>8} {'':>7} {lowest.js:8.4f} {lowest.pmf:8.3f}")
    device = jax.devices()[0].device_kind
    print(json.dumps({"benchmark": "consistency", "device": device, "floor": vars(lowest), **figures}))


if __name__ == "__main__":
    main()
