"""Checks that look at a pod's spec alone, and at no image: their verdict is remembered for all pods that differ in
nothing else. Pure.

Overlays, tenants and replicas of an application are one pod with other images, names and namespaces. That a policy
names none of these is read from its text; a property test holds that its verdicts do not rest on them.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

import orjson

from pilothouse.guard.podspec import CONTAINER_FIELDS, pod_spec
from pilothouse.machinery.objects import Obj
from pilothouse.policy.evaluate import Essence
from pilothouse.policy.load import Policy

_POD: Final = (
    "object.kind == 'Pod' ? object.spec : object.kind == 'CronJob' ? object.spec.jobTemplate.spec.template.spec : "
    "object.kind == 'PodTemplate' ? object.template.spec : object.spec.template.spec"
)
_ELSEWHERE: Final = re.compile(r"\b(?:image|params|oldObject|namespaceObject)\b|\bobject\b(?!\s*\.\s*kind\b)")


def _is_blind(policy: Policy) -> bool:
    """Whether a policy reads a pod's spec and an object's kind, and names no image."""
    variables = {variable.name: variable.expression for variable in policy.variables}
    if policy.param_kind or _plain(variables.get("pod", "")) != _POD:
        return False
    texts = [text for name, text in variables.items() if name not in ("pod", "podPath")]
    texts += [entry.expression for entry in (*policy.conditions, *policy.audit)]
    texts += [text for rule in policy.validations for text in (rule.expression, rule.message_expression)]
    return not any(_ELSEWHERE.search(_plain(text).replace(_POD, "")) for text in texts)


def _essence(tree: Obj) -> bytes | None:
    """The digest of what such policies read of an object; None for what runs no pods."""
    pod = pod_spec(tree)
    if pod is None:
        return None
    spec = dict(pod.spec)
    for field in CONTAINER_FIELDS:
        if isinstance(entries := spec.get(field), list):
            spec[field] = [_without_image(entry) for entry in entries]
    try:
        text = orjson.dumps((tree["kind"], spec), option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        return None  # a number that JSON has not
    return hashlib.blake2b(text, digest_size=16).digest()


def _without_image(container: object) -> object:
    return {**container, "image": ""} if isinstance(container, dict) and "image" in container else container


def _plain(text: str) -> str:
    return " ".join(text.split())


BLIND: Final = Essence(_is_blind, _essence)
