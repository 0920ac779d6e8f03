"""NetworkPolicies admit exactly the connections that are listed here: every pair of pods, on every port."""

import copy
from collections.abc import Mapping, Sequence
from itertools import product

import pytest

from . import pods
from .conftest import Manifest, load, rendered
from .network import Peer, admits

# Ray's head, dashboard, client, metrics and agent, TensorBoard, and a port as NCCL and JAX take them.
PORTS = (6379, 8265, 10001, 8080, 52365, 6006, 43210)
ELSEWHERE = {
    "operator": Peer("kuberay-system", {"app.kubernetes.io/name": "kuberay-operator"}),
    "prometheus": Peer("monitoring", {"app.kubernetes.io/name": "prometheus"}),
    "other of the operator's": Peer("kuberay-system", {"app": "webhook"}),
    "other of prometheus": Peer("monitoring", {"app.kubernetes.io/name": "grafana"}),
    "submitter": Peer(
        "fokker", {"app.kubernetes.io/part-of": "fokker", "app.kubernetes.io/component": "submitter"}
    ),
    "stranger here": Peer("fokker", {"app": "notebook"}),
    "stranger there": Peer("default", {"app": "notebook"}),
    "said to be the operator": Peer("default", {"app.kubernetes.io/name": "kuberay-operator"}),
    "said to be prometheus": Peer("fokker", {"app.kubernetes.io/name": "prometheus"}),
    "said to submit": Peer("default", {"app.kubernetes.io/component": "submitter"}),
    "of another namespace": Peer("other", {"app.kubernetes.io/instance": "fokker"}),
}
RAY = ("people head", "people worker", "run head", "run worker")


def peers(manifests: Sequence[Manifest], prefix: str) -> dict[str, Peer]:
    """Pods that manifests ask for, under names of our own."""
    found = {}
    for manifest in manifests:
        for name, template in pods.templates(manifest):
            short = name if name in ("head", "pod") else "worker"
            found[f"{prefix} {short}"] = Peer(
                manifest["metadata"]["namespace"], template["metadata"]["labels"]
            )
    return found


@pytest.fixture(scope="module")
def manifests(everything: Mapping[str, list[Manifest]]) -> list[Manifest]:
    """What stays, and a run beside it."""
    return [*everything["gke-a100"], *load(rendered()["gke"])]


@pytest.fixture(scope="module")
def world(manifests: list[Manifest]) -> dict[str, Peer]:
    of_runs = [m for m in manifests if m["kind"] == "RayJob"]
    of_people = [m for m in manifests if m["kind"] == "RayCluster"]
    boards = [m for m in manifests if m["kind"] == "Deployment"]
    return (
        peers(of_people, "people")
        | peers(of_runs, "run")
        | {"board": peers(boards, "x")["x pod"]}
        | ELSEWHERE
    )


def listed() -> set[tuple[str, str, int]]:
    """The connections that there are to be."""
    of_one = product(("people", "run"), ("head", "worker"), ("head", "worker"), PORTS)
    own = {(f"{who} {source}", f"{who} {target}", port) for who, source, target, port in of_one}
    metrics = {("prometheus", target, 8080) for target in RAY}
    submitted = {
        (source, f"{who} head", 8265) for source in ("operator", "submitter") for who in ("people", "run")
    }
    return own | metrics | submitted


def admitted(manifests: Sequence[Manifest], world: Mapping[str, Peer]) -> set[tuple[str, str, int]]:
    """Of all connections to pods of ours."""
    policies = [m for m in manifests if m["kind"] == "NetworkPolicy"]
    return {
        (source, target, port)
        for source, target, port in product(world, (*RAY, "board"), PORTS)
        if admits(policies, world[source], world[target], port)
    }


def test_the_world_has_every_pod(world: Mapping[str, Peer]):
    assert set(world) == {*RAY, "board", *ELSEWHERE}


def test_exactly_the_listed_connections_are_admitted(manifests: list[Manifest], world: Mapping[str, Peer]):
    assert admitted(manifests, world) == listed()


def test_a_rendered_run_protects_itself(world: Mapping[str, Peer]):
    """Also where the base was never applied."""
    of_run = {entry for entry in listed() if entry[1].startswith("run")}
    found = {entry for entry in admitted(load(rendered()["gke"]), world) if entry[1].startswith("run")}
    assert found == of_run


def rules(manifests: Sequence[Manifest], name: str) -> Manifest:
    (found,) = (m for m in manifests if m["kind"] == "NetworkPolicy" and m["metadata"]["name"] == name)
    return found["spec"]


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("fokker", lambda spec: spec["ingress"].pop(0)),
        ("fokker", lambda spec: spec["ingress"][0].pop("from")),
        ("fokker", lambda spec: spec["ingress"][1].pop("ports")),
        ("fokker", lambda spec: spec["ingress"][1]["from"][0].pop("podSelector")),
        ("fokker", lambda spec: spec["ingress"][1]["from"][0].pop("namespaceSelector")),
        ("fokker", lambda spec: spec["podSelector"].clear()),
        ("fokker", lambda spec: spec["ingress"][0]["from"][0]["podSelector"].clear()),
        ("fokker-head", lambda spec: spec["ingress"].clear()),
        ("fokker-head", lambda spec: spec["podSelector"]["matchLabels"].pop("app.kubernetes.io/component")),
        ("fokker-head", lambda spec: spec["ingress"][0]["ports"][0].update(port=6379)),
        ("fokker-head", lambda spec: spec["ingress"][0]["from"].pop(0)),
        ("fokker-head", lambda spec: spec["ingress"][0]["from"].pop(1)),
        ("fokker-head", lambda spec: spec["ingress"][0]["from"][0]["podSelector"].clear()),
        ("tensorboard", lambda spec: spec["ingress"].append({})),
        ("tensorboard", lambda spec: spec["podSelector"]["matchLabels"].update(other="x")),
        ("run-mueller-brown-mixture", lambda spec: spec["ingress"].pop(0)),
        ("run-mueller-brown-mixture-head", lambda spec: spec["ingress"].clear()),
    ],
)
def test_a_policy_that_is_changed_is_noticed(
    everything: Mapping[str, list[Manifest]], world: Mapping[str, Peer], name: str, change
):
    manifests = copy.deepcopy([*everything["gke-a100"], *load(rendered()["gke"])])
    change(rules(manifests, name))
    assert admitted(manifests, world) != listed()
