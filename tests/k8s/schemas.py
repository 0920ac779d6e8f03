"""The schemas of custom resources, as strict as a server with strict field validation is.

Left out: rules in CEL (`x-kubernetes-validations`), which are the API server's own language.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
from jsonschema import Draft7Validator

UNCHECKED = {"PodMonitor", "LocalQueue", "ClusterQueue", "ResourceFlavor"}
"""Kinds of other operators, whose schemas are not at hand."""
VERSIONS = ("1.32", "1.37")
"""Of Kubernetes."""
# It reads megabytes of definitions for every manifest.
kubernetes_validate.utils.schema_contents = cache(kubernetes_validate.utils.schema_contents)
_OBJECT = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}


class Checker:
    """Custom resource definitions of a folder."""

    def __init__(self, folder: Path):
        self._validators: dict[tuple[str, str], Draft7Validator] = {}
        for file in sorted(folder.glob("*.json")):
            definition = json.loads(file.read_text())["spec"]
            for version in definition["versions"]:
                schema = _strict(version["schema"]["openAPIV3Schema"])
                schema["properties"] |= _OBJECT
                key = f"{definition['group']}/{version['name']}", definition["names"]["kind"]
                self._validators[key] = Draft7Validator(schema)

    def problems(self, manifest: Mapping[str, Any]) -> list[str]:
        """What the API server would refuse it for."""
        errors = self._validators[manifest["apiVersion"], manifest["kind"]].iter_errors(manifest)
        return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in errors]


def _strict(schema: Any) -> Any:
    """JSON Schema of a structural schema: no field that it does not name, none missing without a default."""
    if not isinstance(schema, dict):
        return schema
    found = {name: value for name, value in schema.items() if not name.startswith("x-kubernetes-")}
    properties = schema.get("properties", {})
    if properties:
        found["properties"] = {name: _strict(value) for name, value in properties.items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            found.setdefault("additionalProperties", False)
    for name in ("items", "additionalProperties"):
        if name in found:
            found[name] = _strict(found[name])
    if "required" in found:
        found["required"] = [name for name in found["required"] if "default" not in properties.get(name, {})]
    if schema.get("x-kubernetes-int-or-string"):
        found.pop("type", None)
        found.setdefault("anyOf", [{"type": "integer"}, {"type": "string"}])
    return found


def core_problems(manifest: Mapping[str, Any]) -> list[str]:
    """What is wrong with one of Kubernetes' own kinds."""
    found = []
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(dict(manifest), version, strict=True)
        except kubernetes_validate.ValidationError as error:
            found.append(f"{version}: {'.'.join(map(str, error.path))}: {error.message}")
    return found
