"""Create-only resources, such as access reviews: answered, never stored."""

from __future__ import annotations

import orjson

from pilothouse.apiserver import refusals
from pilothouse.apiserver.accept import WHOLE, object_form
from pilothouse.apiserver.body import check_type, read_shape
from pilothouse.apiserver.call import JSON_HEADERS
from pilothouse.apiserver.chain import ReviewRequest, ReviewResource
from pilothouse.apiserver.route import Route
from pilothouse.client.wire import Request, Response, User
from pilothouse.machinery.errors import NotAcceptable


async def answer_review(review: ReviewResource, request: Request, route: Route, user: User) -> Response:
    """The posted object with its status. Raises BadRequest, MethodNotAllowed, NotAcceptable (there is no table)."""
    if object_form(request.headers.get("accept", "")) != WHOLE:
        raise NotAcceptable("this kind has no other form than its own: accept application/json")
    resource = review.resource
    if route.verb != "create" or route.subresource:
        raise refusals.method_not_allowed()
    tree = read_shape(request, resource)
    check_type(tree, resource)
    answer = await review.answer(ReviewRequest(user, resource, route.namespace, tree))
    answer = {"kind": resource.kind, "apiVersion": resource.api_version, **answer}
    return Response(201, dict(JSON_HEADERS), orjson.dumps(answer))
