"""Secrets and private keys left in a layer: by what files are called, and by what stands in them.

Only what is certain enough to act on: keys by their armour, tokens whose makers gave them a prefix.
"""

from __future__ import annotations

import re
from typing import Final

from pilothouse.guard.images.model import Trace

_KEY: Final = re.compile(
    rb"-----BEGIN ((?:RSA |EC |DSA |OPENSSH |ENCRYPTED |PGP )?PRIVATE KEY(?: BLOCK)?)-----\s+\S{16}"
)
_TOKENS: Final[tuple[tuple[bytes, re.Pattern[bytes], str], ...]] = (
    (b"AKIA", re.compile(rb"\b(?:AKIA)[A-Z2-7]{16}\b"), "an AWS access key id"),
    (b"gh", re.compile(rb"\bgh[pousr]_[A-Za-z0-9]{36,}\b"), "a GitHub token"),
    (b"github_pat_", re.compile(rb"\bgithub_pat_[A-Za-z0-9_]{50,}\b"), "a GitHub token"),
    (b"glpat-", re.compile(rb"\bglpat-[A-Za-z0-9_-]{20,}\b"), "a GitLab token"),
    (b"xox", re.compile(rb"\bxox[abprs]-[A-Za-z0-9-]{20,}\b"), "a Slack token"),
    (b"AIza", re.compile(rb"\bAIza[A-Za-z0-9_-]{35}\b"), "a Google API key"),
    (b"npm_", re.compile(rb"\bnpm_[A-Za-z0-9]{36}\b"), "an npm token"),
    (b"pypi-", re.compile(rb"\bpypi-AgEI[A-Za-z0-9_-]{50,}\b"), "a PyPI token"),
    (b"sk_live_", re.compile(rb"\bsk_live_[A-Za-z0-9]{20,}\b"), "a Stripe key"),
)
_FILES: Final[tuple[tuple[re.Pattern[str], re.Pattern[bytes] | None, str], ...]] = (
    (re.compile(r"(?:^|/)\.docker/config\.json$"), re.compile(rb'"auth"\s*:\s*"[^"]+"'), "registry credentials"),
    (re.compile(r"(?:^|/)\.aws/credentials$"), re.compile(rb"aws_secret_access_key"), "AWS credentials"),
    (re.compile(r"(?:^|/)\.git-credentials$"), re.compile(rb"://[^:/\s]+:[^@\s]+@"), "git credentials"),
    (re.compile(r"(?:^|/)\.netrc$"), re.compile(rb"\bpassword\s+\S+"), "passwords"),
    (re.compile(r"(?:^|/)\.npmrc$"), re.compile(rb"_authToken\s*=\s*[^$\s{]"), "an npm token"),
    (re.compile(r"(?:^|/)\.pypirc$"), re.compile(rb"^password\s*[:=]\s*\S+", re.MULTILINE), "a PyPI password"),
    (re.compile(r"(?:^|/)\.pgpass$"), re.compile(rb"\S"), "database passwords"),
    (re.compile(r"(?:^|/)\.kube/config$"), re.compile(rb"client-key-data|\btoken:\s*\S"), "a cluster's credentials"),
)
_LEFT_OUT: Final = re.compile(
    r"^usr/(?:share|lib|lib64|include|local/lib|local/share)/|(?:^|/)(?:tests?|testdata|node_modules|site-packages|"
    r"dist-packages|examples?|fixtures)/"
)
"""Where software keeps keys of its own tests and examples."""
_SECRET_NAME: Final = re.compile(r"(?:PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY|CREDENTIALS?)$")
_NO_SECRET: Final = re.compile(r"^$|^/|_FILE$|^\$|^(?:true|false|\d+)$|^https?://", re.IGNORECASE)


def looked_at(path: str) -> bool:
    """Files whose content is looked through, when they are small."""
    return not _LEFT_OUT.search(path)


def traces_in(data: bytes, path: str) -> list[Trace]:
    """The secrets of one file; what they are is told, never their text."""
    found = []
    match = _KEY.search(data) if b"PRIVATE KEY" in data else None
    if match:
        found.append(Trace("private-key", path, match[1].decode().lower().replace(" block", "")))
    for literal, pattern, what in _TOKENS:
        if literal in data and pattern.search(data):
            found.append(Trace("secret", path, what))
            break
    for name, content, what in _FILES:
        if name.search(path) and (content is None or content.search(data)):
            found.append(Trace("secret", path, what))
            break
    return found


def traces_in_env(env: tuple[str, ...]) -> list[Trace]:
    """Variables of an image's configuration that are named as a secret and have a value."""
    found = []
    for entry in env:
        name, _, value = entry.partition("=")
        if _SECRET_NAME.search(name.upper()) and not _NO_SECRET.search(value):
            found.append(Trace("secret", f"environment variable {name}", "a value set in the image"))
    return found
