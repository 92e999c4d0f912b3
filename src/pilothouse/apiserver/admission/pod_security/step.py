"""Applies the Pod Security Standards: pods are refused below the namespace's enforced level, workloads are warned.

Source: Kubernetes documentation, "Pod Security Admission". The default here is baseline enforced and restricted warned
of, in every namespace but kube-system; labels change it. What is audited goes into the audit log's annotations.
"""

from __future__ import annotations

import asyncio

from pilothouse.apiserver.admission.pod_security.existing import Existing
from pilothouse.apiserver.admission.pod_security.levels import (
    ANYTHING,
    BASELINE,
    LEVELS,
    MODES,
    PREFIX,
    PRIVILEGED,
    RESTRICTED,
    Policy,
    allowing_level,
    is_version,
    policy_of,
    violations,
)
from pilothouse.apiserver.admission.refuse import forbidden
from pilothouse.apiserver.chain import AdmissionRequest, ObjectReader
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.problems import Problems, invalid_error
from pilothouse.machinery.objects import Obj

_SYSTEM = "kube-system"
_BETWEEN_PAUSES = 100
"""Pods of a namespace judged in one go."""
_TEMPLATES = {
    ("apps", "deployments"): ("spec", "template"),
    ("apps", "replicasets"): ("spec", "template"),
    ("apps", "daemonsets"): ("spec", "template"),
    ("apps", "statefulsets"): ("spec", "template"),
    ("batch", "jobs"): ("spec", "template"),
    ("batch", "cronjobs"): ("spec", "jobTemplate", "spec", "template"),
    ("", "replicationcontrollers"): ("spec", "template"),
    ("", "podtemplates"): ("template",),
}


class PodSecurity:
    def __init__(self, objects: ObjectReader) -> None:
        self._objects = objects

    async def validate(self, request: AdmissionRequest) -> None:
        if request.object is None:
            return
        if request.resource == Namespace.resource:
            if not request.subresource:
                _check_labels(request, request.object)
                await self._warn_of_existing(request, request.object)
        elif request.resource == Pod.resource:
            if request.subresource in ("", "ephemeralcontainers", "resize"):
                self._check_pod(request, request.object)
        elif not request.subresource:
            path = _TEMPLATES.get((request.resource.group, request.resource.plural))
            if path is not None:
                self._warn_of_template(request, path)

    def _labels(self, namespace: str) -> Obj:
        found = self._objects.get(Namespace.resource, "", namespace) or {}
        return (found.get("metadata") or {}).get("labels") or {}

    def _check_pod(self, request: AdmissionRequest, pod: Obj) -> None:
        old = request.old_object
        if old is not None and _seen_by_controls(old) == _seen_by_controls(pod):
            return
        labels = self._labels(request.namespace)
        enforced = _enforced(labels, request.namespace)
        request.annotations[PREFIX + "enforce-policy"] = str(enforced)
        self._audit(request, pod, labels)
        broken = violations(pod, enforced)
        if broken:
            level = allowing_level(pod, enforced.version)
            raise forbidden(
                request,
                f'violates PodSecurity "{enforced}": {", ".join(map(str, broken))}; mend the pod, or allow it '
                f"in this namespace: kubectl label namespace {request.namespace} --overwrite {PREFIX}enforce={level}",
            )
        if not _is_controlled(pod):
            self._warn(request, pod, _warned(labels, request.namespace), conforms=enforced)

    def _warn_of_template(self, request: AdmissionRequest, path: tuple[str, ...]) -> None:
        template, old = _at(request.object, path), _at(request.old_object, path)
        if not template or template == old or _is_controlled(request.object or {}):
            return
        labels = self._labels(request.namespace)
        self._audit(request, template, labels)
        policy, enforced = _warned(labels, request.namespace), _enforced(labels, request.namespace)
        # What will be refused is told now: the controller that will be refused reads no warnings.
        self._warn(request, template, max(policy, enforced, key=lambda each: LEVELS.index(each.level)))
        if policy.level == enforced.level:
            self._warn(request, template, enforced, conforms=policy)

    def _warn(self, request: AdmissionRequest, pod: Obj, policy: Policy, *, conforms: Policy = ANYTHING) -> None:
        broken = violations(pod, policy, conforms=conforms)
        text = f'would violate PodSecurity "{policy}": {", ".join(map(str, broken))}'
        if broken and text not in request.warnings:
            request.warnings.append(text)

    def _audit(self, request: AdmissionRequest, pod: Obj, labels: Obj) -> None:
        policy = policy_of(labels, "audit", PRIVILEGED)
        broken = violations(pod, policy)
        if broken:
            text = f'would violate PodSecurity "{policy}": {", ".join(map(str, broken))}'
            request.annotations[PREFIX + "audit-violations"] = text

    async def _warn_of_existing(self, request: AdmissionRequest, namespace: Obj) -> None:
        """Of pods that a stricter policy would have refused; they are left running."""
        old = request.old_object
        if old is None:
            return
        now, before = (_enforced(each["metadata"].get("labels") or {}, request.name) for each in (namespace, old))
        relaxed = now.version == before.version and LEVELS.index(now.level) <= LEVELS.index(before.level)
        if now.level == PRIVILEGED or relaxed:
            return
        existing = Existing(now)
        for number, pod in enumerate(self._objects.list(Pod.resource, request.name)):
            if number % _BETWEEN_PAUSES == 0:
                await asyncio.sleep(0)
            existing.add(pod)
        request.warnings += existing.warnings(request.name)


def _enforced(labels: Obj, namespace: str) -> Policy:
    return policy_of(labels, "enforce", PRIVILEGED if namespace == _SYSTEM else BASELINE)


def _warned(labels: Obj, namespace: str) -> Policy:
    return policy_of(labels, "warn", PRIVILEGED if namespace == _SYSTEM else RESTRICTED)


def _is_controlled(obj: Obj) -> bool:
    """Whether a controller made it: whoever wrote the workload behind it was warned then, and controllers read no
    warnings."""
    return any(owner.get("controller") for owner in (obj.get("metadata") or {}).get("ownerReferences") or ())


def _check_labels(request: AdmissionRequest, namespace: Obj) -> None:
    """Labels that were wrong before are no reason to refuse a change of something else."""
    problems = _wrong_labels(namespace)
    if problems and (request.old_object is None or problems != _wrong_labels(request.old_object)):
        raise invalid_error(request.resource, request.name, problems)


def _wrong_labels(namespace: Obj) -> Problems:
    labels = namespace["metadata"].get("labels") or {}
    problems = Problems()
    for mode in MODES:
        level, version = PREFIX + mode, f"{PREFIX}{mode}-version"
        if labels.get(level, PRIVILEGED) not in LEVELS:
            problems.invalid(f"metadata.labels[{level}]", labels[level], f"must be one of {', '.join(LEVELS)}")
        if version in labels and not is_version(labels[version]):
            problems.invalid(f"metadata.labels[{version}]", labels[version], 'must be "latest" or "v1.x"')
    return problems


def _seen_by_controls(pod: Obj) -> tuple[Obj, Obj]:
    return pod.get("spec") or {}, (pod.get("metadata") or {}).get("annotations") or {}


def _at(tree: Obj | None, path: tuple[str, ...]) -> Obj:
    found: Obj = tree or {}
    for key in path:
        found = found.get(key) or {}
    return found
