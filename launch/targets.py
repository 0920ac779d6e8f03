"""Kubernetes clusters that runs are rendered for: their machines, and how pods ask for them. Free of JAX."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

GIB = 2**30


@dataclass(frozen=True)
class Pod:
    """What one worker has of its node."""

    cpus: int
    memory: int
    """GiB; the shared memory is part of it."""
    gpus: int = 0

    @property
    def shared_memory(self) -> int:
        """GiB at /dev/shm: half of it for Ray's objects, the rest for NCCL."""
        return min(16, max(1, self.memory // 4))

    @property
    def object_store(self) -> int:
        """Bytes that Ray keeps objects in."""
        return self.shared_memory * GIB // 2


@dataclass(frozen=True)
class Machine:
    """One type of machine, as its cloud describes it."""

    name: str
    cpus: int
    memory: int
    """GiB."""
    gpus: int = 0
    device: str = "cpu"
    """What its GPUs are, by their name in `DEVICES`."""

    @property
    def pod(self) -> Pod:
        """A worker that has it for itself, less what kernel, kubelet and the pods of the cloud need."""
        return Pod(self.cpus - 1 - self.cpus // 32, self.memory * 7 // 8, self.gpus)


@dataclass(frozen=True)
class Target:
    """One kind of cluster, as the overlay of the same name describes it."""

    name: str
    machines: tuple[Machine, ...] = ()
    """That experts may train on; the first unless another is asked for. None: nodes of any type."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Of every worker."""
    resources: Mapping[str, int | str] = field(default_factory=dict)
    """What a worker asks for beside CPUs, memory and GPUs."""
    taints: Sequence[str] = ()
    """By which its nodes keep other pods away."""
    spot: tuple[str, str] | None = None
    """Label of nodes that the cloud may take back, where it has one."""


_A100 = {
    "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
    "NCCL_DEBUG": "WARN",
    "NCCL_SOCKET_IFNAME": "eth0",  # The pod's own network; without it NCCL tries every interface.
}
_A2_HIGH = tuple(Machine(f"a2-highgpu-{n}g", 12 * n, 85 * n, n, "a100-40gb") for n in (8, 4, 2, 1))
_A2_ULTRA = tuple(Machine(f"a2-ultragpu-{n}g", 12 * n, 170 * n, n, "a100-80gb") for n in (8, 4, 2, 1))
_P4D = Machine("p4d.24xlarge", 96, 1152, 8, "a100-40gb")

TARGETS = {
    target.name: target
    for target in (
        Target("cpu"),
        Target(
            "gke-a100",
            _A2_HIGH + _A2_ULTRA,
            # GKE mounts the driver's libraries here, and only images from NVIDIA look there by themselves.
            # Between these machines there is Ethernet alone.
            _A100 | {"LD_LIBRARY_PATH": "/usr/local/nvidia/lib64", "NCCL_IB_DISABLE": "1"},
            taints=("nvidia.com/gpu",),
            spot=("cloud.google.com/gke-spot", "true"),
        ),
        Target(
            "eks-p4d",
            (_P4D, replace(_P4D, name="p4de.24xlarge", device="a100-80gb")),
            # Where the image has Amazon's plugin; NCCL takes TCP otherwise.
            _A100
            | {"LD_LIBRARY_PATH": "/opt/amazon/ofi-nccl/lib:/opt/amazon/efa/lib", "FI_PROVIDER": "efa"}
            | {"FI_EFA_USE_DEVICE_RDMA": "1", "FI_EFA_FORK_SAFE": "1"},
            {"vpc.amazonaws.com/efa": 4, "hugepages-2Mi": "5120Mi"},
            ("nvidia.com/gpu", "vpc.amazonaws.com/efa"),
            ("eks.amazonaws.com/capacityType", "SPOT"),
        ),
    )
}
