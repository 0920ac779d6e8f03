"""Every check refuses a manifest with one thing changed; a rule a row, hence the length."""

import copy
from collections.abc import Mapping
from typing import Any

import pytest

from . import machines, operator_rules, pods, schemas
from .conftest import Manifest, load, one, rendered
from .schemas import Checker

GONE = object()
"""In place of a value: nothing."""

JOB = ("spec",)
CLUSTER = ("spec", "rayClusterSpec")
HEAD = (*CLUSTER, "headGroupSpec")
HEAD_POD = (*HEAD, "template", "spec")
_TERMS = ("nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms")
GROUP = (*CLUSTER, "workerGroupSpecs", 0)
POD = (*GROUP, "template", "spec")
RAY = (*POD, "containers", 0)
SIDECAR = (*CLUSTER, "autoscalerOptions")


def changed(manifest: Manifest, *changes: tuple[tuple[Any, ...], Any]) -> Manifest:
    """With other values at some paths; what is on the way is made."""
    found = copy.deepcopy(manifest)
    for path, value in changes:
        *parents, last = path
        place: Any = found
        for name in parents:
            place = place[name] if isinstance(place, list) else place.setdefault(name, {})
        if value is GONE:
            del place[last]
        elif last == "+":
            place.append(value)
        else:
            place[last] = value
    return found


@pytest.fixture(scope="module")
def job() -> Manifest:
    """Of a fixed cluster on GKE."""
    return one(load(rendered()["gke"]), "RayJob")


@pytest.fixture(scope="module")
def scaled() -> Manifest:
    """Of one that grows, on EKS."""
    return one(load(rendered()["eks-simulate"]), "RayJob")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((*JOB, "submissionMode"), 1),
        ((*JOB, "entryPoint"), "x"),
        ((*JOB, "activeDeadlineSeconds"), "72h"),
        ((*CLUSTER, "authOptions", "mode"), "tokens"),
        ((*CLUSTER, "headGroupSpec"), GONE),
        ((*HEAD, "template"), GONE),
        ((*HEAD, "rayStartParams", "num-cpus"), 0),
        ((*GROUP, "groupName"), GONE),
        ((*GROUP, "numOfHost"), 1),
        ((*GROUP, "replicas"), "4"),
        ((*POD, "nodeselector"), {}),
        ((*RAY, "ports", 0, "containerPort"), "metrics"),
        ((*RAY, "name"), GONE),
        ((*RAY, "resources", "limits", "memory"), {"Gi": 8}),
    ],
    ids=str,
)
def test_definitions_of_the_operator(job: Manifest, crds: Checker, path: tuple, value: Any):
    assert crds.problems(job) == []
    assert crds.problems(changed(job, (path, value)))


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Deployment", ("spec", "replica"), 1),
        ("Deployment", ("spec", "selector"), GONE),
        ("Deployment", ("spec", "template", "spec", "containers", 0, "ports", 0, "containerPort"), "http"),
        ("Deployment", ("spec", "template", "spec", "volumes", 0, "persistentVolumeClaim", "name"), "x"),
        ("Service", ("spec", "ports", 0, "port"), "http"),
        ("NetworkPolicy", ("spec", "ingress", 0, "to"), []),
        ("PodDisruptionBudget", ("spec", "minAvailible"), 1),
        ("PersistentVolumeClaim", ("spec", "accessModes"), "ReadWriteMany"),
        ("ServiceAccount", ("automountServiceAccountToken",), "no"),
    ],
    ids=str,
)
def test_schemas_of_kubernetes(everything: Mapping[str, list[Manifest]], kind: str, path: tuple, value: Any):
    manifest = next(m for m in everything["cpu"] if m["kind"] == kind)
    assert schemas.core_problems(manifest) == []
    assert len(schemas.core_problems(changed(manifest, (path, value)))) == len(schemas.VERSIONS)


QUEUED = (("metadata", "labels", operator_rules.QUEUE), "fokker")
RULE = {"condition": {"jobStatus": "SUCCEEDED"}, "policy": "DeleteCluster"}
SOON = {"condition": {"jobStatus": "SUCCEEDED", "ttlSeconds": 60}, "policy": "DeleteCluster"}
LATE = {"condition": {"jobStatus": "SUCCEEDED", "ttlSeconds": 90}, "policy": "DeleteWorkers"}
WITHOUT_TTL = (((*JOB, "shutdownAfterJobFinishes"), GONE), ((*JOB, "ttlSecondsAfterFinished"), GONE))
AUTOSCALER_V2 = {"name": "RAY_enable_autoscaler_v2", "value": "1"}


@pytest.mark.parametrize(
    "changes",
    [
        [(("metadata", "name"), "a" * 48)],
        [(("metadata", "name"), "1st")],
        [(("metadata", "name"), "Wide")],
        [(("metadata", "name"), "wide_1")],
        [(("metadata", "name"), "wide-")],
        [((*JOB, "shutdownAfterJobFinishes"), False)],
        [((*JOB, "suspend"), True)],
        [QUEUED, ((*JOB, "suspend"), True), *WITHOUT_TTL],
        [QUEUED, *WITHOUT_TTL],
        [QUEUED, ((*CLUSTER, "enableInTreeAutoscaling"), True)],
        [((*JOB, "deletionStrategy"), {"deletionRules": [RULE]})],
        [((*JOB, "deletionStrategy"), {"deletionRules": [SOON, LATE]}), *WITHOUT_TTL],
        [((*JOB, "activeDeadlineSeconds"), 0)],
        [((*JOB, "activeDeadlineSeconds"), GONE)],
        [((*JOB, "preRunningDeadlineSeconds"), -1)],
        [((*JOB, "ttlSecondsAfterFinished"), -1)],
        [((*JOB, "backoffLimit"), -1)],
        [((*JOB, "backoffLimit"), 1), ((*JOB, "submissionMode"), "InteractiveMode")],
        [((*JOB, "submissionMode"), "SidecarMode"), ((*JOB, "submitterConfig"), {"backoffLimit": 1})],
        [((*JOB, "submissionMode"), "SidecarMode"), ((*JOB, "submitterPodTemplate"), {})],
        [((*JOB, "clusterSelector"), {"ray.io/cluster": "fokker"})],
        [((*JOB, "runtimeEnvYAML"), "env_vars")],
        [((*CLUSTER, "authOptions"), GONE)],
        [((*CLUSTER, "authOptions", "mode"), "disabled")],
        [((*CLUSTER, "rayVersion"), GONE)],
        [((*CLUSTER, "rayVersion"), "2.51.0")],
        [((*CLUSTER, "networkPolicy"), {"mode": "DenyAll"})],
        [((*CLUSTER, "tlsOptions"), {})],
        [((*CLUSTER, "historyServerOptions"), {})],
        [((*CLUSTER, "workerGroupSpecs"), [])],
        [((*HEAD, "serviceType"), "LoadBalancer")],
        [((*HEAD, "enableIngress"), True)],
        [((*HEAD, "rayStartParams", "num-cpus"), GONE)],
        [((*HEAD, "resources"), {"CPU": "0"})],
        [((*HEAD, "rayStartParams", "labels"), "a=b")],
        [((*HEAD_POD, "containers", 0, "env", "+"), AUTOSCALER_V2)],
        [((*GROUP, "resources"), {"GPU": "8"}), ((*GROUP, "rayStartParams", "num-gpus"), "8")],
        [((*GROUP, "rayStartParams", "labels"), "a=b")],
        [((*GROUP, "labels"), {"fokker role": "experts"})],
        [((*GROUP, "labels"), {"fokker-role": "experts!"})],
        [((*GROUP, "numOfHosts"), 4)],
        [((*GROUP, "maxReplicas"), 3)],
        [((*GROUP, "maxReplicas"), 8)],
        [((*GROUP, "minReplicas"), GONE)],
        [((*GROUP, "suspend"), True)],
    ],
    ids=str,
)
def test_rules_of_the_operator(job: Manifest, changes: list):
    assert operator_rules.problems(job) == []
    assert operator_rules.problems(changed(job, *changes))


@pytest.mark.parametrize(
    "changes",
    [
        [QUEUED],
        [((*POD, "restartPolicy"), "Always")],
        [((*HEAD_POD, "restartPolicy"), "OnFailure")],
        [((*HEAD_POD, "volumes", 3), GONE)],
        [
            ((*JOB, "deletionStrategy"), {"deletionRules": [{**RULE, "policy": "DeleteWorkers"}]}),
            *WITHOUT_TTL,
        ],
    ],
    ids=str,
)
def test_rules_of_the_operator_for_what_scales(scaled: Manifest, changes: list):
    assert operator_rules.problems(scaled) == []
    assert operator_rules.problems(changed(scaled, *changes))


FIELDS = [
    (("allowPrivilegeEscalation",), True),
    (("allowPrivilegeEscalation",), GONE),
    (("capabilities",), GONE),
    (("capabilities", "add"), ["SYS_PTRACE"]),
    (("runAsNonRoot",), False),
    (("runAsUser",), 0),
    (("seccompProfile",), GONE),
    (("seccompProfile", "type"), "Unconfined"),
    (("privileged",), True),
    (("procMount",), "Unmasked"),
]


@pytest.mark.parametrize("container", [(*HEAD_POD, "containers", 0), RAY, SIDECAR], ids=str)
@pytest.mark.parametrize(("path", "value"), FIELDS, ids=str)
def test_restricted_containers(scaled: Manifest, container: tuple, path: tuple, value: Any):
    """A worker's context is that of the container that waits for the head as well."""
    assert pods.restricted_problems(scaled) == []
    found = pods.restricted_problems(changed(scaled, ((*container, "securityContext", *path), value)))
    assert len(found) == (2 if container == RAY else 1), found


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((*SIDECAR, "securityContext"), GONE),
        ((*RAY, "securityContext"), GONE),
        ((*POD, "hostNetwork"), True),
        ((*HEAD_POD, "hostPID"), True),
        ((*POD, "volumes", "+"), {"name": "host", "hostPath": {"path": "/"}}),
        ((*POD, "securityContext", "sysctls"), [{"name": "kernel.msgmax", "value": "1"}]),
        ((*RAY, "ports", 0, "hostPort"), 8080),
        ((*POD, "initContainers"), [{"name": "chown", "securityContext": {"runAsUser": 0}}]),
        ((*JOB, "submissionMode"), "K8sJobMode"),
    ],
    ids=str,
)
def test_restricted_pods(scaled: Manifest, path: tuple, value: Any):
    assert pods.restricted_problems(changed(scaled, (path, value)))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((*RAY, "securityContext", "readOnlyRootFilesystem"), False),
        ((*SIDECAR, "securityContext", "readOnlyRootFilesystem"), GONE),
        ((*POD, "automountServiceAccountToken"), True),
        ((*HEAD_POD, "automountServiceAccountToken"), GONE),
        ((*HEAD_POD, "containers", 0, "volumeMounts", "+"), {"name": "token", "mountPath": "/token"}),
        ((*RAY, "lifecycle"), {"preStop": {"exec": {"command": ["ray", "stop"]}}}),
        ((*POD, "terminationGracePeriodSeconds"), GONE),
        ((*POD, "terminationGracePeriodSeconds"), 100),
        ((*RAY, "env", 1), GONE),
        ((*RAY, "env", 1, "value"), "30"),
        ((*POD, "volumes", 1, "emptyDir", "medium"), GONE),
        ((*POD, "volumes", 1, "emptyDir", "sizeLimit"), GONE),
        ((*RAY, "volumeMounts", 0), GONE),
        ((*RAY, "volumeMounts", 2), GONE),
    ],
    ids=str,
)
def test_rules_of_the_house(scaled: Manifest, path: tuple, value: Any):
    assert pods.house_problems(scaled) == []
    assert pods.house_problems(changed(scaled, (path, value)))


def amounts(**values: Any) -> list:
    """Requests and limits alike."""
    names = {"gpu": "nvidia.com/gpu", "efa": "vpc.amazonaws.com/efa", "hugepages": "hugepages-2Mi"}
    return [
        ((*RAY, "resources", kind, names.get(name, name)), value)
        for kind in ("requests", "limits")
        for name, value in values.items()
    ]


@pytest.mark.parametrize(
    "changes",
    [
        amounts(cpu="96"),
        amounts(cpu="48"),
        amounts(memory="1152Gi"),
        amounts(memory="1130Gi"),
        amounts(memory="500Gi"),
        amounts(gpu=4),
        amounts(gpu=GONE),
        amounts(efa=32),
        amounts(efa=GONE),
        amounts(hugepages=GONE),
        amounts(hugepages="200Gi"),
        [((*RAY, "resources", "limits", "memory"), "1100Gi")],
        [((*POD, "nodeSelector", machines.LABEL), "a2-highgpu-8g")],
        [((*POD, "tolerations"), [])],
        [((*POD, "nodeSelector", "eks.amazonaws.com/capacityType"), GONE)],
        [((*HEAD_POD, "affinity"), GONE)],
        [((*HEAD_POD, "affinity", *_TERMS, 0, "matchExpressions", 0, "operator"), "In")],
        [((*HEAD_POD, "affinity", *_TERMS, 0, "matchExpressions", 1), GONE)],
        [((*HEAD_POD, "nodeSelector"), {machines.LABEL: "p4de.24xlarge"})],
        [
            ((*HEAD_POD, "containers", 0, "resources", kind, "nvidia.com/gpu"), 1)
            for kind in ("requests", "limits")
        ],
        [((*GROUP, "rayStartParams", "object-store-memory"), str(2**35))],
        [((*POD, "volumes", 1, "emptyDir", "sizeLimit"), "1000Gi")],
    ],
    ids=str,
)
def test_requests_that_no_machine_has(scaled: Manifest, changes: list):
    assert machines.problems(scaled) == []
    assert machines.problems(changed(scaled, *changes))


def test_680_gib_is_not_what_a_pod_can_have(job: Manifest):
    """Nor what a node says of itself: the kernel's part and the kubelet's are gone."""
    for memory in ("680Gi", "660Gi", "650Gi"):
        assert machines.problems(changed(job, *amounts(memory=memory)))
    assert machines.problems(changed(job, *amounts(memory="640Gi"))) == []


def test_experts_that_are_not_to_be_evicted_keep_away_from_spot_nodes(job: Manifest):
    assert machines.problems(changed(job, ((*POD, "affinity"), GONE)))
