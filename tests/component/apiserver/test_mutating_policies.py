"""MutatingAdmissionPolicies and their bindings, through the API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from admission_plane import AdmissionPlane

from pilothouse.apiserver.admission.policies import turn
from pilothouse.client.wire import User
from pilothouse.machinery.errors import Forbidden, Invalid
from pilothouse.machinery.objects import Obj

POLICIES, BINDINGS = "mutatingadmissionpolicies", "mutatingadmissionpolicybindings"
PODS = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]
SIDECAR = """
Object{
  metadata: Object.metadata{labels: {"mesh": "on"}},
  spec: Object.spec{
    initContainers: [Object.spec.initContainers{name: "proxy", image: "proxy:1", restartPolicy: "Always"}],
    ?priorityClassName: optional.none()
  }
}"""


@pytest.fixture
async def api() -> AsyncIterator[AdmissionPlane]:
    async with AdmissionPlane() as running:
        yield running


def apply(expression: str) -> Obj:
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}


def patch(expression: str) -> Obj:
    return {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}


def label(key: str, value: str) -> Obj:
    return apply(f"Object{{metadata: Object.metadata{{labels: {{'{key}': {value}}}}}}}")


def policy(*mutations: Obj, name: str = "p", rules: list[Obj] | None = None, **spec: Any) -> Obj:
    meant = {"resourceRules": rules or PODS}
    spec = {"reinvocationPolicy": "Never", "matchConstraints": meant, "mutations": list(mutations), **spec}
    return {"metadata": {"name": name}, "spec": spec}


def binding(policy_name: str = "p", **spec: Any) -> Obj:
    return {"metadata": {"name": policy_name}, "spec": {"policyName": policy_name, **spec}}


async def bound(api: AdmissionPlane, *mutations: Obj, name: str = "p", **spec: Any) -> None:
    await api.create(POLICIES, policy(*mutations, name=name, **spec))
    await api.create(BINDINGS, binding(name))


def pod(name: str = "web", **spec: Any) -> Obj:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i:1"}], **spec}}


async def test_an_apply_configuration_is_merged_by_the_schema(api: AdmissionPlane) -> None:
    await api.create(POLICIES, policy(apply(SIDECAR)))
    assert "initContainers" not in (await api.create("pods", pod("before")))["spec"]
    await api.create(BINDINGS, binding())
    other = {"name": "first", "image": "i:1"}
    made = await api.create("pods", pod(initContainers=[other, {"name": "proxy", "image": "old:1", "command": ["x"]}]))
    first, proxy = made["spec"]["initContainers"]
    assert first["name"] == "first"
    assert (proxy["image"], proxy["command"], proxy["restartPolicy"]) == ("proxy:1", ["x"], "Always")
    assert proxy["imagePullPolicy"] == "IfNotPresent"  # defaults are filled in again
    assert made["metadata"]["labels"] == {"mesh": "on"}


async def test_a_json_patch_has_its_operations_carried_out(api: AdmissionPlane) -> None:
    key = "'/metadata/annotations/' + jsonpatch.escapeKey('example.com/by')"
    await bound(
        api,
        patch(
            "has(object.metadata.annotations) ? [] : [JSONPatch{op: 'add', path: '/metadata/annotations', value: {}}]"
        ),
        patch(f"[JSONPatch{{op: 'add', path: {key}, value: request.userInfo.username}}]"),
        patch(
            "[JSONPatch{op: 'test', path: '/spec/containers/0/image', value: 'i:1'},"
            " JSONPatch{op: 'add', path: '/spec/containers/-',"
            " value: Object.spec.containers{name: 'more', image: 'm:1'}}]"
        ),
    )
    made = await api.create("pods", pod())
    assert made["metadata"]["annotations"]["example.com/by"] == "admin"
    assert [container["name"] for container in made["spec"]["containers"]] == ["c", "more"]


async def test_each_mutation_sees_what_those_before_it_made(api: AdmissionPlane) -> None:
    variables = [{"name": "seen", "expression": "object.metadata.?labels[?'a'].orValue('no')"}]
    await bound(api, label("a", "'first'"), label("b", "variables.seen + '-second'"), variables=variables)
    assert (await api.create("pods", pod()))["metadata"]["labels"] == {"a": "first", "b": "first-second"}


async def test_parameters_conditions_and_the_authoriser(api: AdmissionPlane) -> None:
    await api.create("configmaps", {"metadata": {"name": "team"}, "data": {"name": "red"}})
    await api.allow("jane", "create", "", "pods")
    conditions = [{"name": "not-system", "expression": "!object.metadata.name.startsWith('sys-')"}]
    check = "authorizer.group('').resource('secrets').namespace('default').check('get').allowed()"
    await api.create(
        POLICIES,
        policy(
            label("team", "params.data.name"),
            label("trusted", f"{check} ? 'yes' : 'no'"),
            paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
            matchConditions=conditions,
        ),
    )
    reference = {"name": "team", "parameterNotFoundAction": "Deny"}
    await api.create(BINDINGS, binding(paramRef=reference))
    assert (await api.create("pods", pod("a")))["metadata"]["labels"] == {"team": "red", "trusted": "yes"}
    made = await api.create("pods", pod("b"), User("jane"))
    assert made["metadata"]["labels"] == {"team": "red", "trusted": "no"}
    assert "labels" not in (await api.create("pods", pod("sys-a")))["metadata"]
    await api.delete("configmaps", "team")
    with pytest.raises(Invalid, match="no params found for policy binding with `Deny` parameterNotFoundAction"):
        await api.create("pods", pod("c"))


async def test_what_cannot_be_carried_out_refuses_or_is_passed_over(api: AdmissionPlane) -> None:
    broken = apply("Object{metadata: Object.metadata{labels: {'a': object.spec.nothing}}}")
    await bound(api, broken)
    with pytest.raises(Invalid) as caught:
        await api.create("pods", pod())
    assert "pods \"web\" is forbidden: policy 'p' with binding 'p' denied request" in str(caught.value)
    assert "no such key: nothing" in str(caught.value)
    await api.delete(POLICIES, "p")
    # What fails and may does not keep the others.
    await api.create(POLICIES, policy(broken, label("a", "'b'"), failurePolicy="Ignore"))
    assert (await api.create("pods", pod()))["metadata"]["labels"] == {"a": "b"}


@pytest.mark.parametrize(
    ("mutation", "why"),
    [
        (
            apply("Object{spec: Object.spec{containers: [Object.spec.containers{name: 'c', args: ['x']}]}}"),
            r"may not mutate atomic arrays, maps or structs: .spec.containers\[0\].args",
        ),
        (apply("Object{spec: Object.spec{nodename: 'x'}}"), ".spec.nodename: field not declared in schema"),
        (
            apply("Object{spec: Object.spec{containers: [Object.spec.containers{image: 'x'}]}}"),
            "element 0: associative list with keys",
        ),
        (apply("Object{spec: Object.metadata{}}"), 'unexpected type name "Object.metadata", expected "Object.spec"'),
        (apply("Object{spec: Object.spec{containers: [Object.spec.containers{name: 1}]}}"), "containers"),
        (patch("[JSONPatch{op: 'remove', path: '/spec/none'}]"), "/spec/none"),
        (patch("[JSONPatch{op: 'test', path: '/spec/containers/0/image', value: 'x'}]"), "testing value"),
        (
            patch("[JSONPatch{op: 'add', path: '/spec/containers', value: 'x'}]"),
            "admission made an object that is none",
        ),
    ],
)
async def test_what_does_not_fit_is_told(api: AdmissionPlane, mutation: Obj, why: str) -> None:
    await bound(api, mutation)
    with pytest.raises(Invalid, match=why):
        await api.create("pods", pod())


@pytest.mark.parametrize(
    ("given", "field", "why"),
    [
        (
            policy(apply("Object{a: b}")),
            "spec.mutations[0].applyConfiguration.expression",
            "undeclared reference to 'b'",
        ),
        (policy(apply("1 +")), "spec.mutations[0].applyConfiguration.expression", "Syntax error"),
        (policy(apply("Object.spec{}")), "spec.mutations[0].applyConfiguration.expression", "must evaluate to Object"),
        (policy(patch("{'op': 'add'}")), "spec.mutations[0].jsonPatch.expression", "must evaluate to"),
        (policy(patch("[JSONPatch{o: 'x'}]")), "spec.mutations[0].jsonPatch.expression", "undefined field 'o'"),
        (policy(), "spec.mutations", "mutations must contain at least one item"),
        (
            policy(label("a", "'b'"), rules=[{**PODS[0], "operations": ["DELETE"]}]),
            "spec.matchConstraints.resourceRules.operations",
            "supported values",
        ),
        (policy({"patchType": "Merge"}), "spec.mutations[0].patchType", "supported values"),
        (policy({"patchType": "JSONPatch"}), "spec.mutations[0].jsonPatch", "must be specified when"),
        (policy(label("a", "'b'"), reinvocationPolicy="Maybe"), "spec.reinvocationPolicy", "supported values"),
    ],
)
async def test_a_policy_that_is_none_is_refused(api: AdmissionPlane, given: Obj, field: str, why: str) -> None:
    with pytest.raises(Invalid) as caught:
        await api.create(POLICIES, given)
    assert any(cause.field == field and why in cause.message for cause in caught.value.causes)


async def test_a_report_names_the_place_in_what_was_written(api: AdmissionPlane) -> None:
    with pytest.raises(Invalid) as caught:
        await api.create(POLICIES, policy(apply("Object{\n  spec: Object.spec{priority: nothing}}")))
    assert "<input>:2:31: undeclared reference to 'nothing'" in caught.value.causes[0].message
    assert " |   spec: Object.spec{priority: nothing}}\n | " + "." * 30 + "^" in caught.value.causes[0].message


async def test_policies_run_by_name_and_again_when_they_ask_for_it(api: AdmissionPlane) -> None:
    count = "string(int(object.metadata.?labels[?'n'].orValue('0')) + 1)"
    await bound(api, label("n", count), name="a", reinvocationPolicy="IfNeeded")
    await bound(api, label("seen", "object.metadata.labels['n']"), name="b", reinvocationPolicy="IfNeeded")
    await bound(api, label("last", "'c'"), name="c")
    # a: 1, b sees it, c changes; a and b run again.
    assert (await api.create("pods", pod()))["metadata"]["labels"] == {"n": "2", "seen": "2", "last": "c"}


async def test_what_a_policy_makes_is_judged_by_all_that_comes_after(api: AdmissionPlane) -> None:
    await api.create("priorityclasses", {"metadata": {"name": "high"}, "value": 1000})
    await bound(api, apply("Object{spec: Object.spec{priorityClassName: 'high', priority: 1000}}"))
    # The steps before run again: they know the class.
    assert (await api.create("pods", pod()))["spec"]["priority"] == 1000
    await api.create(
        "validatingadmissionpolicies",
        {
            "metadata": {"name": "v"},
            "spec": {
                "matchConstraints": {"resourceRules": PODS},
                "validations": [{"expression": "object.spec.?priorityClassName != optional.of('high')"}],
            },
        },
    )
    await api.create(
        "validatingadmissionpolicybindings",
        {"metadata": {"name": "v"}, "spec": {"policyName": "v", "validationActions": ["Deny"]}},
    )
    with pytest.raises(Invalid, match="ValidatingAdmissionPolicy 'v'"):
        await api.create("pods", pod("next"))


async def test_nobody_is_locked_out(api: AdmissionPlane) -> None:
    everything = [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": ["*/*"]}]
    broken = apply("Object{metadata: Object.metadata{name: object.nothing}}")
    await bound(api, broken, rules=everything)
    with pytest.raises(Invalid):
        await api.create("configmaps", {"metadata": {"name": "c"}})
    # The engine's own parts go on, and an administrator can mend what refuses.
    lease = {"metadata": {"name": "n1", "namespace": "kube-node-lease"}, "spec": {"holderIdentity": "n1"}}
    await api.create("leases", lease, User("system:kube-scheduler", ("system:masters",)))
    await api.patch(POLICIES, "p", {"spec": {"failurePolicy": "Ignore"}})
    await api.create("configmaps", {"metadata": {"name": "c"}})
    await api.delete(POLICIES, "p")
    await api.delete(BINDINGS, "p")


async def test_updates_by_others_and_dry_runs(api: AdmissionPlane) -> None:
    await bound(api, label("kept", "'always'"), rules=[{**PODS[0], "operations": ["*"]}])
    assert (await api.create("pods", pod("tried"), dryRun="All"))["metadata"]["labels"] == {"kept": "always"}
    await api.create("pods", pod())
    changed = await api.patch("pods", "web", {"metadata": {"labels": {"kept": None, "other": "x"}}})
    assert changed["metadata"]["labels"] == {"kept": "always", "other": "x"}
    await api.delete("pods", "web")
    assert "tried" not in [entry["metadata"]["name"] for entry in (await api.get("pods", ""))["items"]]


async def test_what_takes_long_is_made_beside_the_server(api: AdmissionPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn, "_SECONDS_HERE", 0.0)
    await bound(api, label("by", "request.userInfo.username"), patch("[]"))
    assert (await api.create("pods", pod()))["metadata"]["labels"] == {"by": "admin"}
    nothing = "[1, 2, 3, 4, 5, 6, 7, 8].map(a, object.spec.containers)"
    grow = f"{nothing}.size() + " * 20 + "1"
    many = "'x'.split('')".replace("'x'", "'" + "x" * 400 + "'")
    dear = f"{many}.all(a, {many}.all(b, {many}.all(c, a + b != c)))"
    await bound(api, label("dear", f"{dear} && {grow} > 0 ? 'yes' : 'no'"), name="q")
    with pytest.raises(Invalid, match="cost"):
        await api.create("pods", pod("next"))


async def test_a_user_needs_no_rights_for_what_a_policy_adds(api: AdmissionPlane) -> None:
    await api.allow("jane", "create", "", "configmaps")
    rules = [{**PODS[0], "resources": ["configmaps"]}]
    await bound(api, apply("Object{data: {'a': 'b'}}"), rules=rules)
    made = await api.create("configmaps", {"metadata": {"name": "c"}}, User("jane"))
    assert made["data"] == {"a": "b"}
    with pytest.raises(Forbidden):
        await api.create("secrets", {"metadata": {"name": "s"}}, User("jane"))
