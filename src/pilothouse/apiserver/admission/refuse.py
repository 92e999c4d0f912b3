"""The 403 of an admission step, in upstream's form."""

from __future__ import annotations

from collections.abc import Sequence

from pilothouse.apiserver import refusals
from pilothouse.apiserver.chain import AdmissionRequest
from pilothouse.machinery.errors import Cause, Forbidden


def forbidden(request: AdmissionRequest, why: str, causes: Sequence[Cause] = ()) -> Forbidden:
    """`pods "web" is forbidden: why`."""
    resource = request.resource
    return Forbidden(
        f'{refusals.qualified(resource)} "{request.name}" is forbidden: {why}',
        group=resource.group,
        kind=resource.plural,
        name=request.name,
        causes=causes,
    )
