"""What `fokker plan` predicts for a training step, against the step itself.

The experts of the smallest times of some presets, on one CPU thread, or on a GPU with --device NAME. The
prediction is made as the command makes it: a CPU is measured, a GPU has its data sheet, and the compiler says
what the step asks of it. Then compiled blocks of steps run on arrays of the real shapes. Prediction and
measurement take turns; on CPUs both are in processor time, which other load on the machine does not lengthen.
The figures are medians, wall time of the step stands beside them. Then, on CPUs, `fokker plan` and `fokker
train` of a short run of Müller-Brown: wall time of a step with all that a training does beside it. The last
line is JSON.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from fokker.distributed.cluster import joining

PRESETS = ("mueller-brown", "alanine-dipeptide-small")
BLOCK = {"mueller-brown": 256}
"""Steps in one call; 8 for the others."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=15, help="times that each is taken (default 15)")
    parser.add_argument("--method", default="both", help="row of the paper's tables (default both)")
    parser.add_argument("--device", default="cpu", help="what `fokker plan` calls the device (default cpu)")
    parser.add_argument("--presets", nargs="+", default=PRESETS, help=f"default {' '.join(PRESETS)}")
    arguments = parser.parse_args()
    device = arguments.device
    os.environ.update(joining.worker_environment(on_gpu=device != "cpu"))
    print(f"{'preset':<26} {'predicted ms':>13} {'measured ms':>12} {'ratio':>7} {'wall ms':>9}")
    figures = {
        preset: compared(preset, arguments.method, arguments.turns, device) for preset in arguments.presets
    }
    if device == "cpu":
        with tempfile.TemporaryDirectory() as folder:
            figures["run"] = real_run(Path(folder))
    print(json.dumps({"benchmark": "plan", "device": device, **figures}))


def compared(preset: str, method: Any, turns: int, device: str) -> dict[str, float]:
    """Milliseconds of a step as predicted and as measured, and their ratio."""
    import jax
    import numpy as np

    from fokker.distributed.cluster.devices import DEVICES
    from fokker.distributed.planning.calibration import this_machine
    from fokker.distributed.planning.prediction import Steps
    from fokker.distributed.planning.sizes import sizes
    from fokker.distributed.runs import presets

    config = presets.PRESETS[preset](method, "fokker")
    data = sizes(config, Path("runs-of-nobody"))
    steps = Steps(config.network, config.objective, config.train, data.shape, data.molecules)
    with jax.default_device(jax.devices("cpu")[0]):  # As in the command, whatever is planned for.
        cost = steps.cost(config.experts[0], 1)
    count, processor = BLOCK.get(preset, 8), time.process_time if device == "cpu" else time.perf_counter
    run = block(steps, config.experts[0], count)
    run()
    predicted, measured, wall = [], [], []
    for _ in range(turns):
        predicted.append(1e3 * cost.seconds(this_machine() if device == "cpu" else DEVICES[device]))
        begin, clock = processor(), time.perf_counter()
        run()
        measured.append(1e3 * (processor() - begin) / count)
        wall.append(1e3 * (time.perf_counter() - clock) / count)
    found = {
        "predicted": float(np.median(predicted)),
        "measured": float(np.median(measured)),
        "ratio": float(np.median(np.divide(predicted, measured))),
        "wall": float(np.median(wall)),
        "flops": cost.flops,
        "traffic": cost.traffic,
    }
    print(
        f"{preset:<26} {found['predicted']:13.3f} {found['measured']:12.3f} {found['ratio']:7.2f} "
        f"{found['wall']:9.3f}"
    )
    return found


def real_run(folder: Path) -> dict[str, float]:
    """Milliseconds of a step as `fokker plan` says and as `fokker train` takes, and their ratio."""
    from fokker.distributed.training.history import HISTORY, read_history

    def fokker(*words: str) -> None:
        command = [Path(sys.executable).with_name("fokker"), *words, "--name", "run"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)

    frames = ["--data.frames", "20000", "--data.chains", "100", "--experts.0.epochs", "100"]
    fokker("data", "mueller-brown", "--method", "fokker-planck", *frames)
    fokker("plan", "--json", "plan.json")
    fokker("train")
    predicted = 1e3 * json.loads((folder / "plan.json").read_text())["experts"][0]["step_seconds"]
    history = read_history(folder / "runs" / "run" / "experts" / "0" / HISTORY)
    steps, seconds = (
        history[name][-1] - history[name][0] for name in ("step", "seconds")
    )  # But compilation.
    measured = 1e3 * seconds / steps
    print(
        f"{'mueller-brown, a run':<26} {predicted:13.3f} {'':12} {predicted / measured:7.2f} {measured:9.3f}"
    )
    return {"predicted": predicted, "wall": measured, "ratio": predicted / measured}


def block(steps: Any, expert: Any, count: int) -> Callable[[], Any]:
    """A block of compiled training steps, from the same state each time."""
    import jax
    import jax.numpy as jnp

    from fokker.distributed.training.step import Batch, init_state, make_train_step, train_block
    from fokker.model.experts import Expert

    model = Expert(expert, steps.network, steps.shape)
    step = make_train_step(model, steps.objective, steps.train, 10_000, 781, steps.molecules)
    run, state = (
        jax.jit(partial(train_block, step)),
        init_state(model, steps.train, 10_000, jax.random.key(2)),
    )
    rows = (count, steps.train.batch_size)
    batches = Batch(jax.random.normal(jax.random.key(0), (*rows, *steps.shape)), jnp.zeros(rows, jnp.int32))
    return lambda: jax.block_until_ready(run(state, batches, count, jax.random.key(1)))


if __name__ == "__main__":
    main()
