"""Rules for what tells the scheduler where a pod may run: affinity, tolerations, topology spread.

Source: `validateAffinity`, `ValidateTolerations`, `validateTopologySpreadConstraints` of Kubernetes' core validation.
"""

from __future__ import annotations

from pilothouse.kinds.label_selectors import check_label_selector
from pilothouse.kinds.problems import POSITIVE, Problems
from pilothouse.machinery import names
from pilothouse.machinery.objects import Obj

TAINT_EFFECTS = ["NoSchedule", "PreferNoSchedule", "NoExecute"]

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_UNSATISFIABLE = ("DoNotSchedule", "ScheduleAnyway")
_NODE_POLICIES = ("Honor", "Ignore")
_HOSTNAME = "kubernetes.io/hostname"


def check_tolerations(tolerations: list[Obj], path: str, problems: Problems) -> None:
    for index, toleration in enumerate(tolerations):
        at = f"{path}[{index}]"
        key, operator = toleration.get("key") or "", toleration.get("operator") or "Equal"
        value, effect = toleration.get("value") or "", toleration.get("effect") or ""
        if key:
            problems.invalid_each(f"{at}.key", key, names.label_key(key))
        elif operator != "Exists":
            problems.invalid(
                f"{at}.operator",
                toleration.get("operator", ""),
                'operator must be Exists when `key` is empty, which means "match all values and all keys"',
            )
        if "tolerationSeconds" in toleration and effect != "NoExecute":
            problems.invalid(f"{at}.effect", effect, "effect must be 'NoExecute' when `tolerationSeconds` is set")
        if operator == "Equal":
            if messages := names.label_value(value):
                problems.invalid(f"{at}.operator", value, ";".join(messages))
        elif operator == "Exists":
            if value:
                problems.invalid(f"{at}.operator", value, "value must be empty when `operator` is 'Exists'")
        else:
            problems.unsupported(f"{at}.operator", operator, ("Equal", "Exists"))
        problems.one_of(f"{at}.effect", effect, TAINT_EFFECTS, required=False)


def check_spread(constraints: list[Obj], path: str, problems: Problems) -> None:
    kinds = [(entry.get("topologyKey") or "", entry.get("whenUnsatisfiable") or "") for entry in constraints]
    for index, constraint in enumerate(constraints):
        at = f"{path}[{index}]"
        topology, when = kinds[index]
        if constraint.get("maxSkew", 0) <= 0:
            problems.invalid(f"{at}.maxSkew", constraint.get("maxSkew", 0), POSITIVE)
        if not topology:
            problems.required(f"{at}.topologyKey", "can not be empty")
        else:
            problems.invalid_each(f"{at}.topologyKey", topology, names.label_key(topology))
        if when not in _UNSATISFIABLE:
            problems.unsupported(f"{at}.whenUnsatisfiable", when, _UNSATISFIABLE)
        if (topology, when) in kinds[index + 1 :]:
            problems.duplicate(f"{at}.{{topologyKey, whenUnsatisfiable}}", f"{{{topology}, {when}}}")
        if (domains := constraint.get("minDomains")) is not None:
            if domains <= 0:
                problems.invalid(f"{at}.minDomains", domains, POSITIVE)
            if when != "DoNotSchedule":
                problems.invalid(
                    f"{at}.minDomains", domains, "can only use minDomains if whenUnsatisfiable=DoNotSchedule"
                )
        for key in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            if key in constraint and constraint[key] not in _NODE_POLICIES:
                problems.unsupported(f"{at}.{key}", constraint[key], _NODE_POLICIES)
        check_label_keys(constraint, ("matchLabelKeys",), at, problems)
        if "labelSelector" in constraint:
            check_label_selector(constraint["labelSelector"], f"{at}.labelSelector", problems)


def check_label_keys(term: Obj, keys: tuple[str, ...], path: str, problems: Problems) -> None:
    """Keys whose values the pod's own labels give. Source: `ValidateMatchLabelKeysAndMismatchLabelKeys`."""
    selector = term.get("labelSelector")
    for key in keys:
        if term.get(key) and selector is None:
            problems.forbidden(f"{path}.{key}", "must not be specified when labelSelector is not set")
            continue
        for index, label in enumerate(term.get(key) or ()):
            problems.invalid_each(f"{path}.{key}[{index}]", label, names.label_key(label))
    wanted = term.get("matchLabelKeys") or []
    seen = set((selector or {}).get("matchLabels") or ())
    for rule in (selector or {}).get("matchExpressions") or ():
        if rule.get("key") in wanted and rule["key"] in seen:
            at = f"{path}[{wanted.index(rule['key'])}]"
            problems.invalid(at, rule["key"], "exists in both matchLabelKeys and labelSelector")
        seen.add(rule.get("key"))
    for index, label in enumerate(wanted):
        if label in (term.get("mismatchLabelKeys") or ()):
            at = f"{path}.matchLabelKeys[{index}]"
            problems.invalid(at, label, "exists in both matchLabelKeys and mismatchLabelKeys")


def check_affinity(affinity: Obj, path: str, problems: Problems) -> None:
    if node := affinity.get("nodeAffinity"):
        _check_node_affinity(node, f"{path}.nodeAffinity", problems)
    for key in ("podAffinity", "podAntiAffinity"):
        if pods := affinity.get(key):
            _check_pod_affinity(pods, f"{path}.{key}", problems)


def check_node_selector(selector: Obj, path: str, problems: Problems) -> None:
    """A NodeSelector, as in node affinity and in a PersistentVolume."""
    terms = selector.get("nodeSelectorTerms") or []
    if not terms:
        problems.required(f"{path}.nodeSelectorTerms", "must have at least one node selector term")
    for index, term in enumerate(terms):
        _check_node_term(term, f"{path}.nodeSelectorTerms[{index}]", problems)


def _check_node_affinity(affinity: Obj, path: str, problems: Problems) -> None:
    if _REQUIRED in affinity:
        check_node_selector(affinity[_REQUIRED], f"{path}.{_REQUIRED}", problems)
    for index, preferred in enumerate(affinity.get(_PREFERRED) or ()):
        at = f"{path}.{_PREFERRED}[{index}]"
        _check_weight(preferred, at, problems)
        _check_node_term(preferred.get("preference") or {}, f"{at}.preference", problems)


def _check_node_term(term: Obj, path: str, problems: Problems) -> None:
    for index, rule in enumerate(term.get("matchExpressions") or ()):
        _check_node_rule(rule, f"{path}.matchExpressions[{index}]", problems)
    for index, rule in enumerate(term.get("matchFields") or ()):
        at = f"{path}.matchFields[{index}]"
        if rule.get("operator") not in ("In", "NotIn"):
            problems.invalid(f"{at}.operator", rule.get("operator", ""), "not a valid selector operator")
        elif len(rule.get("values") or ()) != 1:
            problems.required(
                f"{at}.values", "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            )
        if rule.get("key") != "metadata.name":
            problems.invalid(f"{at}.key", rule.get("key", ""), "not a valid field selector key")


def _check_node_rule(rule: Obj, path: str, problems: Problems) -> None:
    key, operator, values = rule.get("key") or "", rule.get("operator") or "", rule.get("values") or []
    if operator in ("In", "NotIn"):
        if not values:
            problems.required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            problems.forbidden(f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
    elif operator in ("Gt", "Lt"):
        if len(values) != 1:
            problems.required(f"{path}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'")
    else:
        problems.invalid(f"{path}.operator", operator, "not a valid selector operator")
    problems.invalid_each(f"{path}.key", key, names.label_key(key))


def _check_pod_affinity(affinity: Obj, path: str, problems: Problems) -> None:
    for index, term in enumerate(affinity.get(_REQUIRED) or ()):
        _check_pod_term(term, f"{path}.{_REQUIRED}[{index}]", problems)
    for index, preferred in enumerate(affinity.get(_PREFERRED) or ()):
        at = f"{path}.{_PREFERRED}[{index}]"
        _check_weight(preferred, at, problems)
        _check_pod_term(preferred.get("podAffinityTerm") or {}, f"{at}.podAffinityTerm", problems)


def _check_pod_term(term: Obj, path: str, problems: Problems) -> None:
    for key in ("labelSelector", "namespaceSelector"):
        if key in term:
            check_label_selector(term[key], f"{path}.{key}", problems)
    for namespace in term.get("namespaces") or ():
        problems.invalid_each(f"{path}.namespace", namespace, names.dns1123_label(namespace))
    check_label_keys(term, ("matchLabelKeys", "mismatchLabelKeys"), path, problems)
    topology = term.get("topologyKey") or ""
    if not topology:
        problems.required(f"{path}.topologyKey", "can not be empty")
    if topology != _HOSTNAME:
        problems.invalid_each(f"{path}.topologyKey", topology, names.label_key(topology))


def _check_weight(preferred: Obj, path: str, problems: Problems) -> None:
    weight = preferred.get("weight", 0)
    if not 1 <= weight <= 100:
        problems.invalid(f"{path}.weight", weight, "must be in the range 1-100")
