"""Prediction from end to end: a video and an estimator to people, in memory or as files."""

from __future__ import annotations

import hashlib
import json
import math
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
from maed_jax.inference.people import Found, find_people
from maed_jax.inference.pictures import FPS, Pictures, is_still, open_source
from maed_jax.inference.reconstruct import reconstruct
from maed_jax.inference.results import Person
from maed_jax.inference.smoothing import smooth_person
from maed_jax.inference.unfinished import Work, many_files, unfinished
from maed_jax.inference.video import Video, no_progress
from maed_jax.visual.index_page import write_page

if TYPE_CHECKING:
    from maed_jax.estimator import Estimator


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
      UserError: the video or the boxes cannot be read, there is nobody in it, or a number is not
        above 0.
    """
    for name, value in {"batch": batch, "focal": focal, "fps": fps}.items():
        if value is not None and not 0 < value < math.inf:
            raise UserError(f"{name} must be above 0, not {value}")
    if isinstance(estimator, (str, Path)):
        estimator = maed_jax.restore_estimator(estimator)
    video = open_source(path, fps)
    people = make_detector(detector) if boxes is None else read_boxes(boxes)
    found = find_people(video, people)
    answers = reconstruct(
        video, found.tracks, estimator, num_frames=found.num_frames, batch=batch, focal=focal
    )
    body = keypoint_body(estimator.body)
    return [smooth_person(p, body, motion=smooth, one_shape=one_shape) for p in answers]


def predict_to(
    out: str | Path,
    video: Video,
    estimator: Estimator,
    *,
    boxes: BoxesFile | None = None,
    detector: str = "hog",
    batch: int = 8,
    focal: float | None = None,
    smooth: bool = False,
    one_shape: bool = True,
    exports: Sequence[str] = (),
    attention: bool = False,
    overlay: bool = True,
    side_view: bool = False,
    again: bool = True,
    model: dict | None = None,
    progress: Callable[[str], Callable] = lambda label: no_progress,
) -> dict:
    """Reconstructs the people in a video and writes all results to the directory `out`.

    A call that is interrupted, or fails once somebody was found, leaves its work in `out`; the same
    call goes on from there. People are written before anything is drawn, and stay where drawing
    fails.

    Args:
      exports: formats of `maed_jax.exports.people.FORMATS`.
      attention: whether to write what the model attended to, for which it runs once more.
      overlay: whether to write the overlay too, and with `attention` its films and plots.
      again: do it all again where the very same call has ended well before.
      model: facts of the model besides the estimator's, for results.json.
      progress: gives for the name of a pass what wraps its frames.
      For the others see `predict_video`.

    Returns:
      the contents of results.json.

    Raises:
      UserError: as `predict_video`, or `out` cannot be written, or rendering is not possible here.
    """
    out = Path(out)
    if attention:
        from maed_jax.inference.person_attention import kinds

        kinds(estimator)  # raises an error now, and not when all is done
    facts = ("image_size", "clip_length", "margin", "interval")
    model = (model or {}) | {name: getattr(estimator, name) for name in facts}
    model["maed_jax"] = maed_jax.__version__
    people = make_detector(detector) if boxes is None else boxes
    source = {"detector": detector} if boxes is None else {"file": str(boxes.path)}
    job = {"video": _identity(video), "boxes": _file_identity(*source.values())}
    job["model"] = model | {"weights": _checksum(estimator)}
    options = [focal, smooth, one_shape, list(exports), attention, overlay, side_view]
    job_id = hashlib.sha1(json.dumps([job, options], sort_keys=True).encode()).hexdigest()
    if not again and (done := _done(out, job_id, overlay, attention)):
        return done
    for given in (video.path, *([] if boxes is None else [boxes.path])):
        if Path(given).resolve().parent == out.resolve() and results.is_ours(Path(given).name):
            raise UserError(
                f"{given} has the name of a result, and would be replaced in {out}: give another "
                "--out, or rename it"
            )
    with unfinished(out, job) as work, many_files():
        try:
            found = find_people(video, people, work=work, progress=progress("find"))
            work.wanted = True
            answers = reconstruct(
                video,
                found.tracks,
                estimator,
                num_frames=found.num_frames,
                batch=batch,
                focal=focal,
                keep=work.array,
                progress=progress("reconstruct"),
            )
            body = keypoint_body(estimator.body)
            persons = [
                smooth_person(p, body, motion=smooth, one_shape=one_shape, keep=work.array)
                for p in answers
            ]
            stage = work.stage()
            for person in persons:
                results.save_person(stage / results.file_name(person), person)
            content = results.summary(
                persons,
                video=_facts(video, found),
                model=model,
                job=job_id,
                boxes=source,
                smoothed=smooth,
                one_shape=one_shape,
                overlay=None,
                attention=[],
                exports=export_people(exports, persons, estimator.body, stage),
            )
            _publish(work, content, out, first=True)
            if overlay:
                from maed_jax.visual.overlay import write_overlay

                content["overlay"] = "overlay.jpg" if is_still(video) else "overlay.mp4"
                write_overlay(
                    work.stage() / content["overlay"],
                    video,
                    persons,
                    estimator.body,
                    num_frames=found.num_frames,
                    side_view=side_view,
                    progress=progress("draw"),
                )
                _publish(work, content, out)
            if attention:
                from maed_jax.visual.attention_files import write_attention

                content["attention"] = write_attention(
                    work.stage(),
                    video,
                    persons,
                    found.tracks,
                    estimator,
                    num_frames=found.num_frames,
                    batch=batch,
                    drawn=overlay,
                    keep=work.array,
                    progress=progress,
                )
                _publish(work, content, out)
        except OSError as error:
            # It is no mistake of the call: what was found takes hours to find again.
            work.wanted = work.wanted or bool(work.lines("detections"))
            raise UserError(f"cannot write to {out}: {reason(error)}") from None
    return content


def _done(out: Path, job_id: str, overlay: bool, attention: bool) -> dict | None:
    """The contents of results.json where they are complete and those of this very job."""
    try:
        content, _ = results.load_results(out)
    except UserError:
        return None
    drawn = not overlay or content["overlay"] is not None
    looked = not attention or content["attention"]
    files = [*filter(None, [content["overlay"]]), *content["exports"], *content["attention"]]
    there = all((Path(out) / name).exists() for name in files)
    return content if drawn and looked and there and content.get("job") == job_id else None


def _publish(work: Work, content: dict, out: Path, *, first: bool = False) -> None:
    stage = work.folder / "results"
    write_page(stage / results.PAGE, content)
    results.write_summary(stage, content)
    results.publish(stage, out, replace=first)


def _facts(video: Video, found: Found) -> dict:
    return {
        "path": str(video.path.resolve()),  # others look for it from elsewhere
        "width": video.size[0],
        "height": video.size[1],
        "fps": float(f"{video.fps:.6g}"),  # never 0, however slow a time lapse is
        "frames": found.num_frames,
        "announced_frames": video.announced,
        "damaged_frames": found.damaged,
    }


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
