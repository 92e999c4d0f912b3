"""Rules for Job specs, as a Job's own and as a CronJob's template. Source: Kubernetes' batch validation."""

from __future__ import annotations

from pilothouse.kinds.batch.indexes import parse_indexes
from pilothouse.kinds.core.pod_validation import check_any_template
from pilothouse.kinds.metadata import check_annotations, check_labels
from pilothouse.kinds.problems import Problems, section
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj

_AMOUNTS = (
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
)
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_MAX_RULES = 20
_MAX_EXIT_CODES = 255
_MOST_INDEXES = 100_000
_MOST_INDEXES_WIDE = 10_000
_MAX_INDEX_TEXT = 64 * 1024
_MAX_MANAGER = 63
_FIXED = ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy")
_PLACEMENT = ("nodeSelector", "tolerations", "affinity", "schedulingGates")


def check_job_spec(spec: Obj, path: str, problems: Problems, *, template: bool = True) -> None:
    """A defaulted Job spec without its selector; `template` False leaves the pod template out."""
    for key in _AMOUNTS:
        problems.not_negative(f"{path}.{key}", spec.get(key))
    _check_index_limits(spec, path, problems)
    if manager := spec.get("managedBy"):
        if names.label_key(manager) or "/" not in manager:
            problems.invalid(f"{path}.managedBy", manager, 'must be a domain-prefixed path (such as "acme.io/foo")')
        if len(manager) > _MAX_MANAGER:
            problems.too_long(f"{path}.managedBy", _MAX_MANAGER)
    _check_completion_mode(spec, path, problems)
    _check_failure_policy(spec, f"{path}.podFailurePolicy", problems)
    if spec.get("successPolicy") is not None:
        if spec.get("completionMode") != "Indexed":
            problems.invalid(f"{path}.successPolicy", spec["successPolicy"], "requires indexed completion mode")
        else:
            _check_success_policy(spec, f"{path}.successPolicy", problems)
    replacement = spec.get("podReplacementPolicy")
    if replacement:
        allowed = ("Failed",) if spec.get("podFailurePolicy") is not None else ("Failed", "TerminatingOrFailed")
        problems.one_of(f"{path}.podReplacementPolicy", replacement, allowed)
    if template:
        _check_template(spec, f"{path}.template", problems)


def check_job_update(spec: Obj, old: Obj, path: str, problems: Problems, *, started: bool) -> None:
    """What of a Job's spec may not change; `started` tells whether it ever ran."""
    for key in _FIXED:
        problems.immutable(f"{path}.{key}", spec.get(key), old.get(key))
    problems.immutable(f"{path}.selector", spec.get("selector"), old.get("selector"))
    if spec.get("completions") != old.get("completions"):
        elastic = (
            old.get("completionMode") == "Indexed"
            and old.get("completions") == old.get("parallelism")
            and spec.get("completions") == spec.get("parallelism")
        )
        if old.get("completionMode") != "Indexed":
            problems.immutable(f"{path}.completions", spec.get("completions"), old.get("completions"))
        elif not elastic:
            tandem = f"can only be modified in tandem with {path}.parallelism"
            problems.invalid(f"{path}.completions", spec.get("completions"), tandem)
    new_template, old_template = section(spec, "template"), section(old, "template")
    if new_template == old_template:
        return
    if old.get("suspend") and not started:
        # Queueing systems place a Job before they let it start.
        check_template_metadata(new_template, f"{path}.template", problems)
        new_template, old_template = _without_placement(new_template), _without_placement(old_template)
    problems.immutable(f"{path}.template", new_template, old_template)


def check_template_metadata(template: Obj, path: str, problems: Problems) -> None:
    meta = section(template, "metadata")
    check_labels(meta.get("labels"), f"{path}.metadata.labels", problems)
    check_annotations(meta.get("annotations"), f"{path}.metadata.annotations", problems)


def _without_placement(template: Obj) -> Obj:
    meta = {key: value for key, value in section(template, "metadata").items() if key not in ("labels", "annotations")}
    spec = {key: value for key, value in section(template, "spec").items() if key not in _PLACEMENT}
    return {"metadata": meta, "spec": spec}


def _check_template(spec: Obj, path: str, problems: Problems) -> None:
    template = section(spec, "template")
    check_any_template(template, path, problems)
    pod = section(template, "spec")
    policy, at = pod.get("restartPolicy"), f"{path}.spec.restartPolicy"
    if policy in (None, "", "Always"):
        problems.required(at, 'valid values: "OnFailure", "Never"')
    for key in ("podFailurePolicy", "backoffLimitPerIndex"):
        if spec.get(key) is not None and policy != "Never":
            problems.invalid(at, policy, f'only "Never" is supported when {key} is specified')


def _check_index_limits(spec: Obj, path: str, problems: Problems) -> None:
    per_index, most = spec.get("backoffLimitPerIndex"), spec.get("maxFailedIndexes")
    if most is not None and per_index is None:
        problems.required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified")
    if spec.get("completionMode") != "Indexed":
        for key in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if spec.get(key) is not None:
                problems.invalid(f"{path}.{key}", spec[key], "requires indexed completion mode")
        return
    completions, parallelism = spec.get("completions"), spec.get("parallelism") or 0
    if most is not None:
        if completions is not None and most > completions:
            problems.invalid(f"{path}.maxFailedIndexes", most, "must be less than or equal to completions")
        if most > _MOST_INDEXES:
            problems.invalid(f"{path}.maxFailedIndexes", most, f"must be less than or equal to {_MOST_INDEXES}")
    if per_index is None or completions is None or completions <= _MOST_INDEXES:
        return
    wide = (
        f"must be less than or equal to {_MOST_INDEXES_WIDE} when completions are above {_MOST_INDEXES} and used with "
        "backoff limit per index"
    )
    if most is None:
        problems.required(f"{path}.maxFailedIndexes", f"must be specified when completions is above {_MOST_INDEXES}")
    elif most > _MOST_INDEXES_WIDE:
        problems.invalid(f"{path}.maxFailedIndexes", most, wide)
    if parallelism > _MOST_INDEXES_WIDE:
        problems.invalid(f"{path}.parallelism", parallelism, wide)


def _check_completion_mode(spec: Obj, path: str, problems: Problems) -> None:
    mode = spec.get("completionMode")
    problems.one_of(f"{path}.completionMode", mode, ("NonIndexed", "Indexed"), required=False)
    if mode != "Indexed":
        return
    if spec.get("completions") is None:
        problems.required(f"{path}.completions", "when completion mode is Indexed")
    if (spec.get("parallelism") or 0) > _MOST_INDEXES:
        limit = f"must be less than or equal to {_MOST_INDEXES} when completion mode is Indexed"
        problems.invalid(f"{path}.parallelism", spec["parallelism"], limit)


def _check_failure_policy(spec: Obj, path: str, problems: Problems) -> None:
    pod = section(section(spec, "template"), "spec")
    containers = {c.get("name") for key in ("containers", "initContainers") for c in pod.get(key) or ()}
    rules = section(spec, "podFailurePolicy").get("rules") or ()
    if len(rules) > _MAX_RULES:
        problems.too_many(f"{path}.rules", len(rules), _MAX_RULES)
    for index, rule in enumerate(rules):
        at = f"{path}.rules[{index}]"
        problems.one_of(f"{at}.action", rule.get("action"), _ACTIONS)
        if rule.get("action") == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
            problems.invalid(f"{at}.action", "FailIndex", "requires the backoffLimitPerIndex to be set")
        codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions") or []
        if codes is not None and conditions:
            problems.invalid(at, rule, "specifying both OnExitCodes and OnPodConditions is not supported")
        elif codes is None and not conditions:
            problems.invalid(at, rule, "specifying one of OnExitCodes and OnPodConditions is required")
        if codes is not None:
            _check_exit_codes(codes, f"{at}.onExitCodes", containers, problems)
        _check_condition_patterns(conditions, f"{at}.onPodConditions", problems)


def _check_exit_codes(codes: Obj, path: str, containers: set[str], problems: Problems) -> None:
    operator, values = codes.get("operator"), codes.get("values") or []
    problems.one_of(f"{path}.operator", operator, ("In", "NotIn"))
    name = codes.get("containerName")
    if name is not None and name not in containers:
        known = "must be one of the container or initContainer names in the pod template"
        problems.invalid(f"{path}.containerName", name, known)
    if not values:
        problems.invalid(f"{path}.values", values, "at least one value is required")
    elif len(values) > _MAX_EXIT_CODES:
        problems.too_many(f"{path}.values", len(values), _MAX_EXIT_CODES)
    if values != sorted(values):
        problems.invalid(f"{path}.values", values, "must be ordered")
    for index, value in enumerate(values):
        if value in values[:index]:
            problems.duplicate(f"{path}.values[{index}]", value)
        if value == 0 and operator == "In":
            problems.invalid(f"{path}.values[{index}]", value, "must not be 0 for the In operator")


def _check_condition_patterns(patterns: list[Obj], path: str, problems: Problems) -> None:
    if len(patterns) > _MAX_RULES:
        problems.too_many(path, len(patterns), _MAX_RULES)
    for index, pattern in enumerate(patterns):
        type = pattern.get("type") or ""
        problems.invalid_each(f"{path}[{index}].type", type, names.label_key(type))
        problems.one_of(f"{path}[{index}].status", pattern.get("status"), ("False", "True", "Unknown"))


def _check_success_policy(spec: Obj, path: str, problems: Problems) -> None:
    rules = section(spec, "successPolicy").get("rules") or []
    completions = spec.get("completions") or 0
    if not rules:
        problems.required(f"{path}.rules", "at least one rules must be specified when the successPolicy is specified")
    elif len(rules) > _MAX_RULES:
        problems.too_many(f"{path}.rules", len(rules), _MAX_RULES)
    for index, rule in enumerate(rules):
        _check_success_rule(rule, completions, f"{path}.rules[{index}]", problems)


def _check_success_rule(rule: Obj, completions: int, at: str, problems: Problems) -> None:
    count, text = rule.get("succeededCount"), rule.get("succeededIndexes")
    if count is None and text is None:
        problems.required(at, "at least one of succeededCount or succeededIndexes must be specified")
    named: int | None = None
    if text is not None:
        if len(text) > _MAX_INDEX_TEXT:
            problems.too_long(f"{at}.succeededIndexes", _MAX_INDEX_TEXT)
            return
        try:
            # One more than there are, so that an index outside is seen.
            found = parse_indexes(text, max(completions, 0) + 1)
        except ValueError as error:
            problems.invalid(f"{at}.succeededIndexes", text, f"error parsing succeededIndexes: {error}")
            return
        named = len(found)
        if completions in found:
            problems.invalid(
                f"{at}.succeededIndexes", text, f'error parsing succeededIndexes: too large index: "{completions}"'
            )
    if count is None:
        return
    if count < 1:
        problems.invalid(f"{at}.succeededCount", count, "must be greater than or equal to 1")
    most = f"must be less than or equal to {completions} (the number of specified completions)"
    if count > completions:
        problems.invalid(f"{at}.succeededCount", count, most)
    if named is not None and count > named:
        limit = f"must be less than or equal to {named} (the number of indexes in the specified succeededIndexes field)"
        problems.invalid(f"{at}.succeededCount", count, limit)
