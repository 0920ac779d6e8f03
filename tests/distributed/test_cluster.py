import importlib.util
import os
import socket

import pytest
import ray

from fokker.distributed import cluster, tasks
from fokker.distributed.cluster import ClusterError
from fokker.distributed.config import ClusterConfig

from .conftest import CPUS


@pytest.fixture
def closed_port() -> int:
    """A port at which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_that_does_not_answer_is_named_at_once(closed_port: int, scheme: str):
    address = f"{scheme}127.0.0.1:{closed_port}"
    with pytest.raises(ClusterError, match=rf"cluster\.address {address}: nothing answers there \(.*refused"):
        cluster.connect(ClusterConfig(address=address))


def test_the_address_of_the_environment_is_named_too(closed_port: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{closed_port}")
    with pytest.raises(ClusterError, match=rf"cluster\.address 127\.0\.0\.1:{closed_port}: nothing answers"):
        cluster.connect(ClusterConfig())


def test_a_port_that_cannot_be_is_named():
    with pytest.raises(ClusterError, match=r"cluster\.address 127\.0\.0\.1:123456: nothing answers"):
        cluster.connect(ClusterConfig(address="127.0.0.1:123456"))


def test_what_is_no_address_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)  # Other tests may have begun with theirs.
    with pytest.raises(ClusterError, match=r"cluster\.address nonsense: Invalid address format"):
        cluster.connect(ClusterConfig(address="nonsense"))


def test_connecting_again_keeps_the_cluster(ray_cluster):
    before = ray.get_runtime_context().get_job_id()
    cluster.connect(ClusterConfig())
    assert ray.get_runtime_context().get_job_id() == before
    assert cluster.cpus() == CPUS


def test_more_gpus_than_a_node_has_are_refused(ray_cluster):
    message = r"cluster\.devices_per_host 3: the cluster's largest node has 0 GPUs; use fewer, or .* cpu"
    with pytest.raises(ClusterError, match=message):
        cluster.connect(ClusterConfig(device="gpu", devices_per_host=3))


def test_a_worker_computes_on_one_cpu_thread(ray_cluster):
    names = ("JAX_PLATFORMS", "OMP_NUM_THREADS", "NPROC", "XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR")
    found = ray.get([tasks.submit(os.getenv, name) for name in names])
    assert found[:3] == ["cpu", "1", "1"]
    assert cluster.ONE_THREAD in found[3]
    assert found[4] == os.environ["JAX_COMPILATION_CACHE_DIR"]


def test_a_worker_on_a_gpu_leaves_devices_to_ray():
    assert not {"CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS", "XLA_FLAGS"} & set(cluster.worker_environment(True))


def test_a_worker_cannot_import_the_folders_of_the_checkout_by_their_plain_names(ray_cluster):
    names = ("analysis", "data", "distributed", "launch", "model")
    assert ray.get([tasks.submit(importlib.util.find_spec, name) for name in names]) == [None] * len(names)
    assert ray.get(tasks.submit(importlib.util.find_spec, "fokker.distributed")) is not None
