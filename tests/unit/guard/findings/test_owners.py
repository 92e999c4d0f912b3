"""Who owns what."""

import pytest

from pilothouse.guard.finding import Ref
from pilothouse.guard.findings.owners import BadMapping, Known, owner_of, parse_mapping

APP = Ref("apps/v1", "Deployment", "shop", "app")
POD = Ref("v1", "Pod", "shop", "app-1")
SHOP = Ref("v1", "Namespace", "", "shop")


def known(**of: Known) -> dict[Ref, Known]:
    return {{"app": APP, "pod": POD, "shop": SHOP}[name]: value for name, value in of.items()}


def says(owner: str, *owners: Ref) -> Known:
    return Known({"team": owner} if owner else {}, {}, owners)


def test_the_objects_own_word_beats_its_owners_and_its_namespaces() -> None:
    world = known(pod=says("pods", APP), app=says("apps"), shop=says("shops"))
    assert owner_of(POD, world.get) == "pods"
    assert owner_of(POD, {**world, POD: says("", APP)}.get) == "apps"
    assert owner_of(POD, {SHOP: says("shops")}.get) == "shops"
    assert owner_of(POD, {}.get) == ""


def test_owners_that_own_each_other_are_no_trouble() -> None:
    world = known(pod=says("", APP), app=says("", POD, APP))
    assert owner_of(POD, world.get) == ""
    assert owner_of(APP, {**world, POD: says("pods", APP)}.get) == "pods"


def test_a_mapping_stands_between_object_and_namespace() -> None:
    mapping = parse_mapping("- {namespace: sh*, kind: Deployment, owner: mapped}\n", "owners.yaml")
    world = known(app=says(""), shop=says("shops"))
    assert owner_of(APP, world.get, mapping) == "mapped"
    assert owner_of(POD, world.get, mapping) == "shops"
    assert owner_of(APP, {APP: says("own")}.get, mapping) == "own"


def test_a_mapping_may_select_by_labels() -> None:
    mapping = parse_mapping("- selector: tier in (web)\n  owner: web\n", "owners.yaml")
    assert owner_of(APP, {APP: Known({"tier": "web"}, {})}.get, mapping) == "web"
    assert owner_of(APP, {APP: Known({"tier": "db"}, {})}.get, mapping) == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- {namespace: shop, owner: a}\n- {namespace: b}\n", "owners.yaml:2: the entry names no owner"),
        ("- owner: a\n  namspace: b\n", "owners.yaml:2: there is no 'namspace'"),
        ("- owner: a\n- owner: [b]\n", "owners.yaml:2: owner must be text"),
        ("owner: a\n", "owners.yaml:1: a list of entries is expected"),
        ("- owner: a\n- b\n", "owners.yaml:2: an entry is a mapping"),
        ("- owner: a\n- {owner: b\n", "owners.yaml:3: not YAML"),
        ("- owner: a\n  selector: 'a in b'\n", "owners.yaml:1: selector: "),
    ],
)
def test_a_mapping_with_a_mistake_names_the_line(text: str, said: str) -> None:
    with pytest.raises(BadMapping, match="^" + said.replace(":", ".").replace("'", ".")):
        parse_mapping(text, "owners.yaml")


def test_an_empty_mapping_maps_nothing() -> None:
    assert parse_mapping("", "owners.yaml") == []
