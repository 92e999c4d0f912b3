"""From a file to the pod it stands for. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import yaml

from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.core.pod_kind import KIND
from pilothouse.kinds.core.static_pod import HASH, SOURCE, api_references
from pilothouse.kinds.view import from_tree
from pilothouse.machinery.errors import Cause
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.yaml_bounds import check_suspect
from pilothouse.node.eviction.rank import SYSTEM_CRITICAL

MAX_BYTES = 1 << 20
_PRIORITIES = {"system-cluster-critical": SYSTEM_CRITICAL, "system-node-critical": SYSTEM_CRITICAL + 1000}
_UID_DIGITS = 32


class ManifestError(ValueError):
    """A file that is no pod which can run; the message says why."""


def read(content: bytes, node_name: str) -> Pod:
    """The pod of a manifest (YAML or JSON), named after itself and the node. Raises ManifestError.

    Its UID follows from the content: a file that changes is another pod.
    """
    examination = KIND.examine(_parse(content))
    if examination.causes:
        raise ManifestError(_told(examination.causes))
    if examination.unknown:
        raise ManifestError("; ".join(field.message for field in examination.unknown))
    tree = examination.tree
    meta, spec = tree.setdefault("metadata", {}), tree.setdefault("spec", {})
    if references := api_references(spec):
        raise ManifestError(f"a static pod may not name objects of the API: {', '.join(references)}")
    meta["name"] = f"{meta.get('name') or ''}-{node_name}"
    meta.setdefault("namespace", "default")
    KIND.fill_in(tree)
    spec["nodeName"] = node_name
    spec["tolerations"] = [*spec.get("tolerations", ()), {"operator": "Exists", "effect": "NoExecute"}]
    if priority := _PRIORITIES.get(spec.get("priorityClassName") or ""):
        spec["priority"] = priority
    if causes := KIND.validate(tree):
        raise ManifestError(_told(causes))
    uid = hashlib.sha256(f"{node_name}\0{json.dumps(tree, sort_keys=True)}".encode()).hexdigest()[:_UID_DIGITS]
    meta["uid"] = uid
    meta["annotations"] = {**(meta.get("annotations") or {}), HASH: uid, SOURCE: "file"}
    pod: Pod = from_tree(Pod, tree)
    return pod


def _parse(content: bytes) -> Obj:
    if len(content) > MAX_BYTES:
        raise ManifestError(f"it has more than {MAX_BYTES} bytes")
    try:
        text = content.decode()
        check_suspect(text)
        documents: list[Any] = [found for found in yaml.load_all(text, yaml.CSafeLoader) if found is not None]
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ManifestError(f"it is not YAML: {' '.join(str(error).split())}") from error
    if len(documents) != 1 or not isinstance(documents[0], dict):
        raise ManifestError(f"it has to be one Pod, and holds {len(documents)} documents")
    tree: Obj = documents[0]
    if (tree.get("apiVersion"), tree.get("kind")) != ("v1", "Pod"):
        raise ManifestError(f"it has to be a v1 Pod, and is {tree.get('apiVersion')} {tree.get('kind')}")
    return tree


def _told(causes: Sequence[Cause]) -> str:
    return "; ".join(f"{cause.field}: {cause.message}".removeprefix(": ") for cause in causes)
