"""What KubeRay 1.7 refuses, or Kueue does, or we do, though every schema takes it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from .pods import cluster_spec

Manifest = Mapping[str, Any]
NAMES = {"RayJob": 47, "RayCluster": 53, "RayCronJob": 36}
"""Characters that the operator leaves to names: it makes longer ones of them."""
GATED = ("networkPolicy", "tlsOptions", "historyServerOptions")
"""Fields behind gates that are off."""
QUEUE = "kueue.x-k8s.io/queue-name"
_OF_RESOURCES = ("num-cpus", "num-gpus", "memory", "resources")


def problems(manifest: Manifest) -> list[str]:
    """All that is wrong with a RayCluster or a RayJob; nothing of other kinds."""
    if manifest["kind"] not in NAMES:
        return []
    found = [*_name(manifest), *_queue(manifest)]
    if manifest["kind"] == "RayJob":
        found += [*_job(manifest["spec"]), *_modes(manifest["spec"]), *_deletion(manifest["spec"])]
    if (spec := cluster_spec(manifest)) is not None:
        found += [*_cluster(spec), *_autoscaling(spec)]
        for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
            found += _group(group)
    return found


def _name(manifest: Manifest) -> Iterator[str]:
    name = manifest["metadata"]["name"]
    if len(name) > NAMES[manifest["kind"]] or not re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", name):
        yield f"{name!r} is no name of a {manifest['kind']}"


def _queue(manifest: Manifest) -> Iterator[str]:
    queued = QUEUE in manifest["metadata"].get("labels", {})
    spec = cluster_spec(manifest) or {}
    if manifest["spec"].get("suspend") and not queued:
        yield "suspend without Kueue never starts"
    if queued and spec.get("enableInTreeAutoscaling"):
        yield "Kueue takes no cluster that scales, but behind a gate"
    if queued and manifest["kind"] == "RayJob" and not manifest["spec"].get("shutdownAfterJobFinishes"):
        yield "Kueue takes no job that keeps its cluster"


def _job(spec: Manifest) -> Iterator[str]:
    if ("rayClusterSpec" in spec) == ("clusterSelector" in spec):
        yield "one of rayClusterSpec and clusterSelector"
    shuts = spec.get("shutdownAfterJobFinishes", False)
    if spec.get("ttlSecondsAfterFinished", 0) and not shuts:
        yield "ttlSecondsAfterFinished without shutdownAfterJobFinishes"
    if spec.get("suspend") and not shuts:
        yield "suspend without shutdownAfterJobFinishes"
    for name in ("activeDeadlineSeconds", "preRunningDeadlineSeconds"):
        if spec.get(name, 1) <= 0:
            yield name
    if spec.get("ttlSecondsAfterFinished", 0) < 0 or spec.get("backoffLimit", 0) < 0:
        yield "below 0"
    if not isinstance(yaml.safe_load(spec.get("runtimeEnvYAML", "{}")), dict):
        yield "runtimeEnvYAML is no mapping"


def _modes(spec: Manifest) -> Iterator[str]:
    mode, selects = spec.get("submissionMode", "K8sJobMode"), "clusterSelector" in spec
    submits = "submitterPodTemplate" in spec or "submitterConfig" in spec
    if mode == "SidecarMode" and (selects or submits):
        yield "SidecarMode has no submitter of its own, and a cluster of its own"
    if (mode == "InteractiveMode" or selects) and spec.get("backoffLimit", 0):
        yield "backoffLimit with another's cluster or by hand"
    if mode == "HTTPMode" and "activeDeadlineSeconds" not in spec:
        yield "HTTPMode submits again without end: activeDeadlineSeconds"


def _deletion(spec: Manifest) -> Iterator[str]:
    rules = spec.get("deletionStrategy", {}).get("deletionRules", [])
    if rules and (spec.get("shutdownAfterJobFinishes") or spec.get("ttlSecondsAfterFinished")):
        yield "deletionRules beside shutdownAfterJobFinishes or a TTL"
    seconds = {rule["policy"]: rule["condition"].get("ttlSeconds", 0) for rule in rules}
    in_order = [seconds[name] for name in ("DeleteWorkers", "DeleteCluster", "DeleteSelf") if name in seconds]
    if in_order != sorted(in_order):
        yield "workers go first, then the cluster, then the job"
    if "DeleteWorkers" in seconds and spec.get("rayClusterSpec", {}).get("enableInTreeAutoscaling"):
        yield "DeleteWorkers of a cluster that scales"


def _cluster(spec: Manifest) -> Iterator[str]:
    for name in GATED:
        if name in spec:
            yield f"{name} is behind a gate"
    if spec.get("authOptions", {}).get("mode") != "token":
        yield "whoever reaches it runs what they like"
    version = tuple(map(int, re.findall(r"\d+", spec.get("rayVersion", "0"))))
    if version < (2, 53):
        yield "rayVersion: tokens need 2.52, and probes without wget 2.53"
    head = spec["headGroupSpec"]
    if (
        head.get("serviceType", "ClusterIP") != "ClusterIP"
        or head.get("enableIngress")
        or "ingressOptions" in head
    ):
        yield "the dashboard is to be seen from outside"
    if head.get("rayStartParams", {}).get("num-cpus") != "0":
        yield "the head does work"
    if not spec.get("workerGroupSpecs"):
        yield "nobody does any work"


def _autoscaling(spec: Manifest) -> Iterator[str]:
    scales, groups = spec.get("enableInTreeAutoscaling", False), spec["workerGroupSpecs"]
    pods = [group["template"]["spec"] for group in (spec["headGroupSpec"], *groups)]
    environment = {entry["name"] for entry in pods[0]["containers"][0].get("env", [])}
    if "RAY_enable_autoscaler_v2" in environment:
        yield "autoscalerOptions.version says which autoscaler"
    restarts = any(pod.get("restartPolicy", "Never") != "Never" for pod in pods)
    if spec.get("autoscalerOptions", {}).get("version") == "v2" and restarts:
        yield "restartPolicy with autoscaler v2"
    has_token = any(volume["name"] == "token" for volume in pods[0].get("volumes", []))
    if scales and not has_token and pods[0].get("automountServiceAccountToken") is False:
        yield "the autoscaler has no token"
    for group in groups:
        least, most = group.get("minReplicas"), group.get("maxReplicas")
        if least is None or most is None or not least <= group.get("replicas", 0) <= most:
            yield f"{group['groupName']}: replicas"
        elif not scales and least != most:
            yield f"{group['groupName']}: nothing scales it"
        if group.get("numOfHosts", 1) != 1:
            yield f"{group['groupName']}: numOfHosts deletes all of them when one fails"
        if group.get("suspend"):
            yield f"{group['groupName']}: suspend is behind a gate"


def _group(group: Manifest) -> Iterator[str]:
    parameters, name = group.get("rayStartParams", {}), group.get("groupName", "head")
    if group.get("resources") and any(key in parameters for key in _OF_RESOURCES):
        yield f"{name}: resources stand in two places"
    if "labels" in parameters:
        yield f"{name}: labels are a field of the group"
    for key, value in group.get("labels", {}).items():
        part = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
        if not re.fullmatch(f"([a-z0-9.-]+/)?{part}", key) or not re.fullmatch(f"({part})?", value):
            yield f"{name}: {key}={value} is no label"
    if not all(isinstance(value, str) for value in parameters.values()):
        yield f"{name}: rayStartParams are texts"
