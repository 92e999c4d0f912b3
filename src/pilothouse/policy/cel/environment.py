"""Compiles expressions: parsed and checked by cel-expr-python, evaluated by our own functions.

Why not evaluated there: no cost limit, no deadline, and the interpreter's lock held meanwhile (docs/decisions/0025).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

import orjson
from cel_expr_python import cel

from pilothouse.policy.cel import checks, library, types
from pilothouse.policy.cel.errors import CompileError
from pilothouse.policy.cel.program import Program
from pilothouse.policy.cel.registry import DECLARED, OVERLOADS
from pilothouse.policy.cel.tree import Checked, read
from pilothouse.policy.cel.types import Type, spec

_ = library.__all__  # imported to have its functions declared

_REDEFINED = ("_<_", "_<=_", "_>_", "_>=_", "string")
"""Functions that Kubernetes' CEL has for more types than plain CEL; the parser takes no second declaration of one."""
_OPAQUE = (
    *("kubernetes.authorization.Authorizer", "kubernetes.authorization.PathCheck"),
    *("kubernetes.authorization.GroupCheck", "kubernetes.authorization.ResourceCheck"),
    *("kubernetes.authorization.Decision", "kubernetes.Quantity", "kubernetes.URL", "net.IP", "net.CIDR"),
    *("kubernetes.Semver", "kubernetes.NamedFormat"),
)
_WRAPPING = re.compile(r"^[A-Z_]+: (.*?)(?: \[[A-Z_]+\])?$", re.DOTALL)
_PLACE = re.compile(r"<input>:(-?\d+):(-?\d+)")
_DOTTED = re.compile(r"<input>:(\d+):(\d+): undeclared reference to '(\w+)\.([\w.]+)'(.*)\n \| .*\n \| \.*\^")
_FIELD = re.compile(r"undefined field '([^']*)' not found in struct '[^']*'")


class Environment:
    """What expressions may name. `messages` describes object types by a protobuf file (`schema.py`)."""

    def __init__(self, variables: Mapping[str, Type], messages: bytes = b"") -> None:
        self.variables = dict(variables)
        native = {name: found for name, kind in self.variables.items() if (found := _native(kind)) is not None}
        others = {name: kind for name, kind in self.variables.items() if name not in native}
        config = _read_config(others) if others else _common_config()
        pool = _pool(messages) if messages else None
        self._env = cel.NewEnv(pool, config=config, variables=native)

    def compile(self, expression: str, results: Sequence[Type] = ()) -> Program:
        """The program of an expression that gives one of the types `results` (none: any). Raises CompileError."""
        checked = self.check(expression)
        if results and checked.result not in results and checked.result != types.DYN:
            wanted = " or ".join(str(entry) for entry in results)
            raise CompileError(f"must evaluate to {wanted}", 1, 1)
        return Program(expression, checked)

    def check(self, expression: str) -> Checked:
        """The tree of an expression with its types. Raises CompileError."""
        try:
            expression.encode()
            checked = read(self._env.compile(expression).serialize())
        except UnicodeEncodeError as error:
            raise CompileError(f"ERROR: <input>:1:1: not valid text: {error.reason}", 1, 1) from None
        except RuntimeError as error:
            raise _compile_error(str(error), expression) from None
        checks.check(checked, expression)
        return checked


def compile(
    expression: str, variables: Mapping[str, Type], results: Sequence[Type] = (), messages: bytes = b""
) -> Program:
    """Compiles one expression; environments are remembered by what they declare. Raises CompileError."""
    return _environment(tuple(sorted(variables.items())), messages).compile(expression, results)


def check(expression: str, variables: Mapping[str, Type], messages: bytes = b"") -> Checked:
    """The tree of one expression with its types, as `compile` would run it. Raises CompileError."""
    return _environment(tuple(sorted(variables.items())), messages).check(expression)


@lru_cache(maxsize=16)
def _environment(variables: tuple[tuple[str, Type], ...], messages: bytes) -> Environment:
    return Environment(dict(variables), messages)


@cache
def _common_config() -> cel.EnvConfig:
    return _read_config({})


def _read_config(variables: Mapping[str, Type]) -> cel.EnvConfig:
    """Takes 10 ms, nearly all for the functions."""
    return cel.NewEnvConfigFromYaml(orjson.dumps(_config(variables)).decode())


def _native(kind: Type) -> cel.Type | None:
    """The type as the library has it; None for what only a configuration can say."""
    if kind.name in ("optional_type", "type"):
        return None
    params = [_native(param) for param in kind.params]
    known = [param for param in params if param is not None]
    if len(known) < len(params):
        return None
    if kind.name == "list" and known:
        return cel.Type.List(known[0])
    if kind.name == "map" and len(known) == 2:
        return cel.Type.Map(known[0], known[1])
    return cel.Type(_NATIVE_NAMES.get(kind.name, kind.name))


_NATIVE_NAMES = {"null_type": "null"}


def _config(variables: Mapping[str, Type]) -> dict[str, Any]:
    declared = [{"name": name, **spec(kind)} for name, kind in variables.items()]
    declared += [{"name": name, **spec(Type("type", (Type(name),)))} for name in _OPAQUE]
    return {
        "name": "kubernetes",
        "stdlib": {"exclude_functions": [{"name": name} for name in _REDEFINED]},
        "extensions": [{"name": "optional"}, {"name": "two-var-comprehensions"}],
        "functions": [
            {"name": name, "overloads": [overload.spec() for overload in OVERLOADS[name]]} for name in sorted(DECLARED)
        ],
        "variables": declared,
    }


def _pool(messages: bytes) -> Any:
    from google.protobuf import descriptor_pool, duration_pb2, struct_pb2, timestamp_pb2

    pool = descriptor_pool.DescriptorPool()
    for known in (timestamp_pb2, struct_pb2, duration_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(messages)
    return pool


def _compile_error(text: str, expression: str) -> CompileError:
    """The parser's report in the form that cel-go gives it."""
    found = _WRAPPING.match(text)
    text = found[1] if found else text
    text = _FIELD.sub(r"undefined field '\1'", text).replace("__dot__", ".")
    text = _DOTTED.sub(lambda found: _undeclared(found, expression), text)
    place = _PLACE.search(text)
    if place is None or int(place[1]) < 1:
        reason = text.splitlines()[0].rpartition("<input>:-1:-1: ")[2] or text
        return CompileError(f"ERROR: <input>:1:1: {reason}", 1, 1)
    return CompileError(text, int(place[1]), int(place[2]))


def _undeclared(found: re.Match[str], expression: str) -> str:
    """The parser takes `a.b` for one name. Without an `a` there is no `b`; a variable that is none is no field."""
    line, column = expression.split("\n")[int(found[1]) - 1], int(found[2])
    if found[3] == "variables":
        told = f"undefined field '{found[4]}'"
    else:
        column = max(column - len(f"{found[3]}.{found[4]}".rpartition(".")[0]), 1)
        told = f"undeclared reference to '{found[3]}'{found[5]}"
    return f"<input>:{found[1]}:{column}: {told}\n | {line}\n | {'.' * (column - 1)}^"
