"""Configurations: found by name, changed on the command line, saved with the run.

A configuration is a Python file, see `config_files`. `defaults()` below lists all settings. Nothing
here imports JAX.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from maed_jax.arguments import read_settings
from maed_jax.errors import UserError
from maed_jax.files.json import parse_json
from maed_jax.runs.config_files import KINDS, run_config, suggest_setting

# Settings that may differ when a run is resumed: where things are, how they are distributed, how
# often they are written and when to give up, none of which changes the numbers. Validation data may
# not differ, because the best checkpoint is found by comparison.
FREE_TO_CHANGE = (
    *("log_every", "eval_every", "checkpoint_every", "keep", "max_skipped"),
    *("init_from", "init_decoder", "init_required"),
    *("data.data_dir", "data.workers", "mesh.data", "mesh.fsdp"),
)
# Sections whose settings `defaults()` does not list: those of a study, and the different
# augmentation of two kinds of data, which `Augment` checks.
OPEN_SECTIONS = ("study.", "data.augment_clips_2d.", "data.augment_images.")


def defaults() -> ConfigDict:
    """All settings, with the paper's network and its settings of stage 2."""
    c = ConfigDict()
    c.steps = 100_000
    c.seed = 0
    c.log_every = 50
    c.eval_every = 1000  # 0: never
    c.eval_windows = 0  # number of windows of the validation split to use; 0: all
    c.checkpoint_every = 1000
    c.keep = 3  # number of latest checkpoints to keep in addition to the best
    c.max_skipped = 20  # give up after this many steps in a row without a finite gradient
    c.accumulate = 1  # number of parts that a batch is split into, to save memory
    c.ema = 0.0  # decay of the parameters' moving average, used for all but training; 0: none
    c.init_from = ""  # work directory of an earlier stage to take the encoder from
    c.init_decoder = False  # take its decoder too
    c.init_required = False  # refuse to start without `init_from`
    c.body = "mannequin"  # or the path of the body's files

    c.model = ConfigDict()  # the arguments of maed_jax.models.maed.MAED
    c.model.image_size = 224
    c.model.clip_length = 16  # entries of the temporal embedding
    c.model.interpolate_time = False  # interpolate them for longer clips, otherwise refused
    c.model.encoder = "ste"  # or "te", "cnn": rows of the paper's Table 2, see docs/model.md
    c.model.stage_sizes = (3, 4, 9)  # of the root; for "cnn", a whole ResNet-50: (3, 4, 6, 3)
    c.model.width = 64
    c.model.dim = 768
    c.model.depth = 6
    c.model.heads = 12
    c.model.mode = "parallel"  # for "ste"; or parallel_v1, series, coupling, vanilla, temporal
    c.model.feature_dim = 768
    c.model.decoder = "ktd"
    c.model.tree_seed = 0  # for the tree of decoder "ktd_random"
    c.model.decoder_width = 1024
    c.model.dropout = 0.5
    c.model.dtype = "float32"  # of the encoder's computations, not parameters; or "bfloat16"
    c.model.remat = False  # recompute the encoder's blocks for the gradient, to save memory

    c.data = ConfigDict()
    c.data.data_dir = "data"
    # (dataset, its weight in the mixture), ...; an optional third item: frames between windows
    c.data.clips = (("mannequins/demo", 1.0),)
    c.data.clips_2d = ()  # the same for clips with only 2D labels, with their own batch size
    c.data.images = (("mannequins/demo", 1.0),)  # optional third item n: use every n-th frame
    c.data.mix_by_size = False  # whether weights are per window or image, not per dataset
    c.data.clip_length = 16
    c.data.interval = 8  # video frames from one frame of a clip to the next
    c.data.eval_interval = 8  # the same in evaluation
    c.data.clips_per_batch = 16  # over all devices; 0: none
    c.data.clips_2d_per_batch = 0
    c.data.images_per_batch = 16
    c.data.train_split = "train"
    c.data.val_split = "validation"
    c.data.val_dataset = ""  # dataset to validate on; "": the first training dataset
    c.data.workers = 0  # processes that prepare batches; 0: threads of this process
    c.data.augment = ConfigDict()  # see maed_jax.data.augment.Augment
    c.data.augment.margin = 1.3  # side of crops, as a multiple of the longer side of the box
    c.data.augment.crop_probability = 0.2  # of a random crop, given by the next three
    c.data.augment.scale = (0.7, 1.3)
    c.data.augment.shift = 0.1
    c.data.augment.rotation = 0.0  # degrees
    c.data.augment.flip = 0.5  # probability
    c.data.augment.jitter = 0.3  # strength, of brightness, contrast and saturation
    c.data.augment.hue = 0.3
    c.data.augment.erase = 0.3  # probability of blanking part of the image from one side
    c.data.augment.erase_max = 0.7
    c.data.augment.erase_per_frame = False
    c.data.augment.erase_keypoints = False
    c.data.augment_clips_2d = ConfigDict()  # differences for these, set in a configuration
    c.data.augment_images = ConfigDict()

    c.loss = ConfigDict()  # weights of the losses
    c.loss.keypoints_2d = 300.0
    c.loss.keypoints_3d = 600.0
    c.loss.pose = 60.0
    c.loss.shape = 0.06
    c.loss.norm = 1.0

    c.optimizer = ConfigDict()
    c.optimizer.name = "adam"  # or "muon", see training/optimizer.py
    c.optimizer.learning_rate = 1e-4
    c.optimizer.schedule = "step"  # or "cosine", which ends at 0
    c.optimizer.decay_at = (0.6, 0.9)  # fractions of all steps; for "step"
    c.optimizer.decay_factor = 0.1
    c.optimizer.warmup_steps = 0  # linear, from 0
    c.optimizer.l2 = 1e-5  # added to the gradient
    c.optimizer.clip_norm = 0.0  # maximum norm of the gradient; 0: no limit

    c.mesh = ConfigDict()  # layout of the devices; -1: all that remain
    c.mesh.data = -1  # copies of the model, each with a part of the batch
    c.mesh.fsdp = 1  # devices that share one copy of parameters and optimiser state
    return c


def load_config(spec: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """Loads the configuration `spec`, with `--config.section.key=value` overrides, locked.

    Args:
      spec: a path or name, with the variant after a colon: `configs/demo.py:stage1`, `demo:stage1`.
      overrides: arguments as on the command line.

    Raises:
      UserError: no such configuration, key or type.
    """
    name, _, variant = spec.partition(":")
    config, file = run_config(name, variant)
    _check_keys(config, file)
    config = _override(config.lock(), overrides)
    config.body = absolute_body(config.body)
    return config


def absolute_body(body: str) -> str:
    """The absolute path of a body, so that it is valid in every directory; or "mannequin"."""
    return body if body == "mannequin" else str(Path(body).expanduser().absolute())


def config_to_json(config: ConfigDict) -> str:
    """JSON with one key per line; `config_from_json` is the inverse."""
    return json.dumps(config.to_dict(), indent=2) + "\n"


def config_from_json(text: str) -> ConfigDict:
    """The inverse of `config_to_json`. Lists become tuples, as configurations have no lists.

    Settings that are newer than the text get their defaults.

    Raises:
      ValueError: the text is not a configuration.
    """
    values, default = _tuples(parse_json(text, dict)), defaults().to_dict()
    kinds = dict(flatten(default))
    for key, value in flatten(values):
        if not _same_types(value, kinds.get(key, value)):
            raise ValueError(f"{key} must be {_kind(kinds[key])}, not {value!r:.80}")
    return ConfigDict(_with_defaults(values, default)).lock()


def _with_defaults(values: dict, default: dict) -> dict:
    merged = default | values
    for key in sorted(values.keys() & default.keys()):
        section = isinstance(values[key], dict)
        if section != isinstance(default[key], dict):
            raise ValueError(f"{key} is {'a' if section else 'not a'} section")
        if section:
            merged[key] = _with_defaults(values[key], default[key])
    return merged


def flatten(config: ConfigDict | dict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Pairs of dotted key and value."""
    for key, value in config.items():
        if isinstance(value, ConfigDict | dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def check_same_run(old: ConfigDict, new: ConfigDict, workdir: str | Path) -> None:
    """Checks that a run with settings `new` can resume the one with `old` in `workdir`.

    Settings that did not exist yet when the old run began had the effect of their defaults, and
    the body's path was saved as given.

    Raises:
      UserError: a setting that changes the numbers differs.
    """
    known = dict(flatten(defaults()))
    old_values, new_values = known | dict(flatten(old)), known | dict(flatten(new))
    old_values["body"] = absolute_body(old_values["body"])
    pairs = {
        key: (old_values.get(key, "absent"), new_values.get(key, "absent"))
        for key in sorted(old_values.keys() | new_values.keys())
    }
    differing = [
        f"config.{key} ({before!r} there, {now!r} here)"
        for key, (before, now) in pairs.items()
        if key not in FREE_TO_CHANGE and before != now
    ]
    if differing:
        more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
        start = f" (--config.init_from={workdir} --config.init_decoder=true takes its parameters)"
        start = "" if "study" in new else start  # a study has many runs
        raise UserError(
            f"{workdir} has a run with other settings: {', '.join(differing[:3])}{more}; "
            f"use the same settings to resume it, or another --workdir{start}"
        )


def _check_keys(config: ConfigDict, file: str) -> None:
    """Raises: UserError: the configuration in `file` does not have the keys of `defaults()`."""
    known, keys = dict(flatten(defaults())), dict(flatten(config))
    for key in keys:
        if key not in known and not key.startswith(OPEN_SECTIONS):
            raise UserError(f"{file}: {_unknown(key, known)}")
    if missing := [key for key in known if key not in keys]:
        raise UserError(f"{file}: there is no config.{missing[0]}; start from c = defaults()")


def _override(config: ConfigDict, arguments: Sequence[str]) -> ConfigDict:
    keys = dict(flatten(config))
    for name, value in read_settings(arguments, "config"):
        if name not in keys:
            common = _augmentation(config)
            if name not in common:
                raise UserError(_unknown(name, keys | common))
            with config.unlocked():
                config.update_from_flattened_dict({name: common[name]})
            keys = dict(flatten(config))
        if value is None and not isinstance(keys[name], bool):
            raise UserError(f"--config.{name} needs a value: --config.{name}=...")
        argument = f"--config.{name}" + ("" if value is None else f"={value}")
        parsed = flags.FlagValues()
        try:
            config_flags.DEFINE_config_dict(
                "config", config, flag_values=parsed, sys_argv=[argument]
            )
            parsed(["maed", argument])
            if not _same_types(dict(flatten(parsed.config))[name], keys[name]):
                raise TypeError  # a tuple of other types: the flag accepts any
        except (flags.Error, TypeError, ValueError, SyntaxError):
            what = _kind(keys[name])
            raise UserError(f"config.{name} must be {what}, not {value!r:.80}") from None
        config = parsed.config
    return config


def _augmentation(config: ConfigDict) -> dict[str, Any]:
    """The settings of the sections for one kind of data, with the values for all kinds."""
    return {
        f"{section}{key}": value
        for section in OPEN_SECTIONS
        if section.startswith("data.augment_")
        for key, value in config.data.augment.items()
    }


def _same_types(new: Any, old: Any) -> bool:
    """Whether `new` has the types of `old`; tuples may be longer, with more items like the last."""
    if isinstance(old, tuple):
        if not isinstance(new, tuple):
            return False
        return all(_same_types(n, o) for n, o in zip(new, old + old[-1:] * (len(new) - len(old))))
    if isinstance(new, bool) != isinstance(old, bool):
        return False  # in Python, True is an int
    return isinstance(new, int | float if isinstance(old, float) else type(old))


def _kind(default: Any) -> str:
    """What a setting must be, given its default."""
    return KINDS.get(type(default).__name__, f'a tuple such as "{default}"')


def _unknown(name: str, known: Collection[str]) -> str:
    """The error message for a setting that is not among the `known` ones."""
    sections = any(key.startswith(f"{name}.") for key in known)
    hint = "name one of its keys" if sections else suggest_setting(name, list(known))
    kind = "is a section" if sections else "does not exist"
    return f"the setting config.{name:.80} {kind}; {hint}"


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(v) for key, v in value.items()}
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
