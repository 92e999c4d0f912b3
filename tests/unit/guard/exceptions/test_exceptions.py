from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from pilothouse.cli.manifests import Manifest, read_text
from pilothouse.guard.exceptions.apply import Rules, with_exceptions
from pilothouse.guard.finding import Item
from pilothouse.guard.judge import Report, judge
from pilothouse.guard.shipped import all_checks

NOW = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
KNOWN = [check.id for check in all_checks()]
WORDS = 'reason="it must" owner=team expires=2026-12-31'


def pod(above: str = "", line: str = "", container: str = "", annotations: Mapping[str, str] | None = None) -> str:
    """A pod with two privileged containers, and comments at several places."""
    return f"""\
{above}
apiVersion: v1
kind: Pod
metadata:
  name: p
  annotations: {yaml.safe_dump(dict(annotations or {}), default_flow_style=True, width=1000).strip()}
spec:
  containers:
    {container}
    - name: a
      image: a:1
      securityContext:
        privileged: true {line}
    # of b
    - name: b
      image: b:1
      securityContext: {{privileged: true}}
"""


def manifests_of(text: str) -> list[Manifest]:
    manifests: list[Manifest] = []
    problems: list[Any] = []
    read_text("a.yaml", text, manifests, problems)
    assert problems == []
    return manifests


def report_of(text: str, *, live: bool = False) -> Report:
    items = [Item(m.tree, m.file, m.line_of, m.comments) for m in manifests_of(text)]
    return with_exceptions(judge(items), items, Rules(KNOWN, NOW, live))


def accepted(text: str, *, live: bool = False) -> list[str]:
    report = report_of(text, live=live)
    found = [one.finding for one in report.accepted]
    assert not set(found) & set(report.findings)
    return [finding.container for finding in found if finding.check.id == "container-privileged"]


def about_exceptions(text: str) -> list[tuple[str, str, int]]:
    found = [finding for finding in report_of(text).findings if finding.check.id.startswith("exception-")]
    return [(finding.check.id.removeprefix("exception-"), finding.message, finding.line) for finding in found]


def comment(words: str = WORDS, check: str = "container-privileged") -> str:
    return f"# pilothouse:accept {check} {words}"


@pytest.mark.parametrize(
    ("text", "containers"),
    [
        (pod(), []),
        (pod(above=comment()), ["a", "b"]),
        (pod(above=comment() + "\n# another comment\n---"), ["a", "b"]),
        (pod(line=comment()), ["a"]),
        (pod(container=comment()), ["a"]),
        (pod(container=comment()).replace("    # of b", "    " + comment(check="image-without-digest")), ["a"]),
        (pod().replace("    # of b", f"    # of b\n    {comment()}\n\n    # more"), ["b"]),
        (pod().replace("  containers:", f"  containers: {comment()}"), ["a", "b"]),
        (pod().replace("privileged: true}", f"privileged: true}} {comment()}"), ["b"]),
        (pod(annotations={"accept.pilothouse.io/container-privileged": WORDS}), ["a", "b"]),
        (pod(annotations={"accept.pilothouse.io/container-privileged": WORDS + " containers=b,c"}), ["b"]),
        (pod(line=comment(WORDS + " containers=b")), []),
        (pod(above=comment(check="image-without-digest,container-privileged")), ["a", "b"]),
        (pod(line=comment("reason='a \"b\" c' owner=t expires=2026-06-01T12:00:01Z")), ["a"]),
        (pod(line=comment("reason=x owner=t expires=2026-06-01")), ["a"]),
        (pod(annotations={"note": comment()}), []),
        (pod().replace("image: a:1", f"command:\n        - |\n          {comment()}\n      image: a:1"), []),
        (pod().replace("\n", "\r\n").replace("privileged: true ", f"privileged: true {comment()}"), ["a"]),
    ],
)
def test_what_an_exception_is_about(text: str, containers: list[str]) -> None:
    assert sorted(accepted(text)) == containers


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "it lacks reason, owner, expires"),
        ("reason=x owner=t", "it lacks expires"),
        ('reason="  " owner=t expires=2026-12-31', "it lacks reason"),
        ("reason=x owner=t expires=soon", "'soon' is no day such as 2027-03-31"),
        ("reason=x owner=t expires=2026-12-31T00:00:00", "'2026-12-31T00:00:00' is no day such as 2027-03-31"),
        ("reason=x owner=t expires=2027-12-31", "it ends more than a year from now"),
        ("reason=x and owner=t expires=2026-12-31", "'and' is not understood"),
        ("reason=x owner=t expires=2026-12-31 for=ever", "for is none of"),
        ("reason=x owner=t owner=u expires=2026-12-31", "owner is written twice"),
        ('reason="x owner=t expires=2026-12-31', "is not understood"),
    ],
)
def test_what_lacks_something_accepts_nothing_and_is_a_finding(words: str, said: str) -> None:
    for text, line in ((pod(line=comment(words)), 13), (pod(annotations={f"{PREFIX}container-privileged": words}), 6)):
        assert accepted(text) == []
        ((kind, message, where),) = about_exceptions(text)
        assert (kind, where) == ("invalid", line)
        assert said in message


PREFIX = "accept.pilothouse.io/"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            pod(line=comment("reason=x owner=t expires=2026-05-31")),
            ("expired", "the exception for container-privileged ended on 2026-05-31", 13),
        ),
        (
            pod(line=comment(check="container-priviledged")),
            ("unknown", "there is no check container-priviledged; did you mean container-privileged?", 13),
        ),
        (pod(above=comment(check="pod-host-pid")), ("unused", "the exception for pod-host-pid accepts nothing", 1)),
        (
            pod(line="# pilothouse:accept " + WORDS),
            ("invalid", "an exception does not count: it names no check: write its id first", 13),
        ),
        (
            pod() + comment(),
            (
                "invalid",
                "the exception for container-privileged does not count: there is nothing below it: "
                "write it above the object or field it is about",
                18,
            ),
        ),
    ],
)
def test_what_does_not_count_is_a_finding(text: str, told: tuple[str, str, int]) -> None:
    assert about_exceptions(text) == [told]


def test_what_was_not_asked_is_not_called_unused() -> None:
    assert about_exceptions(pod(above=comment(check="image-registry-not-allowed"))) == []


def test_each_document_of_a_file_has_its_own() -> None:
    report = report_of(pod() + "---\n" + pod(above=comment()).replace("name: p", "name: q") + "---\n" + pod())

    assert {one.finding.ref.name for one in report.accepted} == {"q"}
    assert {one.line for one in report.accepted} == {19}


def test_objects_of_a_list_have_their_own() -> None:
    entries = "".join("  - " + pod().strip().replace("\n", "\n    ") + "\n" for _ in range(2))
    first, _, second = entries.partition("  - apiVersion")[2].partition("  - apiVersion")
    text = f"apiVersion: v1\nkind: List\nitems:\n  - apiVersion{first}  {comment()}\n  - apiVersion{second}"

    report = report_of(text)

    assert [one.finding.item for one in report.accepted] == [1, 1]


EXEMPTION = """\
---
apiVersion: guard.pilothouse.dev/v1alpha1
kind: Exemption
metadata: {name: sensors}
spec:
  rules: [container-privileged]
  kinds: [Pod]
  names: ["p*"]
  reason: reads sensors
  owner: plant
  expires: 2026-12-31T00:00:00Z
"""


def test_exemption_objects_count_among_files_and_when_granted_in_a_cluster() -> None:
    granted = EXEMPTION + "status: {approval: Approved}\n"
    denied = EXEMPTION + "status: {approval: Denied, decidedBy: ops}\n"

    assert sorted(accepted(pod() + EXEMPTION)) == ["a", "b"]
    assert accepted(pod() + EXEMPTION.replace("{name: sensors}", "{name: sensors, namespace: other}")) == []
    assert accepted(pod() + denied) == []
    assert [kind for kind, _, _ in about_exceptions(pod() + denied)] == ["invalid"]
    assert accepted(pod() + EXEMPTION, live=True) == []
    assert sorted(accepted(pod() + granted, live=True)) == ["a", "b"]


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        (("  reason: reads sensors\n", ""), "invalid"),
        (("rules: [container-privileged]", "rules: []"), "invalid"),
        (("rules: [container-privileged]", "rules: 3"), "invalid"),
        (("2026-12-31", "2026-01-01"), "expired"),
        (("rules: [container-privileged]", "rules: [no-such]"), "unknown"),
        (('["p*"]', '["q*"]'), "unused"),
    ],
)
def test_exemption_objects_that_do_not_count(wrong: tuple[str, str], kind: str) -> None:
    text = pod() + EXEMPTION.replace(*wrong)

    assert accepted(text) == []
    assert [found for found, _, _ in about_exceptions(text)] == [kind]


def test_nobody_exempts_himself_in_a_cluster() -> None:
    text = pod(annotations={f"{PREFIX}container-privileged": WORDS})

    assert accepted(text, live=True) == []
    assert sorted(accepted(text)) == ["a", "b"]


def test_accepted_findings_do_not_count_for_the_score() -> None:
    assert report_of(pod(above=comment())).score > report_of(pod()).score
