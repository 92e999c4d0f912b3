"""Create-only resources, such as access reviews: answered, never stored."""

from __future__ import annotations

import orjson

from pilothouse.apiserver import refusals
from pilothouse.apiserver.body import as_object, check_type, decode_body, schema_of
from pilothouse.apiserver.call import JSON_HEADERS
from pilothouse.apiserver.chain import ReviewRequest, ReviewResource
from pilothouse.apiserver.route import Route
from pilothouse.client.wire import Request, Response, User
from pilothouse.machinery.schema import GroupVersionKind
from pilothouse.machinery.structural import examine, type_error


async def answer_review(review: ReviewResource, request: Request, route: Route, user: User) -> Response:
    """The posted object with its status. Raises BadRequest, MethodNotAllowed."""
    resource = review.resource
    if route.verb != "create" or route.subresource:
        raise refusals.method_not_allowed()
    decoded = decode_body(request.body, request.headers.get("content-type", ""), duplicates=False)
    tree = as_object(decoded.value)
    check_type(tree, resource)
    schema = schema_of(resource)
    if schema is not None:
        examination = examine(schema, tree)
        if examination.causes:
            gvk = GroupVersionKind(resource.group, resource.version, resource.kind)
            raise type_error(gvk, examination.causes)
        tree = examination.tree
    answer = await review.answer(ReviewRequest(user, resource, route.namespace, tree))
    answer = {"kind": resource.kind, "apiVersion": resource.api_version, **answer}
    return Response(201, dict(JSON_HEADERS), orjson.dumps(answer))
