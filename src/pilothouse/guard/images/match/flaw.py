"""A flaw of a package: all that is said of it, as one."""

from __future__ import annotations

from shlex import quote
from typing import Final

import msgspec

from pilothouse.guard.images.match.severity import RATINGS

FIXED: Final = "fixed"
UNFIXED: Final = "unfixed"
WONT_FIX: Final = "will not be fixed"
END_OF_LIFE: Final = "end of life"


class Flaw(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One flaw in one package (or in the packages built from one source) of one subject."""

    id: str
    """The CVE where there is one."""
    ids: tuple[str, ...]
    type: str
    package: str
    version: str
    packages: tuple[str, ...] = ()
    """The installed packages, when they are called otherwise than `package`."""
    paths: tuple[str, ...] = ()
    layers: tuple[int, ...] = ()
    severity: str = "unknown"
    score: float = 0.0
    vector: str = ""
    state: str = UNFIXED
    fixed: str = ""
    reason: str = ""
    summary: str = ""
    references: tuple[str, ...] = ()
    feeds: tuple[str, ...] = ()
    epss: float | None = None
    percentile: float | None = None
    kev: str = ""
    ransomware: bool = False

    @property
    def rank(self) -> tuple[int, int, float, float, str, str]:
        """Sorts by real risk, worst first: known to be exploited, then severity, EPSS, score."""
        return (
            0 if self.kev else 1,
            -RATINGS.index(self.severity),
            -(self.epss or 0.0),
            -self.score,
            self.package,
            self.id,
        )


def remedy(flaw: Flaw) -> str:
    """How to get the fix, as a command where there is one."""
    if not flaw.fixed:
        return f"there is no fixed version yet{f' ({flaw.reason})' if flaw.reason else ''}; leave it out or accept it"
    # Names are the image's word: whoever pastes the command must not run what stands in one.
    names = " ".join(map(quote, flaw.packages or (flaw.package,)))
    name, fixed = quote(flaw.package), quote(flaw.fixed)
    commands = {
        "deb": f"rebuild on a base image with it, or: apt-get update && apt-get install --only-upgrade -y {names}",
        "apk": f"rebuild on a base image with it, or: apk add --no-cache --upgrade {names}",
        "rpm": f"rebuild on a base image with it, or: dnf upgrade -y {names} (on SUSE: zypper update -y {names})",
        "pypi": f"pip install {quote(f'{flaw.package}>={flaw.fixed}')}",
        "npm": f"npm install {quote(f'{flaw.package}@{flaw.fixed}')}",
        "golang": f"rebuild with Go {fixed} or later"
        if flaw.package == "stdlib"
        else f"go get {quote(flaw.package + '@v' + flaw.fixed.removeprefix('v'))} and rebuild",
        "cargo": f"cargo update -p {name} --precise {fixed}",
        "gem": f"bundle update {name} (to {fixed} or later)",
        "composer": f"composer require {quote(f'{flaw.package}:^{flaw.fixed}')}",
        "nuget": f"dotnet add package {name} --version {fixed}",
        "maven": f"set the version of {flaw.package} to {flaw.fixed} and rebuild",
    }
    return commands.get(flaw.type, f"upgrade {flaw.package} to {flaw.fixed}")
