import copy

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilothouse.machinery.apply.fields import difference, field_set, intersection, paths, union
from pilothouse.machinery.apply.last_applied import LAST_APPLIED
from pilothouse.machinery.apply.server_side import apply, track_update
from pilothouse.machinery.errors import BadRequest, Conflict
from pilothouse.machinery.schema import schema_for

from .trees import deployment, pod

DEPLOYMENT = schema_for("apps", "v1", "Deployment")
SERVICE = schema_for("", "v1", "Service")
POD = schema_for("", "v1", "Pod")
NOW = "2026-01-01T00:00:00Z"
LATER = "2026-01-01T00:00:09Z"


def applied(live, config, manager="me", *, force=False, now=NOW, schema=DEPLOYMENT, subresource=""):
    return apply(live, config, manager, force=force, subresource=subresource, schema=schema, now=now)


def updated(live, new, manager="editor", *, now=NOW, schema=DEPLOYMENT, subresource=""):
    return track_update(live, new, manager, subresource, schema=schema, now=now)


def config(**spec):
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def containers(*entries):
    return config(template={"spec": {"containers": list(entries)}})


def entry(obj, manager, operation="Apply"):
    return next(
        (
            entry
            for entry in obj["metadata"].get("managedFields", ())
            if (entry["manager"], entry["operation"]) == (manager, operation)
        ),
        None,
    )


def test_creating_by_apply_owns_what_was_applied():
    live = applied(None, containers({"name": "web", "image": "web:1", "ports": [{"containerPort": 80}]}))
    assert live["metadata"]["managedFields"] == [
        {
            "manager": "me",
            "operation": "Apply",
            "apiVersion": "apps/v1",
            "time": NOW,
            "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:spec": {
                    "f:template": {
                        "f:spec": {
                            "f:containers": {
                                'k:{"name":"web"}': {
                                    ".": {},
                                    "f:name": {},
                                    "f:image": {},
                                    "f:ports": {
                                        'k:{"containerPort":80,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}
                                    },
                                }
                            }
                        }
                    }
                }
            },
        }
    ]


def test_applying_the_same_again_changes_nothing():
    live = applied(None, deployment())
    assert applied(live, deployment(), now=LATER) is live


def test_what_is_no_longer_applied_goes_away_unless_another_owns_it():
    live = applied(None, config(replicas=2, paused=True, minReadySeconds=1))
    live = applied(live, config(minReadySeconds=1), "other")
    live["spec"]["revisionHistoryLimit"] = 10  # a default: nobody's
    live = applied(live, config(replicas=2), now=LATER)
    assert live["spec"] == {"replicas": 2, "minReadySeconds": 1, "revisionHistoryLimit": 10}
    assert entry(live, "me")["time"] == LATER
    assert entry(live, "other")["time"] == NOW


def test_a_dropped_list_entry_goes_with_its_defaults_but_not_with_what_others_own():
    web, side = {"name": "web", "image": "a"}, {"name": "side", "image": "b"}
    live = applied(None, containers(web, side))
    live["spec"]["template"]["spec"]["containers"][1]["imagePullPolicy"] = "Always"
    assert applied(live, containers(web))["spec"]["template"]["spec"]["containers"] == [web]
    live = applied(live, containers({"name": "side", "tty": True}), "other")
    live = applied(live, containers(web))
    assert live["spec"]["template"]["spec"]["containers"] == [
        web,
        {"name": "side", "tty": True, "imagePullPolicy": "Always"},
    ]


def test_conflicts_name_field_and_manager():
    live = updated(None, deployment(), "kubectl-client-side-apply")
    with pytest.raises(Conflict) as caught:
        applied(live, config(replicas=3))
    assert caught.value.message == (
        'Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using apps/v1: .spec.replicas'
    )
    assert caught.value.causes == (
        (".spec.replicas", "FieldManagerConflict", 'conflict with "kubectl-client-side-apply" using apps/v1'),
    )
    change = containers({"name": "web", "image": "web:2"})
    change["spec"]["replicas"] = 3
    with pytest.raises(Conflict) as caught:
        applied(live, change)
    assert caught.value.message == (
        'Apply failed with 2 conflicts: conflicts with "kubectl-client-side-apply" using apps/v1:\n'
        '- .spec.replicas\n- .spec.template.spec.containers[name="web"].image'
    )


def test_force_takes_the_field_over():
    live = applied(None, config(replicas=2, paused=True), "first")
    live = applied(live, config(replicas=3), "second", force=True)
    assert live["spec"] == {"replicas": 3, "paused": True}
    assert entry(live, "first")["fieldsV1"] == {"f:spec": {"f:paused": {}}}
    assert applied(live, config(paused=True), "first")["spec"]["replicas"] == 3


def test_the_same_value_is_shared():
    live = applied(None, config(replicas=2), "first")
    live = applied(live, config(replicas=2), "second")
    assert entry(live, "first")["fieldsV1"] == entry(live, "second")["fieldsV1"]
    assert applied(live, config(), "first")["spec"] == {"replicas": 2}
    with pytest.raises(Conflict):
        applied(live, config(replicas=4), "second")


def test_an_update_takes_fields_from_appliers():
    live = applied(None, config(replicas=2, paused=True))
    new = copy.deepcopy(live)
    new["spec"] = {"replicas": 5}
    result = updated(live, new, now=LATER)
    assert entry(result, "me") is None
    assert entry(result, "editor", "Update")["fieldsV1"] == {"f:spec": {"f:replicas": {}}}
    assert result["spec"] == {"replicas": 5}


def test_an_update_that_changes_nothing_keeps_owners_and_times():
    live = updated(None, deployment())
    bare = copy.deepcopy(live)
    del bare["metadata"]["managedFields"]
    bare["metadata"]["resourceVersion"] = "7"
    assert updated(live, bare, "other", now=LATER)["metadata"]["managedFields"] == live["metadata"]["managedFields"]


def test_status_and_identity_belong_to_nobody_on_the_main_resource():
    new = deployment()
    new["metadata"].update(uid="u", resourceVersion="3", labels={"a": "b"})
    new["status"] = {"replicas": 1}
    fields = entry(updated(None, new), "editor", "Update")["fieldsV1"]
    assert set(fields) == {"f:metadata", "f:spec"}
    assert fields["f:metadata"] == {"f:labels": {".": {}, "f:a": {}}}
    live = updated(None, deployment())
    status = updated(live, {**live, "status": {"replicas": 1}}, "controller", subresource="status")
    assert entry(status, "controller", "Update")["subresource"] == "status"
    assert entry(status, "controller", "Update")["fieldsV1"] == {"f:status": {"f:replicas": {}}}


def test_an_object_nobody_was_tracked_on():
    with pytest.raises(Conflict, match="before-first-apply"):
        applied(deployment(), config(replicas=9))
    live = applied(deployment(), config(replicas=2))
    assert entry(live, "before-first-apply", "Update")["fieldsV1"]["f:spec"]["f:replicas"] == {}


def test_an_empty_list_of_managers_starts_afresh_and_tracking_can_be_skipped():
    live = applied(None, deployment())
    new = copy.deepcopy(live)
    new["metadata"]["managedFields"] = [{}]
    assert "managedFields" not in updated(live, new)["metadata"]
    changed = copy.deepcopy(live)
    changed["spec"]["replicas"] = 7
    del changed["metadata"]["managedFields"]
    untracked = track_update(live, changed, "x", schema=DEPLOYMENT, now=NOW, track=False)
    assert untracked["metadata"]["managedFields"] == live["metadata"]["managedFields"]


def test_a_json_patch_may_rewrite_the_managers():
    live = updated(None, deployment(), "kubectl-client-side-apply")
    new = copy.deepcopy(live)
    new["metadata"]["managedFields"][0].update(manager="kubectl", operation="Apply")
    result = updated(live, new, "migration")
    assert [e["manager"] for e in result["metadata"]["managedFields"]] == ["kubectl"]


def test_service_ports_are_told_apart_by_port_and_default_protocol():
    def service(*ports):
        return {"metadata": {"name": "dns"}, "spec": {"ports": list(ports)}}

    tcp, udp = {"port": 53, "name": "tcp"}, {"port": 53, "protocol": "UDP", "name": "udp"}
    live = copy.deepcopy(applied(None, service(tcp, udp), schema=SERVICE))
    live["spec"]["ports"][0]["protocol"] = "TCP"
    assert applied(live, service(tcp, udp), schema=SERVICE) is live
    assert [port["name"] for port in applied(live, service(udp), schema=SERVICE)["spec"]["ports"]] == ["udp"]
    with pytest.raises(BadRequest, match=r'\.spec\.ports: duplicate entries for key \[port=53,protocol="TCP"\]'):
        applied(live, service(tcp, {**tcp, "protocol": "TCP"}), schema=SERVICE)


def test_merged_lists_keep_the_applied_order_and_the_place_of_others():
    live = applied(None, containers(*({"name": name} for name in "abc")), "first")
    merged = applied(live, containers({"name": "c"}, {"name": "x"}, {"name": "a"}), "second")
    assert [c["name"] for c in merged["spec"]["template"]["spec"]["containers"]] == ["b", "c", "x", "a"]


def test_many_updaters_are_folded_into_one():
    live = updated(None, deployment())
    for number in range(15):
        new = copy.deepcopy(live)
        new["metadata"].setdefault("annotations", {})[f"a{number}"] = "x"
        live = updated(live, new, f"m{number}", now=f"2026-01-01T00:00:{number:02}Z")
    managers = [e["manager"] for e in live["metadata"]["managedFields"]]
    assert len(managers) == 10
    assert "ancient-changes" in managers


def client_side(**spec):
    """An object as `kubectl apply` leaves it, with its note."""
    tree = config(**spec)
    note = orjson.dumps(tree).decode()
    tree["metadata"] = {"name": "web", "annotations": {LAST_APPLIED: note}}
    return updated(None, tree, "kubectl-client-side-apply")


def test_kubectl_moves_to_server_side_apply_without_conflicts():
    live = client_side(replicas=2, paused=True)
    result = applied(live, config(replicas=3), "kubectl")
    assert result["spec"] == {"replicas": 3, "paused": True}
    note = orjson.loads(result["metadata"]["annotations"][LAST_APPLIED])
    assert note["spec"] == {"replicas": 3}
    assert applied(result, config(replicas=3), "kubectl", now=LATER) is result
    with pytest.raises(Conflict):
        applied(live, config(replicas=3), "other")


def test_kubectl_still_conflicts_over_what_someone_changed_since():
    live = client_side(replicas=2)
    live = updated(live, {**live, "spec": {"replicas": 5}}, "scaler")
    with pytest.raises(Conflict, match="scaler"):
        applied(live, config(replicas=3), "kubectl")


specs = st.fixed_dictionaries(
    {},
    optional={
        "replicas": st.integers(0, 3),
        "paused": st.booleans(),
        "selector": st.fixed_dictionaries(
            {}, optional={"matchLabels": st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy"))}
        ),
        "template": st.fixed_dictionaries(
            {
                "metadata": st.fixed_dictionaries(
                    {}, optional={"labels": st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"), min_size=1)}
                ),
                "spec": st.fixed_dictionaries(
                    {
                        "containers": st.lists(
                            st.fixed_dictionaries(
                                {"name": st.sampled_from("abc")},
                                optional={
                                    "image": st.sampled_from("xy"),
                                    "command": st.lists(st.sampled_from("xy"), max_size=2),
                                    "ports": st.lists(
                                        st.fixed_dictionaries({"containerPort": st.integers(1, 2)}),
                                        unique_by=lambda port: port["containerPort"],
                                        max_size=2,
                                    ),
                                },
                            ),
                            unique_by=lambda container: container["name"],
                            max_size=3,
                        )
                    }
                ),
            }
        ),
    },
)


@given(specs, specs)
def test_law_apply_is_idempotent(first, second):
    live = applied(applied(None, config(**first), "other"), config(**second), force=True)
    assert applied(live, config(**second), now=LATER) is live


@given(specs, specs)
def test_law_forced_apply_leaves_what_was_applied(first, second):
    live = applied(applied(None, config(**first), "other"), config(**second), force=True)
    # Merging the configuration into the result again changes nothing: it is all in there.
    assert applied(live, config(**second), "third") | {"metadata": 0} == live | {"metadata": 0}


@given(specs, specs)
def test_law_a_single_manager_gets_what_it_applied_last(first, second):
    live = applied(applied(None, config(**first)), config(**second))
    assert field_set(DEPLOYMENT.root, live["spec"]) == field_set(DEPLOYMENT.root, config(**second)["spec"])


@given(specs, specs)
def test_law_an_updater_owns_what_it_changed(first, second):
    live = applied(None, config(**first))
    result = updated(live, {**live, "spec": second})
    assert result["spec"] == second
    owners = [set(paths(e["fieldsV1"])) for e in result["metadata"].get("managedFields", ())]
    present = set(paths({"f:spec": field_set(DEPLOYMENT.root.properties["spec"], second, containers=True)}))
    emptied = {"f:spec", "f:metadata", "f:selector", "f:matchLabels", "f:labels"}
    leaves = {path for path in present if not any(other[: len(path)] == path != other for other in present)}
    assert {path for path in leaves if path[-1] not in emptied} <= set().union(*owners)


sets = specs.map(lambda spec: field_set(DEPLOYMENT.root.properties["spec"], spec))


@given(specs)
def test_law_a_new_object_is_owned_as_one_that_grew_from_nothing(spec):
    for schema, tree in ((DEPLOYMENT, config(**spec)), (POD, pod()), (POD, {**pod(), "spec": {}})):
        tree["status"] = {"phase": "Pending"}
        for subresource in ("", "status", "scale"):
            grown = updated({}, tree, schema=schema, subresource=subresource)
            for _ in range(2):  # the second time from what was kept
                assert orjson.dumps(updated(None, tree, schema=schema, subresource=subresource)) == orjson.dumps(grown)


@given(sets, sets)
def test_law_arithmetic_of_sets(left, right):
    ours, theirs = set(paths(left)), set(paths(right))
    assert set(paths(union(left, right))) == ours | theirs
    assert set(paths(difference(left, right))) == ours - theirs
    assert set(paths(intersection(left, right))) == ours & theirs


def test_a_pod_can_be_applied_and_given_back():
    live = applied(None, pod(), schema=POD)
    assert {k: v for k, v in live["metadata"].items() if k != "managedFields"} == pod()["metadata"]
    assert live["spec"] == pod()["spec"]
