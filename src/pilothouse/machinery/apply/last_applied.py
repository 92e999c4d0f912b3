"""Moving from client-side to server-side apply without conflicts, for `kubectl apply --server-side`.

Client-side apply keeps what it applied in an annotation. Fields that still have the value noted there are kubectl's
own, so its server-side apply may take them from whoever is recorded as their manager; and while the annotation
exists it is kept in step, so that going back is possible. Both only for the manager `kubectl`, as upstream does.
"""

from __future__ import annotations

from typing import Final

import orjson

from pilothouse.machinery.apply.fields import FieldSet, difference, field_set, without
from pilothouse.machinery.apply.merge import compare
from pilothouse.machinery.names import ANNOTATIONS_MAX_BYTES
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.schema import Schema

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
KUBECTL: Final = "kubectl"


def fields_still_as_applied(live: Obj, schema: Schema) -> FieldSet:
    """The fields whose live value is the one client-side apply noted; empty without a (readable) note."""
    noted = _annotation(live)
    if not noted:
        return {}
    try:
        last = orjson.loads(noted)
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(last, dict):
        return {}
    changes = compare(schema.root, last, live)
    return without(difference(field_set(schema.root, last), changes.changed), changes.removed)


def with_note(obj: Obj, applied: Obj) -> Obj:
    """The object with its note of what was applied renewed, if it has one; the same object if nothing is new.

    A note that does not fit any more is taken away. Ownership of the note stays where it is.
    """
    before = _annotation(obj)
    if not before:
        return obj
    metadata = dict(applied.get("metadata") or {})
    metadata["annotations"] = {
        name: value for name, value in (metadata.get("annotations") or {}).items() if name != LAST_APPLIED
    }
    note = orjson.dumps({**applied, "metadata": metadata}, option=orjson.OPT_SORT_KEYS).decode() + "\n"
    if note == before:
        return obj
    annotations = {**obj["metadata"]["annotations"], LAST_APPLIED: note}
    if sum(len(name.encode()) + len(value.encode()) for name, value in annotations.items()) > ANNOTATIONS_MAX_BYTES:
        del annotations[LAST_APPLIED]
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}


def _annotation(obj: Obj) -> str:
    value = ((obj.get("metadata") or {}).get("annotations") or {}).get(LAST_APPLIED)
    return value if isinstance(value, str) else ""
