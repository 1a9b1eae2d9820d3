"""Finds dataset builders, by name or in the user's own Python file."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import sys
from pathlib import Path
from types import ModuleType

from maed_jax.errors import UserError, suggest
from maed_jax.files.python import mistakes

DATASETS = "maed_jax.datasets"
ALIASES = {"3dpw": "threedpw"}  # usual name of a dataset -> its package and folder


def usual_name(dataset: str) -> str:
    """Returns the usual name of a dataset, given that or its folder's."""
    return next((alias for alias, folder in ALIASES.items() if folder == dataset), dataset)


def available() -> dict[str, str]:
    """Returns the datasets that can be prepared: name -> one line about it."""
    package = importlib.import_module(DATASETS)
    found = {}
    for module in pkgutil.iter_modules(package.__path__):
        if module.ispkg:
            text = importlib.import_module(f"{DATASETS}.{module.name}").__doc__ or ""
            found[module.name] = text.strip().split("\n")[0]
    return found


def is_own(name: str) -> bool:
    """Returns whether `name` is the path of a user's file rather than a dataset's name."""
    return name.endswith(".py")


def builder_class(name: str) -> type:
    """Returns a dataset's TFDS builder: the class that its module `<name>/<name>.py` defines.

    Args:
      name: a dataset's name, or the path of a Python file that defines one.

    Raises:
      UserError: there is no such dataset or file, or the file has a mistake.
    """
    if is_own(name):
        return _defined_in(_own_module(Path(name).expanduser()))
    names = available()
    name = ALIASES.get(name, name)
    if name not in names:
        raise UserError(
            f"there is no dataset {name!r} (for one of your own, give the path of its .py file); "
            f"{suggest(name, [*map(usual_name, names)])}"
        )
    return _defined_in(importlib.import_module(f"{DATASETS}.{name}.{name}"))


def _own_module(path: Path) -> ModuleType:
    """Imports a user's file under its own name, by which worker processes can import it too."""
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    path = path.resolve()
    if str(path.parent) not in sys.path:  # worker processes get it; appended, so it hides nothing
        sys.path.append(str(path.parent))
    spec = importlib.util.find_spec(path.stem) if path.stem.isidentifier() else None
    if spec is None or Path(spec.origin or "").resolve() != path:
        raise UserError(f"{path} cannot be imported as {path.stem!r}: give the file another name")
    with mistakes(path):
        return importlib.import_module(path.stem)


def _defined_in(module: ModuleType) -> type:
    import tensorflow_datasets as tfds

    for value in vars(module).values():
        if (
            inspect.isclass(value)
            and issubclass(value, tfds.core.DatasetBuilder)
            and value.__module__ == module.__name__
        ):
            return value
    raise UserError(
        f"{module.__file__} defines no dataset: a subclass of ImagesBuilder, see docs/data.md"
    )
