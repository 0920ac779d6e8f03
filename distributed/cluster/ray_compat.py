"""All that is used of Ray and is not promised to stay: its private parts, in one place.

Each has a test in tests/distributed/cluster/test_ray_compat.py, which says what is gone before a run does.
"""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import ray
import ray._private.utils
import ray._private.worker
from ray._private import services
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray._private.gcs_utils import create_gcs_channel
from ray._private.state import state
from ray.job_config import JobConfig

ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"
"""What the head of a cluster is asked, with an empty message."""


def init(address: str, **options: Any) -> None:
    """`ray.init`, quiet, and for workers that see nothing of this process's folder.

    What the user needs to see comes back from the actors as progress or errors, and threads of Ray can crash,
    loudly, where a process ends that has done its work. For the job of a client Ray leaves the working
    directory off the workers' path: in a checkout, `data` or `distributed` there would shadow other people's
    packages.
    """
    options["job_config"] = JobConfig(_client_job=True)
    ray.init(address, logging_level=logging.ERROR, log_to_driver=False, **options)


def start(cpus: int, folder: str) -> None:
    """A cluster on this machine, for this process alone, with its files in a folder."""
    init("local", include_dashboard=False, num_cpus=cpus, _temp_dir=folder)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Within, Ray starts its processes in groups of their own, and afterwards no signal is left to it.

    A signal to the whole group (`timeout`, the end of a job) would end Ray while the driver still saves. What
    ends a pod or a job is survived like Ctrl-C.
    """
    handler, popen = ray._private.utils.set_sigterm_handler, services.ConsolePopen
    ray._private.utils.set_sigterm_handler = lambda _: None
    services.ConsolePopen = partial(popen, process_group=0)
    try:
        yield
    finally:
        ray._private.utils.set_sigterm_handler, services.ConsolePopen = handler, popen
        if threading.current_thread() is threading.main_thread():
            before = signal.getsignal(signal.SIGTERM)
            # Set again in any case: Ray's own part that is not Python has put itself before it.
            signal.signal(signal.SIGTERM, signal.default_int_handler if before is signal.SIG_DFL else before)


def address_here() -> str:
    """The cluster that runs on this machine, or is said to. OSError or ValueError if there is none."""
    return services.canonicalize_bootstrap_address("auto") or ""


def ask_head(address: str, seconds: float) -> None:
    """Return if the head of a cluster answers within so many seconds and takes our token.

    grpc.RpcError or Ray's AuthenticationError if not, where `ray.init` would go on trying for a quarter of an
    hour.
    """
    # As `ray.init` will: whether tokens are used is settled by the first channel that is made.
    logging.getLogger("ray").setLevel(logging.ERROR)
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)
    channel: Any = create_gcs_channel(address)
    with channel:
        channel.unary_unary(ALIVE)(b"", timeout=seconds)


def draining() -> set[str]:
    """Nodes that are about to be taken away, by their number."""
    return {*state.get_draining_nodes()}


def lost() -> bool:
    """Whether the cluster that this process started has lost one of its own processes."""
    node = ray._private.worker._global_node
    return node is not None and node.is_head() and bool(node.dead_processes())


def kill() -> None:
    """End the processes of the cluster that this process started, without asking them."""
    node = ray._private.worker._global_node
    if node is not None and node.is_head():
        node.kill_all_processes(check_alive=False)
