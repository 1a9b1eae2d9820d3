"""Prediction from end to end: a video and an estimator to people, in memory or as files."""

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
from maed_jax.inference.people import Found, find_people
from maed_jax.inference.pictures import FPS, Pictures, is_still, open_source
from maed_jax.inference.reconstruct import reconstruct
from maed_jax.inference.results import Person
from maed_jax.inference.smoothing import smooth_person
from maed_jax.inference.unfinished import Work, in_memory, many_files, unfinished
from maed_jax.inference.video import Video, no_progress
from maed_jax.visual.index_page import write_page

if TYPE_CHECKING:
    from maed_jax.estimator import Estimator

Passes = Callable[[str], Callable]
"""gives for the name of a pass over the video what wraps its frames, to show how far it is"""


@dataclasses.dataclass(frozen=True)
class Options:
    """What is asked of a prediction, besides the video and the model.

    The first are arguments of `predict_video`, which explains them.
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
    """write what the model attended to, for which it runs once more"""
    overlay: bool = True
    """draw: the overlay, and with `attention` its films and plots"""
    side_view: bool = False
    """show everybody from their side too, beside the overlay"""

    def finder(self) -> Detector | BoxesFile:
        """What says where people are."""
        return make_detector(self.detector) if self.boxes is None else self.boxes

    def source(self) -> dict[str, str]:
        """Where the boxes come from, as results.json says it."""
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
    """Reconstructs the people in a video; nothing is written.

    Args:
      path: of a video, of a picture, or of a folder of a video's frames.
      estimator: as `maed_jax.from_torch` and `restore_estimator` give it, or the work directory to
        restore it from.
      boxes: a file with people's boxes, in place of the detector; see `boxes_file.read_boxes`.
      detector: name of a built-in detector, or the path of an ONNX file.
      batch: clips at a time.
      focal: focal length of the video's camera, pixels; its diagonal if None.
      smooth: filter jitter out of rotations and camera; see `smoothing`.
      one_shape: the mean shape of each track in all of its frames.
      fps: frames per second of a folder of pictures.

    Returns:
      the people by the frame in which they appear.

    Raises:
      UserError: the video or the boxes cannot be read, there is nobody in it, a number is not above
        0, or `batch` is not a whole one.
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

    A call that is interrupted, or fails once somebody was found, leaves its work in `out`; the same
    call goes on from there. People are written before anything is drawn, and stay where drawing
    fails.

    Args:
      again: do it all again where the very same call has ended well before.
      model: facts of the model besides the estimator's, for results.json.

    Returns:
      the contents of results.json.

    Raises:
      UserError: as `predict_video`, or `out` cannot be written, or rendering is not possible here.
    """
    out = Path(out)
    if options.attention:
        from maed_jax.inference.person_attention import kinds

        kinds(estimator)  # raises an error now, and not when all is done
    model = _model_facts(estimator, model)
    job = _job(video, estimator, options, model)
    job_id = _job_id(job, options)
    if not again and (done := _done(out, job_id, options)):
        return done
    _check_inputs_stay(out, video, options)
    finder = options.finder()
    with unfinished(out, job) as work, many_files():
        steps = _Prediction(video, finder, estimator, options, work, progress)
        try:
            found, people = steps.people()
            content = steps.write_people(found, people, model=model, job=job_id)
            _publish(work, content, out, first=True)
            if options.overlay:
                content["overlay"] = steps.draw(found, people)
                _publish(work, content, out)
            if options.attention:
                content["attention"] = steps.write_attention(found, people)
                _publish(work, content, out)
        except OSError as error:
            # It is no mistake of the call: what was found takes hours to find again.
            work.wanted = work.wanted or bool(work.lines("detections"))
            raise UserError(f"cannot write to {out}: {reason(error)}") from None
    return content


@dataclasses.dataclass(frozen=True)
class _Prediction:
    """The steps of a prediction, and what they share."""

    video: Video
    finder: Detector | BoxesFile
    estimator: Estimator
    options: Options
    work: Work | None = None
    """keeps what is found, and takes what is written; without it nothing is written"""
    progress: Passes = lambda label: no_progress

    def people(self) -> tuple[Found, list[Person]]:
        """Finds and reconstructs everybody."""
        options, work = self.options, self.work
        keep = in_memory if work is None else work.array
        found = find_people(self.video, self.finder, work=work, progress=self.progress("find"))
        if work is not None:
            work.wanted = True
        answers = reconstruct(
            self.video,
            found.tracks,
            self.estimator,
            num_frames=found.num_frames,
            batch=options.batch,
            focal=options.focal,
            keep=keep,
            progress=self.progress("reconstruct"),
        )
        body = keypoint_body(self.estimator.body)
        how = {"motion": options.smooth, "one_shape": options.one_shape, "keep": keep}
        return found, [smooth_person(answer, body, **how) for answer in answers]

    def write_people(self, found: Found, people: list[Person], **facts) -> dict:
        """Writes people and their exports; gives the contents of results.json.

        facts: more of those contents.
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
        """Writes the overlay; gives the name of its file."""
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
        """Writes what the model attended to; gives the names of the files."""
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
            keep=self.work.array,
            progress=self.progress,
        )


def _check_inputs_stay(out: Path, video: Video, options: Options) -> None:
    """Raises: UserError: the video or the boxes would be replaced by results."""
    for given in (video.path, *([] if options.boxes is None else [options.boxes.path])):
        if Path(given).resolve().parent == out.resolve() and results.is_ours(Path(given).name):
            raise UserError(
                f"{given} has the name of a result and would be overwritten in {out}: give another "
                "--out, or rename it"
            )


def _done(out: Path, job_id: str, options: Options) -> dict | None:
    """The contents of results.json where they are complete and those of this very job."""
    try:
        content, _ = results.load_results(out)
    except UserError:
        return None
    drawn = not options.overlay or content["overlay"] is not None
    looked = not options.attention or content["attention"]
    files = [*filter(None, [content["overlay"]]), *content["exports"], *content["attention"]]
    there = all((Path(out) / name).exists() for name in files)
    return content if drawn and looked and there and content.get("job") == job_id else None


def _publish(work: Work, content: dict, out: Path, *, first: bool = False) -> None:
    stage = work.folder / "results"
    write_page(stage / results.PAGE, content)
    results.write_summary(stage, content)
    results.publish(stage, out, replace=first)


def _video_facts(video: Video, found: Found) -> dict:
    return {
        "path": str(video.path.resolve()),  # others look for it from elsewhere
        "width": video.size[0],
        "height": video.size[1],
        "fps": float(f"{video.fps:.6g}"),  # never 0, however slow a time lapse is
        "frames": found.num_frames,
        "announced_frames": video.announced,
        "damaged_frames": found.damaged,
    }


def _model_facts(estimator: Estimator, more: dict | None) -> dict:
    names = ("image_size", "clip_length", "margin", "interval")
    facts = (more or {}) | {name: getattr(estimator, name) for name in names}
    return facts | {"maed_jax": maed_jax.__version__}


def _job(video: Video, estimator: Estimator, options: Options, model: dict) -> dict:
    """Everything that decides what is found and what the model answers."""
    return {
        "video": _identity(video),
        "boxes": _file_identity(*options.source().values()),
        "model": model | {"weights": _checksum(estimator)},
    }


def _job_id(job: dict, options: Options) -> str:
    """A checksum of everything that decides what is written."""
    names = ("focal", "smooth", "one_shape", "exports", "attention", "overlay", "side_view")
    wanted = [getattr(options, name) for name in names]  # a tuple is a list in JSON
    return hashlib.sha1(json.dumps([job, wanted], sort_keys=True).encode()).hexdigest()


def _identity(video: Video) -> list:
    """What tells a video from another, or from itself after a change."""
    files = video.files if isinstance(video, Pictures) else (video.path,)
    return [video.fps, *(_file_identity(path) for path in files)]


def _file_identity(path: str | Path) -> list:
    try:
        status = Path(path).stat()
    except OSError:  # the name of a built-in detector
        return [str(path)]
    return [str(Path(path).resolve()), status.st_size, status.st_mtime_ns]


def _checksum(estimator: Estimator) -> int:
    """Of the weights, where the estimator has any."""
    import jax

    total = 0
    for leaf in jax.tree.leaves(getattr(estimator, "variables", ())):
        total = zlib.crc32(np.ascontiguousarray(leaf), total)
    return total
