"""Mends in texts of every style: what is mended is gone, the rest of the text stays, and twice is once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilothouse.cli.manifests import Manifest, read_text
from pilothouse.guard.finding import Finding, Item
from pilothouse.guard.fix.diff import unified_diff
from pilothouse.guard.fix.mend import Mended, Parsed, mend_text
from pilothouse.guard.fix.mends import NEEDS_DECISION, ORDER
from pilothouse.guard.judge import judge
from pilothouse.machinery.objects import Obj


def manifests_of(text: str) -> list[Manifest]:
    manifests: list[Manifest] = []
    problems: list[Any] = []
    read_text("a.yaml", text, manifests, problems)
    if problems:
        raise ValueError(str(problems[0]))
    return manifests


def parse(text: str) -> list[Parsed]:
    return [Parsed(manifest.tree, manifest.node) for manifest in manifests_of(text)]


def findings_of(text: str) -> dict[int, list[Finding]]:
    found: dict[int, list[Finding]] = {}
    for finding in judge([Item(m.tree, m.file, m.line_of) for m in manifests_of(text)]).findings:
        found.setdefault(finding.item, []).append(finding)
    return found


def mend(text: str) -> Mended:
    return mend_text(text, findings_of(text), parse)


def identities(text: str) -> set[tuple[int, str, str]]:
    return {
        (finding.item, finding.check.id, finding.container) for found in findings_of(text).values() for finding in found
    }


def trees(text: str) -> list[Obj]:
    return [manifest.tree for manifest in manifests_of(text)]


def reasons(text: str, check: str = "container-privilege-escalation") -> list[str]:
    return [entry.reason for entry in mend(text).refused if entry.finding.check.id == check]


POD = """\
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: n}
spec:
  containers:
    - name: a
      image: a:1
"""
CONTEXT = """\
      securityContext:
        allowPrivilegeEscalation: false
        seccompProfile:
          type: RuntimeDefault
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(POD, POD + CONTEXT, id="nothing there"),
        pytest.param(POD.rstrip("\n"), (POD + CONTEXT).rstrip("\n"), id="no line break at the end"),
        pytest.param(POD.replace("\n", "\r\n"), (POD + CONTEXT).replace("\n", "\r\n"), id="CRLF"),
        pytest.param("\ufeff" + POD, "\ufeff" + POD + CONTEXT, id="byte order mark"),
        pytest.param(POD + "# the end\n", POD + CONTEXT + "# the end\n", id="comment behind"),
        pytest.param(POD + "\n---\n", POD + CONTEXT + "\n---\n", id="empty document behind"),
        pytest.param(
            POD + "      securityContext:   # none yet\n",
            POD + CONTEXT.replace("Context:", "Context:   # none yet"),
            id="key without value",
        ),
        pytest.param(
            POD + "      securityContext: null\n",
            POD + "      securityContext: {allowPrivilegeEscalation: false, seccompProfile: {type: RuntimeDefault}}\n",
            id="null",
        ),
        pytest.param(
            POD + "      securityContext: {}   # none\n",
            POD
            + "      securityContext: {allowPrivilegeEscalation: false, "
            + "seccompProfile: {type: RuntimeDefault}}   # none\n",
            id="empty flow mapping",
        ),
        pytest.param(
            POD + "      securityContext: {runAsUser: 0, }\n",
            POD
            + "      securityContext: {runAsUser: 0, allowPrivilegeEscalation: false, "
            + "seccompProfile: {type: RuntimeDefault}, }\n",
            id="flow mapping with a comma at the end",
        ),
        pytest.param(
            POD + "      securityContext: {\n        runAsUser: 0\n      }\n",
            POD
            + "      securityContext: {\n        runAsUser: 0,\n        allowPrivilegeEscalation: false,\n"
            + "        seccompProfile: {type: RuntimeDefault}\n      }\n",
            id="flow mapping over several lines",
        ),
        pytest.param(
            POD + "      command:\n      - |\n        one\n\n        two\n\n\n# end\n",
            POD + "      command:\n      - |\n        one\n\n        two\n" + CONTEXT + "\n\n# end\n",
            id="text block at the end",
        ),
        pytest.param(
            POD + "      resources: &r {}\n---\n" + POD,
            POD + "      resources: &r {}\n" + CONTEXT + "---\n" + POD + CONTEXT,
            id="several documents, an anchor nobody uses",
        ),
        pytest.param(
            POD + "      env: &e [{name: A, value: b}]\n    - name: b\n      image: b:1\n      env: *e\n",
            POD
            + "      env: &e [{name: A, value: b}]\n"
            + CONTEXT
            + "    - name: b\n      image: b:1\n      env: *e\n"
            + CONTEXT,
            id="alias at the end",
        ),
        pytest.param(
            "x-more: &m {stdin: true}\n" + POD + "      <<: *m\n",
            "x-more: &m {stdin: true}\n" + POD.rstrip("\n") + "\n" + CONTEXT + "      <<: *m\n",
            id="merge key at the end",
        ),
        pytest.param(
            "kind: List\napiVersion: v1\nitems:\n- " + POD.replace("\n", "\n  ").rstrip() + "\n",
            "kind: List\napiVersion: v1\nitems:\n- " + (POD + CONTEXT).replace("\n", "\n  ").rstrip() + "\n",
            id="list",
        ),
    ],
)
def test_where_and_how_it_is_written(before: str, after: str) -> None:
    assert mend(before).text == after
    assert mend(after).text == after


def test_indentation_is_as_in_the_text() -> None:
    wide = "apiVersion: v1\nkind: Pod\nmetadata:\n    name: p\n"
    wide += "spec:\n    containers:\n    -   name: a\n        image: a:1\n"
    narrow = wide.replace("    name: p", " name: p")

    assert "        securityContext:\n            allowPrivilegeEscalation: false\n" in mend(wide).text
    assert "        securityContext:\n         allowPrivilegeEscalation: false\n" in mend(narrow).text


def test_json_stays_json() -> None:
    (tree,) = trees(POD)
    for indent in (None, 2):
        text = json.dumps(tree, indent=indent)

        mended = mend(text).text

        assert json.loads(mended)["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False
        assert mend(mended).text == mended
        assert mended.count("\n") == text.count("\n") + (1 if indent else 0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (POD + "      securityContext: {allowPrivilegeEscalation: true}\n", "is written so"),
        (POD + "      securityContext: {privileged: true}\n", "the API refuses"),
        (POD + "      securityContext: {capabilities: {add: [SYS_ADMIN]}}\n", "the API refuses"),
        (
            POD
            + "      securityContext: &s {runAsUser: 1}\n    - name: b\n      image: b:1\n      securityContext: *s\n",
            "written once for several places",
        ),
        (POD + "    - &c {name: b, image: 'b:1'}\n  initContainers: [*c]\n", "written once for several places"),
        (
            POD.replace("    - name: a\n", "    - &m\n      name: a\n      securityContext: {runAsUser: 1}\n")
            + "    - <<: *m\n      name: b\n",
            "comes from a merge key",
        ),
        (
            "metadata: {name: p, labels: &l {level: s}}\n"
            + POD.replace("metadata: {name: p, namespace: n}\n", "")
            + "      securityContext: {seLinuxOptions: *l}\n",
            "ends in an alias",
        ),
        (POD + "      args: |+\n        x\n\n", "without touching something else"),
    ],
)
def test_what_is_not_mended_and_why(text: str, reason: str) -> None:
    assert any(reason in found for found in reasons(text)), reasons(text)


def test_one_that_cannot_be_placed_does_not_keep_others_from_being_mended() -> None:
    text = POD
    twisted = POD + "      stdin: true\n      tty: true\n      command:\n      - |+\n        x\n\n"

    mended = mend(text + "---\n" + twisted)

    assert [entry.finding.item for entry in mended.done] == [0, 0]
    assert trees(mended.text)[1] == trees(twisted)[0]


@pytest.mark.parametrize(
    ("context", "of_pod", "dropped"),
    [
        ("{runAsUser: 1000}", "{}", True),
        ("{runAsNonRoot: true}", "{}", True),
        ("{}", "{runAsUser: 1000}", True),
        ("{}", "{runAsNonRoot: true}", True),
        ("{}", "{}", False),
        ("{runAsUser: 0}", "{runAsNonRoot: true, runAsUser: 1000}", False),
        ("{runAsNonRoot: false}", "{runAsNonRoot: true}", False),
        ("{runAsUser: 1000, allowPrivilegeEscalation: true}", "{}", False),
        ("{runAsUser: 1000, capabilities: {add: [NET_BIND_SERVICE]}}", "{}", False),
        ("{runAsUser: 1000, capabilities: {drop: [NET_RAW]}}", "{}", False),
        ("{runAsUser: 1000, privileged: true}", "{}", False),
    ],
)
def test_capabilities_are_dropped_where_the_process_can_have_none(context: str, of_pod: str, dropped: bool) -> None:
    text = f"{POD}      securityContext: {context}\n  securityContext: {of_pod}\n"

    (tree,) = trees(mend(text).text)

    drops = tree["spec"]["containers"][0]["securityContext"].get("capabilities", {}).get("drop")
    assert (drops == ["ALL"]) is dropped


CRON = """\
apiVersion: "batch/v1beta1"  # old
kind: CronJob
metadata: {name: c}
spec: {schedule: "@daily", jobTemplate: {spec: {template: {spec: {containers: []}}}}}
"""
BUDGET = """\
apiVersion: policy/v1beta1
kind: PodDisruptionBudget
metadata: {name: b}
spec: {minAvailable: 1, selector: {S}}
"""


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (CRON, '"batch/v1"  # old'),
        (BUDGET.replace("{S}", "{matchLabels: {a: b}}"), "policy/v1"),
        (BUDGET.replace("{S}", "{}"), "policy/v1beta1"),
        ("apiVersion: extensions/v1beta1\nkind: Ingress\nmetadata: {name: i}\n", "extensions/v1beta1"),
        ("apiVersion: apps/v1beta2\nkind: Deployment\nmetadata: {name: d}\nspec: {}\n", "apps/v1beta2"),
        (
            "apiVersion: scheduling.k8s.io/v1beta1\nkind: PriorityClass\nmetadata: {name: p}\nvalue: 1\n",
            "scheduling.k8s.io/v1",
        ),
        (
            "apiVersion: scheduling.k8s.io/v1beta1\nkind: PriorityClass\nmetadata: {name: p}\nvalue: x\n",
            "scheduling.k8s.io/v1beta1",
        ),
    ],
)
def test_api_versions_that_say_the_same(text: str, version: str) -> None:
    mended = mend(text).text

    assert mended.split("\n")[0] == f"apiVersion: {version}"
    assert mended.split("\n")[1:] == text.split("\n")[1:]


def test_an_old_name_is_written_anew() -> None:
    text = POD + "  serviceAccount: 'x'   # whose\n"

    assert "\n  serviceAccountName: 'x'   # whose\n" in mend(text).text


def test_most_findings_need_a_decision() -> None:
    left = {entry.finding.check.id for entry in mend(POD).refused if entry.reason == NEEDS_DECISION}

    assert {"container-memory-limit-missing", "image-without-digest", "container-root-allowed"} <= left


# Laws over texts in any style


@st.composite
def contexts(draw: st.DrawFn) -> Any:
    entries = {
        "runAsUser": st.sampled_from([0, 1000, 20000]),
        "runAsNonRoot": st.booleans(),
        "privileged": st.booleans(),
        "allowPrivilegeEscalation": st.sampled_from([True, False, None]),
        "capabilities": st.sampled_from([{}, {"add": ["NET_ADMIN"]}, {"drop": ["ALL"]}, {"drop": None}, None]),
        "seccompProfile": st.sampled_from([{"type": "RuntimeDefault"}, {"type": "Unconfined"}, None]),
    }
    return draw(st.one_of(st.none(), st.fixed_dictionaries({}, optional=entries)))


@st.composite
def containers(draw: st.DrawFn) -> Obj:
    found: Obj = {"name": draw(st.sampled_from(["a", "b", "c"])), "image": "a:1"}
    if draw(st.booleans()):
        found["securityContext"] = draw(contexts())
    if draw(st.booleans()):
        found["command"] = ["sh", "-c", draw(st.sampled_from(["x", "one\ntwo\n", "a: b # no comment", "{", "é\n\n"]))]
    return dict(draw(st.permutations(list(found.items()))))


@st.composite
def objects(draw: st.DrawFn) -> Obj:
    unique = st.lists(containers(), min_size=1, max_size=3, unique_by=lambda container: container["name"])
    spec: Obj = {"containers": draw(unique)}
    if draw(st.booleans()):
        spec["securityContext"] = draw(contexts())
    if draw(st.booleans()):
        spec["serviceAccount"] = "who"
    spec = dict(draw(st.permutations(list(spec.items()))))
    meta = {"name": "p", "namespace": "n"}
    if draw(st.booleans()):
        return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}
    job = {"spec": {"template": {"spec": {"restartPolicy": "Never", **spec}}}}
    whole = {"schedule": "@daily", "jobTemplate": job}
    return {
        "apiVersion": draw(st.sampled_from(["batch/v1", "batch/v1beta1"])),
        "kind": "CronJob",
        "metadata": meta,
        "spec": whole,
    }


class Writer:
    """Writes a tree as YAML in a style that is drawn anew for each value."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def text(self, tree: Obj) -> str:
        if self._draw(st.integers(0, 5)) == 0:
            return json.dumps(tree, indent=self._draw(st.sampled_from([None, 1, 4])), ensure_ascii=False) + "\n"
        return "".join(line + "\n" for line in self._block(tree, 0))

    def _noise(self, indent: int) -> Iterator[str]:
        yield from self._draw(st.sampled_from([(), (), (), ("",), (" " * indent + "# é: {",), ("# at the left",)]))

    def _comment(self) -> str:
        return self._draw(st.sampled_from(["", "", "  # said: [", " #"]))

    def _block(self, value: Any, indent: int) -> Iterator[str]:
        pad = " " * indent
        for key, entry in value.items():
            yield from self._noise(indent)
            yield from self._entry(f"{pad}{key}:", entry, indent)

    def _entry(self, head: str, value: Any, indent: int) -> Iterator[str]:
        style = self._draw(st.integers(0, 2))
        if isinstance(value, dict) and value and style:
            yield head + self._comment()
            yield from self._block(value, indent + 1 + style)
        elif isinstance(value, list) and style:
            yield head + self._comment()
            yield from self._list(value, indent + (2 if style == 1 else 0))
        elif isinstance(value, str) and "\n" in value and style:
            yield head + (" |+" if value.endswith("\n\n") else " |" if value.endswith("\n") else " |-")
            yield from (" " * (indent + 2) + line if line else "" for line in value.removesuffix("\n").split("\n"))
        elif value is None and style:
            yield head + self._comment()
        else:
            yield f"{head} {json.dumps(value)}{self._comment()}"

    def _list(self, entries: list[Any], indent: int) -> Iterator[str]:
        for entry in entries:
            yield from self._noise(indent)
            if isinstance(entry, dict) and self._draw(st.booleans()):
                lines = list(self._block(entry, indent + 2))
                first = next(
                    number for number, line in enumerate(lines) if line.strip() and not line.strip().startswith("#")
                )
                yield from lines[:first]
                yield f"{' ' * indent}- {lines[first].lstrip()}"
                yield from lines[first + 1 :]
            else:
                yield from self._entry(f"{' ' * indent}-", entry, indent)


@st.composite
def texts(draw: st.DrawFn) -> str:
    writer = Writer(draw)
    documents = [writer.text(tree) for tree in draw(st.lists(objects(), min_size=1, max_size=2))]
    text = "---\n".join(documents)
    if draw(st.booleans()):
        text = text.rstrip("\n")
    return draw(st.sampled_from(["", "\ufeff"])) + text.replace("\n", draw(st.sampled_from(["\n", "\n", "\r\n"])))


def is_kept(before: str, after: str) -> bool:
    """Whether all characters of a text are still there, in order."""
    rest = iter(after)
    return all(character in rest for character in before)


@settings(max_examples=120, deadline=None)
@given(texts())
def test_what_is_mended_is_gone_and_the_rest_stays(text: str) -> None:
    before = identities(text)

    mended = mend(text)

    done = {(entry.finding.item, entry.finding.check.id, entry.finding.container) for entry in mended.done}
    assert identities(mended.text) == before - done, mended.text
    assert is_kept(text.replace("batch/v1beta1", "batch/v1").replace("null", ""), mended.text)
    assert len(mended.done) + len(mended.refused) == sum(map(len, findings_of(text).values()))


@settings(max_examples=120, deadline=None)
@given(texts())
def test_mending_twice_is_mending_once(text: str) -> None:
    once = mend(text)
    twice = mend(once.text)

    assert twice.text == once.text
    assert not twice.done


@settings(max_examples=60, deadline=None)
@given(texts())
def test_what_has_a_mend_is_only_refused_for_a_reason(text: str) -> None:
    """Texts without anchors and kept line breaks can all be mended, and those that do not end within a text: what comes
    behind it gives that a line break more."""
    twisted = [entry for entry in mend(text).refused if "touching something else" in entry.reason]

    assert not twisted or "|+" in text or not text.endswith("\n")
    assert all(entry.finding.check.id in ORDER for entry in twisted)


def patched(before: str, diff: str) -> str:
    """What `patch` makes of a text."""
    rest, out = LINES.findall(before), []
    at = 0
    for hunk in re.split(r"^@@ -", diff, flags=re.MULTILINE)[1:]:
        head, _, body = hunk.partition(" @@\n")
        start, _, length = head.partition(" ")[0].partition(",")
        first = int(start) - (length != "0")
        out += rest[at:first]
        at = first
        lines = LINES.findall(body)
        for number, line in enumerate(lines):
            if lines[number + 1 : number + 2] == ["\\ No newline at end of file\n"]:
                line = line.removesuffix("\n")
            if line[0] in " -":
                assert rest[at] == line[1:]
                at += 1
            if line[0] in " +":
                out.append(line[1:])
    return "".join(out + rest[at:])


LINES = re.compile(r"[^\n]*\n|[^\n]+")


@settings(max_examples=100, deadline=None)
@given(texts())
def test_the_diff_makes_of_the_text_what_mending_makes(text: str) -> None:
    mended = mend(text).text

    assert patched(text, unified_diff(text, mended, "a.yaml")) == mended


@settings(max_examples=200)
@given(st.lists(st.sampled_from("abc\n"), max_size=12), st.lists(st.sampled_from("abc\n"), max_size=12))
def test_a_diff_of_any_two_texts_is_one(before: list[str], after: list[str]) -> None:
    old, new = "\n".join(before), "\n".join(after)

    assert patched(old, unified_diff(old, new, "a.yaml")) == new
