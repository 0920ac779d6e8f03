import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import RayActorError

from fokker.distributed.cluster import joining
from fokker.distributed.groups.group import ExpertGroup, Resources
from fokker.distributed.training import parameters
from fokker.distributed.training.progress import Progress

from ..conftest import MakeJob, process_of, restored, steps_on_disk, wait_until_free

pytestmark = pytest.mark.usefixtures("ray_cluster")


def polled(group: ExpertGroup, until) -> Progress | None:
    """Poll until the progress is as wanted, or the group has ended."""
    while not until(group.poll()) and not ray.wait(group.results, timeout=0.01)[0]:
        pass
    return group.progress


def test_a_group_trains_until_it_is_stopped_saves_and_gives_back_its_place(make_job: MakeJob):
    job = make_job(1)
    group = ExpertGroup(job, Resources(1, 1, 0.5, on_gpu=False, yields=True))
    try:
        running = polled(group, lambda progress: progress is not None and progress.step > 0)
        assert running is not None
        assert running.steps == 1440
        threads = [int(path.name) for path in Path(f"/proc/{process_of(group)}/task").iterdir()]
        idle = [thread for thread in threads if os.sched_getscheduler(thread) == os.SCHED_IDLE]
        assert idle, "training takes what others leave"
        assert len(idle) < len(threads), "answers do not wait for others"
        group.stop()
        last: Any = ray.get(group.results[0])
    finally:
        group.remove()
    assert 0 < running.step <= last.step < 1440
    assert steps_on_disk(job)[-1] == last.step == int(restored(job).step)
    assert not (job.directory / parameters.FILE).exists()
    wait_until_free()


def test_a_host_has_room_for_one_process_of_a_group_that_is_to_be_apart(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(joining, "nodes", lambda labels: [{"CPU": 4.0}, {"CPU": 2.0}, {"CPU": 0.5}])
    together = Resources(2, 1, 1.0, on_gpu=False)
    assert (together.most, replace(together, apart=True).most) == (6, 2)


def test_a_worker_that_dies_ends_the_result_and_not_the_poll(make_job: MakeJob):
    group = ExpertGroup(make_job(1), Resources(1, 1, 0.5, on_gpu=False))
    try:
        polled(group, lambda progress: progress is not None)
        os.kill(process_of(group), signal.SIGKILL)
        last = polled(group, lambda progress: False)
        assert group.poll() == last
        with pytest.raises(RayActorError):
            ray.get(group.results[0])
    finally:
        group.remove()
