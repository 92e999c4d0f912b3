"""What reports are held to: SARIF's properties and JUnit's elements, as far as we write them, and no others."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec


class _Strict(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """The properties SARIF 2.1.0 (clauses 3.13 to 3.58) has for what we write, and no others."""


class _Text(_Strict):
    text: Annotated[str, msgspec.Meta(min_length=1)]


class _Configuration(_Strict):
    level: Literal["none", "note", "warning", "error"]


class _Bag(msgspec.Struct, rename="kebab"):
    """Properties of our own; GitHub reads these two of a rule."""

    tags: list[str]
    security_severity: Annotated[str, msgspec.Meta(pattern=r"^(10|\d)\.\d$")]


class _Help(_Text):
    markdown: str | None = None


class _Descriptor(_Strict):
    id: str
    short_description: _Text
    full_description: _Text
    help: _Help
    default_configuration: _Configuration
    properties: _Bag
    help_uri: str | None = None


class _Driver(_Strict):
    name: str
    version: str
    rules: list[_Descriptor]


class _Tool(_Strict):
    driver: _Driver


class _Artifact(_Strict):
    uri: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._~%/-]*$")]


class _Region(_Strict):
    start_line: Annotated[int, msgspec.Meta(ge=1)]


class _Physical(_Strict):
    artifact_location: _Artifact
    region: _Region | None = None


class _Logical(_Strict):
    name: str
    kind: str
    fully_qualified_name: str | None = None


class _Location(_Strict):
    physical_location: _Physical | None = None
    logical_locations: list[_Logical] = []


class _Notification(_Strict):
    level: Literal["none", "note", "warning", "error"]
    message: _Text
    locations: list[_Location] = []


class _Invocation(_Strict):
    execution_successful: bool
    tool_execution_notifications: list[_Notification]


class _Suppression(_Strict):
    kind: Literal["inSource", "external"]
    justification: str
    status: Literal["accepted", "underReview", "rejected"] | None = None
    location: _Location | None = None


class _Finding(_Strict):
    rule_id: str
    rule_index: int
    level: Literal["none", "note", "warning", "error"]
    message: _Text
    locations: Annotated[list[_Location], msgspec.Meta(min_length=1)]
    partial_fingerprints: dict[str, str]
    properties: dict[str, Any]
    suppressions: list[_Suppression] = []


class _Run(_Strict):
    tool: _Tool
    invocations: list[_Invocation]
    results: list[_Finding]


class SarifLog(_Strict):
    schema: str = msgspec.field(name="$schema")
    version: Literal["2.1.0"]
    runs: Annotated[list[_Run], msgspec.Meta(min_length=1)]


JUNIT: dict[str, tuple[set[str], set[str]]] = {
    "testsuites": ({"testsuite"}, {"name", "tests", "failures", "errors"}),
    "testsuite": ({"testcase"}, {"name", "tests", "failures", "errors", "skipped"}),
    "testcase": ({"failure", "error", "skipped"}, {"name", "classname", "file", "line"}),
    "failure": (set(), {"message", "type"}),
    "error": (set(), {"message"}),
    "skipped": (set(), {"message"}),
}
"""Elements and attributes of the schema that Jenkins' xunit plug-in publishes, as far as they are written;
`file` and `line` are pytest's, which GitLab reads."""
