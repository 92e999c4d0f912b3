"""update: replaces an object (or what a subresource covers of it), on condition of the resourceVersion it names."""

from __future__ import annotations

from pilothouse.apiserver import codec
from pilothouse.apiserver.authorise import authorise
from pilothouse.apiserver.body import read_object
from pilothouse.apiserver.call import Backend, Call, Verb
from pilothouse.apiserver.change import MAIN, Aspect, change
from pilothouse.apiserver.ownership import updating
from pilothouse.apiserver.verbs.create import create_object
from pilothouse.apiserver.verbs.reply import reply
from pilothouse.client.wire import Response
from pilothouse.machinery.errors import AlreadyExists, BadRequest
from pilothouse.machinery.objects import Obj


async def update(backend: Backend, call: Call) -> Response:
    if call.kind.create_on_update and backend.store.get(call.key) is None:
        try:
            return await _create(backend, call)
        except AlreadyExists:
            pass  # somebody else was first
    return await update_aspect(backend, call, MAIN)


async def _create(backend: Backend, call: Call) -> Response:
    """Of a few kinds an update makes the object that is not there, for who may create it."""
    await authorise(backend.chain.authorizer, call.user, call.route, "create")
    obj = read_object(call)
    meta = obj.setdefault("metadata", {})
    if meta.setdefault("name", call.route.name) != call.route.name:
        raise BadRequest(
            f"the name of the object ({meta['name']}) does not match the name on the URL ({call.route.name})"
        )
    return reply(call, await create_object(backend, call, obj, updating(call)), 201)


def update_of(aspect: Aspect) -> Verb:
    """The update verb of a subresource."""

    async def update_subresource(backend: Backend, call: Call) -> Response:
        return await update_aspect(backend, call, aspect)

    return update_subresource


async def update_aspect(backend: Backend, call: Call, aspect: Aspect) -> Response:
    """Puts the body in place of what the aspect covers."""
    source = codec.dump(read_object(call))

    def make(current: Obj) -> Obj:
        # Decoded anew at every try: preparing an object changes it.
        return codec.decode(source)

    return reply(call, await change(backend, call, aspect, make, updating(call, aspect.subresource)))
