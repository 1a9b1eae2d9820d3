"""Parses protocols from the command line: `--protocol maed,wham --protocol.root=pelvis`."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Sequence

from maed_jax.arguments import read_settings
from maed_jax.data.builders import usual_name
from maed_jax.errors import UserError, suggest
from maed_jax.evaluation.protocols import CHOICES, METRICS, PRESETS, Protocol


def family(dataset: str) -> str:
    """Returns the key of `PRESETS` for a dataset's name or NAME/CONFIG."""
    name = usual_name(dataset.partition("/")[0])
    return name if name in PRESETS else "other"


def choose(dataset: str, names: str, settings: Sequence[tuple[str, str]] = ()) -> list[Protocol]:
    """Returns a dataset's protocols `names` (comma-separated, or "all") with `settings` applied.

    DATASET/NAME is another dataset's protocol, such as 3dpw/wham.

    Raises:
      UserError: there is no such protocol, field or value.
    """
    own = family(dataset)
    chosen = [p.name for p in PRESETS[own]] if names == "all" else names.split(",")
    protocols = [_changed(_preset(dataset, name.strip()), settings) for name in chosen]
    return list(dict.fromkeys(protocols))  # without duplicates


def _preset(dataset: str, name: str) -> Protocol:
    own, (key, _, short) = family(dataset), name.rpartition("/")
    key = usual_name(key) or own
    if key not in PRESETS:
        raise UserError(f"there are no protocols for dataset {key!r}; {suggest(key, PRESETS)}")
    presets = {preset.name: preset for preset in PRESETS[key]}
    if short.lower() not in presets and key == "other":
        raise UserError(
            f"{dataset} has only the protocol {', '.join(presets)}, not {short!r}; to use another "
            "dataset's, add that dataset's name, as in 3dpw/spin"
        )
    if short.lower() not in presets:
        raise UserError(f"{key} has no protocol {short!r}; {suggest(short.lower(), presets)}")
    preset = presets[short.lower()]
    return preset if key == own else dataclasses.replace(preset, name=f"{key}/{preset.name}")


def _changed(protocol: Protocol, settings: Sequence[tuple[str, str]]) -> Protocol:
    kinds = typing.get_type_hints(Protocol)
    fields = [name for name in kinds if name not in ("name", "source", "changed")]
    for name, text in settings:
        if name not in fields:
            raise UserError(f"protocols have no field {name!r}; {suggest(name, fields)}")
        value = _value(name, text, kinds[name])
        if value != getattr(protocol, name):
            changed = (*protocol.changed, f"{name}={text}")
            protocol = dataclasses.replace(protocol, **{name: value, "changed": changed})
    return protocol


def _value(name: str, text: str, kind: type) -> object:
    if name in CHOICES:
        if text not in CHOICES[name]:
            raise UserError(f"protocol.{name} cannot be {text!r}; {suggest(text, CHOICES[name])}")
        return text
    if name == "metrics":
        for metric in text.split(","):
            if metric not in METRICS:
                raise UserError(f"there is no metric {metric!r}; {suggest(metric, METRICS)}")
        return tuple(metric for metric in METRICS if metric in text.split(","))
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise UserError(f"protocol.{name} must be true or false, not {text!r}")
        return text.lower() == "true"
    if kind is str:
        return text
    try:
        number = kind(text)
    except ValueError:
        number = -1
    if not 0 <= number < float("inf"):
        raise UserError(f"protocol.{name} must be a number of at least 0, not {text!r}")
    return number


def parse_settings(arguments: Sequence[str]) -> list[tuple[str, str]]:
    """Parses `--protocol.FIELD=VALUE` or `--protocol.FIELD VALUE` into pairs (FIELD, VALUE).

    Raises:
      UserError: an argument is something else, or has no value.
    """
    settings = []
    for name, value in read_settings(arguments, "protocol"):
        if value is None:
            raise UserError(f"--protocol.{name} needs a value: --protocol.{name}=...")
        settings.append((name, value))
    return settings
