"""Everything that a cluster would be given is what its API server and the operator take, and what we want."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fokker.launch.cli import deploy, parse

from . import machines, operator_rules, pods, schemas
from .conftest import K8S, OVERLAYS, ROOT, Manifest, cluster_of, kustomized, load, one, rendered
from .schemas import Checker

Everything = Mapping[str, list[Manifest]]


def each(everything: Everything) -> Iterator[tuple[str, Manifest]]:
    """Every manifest once, with where it is from."""
    seen = set()
    for name, found in everything.items():
        for manifest in found:
            key = json.dumps(manifest, sort_keys=True)
            if key not in seen:
                seen.add(key)
                yield f"{name}: {manifest['kind']} {manifest['metadata']['name']}", manifest


def no_problems(everything: Everything, check: Any, kinds: Any = None) -> int:
    """How many were checked."""
    chosen = [(name, m) for name, m in each(everything) if kinds is None or m["kind"] in kinds]
    assert {name: found for name, m in chosen if (found := check(m))} == {}
    return len(chosen)


def test_kinds_of_kubernetes_are_what_their_schemas_say(everything: Everything):
    known = {m["kind"] for _, m in each(everything)} - {"RayCluster", "RayJob"} - schemas.UNCHECKED
    assert {"Deployment", "Service", "NetworkPolicy", "PersistentVolumeClaim", "StorageClass"} <= known
    assert no_problems(everything, schemas.core_problems, known) > 20


def test_kinds_of_the_operator_are_what_its_definitions_say(everything: Everything, crds: Checker):
    assert no_problems(everything, crds.problems, {"RayCluster", "RayJob"}) > 10


def test_pods_are_what_the_schema_of_a_pod_says(everything: Everything):
    """Stricter than definitions, which know no values of fields such as a toleration's effect."""

    def problems(manifest: Manifest) -> list[str]:
        found = []
        for _, template in pods.templates(manifest):
            pod = {"apiVersion": "v1", "kind": "Pod", **template}
            pod["metadata"] = {"name": "x", **pod.get("metadata", {})}
            found += schemas.core_problems(pod)
        return found

    assert no_problems(everything, problems, {"RayCluster", "RayJob"}) > 10


@pytest.mark.parametrize(
    "check",
    [operator_rules.problems, pods.restricted_problems, pods.house_problems, machines.problems],
    ids=lambda check: f"{check.__module__.rpartition('.')[2]}.{check.__name__}",
)
def test_rules_that_no_schema_holds(everything: Everything, check: Any):
    no_problems(everything, check)


def test_every_container_is_looked_at():
    """The sidecar and the container that waits for the head too, which are in no manifest."""
    (job,) = (m for m in load(rendered()["gke-simulate"]) if m["kind"] == "RayJob")
    found = {name: [c["name"] for c in pods.containers(t["spec"])] for name, t in pods.templates(job)}
    assert found == {"head": ["ray-head", "autoscaler"], "simulators": ["wait-gcs-ready", "ray-worker"]}


def like_a_run(overlay: str, image: str) -> list[Manifest]:
    """What is rendered for a run, named as the cluster for people, with workers only while there is work."""
    words = ("deploy", "render", "mueller-brown", "--target", overlay, "--image", image)
    return load(deploy.manifests(parse(words), 0, 2, instance="fokker"))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_cluster_for_people_is_made_like_those_of_runs(everything: Everything, overlay: str):
    found = one(everything[overlay], "RayCluster")
    image = found["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["image"]
    assert found["spec"] == cluster_of(one(like_a_run(overlay, image), "RayJob"))


def test_its_policies_and_budget_are_made_like_those_of_runs(everything: Everything):
    found = {(m["kind"], m["metadata"]["name"]): m.get("spec") for m in everything["cpu"]}
    *own, _ = like_a_run("cpu", deploy.IMAGE)
    assert len(own) == 3
    for manifest in own:
        assert found[manifest["kind"], manifest["metadata"]["name"]] == manifest["spec"]


@pytest.mark.parametrize("kind", ["overlay", "rendered"])
def test_one_line_puts_a_registry_in_place(tmp_path: Path, kind: str):
    """Also in custom resources, which kustomize knows nothing of."""
    if kind == "overlay":
        resource, name = K8S / "overlays" / "gke-a100", "registry.example/fokker"
    else:
        resource, name = tmp_path / "job.yaml", "registry.example/fokker"
        resource.write_text(rendered()["gke-simulate"])
    images = [{"name": name, "newName": "eu.example/group/fokker", "newTag": "7"}]
    text = json.dumps(kustomized(tmp_path, resource, images=images))
    found = set(re.findall(r'"image": "([^"]*)"', text))
    assert found == {"eu.example/group/fokker:7"}


def test_a_namespace_is_one_line_too(tmp_path: Path):
    (tmp_path / "job.yaml").write_text(rendered()["gke"])
    found = kustomized(tmp_path, tmp_path / "job.yaml", namespace="mine")
    assert {m["metadata"]["namespace"] for m in found} == {"mine"}


def test_jobs_of_runs_queue_and_simulations_do_not(everything: Everything):
    for name, queued in (("gke", True), ("eks", True), ("gke-simulate", False), ("cpu-sample", False)):
        labels = one(everything[f"rendered {name} + kueue"], "RayJob")["metadata"]["labels"]
        assert (operator_rules.QUEUE in labels) == queued, name


def test_no_overlay_takes_the_namespace_or_the_class_of_storage_along(everything: Everything):
    """What is deleted with an overlay can be made again; and data outlive their claim."""
    for overlay in OVERLAYS:
        kinds = {m["kind"] for m in everything[overlay]}
        assert kinds.isdisjoint({"Namespace", "StorageClass", "PersistentVolume"})
    for path in (K8S / "storage").iterdir():
        (found,) = load(path.read_text())
        assert found["reclaimPolicy"] == "Retain"
        assert found["metadata"]["name"] == "fokker"


def test_tensorboard_outlives_every_run_and_reads_every_restart(everything: Everything):
    pod = one(everything["gke-a100"], "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert "--reload_multifile=true" in container["command"]
    assert "--logdir=/shared/runs" in container["command"]
    assert [
        container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")
    ] == ["/data/environment"] * 3
    assert {"name": "shared", "mountPath": "/shared", "readOnly": True} in container["volumeMounts"]
    service = one(everything["gke-a100"], "Service")["spec"]
    assert service["type"] == "ClusterIP"
    labels = one(everything["gke-a100"], "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()


def test_budgets_hold_heads_alone(everything: Everything):
    """A budget for workers would hold up every upgrade of nodes."""
    found = [*everything["gke-a100"], *load(rendered()["gke"])]
    budgets = [m["spec"]["selector"]["matchLabels"] for m in found if m["kind"] == "PodDisruptionBudget"]
    assert len(budgets) == 2
    templates = [
        (name, template["metadata"]["labels"])
        for manifest in found
        if manifest["kind"] in ("RayCluster", "RayJob", "Deployment")
        for name, template in pods.templates(manifest)
    ]
    for budget in budgets:
        assert [name for name, labels in templates if budget.items() <= labels.items()] == ["head"]


def test_every_account_volume_and_class_that_is_named_is_there(everything: Everything):
    for overlay in OVERLAYS:
        found = everything[overlay]
        named = {"ServiceAccount": set(), "PersistentVolumeClaim": set()}
        for manifest in (*found, *(m for text in rendered().values() for m in load(text))):
            for _, template in pods.templates(manifest):
                pod = template["spec"]
                named["ServiceAccount"].add(pod["serviceAccountName"])
                claims = [v["persistentVolumeClaim"] for v in pod["volumes"] if "persistentVolumeClaim" in v]
                named["PersistentVolumeClaim"] |= {claim["claimName"] for claim in claims}
        for kind, names in named.items():
            assert names == {m["metadata"]["name"] for m in found if m["kind"] == kind}


def test_version_of_ray_is_that_of_the_image(everything: Everything):
    (locked,) = re.findall(r"^ray\[?.*?==([\d.]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    found = {
        cluster_of(m)["rayVersion"] for _, m in each(everything) if m["kind"] in ("RayCluster", "RayJob")
    }
    assert found == {locked}
