"""get and list of ComponentStatuses: whether the store, the scheduler and the controllers work."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import orjson

from pilothouse.apiserver import refusals
from pilothouse.apiserver.accept import object_form
from pilothouse.apiserver.call import JSON_HEADERS
from pilothouse.apiserver.forms import Renderer
from pilothouse.apiserver.route import Route
from pilothouse.client.wire import Request, Response
from pilothouse.kinds.core.component_status import KIND
from pilothouse.machinery.objects import Obj
from pilothouse.machinery.selector_text import parse_field_selector, parse_label_selector
from pilothouse.machinery.selectors import EVERYTHING

Probe = Callable[[], str]
"""Says what is wrong with a part, "" when nothing is."""


class ComponentStatuses:
    """`probes` by the name of the part."""

    def __init__(self, probes: Mapping[str, Probe]) -> None:
        self._probes = probes

    def serves(self, route: Route) -> bool:
        """Whether the route is of this resource."""
        own = KIND.resource
        return (route.group, route.version, route.resource) == (own.group, own.version, own.plural)

    def answer(self, request: Request, route: Route) -> Response:
        """Raises NotFound, MethodNotAllowed, BadRequest."""
        if route.subresource or route.namespace:
            raise refusals.no_such_path()
        params = dict(reversed(request.query))
        form = object_form(request.headers.get("accept", ""))
        renderer = Renderer(KIND, form, params.get("includeObject", ""))
        headers = {**JSON_HEADERS, "warning": f'299 - "{KIND.warning}"'}
        if route.verb == "get":
            if route.name not in self._probes:
                raise refusals.not_found(KIND.resource, route.name)
            return Response(200, headers, renderer.single(orjson.dumps(self._status(route.name))))
        if route.verb != "list":
            raise refusals.method_not_allowed()
        text = params.get("labelSelector", "")
        labels = parse_label_selector(text) if text else EVERYTHING
        fields = parse_field_selector(params.get("fieldSelector", ""))
        names = [name for name in self._probes if labels.matches({}) and fields.matches({"metadata.name": name})]
        rows = b",".join(renderer.item(orjson.dumps(self._status(name))) for name in names)
        return Response(200, headers, renderer.list_head({}) + rows + b"]}")

    def _status(self, name: str) -> Obj:
        problem = self._probes[name]()
        condition: Obj = {"type": "Healthy", "status": "False" if problem else "True"}
        condition["error" if problem else "message"] = problem or "ok"
        meta = {"name": name, "creationTimestamp": None}
        return {"kind": "ComponentStatus", "apiVersion": "v1", "metadata": meta, "conditions": [condition]}
