"""Finds, lists and runs configuration files.

Each is a Python file with `get_config(variant)` or `get_config()`; see `configs/`. Nothing here
imports JAX.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from ml_collections import ConfigDict

from maed_jax.errors import UserError, nearest, suggest
from maed_jax.files.python import describe, mistakes

PACKAGE = Path(__file__).parents[1]
# configs/ is inside an installed package, but next to the package in a checkout.
DIRECTORIES = (PACKAGE / "configs", PACKAGE.parent / "configs")

# What a setting must be, by the type of its default.
KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
}
_WRONG_TYPE = re.compile(  # ml_collections' error message
    r"Could not override field '(\w+)' .*?\. (.*) is of original type <class '([\w.]+)'> and "
    r"cannot be casted to type <class '([\w.]+)'>",
    re.DOTALL,
)


class Description(NamedTuple):
    """The description of a configuration in its file."""

    lines: tuple[str, ...]
    """what it is, and its variants if it names any: first lines of docstrings"""
    study: bool
    """whether it is a study of many runs, for `maed ablate`"""


def list_configs() -> dict[str, Description]:
    """All available configurations by name; reads their files without running them."""
    found = {}
    for path in (path for directory in DIRECTORIES for path in sorted(directory.glob("*.py"))):
        if not path.stem.startswith("_"):
            found.setdefault(path.stem, _describe(ast.parse(path.read_text(encoding="utf-8"))))
    return found


def _describe(module: ast.Module) -> Description:
    functions = [
        n for n in module.body if isinstance(n, ast.FunctionDef) and n.name == "get_config"
    ]
    first = [(ast.get_docstring(n) or "").partition("\n")[0] for n in (module, *functions)]
    variants = [line for line in first[1:] if line.startswith("Variants: ")]
    study = any(isinstance(n, ast.Attribute) and n.attr == "study" for n in ast.walk(module))
    return Description((first[0], *variants), study)


def run_config(name: str, variant: str) -> tuple[ConfigDict, str]:
    """Runs the `get_config` of a configuration; returns its result, and the file.

    Args:
      name: the name of a file in one of the `DIRECTORIES`, or a path.
      variant: "" for none.

    Raises:
      UserError: no such configuration or variant, or an error in the file.
    """
    module = _load_module(name)
    return _call_get_config(module, name, variant), module.__file__


def _find(name: str) -> Path:
    file = Path(name)
    if file.suffix == ".py":
        if file.is_file():
            return file
        raise UserError(f"there is no configuration file {name}")
    for directory in DIRECTORIES:
        if (path := directory / f"{name}.py").is_file():
            return path
    raise UserError(f"there is no configuration {name!r}; {suggest(name, sorted(list_configs()))}")


def _load_module(name: str) -> ModuleType:
    path = _find(name)
    spec = importlib.util.spec_from_file_location(f"maed_config_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    with mistakes(module.__file__, _reason):
        spec.loader.exec_module(module)
    return module


def _call_get_config(module: ModuleType, name: str, variant: str) -> ConfigDict:
    """Calls the file's `get_config`, which may take a variant or no argument."""
    get_config = getattr(module, "get_config", None)
    if not callable(get_config):
        raise UserError(f"{name} is not a configuration: it defines no get_config(variant)")
    parameters = list(inspect.signature(get_config).parameters.values())
    if variant and not parameters:
        raise UserError(f"{name} has no variant {variant!r}: its get_config takes none")
    optional = not parameters or parameters[0].default is not inspect.Parameter.empty
    arguments = () if optional and not variant else (variant or None,)
    with mistakes(module.__file__, _reason):
        config = get_config(*arguments)
    if not isinstance(config, ConfigDict):
        raise UserError(
            f"get_config of {name} returns a {type(config).__name__}, not a ConfigDict: "
            "end it with `return c`"
        )
    return config


def _reason(error: Exception) -> str:
    section = getattr(error, "obj", None)
    if isinstance(section, ConfigDict):
        return f"there is no setting {error.name!r}; {suggest_setting(error.name, list(section))}"
    if found := _WRONG_TYPE.fullmatch(str(error)):
        name, value, value_type, expected_type = found.groups()
        value = repr(value) if value_type == "str" else value
        kind = KINDS.get(expected_type, f"a {expected_type.rpartition('.')[2]}")
        return f"{name} must be {kind}, not {value:.80}"
    return describe(error)


def suggest_setting(name: str, known: list[str]) -> str:
    """The hint for an unknown setting: the closest of the `known`, or all if they are few."""
    by_name, word = {key.rpartition(".")[2]: key for key in known}, name.rpartition(".")[2]
    near = (
        [key for full, key in by_name.items() if "_" in full and _initials(full) == word]
        or nearest(name, known, cutoff=0.5)
        # the right word in the wrong section
        or [by_name[n] for n in nearest(word, by_name)]
    )
    many = "`defaults()` in maed_jax/runs/config.py lists them all"
    return suggest(name, sorted(known), near=near, otherwise=many if len(known) > 20 else None)


def _initials(word: str) -> str:
    return "".join(part[0] for part in word.split("_"))
