"""The functions expressions may call: CEL's own, and Kubernetes' libraries. Importing this declares them all."""

from pilothouse.policy.cel.library import (
    authorizer,
    conversions,
    formats,
    lists,
    network,
    operators,
    optionals,
    quantity,
    regex,
    semver,
    strings,
    text_format,
    times,
    urls,
)

__all__ = [
    "authorizer",
    "conversions",
    "formats",
    "lists",
    "network",
    "operators",
    "optionals",
    "quantity",
    "regex",
    "semver",
    "strings",
    "text_format",
    "times",
    "urls",
]
