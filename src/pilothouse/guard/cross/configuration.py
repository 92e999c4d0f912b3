"""What pods refer to: ConfigMaps, Secrets and their keys, claims."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pilothouse.guard.finding import Check, Severity
from pilothouse.guard.snapshot import CrossCheck, Entry, Hit, Snapshot

_REFERENCES = (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret"))


def missing_configuration(snapshot: Snapshot) -> Iterator[Hit]:
    """References from environment variables and volumes. Only within namespaces whose configuration is given at all."""
    given = {entry.namespace for entry in snapshot.of("ConfigMap", "Secret")}
    for workload in snapshot.workloads():
        if workload.namespace in given and workload.pod is not None:
            yield from _from_containers(snapshot, workload)


def _from_containers(snapshot: Snapshot, workload: Entry) -> Iterator[Hit]:
    assert workload.pod is not None
    for path, container in workload.pod.containers():
        for index, variable in enumerate(_objects(container.get("env"))):
            source = variable.get("valueFrom")
            for field, kind in _REFERENCES:
                wanted = source.get(field) if isinstance(source, dict) else None
                problem = _problem(snapshot, workload.namespace, kind, wanted)
                if problem:
                    name = str(container.get("name", ""))
                    yield Hit(workload, f"variable {variable.get('name')}: {problem}", f"{path}.env[{index}]", name)


def _problem(snapshot: Snapshot, namespace: str, kind: str, wanted: Any) -> str:
    if not isinstance(wanted, dict) or wanted.get("optional"):
        return ""
    name, key = wanted.get("name"), wanted.get("key")
    entry = snapshot.find(kind, namespace, str(name))
    if entry is None:
        return f"{kind} {name} does not exist"
    keys = {key for field in ("data", "stringData", "binaryData") for key in (entry.at(field) or ())}
    return "" if key in keys else f"{kind} {name} has no key {key}"


def _objects(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


CHECKS = (
    CrossCheck(
        Check(
            "configuration-missing",
            "Variable from a missing ConfigMap, Secret or key",
            Severity.MEDIUM,
            "reliability",
            "The container does not start (unless the object is made elsewhere).",
            "env:\n  - name: LEVEL\n    valueFrom:\n      configMapKeyRef: {name: NAME, key: KEY}",
            other_names="kube-linter: env-var-value-from",
        ),
        missing_configuration,
    ),
)
