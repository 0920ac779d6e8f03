"""Who may connect to whom, as NetworkPolicies say: what ours consist of, and an error for anything else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Manifest = Mapping[str, Any]
NAMESPACE = "kubernetes.io/metadata.name"


@dataclass(frozen=True)
class Peer:
    """A pod somewhere in the cluster."""

    namespace: str
    labels: Mapping[str, str]


def admits(policies: Sequence[Manifest], source: Peer, target: Peer, port: int) -> bool:
    """Whether the policies let a TCP connection in; they add up, and a pod that none selects takes all."""
    own = [policy for policy in policies if _selects(policy, target)]
    if not own:
        return True
    rules = [(policy, rule) for policy in own for rule in policy["spec"].get("ingress", [])]
    return any(_from(policy, rule, source) and _to(rule, port) for policy, rule in rules)


def _selects(policy: Manifest, pod: Peer) -> bool:
    assert "Ingress" in policy["spec"]["policyTypes"]
    return policy["metadata"]["namespace"] == pod.namespace and _matches(
        policy["spec"]["podSelector"], pod.labels
    )


def _from(policy: Manifest, rule: Manifest, source: Peer) -> bool:
    assert set(rule) <= {"from", "ports"}, rule
    return "from" not in rule or any(_is(policy, peer, source) for peer in rule["from"])


def _is(policy: Manifest, peer: Manifest, source: Peer) -> bool:
    assert set(peer) <= {"namespaceSelector", "podSelector"}, peer
    if "namespaceSelector" in peer:
        if not _matches(peer["namespaceSelector"], {NAMESPACE: source.namespace}):
            return False
    elif source.namespace != policy["metadata"]["namespace"]:
        return False
    return _matches(peer.get("podSelector", {}), source.labels)


def _to(rule: Manifest, port: int) -> bool:
    for entry in rule.get("ports", []):
        assert set(entry) <= {"port", "protocol"}, entry
        assert isinstance(entry["port"], int), entry
    return "ports" not in rule or any(
        entry["port"] == port and entry.get("protocol", "TCP") == "TCP" for entry in rule["ports"]
    )


def _matches(selector: Manifest, labels: Mapping[str, str]) -> bool:
    assert set(selector) <= {"matchLabels"}, selector
    return selector.get("matchLabels", {}).items() <= labels.items()
