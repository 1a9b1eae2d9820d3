"""Installed packages: locked with hashes, under licences compatible with this software's."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))
import licences  # noqa: E402


def test_every_package_has_a_licence_that_is_allowed():
    found = {name: licences.licence(name) for name in licences.locked()}
    wrong = {name: text for name, text in found.items() if text and not licences.allowed(text)}
    assert not wrong
    assert sum(text is not None for text in found.values()) > 80


def test_the_page_lists_what_is_locked():
    text = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([\w.-]+) \| ([\w.]+) \|", text, re.M))
    rows.pop("package")
    assert rows == licences.locked(), "run python scripts/licences.py --write"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("MIT", True), ("MIT AND Zlib", True), ("GPL-3.0-only", False), ("unknown", False),
        ("MIT AND GPL-3.0-only", False), ("GPL-3.0-only OR MIT", True),
    ],
)  # fmt: skip
def test_expressions(expression, expected):
    assert licences.allowed(expression) == expected


def test_every_line_of_the_lock_file_is_a_version_with_hashes():
    text = (ROOT / "scripts" / "lock.txt").read_text(encoding="utf-8")
    assert "://" not in text
    for block in re.split(r"\n(?! )", text.strip())[1:]:
        first, *hashes = [line.rstrip(" \\").strip() for line in block.split("\n")]
        assert re.fullmatch(r"[a-z0-9.-]+==[\w.]+( ; sys_platform [!=]= '\w+')?", first)
        assert hashes and all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", h) for h in hashes)


def test_the_lock_file_has_all_that_setup_asks_for():
    """In versions that setup.py allows, so that `pip install --no-deps` leaves nothing out."""
    requirement = pytest.importorskip("packaging.requirements").Requirement
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    found = re.findall(r'"([A-Za-z][\w-]+[<>=][^"]*)"', setup)
    asked = [requirement(text) for text in found if not text.startswith("jax[")]
    versions = {re.sub(r"[-_.]+", "-", n).lower(): v for n, v in licences.locked().items()}
    assert len(asked) > 20
    for each in asked:
        version = versions[re.sub(r"[-_.]+", "-", each.name).lower()]
        assert each.specifier.contains(version), f"{each} is locked at {version}"
