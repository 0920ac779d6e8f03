"""Joining a Ray cluster, or starting one on this machine."""

import os
import secrets
import socket
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType

import grpc
import ray
from ray.autoscaler.sdk import request_resources
from ray.exceptions import AuthenticationError

from ...data.errors import FokkerError
from ..config import ClusterConfig, selector
from ..groups import interrupts
from . import loss, machine, ray_compat

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 20.0
"""What the head of a cluster, on a machine that is busy, may take for an answer."""
JOIN_SECONDS = 300.0
"""What the nodes of a cluster that is being started may take to join it."""
ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"


class ClusterError(FokkerError):
    """No cluster, or one that cannot hold the run; the message says what is missing."""


def connect(config: ClusterConfig) -> None:
    """Join the configured cluster, a running one named by RAY_ADDRESS, or start one here.

    Raises ClusterError if the address does not answer, or if no node has the GPUs of one host, FileError if
    there is no place for Ray's files.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = _address(config)
    found = "local" if address == "local" else _reach(address)
    if not ray.is_initialized():
        with interrupts.holding(), ray_compat.undisturbed():
            if found == "local":
                _start()
            else:
                _join(found, address)
        loss.joined(ray.get_runtime_context().gcs_address, own=found == "local")
    if config.device == "gpu" and not config.autoscaled:
        labels = selector(config.train_on)
        most = max((node.get("GPU", 0) for node in nodes(labels)), default=0)
        if config.devices_per_host > most:
            raise ClusterError(
                f"cluster.devices_per_host {config.devices_per_host}: the cluster's largest node"
                f"{_labelled(labels)} has {most:g} GPUs; use fewer, or cluster.device cpu"
            )


def joins(config: ClusterConfig) -> bool:
    """Whether `connect` joins a cluster that runs, with hosts that others have set up."""
    return _address(config) != "local"


def _address(config: ClusterConfig) -> str:
    return config.address or os.environ.get("RAY_ADDRESS") or "local"


def _start() -> None:
    """Start a cluster on this machine, for this process alone."""
    if not {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & {*os.environ}:
        # Only this process and those of its cluster know it; Ray would write one to the home directory.
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    folder = str(machine.scratch() / machine.RAY)
    try:
        ray_compat.start(machine.allowed_cpus(), folder)
    except (OSError, ValueError, RuntimeError) as error:
        raise ClusterError(f"Ray does not start on this machine: {str(error).splitlines()[0]}") from None


def _join(found: str, address: str) -> None:
    try:
        if found.rpartition(":")[2].isdigit():  # Anything else Ray refuses at once.
            ray_compat.ask_head(found, ANSWER_SECONDS)
        ray_compat.init(found)
    except (grpc.RpcError, AuthenticationError) as error:
        raise ClusterError(f"cluster.address {_named(found, address)}: {_refusal(error)}") from None
    except (ConnectionError, ValueError, RuntimeError) as error:
        text = str(error).splitlines()[0]
        raise ClusterError(f"cluster.address {_named(found, address)}: {text}") from None


def _named(found: str, address: str) -> str:
    return address if found == address else f"{address}: {found}"


Labels = Mapping[str, str]


def wait_for_nodes(count: int) -> None:
    """Wait until the cluster named by RAY_ADDRESS, which may only be starting, has so many nodes.

    ClusterError if it has fewer after JOIN_SECONDS, or none answers.
    """
    if not os.environ.get("RAY_ADDRESS"):
        raise ClusterError("RAY_ADDRESS names no cluster whose nodes could be waited for")
    deadline = time.monotonic() + JOIN_SECONDS
    while not ray.is_initialized():
        try:
            connect(ClusterConfig())
        except ClusterError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1.0)
    with leaving():
        while (found := len(nodes())) < count:
            if time.monotonic() > deadline:
                raise ClusterError(f"only {found} of {count} nodes have joined within {JOIN_SECONDS:g} s")
            time.sleep(1.0)


def nodes(labels: Labels = MappingProxyType({})) -> list[dict[str, float]]:
    """The resources of every node that is alive and has these labels."""
    return [
        node["Resources"]
        for node in ray.nodes()
        if node["Alive"] and labels.items() <= node.get("Labels", {}).items()
    ]


def slots(bundle: Mapping[str, float], most: int = sys.maxsize, labels: Labels = MappingProxyType({})) -> int:
    """How many such bundles the cluster's nodes of these labels can hold in all, at most so many each."""
    wanted = {kind: amount for kind, amount in bundle.items() if amount}
    return sum(
        min(most, *(int(node.get(kind, 0) / amount + 1e-6) for kind, amount in wanted.items()))
        for node in nodes(labels)
    )


def ask_for(bundles: Sequence[Mapping[str, float]], labels: Labels) -> None:
    """Tell a cluster that starts and ends hosts how many it needs; the last call counts."""
    request_resources(
        bundles=[dict(bundle) for bundle in bundles],
        bundle_label_selectors=[dict(labels)] * len(bundles),
    )


def no_place(
    who: str, bundle: Mapping[str, float], hosts: int, labels: Labels, seconds: float
) -> ClusterError:
    """What to say where nothing was placed: what was asked for, and what there is."""
    wanted = " and ".join(f"{amount:g} {kind}" for kind, amount in bundle.items() if amount)
    there = "; ".join(f"{node.get('CPU', 0):g} CPU, {node.get('GPU', 0):g} GPU" for node in nodes(labels))
    return ClusterError(
        f"{who} found no place within {seconds:g} s (cluster.place_deadline): {hosts} × {wanted}"
        f"{_labelled(labels)}; the cluster has {there or 'no such host'}, and others may hold it"
    )


def _labelled(labels: Labels) -> str:
    listed = ",".join(f"{name}={value}" for name, value in labels.items())
    return f" on hosts labelled {listed}" if listed else ""


def _reach(address: str) -> str:
    """The host:port of a cluster, "auto" looked up.

    ClusterError if nothing listens there, where Ray would go on trying for a quarter of an hour, and for a
    client's address: Ray gives the process that stands in for a client 30 s to start, which a busy head
    exceeds, and a client does not hear of hosts that are taken away.
    """
    if address.startswith("ray://"):
        raise ClusterError(
            f"cluster.address {address}: clients of Ray are not supported: fokker submit --address "
            "http://HEAD:8265 -- COMMAND carries the command out on the cluster itself"
        )
    found = _running() if address == "auto" else address
    host, _, port = found.rpartition(":")
    if not host or not port.isdigit():
        return found  # What Ray itself refuses at once.
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        named = _named(found, address)
        raise ClusterError(f"cluster.address {named}: nothing answers there ({error})") from None
    return found


def _refusal(error: grpc.RpcError | AuthenticationError) -> str:
    """Why the head of a cluster gives no answer."""
    if isinstance(error, AuthenticationError) or error.code() == grpc.StatusCode.UNAUTHENTICATED:
        return (
            "the Ray cluster there wants its own token: set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to it, or "
            "leave the address out"
        )
    return f"what listens there does not answer as a Ray cluster ({error.code().name.lower()})"


def _running() -> str:
    """The cluster that runs on this machine, or is said to. ClusterError if there is none."""
    try:
        return ray_compat.address_here()
    except (OSError, ValueError):
        raise ClusterError(
            "cluster.address auto: no Ray cluster runs on this machine: start one (ray start --head), name "
            "its host:port, or leave the address out"
        ) from None


def reason(error: Exception) -> str:
    """Why a process was lost, in one line: the beginning of the first and the last of Ray's."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return textwrap.shorten(" ".join(dict.fromkeys([lines[0], lines[-1]])), 250, placeholder=" …")


def leave() -> None:
    """Leave the cluster, and end it if this process had started it."""
    loss.left()
    ray.shutdown()


@contextmanager
def leaving() -> Iterator[None]:
    """Within, a cluster is joined by whoever needs one; at the end it is left, however that comes."""
    try:
        yield
    finally:
        leave()


def cpus(labels: Labels = MappingProxyType({})) -> float:
    """CPUs of the whole cluster, or of its nodes of these labels."""
    return sum(node.get("CPU", 0.0) for node in nodes(labels)) or 1.0


def worker_environment(on_gpu: bool) -> dict[str, str]:
    """Environment of a process that computes; CUDA_VISIBLE_DEVICES is Ray's to set."""
    environment = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5"}
    if (cache := machine.compilations()) is not None:
        environment["JAX_COMPILATION_CACHE_DIR"] = cache
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
