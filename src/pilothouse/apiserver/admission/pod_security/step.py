"""Applies the Pod Security Standards: pods are refused below the namespace's enforced level, workloads are warned.

Source: Kubernetes documentation, "Pod Security Admission". The default here is baseline enforced and restricted warned
of, in every namespace but kube-system; labels change it.
"""

from __future__ import annotations

from pilothouse.apiserver.admission.pod_security.levels import (
    BASELINE,
    LEVELS,
    MODES,
    PREFIX,
    PRIVILEGED,
    RESTRICTED,
    allowing_level,
    level_of,
    violations,
)
from pilothouse.apiserver.admission.refuse import forbidden
from pilothouse.apiserver.chain import AdmissionRequest, ObjectReader
from pilothouse.kinds.core.namespace import Namespace
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.problems import Problems, invalid_error
from pilothouse.machinery.objects import Obj

_SYSTEM = "kube-system"
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
            _check_labels(request, request.object)
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
        enforced = level_of(labels, "enforce", _enforced_by_default(request.namespace))
        broken = violations(pod, enforced)
        if broken:
            level = allowing_level(pod)
            raise forbidden(
                request,
                f'violates PodSecurity "{enforced}:latest": {", ".join(map(str, broken))}; mend the pod, or allow it '
                f"in this namespace: kubectl label namespace {request.namespace} --overwrite {PREFIX}enforce={level}",
            )
        if not _is_controlled(pod):
            self._warn(request, pod, labels, conforms=enforced)

    def _warn_of_template(self, request: AdmissionRequest, path: tuple[str, ...]) -> None:
        template, old = _at(request.object, path), _at(request.old_object, path)
        if template and template != old and not _is_controlled(request.object or {}):
            self._warn(request, template, self._labels(request.namespace), template_of=True)

    def _warn(
        self,
        request: AdmissionRequest,
        pod: Obj,
        labels: Obj,
        *,
        template_of: bool = False,
        conforms: str = PRIVILEGED,
    ) -> None:
        """Tells how the pod falls short of the level warned of; of a template, also what will be refused."""
        namespace = request.namespace
        level = level_of(labels, "warn", PRIVILEGED if namespace == _SYSTEM else RESTRICTED)
        if template_of:
            level = max(level, level_of(labels, "enforce", _enforced_by_default(namespace)), key=LEVELS.index)
        broken = violations(pod, level, conforms=conforms)
        if broken:
            text = f'would violate PodSecurity "{level}:latest": {", ".join(map(str, broken))}'
            if text not in request.warnings:
                request.warnings.append(text)


def _enforced_by_default(namespace: str) -> str:
    return PRIVILEGED if namespace == _SYSTEM else BASELINE


def _is_controlled(obj: Obj) -> bool:
    """Whether a controller made it: whoever wrote the workload behind it was warned then, and controllers read no
    warnings."""
    return any(owner.get("controller") for owner in (obj.get("metadata") or {}).get("ownerReferences") or ())


def _check_labels(request: AdmissionRequest, namespace: Obj) -> None:
    labels = namespace["metadata"].get("labels") or {}
    problems = Problems()
    for mode in MODES:
        problems.one_of(f"metadata.labels[{PREFIX}{mode}]", labels.get(PREFIX + mode), LEVELS, required=False)
    if problems:
        raise invalid_error(request.resource, request.name, problems)


def _seen_by_controls(pod: Obj) -> tuple[Obj, Obj]:
    return pod.get("spec") or {}, (pod.get("metadata") or {}).get("annotations") or {}


def _at(tree: Obj | None, path: tuple[str, ...]) -> Obj:
    found: Obj = tree or {}
    for key in path:
        found = found.get(key) or {}
    return found
