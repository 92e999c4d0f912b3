"""Which of a service's endpoints a node prefers, by their hints. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from pilothouse.kinds.discovery.endpoint_slice import Endpoint


def hinted(endpoints: Iterable[Endpoint], node_name: str, zone: str) -> list[Endpoint] | None:
    """Those meant for this node or, failing that, for its zone; None where the hints do not decide.

    Hints count only if every endpoint has them: a service whose slices are being rewritten must not lose its others.
    Source: Kubernetes' virtual IP reference ("Traffic distribution", KEP-3015, KEP-2433).
    """
    found = list(endpoints)
    hints = [endpoint.hints for endpoint in found if endpoint.hints is not None]
    if len(hints) < len(found):
        return None
    if all(hint.for_nodes for hint in hints):
        own = [e for e, hint in zip(found, hints) if any(node.name == node_name for node in hint.for_nodes)]
        if own:
            return own
    if all(hint.for_zones for hint in hints):
        near = [e for e, hint in zip(found, hints) if any(place.name == zone for place in hint.for_zones)]
        if near:
            return near
    return None
