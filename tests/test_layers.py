"""README's layout: every package of maed_jax stands in it and imports only those above it."""

import ast
import graphlib
import re
from pathlib import Path

import pytest

import maed_jax

ROOT = Path(maed_jax.__file__).parent
README = (ROOT.parent / "README.md").read_text(encoding="utf-8")
LAYERS = re.findall(r"^\| `maed_jax/(\w+)/` \|", README, re.MULTILINE)  # the lowest first


def imported(source: str) -> set[str]:
    """What of maed_jax a module imports, wherever in it; `from a import b` counts as a and a.b."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names if name.startswith("maed_jax.")}


def test_all_packages_are_in_the_layout():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages - {"configs", "datasets"} == {*LAYERS}


@pytest.mark.parametrize("package", LAYERS)
def test_a_package_imports_only_those_above_it(package):
    above = {*LAYERS[: LAYERS.index(package) + 1]}
    for path in (ROOT / package).rglob("*.py"):
        names = imported(path.read_text(encoding="utf-8"))
        assert {name.split(".")[1] for name in names} & {*LAYERS} <= above, path


def test_modules_import_one_another_one_way_only():
    modules = {}
    for path in (path for layer in LAYERS for path in (ROOT / layer).rglob("*.py")):
        name = ".".join(("maed_jax", *path.relative_to(ROOT).with_suffix("").parts))
        modules[name.removesuffix(".__init__")] = path.read_text(encoding="utf-8")
    graph = {name: imported(source) & {*modules} - {name} for name, source in modules.items()}
    assert "maed_jax.models.ktd" in graph["maed_jax.models.maed"]
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_imports_are_found_in_all_their_forms():
    source = """
import maed_jax.body.smpl
from maed_jax import models
def late():
    from maed_jax.runs.config import defaults
    import numpy, maed_jax.files
"""
    names = ("body.smpl", "models", "runs.config", "runs.config.defaults", "files")
    assert imported(source) == {f"maed_jax.{name}" for name in names}
