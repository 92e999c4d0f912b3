"""The host's huge pages: a pool for each size of page.

Source: Linux, Documentation/admin-guide/mm/hugetlbpage.rst.
"""

from __future__ import annotations

from pathlib import Path

_POOLS = Path("/sys/kernel/mm/hugepages")


def pools(root: Path = _POOLS) -> dict[int, int]:
    """Bytes of each pool, by the bytes of a page; without any where the kernel has no huge pages."""
    found = {}
    for folder in sorted(root.glob("hugepages-*kB")):
        size = int(folder.name.removeprefix("hugepages-").removesuffix("kB")) * 1024
        try:
            found[size] = int((folder / "nr_hugepages").read_text()) * size
        except (OSError, ValueError):
            continue
    return found
