"""CEL rules of custom resources: compiled with their definition, run within a budget at every write."""

import asyncio
from typing import Any

import pytest
from custom_things import DEFINITIONS, GROUP, MERGE, call, cron_tab, definition, path, version

from pilothouse.client.client import Client
from pilothouse.machinery.errors import Invalid
from pilothouse.machinery.objects import Obj
from pilothouse.testing.control_plane import ControlPlane


@pytest.fixture
async def client(plane: ControlPlane) -> Client:
    client = plane.client()
    await call(client, "POST", "/api/v1/namespaces", {"metadata": {"name": "ns"}})
    return client


def rule(text: str, **more: Any) -> Obj:
    return {"rule": text, **more}


def ruled(*rules: Obj, at: Obj | None = None, **properties: Any) -> Obj:
    """A definition whose spec has these rules and fields; `at` is more of the schema's root."""
    fields = {
        "cronSpec": {"type": "string"},
        "least": {"type": "integer"},
        "most": {"type": "integer"},
        "text": {"type": "string"},
        **properties,
    }
    spec = {"type": "object", "properties": fields, "x-kubernetes-validations": list(rules)}
    tree = definition(version("v1", storage=True))
    schema = {"type": "object", "properties": {"spec": spec}, **(at or {})}
    tree["spec"]["versions"][0]["schema"] = {"openAPIV3Schema": schema}
    return tree


async def refused(client: Client, tree: Obj, method: str = "POST", url: str = "") -> list[tuple[str, str, str]]:
    with pytest.raises(Invalid) as error:
        await call(client, method, url or path(), tree)
    return [tuple(cause) for cause in error.value.causes]


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        (
            rule("self.least <= self.most"),
            ("spec", "FieldValueInvalid", 'Invalid value: "object": failed rule: self.least <= self.most'),
        ),
        (
            rule("self.least <= self.most", message="least is above most"),
            ("spec", "FieldValueInvalid", 'Invalid value: "object": least is above most'),
        ),
        (
            rule("self.least <= self.most", messageExpression="'%d is above %d'.format([self.least, self.most])"),
            ("spec", "FieldValueInvalid", 'Invalid value: "object": 5 is above 2'),
        ),
        (
            rule("self.least <= self.most", messageExpression="'x' + ['a', 'b'][2]", message="otherwise"),
            ("spec", "FieldValueInvalid", 'Invalid value: "object": otherwise'),
        ),
        (
            rule("self.least <= self.most", reason="FieldValueForbidden", fieldPath=".least", message="no"),
            ("spec.least", "FieldValueForbidden", "Forbidden: no"),
        ),
        (
            rule("self.text == 'x'"),
            (
                "spec",
                "FieldValueInvalid",
                """Invalid value: "object": no such key: text evaluating rule: self.text == 'x'""",
            ),
        ),
    ],
)
async def test_a_rule_that_does_not_hold_refuses(client: Client, given: Obj, cause: tuple[str, str, str]) -> None:
    await call(client, "POST", DEFINITIONS, ruled(given))
    assert await refused(client, cron_tab(least=5, most=2)) == [cause]


async def test_rules_stand_anywhere_and_name_the_place(client: Client) -> None:
    entry = {
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string"}, "port": {"type": "integer"}},
        "x-kubernetes-validations": [rule("self.port > 0", message="no port")],
    }
    keyed = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": entry}
    mapped = {
        "type": "object",
        "additionalProperties": {"type": "string", "x-kubernetes-validations": [rule("self != 'x'")]},
    }
    at = {"x-kubernetes-validations": [rule("self.metadata.name.startsWith('m')", message="not an m")]}
    await call(client, "POST", DEFINITIONS, ruled(at=at, list=keyed, map=mapped))
    found = await refused(
        client, cron_tab("other", list=[{"name": "a", "port": 1}, {"name": "b", "port": 0}], map={"k": "x"})
    )
    assert [(field, message) for field, _, message in found] == [
        ("<nil>", 'Invalid value: "object": not an m'),
        ("spec.list[1]", 'Invalid value: "object": no port'),
        ("spec.map[k]", "Invalid value: \"string\": failed rule: self != 'x'"),
    ]


async def test_rules_about_a_change(client: Client) -> None:
    fixed = rule("self.least == oldSelf.least", message="least stays")
    born = rule("oldSelf.hasValue() || self.most == 9", optionalOldSelf=True, message="is born with nine")
    await call(client, "POST", DEFINITIONS, ruled(fixed, born))
    assert [m for *_, m in await refused(client, cron_tab(least=1, most=2))] == [
        'Invalid value: "object": is born with nine'
    ]
    await call(client, "POST", path(), cron_tab(least=1, most=9))
    await call(client, "PATCH", path(name="mine"), {"spec": {"most": 2}}, type=MERGE)
    with pytest.raises(Invalid, match="least stays"):
        await call(client, "PATCH", path(name="mine"), {"spec": {"least": 2}}, type=MERGE)


async def test_what_has_not_changed_is_not_judged_anew(client: Client) -> None:
    await call(client, "POST", DEFINITIONS, ruled(list={"type": "array", "items": {"type": "string"}}))
    await call(client, "POST", path(), cron_tab(text="old", list=["a", "b"]))
    tree = ruled(list={"type": "array", "items": {"type": "string"}, "maxItems": 1})
    text = tree["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["text"]
    text["maxLength"] = 2
    text["x-kubernetes-validations"] = [rule("self != 'old'")]
    current = await call(client, "GET", f"{DEFINITIONS}/crontabs.{GROUP}")
    await call(
        client, "PUT", f"{DEFINITIONS}/crontabs.{GROUP}", {**current, "spec": {**current["spec"], **tree["spec"]}}
    )
    changed = await call(client, "PATCH", path(name="mine"), {"spec": {"most": 7}}, type=MERGE)
    assert changed["spec"]["text"] == "old"
    with pytest.raises(Invalid, match="Too long"):
        await call(client, "PATCH", path(name="mine"), {"spec": {"text": "older"}}, type=MERGE)
    with pytest.raises(Invalid, match="Too many"):
        await call(client, "PATCH", path(name="mine"), {"spec": {"list": ["a", "c"]}}, type=MERGE)


async def test_rules_wait_until_the_types_are_right(client: Client) -> None:
    await call(client, "POST", DEFINITIONS, ruled(rule("self.least <= self.most")))
    found = await refused(client, cron_tab(least="5", most=2))
    assert [field for field, *_ in found] == ["spec.least", "<nil>"]
    assert "some validation rules were not checked because the object was invalid" in found[1][2]


@pytest.mark.parametrize(
    ("given", "part", "why"),
    [
        (rule("self.nothing > 1"), "rule", "undefined field 'nothing'"),
        (rule("self.least > 'a'"), "rule", "found no matching overload"),
        (rule("self.least +"), "rule", "compilation failed"),
        (rule("self.least"), "rule", "cel expression must evaluate to a bool"),
        (rule(""), "rule", "rule is not specified"),
        (rule("true", messageExpression="1"), "messageExpression", "messageExpression must evaluate to a string"),
        (rule("true", optionalOldSelf=True), "rule", "optionalOldSelf may not be set if oldSelf is not used"),
        (rule("true", fieldPath=".nothing"), "fieldPath", "fieldPath must be a valid path"),
        (rule("true", reason="Because"), "reason", "supported values"),
        (rule("true", message="a\nb"), "message", "message must not contain line breaks"),
        (rule("object.x"), "rule", "undeclared reference to 'object"),
    ],
)
async def test_a_rule_that_is_none_refuses_its_definition(client: Client, given: Obj, part: str, why: str) -> None:
    place = f"spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].{part}"
    ((field, _, message),) = await refused(client, ruled(given), url=DEFINITIONS)
    assert field == place
    assert why in message


async def test_the_entries_of_a_plain_list_have_no_past(client: Client) -> None:
    items = {"type": "string", "maxLength": 10, "x-kubernetes-validations": [rule("self == oldSelf")]}
    ((field, _, message),) = await refused(
        client, ruled(list={"type": "array", "maxItems": 10, "items": items}), url=DEFINITIONS
    )
    assert field.endswith("items.x-kubernetes-validations[0].rule")
    assert "oldSelf cannot be used on the uncorrelatable portion of the schema within" in message


async def test_a_rule_that_costs_too_much_refuses_and_the_server_goes_on(client: Client) -> None:
    # Estimated within the limit of definitions, which is ten times that of what runs.
    dear = rule("self.list.all(a, self.list.all(b, self.list.all(c, a + b + c != 'x')))", message="dear")
    few = {"type": "array", "maxItems": 80, "items": {"type": "string", "maxLength": 3}}
    await call(client, "POST", DEFINITIONS, ruled(dear, list=few))
    lags: list[float] = []

    async def beat() -> None:
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(0.001)
            lags.append(loop.time() - before)

    beating = asyncio.create_task(beat())
    ((field, _, message),) = await refused(client, cron_tab(list=["abc"] * 80))
    beating.cancel()
    assert field == "spec"
    assert "no further validation rules will be run" in message
    # It ran beside the event loop, which had its turns meanwhile.
    assert len(lags) > 5


async def test_dates_quantities_and_numbers_or_texts(client: Client) -> None:
    rules = [
        rule("self.until > timestamp('2026-01-01T00:00:00Z')"),
        rule("quantity(self.size).isLessThan(quantity('2Gi'))"),
        rule("type(self.port) == int ? self.port > 0 : self.port.endsWith('%')"),
    ]
    properties = {
        "until": {"type": "string", "format": "date-time"},
        "size": {"type": "string"},
        "port": {"x-kubernetes-int-or-string": True},
    }
    await call(client, "POST", DEFINITIONS, ruled(*rules, **properties))
    good = {"until": "2026-05-01T00:00:00Z", "size": "1Gi", "port": "5%"}
    await call(client, "POST", path(), cron_tab(**good))
    found = await refused(client, cron_tab("b", until="2025-01-01T00:00:00Z", size="3Gi", port=0))
    assert len(found) == 3


LISTENER = {
    "type": "object",
    "required": ["name", "port", "protocol"],
    "properties": {
        "name": {"type": "string", "maxLength": 253},
        "port": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 65535},
        "protocol": {"type": "string"},
        "hostname": {"type": "string", "maxLength": 253},
        "tls": {"type": "object", "properties": {"mode": {"type": "string", "default": "Terminate"}}},
    },
}
FIELDS: Obj = {
    "listeners": {
        "type": "array",
        "maxItems": 64,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["name"],
        "items": LISTENER,
    },
    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
    "kind": {"type": "string", "default": "Service"},
    "number": {"type": "integer"},
    "redirect": {"type": "object", "properties": {"code": {"type": "integer"}}},
    "lifetime": {"type": "string"},
    "words": {
        "type": "array",
        "maxItems": 20,
        "x-kubernetes-list-type": "set",
        "items": {"type": "string", "maxLength": 63},
    },
}


def listener(name: str, port: int = 80, **more: Any) -> Obj:
    return {"name": name, "port": port, "protocol": "HTTP", **more}


@pytest.mark.parametrize(
    ("text", "good", "bad"),
    [
        (
            "self.listeners.all(l, l.protocol in ['HTTP', 'TCP'] ? !has(l.tls) : true)",
            {"listeners": [listener("a"), listener("b", protocol="HTTPS", tls={})]},
            {"listeners": [listener("a", tls={})]},
        ),
        (
            "self.listeners.all(a, self.listeners.exists_one(b, a.port == b.port && (has(a.hostname) && has(b.hostname)"
            " ? a.hostname == b.hostname : !has(a.hostname) && !has(b.hostname))))",
            {"listeners": [listener("a"), listener("b", hostname="x")]},
            {"listeners": [listener("a"), listener("b")]},
        ),
        ("(self.kind == 'Redirect') == has(self.redirect)", {"kind": "Redirect", "redirect": {}}, {"redirect": {}}),
        ("!(self.kind == 'Service') || has(self.number)", {"number": 1}, {}),
        (
            '!has(self.text) || self.text.matches(r"""^(?:[-A-Za-z0-9/._~!$&\'()*+,;=:@]|[%][0-9a-fA-F]{2})+$""")',
            {"text": "/a%20b"},
            {"text": "/a b"},
        ),
        (
            "self.labels.all(k, k.startsWith('x-') && size(self.labels[k]) > 0)",
            {"labels": {"x-a": "b"}},
            {"labels": {"a": "b"}},
        ),
        ("duration(self.lifetime) > duration('0s')", {"lifetime": "1h30m"}, {"lifetime": "-1s"}),
        ("self.words == ['b', 'a']", {"words": ["a", "b"]}, {"words": ["a"]}),
        ("self.?redirect.?code.orValue(301) in [301, 302]", {}, {"redirect": {"code": 200}}),
        ("isURL(self.text) && url(self.text).getScheme() == 'https'", {"text": "https://a/b"}, {"text": "http://a"}),
        (
            "self.listeners.filter(l, l.port < 1024).size() == 0",
            {"listeners": [listener("a", 8080)]},
            {"listeners": [listener("a")]},
        ),
        ("self.words.exists(w, w == self.kind) || !('x' in self.words)", {"words": ["y"]}, {"words": ["x"]}),
    ],
)
async def test_rules_as_definitions_in_use_have_them(client: Client, text: str, good: Obj, bad: Obj) -> None:
    await call(client, "POST", DEFINITIONS, ruled(rule(text, message="no"), **FIELDS))
    await call(client, "POST", path(), cron_tab(**good))
    found = await refused(client, cron_tab("bad", **bad))
    assert found == [("spec", "FieldValueInvalid", 'Invalid value: "object": no')]


NAMES: Obj = {"type": "array", "items": {"type": "string"}}
BOUNDED: Obj = {"type": "array", "maxItems": 20, "items": {"type": "string", "maxLength": 63}}
UNIQUE = rule("self.names.all(x, self.names.exists_one(y, x == y))")


async def test_a_rule_that_could_be_too_dear_is_refused_with_its_definition(client: Client) -> None:
    (cause, *_) = await refused(client, ruled(UNIQUE, names=NAMES), url=DEFINITIONS)
    place = "spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule"
    assert cause[:2] == (place, "FieldValueForbidden")
    assert "estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule" in cause[2]
    await call(client, "POST", DEFINITIONS, ruled(UNIQUE, names=BOUNDED))


async def test_rules_that_are_too_dear_together_are_refused(client: Client) -> None:
    # 8.4 million each, for a text as long as a request; twelve are over a hundred.
    many = [rule(f"self.text.matches('{'a' * 103}{n:02}')") for n in range(12)]
    causes = await refused(client, ruled(*many, cronSpec={"type": "string"}), url=DEFINITIONS)
    assert [cause[1] for cause in causes] == ["FieldValueForbidden"] * 5
    assert all("contributed to estimated rule cost total" in cause[2] for cause in causes[:4])
    assert causes[4][0] == "spec.versions[0].schema.openAPIV3Schema"
    assert "estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of 1.0" in causes[4][2]


async def test_how_often_a_rule_runs_counts(client: Client) -> None:
    entry = {"type": "object", "properties": {"a": {"type": "string"}}}
    entry["x-kubernetes-validations"] = [rule("self.a.contains('abcdefghijkl')")]
    (cause, *_) = await refused(client, ruled(many={"type": "array", "items": entry}), url=DEFINITIONS)
    assert "properties[many].items.x-kubernetes-validations[0].rule" in cause[0]
    await call(client, "POST", DEFINITIONS, ruled(many={"type": "array", "maxItems": 10, "items": entry}))
