"""Reconstructs bodies from a video and its tracks: crops, forms clips, runs the model.

Clips are those of evaluation (`data.windows.eval_windows`): with the paper's model, 128 frames make
eight interleaved clips of every eighth frame. Memory use depends on how many people are in view at
once, not on the length of the video; results, some 2 kB per frame and person, go into the arrays of
`allocate`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import av
import numpy as np

from maed_jax.body.camera import camera_from_crop_to_image, default_focal
from maed_jax.data.images import MAX_SIDE, crop_affine, normalise, warp
from maed_jax.data.windows import eval_windows
from maed_jax.errors import UserError
from maed_jax.estimator import Estimator, check_finite
from maed_jax.inference.results import Reconstruction
from maed_jax.inference.track import Track
from maed_jax.inference.unfinished import Allocate, in_memory
from maed_jax.inference.video import Frame, Video, no_progress

if TYPE_CHECKING:
    import jax

# The outputs of the model that are kept, and their shapes for one frame.
OUTPUTS = {
    "camera": (3,),
    "pose": (72,),
    "shape": (10,),
    "rotmat": (24, 3, 3),
    "keypoints_3d": (49, 3),
    "keypoints_2d": (49, 2),
}
Model = Callable[[np.ndarray], Mapping[str, "jax.Array"]]
"""maps normalised clips float32 [b t h w 3] to arrays [b t ...] by name"""


class _TrackOutputs:
    """The model's outputs for one track, filled clip by clip."""

    def __init__(
        self, track: Track, margin: float, shapes: Mapping[str, tuple[int, ...]], allocate: Allocate
    ):
        n, id = len(track.frames), track.id
        self.crops = crop_squares(track.boxes, margin)
        self.arrays = {
            name: allocate(f"person_{id}_{name}", (n, *shape)) for name, shape in shapes.items()
        }
        self.times = allocate(f"person_{id}_times", (n,), np.float64)
        self.done = allocate(f"person_{id}_done", (n,), bool)
        """True: the frame has its outputs; set last, so that interrupted runs can resume"""


class _Run:
    """Consecutive frames of one track: collects crops, yields clips, stores their outputs."""

    def __init__(
        self, track: Track, part: slice, clip_length: int, interval: int, outputs: _TrackOutputs
    ):
        self.frames = track.frames[part]
        self.crops = outputs.crops[part]
        self.times, self.done = outputs.times[part], outputs.done[part]
        self._arrays = {name: array[part] for name, array in outputs.arrays.items()}
        indices, mask = eval_windows(len(self.frames), clip_length, interval)
        remaining = ~(self.done[indices] | ~mask).all(axis=1)  # not done by an earlier run
        indices, mask = indices[remaining], mask[remaining]
        order = np.argsort(indices.max(axis=1), kind="stable")  # in order of completion
        self._indices, self._mask = indices[order], mask[order]
        self.needed = np.zeros(len(self.frames), bool)
        self.needed[indices] = True
        # the first frame that this clip or a later one still needs
        self._first_needed = np.minimum.accumulate(self._indices.min(axis=1)[::-1])[::-1]
        self._next = 0
        self._buffer: dict[int, np.ndarray] = {}

    @property
    def clips_left(self) -> int:
        return len(self._indices) - self._next

    def add(self, position: int, crop: np.ndarray) -> Iterator[_Clip]:
        """Adds the crop of the run's frame `position`; yields the clips that it completes."""
        self._buffer[position] = crop
        while self._next < len(self._indices) and self._indices[self._next].max() <= position:
            indices, mask = self._indices[self._next], self._mask[self._next]
            yield _Clip(self, indices, mask, np.stack([self._buffer[i] for i in indices]))
            self._next += 1
            first = self._first_needed[self._next] if self.clips_left else len(self.frames)
            self._buffer = {i: crop for i, crop in self._buffer.items() if i >= first}

    def put(self, positions: np.ndarray, outputs: dict[str, np.ndarray]) -> None:
        if self.done[positions].any():
            raise AssertionError("a frame was reconstructed twice")
        for name, values in outputs.items():
            self._arrays[name][positions] = values
        self.done[positions] = True


@dataclasses.dataclass(frozen=True)
class _Clip:
    run: _Run
    indices: np.ndarray
    """[t] positions in the run"""
    mask: np.ndarray
    """[t] True: the frame's outputs are taken from this clip"""
    images: np.ndarray
    """uint8 [t h w 3]"""


class _Batches:
    """Runs clips in batches that all have one shape, so that they compile once."""

    def __init__(self, model: Model, batch: int):
        self._model, self._size = model, batch
        self._waiting: list[_Clip] = []
        self._running: tuple[list[_Clip], Mapping[str, jax.Array]] | None = None

    def add(self, clip: _Clip) -> None:
        self._waiting.append(clip)
        if len(self._waiting) == self._size:
            self._start()

    def finish(self) -> None:
        if self._waiting:
            self._start()
        self._collect()

    def _start(self) -> None:
        clips, self._waiting = self._waiting, []
        images = np.zeros((self._size, *clips[0].images.shape), np.uint8)
        images[: len(clips)] = [clip.images for clip in clips]
        pixels = normalise(images)
        self._collect()
        # JAX returns before the results are ready, so the next frames are decoded meanwhile.
        self._running = clips, self._model(pixels)

    def _collect(self) -> None:
        if self._running is None:
            return
        (clips, outputs), self._running = self._running, None
        outputs = {name: np.asarray(values) for name, values in outputs.items()}
        for row, clip in enumerate(clips):
            kept = {name: values[row][clip.mask] for name, values in outputs.items()}
            clip.run.put(clip.indices[clip.mask], kept)


def reconstruct(
    video: Video,
    tracks: Sequence[Track],
    estimator: Estimator,
    *,
    num_frames: int,
    batch: int = 8,
    focal: float | None = None,
    allocate: Allocate = in_memory,
    progress: Callable = no_progress,
) -> list[Reconstruction]:
    """Reconstructs every frame of every track exactly once.

    Args:
      tracks: people's boxes, as returned by `people.find_people`.
      num_frames: number of frames of the video that the tracks were made for.
      batch: clips per batch, of any people.
      focal: focal length of the full image's camera in pixels; None: the image diagonal.
      allocate: creates the output arrays; frames marked done in them are not computed again.
      progress: wraps the iterator of frames to show progress.

    Raises:
      UserError: the estimator's outputs are not finite.
    """

    def model(clips: np.ndarray) -> dict[str, jax.Array]:
        prediction = estimator(clips, vertices=False)
        return {name: getattr(prediction, name) for name in OUTPUTS}

    outputs = each_frame(
        video,
        tracks,
        estimator,
        model,
        OUTPUTS,
        num_frames=num_frames,
        batch=batch,
        allocate=allocate,
        progress=progress,
    )
    width, height = video.size
    focal = default_focal((height, width)) if focal is None else focal
    intrinsics = np.array([focal, focal, width / 2, height / 2], np.float32)
    return [_reconstruction(*pair, intrinsics) for pair in zip(tracks, outputs)]


def each_frame(
    video: Video,
    tracks: Sequence[Track],
    estimator: Estimator,
    model: Model,
    shapes: Mapping[str, tuple[int, ...]],
    *,
    num_frames: int,
    batch: int,
    allocate: Allocate,
    progress: Callable,
) -> list[_TrackOutputs]:
    """Returns the outputs of `model` for every frame of each track.

    Args:
      estimator: determines the clips: image size, length, frame interval and margin.
      shapes: of the arrays that `model` returns, by name, for one frame.
      For the others see `reconstruct`.
    """
    outputs = [_TrackOutputs(track, estimator.margin, shapes, allocate) for track in tracks]
    runs = [
        _Run(track, part, estimator.clip_length, estimator.interval, arrays)
        for track, arrays in zip(tracks, outputs)
        for part in track.runs()
    ]
    clips = sum(run.clips_left for run in runs)
    if clips:
        # Few clips, such as one of an image, need no full batch; powers of two limit compilations.
        batches = _Batches(model, min(batch, 1 << (clips - 1).bit_length()))
        _pass(video, runs, batches, estimator.image_size, num_frames, progress)
    return outputs


def _pass(
    video: Video,
    runs: list[_Run],
    batches: _Batches,
    size: int,
    num_frames: int,
    progress: Callable,
) -> None:
    """Passes every frame to the runs of the people in it, which yield clips as they complete."""
    waiting = sorted(runs, key=lambda run: -int(run.frames[0]))
    active: list[_Run] = []
    for frame in progress(exactly(video.frames(), num_frames), num_frames):
        while waiting and waiting[-1].frames[0] <= frame.index:
            active.append(waiting.pop())
        here = []
        for run in active:
            position = frame.index - int(run.frames[0])
            run.times[position] = frame.time
            if run.needed[position]:
                here.append((run, position))
        crops = cut(frame, [run.crops[i] for run, i in here], size)
        for (run, i), crop in zip(here, crops):
            for clip in run.add(i, crop):
                batches.add(clip)
        active = [run for run in active if run.frames[-1] > frame.index]
    batches.finish()


def _reconstruction(track: Track, outputs: _TrackOutputs, intrinsics: np.ndarray) -> Reconstruction:
    if not outputs.done.all():
        raise AssertionError("a frame was never reconstructed")
    arrays, crops = outputs.arrays, outputs.crops
    check_finite(*arrays.values())
    return Reconstruction(
        id=track.id,
        frames=track.frames,
        times=outputs.times,
        boxes=track.boxes,
        crops=crops,
        detected=track.detected,
        confidence=track.scores,
        translation=np.asarray(camera_from_crop_to_image(arrays["camera"], crops, intrinsics)),
        intrinsics=intrinsics,
        **arrays | {"keypoints_2d": to_pixels(arrays["keypoints_2d"], crops)},
    )


def crop_squares(boxes: np.ndarray, margin: float) -> np.ndarray:
    """Returns the squares around boxes [n 4] that the model sees: centre x, centre y, side [n 3].

    margin: side of the square over longer side of the box.
    """
    side = np.maximum(boxes[:, 2:].max(axis=1, keepdims=True), 1) * margin
    return np.concatenate([boxes[:, :2], side], axis=1).astype(np.float32)


def crop_people(
    frames: Sequence[np.ndarray], boxes: np.ndarray, estimator: Estimator
) -> np.ndarray:
    """Crops a person from frames as the estimator expects it: uint8 `[t side side 3]` RGB.

    `predict_video` crops in the same way. `crops[None]` is a clip; its frames should be
    `estimator.interval` apart, and at most `estimator.clip_length`.

    Args:
      frames: t images, uint8 `[h w 3]` RGB.
      boxes: `[t 4]` centre x, centre y, width, height of the person, pixels.

    Raises:
      UserError: an array has the wrong type or shape.
    """
    boxes = np.asarray(boxes, np.float32)
    if boxes.shape != (len(frames), 4) or not np.isfinite(boxes).all():
        raise UserError(
            f"{len(frames)} frames need boxes [{len(frames)} 4] of finite numbers, one per frame"
        )
    crops = []
    for image, square in zip(frames, crop_squares(boxes, estimator.margin)):
        if image.dtype != np.uint8 or image.shape[2:] != (3,):
            raise UserError(f"frames must be uint8 [h w 3], not {image.dtype} {list(image.shape)}")
        raw = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame = Frame(len(crops), 0.0, False, raw, image.shape[1::-1], rotation=0)
        crops += cut(frame, [square], estimator.image_size)
    return np.stack(crops)


def cut(frame: Frame, crops: list[np.ndarray], size: int) -> list[np.ndarray]:
    """Cuts squares [3] (centre x, centre y, side, in pixels of the video) out of a frame.

    If all of them shrink to less than a half, a quarter or an eighth, the frame is first averaged
    down by that factor, like in training (`data.images.decode_crop`). So is a frame that is too
    large for OpenCV.

    Returns:
      uint8 [size size 3] for each.
    """
    if not crops:
        return []
    shrink = min(float(side) for *_, side in crops) / size
    reduce = next((r for r in (8, 4, 2) if shrink >= r), 1)
    image = frame.image(min(-(-max(frame.size) // reduce), MAX_SIDE))
    ratio = np.array([frame.size[0] / image.shape[1], frame.size[1] / image.shape[0]])
    squares = []
    for x, y, side in crops:
        affine = crop_affine(np.array([x, y, side, side]), size, scale=1.0)
        # pixel i of the scaled image has its centre at ratio * (i + 1/2) - 1/2
        offset = affine[:, :2] @ ((ratio - 1) / 2) + affine[:, 2]
        squares.append(warp(image, np.c_[affine[:, :2] * ratio, offset], size))
    return squares


def to_pixels(points: np.ndarray, crops: np.ndarray) -> np.ndarray:
    """Maps points [n k 2] in crops [n 3], from -1 to 1, to pixels of the video."""
    return (crops[:, None, :2] + points * crops[:, None, 2:] / 2).astype(np.float32)


def exactly(frames: Iterator[Frame], count: int) -> Iterator[Frame]:
    """Yields `count` frames; if a damaged file yields fewer this time, the last is repeated."""
    frame = None
    for frame in itertools.islice(frames, count):
        yield frame
    if frame is not None:
        for missing in range(frame.index + 1, count):
            yield dataclasses.replace(frame, index=missing, damaged=True)
