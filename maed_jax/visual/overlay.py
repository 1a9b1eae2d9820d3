"""Draws the reconstructed bodies over their video.

Bodies are drawn exactly where the model saw them, with the camera of their crop, and in the depth
order of the full image's camera: every vertex goes to the pixel where its crop's camera projects
it, with the depth from its person's translation. Nearer people therefore hide farther ones.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from maed_jax.body.camera import project as project_crop
from maed_jax.body.smpl import Body, pose_body
from maed_jax.chunks import in_chunks
from maed_jax.data.pixels import nearest, rescaled
from maed_jax.files.atomic import atomic_write
from maed_jax.inference.reconstruct import exactly, to_pixels
from maed_jax.inference.results import Person
from maed_jax.inference.video import Video, VideoWriter, fit, no_progress
from maed_jax.machine import available_cores
from maed_jax.threads import map_in_threads
from maed_jax.visual.bodies import draw_bodies
from maed_jax.visual.colors import color_of
from maed_jax.visual.render import Renderer

BACKGROUND = 236  # grey level of the side view
OPACITY = 0.9  # of bodies: slightly transparent
MAX_SIDE = 1280  # longest side of the overlay video, pixels; larger videos are scaled down
THREADS = 2  # for rasterising: two took 0.6 of the time of one, on two cores
CHUNK = 32  # frames whose vertices are computed at a time


def write_overlay(
    path: str | Path,
    video: Video,
    people: list[Person],
    body: Body,
    *,
    num_frames: int,
    side_view: bool = False,
    progress: Callable = no_progress,
) -> None:
    """Writes `video` with everybody's body, box and number drawn over it, frame by frame.

    Args:
      path: of the video (.mp4), or of an image (.jpg) if there is only one frame.
      body: the body that the people were reconstructed with.
      num_frames: number of frames of the video that were reconstructed.
      side_view: also show everybody from the side, next to the video, rotated by 90 degrees about
        their upright axis.
      progress: wraps the iterator of frames to show progress.

    Raises:
      UserError: the file cannot be written, or rendering is not possible on this machine.
    """
    width, height = fit(video.size, MAX_SIDE)
    scale = np.array([width / video.size[0], height / video.size[1]])
    faces = np.asarray(body.faces)
    waiting = sorted(people, key=lambda person: -int(person.frames[0]))
    active: list[tuple[Person, Iterator[np.ndarray], dict[int, int]]] = []
    path = Path(path)
    output = VideoWriter(path, video.fps) if path.suffix == ".mp4" else ImageWriter(path)
    threads = min(THREADS, available_cores())
    with Renderer((height, width), threads) as renderer, output as writer:
        frames = map_in_threads(
            lambda frame: frame.image(MAX_SIDE), exactly(video.frames(), num_frames)
        )
        for frame, image in progress(frames, num_frames):
            while waiting and waiting[-1].frames[0] <= frame.index:
                person = waiting.pop()
                rows = {int(number): row for row, number in enumerate(person.frames)}
                active.append((person, camera_verts(person, body), rows))
            visible = [
                (person, rows[frame.index], next(verts))
                for person, verts, rows in active
                if frame.index in rows
            ]
            active = [entry for entry in active if entry[0].frames[-1] > frame.index]
            draw_people(image, visible, faces, scale, renderer)
            for person, row, _ in visible:
                draw_label(image, person, row, scale)
            if side_view:
                turned = [(person, row, turn(verts)) for person, row, verts in visible]
                side = np.full_like(image, BACKGROUND)
                draw_people(side, turned, faces, scale, renderer)
                image = np.hstack([image, side])
            writer.write(image, frame.time)


def turn(verts: np.ndarray) -> np.ndarray:
    """Rotates a body [verts 3] by 90 degrees about the upright axis through its middle."""
    x, y, z = verts.T
    middle_x, middle_z = (x.min() + x.max()) / 2, (z.min() + z.max()) / 2
    return np.stack([middle_x + z - middle_z, y, middle_z - x + middle_x], axis=-1)


class ImageWriter:
    """Stands in for a `VideoWriter` to write a single image."""

    def __init__(self, path: Path):
        self._path = path

    def __enter__(self) -> ImageWriter:
        return self

    def write(self, image: np.ndarray, time: float) -> None:
        """Writes uint8 [h w 3] RGB.

        Raises:
          UserError: the file cannot be written.
        """
        _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
        with atomic_write(self._path) as file:  # OpenCV crashes on names that are not Unicode
            file.write(data)

    def __exit__(self, *_) -> None:
        pass


def draw_people(
    image: np.ndarray,
    people: list[tuple[Person, int, np.ndarray]],
    faces: np.ndarray,
    scale: np.ndarray,
    renderer: Renderer,
) -> None:
    """Draws the bodies of `people` (person, row in their arrays, verts [verts 3]) over an image.

    scale: [2] pixels of the image per pixel of the video.
    """
    if not people:
        return
    camera = people[0][0].intrinsics  # the same for everybody
    intrinsics = np.concatenate([camera[:2] * scale, rescaled(camera[2:], scale)])
    colors = [color_of(person.id) for person, *_ in people]
    bodies = [verts for *_, verts in people]
    draw_bodies(image, bodies, faces, colors, intrinsics, renderer, OPACITY)


def draw_label(image: np.ndarray, person: Person, row: int, scale: np.ndarray) -> None:
    """Draws a person's number and box (dashed if interpolated or held) into an image."""
    box = person.boxes[row]
    low, high = (rescaled(box[:2] + sign * box[2:] / 2, scale) for sign in (-1, 1))
    color = color_of(person.id)
    line = max(1, round(max(image.shape[:2]) / 640))
    if person.detected[row]:
        cv2.rectangle(image, nearest(low), nearest(high), color, line, cv2.LINE_AA)
    else:
        _draw_dashed(image, low, high, color, line)
    size = max(0.4, max(image.shape[:2]) / 1600)
    (width, height), _ = cv2.getTextSize(str(person.id), cv2.FONT_HERSHEY_SIMPLEX, size, line)
    pad = height // 2
    corner = np.clip(low, 0, np.array(image.shape[1::-1]) - [width + 2 * pad, height + 2 * pad])
    cv2.rectangle(
        image, nearest(corner), nearest(corner + [width + 2 * pad, height + 2 * pad]), color, -1
    )
    cv2.putText(
        image,
        str(person.id),
        nearest(corner + [pad, pad + height]),
        cv2.FONT_HERSHEY_SIMPLEX,
        size,
        (255, 255, 255),
        line,
        cv2.LINE_AA,
    )


def _draw_dashed(
    image: np.ndarray, low: np.ndarray, high: np.ndarray, color: tuple[int, int, int], line: int
) -> None:
    corners = [low, [high[0], low[1]], high, [low[0], high[1]], low]
    for start, end in zip(np.array(corners[:-1]), np.array(corners[1:])):
        dashes = max(1, round(np.abs(end - start).sum() / (12 * line)))
        for i in range(dashes):
            a, b = (start + (end - start) * (i + part) / dashes for part in (0.2, 0.8))
            cv2.line(image, nearest(a), nearest(b), color, line, cv2.LINE_AA)


def camera_verts(person: Person, body: Body) -> Iterator[np.ndarray]:
    """Yields a person's vertices [verts 3] frame by frame, in the full image's camera, metres.

    The camera `person.intrinsics` projects them to the pixels where the crop's camera sees them, so
    they are slightly sheared compared with the true body, `pose_body` plus `translation`.
    """
    verts_of = functools.partial(_camera_verts, body, jnp.asarray(person.intrinsics))
    inputs = person.rotmat, person.shape, person.camera, person.crops, person.translation
    for _, verts in in_chunks(verts_of, CHUNK, *inputs):
        yield from verts


@jax.jit
def _camera_verts(
    body: Body,
    intrinsics: jax.Array,
    rotmat: jax.Array,
    shape: jax.Array,
    camera: jax.Array,
    crop: jax.Array,
    translation: jax.Array,
) -> jax.Array:
    verts = pose_body(body, rotmat, shape).verts
    in_crop = project_crop(verts, camera)
    pixels = to_pixels(in_crop, crop)
    depth = verts[..., 2:] + translation[:, None, 2:]
    return jnp.concatenate([(pixels - intrinsics[2:]) / intrinsics[:2] * depth, depth], axis=-1)
