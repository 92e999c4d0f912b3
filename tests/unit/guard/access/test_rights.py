"""Rights: the answers are the authoriser's, on any roles and bindings."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilothouse.apiserver.authorization.index import RbacIndex
from pilothouse.apiserver.authorization.rbac import RbacAuthorizer
from pilothouse.apiserver.chain import Attributes
from pilothouse.client.wire import User
from pilothouse.guard.access.rights import Asked, Rights, Subject, groups_of, parse_subject, rights_of
from pilothouse.kinds.rbac.role import ClusterRole, Role
from pilothouse.kinds.rbac.role_binding import ClusterRoleBinding, RoleBinding
from pilothouse.kinds.view import from_tree
from pilothouse.machinery.objects import Obj
from pilothouse.store.memory import MemoryStore

RBAC = "rbac.authorization.k8s.io"
NAMES, SPACES = ("x", "y"), ("a", "b")
KINDS: tuple[tuple[type[Any], bool], ...] = (
    (ClusterRole, False),
    (Role, True),
    (ClusterRoleBinding, False),
    (RoleBinding, True),
)


def subset(values: tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True)


RESOURCE_RULES = st.fixed_dictionaries(
    {
        "verbs": subset(("get", "create", "*")),
        "apiGroups": subset(("", "apps", "*")),
        "resources": subset(("pods", "secrets", "pods/exec", "*/exec", "*")),
    },
    optional={"resourceNames": subset(NAMES)},
)
URL_RULES = st.fixed_dictionaries(
    {"verbs": subset(("get", "*")), "nonResourceURLs": subset(("/metrics", "/api/*", "*"))}
)
RULES = st.lists(RESOURCE_RULES | URL_RULES, max_size=2)
SUBJECTS = st.sampled_from(
    [
        {"kind": "User", "name": "x", "apiGroup": RBAC},
        {"kind": "Group", "name": "system:authenticated", "apiGroup": RBAC},
        {"kind": "Group", "name": "system:serviceaccounts:a", "apiGroup": RBAC},
        {"kind": "ServiceAccount", "name": "x", "namespace": "a"},
        {"kind": "ServiceAccount", "name": "y", "namespace": "b"},
    ]
)
WHO = (Subject("User", "x"), parse_subject("sa:a/x"), parse_subject("sa:b/y"))


@st.composite
def worlds(draw: st.DrawFn) -> list[Obj]:
    """Roles and bindings, some of roles that do not exist, some gathering one another."""
    found: dict[tuple[str, str, str], Obj] = {}
    for _ in range(draw(st.integers(1, 8))):
        view, namespaced = draw(st.sampled_from(KINDS))
        space = draw(st.sampled_from(SPACES)) if namespaced else ""
        kind, name = view.resource.kind, draw(st.sampled_from(NAMES))
        meta: Obj = {"name": name, **({"namespace": space} if space else {})}
        tree: Obj = {"kind": kind, "apiVersion": f"{RBAC}/v1", "metadata": meta}
        if kind.endswith("Binding"):
            of = draw(st.sampled_from(["Role", "ClusterRole"])) if namespaced else "ClusterRole"
            tree["roleRef"] = {"apiGroup": RBAC, "kind": of, "name": draw(st.sampled_from(NAMES))}
            tree["subjects"] = draw(st.lists(SUBJECTS, max_size=2))
        else:
            tree["rules"] = draw(RULES)
            if kind == "ClusterRole":
                meta["labels"] = {"gather": draw(st.sampled_from(NAMES))}
                if draw(st.booleans()):
                    selector = {"matchLabels": {"gather": draw(st.sampled_from(NAMES))}}
                    tree["aggregationRule"] = {"clusterRoleSelectors": [selector]}
        found[kind, space, name] = tree
    return list(found.values())


QUESTIONS = st.builds(
    Asked,
    verb=st.sampled_from(["get", "create", "delete"]),
    group=st.sampled_from(["", "apps", "batch"]),
    resource=st.sampled_from(["pods", "secrets"]),
    subresource=st.sampled_from(["", "exec", "log"]),
    namespace=st.sampled_from(["", "a", "b"]),
    name=st.sampled_from(["", "x", "z"]),
) | st.builds(Asked, verb=st.sampled_from(["get", "post"]), path=st.sampled_from(["/metrics", "/api/v1", "/"]))


def rights(trees: list[Obj]) -> Rights:
    views = [[from_tree(view, tree) for tree in trees if tree["kind"] == view.resource.kind] for view, _ in KINDS]
    return rights_of(*views)


async def authoriser(trees: list[Obj]) -> RbacAuthorizer:
    store = MemoryStore()
    plurals = {view.resource.kind: view.resource.plural for view, _ in KINDS}
    for tree in trees:
        meta = tree["metadata"]
        place = f"{meta['namespace']}/{meta['name']}" if "namespace" in meta else meta["name"]
        await store.create(f"{RBAC}/{plurals[tree['kind']]}/{place}", orjson.dumps(tree))
    return RbacAuthorizer(RbacIndex(store))


@settings(max_examples=200, deadline=None)
@given(worlds(), st.lists(QUESTIONS, min_size=1, max_size=6))
def test_answers_are_the_authorisers(trees: list[Obj], questions: list[Asked]) -> None:
    async def compare() -> None:
        mine, theirs = rights(trees), await authoriser(trees)
        for asked in questions:
            allowed = set()
            for who in WHO:
                groups = groups_of(who)
                attributes = Attributes(
                    User(who.name, groups), asked.verb, asked.path, not asked.path, asked.group, "v1",
                    asked.resource, asked.subresource, asked.namespace, asked.name,
                )  # fmt: skip
                decision = await theirs.allow(attributes)
                assert (mine.allowing(who, groups, asked) is not None) == decision.allowed
                allowed |= {who} if decision.allowed else set()
            granted = {grant.subject for grant in mine.who_can(asked)}
            named = {who for who in WHO if granted & {who, *(Subject("Group", group) for group in groups_of(who))}}
            assert named == allowed

    asyncio.run(compare())


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("sa:shop/app", "ServiceAccount shop/app"),
        ("serviceaccount:shop:app", "ServiceAccount shop/app"),
        ("system:serviceaccount:shop:app", "ServiceAccount shop/app"),
        ("group:ops", "Group ops"),
        ("user:ann", "User ann"),
        ("ann", "User ann"),
        ("system:admin", "User system:admin"),
    ],
)
def test_subjects_as_they_are_written(text: str, subject: str) -> None:
    assert str(parse_subject(text)) == subject


def test_a_service_account_needs_its_namespace() -> None:
    with pytest.raises(ValueError, match="sa:NAMESPACE/NAME"):
        parse_subject("sa:app")
