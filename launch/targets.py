"""Kubernetes clusters that runs are rendered for: their machines, and how pods ask for them. Free of JAX."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

MACHINE_LABEL = "node.kubernetes.io/instance-type"
"""What every cloud says of a node."""
GIB = 2**30


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
    def cpus_for_pods(self) -> int:
        """What is left by the kubelet and by the pods that a cloud puts on every node."""
        return self.cpus - 1 - self.cpus // 32

    @property
    def memory_for_pods(self) -> int:
        """GiB that are left by the kernel, the kubelet and these pods."""
        return self.memory * 7 // 8


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
class Target:
    """One kind of cluster, as the overlay of the same name describes it."""

    name: str
    machines: tuple[Machine, ...] = ()
    """That experts may train on; the first unless another is asked for. None: nodes of any type."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Of every worker."""
    resources: Mapping[str, int | str] = field(default_factory=dict)
    """What a worker asks for beside CPUs, memory and GPUs."""
    tolerations: Sequence[Mapping[str, str]] = ()
    """Of workers, for nodes that keep other pods away."""
    spot: tuple[str, str] | None = None
    """Label of nodes that the cloud may take back, where it has one."""

    @property
    def on_gpu(self) -> bool:
        """Whether experts are trained on GPUs."""
        return any(machine.gpus for machine in self.machines)

    def pod(self, machine: Machine) -> Pod:
        """One worker that has a node of this type for itself."""
        return Pod(machine.cpus_for_pods, machine.memory_for_pods, machine.gpus)

    def workers_on(self, machine: Machine | None, spot: bool) -> dict[str, Any]:
        """The part of a worker's pod that says which nodes it goes to."""
        selector = {MACHINE_LABEL: machine.name} if machine else {}
        tolerations = [dict(toleration) for toleration in self.tolerations]
        if spot and self.spot:
            key, value = self.spot
            selector[key] = value
            tolerations.append({"key": key, "operator": "Equal", "value": value, "effect": "NoSchedule"})
        affinity = {} if spot else _away_from(self._of_spot)
        where = {"nodeSelector": selector, "tolerations": tolerations, "affinity": affinity}
        return {name: value for name, value in where.items() if value}

    @property
    def head_on(self) -> dict[str, Any]:
        """The affinity of a head: to no node with GPUs, and to none that may be taken back."""
        return _away_from({MACHINE_LABEL: [machine.name for machine in self.machines]} | self._of_spot)

    @property
    def _of_spot(self) -> dict[str, list[str]]:
        return {self.spot[0]: [self.spot[1]]} if self.spot else {}


def _away_from(labels: Mapping[str, list[str]]) -> dict[str, Any]:
    """An affinity to nodes that have none of these values, or not the label at all."""
    terms = [{"key": key, "operator": "NotIn", "values": values} for key, values in labels.items() if values]
    required = {"nodeSelectorTerms": [{"matchExpressions": terms}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}} if terms else {}


_A100 = {
    "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
    "NCCL_DEBUG": "WARN",
    "NCCL_SOCKET_IFNAME": "eth0",  # The pod's own network; without it NCCL tries every interface.
}
_HAS_GPU = {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
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
            tolerations=(_HAS_GPU,),
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
            (_HAS_GPU, {"key": "vpc.amazonaws.com/efa", "operator": "Exists", "effect": "NoSchedule"}),
            ("eks.amazonaws.com/capacityType", "SPOT"),
        ),
    )
}
