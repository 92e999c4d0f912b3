"""What names, label keys and values may look like, with the messages Kubernetes gives.

Every rule returns a list of messages, empty when the text is fine, so that a caller can put a field path before
each. Source: `k8s.io/apimachinery/pkg/util/validation` and `k8s.io/apiserver/pkg/storage/names`.
"""

from __future__ import annotations

import hashlib
import random
import re

DNS1123_LABEL_MAX = 63
DNS1123_SUBDOMAIN_MAX = 253
LABEL_VALUE_MAX = 63
ANNOTATIONS_MAX_BYTES = 256 * 1024
GENERATED_SUFFIX_LENGTH = 5
# No vowels and nothing that looks like another character: generated names spell no words.
GENERATED_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"

_LABEL_FMT = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN_FMT = _LABEL_FMT + r"(\." + _LABEL_FMT + ")*"
_UNDERSCORED_FMT = f"_?{_LABEL_FMT}" + r"(\._?" + _LABEL_FMT + ")*"
_WILDCARD_FMT = r"\*\." + _SUBDOMAIN_FMT
_DNS1035_FMT = "[a-z]([-a-z0-9]*[a-z0-9])?"
_QUALIFIED_FMT = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE_FMT = "(" + _QUALIFIED_FMT + ")?"
_CONFIG_KEY_FMT = "[-._a-zA-Z0-9]+"

_LABEL = re.compile(_LABEL_FMT)
_SUBDOMAIN = re.compile(_SUBDOMAIN_FMT)
_UNDERSCORED = re.compile(_UNDERSCORED_FMT)
_WILDCARD = re.compile(_WILDCARD_FMT)
_DNS1035 = re.compile(_DNS1035_FMT)
_QUALIFIED = re.compile(_QUALIFIED_FMT)
_LABEL_VALUE = re.compile(_LABEL_VALUE_FMT)
_CONFIG_KEY = re.compile(_CONFIG_KEY_FMT)
_PORT_NAME = re.compile("[-a-z0-9]+")
_ENV_NAME = re.compile(r"[ -<>-~]+")


def _regex_message(text: str, fmt: str, *examples: str) -> str:
    quoted = " or ".join(f"'{example}', " for example in examples)
    return f"{text} (e.g. {quoted}regex used for validation is '{fmt}')"


def _too_long(limit: int) -> str:
    return f"must be no more than {limit} bytes"


_LABEL_MESSAGE = _regex_message(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character",
    _LABEL_FMT,
    "my-name",
    "123-abc",
)
_SUBDOMAIN_MESSAGE = _regex_message(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character",
    _SUBDOMAIN_FMT,
    "example.com",
)
_UNDERSCORED_MESSAGE = _regex_message(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must "
    "start and end with an alphanumeric character",
    _UNDERSCORED_FMT,
    "example.com",
)
_WILDCARD_MESSAGE = _regex_message(
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
    "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
    _WILDCARD_FMT,
    "*.example.com",
)
_DNS1035_MESSAGE = _regex_message(
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character",
    _DNS1035_FMT,
    "my-name",
    "abc-123",
)
_QUALIFIED_MESSAGE = _regex_message(
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
    _QUALIFIED_FMT,
    "MyName",
    "my.name",
    "123-abc",
)
_LABEL_VALUE_MESSAGE = _regex_message(
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character",
    _LABEL_VALUE_FMT,
    "MyValue",
    "my_value",
    "12345",
)
_CONFIG_KEY_MESSAGE = _regex_message(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    _CONFIG_KEY_FMT,
    "key.name",
    "KEY_NAME",
    "key-name",
)


def dns1123_label(text: str) -> list[str]:
    """A name such as a namespace's: lower case letters, digits and `-`, at most 63."""
    dotted = _LABEL.fullmatch(text) is None and _SUBDOMAIN.fullmatch(text) is not None
    return _check(text, DNS1123_LABEL_MAX, _LABEL, "must not contain dots" if dotted else _LABEL_MESSAGE)


def dns1123_subdomain(text: str) -> list[str]:
    """A name such as a pod's: DNS labels joined by `.`, at most 253."""
    return _check(text, DNS1123_SUBDOMAIN_MAX, _SUBDOMAIN, _SUBDOMAIN_MESSAGE)


def dns1123_subdomain_underscored(text: str) -> list[str]:
    """A name to search in: its labels may begin with `_`."""
    return _check(text, DNS1123_SUBDOMAIN_MAX, _UNDERSCORED, _UNDERSCORED_MESSAGE)


def wildcard_subdomain(text: str) -> list[str]:
    """Hosts of one more label than the subdomain: `*.example.com`."""
    return _check(text, DNS1123_SUBDOMAIN_MAX, _WILDCARD, _WILDCARD_MESSAGE)


def dns1035_label(text: str) -> list[str]:
    """A DNS label that starts with a letter, such as a Service's name."""
    return _check(text, DNS1123_LABEL_MAX, _DNS1035, _DNS1035_MESSAGE)


def _check(text: str, limit: int, pattern: re.Pattern[str], message: str) -> list[str]:
    messages = [_too_long(limit)] if len(text.encode()) > limit else []
    if pattern.fullmatch(text) is None:
        messages.append(message)
    return messages


def path_segment(text: str) -> list[str]:
    """A name that needs only to fit in a URL path, such as a role's."""
    if text in (".", ".."):
        return [f"may not be '{text}'"]
    return [f"may not contain '{character}'" for character in "/%" if character in text]


def label_key(text: str) -> list[str]:
    """A qualified name: `name` or `prefix.example/name`."""
    prefix, slash, name = text.partition("/")
    if not slash:
        prefix, name = "", text
    elif "/" in name:
        return [
            f"a valid label key {_QUALIFIED_MESSAGE} with an optional DNS subdomain prefix and '/' "
            "(e.g. 'example.com/MyName')"
        ]
    messages: list[str] = []
    if slash and not prefix:
        messages.append("prefix part must be non-empty")
    elif slash:
        messages += [f"prefix part {message}" for message in dns1123_subdomain(prefix)]
    if not name:
        messages.append("name part must be non-empty")
    elif len(name.encode()) > LABEL_VALUE_MAX:
        messages.append(f"name part {_too_long(LABEL_VALUE_MAX)}")
    if _QUALIFIED.fullmatch(name) is None:
        messages.append(f"name part {_QUALIFIED_MESSAGE}")
    return messages


def annotation_key(text: str) -> list[str]:
    """As a label key, in either case."""
    return label_key(text.lower())


def label_value(text: str) -> list[str]:
    """At most 63 of letters, digits, `-`, `_`, `.`; may be empty."""
    return _check(text, LABEL_VALUE_MAX, _LABEL_VALUE, _LABEL_VALUE_MESSAGE)


def config_key(text: str) -> list[str]:
    """A key of a ConfigMap or Secret: becomes a file name."""
    messages = _check(text, DNS1123_SUBDOMAIN_MAX, _CONFIG_KEY, _CONFIG_KEY_MESSAGE)
    if text in (".", ".."):
        messages.append(f"must not be '{text}'")
    elif text.startswith(".."):
        messages.append("must not start with '..'")
    return messages


def port_name(text: str) -> list[str]:
    """An IANA service name: at most 15, with a letter."""
    messages = [_too_long(15)] if len(text) > 15 else []
    if _PORT_NAME.fullmatch(text) is None:
        messages.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not any("a" <= character <= "z" for character in text):
        messages.append("must contain at least one letter (a-z)")
    if "--" in text:
        messages.append("must not contain consecutive hyphens")
    if text.startswith("-") or text.endswith("-"):
        messages.append("must not begin or end with a hyphen")
    return messages


def env_var_name(text: str) -> list[str]:
    """The name of an environment variable: printable ASCII without `=`."""
    if _ENV_NAME.fullmatch(text) is None:
        return [
            "a valid environment variable name must consist only of printable ASCII characters other than '=' "
            "(e.g. 'my-name', regex used for validation is '^[ -<>-~]+$')"
        ]
    return []


def suffix_of(text: str) -> str:
    """Five characters as of a generated name, always the same for the same text."""
    number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
    suffix = ""
    for _ in range(GENERATED_SUFFIX_LENGTH):
        number, digit = divmod(number, len(GENERATED_ALPHABET))
        suffix += GENERATED_ALPHABET[digit]
    return suffix


def generate_name(base: str) -> str:
    """A name for `metadata.generateName`: the base, shortened to leave room, and five random characters."""
    suffix = "".join(random.choices(GENERATED_ALPHABET, k=GENERATED_SUFFIX_LENGTH))
    return base[: DNS1123_LABEL_MAX - GENERATED_SUFFIX_LENGTH] + suffix
