"""Whatever is killed, stopped or filled up: the training ends with the parameters of an undisturbed one."""

import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from .conftest import BAD_STEP, BLOCK, ROWS, STEPS, Training, processes, saving_often, wait_for

KILLED = "kill -9"


@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_costs_the_steps_since_the_last_checkpoint(make, whole: Training, rank: int):
    this = make().start()
    this.wait_for_step(600)
    with this.fault(f"a process of two is lost, rank {rank}", KILLED):
        os.kill(this.workers()[rank], signal.SIGKILL)
    this.finish()
    (lost,) = this.events("lost")
    assert f"rank {rank} of 2 was lost" in lost["text"]
    assert [event["restarts"] for event in this.events("started")] == [0, 1]
    this.assert_same(whole)


def test_a_process_killed_in_the_middle_of_a_save_leaves_whole_checkpoints(make, whole: Training):
    this = saving_often(make()).start()
    this.wait_for_step(600)
    first = this.workers()[0]
    folder = this.jobs[0].directory / "checkpoints"
    while not [*folder.glob("*-tmp*")]:  # Stopped, it is looked at; a save takes less than a look does.
        os.kill(first, signal.SIGCONT)
        time.sleep(0.003)
        os.kill(first, signal.SIGSTOP)
    with this.fault("the writer is lost in the middle of a save", KILLED):
        os.kill(first, signal.SIGKILL)
    this.finish()
    assert not [*folder.glob("*-tmp*")]
    this.assert_same(whole)


def test_the_same_command_goes_on_after_the_driver_was_killed(make, whole: Training):
    this = make().start()
    this.wait_for_step(600)
    this.driver.kill()
    this.driver.wait()
    this.assert_nothing_is_left()
    with this.fault("the driver is lost, the same command", KILLED):
        this.start()
    this.finish()
    this.assert_same(whole)


def test_the_same_command_goes_on_after_all_of_ray_was_killed(make, whole: Training):
    this = make().start()
    this.wait_for_step(600)
    for process in processes(this.mark):
        if process != this.driver.pid:
            os.kill(process, signal.SIGKILL)
    assert this.driver.wait(120) != 0
    this.assert_nothing_is_left()
    with this.fault("all of Ray is lost, the same command", KILLED):
        this.start()
    this.finish()
    this.assert_same(whole)


@pytest.mark.parametrize("rank", [0, 1])
def test_sigterm_to_one_process_saves_all_and_costs_no_step(make, whole: Training, rank: int):
    this = make().start()
    this.wait_for_step(600)
    with this.fault(f"rank {rank} of two is told to leave", "SIGTERM"):
        os.kill(this.workers()[rank], signal.SIGTERM)
        wait_for(lambda: bool(this.events("preempted")), "the group does not leave", this)
    this.finish()
    assert this.steps() == [*range(BLOCK, STEPS + 1, BLOCK)], "no step was taken twice"
    assert not this.events("lost")
    this.assert_same(whole)


def test_a_process_that_hangs_is_named_with_its_stack_and_replaced(make, whole: Training):
    this = make(step_deadline=6).start()
    this.wait_for_step(600)
    hanging = this.workers()[1]
    with this.fault("a process hangs (deadline of a step: 6 s)", "SIGSTOP"):
        os.kill(hanging, signal.SIGSTOP)
    this.finish()
    (stuck,) = this.events("stuck")
    assert (
        "did not take its next steps within 6 s (cluster.step_deadline); rank 1 of 2 holds it up"
        in stuck["text"]
    )
    assert "train" in stuck["text"].partition(" at\n")[2], stuck["text"]
    this.assert_same(whole)


def test_a_process_whose_python_hangs_says_itself_where(make, whole: Training, tmp_path: Path):
    this = make(step_deadline=6)
    this.planted = "hang", 600, str(tmp_path / "hung")
    this.start()
    wait_for((tmp_path / "hung").exists, "nothing hangs", this)
    with this.fault("a process hangs in Python (deadline of a step: 6 s)", "a loop that sleeps"):
        pass  # It was planted.
    this.finish()
    (stuck,) = this.events("stuck")
    assert "rank 1 of 2 holds it up" in stuck["text"]
    assert "in stand_still" in stuck["text"].partition(" at\n")[2], stuck["text"]
    this.assert_same(whole)


def test_a_process_that_hangs_before_its_first_steps_is_replaced(make, whole: Training, tmp_path: Path):
    this = make(start_deadline=15)
    this.planted = "hang", 0, str(tmp_path / "hung")
    this.start().finish()
    (stuck,) = this.events("stuck")
    assert "did not start within 15 s (cluster.start_deadline); rank 1 of 2 holds it up" in stuck["text"]
    this.assert_same(whole)


def test_a_last_save_that_hangs_is_ended_though_the_others_are_done(make, whole: Training, tmp_path: Path):
    this = make(save_deadline=6)
    this.planted = "hang_at_end", STEPS, str(tmp_path / "hung")
    this.start().finish()
    (stuck,) = this.events("stuck")
    assert "did not save and end within 6 s (cluster.save_deadline); rank 0 of 2 holds it up" in stuck["text"]
    assert [event["restarts"] for event in this.events("started")] == [0, 1]
    this.assert_same(whole)


def test_a_truncated_checkpoint_is_put_aside_and_the_one_before_it_is_used(make, whole: Training):
    this = make().start()
    wait_for(lambda: len(this.checkpoints()) > 1, "there are no two checkpoints", this)
    this.driver.send_signal(signal.SIGINT)
    this.finish(130)
    *_, before, newest = this.checkpoints()
    for path in (this.jobs[0].directory / "checkpoints" / str(newest) / "state").rglob("*"):
        if path.is_file():
            os.truncate(path, path.stat().st_size // 2)
    with this.fault("the newest checkpoint is damaged", "truncate"):
        this.start()
    this.finish()
    assert this.events("resumed")[-1]["step"] == before
    assert (this.jobs[0].directory / "checkpoints" / f"damaged-{newest}").is_dir()
    this.assert_same(whole)


def test_a_full_disk_is_warned_of_and_saves_go_on_when_there_is_room(make, whole: Training, tmp_path: Path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.decode()}")
    this = saving_often(make())
    this.jobs = [replace(this.jobs[0], directory=disk / "experts" / "0")]
    try:
        this.start()
        this.wait_for_step(400)
        subprocess.run(["dd", "if=/dev/zero", f"of={disk / 'filling'}"], capture_output=True)
        wait_for(lambda: "No space left" in str(this.events("warning")), "nothing is warned of", this)
        (disk / "filling").unlink()
        this.finish()
        assert {*this.steps()} == {*range(BLOCK, STEPS + 1, BLOCK)}, "losses were kept until there was room"
        assert this.checkpoints()[-1] == STEPS
        assert len(this.events("started")) == 1
        taken_again = len(this.steps()) - len({*this.steps()})
        ROWS.append(
            ("the disk is full for a while", "a file that fills it", str(BLOCK * taken_again), "goes on")
        )
        this.assert_same(whole)
    finally:
        this.driver.kill()
        subprocess.run(["umount", "--lazy", disk], check=True)


@pytest.mark.parametrize(("hosts", "undisturbed"), [(1, "alone"), (2, "whole")])
def test_a_gradient_that_is_not_a_number_once_costs_a_restart(
    make, request: pytest.FixtureRequest, tmp_path: Path, hosts: int, undisturbed: str
):
    this = make(hosts)
    this.planted = "poison", BAD_STEP, str(tmp_path / "poisoned")
    this.start()
    this.wait_for_step(BAD_STEP - 100)
    with this.fault(f"a gradient is not a number, once; group of {hosts}", "put into one step"):
        wait_for(lambda: bool(this.events("rewound")), "it does not go back", this)
    this.finish()
    (rewound,) = this.events("rewound")
    assert rewound["step"] == BAD_STEP
    assert "the checkpoint of step 480 is kept" in rewound["text"]
    this.assert_same(request.getfixturevalue(undisturbed))


def test_one_that_comes_back_ends_its_expert_and_the_others_finish(make, alone: Training, broken_data: Path):
    this = make(hosts=1, experts=2)
    often = saving_often(make(hosts=1)).jobs[0].train
    this.jobs[0] = replace(this.jobs[0], data=broken_data, train=often)
    this.start().finish(1)
    (failed,) = this.events("failed")
    assert "loss inf" in failed["text"]
    assert "at step 8, batch 8 of epoch 0" in failed["text"]
    assert [event["step"] for event in this.events("rewound")] == [8]
    this.assert_same(alone, job=1)


def test_two_experts_that_are_lost_together_both_come_back(make, alone: Training):
    this = make(hosts=1, experts=2).start()
    for job in (0, 1):
        this.wait_for_step(300, job)
    with this.fault("two experts are lost together", KILLED):
        for process in this.workers():
            os.kill(process, signal.SIGKILL)
    this.finish()
    assert {event["expert"] for event in this.events("lost")} == {"expert-0", "expert-1"}
    for job in (0, 1):
        this.assert_same(alone, job)


@pytest.mark.parametrize(
    ("before", "after", "how"), [(2, 1, signal.SIGINT), (1, 2, signal.SIGTERM)], ids=["half", "twice"]
)
def test_a_run_goes_on_with_half_and_with_twice_the_processes(
    make, whole: Training, before: int, after: int, how: signal.Signals
):
    this = make(hosts=before).start()
    this.wait_for_step(600)
    this.driver.send_signal(how)
    this.finish(130)
    this.config = replace(this.config, hosts=(after,))
    with this.fault(
        f"a group of {before} goes on as one of {after}", f"{how.name}, the same command with other hosts"
    ):
        this.start()
    this.finish()
    assert this.steps() == [*range(BLOCK, STEPS + 1, BLOCK)]
    this.assert_same(whole, rtol=1e-5, atol=1e-5)
