"""Rights as findings."""

from __future__ import annotations

import orjson

from pilothouse.guard.access.watch import cluster_of, documents_of, reports
from pilothouse.guard.live.world import World
from pilothouse.machinery.objects import Obj

RBAC = "rbac.authorization.k8s.io"


def put(world: World, kind: str, name: str, namespace: str, **content: object) -> None:
    version = f"{RBAC}/v1" if "Role" in kind else "apps/v1" if kind == "Deployment" else "v1"
    meta: Obj = {"name": name, **({"namespace": namespace} if namespace else {})}
    world.put(orjson.dumps({"apiVersion": version, "kind": kind, "metadata": meta, **content}))


def test_an_account_that_gets_to_everything_is_a_finding_with_its_path() -> None:
    world = World()
    put(world, "ServiceAccount", "app", "shop")
    spec = {"template": {"spec": {"serviceAccountName": "app", "containers": []}}}
    put(world, "Deployment", "front", "shop", spec=spec)
    rule = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    put(world, "ClusterRole", "all", "", rules=[rule])
    assert [report.found for report in reports(cluster_of(documents_of(world)), sorted(world.accounts))] == [()]
    subjects = [{"kind": "ServiceAccount", "name": "app", "namespace": "shop"}]
    put(world, "ClusterRoleBinding", "oops", "", roleRef={"kind": "ClusterRole", "name": "all"}, subjects=subjects)
    (report,) = reports(cluster_of(documents_of(world)), sorted(world.accounts))
    assert report.subject == "shop/app"
    told = {found.finding.check.id: found.evidence["path"] for found in report.found}
    assert set(told) == {"access-to-cluster-admin", "access-to-all-secrets", "access-to-nodes"}
    assert "ClusterRoleBinding oops to ClusterRole all" in told["access-to-cluster-admin"]
