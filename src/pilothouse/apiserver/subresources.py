"""The subresources this server offers, by the kind they belong to: one line each, verb by verb."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pilothouse.apiserver.call import Verb
from pilothouse.apiserver.change import STATUS
from pilothouse.apiserver.verbs import binding, eviction, scale, streams, token
from pilothouse.apiserver.verbs.approval import APPROVAL
from pilothouse.apiserver.verbs.ephemeral import EPHEMERAL
from pilothouse.apiserver.verbs.finalize import FINALIZE
from pilothouse.apiserver.verbs.get import get
from pilothouse.apiserver.verbs.node_proxy import node_proxy
from pilothouse.apiserver.verbs.patch import patch_of
from pilothouse.apiserver.verbs.proxy import proxy_pod, proxy_service
from pilothouse.apiserver.verbs.resize import RESIZE
from pilothouse.apiserver.verbs.update import update_of


class Subresource(NamedTuple):
    """`kind`, `group` and `version` as discovery shows them; empty for the kind it belongs to."""

    verbs: Mapping[str, Verb]
    kind: str = ""
    group: str = ""
    version: str = ""


_STATUS = Subresource({"get": get, "update": update_of(STATUS), "patch": patch_of(STATUS)})
_SCALE = Subresource(
    {"get": scale.get_scale, "update": scale.update_scale, "patch": scale.patch_scale}, "Scale", "autoscaling", "v1"
)


def _every(verb: Verb) -> Mapping[str, Verb]:
    """What is passed through, whatever is asked."""
    return dict.fromkeys(("get", "create", "update", "patch", "delete"), verb)


_BY_KIND: Mapping[tuple[str, str], Mapping[str, Subresource]] = {
    ("", "pods"): {
        "attach": Subresource({"create": streams.attach}, "PodAttachOptions"),
        "binding": Subresource({"create": binding.bind}, "Binding"),
        "eviction": Subresource({"create": eviction.evict}, "Eviction", "policy", "v1"),
        "ephemeralcontainers": Subresource({"get": get, "update": update_of(EPHEMERAL), "patch": patch_of(EPHEMERAL)}),
        "exec": Subresource({"create": streams.exec_}, "PodExecOptions"),
        "log": Subresource({"get": streams.log}, "Pod"),
        "resize": Subresource({"get": get, "update": update_of(RESIZE), "patch": patch_of(RESIZE)}),
        "portforward": Subresource({"create": streams.portforward}, "PodPortForwardOptions"),
        "proxy": Subresource(_every(proxy_pod), "PodProxyOptions"),
    },
    ("", "nodes"): {"proxy": Subresource(_every(node_proxy), "NodeProxyOptions")},
    ("", "services"): {"proxy": Subresource(_every(proxy_service), "ServiceProxyOptions")},
    ("", "serviceaccounts"): {
        "token": Subresource({"create": token.create_token}, "TokenRequest", "authentication.k8s.io", "v1")
    },
    ("", "namespaces"): {"finalize": Subresource({"update": update_of(FINALIZE)})},
    ("certificates.k8s.io", "certificatesigningrequests"): {
        "approval": Subresource({"get": get, "update": update_of(APPROVAL), "patch": patch_of(APPROVAL)})
    },
}
_COMMON: Mapping[str, Subresource] = {"status": _STATUS, "scale": _SCALE}

OPAQUE = frozenset({"attach", "exec", "log", "portforward", "proxy"})
"""Whose answers are somebody else's: no form of ours is asked for."""


def subresource(group: str, plural: str, name: str) -> Subresource | None:
    """The subresource of that name, None when this server does not know it."""
    return _BY_KIND.get((group, plural), {}).get(name) or _COMMON.get(name)
