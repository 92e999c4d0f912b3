from pilothouse.kinds.apps.deployment import Deployment
from pilothouse.kinds.core.pod import Pod
from pilothouse.kinds.problems import Problems, invalid_error
from pilothouse.machinery.errors import Cause


def test_each_kind_of_problem_has_upstreams_reason_and_wording() -> None:
    problems = Problems()
    problems.required("a")
    problems.required("a", "why")
    problems.invalid("b", "x", "must be y")
    problems.invalid("b", {"k": 1}, "must be y")
    problems.unsupported("c", "x", ("B", "A"))
    problems.duplicate("d", "x")
    problems.not_found("e", "x")
    problems.forbidden("f", "why")
    problems.too_long("g", 63)
    problems.too_many("h", 5, 3)
    assert problems == [
        Cause("a", "FieldValueRequired", "Required value"),
        Cause("a", "FieldValueRequired", "Required value: why"),
        Cause("b", "FieldValueInvalid", 'Invalid value: "x": must be y'),
        Cause("b", "FieldValueInvalid", 'Invalid value: {"k":1}: must be y'),
        Cause("c", "FieldValueNotSupported", 'Unsupported value: "x": supported values: "A", "B"'),
        Cause("d", "FieldValueDuplicate", 'Duplicate value: "x"'),
        Cause("e", "FieldValueNotFound", 'Not found: "x"'),
        Cause("f", "FieldValueForbidden", "Forbidden: why"),
        Cause("g", "FieldValueTooLong", "Too long: may not be more than 63 bytes"),
        Cause("h", "FieldValueTooMany", "Too many: 5: must have at most 3 items"),
    ]


def test_one_problem_is_told_in_one_sentence() -> None:
    error = invalid_error(Deployment.resource, "web", [Cause("spec.selector", "FieldValueRequired", "Required value")])
    assert error.message == 'Deployment.apps "web" is invalid: spec.selector: Required value'
    details = error.status()["details"]
    assert (details["group"], details["kind"], details["name"]) == ("apps", "Deployment", "web")
    assert details["causes"] == [
        {"field": "spec.selector", "reason": "FieldValueRequired", "message": "Required value"}
    ]


def test_several_problems_are_listed_and_repeated_ones_told_once() -> None:
    cause, other = Cause("a", "FieldValueRequired", "Required value"), Cause("b", "FieldValueForbidden", "Forbidden: x")
    error = invalid_error(Pod.resource, "p", [cause, other, cause])
    assert error.message == 'Pod "p" is invalid: [a: Required value, b: Forbidden: x]'
