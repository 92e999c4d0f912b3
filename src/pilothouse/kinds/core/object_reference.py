"""ObjectReference: how an object names another one."""

from __future__ import annotations

from pilothouse.kinds.view import View


class ObjectReference(View):
    api_version: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""
    resource_version: str = ""
    field_path: str = ""
