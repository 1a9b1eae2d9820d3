"""README's layout: every package of maed_jax stands in it and imports only those above it."""

import ast
import re
from pathlib import Path

import pytest

import maed_jax

ROOT = Path(maed_jax.__file__).parent
README = (ROOT.parent / "README.md").read_text(encoding="utf-8")
LAYERS = re.findall(r"^\| `maed_jax/(\w+)/` \|", README, re.MULTILINE)  # the lowest first


def packages_imported(source: str) -> set[str]:
    """The packages of maed_jax that a module imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    parts = [name.split(".") for name in names]
    return {part[1] for part in parts if part[0] == "maed_jax" and len(part) > 1} & {*LAYERS}


def test_all_packages_are_in_the_layout():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages - {"configs", "datasets"} == {*LAYERS}


@pytest.mark.parametrize("package", LAYERS)
def test_a_package_imports_only_those_above_it(package):
    above = {*LAYERS[: LAYERS.index(package) + 1]}
    for path in (ROOT / package).rglob("*.py"):
        assert packages_imported(path.read_text(encoding="utf-8")) <= above, path


def test_imports_are_found_in_all_their_forms():
    source = """
import maed_jax.body.smpl
from maed_jax import models
def late():
    from maed_jax.runs.config import defaults
    import numpy, maed_jax.files
"""
    assert packages_imported(source) == {"body", "models", "runs", "files"}
