import importlib.util
import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
import ray
from ray._private import services

from fokker.distributed import tasks
from fokker.distributed.cluster import joining, ray_compat
from fokker.distributed.cluster.joining import ClusterError
from fokker.distributed.config import ClusterConfig

from ..conftest import CPUS


@pytest.fixture
def closed_port() -> int:
    """A port at which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_a_client_is_told_to_submit():
    with pytest.raises(ClusterError, match=r"ray://head:10001: clients of Ray are not .* fokker submit"):
        joining.connect(ClusterConfig(address="ray://head:10001"))


def test_an_address_that_does_not_answer_is_named_at_once(closed_port: int):
    address = f"127.0.0.1:{closed_port}"
    with pytest.raises(ClusterError, match=rf"cluster\.address {address}: nothing answers there \(.*refused"):
        joining.connect(ClusterConfig(address=address))


def test_the_address_of_the_environment_is_named_too(closed_port: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{closed_port}")
    with pytest.raises(ClusterError, match=rf"cluster\.address 127\.0\.0\.1:{closed_port}: nothing answers"):
        joining.connect(ClusterConfig())


# In a process of its own: Ray keeps the token that it has once looked for.
JOIN = """
import sys
from fokker.distributed.cluster import joining
from fokker.distributed.config import ClusterConfig
joining.ANSWER_SECONDS = float(sys.argv[2])
try:
    joining.connect(ClusterConfig(address=f"127.0.0.1:{sys.argv[1]}"))
except joining.ClusterError as error:
    print(error)
"""


def said_of(port: int, seconds: float) -> str:
    words = [sys.executable, "-c", JOIN, str(port), str(seconds)]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=300).stdout


def test_a_cluster_of_another_token_is_refused():
    def refuse(request: bytes, context: grpc.ServicerContext):
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")

    _, service, method = ray_compat.ALIVE.split("/")
    handlers = {method: grpc.unary_unary_rpc_method_handler(refuse)}
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        assert f"{port}: the Ray cluster there wants its own token: set RAY_AUTH_TOKEN" in said_of(port, 60)
    finally:
        server.stop(None).wait()


def test_what_listens_and_is_no_cluster_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        assert f"{port}: what listens there does not answer as a Ray cluster" in said_of(port, 0.5)


def test_a_port_that_cannot_be_is_named():
    with pytest.raises(ClusterError, match=r"cluster\.address 127\.0\.0\.1:123456: nothing answers"):
        joining.connect(ClusterConfig(address="127.0.0.1:123456"))


def test_what_is_no_address_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)  # Other tests may have begun with theirs.
    with pytest.raises(ClusterError, match=r"cluster\.address nonsense: Invalid address format"):
        joining.connect(ClusterConfig(address="nonsense"))


@pytest.fixture
def nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Ray; the file that names its last cluster."""
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(services, "find_gcs_addresses", set)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    return tmp_path / "ray" / "ray_current_cluster"


@pytest.mark.parametrize("way", ["setting", "environment"])
def test_auto_where_no_cluster_runs_is_answered_at_once(
    nothing_runs: Path, way: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RAY_ADDRESS", "auto" if way == "environment" else "")
    with pytest.raises(ClusterError, match=r"^cluster\.address auto: no Ray cluster runs on this machine: "):
        joining.connect(ClusterConfig(address="auto" if way == "setting" else None))


def test_auto_where_the_last_cluster_is_gone_is_answered_at_once(
    nothing_runs: Path, closed_port: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    nothing_runs.write_text(f"127.0.0.1:{closed_port}")
    message = rf"cluster\.address auto: [\d.]+:{closed_port}: nothing answers there \(.*refused"
    with pytest.raises(ClusterError, match=message):
        joining.connect(ClusterConfig(address="auto"))


ALONE = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import ray
from fokker.distributed.cluster import joining, machine, ray_compat
from fokker.distributed.config import ClusterConfig
with joining.leaving():
    joining.connect(ClusterConfig())
    node = ray._private.worker._global_node
    print(joining.cpus(), machine.scratch())
    groups = {os.getpgid(process.pid) for _, process in node.live_processes()}
    print(os.getpgid(0) in groups, ray_compat.lost())
    print(joining.worker_environment(False)["JAX_COMPILATION_CACHE_DIR"])
assert not ray.is_initialized()
machine.remove_scratch()
print(machine.scratch.__globals__["_scratch"].exists())
"""


def test_a_cluster_of_ones_own_takes_what_is_allowed_and_leaves_nothing(tmp_path: Path):
    """On one CPU, without a home, with a folder for temporary files whose name is too long for sockets."""
    long = tmp_path / ("x" * 90)
    long.mkdir()
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "JAX_", "XDG_"))
    }
    environment = kept | {"HOME": "/proc/nonexistent", "TMPDIR": str(long)}
    done = subprocess.run(
        [sys.executable, "-c", ALONE], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    about, groups, compiled, left = done.stdout.splitlines()
    cpus, folder = about.split()
    assert (cpus, groups, left) == ("1.0", "False False", "False")
    assert compiled == f"{folder}/jax"
    assert [*long.iterdir()] == []


def test_connecting_again_keeps_the_cluster(ray_cluster):
    before = ray.get_runtime_context().get_job_id()
    joining.connect(ClusterConfig())
    assert ray.get_runtime_context().get_job_id() == before
    assert joining.cpus() == CPUS


def test_a_cluster_is_left_however_the_work_ends(monkeypatch: pytest.MonkeyPatch):
    left = []
    monkeypatch.setattr(joining, "leave", lambda: left.append(True))
    with joining.leaving():
        assert not left
    with pytest.raises(KeyboardInterrupt), joining.leaving():
        raise KeyboardInterrupt
    assert left == [True, True]


def test_nodes_that_have_joined_are_not_waited_for(ray_cluster, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(joining, "leave", lambda: None)
    monkeypatch.setenv("RAY_ADDRESS", "the session's")
    joining.wait_for_nodes(1)


def test_nodes_that_do_not_join_are_counted(ray_cluster, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(joining, "leave", lambda: None)
    monkeypatch.setattr(joining, "JOIN_SECONDS", 0.0)
    monkeypatch.setenv("RAY_ADDRESS", "the session's")
    with pytest.raises(ClusterError, match="only 1 of 2 nodes have joined within 0 s"):
        joining.wait_for_nodes(2)


def test_a_cluster_that_is_being_started_is_waited_for(closed_port: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{closed_port}")
    monkeypatch.setattr(joining, "JOIN_SECONDS", 0.5)
    begin = time.monotonic()
    with pytest.raises(ClusterError, match="nothing answers there"):
        joining.wait_for_nodes(1)
    assert time.monotonic() - begin > 0.5


def test_a_cluster_that_nobody_named_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(ClusterError, match="RAY_ADDRESS names no cluster"):
        joining.wait_for_nodes(1)


def test_more_gpus_than_a_node_has_are_refused(ray_cluster):
    message = r"cluster\.devices_per_host 3: the cluster's largest node has 0 GPUs; use fewer, or .* cpu"
    with pytest.raises(ClusterError, match=message):
        joining.connect(ClusterConfig(device="gpu", devices_per_host=3))


def test_a_worker_computes_on_one_cpu_thread(ray_cluster):
    names = ("JAX_PLATFORMS", "OMP_NUM_THREADS", "NPROC", "XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR")
    found = ray.get([tasks.submit(os.getenv, name) for name in names])
    assert found[:3] == ["cpu", "1", "1"]
    assert joining.ONE_THREAD in found[3]
    assert found[4] == os.environ["JAX_COMPILATION_CACHE_DIR"]


def test_a_worker_on_a_gpu_leaves_devices_to_ray():
    assert not {"CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS", "XLA_FLAGS"} & set(joining.worker_environment(True))


def test_a_worker_cannot_import_the_folders_of_the_checkout_by_their_plain_names(ray_cluster):
    names = ("analysis", "data", "distributed", "launch", "model")
    assert ray.get([tasks.submit(importlib.util.find_spec, name) for name in names]) == [None] * len(names)
    assert ray.get(tasks.submit(importlib.util.find_spec, "fokker.distributed")) is not None


def test_a_slot_is_room_for_all_that_a_host_of_a_group_needs(monkeypatch: pytest.MonkeyPatch):
    nodes = [{"CPU": 16.0, "GPU": 8.0}, {"CPU": 1.0, "GPU": 8.0}, {"CPU": 64.0}]
    monkeypatch.setattr(joining, "nodes", lambda labels: nodes)
    assert joining.slots({"CPU": 1.0, "GPU": 4.0}) == 3
    assert joining.slots({"CPU": 2.0, "GPU": 8.0}) == 1
    assert joining.slots({"CPU": 0.5}) == 32 + 2 + 128
    assert joining.slots({"CPU": 2.0}, most=1) == 2
