"""What the model attended to in every frame of a person's track, and its file format.

docs/viewer.md describes the file; `attention_maps` returns all weights of a clip.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange, reduce

from maed_jax.body.smpl import Body
from maed_jax.data.windows import eval_windows
from maed_jax.errors import UserError
from maed_jax.estimator import Estimator
from maed_jax.files.formats import check_format
from maed_jax.files.numpy import check_axes, open_npz
from maed_jax.inference.reconstruct import each_frame
from maed_jax.inference.results import check_frames
from maed_jax.inference.track import Track
from maed_jax.inference.unfinished import Allocate, in_memory
from maed_jax.inference.video import Video, no_progress
from maed_jax.models.encoder import attention_weights
from maed_jax.models.joint_attention import joint_fractions
from maed_jax.models.ktd import ktd_ancestors
from maed_jax.models.maed import MAED

FORMAT = 1  # increased when older readers would fail


@dataclasses.dataclass(frozen=True)
class Attention:
    """What the model attended to in every frame of a person's track.

    Weights are those of the token that is read out (token 0), averaged over heads. Arrays that the
    model does not have are None.
    """

    id: int
    frames: np.ndarray
    """int64 [n] frame numbers in the video, as in `Person`"""
    blocks: np.ndarray
    """int32 [blocks] index of each block in the model, from 0"""
    space: np.ndarray | None = None
    """float16 [n blocks h w] weight of each position of the crop's grid"""
    time: np.ndarray | None = None
    """float16 [n blocks t] weight of each frame of the clip"""
    clip_frames: np.ndarray | None = None
    """int64 [n t] frame numbers in the video of that clip's frames; in short tracks they repeat"""
    gates: np.ndarray | None = None
    """float16 [n blocks heads] weight of time as opposed to space, mean over a head's channels"""
    joints: np.ndarray | None = None
    """float16 [n 24 24] fraction of a joint's rotation (row) from another joint (column); see
    `joint_attention`"""


# Types and axes of the arrays; see `Attention` for their meaning.
AXES = {
    "frames": "int n", "blocks": "int blocks", "space": "float n blocks h w",
    "time": "float n blocks t", "clip_frames": "int n t", "gates": "float n blocks heads",
    "joints": "float n 24 24", "id": "int", "format": "int",
}  # fmt: skip
ARRAYS = tuple(f.name for f in dataclasses.fields(Attention) if f.name != "id")


def attention_of_tracks(
    video: Video,
    tracks: Sequence[Track],
    estimator: Estimator,
    *,
    num_frames: int,
    batch: int = 8,
    allocate: Allocate = in_memory,
    progress: Callable = no_progress,
) -> list[Attention]:
    """Runs the model over every frame of every track again, recording its attention.

    Args:
      As in `reconstruct.reconstruct`.

    Raises:
      UserError: the model has no attention.
    """
    model, shapes = estimator.model, attention_shapes(estimator)
    outputs = each_frame(
        video,
        tracks,
        estimator,
        functools.partial(_attention, model, estimator.variables, estimator.body),
        shapes,
        num_frames=num_frames,
        batch=batch,
        allocate=lambda name, *args: allocate(f"attention_{name}", *args),
        progress=progress,
    )
    blocks = np.arange(0 if model.encoder == "cnn" else model.depth, dtype=np.int32)
    return [
        Attention(
            id=track.id,
            frames=track.frames,
            blocks=blocks,
            clip_frames=clip_frames(track, estimator) if "time" in shapes else None,
            **{name: array.astype(np.float16) for name, array in output.arrays.items()},
        )
        for track, output in zip(tracks, outputs)
    ]


def attention_shapes(estimator: Estimator) -> dict[str, tuple[int, ...]]:
    """Returns the model's kinds of attention (fields of `Attention`), and their shapes per frame.

    Raises:
      UserError: the model has no attention.
    """
    model = estimator.model
    clip = jnp.zeros((1, estimator.clip_length, model.image_size, model.image_size, 3))
    attention = functools.partial(_attention, model, estimator.variables, estimator.body)
    shapes = {name: array.shape[2:] for name, array in jax.eval_shape(attention, clip).items()}
    if not shapes:
        raise UserError(
            f"the encoder {model.encoder!r} with the decoder {model.decoder!r} has no attention"
        )
    return shapes


def clip_frames(track: Track, estimator: Estimator) -> np.ndarray:
    """Returns the frame numbers [n t] of the clips from which a track's frames are estimated."""
    length, interval = estimator.clip_length, estimator.interval
    out = np.zeros((len(track.frames), length), np.int64)
    for part in track.runs():
        frames = track.frames[part]
        for indices, mask in zip(*eval_windows(len(frames), length, interval)):
            out[part][indices[mask]] = frames[indices]
    return out


@functools.partial(jax.jit, static_argnums=0)
def _attention(model: MAED, variables: Any, body: Body, clip: jax.Array) -> dict[str, jax.Array]:
    """Returns what token 0 attends to in clips `[b t h w 3]`: arrays `[b t ...]` by name."""
    (_, regression), state = model.apply(
        variables, clip, body, method="regress", mutable="intermediates"
    )
    blocks = attention_weights(state)
    kinds = blocks[0].keys() if blocks else ()
    out = {}
    if "space" in kinds:
        out["space"] = jnp.stack([block["space"][:, :, :, 0, 1:].mean(2) for block in blocks], 2)
    if "time" in kinds:
        out["time"] = jnp.stack([block["time"][:, 0].mean(1) for block in blocks], 2)
    if "joint" in kinds:  # summed over frames, and over positions
        joint = jnp.stack([block["joint"][:, :, :, 0].mean(1) for block in blocks], 2)
        out |= {"space": joint[..., 1:].sum(-2), "time": joint.sum(-1)}
    if "space" in out:
        side = round(out["space"].shape[-1] ** 0.5)
        out["space"] = rearrange(out["space"], "b t blocks (h w) -> b t blocks h w", h=side)
    if "gates" in kinds:
        gates = jnp.stack([block["gates"] for block in blocks], 2)
        out["gates"] = reduce(gates, "b t n (heads dh) -> b t n heads", "mean", heads=model.heads)
    if model.decoder.startswith("ktd"):
        ancestors = ktd_ancestors(model.decoder, model.tree_seed)
        params = variables["params"]["decoder"]
        out["joints"] = joint_fractions(params, regression.pose6d, ancestors)
    return {name: array.astype(jnp.float32) for name, array in out.items()}


def save_attention(path: str | Path, attention: Attention) -> None:
    """Writes an `.npz` of the fields of `Attention` that are not None, and `format`."""
    arrays = {name: getattr(attention, name) for name in ARRAYS}
    arrays = {name: array for name, array in arrays.items() if array is not None}
    np.savez_compressed(path, format=np.array(FORMAT), id=np.array(attention.id), **arrays)


def load_attention(path: str | Path) -> Attention:
    """Reads the output of `save_attention`.

    Raises:
      UserError: there is no such file, or it is not valid.
    """
    try:
        with open_npz(path) as file:
            facts = {name: file[name] for name in ("format", "id")}
            check_axes(facts, AXES)
            check_format(int(facts["format"]), FORMAT)
            arrays = {"frames": file["frames"], "blocks": file["blocks"]}
            arrays |= {name: file[name] for name in ARRAYS if name in file}
        check_axes(arrays, AXES)
        check_frames(arrays["frames"])
    except FileNotFoundError:
        raise UserError(f"there is no file {path}") from None
    except KeyError as error:
        raise UserError(f"{path} is not an attention file (it lacks {error})") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path} is not an attention file ({error})") from None
    return Attention(id=int(facts["id"]), **arrays)
