"""update: replaces an object (or what a subresource covers of it), on condition of the resourceVersion it names."""

from __future__ import annotations

from pilothouse.apiserver import codec
from pilothouse.apiserver.body import read_object
from pilothouse.apiserver.call import Backend, Call, Verb
from pilothouse.apiserver.change import MAIN, Aspect, change
from pilothouse.apiserver.ownership import updating
from pilothouse.apiserver.verbs.reply import reply
from pilothouse.client.wire import Response
from pilothouse.machinery.objects import Obj


async def update(backend: Backend, call: Call) -> Response:
    return await update_aspect(backend, call, MAIN)


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
