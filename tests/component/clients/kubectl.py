"""kubectl, tried with all kinds at once: one process a verb, and one an object only where that fails."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from manifest import kind_of

Tree = dict[str, Any]
Outcomes = dict[str, dict[int, str]]
"""By verb, and by the object's place in the manifest: "" when it worked, else what was said."""


class Refused(Exception):
    """What kubectl said when it failed."""


class Kubectl:
    """`run` is one process."""

    def __init__(self, program: Path, kubeconfig: Path, directory: Path) -> None:
        self._program = program
        self._environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "HOME": str(directory)}
        self._directory = directory

    def run(self, *arguments: str, standard_input: str = "") -> str:
        """What it prints. Raises Refused."""
        done = subprocess.run(
            [self._program, *arguments],
            env=self._environment,
            input=standard_input,
            capture_output=True,
            text=True,
            timeout=240,
        )
        if done.returncode:
            raise Refused(done.stderr.strip() or done.stdout.strip())
        return done.stdout

    def try_all(self, trees: list[Tree]) -> Outcomes:
        """Every verb with every object, in order."""
        scalable = [tree for tree in trees if "scale" in kind_of(tree).subresources]
        with_status = [tree for tree in trees if kind_of(tree).has_status]
        merge = ("--type=merge", "-p", '{"metadata":{"annotations":{"matrix.test/note":"status"}}}')
        found: Outcomes = {}

        def tried(verb: str, some: list[Tree], act: Callable[[list[Tree]], str]) -> None:
            outcomes = self._each(some, act)
            found[verb] = {trees.index(tree): outcome for tree, outcome in zip(some, outcomes)}

        tried("create", trees, lambda some: self._with("create", some, "--save-config"))
        tried("get", trees, lambda some: self._with("get", some, "-o", "wide"))
        tried("list", trees, self._list)
        tried("watch", trees, lambda some: self._with("wait", some, "--for=jsonpath={.metadata.uid}", "--timeout=60s"))
        tried("describe", trees, lambda some: self._with("describe", some))
        tried("update", trees, self._replace)
        tried("patch", trees, lambda some: self._with("annotate", some, "matrix.test/note=patch", "--overwrite"))
        tried("client-side apply", trees, lambda some: self._with("apply", some))
        tried("apply", trees, lambda some: self._with("apply", some, "--server-side", "--force-conflicts"))
        tried("status", with_status, lambda some: self._with("patch", some, "--subresource=status", *merge))
        tried("scale", scalable, lambda some: self._with("scale", some, "--replicas=0"))
        tried("delete", trees, lambda some: self._with("delete", some, "--timeout=200s"))
        return found

    def _each(self, trees: list[Tree], act: Callable[[list[Tree]], str]) -> list[str]:
        try:
            act(trees)
        except Refused:
            return [self._one(tree, act) for tree in trees]
        return [""] * len(trees)

    def _one(self, tree: Tree, act: Callable[[list[Tree]], str]) -> str:
        try:
            act([tree])
        except Refused as error:
            said = str(error)
            # What the first try made is there now.
            return "" if "AlreadyExists" in said else said
        return ""

    def _with(self, verb: str, trees: list[Tree], *options: str) -> str:
        file = self._directory / "manifest.yaml"
        file.write_text(yaml.safe_dump_all(trees))
        return self.run(verb, "-f", str(file), *options)

    def _list(self, trees: list[Tree]) -> str:
        resources = {kind_of(tree).resource for tree in trees}
        names = ",".join(sorted(f"{r.plural}.{r.version}.{r.group}" for r in resources))
        labels = ",".join(f"{key}={value}" for key, value in trees[0]["metadata"]["labels"].items())
        said = self.run("get", names, "-A", "-l", labels, "-o", "name")
        assert len(said.splitlines()) >= len(resources)
        return said

    def _replace(self, trees: list[Tree]) -> str:
        live = json.loads(self._with("get", trees, "-o", "json"))
        for item in live["items"] if live["kind"] == "List" else [live]:
            # Without it the update is of whatever there is by then: controllers write too.
            del item["metadata"]["resourceVersion"]
            notes = item["metadata"].setdefault("annotations", {})
            notes["matrix.test/note"] = "update"
            # Else replace takes all that is there for what was applied, and the next apply takes it away.
            notes.pop("kubectl.kubernetes.io/last-applied-configuration", None)
        return self.run("replace", "-f", "-", standard_input=json.dumps(live))
