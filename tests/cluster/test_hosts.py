"""One expert group over several hosts, one of which is lost and comes back."""

import json
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from fokker.data import shards
from fokker.distributed import events, parameters
from fokker.distributed.config import ClusterConfig, TrainConfig
from fokker.distributed.job import ExpertJob
from fokker.distributed.recording import HISTORY
from fokker.model.config import ExpertConfig, MLPConfig, ObjectiveConfig

from .conftest import HEAD, Hosts

DRIVER = Path(__file__).parents[1] / "faults" / "driver.py"
PATIENCE = 300.0
CONFIG = ClusterConfig(address=f"{HEAD}:6379", hosts=(2,))


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> ExpertJob:
    root = tmp_path_factory.mktemp("hosts")
    frames = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    shards.write(root / "data", {"name": "gaussian"}, {"train": frames, "reference": frames})
    return ExpertJob(
        "expert",
        0,
        root / "undisturbed" / "experts" / "0",
        root / "data",
        ExpertConfig(interval=(0, 0.1), hidden=(8, 8), epochs=480, midpoint=0.05, consistency_weight=1e-3),
        MLPConfig(precondition=True),
        ObjectiveConfig(consistency_fraction=0.5),
        TrainConfig(batch_size=32, block=8, checkpoint_every=240),
        7,
    )


def start(hosts: Hosts, job: ExpertJob) -> subprocess.Popen:
    """Train on the test hosts, from the head."""
    run = job.directory.parents[1]
    run.mkdir(parents=True, exist_ok=True)
    file = run / "jobs.pickle"
    file.write_bytes(pickle.dumps(([job], CONFIG, None)))
    with open(run / "output", "a") as output:
        return hosts.start(1, sys.executable, DRIVER, file, stdout=output, stderr=output)


def step(job: ExpertJob) -> int:
    path = job.directory / HISTORY
    lines = path.read_text().splitlines() if path.exists() else []
    return max((json.loads(line)["step"] for line in lines if line.endswith("}")), default=0)


def wait_for(condition: Callable[[], bool], driver: subprocess.Popen, job: ExpertJob) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if driver.poll() is not None or time.monotonic() > deadline:
            pytest.fail((job.directory.parents[1] / "output").read_text()[-3000:])
        time.sleep(0.05)


@pytest.fixture(scope="module")
def undisturbed(hosts: Hosts, job: ExpertJob) -> ExpertJob:
    driver = start(hosts, job)
    assert driver.wait(PATIENCE) == 0, (job.directory.parents[1] / "output").read_text()[-3000:]
    return job


def test_a_group_spans_two_hosts(undisturbed: ExpertJob):
    (started,) = (e for e in events.read(undisturbed.directory.parents[1]) if e["event"] == "started")
    assert (started["hosts"], started["devices"]) == (2, 2)


def test_a_host_that_is_lost_and_comes_back_changes_nothing(hosts: Hosts, undisturbed: ExpertJob):
    disturbed = replace(
        undisturbed, directory=undisturbed.directory.parents[2] / "disturbed" / "experts" / "0"
    )
    run = disturbed.directory.parents[1]
    driver = start(hosts, disturbed)
    wait_for(lambda: step(disturbed) > 1000, driver, disturbed)
    hosts.command("kill", "3")
    lost = step(disturbed)
    hosts.command("boot", "3")
    hosts.join(3)
    wait_for(lambda: any(e["event"] == "resumed" for e in events.read(run)), driver, disturbed)
    assert driver.wait(PATIENCE) == 0, (run / "output").read_text()[-3000:]
    found = events.read(run)
    assert any(event["event"] in ("lost", "stuck") for event in found)
    resumed = next(event["step"] for event in found if event["event"] == "resumed")
    assert 0 <= lost - resumed <= 2 * 240 + 8
    # It may have gone on for a while on the host that was left.
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
        parameters.load(undisturbed.directory),
        parameters.load(disturbed.directory),
    )


def test_a_host_that_is_drained_costs_no_step(hosts: Hosts, undisturbed: ExpertJob):
    """Ray is told that the host goes; the group saves and comes back on the other one."""
    drained = replace(undisturbed, directory=undisturbed.directory.parents[2] / "drained" / "experts" / "0")
    run = drained.directory.parents[1]
    driver = start(hosts, drained)
    wait_for(lambda: step(drained) > 1000, driver, drained)
    program = (
        "import ray, sys; ray.init(sys.argv[1], logging_level='ERROR'); nodes = ray.nodes();"
        "print(*(n['NodeID'] for n in nodes if n['Alive'] and n['NodeManagerAddress'] == '10.77.0.3'))"
    )
    told = hosts.start(1, sys.executable, "-c", program, f"{HEAD}:6379", stdout=subprocess.PIPE, text=True)
    node = told.communicate(timeout=60)[0].split()[-1]
    hosts.command(
        *("run", "1", str(Path(sys.executable).with_name("ray")), "drain-node", f"--address={HEAD}:6379"),
        *(f"--node-id={node}", "--reason=DRAIN_NODE_REASON_PREEMPTION"),
        *("--reason-message=test", "--deadline-remaining-seconds=60"),
    )
    wait_for(lambda: any(e["event"] == "preempted" for e in events.read(run)), driver, drained)
    assert driver.wait(PATIENCE) == 0, (run / "output").read_text()[-3000:]
    lines = [json.loads(line)["step"] for line in (drained.directory / HISTORY).read_text().splitlines()]
    assert lines == [*range(8, 480 * 9 + 1, 8)], "no step was taken twice"
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
        parameters.load(undisturbed.directory),
        parameters.load(drained.directory),
    )
