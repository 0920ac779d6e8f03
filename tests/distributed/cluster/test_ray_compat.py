"""Every private part of Ray that is used, by itself: what fails here is gone or does something else."""

import os
import signal
import subprocess
import sys

import pytest
import ray
from ray._private import services, utils

from fokker.distributed.cluster import ray_compat

OWN = """
import os, signal, sys
import ray
from fokker.distributed.cluster import ray_compat

handler = signal.getsignal(signal.SIGTERM)
with ray_compat.undisturbed():
    ray_compat.start(1, sys.argv[1])
print("signals", signal.getsignal(signal.SIGTERM) is signal.default_int_handler)
print("files", os.listdir(sys.argv[1]) != [])
children = ray._private.worker._global_node.live_processes()
print("groups", bool(children) and os.getpgid(0) not in {os.getpgid(child.pid) for _, child in children})
print("whole", not ray_compat.lost())
ray_compat.kill()
print("killed", all(child.poll() is not None for _, child in children))
os._exit(0)
"""


def test_a_cluster_of_ones_own_is_started_apart_and_can_be_ended(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("r", numbered=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", OWN, str(folder)],
        env=environment | {"RAY_AUTH_TOKEN": "0" * 64},
        capture_output=True,
        text=True,
        check=False,
    )
    wanted = {f"{what} True" for what in ("signals", "files", "groups", "whole", "killed")}
    assert wanted <= {*done.stdout.splitlines()}, done.stdout + done.stderr


def test_what_keeps_ray_undisturbed_is_put_back():
    handler = signal.getsignal(signal.SIGTERM)
    before = utils.set_sigterm_handler, services.ConsolePopen
    try:
        with ray_compat.undisturbed():
            assert services.ConsolePopen is not before[1]
            assert utils.set_sigterm_handler is not before[0]
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert (utils.set_sigterm_handler, services.ConsolePopen) == before


def test_the_cluster_of_this_machine_is_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(services, "find_gcs_addresses", lambda: {"10.0.0.1:6379"})
    assert ray_compat.address_here() == "10.0.0.1:6379"


def test_the_head_of_a_cluster_answers(ray_cluster):
    ray_compat.ask_head(ray.get_runtime_context().gcs_address, seconds=60.0)


def test_no_node_of_a_cluster_at_rest_is_taken_away(ray_cluster):
    assert ray_compat.draining() == set()
    assert not ray_compat.lost()


def test_workers_do_not_look_in_the_folder_of_the_driver(ray_cluster):
    paths = ray.get(ray.remote(lambda: sys.path).remote())
    assert os.getcwd() not in paths
    assert "" not in paths
