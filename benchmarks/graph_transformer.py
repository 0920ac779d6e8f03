"""What the factorised edge term is worth: the graph transformer against its edge-tensor version.

Hidden width 128, 3 layers, 8 heads of 64, as in the paper's dipeptides; the same parameters and inputs, in
alternation, on one CPU thread unless --gpu. Times are medians of ratios; memory is the compiler's own account
of the temporaries of a training step. The last line is JSON.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

from fokker.distributed.cluster import joining

WIDTH, LAYERS, FEATURES = 128, 3, 24


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=64, help="molecules in a batch (default 64)")
    parser.add_argument("--turns", type=int, default=9, help="times that both run (default 9)")
    parser.add_argument("--gpu", action="store_true", help="run on JAX's default device")
    arguments = parser.parse_args()
    os.environ.update(joining.worker_environment(on_gpu=arguments.gpu))

    import jax
    import jax.numpy as jnp
    import numpy as np

    from fokker.model.networks.graph_transformer import GraphTransformer

    # The edge-tensor version is a truth to test against, and no part of the product.
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.model.edge_tensor import edge_tensor_energy

    network = GraphTransformer(WIDTH, LAYERS, 1)

    def factorised(parameters, x, nodes, mask):
        return jnp.sum(network.apply({"params": parameters}, x, nodes, mask))  # pyright: ignore[reportArgumentType]

    def edge_tensor(parameters, x, nodes, mask):
        return edge_tensor_energy(parameters, x, nodes, mask, heads=network.heads)

    def seconds(compiled, *inputs) -> float:
        begin = time.perf_counter()
        jax.block_until_ready(compiled(*inputs))
        return time.perf_counter() - begin

    figures: dict[str, dict[str, float]] = {}
    for beads in (10, 28):
        keys = jax.random.split(jax.random.key(0), 4)
        mask = jnp.ones(beads, bool)
        x = jax.random.normal(keys[0], (arguments.batch, beads, 3))
        nodes = jax.random.normal(keys[1], (arguments.batch, beads, FEATURES))
        noise = jax.random.normal(keys[2], x.shape)
        parameters = network.init(keys[3], x[0], nodes[0], mask)["params"]
        scores, steps = {}, {}
        for name, energy in (("factorised", factorised), ("edge tensor", edge_tensor)):

            def score(parameters, x, nodes, energy=energy, mask=mask):
                return jax.vmap(jax.grad(energy, argnums=1), in_axes=(None, 0, 0, None))(
                    parameters, x, nodes, mask
                )

            def step(parameters, x, nodes, noise, score=score):
                return jax.grad(lambda p: jnp.mean((score(p, x, nodes) - noise) ** 2))(parameters)

            scores[name] = jax.jit(score).lower(parameters, x, nodes).compile()
            steps[name] = jax.jit(step).lower(parameters, x, nodes, noise).compile()
            seconds(scores[name], parameters, x, nodes)
        turns = [
            {name: seconds(compiled, parameters, x, nodes) for name, compiled in scores.items()}
            for _ in range(arguments.turns)
        ]
        memory = {name: compiled.memory_analysis().temp_size_in_bytes for name, compiled in steps.items()}
        figures[f"{beads} beads"] = {
            "score_speedup": float(np.median([turn["edge tensor"] / turn["factorised"] for turn in turns])),
            "score_milliseconds": 1e3 * float(np.median([turn["factorised"] for turn in turns])),
            "step_memory_ratio": memory["factorised"] / memory["edge tensor"],
            "step_megabytes": memory["factorised"] / 2**20,
        }
    print(f"{'':<10} {'score ms':>9} {'speed-up':>9} {'step MiB':>9} {'of edge tensor':>15}")
    for name, row in figures.items():
        print(
            f"{name:<10} {row['score_milliseconds']:9.1f} {row['score_speedup']:9.2f} "
            f"{row['step_megabytes']:9.0f} {row['step_memory_ratio']:15.2f}"
        )
    print(json.dumps({"benchmark": "graph_transformer", "device": jax.devices()[0].device_kind, **figures}))


if __name__ == "__main__":
    main()
