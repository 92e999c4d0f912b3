"""The types of `guard.pilothouse.dev/v1alpha1`, written as the packaged schemas are."""

from __future__ import annotations

from typing import Any, Final

_PREFIX: Final = "dev.pilothouse.guard.v1alpha1."
_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1."
_TEXT = {"type": "string"}


def _text(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def _texts(description: str) -> dict[str, Any]:
    return {"type": "array", "items": _TEXT, "x-kubernetes-list-type": "set", "description": description}


def _ref(name: str, description: str = "") -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}", "description": description}


def _object(description: str, properties: dict[str, Any], *required: str) -> dict[str, Any]:
    found: dict[str, Any] = {"description": description, "type": "object", "properties": properties}
    return {**found, "required": list(required)} if required else found


def _kind(name: str, description: str, spec: str, *required: str) -> dict[str, dict[str, Any]]:
    head = {
        "apiVersion": _text("The versioned schema of this representation of an object."),
        "kind": _text("The REST resource this object represents."),
    }
    one = _object(
        description,
        {
            **head,
            "metadata": _ref(_META + "ObjectMeta", "Standard object's metadata."),
            "spec": _ref(f"{_PREFIX}{spec}Spec", "What is meant."),
            "status": _ref(f"{_PREFIX}{spec}Status", "What is known of it."),
        },
        *required,
    )
    many = _object(
        f"{name}List is a list of {name}.",
        {
            **head,
            "metadata": _ref(_META + "ListMeta", "Standard list metadata."),
            "items": {"type": "array", "items": _ref(_PREFIX + name), "description": "The objects."},
        },
        "items",
    )
    for tree, kind in ((one, name), (many, f"{name}List")):
        tree["x-kubernetes-group-version-kind"] = [
            {"group": "guard.pilothouse.dev", "version": "v1alpha1", "kind": kind}
        ]
    return {_PREFIX + name: one, f"{_PREFIX}{name}List": many}


GUARD_DEFINITIONS: Final[dict[str, dict[str, Any]]] = {
    **_kind("Exemption", "Exemption is a deviation from a rule, asked for by one and granted by another.", "Exemption"),
    f"{_PREFIX}ExemptionSpec": _object(
        "ExemptionSpec says what is accepted, why, who answers for it and until when.",
        {
            "rules": _texts("Ids of the rules it is about; * for all."),
            "selector": _ref(_META + "LabelSelector", "Of which objects; of all when it is not given."),
            "kinds": _texts("Of objects of these kinds; of all when none is given."),
            "names": _texts("Of objects of these names, patterns as of a shell."),
            "reason": _text("Why it is accepted."),
            "owner": _text("Who answers for it."),
            "expires": _text("When it ends: a time within a year, such as 2027-03-31T00:00:00Z."),
            "requestedBy": _text("Who asked; written by the server."),
        },
    ),
    f"{_PREFIX}ExemptionStatus": _object(
        "ExemptionStatus says what was decided and how much it is used.",
        {
            "approval": _text("Approved or Denied, by somebody who did not ask; empty until decided."),
            "decidedBy": _text("Who decided; written by the server."),
            "decidedAt": _text("When it was decided."),
            "used": {"type": "integer", "format": "int64", "description": "How many findings it accepts now."},
            "lastUsed": _text("When it was last seen to accept one."),
        },
    ),
    **_kind("Finding", "Finding is one thing that is wrong, who owns it and since when.", "Finding"),
    f"{_PREFIX}FindingSpec": _object(
        "FindingSpec says what is wrong, where, why it matters and how it is mended.",
        {
            "rule": _text("The rule's id."),
            "title": _text("The rule in a few words."),
            "severity": _text("critical, high, medium or low."),
            "risk": {
                "type": "integer",
                "format": "int32",
                "description": "How pressing it is, higher is more; its digits are known to be exploited, likelihood,"
                " exposure and severity.",
            },
            "category": _text("security, reliability, efficiency or hygiene."),
            "source": _text("The part of the guard that found it."),
            "subject": _ref(_PREFIX + "FindingSubject", "The object it is about."),
            "container": _text("The container concerned."),
            "field": _text("Path from the subject's root to the field concerned."),
            "message": _text("What is wrong."),
            "evidence": {
                "type": "object",
                "additionalProperties": _TEXT,
                "description": "What the finding rests on, by name.",
            },
            "why": _text("Why it matters."),
            "remedy": _text("The YAML that mends it."),
            "standards": _text("The standards that ask for it."),
        },
    ),
    f"{_PREFIX}FindingSubject": _object(
        "FindingSubject names the object a finding is about.",
        {key: _text(f"Its {key}.") for key in ("apiVersion", "kind", "namespace", "name")},
    ),
    f"{_PREFIX}FindingStatus": _object(
        "FindingStatus says who owns a finding and what became of it.",
        {
            "state": _text("open, accepted (by an exemption, or silenced by VEX) or resolved."),
            "owner": _text("Who is to mend it; empty when nobody owns the object."),
            "firstSeen": _text("When it was first seen."),
            "lastSeen": _text("When it was last seen."),
            "resolvedAt": _text("When it was seen to be gone."),
            "newBecause": _text("ObjectChanged, RuleChanged or DataChanged: what changed when it appeared."),
            "exemption": _text("The exemption that accepts it, as namespace/name."),
        },
    ),
}
"""By name."""
