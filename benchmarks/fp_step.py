"""What the consistency term costs: time of a training step over that of the plain denoising step.

One energy network of the paper's size for Müller-Brown (92, 92, 92), batches of 128; then one of its size for
dipeptides (10 beads, hidden width 128, 3 layers, 8 heads of 64), where the authors' estimator runs on the
network as they write it, with features of every pair of beads. All variants take turns in one process, so
that other load on the machine falls on each alike; every figure is a median of the ratios of one turn. The
last line is JSON.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from fokker.distributed.cluster import joining

BLOCK, PEPTIDE_BLOCK = 64, 2
"""Steps in one call."""
PEPTIDES = 64


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
    os.environ.update(joining.worker_environment(on_gpu=arguments.gpu))
    import jax

    figures = {
        "mueller-brown": compared(mueller_brown(), arguments.turns, "weak"),
        "dipeptides": compared(dipeptides(), max(3, arguments.turns // 5), "the authors'"),
    }
    print(json.dumps({"benchmark": "fp_step", "device": jax.devices()[0].device_kind, **figures}))


def mueller_brown() -> dict[str, Callable[[], Any]]:
    """Blocks of training on the toy, by the estimator of the residual."""
    import jax

    from fokker.distributed.runs.presets import PRESETS
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
    return {
        name: block(Expert(settings, config.network, (2,)), objective, config.train, batches)
        for name, (settings, objective) in objectives.items()
    }


def dipeptides() -> dict[str, Callable[[], Any]]:
    """Blocks of training on two residues, by recipe; 64 peptides in a batch."""
    import jax
    import jax.numpy as jnp

    from fokker.data.molecules.arrays import molecule_of
    from fokker.data.molecules.bead_map import BeadMap
    from fokker.data.molecules.beads import Beads
    from fokker.distributed.runs.presets import PRESETS
    from fokker.model.experts import Expert

    sys.path.insert(0, str(Path(__file__).parents[1]))  # A truth to test against, and no part of the product.
    from tests.model.edge_tensor import edge_tensor_energy

    class AuthorsExpert(Expert):
        """The network as the authors write it."""

        def _outputs(self, parameters, x, t, molecule):
            assert molecule is not None
            _, features, _ = self._inputs(x, t, molecule)
            known = [
                parameters[f"embedding_{column}"]["embedding"][molecule.features[:, column]]
                for column in range(4)
            ]
            times = jnp.broadcast_to(features, (len(x), features.size))
            nodes = jnp.concatenate([*known, times], axis=-1)
            heads = self.network.heads  # pyright: ignore[reportAttributeAccessIssue]
            energy = edge_tensor_energy(parameters["transformer"], x, nodes, molecule.mask, heads=heads)
            return energy[None]

    ours, theirs = (PRESETS["dipeptides"]("both", recipe) for recipe in ("fokker", "paper"))
    beads = Beads.from_sequence("AA", BeadMap.parse("backbone"))
    frames = jax.random.normal(jax.random.key(0), (PEPTIDE_BLOCK, PEPTIDES, len(beads), 3))
    batches = frames - frames.mean(axis=2, keepdims=True)
    springs = {"bonds": {}, "angles": {}}
    table = jax.tree.map(lambda part: part[None], molecule_of(beads, springs))
    shape, residual = (len(beads), 3), replace(ours.objective, consistency="fokker-planck")
    first, weak = ours.experts[0], theirs.experts[0]
    variants = {
        "plain": (Expert(replace(first, consistency_weight=0.0), ours.network, shape), ours.objective),
        "the authors'": (AuthorsExpert(weak, theirs.network, shape), theirs.objective),
        "their estimator, our network": (Expert(weak, theirs.network, shape), theirs.objective),
        "exact on an eighth of the batch": (
            Expert(first, ours.network, shape),
            replace(residual, estimator="exact", consistency_fraction=0.125),
        ),
        "the fokker recipe": (Expert(first, ours.network, shape), ours.objective),
    }
    return {
        name: block(expert, objective, ours.train, batches, table)
        for name, (expert, objective) in variants.items()
    }


def block(expert, objective, train, batches, molecules=None) -> Callable[[], Any]:
    """A block of compiled training steps, from the same state each time."""
    import jax
    import jax.numpy as jnp

    from fokker.distributed.training.step import Batch, init_state, make_train_step, train_block

    step = make_train_step(expert, objective, train, 10_000, 781, molecules)
    run, state = jax.jit(partial(train_block, step)), init_state(expert, train, 10_000, jax.random.key(2))
    data = Batch(batches, jnp.zeros(batches.shape[:2], jnp.int32))
    return lambda: jax.block_until_ready(run(state, data, len(batches), jax.random.key(1)))


def compared(runs: dict[str, Callable[[], Any]], count: int, baseline: str) -> dict[str, dict[str, float]]:
    """Time every variant in turn and print it; milliseconds, and ratios to the plain step and a baseline."""
    import numpy as np

    def seconds(name: str) -> float:
        begin = time.perf_counter()
        state, _ = runs[name]()
        return (time.perf_counter() - begin) / int(state.step)

    for name in runs:
        seconds(name)
    turns = [{name: seconds(name) for name in runs} for _ in range(count)]
    milliseconds = {name: 1e3 * float(np.median([turn[name] for turn in turns])) for name in runs}

    def over(other: str) -> dict[str, float]:
        return {name: float(np.median([turn[name] / turn[other] for turn in turns])) for name in runs}

    print(f"{'variant':<32} {'ms/step':>8} {'over plain':>11} {f'over {baseline}':>18}")
    for name, value in milliseconds.items():
        print(f"{name:<32} {value:8.3f} {over('plain')[name]:11.2f} {over(baseline)[name]:18.3f}")
    return {"milliseconds": milliseconds, "over_plain": over("plain"), "over_baseline": over(baseline)}


if __name__ == "__main__":
    main()
