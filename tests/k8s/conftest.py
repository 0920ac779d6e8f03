"""What a cluster would be given: every overlay with every component, and what the command prints."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from .schemas import Checker

Manifest = dict[str, Any]

ROOT = Path(__file__).parents[2]
K8S = ROOT / "k8s"
CRDS = Path(os.environ.get("FOKKER_CRDS") or ROOT.parent / "shared" / "kuberay")
OVERLAYS = sorted(path.name for path in (K8S / "overlays").iterdir())
COMPONENTS = sorted(path.name for path in (K8S / "components").iterdir())
STATIC = [K8S / "namespace.yaml", K8S / "components/kueue/cluster-queue.yaml", *(K8S / "storage").iterdir()]
PEPTIDES = ("dipeptides", "--data", "/shared/data/dipeptides")
SMALL = ("mueller-brown", "--method", "mixture", *(f"--experts.{index}.hidden=8" for index in range(3)))
COMMANDS = {
    "cpu": (*PEPTIDES, "--target", "cpu", "--cpus", "8", "--memory", "32"),
    "gke": (*SMALL, "--target", "gke-a100", "--hosts", "4"),
    "gke-spot": (*PEPTIDES, "--target", "gke-a100", "--machine", "a2-ultragpu-1g", "--spot"),
    "eks": (*PEPTIDES, "--target", "eks-p4d", "--hosts", "3", "--namespace", "molecules"),
    "cpu-sample": (*PEPTIDES, "--target", "cpu", "--command", "sample"),
    "gke-simulate": (*PEPTIDES, "--target", "gke-a100", "--command", "simulate", "--hosts", "16"),
    "eks-simulate": (*PEPTIDES, "--target", "eks-p4d", "--machine", "p4de.24xlarge", "--command", "simulate"),
}
"""What follows `fokker deploy render`."""
CAMPAIGNS = {
    "cpu-campaign": ("/shared/campaigns/mine.yaml", "--target", "cpu", "--cpus", "8", "--memory", "32"),
    "gke-campaign": ("/shared/mine.yaml", "--target", "gke-a100", "--hosts", "16", "--name", "many-peptides"),
    "eks-campaign": ("/shared/mine.yaml", "--target", "eks-p4d", "--namespace", "molecules"),
}
"""What follows `fokker deploy campaign`."""

# One process prints them all: JAX takes seconds to import, and would change the environment of these tests.
_RENDER = """
import contextlib, io, json, sys
from fokker.launch import deploy
from fokker.launch.cli import parse
found = {}
for name, words in json.loads(sys.argv[1]).items():
    with contextlib.redirect_stdout(io.StringIO()) as out:
        deploy.carry_out(parse(["deploy", *words]))
    found[name] = out.getvalue()
print(json.dumps(found))
"""


@cache
def rendered() -> Mapping[str, str]:
    """What the commands print for each of `COMMANDS` and `CAMPAIGNS`."""
    words = {name: ("render", *rest) for name, rest in COMMANDS.items()}
    words |= {name: ("campaign", *rest) for name, rest in CAMPAIGNS.items()}
    command = [sys.executable, "-c", _RENDER, json.dumps(words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def load(text: str) -> list[Manifest]:
    return [*yaml.safe_load_all(text)]


def kustomize(folder: Path) -> list[Manifest]:
    """What kubectl would apply."""
    kubectl = Path(sys.executable).with_name("kubectl")
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return load(done.stdout)


def kustomized(folder: Path, resource: Path, *components: str, **fields: Any) -> list[Manifest]:
    """A resource, as a user's own kustomization in a folder would change it."""

    def relative(path: Path) -> str:
        return os.path.relpath(path, folder.resolve())

    wanted = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [relative(resource)],
        "components": [relative(K8S / "components" / name) for name in components],
        **fields,
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(wanted))
    return kustomize(folder)


def subsets() -> Iterator[tuple[str, ...]]:
    return chain.from_iterable(combinations(COMPONENTS, size) for size in range(len(COMPONENTS) + 1))


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, list[Manifest]]:
    """By a name that says where it is from."""
    found = {path.name: load(path.read_text()) for path in STATIC}
    for overlay in OVERLAYS:
        for components in subsets():
            folder, name = tmp_path_factory.mktemp("overlay"), " + ".join((overlay, *components))
            found[name] = kustomized(folder, K8S / "overlays" / overlay, *components)
    for name, text in rendered().items():
        found[f"rendered {name}"] = load(text)
        folder = tmp_path_factory.mktemp("rendered")
        (folder / "job.yaml").write_text(text)
        found[f"rendered {name} + kueue"] = kustomized(folder, folder / "job.yaml", "kueue")
    return found


@pytest.fixture(scope="session")
def crds() -> Checker:
    """Schemas of the operator's kinds; a folder named in FOKKER_CRDS, or beside the checkout."""
    if not CRDS.is_dir():
        pytest.skip(f"RAY'S KINDS ARE NOT CHECKED: {CRDS} is not there; name KubeRay's CRDs in FOKKER_CRDS")
    return Checker(CRDS)


def one(manifests: list[Manifest], kind: str) -> Manifest:
    (found,) = (manifest for manifest in manifests if manifest["kind"] == kind)
    return found


def cluster_of(manifest: Manifest) -> Manifest:
    """The specification of the Ray cluster of a RayCluster or a RayJob."""
    return manifest["spec"] if manifest["kind"] == "RayCluster" else manifest["spec"]["rayClusterSpec"]
