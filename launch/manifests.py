"""Ray clusters and jobs as Kubernetes takes them, in plain values. Free of JAX and Ray.

Why each field is there: docs/cluster.md. The cluster for people in k8s/ is the same under another name, and a
test holds the two together.
"""

from dataclasses import dataclass
from typing import Any

from .targets import Machine, Pod, Target

Manifest = dict[str, Any]

RAY_VERSION = "2.60.0"
"""What the image holds, by requirements.lock."""
SHARED = "/shared"
"""Where the volume that every pod sees is mounted."""
VOLUME = "fokker"
"""The claim of that volume."""
ROLE = "fokker-role"
"""Ray's label of a group of workers: what they are for."""
EXPERTS, SIMULATORS = "experts", "simulators"
DRAIN_SECONDS, GRACE_SECONDS = 100, 120
"""What processes are given to save when their pod is to go, and the pod before it is killed."""
NODES_SECONDS = 7200
"""How long a job waits for all its nodes, and holds those that have come."""
FINISHED_SECONDS = 600
"""How long a cluster is kept when its job has ended."""
HEAD = Pod(cpus=2, memory=8)
OPERATOR = {"namespace": "kuberay-system", "name": "kuberay-operator"}
PROMETHEUS = {"namespace": "monitoring", "name": "prometheus"}
METRICS, DASHBOARD = 8080, 8265
_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"
_ID = 1000
"""User and group of the image."""

# What the Pod Security Standard `restricted` asks of every container, and files that nobody changes.
RESTRICTED: Manifest = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
# The sidecar alone has a token for the API server: the head runs what people write.
_AUTOSCALED: Manifest = {
    "enableInTreeAutoscaling": True,
    "autoscalerOptions": {
        "version": "v2",
        "idleTimeoutSeconds": 300,
        "env": [{"name": "HOME", "value": "/tmp"}],
        "resources": {kind: {"cpu": "500m", "memory": "1Gi"} for kind in ("requests", "limits")},
        "securityContext": RESTRICTED,
        "volumeMounts": [
            {"name": "token", "mountPath": _TOKEN, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    },
}
_TOKEN_VOLUME: Manifest = {
    "name": "token",
    "projected": {
        "sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        ]
    },
}


@dataclass(frozen=True)
class Group:
    """Workers that are alike."""

    role: str
    least: int
    most: int
    """More than `least` where Ray's autoscaler adds pods as they are needed."""
    pod: Pod
    machine: Machine | None = None
    """None: nodes of any type."""
    spot: bool = False
    """On nodes that the cloud may take back."""


@dataclass(frozen=True)
class Job:
    """One command of a run, on a cluster of its own."""

    name: str
    namespace: str
    image: str
    command: str
    """Of fokker."""
    entrypoint: str
    target: Target
    group: Group
    seconds: int
    """After which it is ended, whatever it does."""


def of_job(job: Job) -> list[Manifest]:
    """The job, after what protects its cluster."""
    instance = f"run-{job.name}"  # Nothing that stays in a cluster is called so.
    found = [*network_policies(instance), disruption_budget(instance), _ray_job(job, instance)]
    for manifest in found:
        manifest["metadata"]["namespace"] = job.namespace
    return found


def _ray_job(job: Job, instance: str) -> Manifest:
    # Ray kills a job three seconds after it was told to stop, unless the job says otherwise.
    environment = f"env_vars:\n  RAY_JOB_STOP_WAIT_TIME_S: '{GRACE_SECONDS}'\n"
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "metadata": {"name": job.name, "labels": _labels(instance, job.command)},
        "spec": {
            "submissionMode": "HTTPMode",
            "entrypoint": job.entrypoint,
            "runtimeEnvYAML": environment,
            "preRunningDeadlineSeconds": min(NODES_SECONDS, job.seconds),
            "activeDeadlineSeconds": job.seconds,
            "backoffLimit": 0,
            "shutdownAfterJobFinishes": True,
            "ttlSecondsAfterFinished": FINISHED_SECONDS,
            "rayClusterSpec": ray_cluster(job.target, job.group, job.image, instance),
        },
    }


def ray_cluster(target: Target, group: Group, image: str, instance: str) -> Manifest:
    """The specification of a Ray cluster: a head that does no work, and one group of workers."""
    scales = group.most > group.least
    return {
        "rayVersion": RAY_VERSION,
        "authOptions": {"mode": "token"},
        **(_AUTOSCALED if scales else {}),
        "headGroupSpec": {
            "serviceType": "ClusterIP",
            "rayStartParams": {"num-cpus": "0", **_start_parameters(HEAD)},
            "template": _head(target, image, _labels(instance, "head"), scales),
        },
        "workerGroupSpecs": [
            {
                "groupName": group.role,
                "labels": {ROLE: group.role},
                "replicas": group.least,
                "minReplicas": group.least,
                "maxReplicas": group.most,
                "numOfHosts": 1,
                "rayStartParams": _start_parameters(group.pod),
                "template": _worker(target, group, image, _labels(instance, group.role)),
            }
        ],
    }


def _start_parameters(pod: Pod) -> Manifest:
    return {"metrics-export-port": str(METRICS), "object-store-memory": str(pod.object_store)}


def _head(target: Target, image: str, labels: Manifest, scales: bool) -> Manifest:
    ports = {"gcs": 6379, "dashboard": DASHBOARD, "client": 10001, "metrics": METRICS}
    template = _template(HEAD, "ray-head", image, labels, {}, ports)
    if target.head_on:
        template["spec"]["affinity"] = target.head_on
    if scales:
        template["spec"]["serviceAccountName"] = "fokker-head"
        template["spec"]["volumes"].append(_TOKEN_VOLUME)
    return template


def _worker(target: Target, group: Group, image: str, labels: Manifest) -> Manifest:
    template = _template(
        group.pod, "ray-worker", image, labels, dict(target.environment), {"metrics": METRICS}
    )
    resources = template["spec"]["containers"][0]["resources"]
    own = {"nvidia.com/gpu": group.pod.gpus} if group.pod.gpus else {}
    for kind in resources.values():
        kind.update(own, **target.resources)
    template["spec"].update(target.workers_on(group.machine, group.spot))
    return template


def _template(
    pod: Pod, name: str, image: str, labels: Manifest, environment: Manifest, ports: Manifest
) -> Manifest:
    """A pod of Ray."""
    memory = {"medium": "Memory", "sizeLimit": f"{pod.shared_memory}Gi"}
    return {
        "metadata": {"labels": labels},
        "spec": {
            "serviceAccountName": "fokker",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsUser": _ID,
                "runAsGroup": _ID,
                "fsGroup": _ID,
                "fsGroupChangePolicy": "OnRootMismatch",
            },
            "terminationGracePeriodSeconds": GRACE_SECONDS,
            "containers": [_container(pod, name, image, environment, ports)],
            "volumes": [
                {"name": "shared", "persistentVolumeClaim": {"claimName": VOLUME}},
                {"name": "shm", "emptyDir": memory},
                {"name": "tmp", "emptyDir": {"sizeLimit": "20Gi"}},
            ],
        },
    }


def _container(pod: Pod, name: str, image: str, environment: Manifest, ports: Manifest) -> Manifest:
    """Ray's own, which writes to volumes alone; its command is the operator's."""
    environment = {
        "HOME": "/tmp",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": str(DRAIN_SECONDS),
        "RAY_USAGE_STATS_ENABLED": "0",
        **environment,
    }
    amounts = {"cpu": str(pod.cpus), "memory": f"{pod.memory}Gi"}
    return {
        "name": name,
        "image": image,
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "ports": [{"name": key, "containerPort": number} for key, number in ports.items()],
        "resources": {"requests": dict(amounts), "limits": dict(amounts)},
        "securityContext": RESTRICTED,
        "volumeMounts": [
            {"name": "shared", "mountPath": SHARED},
            {"name": "shm", "mountPath": "/dev/shm"},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }


def network_policies(instance: str) -> list[Manifest]:
    """Who may connect to the pods of a cluster: each other, Prometheus, and to its head what submits jobs."""
    own = {"app.kubernetes.io/instance": instance}
    head = own | {"app.kubernetes.io/component": "head"}
    submitter = {"app.kubernetes.io/part-of": "fokker", "app.kubernetes.io/component": "submitter"}
    own_pods = {"podSelector": {"matchLabels": own}}
    submitters = [_pods_of(OPERATOR), {"podSelector": {"matchLabels": submitter}}]
    return [
        _policy(instance, own, [{"from": [own_pods]}, _rule([_pods_of(PROMETHEUS)], METRICS)]),
        _policy(f"{instance}-head", head, [_rule(submitters, DASHBOARD)]),
    ]


def _policy(name: str, pods: Manifest, ingress: list[Manifest]) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "fokker"}},
        "spec": {"podSelector": {"matchLabels": pods}, "policyTypes": ["Ingress"], "ingress": ingress},
    }


def _rule(peers: list[Manifest], port: int) -> Manifest:
    return {"from": peers, "ports": [{"port": port, "protocol": "TCP"}]}


def _pods_of(application: Manifest) -> Manifest:
    return {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": application["namespace"]}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/name": application["name"]}},
    }


def disruption_budget(instance: str) -> Manifest:
    """Keeps a cluster's head from being moved, with which the cluster would go; workers come and go."""
    head = {"app.kubernetes.io/instance": instance, "app.kubernetes.io/component": "head"}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": f"{instance}-head", "labels": {"app.kubernetes.io/part-of": "fokker"}},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": head}},
    }


def _labels(instance: str, component: str) -> Manifest:
    return {
        "app.kubernetes.io/part-of": "fokker",
        "app.kubernetes.io/instance": instance,
        "app.kubernetes.io/component": component,
    }
