"""The builders of datasets: found by name, or in a Python file of the user's."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import sys
from pathlib import Path
from types import ModuleType

from maed_jax.data import parallel
from maed_jax.errors import UserError, suggest
from maed_jax.files.python import mistakes

ALIASES = {"3dpw": "threedpw"}  # what everyone calls a dataset -> its package and folder


def usual_name(dataset: str) -> str:
    """What everyone calls a dataset, of that name or its folder's."""
    return next((alias for alias, folder in ALIASES.items() if folder == dataset), dataset)


def available() -> dict[str, str]:
    """The datasets that can be prepared: name -> one line about it."""
    parallel.find_datasets()
    package = importlib.import_module(parallel.DATASETS)
    found = {}
    for module in pkgutil.iter_modules(package.__path__):
        if module.ispkg:
            text = importlib.import_module(f"{parallel.DATASETS}.{module.name}").__doc__ or ""
            found[module.name] = text.strip().split("\n")[0]
    return found


def is_own(name: str) -> bool:
    """Whether it is the path of a user's file rather than the name of a dataset."""
    return name.endswith(".py")


def builder_class(name: str) -> type:
    """The TFDS builder of a dataset: the class that its module `<name>/<name>.py` defines.

    Args:
      name: of a dataset, or the path of a Python file that defines one.

    Raises:
      UserError: there is no such dataset or file, or a mistake in the file.
    """
    if is_own(name):
        return _defined_in(_own_module(Path(name).expanduser()))
    names = available()
    name = ALIASES.get(name, name)
    if name not in names:
        raise UserError(
            f"there is no dataset {name!r} (one of yours is given as the path of its .py file); "
            f"{suggest(name, [*map(usual_name, names)])}"
        )
    return _defined_in(importlib.import_module(f"{parallel.DATASETS}.{name}.{name}"))


def _own_module(path: Path) -> ModuleType:
    """A user's file as the module of its name, under which worker processes find it too."""
    if not path.is_file():
        raise UserError(f"there is no file {path}")
    path = path.resolve()
    parallel.find_datasets()
    if str(path.parent) not in sys.path:  # which worker processes are given; nothing is hidden
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
        f"{module.__file__} defines no dataset: a subclass of PicturesBuilder, see docs/data.md"
    )
