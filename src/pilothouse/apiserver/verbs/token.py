"""serviceaccounts/token: a bound, expiring token, made by the issuer the server was handed."""

from __future__ import annotations

import orjson

from pilothouse.apiserver import codec, refusals
from pilothouse.apiserver.body import read_object
from pilothouse.apiserver.call import JSON_HEADERS, Backend, Call
from pilothouse.apiserver.chain import AdmissionRequest
from pilothouse.client.wire import Response
from pilothouse.machinery.errors import ServiceUnavailable
from pilothouse.machinery.objects import Resource

TOKEN_REQUEST = Resource("authentication.k8s.io", "v1", "TokenRequest", "tokenrequests", True)


async def create_token(backend: Backend, call: Call) -> Response:
    request = read_object(call, TOKEN_REQUEST)
    record = backend.store.get(call.key)
    if record is None:
        raise refusals.not_found(call.resource, call.route.name)
    issuer = backend.chain.token_issuer
    if issuer is None:
        raise ServiceUnavailable("this server has no key to sign tokens with")
    await backend.chain.admission.admit(
        AdmissionRequest(
            user=call.user,
            operation="CREATE",
            resource=call.resource,
            namespace=call.namespace,
            name=call.route.name,
            subresource="token",
            object=request,
            warnings=call.warnings,
            annotations=call.annotations,
        )
    )
    answer = await issuer.issue(codec.decode(record.value), request, call.user)
    answer = {"kind": TOKEN_REQUEST.kind, "apiVersion": TOKEN_REQUEST.api_version, **answer}
    return Response(201, dict(JSON_HEADERS), orjson.dumps(answer))
