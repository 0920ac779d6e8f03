"""Trains the jobs of a file on a Ray of its own, as `fokker train` does; the tests disturb it from outside.

    python driver.py JOBS.pickle

The file holds the jobs, the settings of the cluster, and the fault to put into the steps of the first job.
"""

import os
import pickle
import sys
import time
from pathlib import Path

import ray
from ray.job_config import JobConfig

from fokker.distributed.cluster import joining
from fokker.distributed.groups.training import train_experts


def poison(step: int, marker: str) -> None:
    """Make the gradients of one step not a number, in the first process that gets here."""
    import jax.numpy as jnp

    from fokker.distributed.training import program

    original = program.make_train_step

    def make(*arguments):
        take = original(*arguments)
        if os.path.exists(marker):
            return take
        Path(marker).touch()

        def poisoned(state, batch, key):
            factor = jnp.where(state.step == step, jnp.nan, 1.0)
            return take(state, batch._replace(frames=batch.frames * factor), key)

        return poisoned

    program.make_train_step = make


def hang(step: int, marker: str) -> None:
    """Let the second process of the first group stand still before a step, in Python."""
    import jax

    from fokker.distributed.training import program

    original = program.Program.place

    def place(self, frames, systems, weights=None):
        nonlocal step
        step -= len(frames)
        if step <= 0 and jax.process_index() == 1 and not os.path.exists(marker):
            Path(marker).touch()
            stand_still()
        return original(self, frames, systems, weights)

    def stand_still():
        while True:
            time.sleep(1)

    program.Program.place = place


def hang_at_end(_: int, marker: str) -> None:
    """Let the first process that waits for its last save do so for ever."""
    from fokker.distributed.training import checkpoints

    original = checkpoints.Checkpoints.wait

    def wait(self):
        if not os.path.exists(marker):
            Path(marker).touch()
            while True:
                time.sleep(1)
        original(self)

    checkpoints.Checkpoints.wait = wait


FAULTS = {"poison": poison, "hang": hang, "hang_at_end": hang_at_end}


def main() -> int:
    """Train; 0 if every job was trained, 1 if one failed, 130 after Ctrl-C."""
    with open(sys.argv[1], "rb") as file:
        jobs, config, fault = pickle.load(file)
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    if fault:
        kind, *where = fault
        ray.init(
            "local",
            include_dashboard=False,
            log_to_driver=False,
            runtime_env={"worker_process_setup_hook": lambda: FAULTS[kind](*where)},
            job_config=JobConfig(),
        )
    joining.connect(config)
    run = Path(sys.argv[1]).parent

    def record(job, event):
        event.append(run)

    try:
        outcomes = train_experts(jobs, config, len(jobs), lambda seen: None, record)
    except KeyboardInterrupt:
        return 130
    finally:
        joining.leave()
    for name, outcome in outcomes.items():
        print(name, outcome.error or "trained", flush=True)
    return int(any(outcome.error for outcome in outcomes.values()))


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)
