"""Huge pages: what the node offers, what a container may use of them, and which an emptyDir is made of. Pure.

Sources: Kubernetes documentation, "Manage HugePages"; kubelet `kuberuntime_container_linux.go` and `empty_dir.go`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pilothouse.kinds.core.pod import Container, Pod
from pilothouse.machinery.quantity import parse_quantity, to_bytes

PREFIX = "hugepages-"
MEDIUM = "HugePages"
_UNITS = (("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10))


class NoSuchPages(ValueError):
    """An emptyDir asks for pages that the pod does not, or does not say which."""


def resource_of(size: int) -> str:
    """`hugepages-2Mi` for pages of two mebibytes."""
    return PREFIX + _binary(size)


def amounts(pools: Mapping[int, int]) -> dict[str, str]:
    """What a node has, as its capacity tells it."""
    return {resource_of(size): _binary(total) if total else "0" for size, total in sorted(pools.items())}


def limits(container: Container, sizes: Iterable[int]) -> Iterator[tuple[str, int]]:
    """Bytes the container may use by size, as the runtime wants it called (`2MB`): none unless it has a limit."""
    given = container.resources.limits if container.resources is not None else {}
    for size in sizes:
        yield _binary(size).replace("i", "B"), to_bytes(given.get(resource_of(size), "0"))


def page_size(medium: str, pod: Pod) -> int:
    """The pages of an emptyDir: medium `HugePages` is the one size that the pod asks for. Raises NoSuchPages."""
    asked = sorted({name for c in _all(pod) if c.resources is not None for name in c.resources.requests if _is(name)})
    if medium.startswith(MEDIUM + "-"):
        wanted = PREFIX + medium.removeprefix(MEDIUM + "-")
        if wanted not in asked:
            raise NoSuchPages(f"medium {medium}, and no container requests {wanted}")
        return int(parse_quantity(wanted.removeprefix(PREFIX)))
    if len(asked) != 1:
        told = "asks for no huge pages" if not asked else f"asks for pages of several sizes ({', '.join(asked)})"
        raise NoSuchPages(f"medium {medium}, and the pod {told}: write {MEDIUM}-2Mi or the like")
    return int(parse_quantity(asked[0].removeprefix(PREFIX)))


def total(pod: Pod, size: int) -> int:
    """Bytes of pages of that size that the pod may use, all its containers together."""
    name = resource_of(size)
    running = [c for c in _all(pod) if c.resources is not None]
    return sum(to_bytes(c.resources.limits.get(name, "0")) for c in running if c.resources is not None)


def _is(name: str) -> bool:
    return name.startswith(PREFIX)


def _all(pod: Pod) -> list[Container]:
    return [*pod.spec.init_containers, *pod.spec.containers]


def _binary(size: int) -> str:
    """In the largest unit that leaves no rest."""
    return next((f"{size // unit}{name}" for name, unit in _UNITS if size % unit == 0), str(size))
