"""ValidatingAdmissionPolicies and their bindings, through the API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from admission_plane import AdmissionPlane

from pilothouse.apiserver.admission.exempt import BOOTSTRAP
from pilothouse.cli.manifests import read
from pilothouse.cli.own_checks import read_own
from pilothouse.client.wire import User
from pilothouse.guard.finding import Item
from pilothouse.guard.judge import Options, judge
from pilothouse.kinds.catalogue import by_kind
from pilothouse.machinery.errors import ApiError, Forbidden, Invalid
from pilothouse.machinery.objects import Obj

JANE = User("jane", ("system:masters",))
POLICIES = "validatingadmissionpolicies"
BINDINGS = "validatingadmissionpolicybindings"
DEPLOYMENTS = [
    {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["deployments"]}
]


@pytest.fixture
async def api() -> AsyncIterator[AdmissionPlane]:
    async with AdmissionPlane() as running:
        yield running


def policy(name: str = "replicas", rules: list[Obj] | None = None, **spec: Any) -> Obj:
    validations = [{"expression": "object.spec.replicas <= 5"}]
    return {
        "metadata": {"name": name},
        "spec": {"matchConstraints": {"resourceRules": rules or DEPLOYMENTS}, "validations": validations, **spec},
    }


def binding(name: str = "all", policy_name: str = "replicas", *actions: str, **spec: Any) -> Obj:
    return {
        "metadata": {"name": name},
        "spec": {"policyName": policy_name, "validationActions": list(actions) or ["Deny"], **spec},
    }


def deployment(name: str = "web", replicas: int = 6, **labels: str) -> Obj:
    chosen = {"app": name, **labels}
    template = {"metadata": {"labels": chosen}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    return {
        "metadata": {"name": name, "labels": chosen},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template},
    }


async def test_a_denial_reads_as_upstreams(api: AdmissionPlane) -> None:
    await api.create(POLICIES, policy())
    await api.create("deployments", deployment("before"))  # no binding yet
    await api.create(BINDINGS, binding())
    with pytest.raises(Invalid) as caught:
        await api.create("deployments", deployment())
    said = (
        "ValidatingAdmissionPolicy 'replicas' with binding 'all' denied request: "
        "failed expression: object.spec.replicas <= 5"
    )
    assert caught.value.status() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f'deployments.apps "web" is forbidden: {said}',
        "reason": "Invalid",
        "details": {"name": "web", "group": "apps", "kind": "deployments", "causes": [{"message": said}]},
        "code": 422,
    }
    await api.create("deployments", deployment(replicas=5))
    with pytest.raises(Invalid):
        await api.patch("deployments", "web", {"spec": {"replicas": 6}})
    await api.delete(BINDINGS, "all")
    await api.patch("deployments", "web", {"spec": {"replicas": 6}})


async def test_messages_and_reasons(api: AdmissionPlane) -> None:
    validations = [
        {
            "expression": "object.spec.replicas <= variables.most",
            "messageExpression": "'at most ' + string(variables.most) + ', not ' + string(object.spec.replicas)",
            "reason": "Forbidden",
        }
    ]
    variables = [{"name": "most", "expression": "5"}]
    await api.create(POLICIES, policy(validations=validations, variables=variables))
    await api.create(BINDINGS, binding())
    with pytest.raises(Forbidden, match=r"denied request: at most 5, not 6$"):
        await api.create("deployments", deployment())


async def test_warnings_and_audit_annotations(api: AdmissionPlane) -> None:
    annotations = [{"key": "replicas", "valueExpression": "'wants ' + string(object.spec.replicas)"}]
    await api.create(POLICIES, policy(auditAnnotations=annotations))
    await api.create(BINDINGS, binding("all", "replicas", "Warn", "Audit"))
    await api.create("deployments", deployment())
    assert api.warnings == [
        "Validation failed for ValidatingAdmissionPolicy 'replicas' with binding 'all': "
        "failed expression: object.spec.replicas <= 5"
    ]
    found = api.annotations
    assert found["replicas/replicas"] == "wants 6"
    assert '"expressionIndex":0' in found["validation.policy.admission.k8s.io/validation_failure"]


async def test_parameters(api: AdmissionPlane) -> None:
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    validations = [{"expression": "params == null || object.spec.replicas <= int(params.data.most)"}]
    await api.create(POLICIES, policy(paramKind=kind, validations=validations))
    reference = {"name": "limits", "namespace": "default", "parameterNotFoundAction": "Deny"}
    await api.create(BINDINGS, binding(paramRef=reference))
    with pytest.raises(Invalid, match="failed to configure binding: no params found for policy binding with `Deny`"):
        await api.create("deployments", deployment())
    await api.create("configmaps", {"metadata": {"name": "limits"}, "data": {"most": "5"}})
    with pytest.raises(Invalid, match="failed expression"):
        await api.create("deployments", deployment())
    await api.patch("configmaps", "limits", {"data": {"most": "6"}})
    await api.create("deployments", deployment())


async def test_every_parameter_a_selector_finds_counts(api: AdmissionPlane) -> None:
    kind = {"apiVersion": "v1", "kind": "ConfigMap"}
    validations = [{"expression": "object.spec.replicas <= int(params.data.most)"}]
    await api.create(POLICIES, policy(paramKind=kind, validations=validations))
    reference = {"selector": {"matchLabels": {"limits": "yes"}}, "parameterNotFoundAction": "Allow"}
    await api.create(BINDINGS, binding(paramRef=reference))
    await api.create("deployments", deployment("none"))
    for name, most in (("a", "9"), ("b", "5")):
        metadata = {"name": name, "labels": {"limits": "yes"}}
        await api.create("configmaps", {"metadata": metadata, "data": {"most": most}})
    with pytest.raises(Invalid):
        await api.create("deployments", deployment())


async def test_selectors_conditions_and_exclusions(api: AdmissionPlane) -> None:
    rules = [{**DEPLOYMENTS[0], "resourceNames": ["spared"]}]
    constraints = {
        "resourceRules": DEPLOYMENTS,
        "excludeResourceRules": rules,
        "objectSelector": {"matchLabels": {"tier": "web"}},
    }
    conditions = [{"name": "not-root", "expression": "request.userInfo.username != 'root'"}]
    await api.create(POLICIES, policy(matchConstraints=constraints, matchConditions=conditions))
    resources = {"namespaceSelector": {"matchLabels": {"env": "live"}}}
    await api.create(BINDINGS, binding(matchResources=resources))
    await api.create("deployments", deployment("a", tier="web"))
    await api.patch("namespaces", "default", {"metadata": {"labels": {"env": "live"}}})
    await api.create("deployments", deployment("b"))
    await api.create("deployments", deployment("spared", tier="web"))
    await api.create("deployments", deployment("c", tier="web"), user=User("root", ("system:masters",)))
    with pytest.raises(Invalid):
        await api.create("deployments", deployment("d", tier="web"))


@pytest.mark.parametrize("failure", ["Fail", "Ignore"])
async def test_errors_follow_the_failure_policy(api: AdmissionPlane, failure: str) -> None:
    validations = [{"expression": "object.spec.nope == 1"}]
    await api.create(POLICIES, policy(validations=validations, failurePolicy=failure))
    await api.create(BINDINGS, binding())
    if failure == "Ignore":
        await api.create("deployments", deployment())
        return
    said = "expression 'object.spec.nope == 1' resulted in error: no such key: nope"
    with pytest.raises(Invalid, match=said):
        await api.create("deployments", deployment())


async def test_the_authoriser_is_asked(api: AdmissionPlane) -> None:
    check = "authorizer.requestResource.check('delete').allowed() && authorizer.path('/metrics').check('get').allowed()"
    await api.create(POLICIES, policy(validations=[{"expression": check, "message": "no right to delete"}]))
    await api.create(BINDINGS, binding())
    await api.allow("jim", "create", "apps", "deployments")
    with pytest.raises(Invalid, match="no right to delete"):
        await api.create("deployments", deployment(), user=User("jim"))
    await api.create("deployments", deployment(), user=JANE)


async def test_what_takes_long_is_judged_elsewhere_and_ends_at_the_cost_limit(api: AdmissionPlane) -> None:
    hostile = "lists.range(400).all(a, lists.range(400).all(b, lists.range(400).all(c, a + b + c >= 0)))"
    await api.create(POLICIES, policy(validations=[{"expression": hostile}]))
    await api.create(BINDINGS, binding())
    with pytest.raises(Invalid, match="operation cancelled: actual cost limit exceeded"):
        await api.create("deployments", deployment())
    costly = "lists.range(150).all(a, lists.range(150).all(b, a + b >= 0)) && object.spec.replicas < 6"
    await api.patch(POLICIES, "replicas", {"spec": {"validations": [{"expression": costly}]}})
    with pytest.raises(Invalid, match="failed expression"):
        await api.create("deployments", deployment())
    await api.create("deployments", deployment(replicas=1))


async def test_another_version_of_the_kind_is_meant_too(api: AdmissionPlane) -> None:
    rules = [{**DEPLOYMENTS[0], "apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"]}]
    rules[0]["apiVersions"] = ["v2"]
    validations = [{"expression": "object.spec.metrics[0].resource.target.averageUtilization <= 50"}]
    await api.create(POLICIES, policy(rules=rules, validations=validations))
    await api.create(BINDINGS, binding())
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    spec = {"maxReplicas": 3, "scaleTargetRef": target, "targetCPUUtilizationPercentage": 80}
    path = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
    body = {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"},
        "spec": spec,
    }
    with pytest.raises(Invalid, match="denied request"):
        await api.post(path, {**body, "spec": spec})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"validations": [{"expression": "object.spec.replicas <="}]},
            'spec.validations[0].expression: Invalid value: "object.spec.replicas <=": compilation failed: ERROR: '
            "<input>:1:24: Syntax error",
        ),
        ({"validations": [{"expression": "1 + 1"}]}, "must evaluate to bool"),
        ({"validations": [{"expression": "variables.nope"}]}, "undefined field 'nope'"),
        ({"validations": [{"expression": "request.nope == 1"}]}, "undefined field 'nope'"),
        ({"validations": [{"expression": "params.x == 1"}]}, "undeclared reference to 'params'"),
        ({"variables": [{"name": "a", "expression": "b"}]}, "spec.variables[0].expression: Invalid value"),
    ],
)
async def test_a_policy_that_does_not_compile_is_refused(api: AdmissionPlane, spec: Obj, message: str) -> None:
    with pytest.raises(Invalid) as caught:
        await api.create(POLICIES, policy(**spec))
    assert message in str(caught.value)


async def test_nobody_is_locked_out(api: AdmissionPlane) -> None:
    anything = [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*", "*"]}]
    refusing = policy("never", anything, validations=[{"expression": "false"}])
    refusing["spec"]["matchConstraints"]["resourceRules"][0]["resources"] = ["*/*"]
    await api.create(POLICIES, refusing)
    await api.create(BINDINGS, binding("never", "never"))
    lease = {"metadata": {"name": "n1", "namespace": "kube-node-lease"}, "spec": {}}
    node = User("system:node:n1", ("system:nodes",))
    controller = User("system:controller:replicaset-controller", ("system:masters",))
    await api.create("leases", lease, user=node)
    await api.create("namespaces", {"metadata": {"name": "first"}}, user=User(BOOTSTRAP, ("system:masters",)))
    await api.create("nodes", {"metadata": {"name": "n1"}}, user=node)
    with pytest.raises(ApiError, match="denied request"):
        await api.create("configmaps", {"metadata": {"name": "x"}})
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    with pytest.raises(ApiError, match="denied request"):  # what controllers make for users is judged
        await api.create("pods", pod, user=controller)
    await api.delete(BINDINGS, "never")
    await api.create("configmaps", {"metadata": {"name": "x"}})


async def test_the_example_of_own_checks_is_judged_at_the_door_as_at_the_desk(api: AdmissionPlane) -> None:
    example = Path(__file__).parents[3] / "examples" / "checks"
    for manifest in read(str(example))[0]:
        group, _, version = manifest.tree["apiVersion"].rpartition("/")
        kind = by_kind(group, version, manifest.kind)
        assert kind is not None
        await api.create(kind.resource.plural, manifest.tree)
    fine, probed = deployment("fine", 4), deployment("probed", 4)
    probed["spec"]["template"]["spec"]["containers"][0]["readinessProbe"] = {"httpGet": {"path": "/", "port": 80}}

    with pytest.raises(Invalid) as caught:
        await api.create("deployments", deployment("many", 9))
    await api.create("deployments", fine)
    quiet = [*api.warnings]
    await api.create("deployments", probed)

    own, _ = read_own([str(example)])
    trees = [{"apiVersion": "apps/v1", "kind": "Deployment", **tree} for tree in (deployment("many", 9), fine, probed)]
    desk = {
        (finding.ref.name, finding.message)
        for finding in judge([Item(tree) for tree in trees], Options(own=own)).findings
        if finding.check.id.startswith("shop")
    }
    assert desk == {
        ("many", "has 9 replicas, more than 4"),
        ("probed", "has a readiness probe that asks for the start page"),
    }
    assert "has 9 replicas, more than 4" in caught.value.message
    assert quiet == []
    assert [said for said in api.warnings if "has a readiness probe that asks for the start page" in said]
