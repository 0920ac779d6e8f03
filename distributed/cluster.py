"""Joining a Ray cluster, or starting one on this machine."""

import logging
import os
import signal
import socket
import sys
import textwrap
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray._private.state import state
from ray.exceptions import RayError
from ray.job_config import JobConfig
from ray.util import client

from .config import ClusterConfig

CONNECT_SECONDS = 5.0
ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"


class ClusterError(RuntimeError):
    """No cluster, or one that cannot hold the run; the message says what is missing."""


def connect(config: ClusterConfig) -> None:
    """Join the configured cluster, a running one named by RAY_ADDRESS, or start one here.

    Raises ClusterError if the address does not answer, or if no node has the GPUs of one host.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = config.address or os.environ.get("RAY_ADDRESS")
    if address:
        _reach(address)
    if not ray.is_initialized():
        try:
            # Quiet: what the user needs to see comes back from the actors as progress or errors, and threads
            # of Ray can crash, loudly, where a process ends that has done its work. For the job of a client
            # Ray leaves the working directory off the workers' path: in a checkout, `data` or `distributed`
            # there would shadow other people's packages. A real one (ray://) says that by itself.
            by_client = (address or "").startswith("ray://")
            options: dict[str, Any] = {} if by_client else {"job_config": JobConfig(_client_job=True)}
            ray.init(
                address or "local",
                include_dashboard=None if address else False,
                logging_level=logging.ERROR,
                log_to_driver=False,
                **options,
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ClusterError(f"cluster.address {address}: {str(error).splitlines()[0]}") from None
        if threading.current_thread() is threading.main_thread():
            # What ends a pod or a job is survived like Ctrl-C. Ray has just set a handler of its own.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
    if config.device == "gpu":
        most = max((node.get("GPU", 0) for node in nodes()), default=0)
        if config.devices_per_host > most:
            raise ClusterError(
                f"cluster.devices_per_host {config.devices_per_host}: the cluster's largest node has "
                f"{most:g} GPUs; use fewer, or cluster.device cpu"
            )


def nodes() -> list[dict[str, float]]:
    """The resources of every node that is alive."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def slots(bundle: Mapping[str, float], most: int = sys.maxsize) -> int:
    """How many such bundles the cluster's nodes can hold in all, at most so many each."""
    wanted = {kind: amount for kind, amount in bundle.items() if amount}
    return sum(
        min(most, *(int(node.get(kind, 0) / amount + 1e-6) for kind, amount in wanted.items()))
        for node in nodes()
    )


def draining() -> set[str]:
    """Nodes that are about to be taken away, by their number; a client of Ray (ray://…) cannot know."""
    return set() if client.ray.is_connected() else {*state.get_draining_nodes()}


def _reach(address: str) -> None:
    """ClusterError if nothing listens at host:port, where Ray would go on trying for a quarter of an hour."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return  # "auto", or what Ray itself refuses at once.
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(f"cluster.address {address}: nothing answers there ({error})") from None


def reason(error: RayError) -> str:
    """Why a process was lost, in one line: the beginning of the first and the last of Ray's."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return textwrap.shorten(" ".join(dict.fromkeys([lines[0], lines[-1]])), 250, placeholder=" …")


def leave() -> None:
    """Leave the cluster, and end it if this process had started it."""
    ray.shutdown()


def cpus() -> float:
    """CPUs of the whole cluster."""
    return ray.cluster_resources().get("CPU", 1.0)


def worker_environment(on_gpu: bool) -> dict[str, str]:
    """Environment of a process that computes; CUDA_VISIBLE_DEVICES is Ray's to set."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "fokker" / "jax"
    environment = {
        "JAX_COMPILATION_CACHE_DIR": os.environ.get("JAX_COMPILATION_CACHE_DIR", str(cache)),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
    }
    if not on_gpu:
        # One thread a process: the work is many small operations, and the processes fill the cores. XLA
        # sizes the pool that runs independent operations by NPROC; its threads mostly wait for each other.
        environment |= {
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {ONE_THREAD}".strip(),
            "NPROC": "1",
            "OMP_NUM_THREADS": "1",
        }
    return environment
