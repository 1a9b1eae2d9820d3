"""Lists the licences of all that scripts/lock.txt installs, read from the installed packages.

    python scripts/licences.py            prints the table; status 1 if a licence is not allowed
    python scripts/licences.py --write    writes it to docs/licences.md

Allowed licences let software under the Apache License 2.0 use a library, and be shipped with it,
without conditions on that software.
"""

from __future__ import annotations

import importlib.metadata
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = {
    "0BSD", "AFL-2.1", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "MIT",
    "MIT-CMU", "MPL-2.0", "PSF", "PSF-2.0", "Zlib",
}  # fmt: skip
# Prefixes of licence names in packages that do not use SPDX identifiers.
NAMES = {
    "Apache License": "Apache-2.0", "Apache 2.0": "Apache-2.0", "Apache Software": "Apache-2.0",
    "MIT License": "MIT", "3-Clause BSD": "BSD-3-Clause", "BSD 3-Clause": "BSD-3-Clause",
    "BSD License": "BSD", "Mozilla Public License 2.0": "MPL-2.0",
    "Python Software Foundation": "PSF",
}  # fmt: skip
HEAD = """\
# Licences

Everything that `scripts/demo.sh` and `scripts/test.sh` install, with the licence that each package
declares. This software itself is under the Apache License 2.0. `python scripts/licences.py --write`
generates the table; a test fails if a package has a licence that such software may not depend on.
Packages for platforms other than that on which the table was made are listed without a licence.

Wheels also contain third-party libraries. `av` and `opencv-python-headless` include FFmpeg, which
is under the LGPL, and `av` includes x264 and x265, which are under the GPL. They are installed from
their publishers, and no part of them is distributed here. If you ship them with a product, follow
those licences or build `av` without them.

"""


def locked(lock: Path = ROOT / "scripts" / "lock.txt") -> dict[str, str]:
    """Returns name -> version of all packages in the lock file."""
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", lock.read_text(encoding="utf-8"), re.M))


def licence(name: str) -> str | None:
    """Returns a package's licence, as an SPDX expression if possible; None if not installed."""
    try:
        about = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    said = [about.get("License-Expression"), (about.get("License") or "").strip()]
    said += [c.rpartition(" :: ")[2] for c in about.get_all("Classifier") or () if "License" in c]
    for text in filter(None, said):
        if named := next((n for begin, n in NAMES.items() if text.startswith(begin)), None):
            return named
        if all(part in ALLOWED for part in parts(text)):
            return text
    return next(filter(None, said), "unknown").partition("\n")[0][:60]


def parts(expression: str) -> list[str]:
    return re.split(r" (?:AND|OR) ", expression)


def allowed(expression: str) -> bool:
    """Returns whether all licences that apply are allowed; of alternatives, one is enough."""
    return all(
        any(choice in ALLOWED for choice in each.split(" OR "))
        for each in expression.split(" AND ")
    )


def table() -> str:
    lines = ["| package | version | licence |", "| --- | --- | --- |"]
    for name, version in locked().items():
        lines.append(f"| {name} | {version} | {licence(name) or 'other platform'} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> None:
    if arguments == ["--write"]:
        (ROOT / "docs" / "licences.md").write_text(HEAD + table(), encoding="utf-8")
    else:
        print(table(), end="")
    found = {name: licence(name) for name in locked()}
    wrong = [name for name, text in found.items() if text and not allowed(text)]
    if wrong:
        sys.exit(f"not allowed: {', '.join(f'{name} ({found[name]})' for name in wrong)}")


if __name__ == "__main__":
    main(sys.argv[1:])
