"""The output of `maed predict --attention`: a file, a video and a plot per person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from maed_jax.estimator import Estimator
from maed_jax.inference.image_sequence import is_still
from maed_jax.inference.person_attention import Attention, attention_of_tracks, save_attention
from maed_jax.inference.results import Person, attention_file_name
from maed_jax.inference.track import Track
from maed_jax.inference.unfinished import Allocate
from maed_jax.inference.video import Video
from maed_jax.visual.attention_plot import crop_rows, write_plot
from maed_jax.visual.attention_video import heat_map_crops, write_videos

CROP = 160  # side of the crops in a plot, pixels


def write_attention(
    folder: Path,
    video: Video,
    people: Sequence[Person],
    tracks: Sequence[Track],
    estimator: Estimator,
    *,
    num_frames: int,
    batch: int,
    drawn: bool,
    allocate: Allocate,
    progress: Callable[[str], Callable],
) -> list[str]:
    """Writes what the model attended to.

    Args:
      people: reconstructed from `tracks`, in the same order.
      drawn: whether to write videos and plots too.
      For the others see `person_attention.attention_of_tracks` and `predict.predict_to`.

    Returns:
      The names of the files in `folder`.

    Raises:
      UserError: matplotlib is missing, or a file cannot be written.
    """
    attentions = attention_of_tracks(
        video,
        tracks,
        estimator,
        num_frames=num_frames,
        batch=batch,
        allocate=allocate,
        progress=progress("attend"),
    )
    for attention in attentions:
        save_attention(folder / attention_file_name(attention.id), attention)
    if drawn:
        _draw(folder, video, people, attentions, num_frames, progress("draw_attention"))
    return sorted(path.name for path in folder.glob("attention_*"))


def _draw(
    folder: Path,
    video: Video,
    people: Sequence[Person],
    attentions: Sequence[Attention],
    num_frames: int,
    progress: Callable,
) -> None:
    crops: list[list] = [[] for _ in people]
    if attentions[0].space is not None:
        rows = [crop_rows(attention) for attention in attentions]
        crops = heat_map_crops(video, people, attentions, rows, size=CROP)
    for attention, person_crops in zip(attentions, crops):
        write_plot(folder / f"attention_{attention.id}.png", attention, person_crops)
    moving = attentions[0].space is not None or attentions[0].time is not None
    if moving and not is_still(video):
        paths = [folder / f"attention_{person.id}.mp4" for person in people]
        write_videos(paths, video, people, attentions, num_frames=num_frames, progress=progress)
