"""Links of pages that come through a proxy, made to lead through it again. Pure.

Source: upstream's proxy transport (apimachinery, `util/proxy`): absolute paths of that host, in the attributes in which
HTML has URLs, and the Location of redirects.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit, urlunsplit

_ATTRIBUTES: Final[Mapping[str, frozenset[str]]] = {
    tag: frozenset(names.split())
    for tag, names in {
        "a": "href",
        "applet": "codebase",
        "area": "href",
        "audio": "src",
        "base": "href",
        "blockquote": "cite",
        "body": "background",
        "button": "formaction",
        "command": "icon",
        "del": "cite",
        "embed": "src",
        "form": "action",
        "frame": "longdesc src",
        "head": "profile",
        "html": "manifest",
        "iframe": "longdesc src",
        "img": "longdesc src usemap",
        "input": "src usemap formaction",
        "ins": "cite",
        "link": "href",
        "object": "classid codebase data usemap",
        "q": "cite",
        "script": "src",
        "source": "src",
        "video": "poster src",
    }.items()
}
_TAG: Final = re.compile(r"""<([A-Za-z][A-Za-z0-9]*)\b((?:"[^"]*"|'[^']*'|[^"'>])*)>""")
_ATTRIBUTE: Final = re.compile(r"""([A-Za-z-]+)(\s*=\s*)("[^"]*"|'[^']*'|[^\s"'>]+)""")


def rewritten_url(url: str, prefix: str, hosts: frozenset[str]) -> str:
    """The URL with `prefix` before its path; as it is when it leads elsewhere than to `hosts`, is relative, or has the
    prefix."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    if (parts.netloc and parts.netloc not in hosts) or not parts.path.startswith("/"):
        return url
    inside = parts.path == prefix or parts.path.startswith(prefix + "/")
    path = parts.path if inside else prefix + parts.path
    return urlunsplit(("", "", path, parts.query, parts.fragment))


def rewritten_page(page: str, prefix: str, hosts: frozenset[str]) -> str:
    """An HTML page with its links rewritten; nothing else of it changes."""

    def tag(match: re.Match[str]) -> str:
        names = _ATTRIBUTES.get(match[1].lower())
        if names is None:
            return match[0]

        def attribute(found: re.Match[str]) -> str:
            if found[1].lower() not in names:
                return found[0]
            quote = found[3][0] if found[3][0] in "\"'" else ""
            old = html.unescape(found[3][len(quote) : len(found[3]) - len(quote)])
            new = rewritten_url(old, prefix, hosts)
            return found[0] if new == old else f"{found[1]}{found[2]}{quote}{html.escape(new)}{quote}"

        return f"<{match[1]}{_ATTRIBUTE.sub(attribute, match[2])}>"

    return _TAG.sub(tag, page)
