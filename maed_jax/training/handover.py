"""Starts a stage from the variables of an earlier run."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from maed_jax.errors import UserError
from maed_jax.training.sharding import from_host


def hand_over(variables: Any, earlier: Any, *, decoder: bool) -> tuple[Any, str]:
    """Takes the encoder of an earlier stage, and optionally its decoder.

    An array is taken if its name and shape match. If the earlier one has a single entry along an
    axis (the temporal embedding of a stage on single frames), it is added to the new array, so that
    every frame starts from it.

    Args:
      variables: the new stage's initial variables: {"params": ...} and any other collections.
      earlier: those of the earlier stage, see `checkpoints.read_variables`.
      decoder: whether to take the decoder too.

    Returns:
      The variables, with the shardings of the new ones, and a report of what was taken, what does
      not fit, and what is new.

    Raises:
      UserError: nothing fits.
    """
    earlier = {_keys(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(earlier)}
    taken, repeated, misfits, initialised = [], [], [], []

    def transfer(path, new):
        name = "/".join(_keys(path)[1:])
        old = earlier.get(_keys(path)) if decoder or name.startswith("encoder/") else None
        if old is None:
            initialised.append(name)
        elif old.shape == new.shape:
            taken.append(new.size)
            return from_host(old, new.sharding)
        elif _broadcasts(old.shape, new.shape):
            repeated.append(f"{name} {list(old.shape)} over {list(new.shape)}")
            old = from_host(np.broadcast_to(old, new.shape), new.sharding)
            return jax.device_put(new + old, new.sharding)
        else:
            misfits.append(f"{name} {list(new.shape)} (before: {list(old.shape)})")
        return new

    variables = jax.tree_util.tree_map_with_path(transfer, variables)
    if not taken:
        raise UserError(
            "nothing in config.init_from fits this model: use the same settings in config.model"
        )
    report = [f"  taken: {len(taken)} arrays, {sum(taken) / 1e6:.1f} M numbers"]
    report += [f"  repeated: {line}" for line in repeated]
    report += [f"  new, does not fit: {line}" for line in misfits]  # unexpected, so list them all
    report += [f"  new: {line}" for line in _grouped(initialised)]
    return variables, "\n".join(report)


def _keys(path) -> tuple[str, ...]:
    return tuple(str(entry.key) for entry in path)


def _broadcasts(old: tuple[int, ...], new: tuple[int, ...]) -> bool:
    return len(old) == len(new) and all(o in (1, n) for o, n in zip(old, new))


def _grouped(names: list[str]) -> list[str]:
    """The names, or if there are many, the number per module."""
    if len(names) <= 6:
        return names
    modules = [name.split("/")[0] for name in names]
    return [f"{module} ({modules.count(module)} arrays)" for module in dict.fromkeys(modules)]
