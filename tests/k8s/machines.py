"""Machines by their clouds' tables, and whether what a worker asks for can be had of one.

Not the tables of the package: these hold what the clouds publish, and what their nodes keep for themselves.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from .pods import cluster_spec, templates

Manifest = Mapping[str, Any]
LABEL = "node.kubernetes.io/instance-type"
# CPUs, GiB, GPUs, EFA devices.
MACHINES = {
    "a2-highgpu-1g": (12, 85, 1, 0),
    "a2-highgpu-2g": (24, 170, 2, 0),
    "a2-highgpu-4g": (48, 340, 4, 0),
    "a2-highgpu-8g": (96, 680, 8, 0),
    "a2-ultragpu-1g": (12, 170, 1, 0),
    "a2-ultragpu-2g": (24, 340, 2, 0),
    "a2-ultragpu-4g": (48, 680, 4, 0),
    "a2-ultragpu-8g": (96, 1360, 8, 0),
    "p4d.24xlarge": (96, 1152, 8, 4),
    "p4de.24xlarge": (96, 1152, 8, 4),
}
SPOT = {"a2": ("cloud.google.com/gke-spot", "true"), "p4": ("eks.amazonaws.com/capacityType", "SPOT")}
"""What nodes are labelled with that the cloud may take back."""
DAEMONS = 0.5, 2.0
"""CPUs and GiB of what a cloud puts on every node: network, storage, logs, metrics, device plugins."""
EKS_PODS = 737
"""That EKS lets a p4d have."""
_UNITS = {"": 1.0, "m": 1e-3, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}


def quantity(value: Any) -> float:
    """A quantity of Kubernetes in its unit: CPUs, bytes, devices."""
    found = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", str(value))
    assert found, value
    return float(found[1]) * _UNITS[found[2]]


def allocatable(machine: str) -> tuple[float, float]:
    """CPUs and GiB that a node of this type gives to pods, by the formulas of GKE and EKS.

    Of the memory a hundredth and a half is the kernel's before the node counts it.
    """
    cpus, memory, *_ = MACHINES[machine]
    reserved = 0.06 + 0.01 + 2 * 0.005 + 0.0025 * (cpus - 4)
    seen = 0.985 * memory
    if machine.startswith("p4"):
        return cpus - reserved, seen - (255 + 11 * EKS_PODS) / 1024 - 0.1
    parts = ((4, 0.25), (4, 0.2), (8, 0.1), (112, 0.06), (float("inf"), 0.02))
    kept, left = 0.1, seen
    for size, share in parts:
        kept += share * min(left, size)
        left = max(0.0, left - size)
    return cpus - reserved, seen - kept


def problems(manifest: Manifest) -> list[str]:
    """What cannot be scheduled, or leaves much of a machine idle."""
    if (spec := cluster_spec(manifest)) is None:
        return []
    found = [*_head_stays(spec)]
    for name, template in templates(manifest):
        pod = template["spec"]
        found += [f"{name}: {problem}" for problem in _limits(pod)]
        machine = pod.get("nodeSelector", {}).get(LABEL)
        if name == "head":
            found += [f"{name}: {problem}" for problem in _head(pod)]
        elif machine is not None:
            found += [f"{name}: {problem}" for problem in (*_whole(pod, machine), *_spot(pod, machine))]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        found += _object_store(group)
    return found


def _limits(pod: Manifest) -> Iterator[str]:
    for container in pod["containers"]:
        resources = container["resources"]
        if resources["requests"] != resources["limits"]:
            yield f"{container['name']}: what it may take is not kept for it"


def _head(pod: Manifest) -> Iterator[str]:
    if any(
        key.endswith("gpu") for container in pod["containers"] for key in container["resources"]["limits"]
    ):
        yield "has GPUs"
    if pod.get("nodeSelector", {}).get(LABEL) in MACHINES:
        yield "on a machine with GPUs"


def _head_stays(spec: Manifest) -> Iterator[str]:
    """Where workers have machines with GPUs, a head keeps away from these and from those taken back."""
    workers = [group["template"]["spec"].get("nodeSelector", {}) for group in spec["workerGroupSpecs"]]
    machines = {selector[LABEL] for selector in workers if LABEL in selector}
    wanted = {(LABEL, name) for name in machines} | {SPOT[name[:2]] for name in machines}
    if missing := wanted - refused(spec["headGroupSpec"]["template"]["spec"]):
        yield f"head: may come to a node with {missing.pop()}"


def _whole(pod: Manifest, machine: str) -> Iterator[str]:
    """One worker has one machine, but for what its node needs."""
    _, _, gpus, efa = MACHINES[machine]
    asked = [container["resources"]["requests"] for container in pod["containers"]]
    room = [own - daemons for own, daemons in zip(allocatable(machine), DAEMONS, strict=True)]
    wanted = [sum(quantity(a["cpu"]) for a in asked), sum(quantity(a["memory"]) for a in asked) / 2**30]
    wanted[1] += sum(quantity(a.get("hugepages-2Mi", 0)) for a in asked) / 2**30
    for name, most, has in zip(("CPUs", "GiB"), room, wanted, strict=True):
        if not 0.8 * most <= has <= most:
            yield f"{has:g} {name} of {most:.1f} on a {machine}"
    for name, count in (("nvidia.com/gpu", gpus), ("vpc.amazonaws.com/efa", efa)):
        if sum(quantity(a.get(name, 0)) for a in asked) != count:
            yield f"a {machine} has {count} {name}"
    if efa and any(quantity(a.get("hugepages-2Mi", 0)) == 0 for a in asked):
        yield "EFA without huge pages"
    if not any(toleration["key"] == "nvidia.com/gpu" for toleration in pod.get("tolerations", [])):
        yield "nodes with GPUs keep it away"


def _spot(pod: Manifest, machine: str) -> Iterator[str]:
    key, value = SPOT[machine[:2]]
    if pod["nodeSelector"].get(key) != value and (key, value) not in refused(pod):
        yield "may come to a node that the cloud takes back"


def refused(pod: Manifest) -> set[tuple[str, str]]:
    """Values of labels that a node must not have."""
    affinity = pod.get("affinity", {}).get("nodeAffinity", {})
    terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {}).get("nodeSelectorTerms", [])
    assert len(terms) <= 1, "terms are alternatives"
    expressions = [expression for term in terms for expression in term["matchExpressions"]]
    return {(e["key"], value) for e in expressions if e["operator"] == "NotIn" for value in e["values"]}


def _object_store(group: Manifest) -> Iterator[str]:
    pod = group["template"]["spec"]
    (memory,) = (v["emptyDir"]["sizeLimit"] for v in pod["volumes"] if v.get("emptyDir", {}).get("medium"))
    store = float(group["rayStartParams"]["object-store-memory"])
    has = quantity(pod["containers"][0]["resources"]["limits"]["memory"])
    if not store < quantity(memory) <= has / 2:
        name = group.get("groupName", "head")
        yield f"{name}: {store / 2**30:g} GiB of objects in {memory} of {has / 2**30:g} GiB"
