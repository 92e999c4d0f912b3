"""Asks the authoriser, and words its refusal as clients know it."""

from __future__ import annotations

from pilothouse.apiserver.chain import Attributes, Authorizer
from pilothouse.apiserver.route import Route
from pilothouse.client.wire import User
from pilothouse.machinery.errors import Forbidden
from pilothouse.machinery.objects import Resource


async def authorise(authorizer: Authorizer, user: User, route: Route, verb: str = "") -> None:
    """Raises Forbidden unless the user may do what the route says (or `verb`, on the same object)."""
    attributes = Attributes(
        user,
        verb or route.verb,
        route.path,
        route.is_resource,
        route.group,
        route.version,
        route.resource,
        route.subresource,
        route.namespace,
        route.name,
    )
    decision = await authorizer.allow(attributes)
    if decision.allowed:
        return
    message = forbidden_message(attributes, decision.reason)
    if route.is_resource:
        raise Forbidden(message, group=route.group, kind=route.resource, name=route.name)
    raise Forbidden(message)


async def may_list(authorizer: Authorizer, resource: Resource, user: User, namespace: str) -> bool:
    """Whether a user may list a resource in a namespace, or in all ("")."""
    group, version, _, plural, _ = resource
    return (await authorizer.allow(Attributes(user, "list", "", True, group, version, plural, "", namespace))).allowed


def forbidden_message(attributes: Attributes, reason: str) -> str:
    """The refusal in upstream's words, with the authoriser's reason at its end."""
    user = attributes.user.name
    if not attributes.is_resource:
        text = f'forbidden: User "{user}" cannot {attributes.verb} path "{attributes.path}"'
    else:
        resource = attributes.resource
        if attributes.subresource:
            resource += f"/{attributes.subresource}"
        text = f'User "{user}" cannot {attributes.verb} resource "{resource}" in API group "{attributes.group}"'
        text += f' in the namespace "{attributes.namespace}"' if attributes.namespace else " at the cluster scope"
        what = f"{attributes.resource}.{attributes.group}" if attributes.group else attributes.resource
        named = f'{what} "{attributes.name}"' if attributes.name else what
        text = f"{named} is forbidden: {text}"
    return f"{text}: {reason}" if reason else text
