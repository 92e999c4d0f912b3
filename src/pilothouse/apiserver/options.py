"""Options of a write that mean nothing, or may not stand together: refused before anything is done. Pure.

Source: the validation of CreateOptions, UpdateOptions and PatchOptions in Kubernetes' apimachinery.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pilothouse.kinds.problems import Problems, invalid_error
from pilothouse.machinery.objects import Resource

APPLY: Final = frozenset({"application/apply-patch+yaml", "application/apply-patch+json"})
"""The media types of server-side apply."""
KINDS: Final = {
    verb: Resource("meta.k8s.io", "v1", f"{verb.capitalize()}Options", "", False)
    for verb in ("create", "update", "patch", "delete")
}
_LONGEST_MANAGER: Final = 128
_VALIDATIONS: Final = ("Ignore", "Strict", "Warn")


def check_options(verb: str, params: Mapping[str, str], media_type: str) -> None:
    """Looks at the options of a write (a patch of that media type). Raises Invalid."""
    problems = Problems()
    manager = params.get("fieldManager", "")
    if verb == "patch":
        if media_type in APPLY:
            if not manager:
                problems.required("fieldManager", "is required for apply patch")
        elif "force" in params:
            problems.forbidden("force", "may not be specified for non-apply patch")
    if len(manager.encode()) > _LONGEST_MANAGER:
        problems.too_long("fieldManager", _LONGEST_MANAGER)
    for position, sign in enumerate(manager):
        if not sign.isprintable():
            problems.invalid("fieldManager", manager, f"invalid character U+{ord(sign):04X} (at position {position})")
    if params.get("dryRun") not in (None, "All"):
        problems.unsupported("dryRun", params["dryRun"], ("All",))
    if params.get("fieldValidation"):
        problems.one_of("fieldValidation", params["fieldValidation"], _VALIDATIONS)
    if problems:
        raise invalid_error(KINDS[verb], "", problems)
