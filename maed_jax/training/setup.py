"""Sets up a run: devices, data, model, and the training step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from maed_jax.body.files import load_saved_body
from maed_jax.body.smpl import keypoint_body
from maed_jax.data.batches import TrainingBatches
from maed_jax.data.pipeline import training_batches
from maed_jax.errors import UserError
from maed_jax.runs.checkpoints import Checkpoints, read_config, read_variables
from maed_jax.runs.config import check_same_run
from maed_jax.runs.state import TrainState
from maed_jax.training import sharding
from maed_jax.training.cost import Compiled
from maed_jax.training.handover import hand_over
from maed_jax.training.program import make_program, step_options
from maed_jax.training.validation import Validation


class Setup(NamedTuple):
    """See `set_up`."""

    mesh: Mesh
    batches: TrainingBatches
    items: dict[str, int]
    """numbers of clips and images per step"""
    validation: Validation | None
    step: Compiled
    """(state, batch, key) -> state and metrics"""
    step_key: jax.Array
    init: Callable[[], TrainState]
    """returns the initial state"""
    abstract: TrainState
    """shapes, dtypes and shardings of a state"""


def set_up(config: ConfigDict) -> Setup:
    """Builds what `config` describes; does not yet compile the step or initialise parameters.

    All randomness derives from `config.seed` and the step number; no random state is saved.

    Raises:
      UserError: batches do not fit the devices, or data or body are missing.
    """
    data, size = config.data, config.model.image_size
    mesh = sharding.make_mesh(config.mesh.data, config.mesh.fsdp)
    items = {
        "clips": data.clips_per_batch + data.clips_2d_per_batch,
        "images": data.images_per_batch,
    }
    both = " + clips_2d_per_batch" if data.clips_2d_per_batch else ""
    sizes = {f"clips_per_batch{both}": items["clips"], "images_per_batch": items["images"]}
    sharding.check_batch(mesh, config.accumulate, sizes)
    body = load_saved_body(config.body, "--config.body")
    batches = training_batches({**data, "body": body.name}, config.seed, size)

    points_body = keypoint_body(body)
    program = make_program(config, points_body, mesh)
    counted = None
    if config.accumulate > 1:
        counted = make_program(ConfigDict({**config, "accumulate": 1}), points_body, mesh).step
    frames = items["clips"] * data.clip_length + items["images"]
    init_key, step_key = (jax.random.fold_in(jax.random.key(config.seed), i) for i in range(2))
    return Setup(
        mesh=mesh,
        batches=batches,
        items=items,
        validation=Validation(config, program.model, body, mesh) if config.eval_every else None,
        step=Compiled(program.step, step_options(config, frames, mesh), counted),
        step_key=step_key,
        init=lambda: program.init(init_key),
        abstract=program.state,
    )


def initial_state(
    setup: Setup,
    config: ConfigDict,
    checkpoints: Checkpoints,
    workdir: Path,
    log: Callable[[str], Any],
) -> TrainState:
    """The state to start from: the latest in `workdir`, or one from an earlier stage, or a new one.

    Sets the batches of `setup` to the position of that state.

    Raises:
      UserError: checkpoints here or of the earlier stage cannot be read, or the settings differ.
    """
    if checkpoints.steps and (saved_config := read_config(workdir)) is not None:
        check_same_run(saved_config, config, workdir)
    if (restored := checkpoints.restore(setup.abstract)) is not None:
        state, position = restored
        setup.batches.set_state(position)
        if state.step < config.steps:
            log(f"resuming from step {int(state.step)} in {workdir}")
        return state
    if not config.init_from:
        return setup.init()
    try:
        earlier, step = read_variables(config.init_from)
        saved_config = read_config(config.init_from)
    except UserError as error:
        raise UserError(
            f"the earlier stage (--config.init_from=DIR gives another): {error}"
        ) from None
    if saved_config is not None:
        _check_heads(config, saved_config)
    state = setup.init()
    variables, report = hand_over(state.variables, earlier, decoder=config.init_decoder)
    log(f"from {config.init_from}, step {step}:\n{report}")
    return state.starting_from(variables)


def _check_heads(config: ConfigDict, earlier: ConfigDict) -> None:
    """Checks what does not show in the shapes of parameters but changes what they mean."""
    encoders = config.model.encoder, earlier.model.encoder
    decoders = config.model.decoder, earlier.model.decoder
    attention = "cnn" not in encoders or (config.init_decoder and set(decoders) == {"vanilla"})
    heads, before = config.model.heads, earlier.model.heads
    if attention and heads != before:
        raise UserError(
            f"the model of {config.init_from} has {before} heads, and its weights mean something "
            f"else with config.model.heads={heads}: set --config.model.heads={before}"
        )
