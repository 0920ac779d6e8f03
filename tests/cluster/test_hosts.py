"""One expert group over several hosts, one of which is lost, comes back, or is taken away."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ..faults.conftest import BLOCK, EXPERT, TRAIN, Training, gaussian, training, wait_for, written
from .conftest import HEAD, Hosts

EPOCHS = 960
STEPS = EPOCHS * 9
EXACT = 1e-5
"""A group may have gone on for a while on the host that was left."""

Make = Callable[..., Training]


@pytest.fixture(scope="module")
def make(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Trainings of one expert on the two hosts, by a driver on the head."""
    data = written(tmp_path_factory.mktemp("data"), gaussian())

    def begin(name: str, **changes) -> Training:
        this = training(tmp_path_factory.mktemp(name), data, address=f"{HEAD}:6379", **changes)
        this.jobs = [replace(this.jobs[0], expert=replace(EXPERT, epochs=EPOCHS))]
        this.popen = hosts.popen
        return this

    return begin


@pytest.fixture(scope="module")
def whole(make: Make) -> Training:
    """What nothing disturbed."""
    this = make("whole").start()
    this.finish()
    return this


def test_a_group_spans_two_hosts(whole: Training):
    (started,) = whole.events("started")
    assert (started["hosts"], started["devices"]) == (2, 2)


def test_a_host_that_is_lost_and_comes_back_changes_nothing(hosts: Hosts, make: Make, whole: Training):
    this = make("lost").start()
    this.wait_for_step(1000)
    with this.fault("a host of two is lost and comes back", "kill -9 of all on it"):
        hosts.command("kill", "3")
        hosts.command("boot", "3")
        hosts.join(3)
    this.finish()
    assert this.events("lost") or this.events("stuck")
    (resumed,) = this.events("resumed")
    assert resumed["step"] >= 1000 - 2 * TRAIN.checkpoint_every
    this.assert_same(whole, rtol=EXACT, atol=EXACT)


def test_a_group_goes_on_without_a_host_and_takes_it_up_again(hosts: Hosts, make: Make, whole: Training):
    """Shared out automatically: one expert gets both hosts."""
    this = make("grown", grow_after=1.0)
    this.config = replace(this.config, hosts="auto")
    this.start()
    this.wait_for_step(1000)
    with this.fault("a host of two is lost, and the group goes on with one", "kill -9 of all on it"):
        hosts.command("kill", "3")
        hosts.command("boot", "3")
    with this.fault("the host comes back, and the group takes it up", "ray start"):
        hosts.join(3)
        wait_for(lambda: bool(this.events("resized")), "the group does not grow", this)
    this.finish()
    first, *_, smaller, last = (event["hosts"] for event in this.events("started"))
    assert (first, smaller, last) == (2, 1, 2)
    this.assert_same(whole, rtol=EXACT, atol=EXACT)


def test_a_host_that_is_drained_costs_no_step(hosts: Hosts, make: Make, whole: Training):
    """Ray is told that the host goes; the group saves and comes back on the other one."""
    this = make("drained").start()
    this.wait_for_step(1000)
    program = (
        "import ray, sys; ray.init(sys.argv[1], logging_level='ERROR'); nodes = ray.nodes();"
        "print(*(n['NodeID'] for n in nodes if n['Alive'] and n['NodeManagerAddress'] == '10.77.0.3'))"
    )
    told = hosts.popen(
        [sys.executable, "-c", program, f"{HEAD}:6379"], os.environ, stdout=subprocess.PIPE, text=True
    )
    node = told.communicate(timeout=60)[0].split()[-1]
    with this.fault("a host of two is taken away", "ray drain-node"):
        hosts.command(
            *("run", "1", str(Path(sys.executable).with_name("ray")), "drain-node", f"--address={HEAD}:6379"),
            *(f"--node-id={node}", "--reason=DRAIN_NODE_REASON_PREEMPTION"),
            *("--reason-message=test", "--deadline-remaining-seconds=60"),
        )
        wait_for(lambda: bool(this.events("preempted")), "the group does not leave", this)
    this.finish()
    # Ray ends a node that was drained: the next test finds the host as this one did.
    for command in ("kill", "boot"):
        hosts.command(command, "3")
    hosts.join(3)
    assert this.steps() == [*range(BLOCK, STEPS + 1, BLOCK)], "no step was taken twice"
    this.assert_same(whole, rtol=EXACT, atol=EXACT)
