"""Roles for the engine's own parts: each may do what it does, and nothing else.

Controllers read through shared informers, whose identity alone may read every kind; a controller's own rights are what
it writes, and what it looks up again before it writes. Names are upstream's where upstream has the same part.
"""

from __future__ import annotations

from collections.abc import Mapping

from pilothouse.apiserver.bootstrap.roles import (
    READ,
    bind_cluster_role,
    bind_role,
    cluster_role,
    group,
    role,
    rule,
    user,
)
from pilothouse.machinery.objects import Obj

CONTROLLER_PREFIX = "system:controller:"
_CHANGE = "patch update"
_CERTIFICATES = "certificates.k8s.io"
_SNAPSHOTS = "snapshot.storage.k8s.io"
_SIGNERS = tuple(
    f"kubernetes.io/{name}" for name in ("kube-apiserver-client", "kube-apiserver-client-kubelet", "kubelet-serving")
)
_EVENTS = (
    rule("create patch update", "", "events"),
    rule("create patch update", "events.k8s.io", "events"),
)

_CONTROLLERS: Mapping[str, tuple[Obj, ...]] = {
    "informers": (rule(READ, "*", "*"),),
    "image-guard": (rule("get", "", "nodes/proxy"),),
    "deployment-controller": (
        rule(f"{READ} {_CHANGE}", "apps", "deployments"),
        rule(_CHANGE, "apps", "deployments/status deployments/finalizers"),
        rule(f"{READ} {_CHANGE} create delete", "apps", "replicasets"),
        rule(f"{READ} {_CHANGE}", "", "pods"),
    ),
    "replicaset-controller": (
        rule(f"{READ} {_CHANGE}", "apps", "replicasets"),
        rule(_CHANGE, "apps", "replicasets/status replicasets/finalizers"),
        rule(f"{READ} create delete patch", "", "pods"),
    ),
    "replication-controller": (
        rule(f"{READ} {_CHANGE}", "", "replicationcontrollers"),
        rule(_CHANGE, "", "replicationcontrollers/status replicationcontrollers/finalizers"),
        rule(f"{READ} create delete patch", "", "pods"),
    ),
    "statefulset-controller": (
        rule(f"{READ} {_CHANGE}", "apps", "statefulsets"),
        rule(_CHANGE, "apps", "statefulsets/status statefulsets/finalizers"),
        rule(f"{READ} {_CHANGE} create delete", "apps", "controllerrevisions"),
        rule(f"{READ} create delete patch", "", "pods"),
        rule(f"{READ} create patch", "", "persistentvolumeclaims"),
    ),
    "daemon-set-controller": (
        rule(f"{READ} {_CHANGE}", "apps", "daemonsets"),
        rule(_CHANGE, "apps", "daemonsets/status daemonsets/finalizers"),
        rule(f"{READ} {_CHANGE} create delete", "apps", "controllerrevisions"),
        rule(f"{READ} create delete patch", "", "pods"),
        rule(READ, "", "nodes"),
    ),
    "disruption-controller": (
        rule(READ, "policy", "poddisruptionbudgets"),
        rule(_CHANGE, "policy", "poddisruptionbudgets/status"),
        rule(READ, "apps", "deployments replicasets statefulsets"),
        rule(READ, "", "replicationcontrollers"),
        rule("get", "*", "*/scale"),
        rule(_CHANGE, "", "pods/status"),
    ),
    "horizontal-pod-autoscaler": (
        rule(READ, "autoscaling", "horizontalpodautoscalers"),
        rule(_CHANGE, "autoscaling", "horizontalpodautoscalers/status"),
        rule(f"get {_CHANGE}", "*", "*/scale"),
        rule("list", "", "pods"),
        rule("list", "metrics.k8s.io", "pods"),
        rule("get list", "custom.metrics.k8s.io external.metrics.k8s.io", "*"),
    ),
    "ephemeral-volume-controller": (
        rule(READ, "", "pods"),
        rule("update", "", "pods/finalizers"),
        rule(f"{READ} create", "", "persistentvolumeclaims"),
    ),
    "job-controller": (
        rule(f"{READ} {_CHANGE}", "batch", "jobs"),
        rule(_CHANGE, "batch", "jobs/status jobs/finalizers"),
        rule(f"{READ} create delete patch", "", "pods"),
    ),
    "cronjob-controller": (
        rule(f"{READ} {_CHANGE}", "batch", "cronjobs"),
        rule(_CHANGE, "batch", "cronjobs/status cronjobs/finalizers"),
        rule(f"{READ} create delete", "batch", "jobs"),
    ),
    "ttl-after-finished-controller": (rule(f"{READ} delete", "batch", "jobs"),),
    "endpointslice-controller": (
        rule(READ, "", "services pods nodes"),
        rule("update", "", "services/finalizers"),
        rule(f"{READ} {_CHANGE} create delete", "discovery.k8s.io", "endpointslices"),
    ),
    "ingress-controller": (
        rule("patch", "networking.k8s.io", "ingresses/status"),
        rule(READ, "gateway.networking.k8s.io", "gatewayclasses gateways httproutes referencegrants"),
        rule("patch", "gateway.networking.k8s.io", "gatewayclasses/status gateways/status httproutes/status"),
        rule("get", "", "secrets"),
    ),
    "service-controller": (rule("patch", "", "services/status"),),
    "endpointslicemirroring-controller": (
        rule(READ, "", "services endpoints"),
        rule("update", "", "endpoints/finalizers"),
        rule(f"{READ} {_CHANGE} create delete", "discovery.k8s.io", "endpointslices"),
    ),
    "endpoint-controller": (
        rule(READ, "", "services"),
        rule(f"{READ} {_CHANGE} create delete", "", "endpoints"),
        rule(READ, "discovery.k8s.io", "endpointslices"),
    ),
    "service-address-controller": (
        rule(READ, "", "services"),
        rule(f"{READ} create delete", "networking.k8s.io", "ipaddresses"),
    ),
    "flow-schema-controller": (
        rule(READ, "flowcontrol.apiserver.k8s.io", "flowschemas prioritylevelconfigurations"),
        rule(_CHANGE, "flowcontrol.apiserver.k8s.io", "flowschemas/status"),
    ),
    "service-cidrs-controller": (
        rule(READ, "", "services"),
        rule(READ, "networking.k8s.io", "ipaddresses"),
        rule(f"{READ} {_CHANGE}", "networking.k8s.io", "servicecidrs"),
        rule(_CHANGE, "networking.k8s.io", "servicecidrs/status servicecidrs/finalizers"),
    ),
    "service-account-controller": (rule("create get", "", "serviceaccounts"), rule("get", "", "namespaces")),
    "pod-garbage-collector": (
        rule(f"{READ} delete", "", "pods"),
        rule(_CHANGE, "", "pods/status"),
        rule(READ, "", "nodes"),
    ),
    "node-controller": (
        rule(f"{READ} {_CHANGE} delete", "", "nodes"),
        rule(_CHANGE, "", "nodes/status pods/status"),
        rule(f"{READ} delete", "", "pods"),
        rule(READ, "coordination.k8s.io", "leases"),
    ),
    "node-ipam-controller": (rule(f"{READ} {_CHANGE}", "", "nodes"), rule(_CHANGE, "", "nodes/status")),
    "persistent-volume-binder": (
        rule(f"{READ} {_CHANGE} create delete", "", "persistentvolumes"),
        rule(f"{READ} {_CHANGE}", "", "persistentvolumeclaims"),
        rule(_CHANGE, "", "persistentvolumes/status persistentvolumeclaims/status"),
        rule(READ, "", "pods nodes"),
        rule(READ, "storage.k8s.io", "storageclasses"),
    ),
    "volume-snapshot-controller": (
        rule(f"{READ} create delete", "", "persistentvolumes"),
        rule(READ, "", "persistentvolumeclaims nodes"),
        rule(f"{READ} {_CHANGE}", _SNAPSHOTS, "volumesnapshots"),
        rule(_CHANGE, _SNAPSHOTS, "volumesnapshots/status volumesnapshotcontents/status"),
        rule(f"{READ} {_CHANGE} create delete", _SNAPSHOTS, "volumesnapshotcontents"),
        rule(READ, _SNAPSHOTS, "volumesnapshotclasses"),
    ),
    "attachdetach-controller": (
        rule(READ, "", "persistentvolumes persistentvolumeclaims nodes pods"),
        rule(READ, "storage.k8s.io", "csidrivers"),
        rule(f"{READ} create delete", "storage.k8s.io", "volumeattachments"),
    ),
    "validatingadmissionpolicy-status-controller": (
        rule(_CHANGE, "admissionregistration.k8s.io", "validatingadmissionpolicies/status"),
    ),
    "resourcequota-controller": (rule(READ, "", "resourcequotas"), rule(_CHANGE, "", "resourcequotas/status")),
    "events-ttl-controller": (rule("list delete", "", "events"),),
    "custom-resource-definition-controller": (
        rule(f"{READ} {_CHANGE}", "apiextensions.k8s.io", "customresourcedefinitions"),
        rule(_CHANGE, "apiextensions.k8s.io", "customresourcedefinitions/status"),
        rule("list delete", "*", "*"),
    ),
    "apiservice-availability-controller": (
        rule(READ, "apiregistration.k8s.io", "apiservices"),
        rule(_CHANGE, "apiregistration.k8s.io", "apiservices/status"),
    ),
    "generic-garbage-collector": (rule(f"{READ} {_CHANGE} delete", "*", "*"),),
    "namespace-controller": (
        rule(f"{READ} delete deletecollection", "*", "*"),
        rule(_CHANGE, "", "namespaces namespaces/finalize namespaces/status"),
    ),
    "clusterrole-aggregation-controller": (
        rule(f"escalate {READ} {_CHANGE}", "rbac.authorization.k8s.io", "clusterroles"),
    ),
    "runtime-class-controller": (rule("create delete get", "node.k8s.io", "runtimeclasses"),),
    "root-ca-cert-publisher": (
        rule("create", "", "configmaps"),
        rule(f"{READ} {_CHANGE}", "", "configmaps", ["kube-root-ca.crt"]),
        rule("get", "", "namespaces"),
    ),
    "certificate-controller": (
        rule(f"{READ} delete", _CERTIFICATES, "certificatesigningrequests"),
        rule(_CHANGE, _CERTIFICATES, "certificatesigningrequests/approval certificatesigningrequests/status"),
        rule("approve sign", _CERTIFICATES, "signers", _SIGNERS),
        rule("create", "authorization.k8s.io", "subjectaccessreviews"),
        rule("get", "", "nodes"),
    ),
    "live-checks": (
        rule("get patch", "guard.pilothouse.dev", "exemptions/status"),
        rule("get list create patch delete", "wgpolicyk8s.io", "policyreports clusterpolicyreports"),
        rule("get list create patch delete", "openreports.io", "reports clusterreports"),
    ),
    "token-cleaner": (),
}


def component_names() -> list[str]:
    """The users that the engine's own parts are, nodes apart."""
    return [*(CONTROLLER_PREFIX + name for name in _CONTROLLERS), "system:kube-scheduler"]


_NODE_CLIENT = "system:certificates.k8s.io:certificatesigningrequests:nodeclient"
_SELF_NODE_CLIENT = "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient"

CLUSTER_ROLES = (
    *(cluster_role(CONTROLLER_PREFIX + name, *rules, *_EVENTS) for name, rules in _CONTROLLERS.items()),
    cluster_role(
        "system:kube-scheduler",
        *_EVENTS,
        rule(READ, "", "namespaces nodes persistentvolumes replicationcontrollers services"),
        rule(f"{READ} delete", "", "pods"),
        rule("create", "", "bindings pods/binding"),
        rule(_CHANGE, "", "pods/status"),
        rule(f"{READ} {_CHANGE}", "", "persistentvolumeclaims"),
        rule(READ, "apps", "replicasets statefulsets"),
        rule(READ, "policy", "poddisruptionbudgets"),
        rule(READ, "storage.k8s.io", "storageclasses csinodes csidrivers csistoragecapacities"),
        rule(READ, "storage.k8s.io", "volumeattachments"),
        rule(READ, "resource.k8s.io", "deviceclasses resourceclaims resourceslices"),
        rule(_CHANGE, "resource.k8s.io", "resourceclaims/status"),
        rule("create", "authentication.k8s.io", "tokenreviews"),
        rule("create", "authorization.k8s.io", "subjectaccessreviews"),
        rule("create get list watch patch update", "coordination.k8s.io", "leases"),
    ),
    # Upstream's controller manager in the place of ours (`up --without controllers`): what all of ours may do together.
    cluster_role(
        "system:kube-controller-manager",
        *(rule_ for rules in _CONTROLLERS.values() for rule_ in rules),
        *_EVENTS,
        rule("create get list watch patch update", "coordination.k8s.io", "leases"),
        rule("create", "authentication.k8s.io", "tokenreviews"),
        rule("create", "authorization.k8s.io", "subjectaccessreviews"),
    ),
    cluster_role(
        "system:node-bootstrapper", rule("create get list watch", _CERTIFICATES, "certificatesigningrequests")
    ),
    cluster_role(_NODE_CLIENT, rule("create", _CERTIFICATES, "certificatesigningrequests/nodeclient")),
    cluster_role(_SELF_NODE_CLIENT, rule("create", _CERTIFICATES, "certificatesigningrequests/selfnodeclient")),
)
CLUSTER_ROLE_BINDINGS = (
    *(bind_cluster_role(CONTROLLER_PREFIX + name, user(CONTROLLER_PREFIX + name)) for name in _CONTROLLERS),
    bind_cluster_role("system:kube-scheduler", user("system:kube-scheduler")),
    bind_cluster_role("system:kube-controller-manager", user("system:kube-controller-manager")),
    bind_cluster_role("pilothouse:node-bootstrapper", group("system:bootstrappers"), to="system:node-bootstrapper"),
    bind_cluster_role("pilothouse:node-autoapprove-bootstrap", group("system:bootstrappers"), to=_NODE_CLIENT),
    bind_cluster_role("pilothouse:node-autoapprove-renewal", group("system:nodes"), to=_SELF_NODE_CLIENT),
)
_EXTENSION = "extension-apiserver-authentication"
_CLEANER, _INFO = "system:controller:token-cleaner", "pilothouse:cluster-info"
_IMAGE_GUARD = CONTROLLER_PREFIX + "image-guard"
ROLES = (
    role("kube-system", _CLEANER, rule(f"{READ} delete", "", "secrets")),
    role("kube-system", _IMAGE_GUARD, rule(READ, "", "configmaps")),
    role("kube-system", f"{_EXTENSION}-reader", rule(READ, "", "configmaps", [_EXTENSION])),
    role("kube-public", _INFO, rule("get", "", "configmaps", ["cluster-info"])),
)
ROLE_BINDINGS = (
    bind_role("kube-system", _CLEANER, user(CONTROLLER_PREFIX + "token-cleaner")),
    bind_role("kube-system", _IMAGE_GUARD, user(_IMAGE_GUARD)),
    bind_role("kube-public", _INFO, user("system:anonymous"), group("system:bootstrappers"), group("system:nodes")),
)
