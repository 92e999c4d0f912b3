"""Roles for people: cluster-admin, admin, edit, view, and what everybody may see.

Source of names and rights: Kubernetes documentation, "Using RBAC Authorization", default roles.
"""

from __future__ import annotations

from pilothouse.apiserver.bootstrap.roles import (
    READ,
    WRITE,
    aggregated,
    bind_cluster_role,
    cluster_role,
    group,
    paths,
    rule,
)

_AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"
_HEALTH = "/healthz /livez /readyz /version /version/"
_ISSUER = "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/"
_APPS = "daemonsets deployments deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale"
_APPS_STATUS = "controllerrevisions daemonsets/status deployments/status replicasets/status statefulsets/status"
_SCALED = "replicationcontrollers replicationcontrollers/scale"
_CORE = f"configmaps events persistentvolumeclaims {_SCALED} serviceaccounts services"
_NETWORK = "ingresses networkpolicies"

CLUSTER_ROLES = (
    cluster_role("cluster-admin", rule("*", "*", "*"), paths("*", "*")),
    aggregated("admin", _AGGREGATE + "admin"),
    aggregated("edit", _AGGREGATE + "edit", {_AGGREGATE + "admin": "true"}),
    aggregated("view", _AGGREGATE + "view", {_AGGREGATE + "edit": "true"}),
    cluster_role(
        "system:aggregate-to-view",
        rule(READ, "", f"{_CORE} pods pods/log pods/status namespaces namespaces/status services/status"),
        rule(READ, "", "bindings endpoints limitranges persistentvolumeclaims/status replicationcontrollers/status"),
        rule(READ, "", "resourcequotas resourcequotas/status"),
        rule(READ, "apps", f"{_APPS} {_APPS_STATUS}"),
        rule(READ, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
        rule(READ, "batch", "cronjobs cronjobs/status jobs jobs/status"),
        rule(READ, "discovery.k8s.io", "endpointslices"),
        rule(READ, "networking.k8s.io", f"{_NETWORK} ingresses/status"),
        rule(READ, "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
        rule("get list", "metrics.k8s.io", "pods"),
        rule("list", "network.pilothouse.dev", "flows deniedflows"),
        rule(READ, "guard.pilothouse.dev", "findings exemptions"),
        labels={_AGGREGATE + "view": "true"},
    ),
    cluster_role(
        "system:aggregate-to-edit",
        rule(READ, "", "secrets pods/attach pods/exec pods/portforward pods/proxy services/proxy"),
        rule("impersonate", "", "serviceaccounts"),
        rule(WRITE, "", f"{_CORE} secrets pods pods/attach pods/exec pods/portforward pods/proxy services/proxy"),
        rule("create", "", "pods/eviction serviceaccounts/token"),
        rule(WRITE, "apps", _APPS),
        rule(WRITE, "autoscaling", "horizontalpodautoscalers"),
        rule(WRITE, "batch", "cronjobs jobs"),
        rule(f"{READ} {WRITE}", "coordination.k8s.io", "leases"),
        rule(WRITE, "networking.k8s.io", _NETWORK),
        rule(WRITE, "policy", "poddisruptionbudgets"),
        rule(WRITE, "guard.pilothouse.dev", "exemptions"),
        labels={_AGGREGATE + "edit": "true"},
    ),
    cluster_role(
        "system:aggregate-to-admin",
        rule("create", "authorization.k8s.io", "localsubjectaccessreviews"),
        rule(f"{READ} {WRITE}", "rbac.authorization.k8s.io", "roles rolebindings"),
        labels={_AGGREGATE + "admin": "true"},
    ),
    cluster_role(
        "pilothouse:exemption-approver",
        rule(f"{READ} approve", "guard.pilothouse.dev", "exemptions"),
        rule("get patch update", "guard.pilothouse.dev", "exemptions/status"),
    ),
    cluster_role(
        "system:discovery",
        paths("get", f"/api /api/* /apis /apis/* /openapi /openapi/* {_HEALTH}"),
    ),
    cluster_role(
        "system:basic-user",
        rule("create", "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews"),
        rule("create", "authentication.k8s.io", "selfsubjectreviews"),
    ),
    cluster_role("pilothouse:console", paths("get", "/console /console/*")),
    cluster_role("system:public-info-viewer", paths("get", _HEALTH)),
    cluster_role("system:service-account-issuer-discovery", paths("get", _ISSUER)),
    cluster_role("system:monitoring", paths("get", "/metrics /metrics/* /healthz /healthz/* /livez /livez/* /readyz")),
    cluster_role(
        "system:auth-delegator",
        rule("create", "authentication.k8s.io", "tokenreviews"),
        rule("create", "authorization.k8s.io", "subjectaccessreviews"),
    ),
)

_KNOWN, _UNKNOWN = group("system:authenticated"), group("system:unauthenticated")
CLUSTER_ROLE_BINDINGS = (
    bind_cluster_role("cluster-admin", group("system:masters")),
    bind_cluster_role("system:discovery", _KNOWN),
    bind_cluster_role("system:basic-user", _KNOWN),
    bind_cluster_role("pilothouse:console", _KNOWN),
    bind_cluster_role("system:public-info-viewer", _KNOWN, _UNKNOWN),
    bind_cluster_role("system:service-account-issuer-discovery", group("system:serviceaccounts")),
    bind_cluster_role("system:monitoring", group("system:monitoring")),
)
