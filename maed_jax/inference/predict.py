"""`maed predict`: the people in a video, reconstructed in every frame.

In Python:

    from maed_jax.inference.predict import predict_video
    people = predict_video(path, estimator)
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import maed_jax
from maed_jax.errors import UserError
from maed_jax.inference.boxes_file import BoxesFile, read_boxes
from maed_jax.inference.detect import DETECTORS, make_detector
from maed_jax.inference.track import Track, Tracker
from maed_jax.inference.video import Video, open_video


@dataclasses.dataclass(frozen=True)
class Found:
    """What the first pass over a video found."""

    tracks: list[Track]
    num_frames: int
    damaged: list[int]
    """numbers of the frames that could not be decoded whole"""


def no_progress(frames: Iterator, total: int) -> Iterator:
    return frames


def find_people(
    video: Video,
    *,
    detector: str = "hog",
    boxes: BoxesFile | None = None,
    progress: Callable = no_progress,
) -> Found:
    """Finds the people in a video, or takes them from a boxes file.

    Raises:
      UserError: nobody is in it, or the boxes are not of this video.
    """
    import numpy as np

    from maed_jax.inference.detect import Detections

    detect = None if boxes is not None else make_detector(detector)
    tracker = None if detect is None else Tracker(video.fps, detect.sure)
    num_frames, damaged = 0, []
    for frame in progress(video.frames(), video.announced):
        num_frames += 1
        if frame.damaged:
            damaged.append(frame.index)
        elif detect is not None:
            image = frame.image(detect.longest)
            found = detect(image)
            scale = np.array([video.size[0] / image.shape[1], video.size[1] / image.shape[0]])
            tracker.step(
                frame.index,
                Detections((found.boxes * np.tile(scale, 2)).astype(np.float32), found.scores),
            )
    tracks = tracker.finish(num_frames) if boxes is None else boxes.tracks(num_frames, video.fps)
    if not tracks:
        raise UserError(
            f"no people were found in {video.path}; if there are some, "
            "give their boxes with --boxes FILE"
        )
    return Found([smoothed(track, video.fps) for track in tracks], num_frames, damaged)


def smoothed(track: Track, fps: float) -> Track:
    """The track with its boxes steadied as training does it, over the same time and not the same
    number of frames: training videos have about 30 frames a second."""
    import numpy as np

    from maed_jax.data.boxes import smooth_boxes

    pace = min(1.0, fps / 30)
    parts = [
        smooth_boxes(track.boxes[part], median=2 * round(5 * pace) + 1, sigma=8.0 * pace)
        for part in track.runs()
    ]
    return dataclasses.replace(track, boxes=np.concatenate(parts).astype(np.float32))


def predict_video(
    path: str | Path,
    estimator: Callable,
    *,
    boxes: str | Path | None = None,
    detector: str = "hog",
    batch: int = 8,
    focal: float | None = None,
):
    """Reconstructs the people in a video; nothing is written.

    Args:
      path: of the video.
      estimator: `Estimator`, as `maed_jax.from_torch` and `restore_estimator` give it.
      boxes: a file with people's boxes, in place of the detector; see `boxes_file.read_boxes`.
      detector: name of a built-in detector.
      batch: clips at a time.
      focal: focal length of the video's camera, pixels; its diagonal if None.

    Returns:
      list of `maed_jax.inference.results.Person`, by the frame in which they appear.

    Raises:
      UserError: the video or the boxes cannot be read, or there is nobody in it.
    """
    from maed_jax.inference.reconstruct import reconstruct

    video = open_video(path)
    found = find_people(
        video, detector=detector, boxes=None if boxes is None else read_boxes(boxes)
    )
    return reconstruct(
        video, found.tracks, estimator, num_frames=found.num_frames, batch=batch, focal=focal
    )


def predict_to(
    out: str | Path,
    video: Video,
    estimator: Callable,
    *,
    boxes: BoxesFile | None = None,
    detector: str = "hog",
    batch: int = 8,
    focal: float | None = None,
    overlay: bool = True,
    model: dict | None = None,
    progress: Callable[[str], Callable] = lambda label: no_progress,
) -> dict:
    """Reconstructs the people in a video and writes all results to the directory `out`.

    Args:
      overlay: whether to write the overlay video too.
      model: facts of the model, for results.json.
      progress: gives for the name of a pass what wraps its frames.
      For the others see `predict_video`.

    Returns:
      the contents of results.json.

    Raises:
      UserError: as `predict_video`, or `out` cannot be written. Nothing is left in `out` then.
    """
    from maed_jax.inference import results
    from maed_jax.inference.reconstruct import reconstruct

    with results.all_or_nothing(out) as stage:
        found = find_people(video, detector=detector, boxes=boxes, progress=progress("find"))
        people = reconstruct(
            video,
            found.tracks,
            estimator,
            num_frames=found.num_frames,
            batch=batch,
            focal=focal,
            progress=progress("reconstruct"),
        )
        for person in people:
            results.save_person(stage / results.file_name(person), person)
        if overlay:
            from maed_jax.visual.overlay import write_overlay

            write_overlay(
                stage / results.OVERLAY,
                video,
                people,
                estimator.body,
                num_frames=found.num_frames,
                progress=progress("draw"),
            )
        content = results.summary(
            people,
            video={
                "path": str(video.path),
                "width": video.size[0],
                "height": video.size[1],
                "fps": round(video.fps, 4),
                "frames": found.num_frames,
                "announced_frames": video.announced,
                "damaged_frames": found.damaged,
            },
            model=(model or {}) | {"maed_jax": maed_jax.__version__},
            source={"detector": detector} if boxes is None else {"file": str(boxes.path)},
            overlay=overlay,
        )
        results.write_json(stage / results.SUMMARY, content)
    return content


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="maed predict",
        description="Reconstruct the people in a video: find and track them, estimate the body of "
        "each in every frame, and write one .npz a person, results.json and an overlay video. "
        "docs/prediction.md explains the files.",
    )
    parser.add_argument("video", help="the video; any format that ffmpeg reads")
    parser.add_argument(
        "--checkpoint", required=True, metavar="DIR", help="work directory of a training"
    )
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="directory for the results; made if needed"
    )
    parser.add_argument(
        "--boxes", metavar="FILE", help="people's boxes (.npz, or text in MOT layout); no detector"
    )
    parser.add_argument(
        "--detector", choices=DETECTORS, default="hog", help="finds the people (default: hog)"
    )
    parser.add_argument(
        "--batch",
        type=_positive,
        default=8,
        metavar="N",
        help="clips that the model takes at a time (default: 8); fewer take less memory",
    )
    parser.add_argument(
        "--focal",
        type=_positive_float,
        metavar="PX",
        help="focal length of the camera in pixels of the video (default: the picture's diagonal)",
    )
    parser.add_argument("--no-video", action="store_true", help="write no overlay video")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("needs a number above 0")
    return value


def _positive_float(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("needs a number above 0")
    return value


PASSES = {"find": "finding people", "reconstruct": "reconstructing", "draw": "drawing"}


def progress_bar(label: str) -> Callable:
    """A progress bar over the frames of one pass."""
    from tqdm import tqdm

    def wrap(frames: Iterator, total: int) -> Iterator:
        return tqdm(frames, desc=f"{PASSES[label]:<15}", total=total or None, unit=" frames")

    return wrap


@contextlib.contextmanager
def stop_cleanly():
    """A request to end (SIGTERM) takes the way of Ctrl-C, so that nothing half-written stays."""

    def stop(*_):
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # signals are not ours to take
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(argv: list[str]) -> None:
    args = parser().parse_args(argv)
    # What is quickly checked comes before what takes long.
    video = open_video(args.video)
    boxes = None if args.boxes is None else read_boxes(args.boxes)

    from maed_jax import jax_setup
    from maed_jax.training.checkpoints import restore_estimator

    jax_setup.configure()
    estimator = restore_estimator(args.checkpoint)
    model = {
        "checkpoint": str(Path(args.checkpoint).resolve()),
        "body": estimator.body.name,
        "image_size": estimator.image_size,
        "clip_length": estimator.clip_length,
    }
    with stop_cleanly():
        content = predict_to(
            args.out,
            video,
            estimator,
            boxes=boxes,
            detector=args.detector,
            batch=args.batch,
            focal=args.focal,
            overlay=not args.no_video,
            model=model,
            progress=progress_bar,
        )
    report(content, args.out)


def report(content: dict, out: str) -> None:
    """Prints what was found and where it is."""
    video, people = content["video"], content["people"]
    count = len(people)
    print(f"{count} {'person' if count == 1 else 'people'} in {video['frames']} frames:")
    for person in people:
        guessed = person["frames"] - person["detected"]
        note = f", {guessed} of them with an interpolated box" if guessed else ""
        print(
            f"  {person['file']}: frames {person['first_frame']} to {person['last_frame']}, "
            f"{person['frames']} reconstructed{note}"
        )
    empty = sum(not ids for ids in content["people_in_frame"])
    if empty:
        print(f"  {empty} {'frame shows' if empty == 1 else 'frames show'} nobody")
    damaged = len(video["damaged_frames"])
    if damaged:
        verb = "frame is" if damaged == 1 else "frames are"
        print(f"  {damaged} {verb} damaged; boxes there are interpolated")
    if video["frames"] < 0.95 * video["announced_frames"] - 1:
        print(
            f"maed: {video['path']} ends after {video['frames']} of the "
            f"{video['announced_frames']} frames that it announces; is the file cut short?",
            file=sys.stderr,
        )
    if content["model"].get("body") == "mannequin":
        print("  (bodies are the built-in mannequin's, not SMPL's)")
    print(f"results: {Path(out) / 'results.json'}")
    if content["overlay"]:
        print(f"video:   {Path(out) / content['overlay']}")


if __name__ == "__main__":
    from maed_jax.cli import run

    run(main)
