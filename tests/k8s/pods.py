"""The pods that manifests ask for, with what the operator adds to them, and the Pod Security Standard."""

from collections.abc import Iterator, Mapping
from typing import Any

Manifest = Mapping[str, Any]
VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
}
GRACE = "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"


def cluster_spec(manifest: Manifest) -> Manifest | None:
    """Of a RayCluster, or of the cluster that a RayJob brings along."""
    if manifest["kind"] == "RayCluster":
        return manifest["spec"]
    return manifest["spec"].get("rayClusterSpec") if manifest["kind"] == "RayJob" else None


def templates(manifest: Manifest) -> Iterator[tuple[str, Manifest]]:
    """Every template of a pod as it is started, by what the pod is."""
    if manifest["kind"] == "Deployment":
        yield "pod", manifest["spec"]["template"]
    if (spec := cluster_spec(manifest)) is None:
        return
    yield "head", _with_autoscaler(spec)
    for group in spec["workerGroupSpecs"]:
        yield group["groupName"], _waiting_for_head(group["template"])
    if manifest["kind"] == "RayJob" and manifest["spec"].get("submissionMode", "K8sJobMode") == "K8sJobMode":
        # The operator's own has no security context.
        submitter = {"spec": {"containers": [{"name": "submitter"}]}}
        yield "submitter", manifest["spec"].get("submitterPodTemplate", submitter)


def _with_autoscaler(spec: Manifest) -> Manifest:
    template = spec["headGroupSpec"]["template"]
    if not spec.get("enableInTreeAutoscaling"):
        return template
    options = spec.get("autoscalerOptions", {})
    names = ("securityContext", "resources", "volumeMounts", "env")
    sidecar = {"name": "autoscaler"} | {name: options[name] for name in names if name in options}
    containers = [*template["spec"]["containers"], sidecar]
    return {**template, "spec": {**template["spec"], "containers": containers}}


def _waiting_for_head(template: Manifest) -> Manifest:
    """With the container that waits for the head: in the security context of Ray's own."""
    ray = template["spec"]["containers"][0]
    waits = {"name": "wait-gcs-ready"} | {
        name: ray[name] for name in ("securityContext", "env") if name in ray
    }
    spec = template["spec"]
    return {**template, "spec": {**spec, "initContainers": [*spec.get("initContainers", []), waits]}}


def containers(pod: Manifest) -> list[Manifest]:
    """Of the specification of a pod."""
    kinds = ("initContainers", "containers", "ephemeralContainers")
    return [container for kind in kinds for container in pod.get(kind, [])]


def restricted_problems(manifest: Manifest) -> list[str]:
    """What a namespace that enforces `restricted` would refuse."""
    found = []
    for name, template in templates(manifest):
        pod = template["spec"]
        found += [f"{name}: {problem}" for problem in _pod_problems(pod)]
        for container in containers(pod):
            problems = _container_problems(pod.get("securityContext", {}), container)
            found += [f"{name}, {container['name']}: {problem}" for problem in problems]
    return found


def _pod_problems(pod: Manifest) -> Iterator[str]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield field
    for volume in pod.get("volumes", []):
        if kinds := set(volume) - {"name"} - VOLUMES:
            yield f"volume {volume['name']} is a {kinds.pop()}"
    if pod.get("securityContext", {}).get("sysctls"):
        yield "sysctls"


def _container_problems(pod: Manifest, container: Manifest) -> Iterator[str]:
    own = container.get("securityContext", {})
    merged = {**pod, **own}
    capabilities = own.get("capabilities", {})
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    if "ALL" not in capabilities.get("drop", []) or set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "capabilities"
    if merged.get("runAsNonRoot") is not True or merged.get("runAsUser") == 0:
        yield "may be root"
    if merged.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "seccompProfile"
    if own.get("procMount", "Default") != "Default":
        yield "procMount"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "hostPort"


def house_problems(manifest: Manifest) -> list[str]:
    """What `restricted` leaves open, and this house does not."""
    found = []
    for name, template in templates(manifest):
        pod = template["spec"]
        if pod.get("automountServiceAccountToken") is not False:
            found.append(f"{name}: every container has a token for the API server")
        mounted = {m["name"] for c in containers(pod)[:1] for m in c.get("volumeMounts", [])}
        for container in containers(pod):
            if not container.get("securityContext", {}).get("readOnlyRootFilesystem"):
                found.append(f"{name}, {container['name']}: its files can be changed")
            if "preStop" in container.get("lifecycle", {}):
                found.append(f"{name}, {container['name']}: a preStop hook ends Ray before its work is saved")
        if "token" in mounted:
            found.append(f"{name}: Ray's own container has a token for the API server")
        if manifest["kind"] != "Deployment":
            found += [f"{name}: {problem}" for problem in _ray_problems(pod)]
    return found


def _ray_problems(pod: Manifest) -> Iterator[str]:
    """Of a pod of Ray: what it needs to save in time, and to be fast."""
    ray = pod["containers"][0]
    environment = {entry["name"]: entry.get("value") for entry in ray.get("env", [])}
    drain, grace = float(environment.get(GRACE) or 30), pod.get("terminationGracePeriodSeconds", 30)
    if not 60 <= drain < grace:
        yield f"{drain:g} s to save, of {grace} s before it is killed"
    mounts = {mount["mountPath"]: mount["name"] for mount in ray.get("volumeMounts", [])}
    volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
    memory = volumes.get(mounts.get("/dev/shm", ""), {}).get("emptyDir", {})
    if memory.get("medium") != "Memory" or "sizeLimit" not in memory:
        yield "no shared memory of a size"
    if "persistentVolumeClaim" not in volumes.get(mounts.get("/shared", ""), {}):
        yield "no volume at /shared"
    if "emptyDir" not in volumes.get(mounts.get("/tmp", ""), {}):
        yield "nowhere to write"
