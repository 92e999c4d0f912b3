"""The shape of the default roles and bindings, as written down in this folder's tables. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from pilothouse.kinds.rbac.role import GROUP
from pilothouse.machinery.objects import Obj

READ = "get list watch"
WRITE = "create delete deletecollection patch update"
_LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"


def rule(verbs: str, group: str, resources: str, names: Sequence[str] = ()) -> Obj:
    """A rule on resources; verbs and resources are separated by spaces."""
    found: Obj = {"verbs": verbs.split(), "apiGroups": [group], "resources": resources.split()}
    return {**found, "resourceNames": list(names)} if names else found


def paths(verbs: str, urls: str) -> Obj:
    """A rule on paths outside resources."""
    return {"verbs": verbs.split(), "nonResourceURLs": urls.split()}


def _meta(name: str, namespace: str = "", labels: Obj | None = None) -> Obj:
    meta: Obj = {"name": name, "labels": {**_LABELS, **(labels or {})}, "annotations": {AUTOUPDATE: "true"}}
    return {**meta, "namespace": namespace} if namespace else meta


def cluster_role(name: str, *rules: Obj, labels: Obj | None = None) -> Obj:
    return {"metadata": _meta(name, labels=labels), "rules": list(rules)}


def aggregated(name: str, label: str, labels: Obj | None = None) -> Obj:
    """A ClusterRole made of those that carry `label`."""
    selector = {"matchLabels": {label: "true"}}
    return {
        "metadata": _meta(name, labels=labels),
        "aggregationRule": {"clusterRoleSelectors": [selector]},
        "rules": [],
    }


def role(namespace: str, name: str, *rules: Obj) -> Obj:
    return {"metadata": _meta(name, namespace), "rules": list(rules)}


def user(name: str) -> Obj:
    return {"kind": "User", "apiGroup": GROUP, "name": name}


def group(name: str) -> Obj:
    return {"kind": "Group", "apiGroup": GROUP, "name": name}


def bind_cluster_role(name: str, *subjects: Obj, to: str = "") -> Obj:
    """A ClusterRoleBinding to the ClusterRole `to`, by default the one of the same name."""
    ref = {"apiGroup": GROUP, "kind": "ClusterRole", "name": to or name}
    return {"metadata": _meta(name), "roleRef": ref, "subjects": list(subjects)}


def bind_role(namespace: str, name: str, *subjects: Obj) -> Obj:
    """A RoleBinding to the Role of the same name."""
    ref = {"apiGroup": GROUP, "kind": "Role", "name": name}
    return {"metadata": _meta(name, namespace), "roleRef": ref, "subjects": list(subjects)}
