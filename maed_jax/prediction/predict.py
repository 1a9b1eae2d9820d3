"""End-to-end prediction: from a video and an estimator to people, in memory or in files."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import numbers
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import maed_jax
from maed_jax.body.smpl import keypoint_body
from maed_jax.errors import UserError, reason
from maed_jax.exports.people import export_people
from maed_jax.inference import results
from maed_jax.inference.boxes_file import BoxesFile, read_boxes
from maed_jax.inference.detect import make_detector
from maed_jax.inference.detections import Detector
from maed_jax.inference.image_sequence import FPS, ImageSequence, is_still, open_source
from maed_jax.inference.people import Found, find_people
from maed_jax.inference.reconstruct import reconstruct
from maed_jax.inference.results import Person
from maed_jax.inference.smoothing import smooth_person
from maed_jax.inference.unfinished import Work, in_memory, many_files, unfinished
from maed_jax.inference.video import Video, no_progress
from maed_jax.visual.index_page import write_page

if TYPE_CHECKING:
    from maed_jax.estimator import Estimator

Passes = Callable[[str], Callable]
"""maps the name of a pass over the video to a wrapper of its frames that shows progress"""


@dataclasses.dataclass(frozen=True)
class Options:
    """The options of a prediction, besides the video and the model.

    See `predict_video` for those that it takes too.
    """

    boxes: BoxesFile | None = None
    detector: str = "hog"
    batch: int = 8
    focal: float | None = None
    smooth: bool = False
    one_shape: bool = True
    exports: Sequence[str] = ()
    """formats of `maed_jax.exports.people.FORMATS`"""
    attention: bool = False
    """write what the model attended to, which runs it a second time"""
    overlay: bool = True
    """draw the overlay and, with `attention`, its videos and plots"""
    side_view: bool = False
    """also show everybody from the side, next to the overlay"""

    def finder(self) -> Detector | BoxesFile:
        """Returns the source of people's boxes."""
        return make_detector(self.detector) if self.boxes is None else self.boxes

    def source(self) -> dict[str, str]:
        """Returns the source of the boxes, as in results.json."""
        if self.boxes is None:
            return {"detector": self.detector}
        return {"file": str(self.boxes.path)}


def predict_video(
    path: str | Path,
    estimator: Estimator | str | Path,
    *,
    boxes: str | Path | None = None,
    detector: str = "hog",
    batch: int = 8,
    focal: float | None = None,
    smooth: bool = False,
    one_shape: bool = True,
    fps: float = FPS,
) -> list[Person]:
    """Reconstructs the people in a video; writes nothing.

    Args:
      path: of a video, an image, or a folder of a video's frames.
      estimator: from `maed_jax.from_torch` or `restore_estimator`, or the work directory to restore
        it from.
      boxes: file with people's boxes, instead of a detector; see `boxes_file.read_boxes`.
      detector: name of a built-in detector, or path of an ONNX file.
      batch: clips per batch.
      focal: focal length of the video's camera, pixels; None: the image diagonal.
      smooth: filter jitter out of rotations and camera; see `smoothing`.
      one_shape: give every frame of a track its mean shape.
      fps: frames per second of a folder of images.

    Returns:
      The people, by the frame in which they appear, or by their ids in `boxes`.

    Raises:
      UserError: the video or the boxes cannot be read, there is nobody in the video, a number is
        not above 0, or `batch` is not an integer.
    """
    for name, value in {"batch": batch, "focal": focal, "fps": fps}.items():
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"{name} must be above 0, not {value}")
    if not isinstance(batch, numbers.Integral):
        raise UserError(f"batch must be a whole number, not {batch}")
    if isinstance(estimator, (str, Path)):
        estimator = maed_jax.restore_estimator(estimator)
    video = open_source(path, fps)
    options = Options(
        boxes=None if boxes is None else read_boxes(boxes),
        detector=detector,
        batch=batch,
        focal=focal,
        smooth=smooth,
        one_shape=one_shape,
    )
    return _Prediction(video, options.finder(), estimator, options).people()[1]


def predict_to(
    out: str | Path,
    video: Video,
    estimator: Estimator,
    options: Options,
    *,
    again: bool = True,
    model: dict | None = None,
    progress: Passes = lambda label: no_progress,
) -> dict:
    """Reconstructs the people in a video and writes all results to the directory `out`.

    A call that is interrupted, or fails after finding somebody, leaves its work in `out`; the same
    call resumes from there. People are written before anything is drawn, and stay if drawing fails.

    Args:
      again: repeat a call that has already succeeded.
      model: facts about the model, besides the estimator's, for results.json.
      progress: wraps the frames of each pass to show progress.

    Returns:
      The content of results.json.

    Raises:
      UserError: as in `predict_video`, or `out` cannot be written, or rendering is not possible on
        this machine.
    """
    out = Path(out)
    if options.attention:
        from maed_jax.inference.person_attention import attention_shapes

        attention_shapes(estimator)  # fails now rather than in the end
    model = _model_facts(estimator, model)
    job = _job(video, estimator, options, model)
    job_id = _job_id(job, options)
    if not again and (done := _done(out, job_id, options)):
        return done
    _check_inputs_not_replaced(out, video, options)
    finder = options.finder()
    with unfinished(out, job) as work, many_files():
        prediction = _Prediction(video, finder, estimator, options, work, progress)
        try:
            found, people = prediction.people()
            content = prediction.write_people(found, people, model=model, job=job_id)
            _publish(work, content, out, first=True)
            if options.overlay:
                content["overlay"] = prediction.draw(found, people)
                _publish(work, content, out)
            if options.attention:
                content["attention"] = prediction.write_attention(found, people)
                _publish(work, content, out)
        except OSError as error:
            # Not the caller's mistake: keep detections, which may take hours to repeat.
            work.keep = work.keep or bool(work.lines("detections"))
            raise UserError(f"cannot write to {out}: {reason(error)}") from None
    return content


@dataclasses.dataclass(frozen=True)
class _Prediction:
    """The steps of a prediction and their shared state."""

    video: Video
    finder: Detector | BoxesFile
    estimator: Estimator
    options: Options
    work: Work | None = None
    """stores intermediate results and output; None: write nothing"""
    progress: Passes = lambda label: no_progress

    def people(self) -> tuple[Found, list[Person]]:
        """Finds and reconstructs everybody."""
        options, work = self.options, self.work
        allocate = in_memory if work is None else work.array
        found = find_people(self.video, self.finder, work=work, progress=self.progress("find"))
        if work is not None:
            work.keep = True
        reconstructions = reconstruct(
            self.video,
            found.tracks,
            self.estimator,
            num_frames=found.num_frames,
            batch=options.batch,
            focal=options.focal,
            allocate=allocate,
            progress=self.progress("reconstruct"),
        )
        body = keypoint_body(self.estimator.body)
        settings = {"motion": options.smooth, "one_shape": options.one_shape}
        return found, [
            smooth_person(person, body, **settings, allocate=allocate) for person in reconstructions
        ]

    def write_people(self, found: Found, people: list[Person], **facts) -> dict:
        """Writes people and their exports; returns the content of results.json.

        facts: further fields of it.
        """
        options, stage = self.options, self.work.stage()
        for person in people:
            results.save_person(stage / results.file_name(person), person)
        return results.summary(
            people,
            video=_video_facts(self.video, found),
            **facts,
            boxes=options.source(),
            smoothed=options.smooth,
            one_shape=options.one_shape,
            overlay=None,
            attention=[],
            exports=export_people(options.exports, people, self.estimator.body, stage),
        )

    def draw(self, found: Found, people: list[Person]) -> str:
        """Writes the overlay; returns its file name."""
        from maed_jax.visual.overlay import write_overlay

        name = "overlay.jpg" if is_still(self.video) else "overlay.mp4"
        write_overlay(
            self.work.stage() / name,
            self.video,
            people,
            self.estimator.body,
            num_frames=found.num_frames,
            side_view=self.options.side_view,
            progress=self.progress("draw"),
        )
        return name

    def write_attention(self, found: Found, people: list[Person]) -> list[str]:
        """Writes what the model attended to; returns the file names."""
        from maed_jax.visual.attention_files import write_attention

        return write_attention(
            self.work.stage(),
            self.video,
            people,
            found.tracks,
            self.estimator,
            num_frames=found.num_frames,
            batch=self.options.batch,
            drawn=self.options.overlay,
            allocate=self.work.array,
            progress=self.progress,
        )


def _check_inputs_not_replaced(out: Path, video: Video, options: Options) -> None:
    """Raises UserError if results would replace the video or the boxes."""
    inputs = video.files if isinstance(video, ImageSequence) else (video.path,)
    for path in (*inputs, *([] if options.boxes is None else [options.boxes.path])):
        if path.resolve().parent == out.resolve() and results.is_ours(path.name):
            raise UserError(
                f"{path} has the name of a result and would be overwritten in {out}: choose "
                "another --out, or rename it"
            )


def _done(out: Path, job_id: str, options: Options) -> dict | None:
    """Returns the content of results.json if the results are complete and of this very job."""
    try:
        content, _ = results.load_results(out)
    except UserError:
        return None
    drawn = not options.overlay or content["overlay"] is not None
    attention = not options.attention or content["attention"]
    files = [*filter(None, [content["overlay"]]), *content["exports"], *content["attention"]]
    complete = drawn and attention and all((out / name).exists() for name in files)
    return content if complete and content.get("job") == job_id else None


def _publish(work: Work, content: dict, out: Path, *, first: bool = False) -> None:
    stage = work.folder / "results"
    write_page(stage / results.PAGE, content)
    results.write_summary(stage, content)
    results.publish(stage, out, replace=first)


def _video_facts(video: Video, found: Found) -> dict:
    return {
        "path": str(video.path.resolve()),  # readers may run in another directory
        "width": video.size[0],
        "height": video.size[1],
        "fps": float(f"{video.fps:.6g}"),  # never 0, even for a slow time lapse
        "frames": found.num_frames,
        "announced_frames": video.announced,
        "damaged_frames": found.damaged,
    }


def _model_facts(estimator: Estimator, more: dict | None) -> dict:
    names = ("image_size", "clip_length", "margin", "interval")
    facts = (more or {}) | {name: getattr(estimator, name) for name in names}
    return facts | {"maed_jax": maed_jax.__version__}


def _job(video: Video, estimator: Estimator, options: Options, model: dict) -> dict:
    """Returns everything that determines detections and model outputs."""
    return {
        "video": _identity(video),
        "boxes": _file_identity(*options.source().values()),
        "model": model | {"weights": _checksum(estimator)},
    }


def _job_id(job: dict, options: Options) -> str:
    """Returns a checksum of everything that determines the files written."""
    names = ("focal", "smooth", "one_shape", "exports", "attention", "overlay", "side_view")
    settings = [getattr(options, name) for name in names]  # a tuple is a list in JSON
    return hashlib.sha1(json.dumps([job, settings], sort_keys=True).encode()).hexdigest()


def _identity(video: Video) -> list:
    """Returns what distinguishes a video from others, and from itself after a change."""
    files = video.files if isinstance(video, ImageSequence) else (video.path,)
    return [video.fps, *(_file_identity(path) for path in files)]


def _file_identity(path: str | Path) -> list:
    try:
        status = Path(path).stat()
    except OSError:  # the name of a built-in detector
        return [str(path)]
    return [str(Path(path).resolve()), status.st_size, status.st_mtime_ns]


def _checksum(estimator: Estimator) -> int:
    """Returns a checksum of the weights, if the estimator has any."""
    import jax

    total = 0
    for leaf in jax.tree.leaves(getattr(estimator, "variables", ())):
        total = zlib.crc32(np.ascontiguousarray(leaf), total)
    return total
