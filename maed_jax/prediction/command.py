"""`maed predict`: reconstructs the people in videos and images, in every frame."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from maed_jax.arguments import BODY_HELP, CHECKPOINT_HELP, Parser, add_step, positive
from maed_jax.errors import UserError


def parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="maed predict",
        description="Reconstruct the people in videos or images: find and track them, estimate "
        "the body of each one in every frame, and write one .npz file per person, results.json, an "
        "overlay video, and index.html, a page that shows them. If interrupted, the same command "
        "resumes where it stopped. docs/prediction.md in the source folder describes the files.",
    )
    add = parser.add_argument
    add(
        "inputs",
        nargs="+",
        metavar="VIDEO|FOLDER|IMAGE",
        help="videos, folders of a video's frames, or single images",
    )
    add("--checkpoint", required=True, metavar="DIR", help=CHECKPOINT_HELP)
    add_step(parser)
    add("--body", metavar="PATH", help=BODY_HELP)
    add(
        "--out",
        required=True,
        metavar="DIR",
        help="folder for the results; with several inputs, one subfolder each",
    )
    add(
        "--boxes",
        metavar="FILE",
        help="people's boxes (.npz, or text in the MOT format); replaces the detector",
    )
    add(
        "--detector",
        metavar="NAME|FILE.onnx",
        help="what finds the people: hog, which is built in, or a better detector in an ONNX file, "
        "such as YOLOX-Nano (default: hog)",
    )
    add(
        "--batch",
        type=positive(int),
        default=8,
        metavar="N",
        help="clips per batch (default: 8); fewer take less memory",
    )
    add(
        "--focal",
        type=positive(float),
        metavar="PX",
        help="focal length of the camera in pixels of the video (default: the image diagonal)",
    )
    add(
        "--fps",
        type=_rate,
        default=30.0,
        metavar="N",
        help="frames per second of a folder of frames (default: 30)",
    )
    add("--smooth", action="store_true", help="filter jitter out of rotations and camera")
    add(
        "--shape_per_frame",
        action="store_true",
        help="keep the shape estimated in every frame, instead of one per person",
    )
    add(
        "--export",
        metavar="LIST",
        help="also write files for other programs: any of glb,bvh,obj,pc2,amass",
    )
    add(
        "--attention",
        action="store_true",
        help="also write what the model attended to: a data file, a video and a plot per person",
    )
    add("--side_view", action="store_true", help="also show the bodies from the side")
    add(
        "--no_video",
        action="store_true",
        help="draw nothing: no overlay, no videos or plots of attention",
    )
    return parser


def _rate(text: str) -> float:
    rate = positive(float)(text)
    if not 0.01 <= rate <= 1e6:  # the limits of video clocks and of readers of results.json
        raise argparse.ArgumentTypeError(f"needs a number from 0.01 to 1000000, not {text!r}")
    return rate


PASSES = {
    "find": "finding people",
    "reconstruct": "reconstructing",
    "draw": "drawing overlay",
    "attend": "reading attention",
    "draw_attention": "drawing attention",
}


def progress_bar(label: str) -> Callable:
    """Returns a wrapper that shows a progress bar over the frames of one pass."""
    from tqdm import tqdm

    def wrap(frames: Iterator, total: int) -> Iterator:
        return tqdm(frames, desc=f"{PASSES[label]:<17}", total=total or None, unit=" frames")

    return wrap


@contextlib.contextmanager
def stop_cleanly() -> Iterator[None]:
    """Makes SIGTERM act like Ctrl-C, with a message that the same command resumes."""

    def stop(*_):
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # only it gets signals
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt("stopped; the same command resumes from here") from None
    finally:
        signal.signal(signal.SIGTERM, before)


def main(argv: list[str]) -> None:
    args = parser().parse_args(argv)
    # Quick checks come before slow work.
    from maed_jax.exports.people import parse_formats
    from maed_jax.inference.boxes_file import read_boxes
    from maed_jax.inference.detect import make_detector
    from maed_jax.inference.image_sequence import open_source

    exports = () if args.export is None else parse_formats(args.export)
    if args.boxes is not None and len(args.inputs) > 1:
        raise UserError("--boxes is for a single video, but there are several inputs")
    if args.boxes is not None and args.detector is not None:
        raise UserError("--boxes replaces the detector: leave out --detector or --boxes")
    if args.side_view and args.no_video:
        raise UserError("--side_view is part of the overlay: leave out --side_view or --no_video")
    boxes = None if args.boxes is None else read_boxes(args.boxes)
    detector = args.detector or "hog"
    if boxes is None:
        make_detector(detector)
    if len(args.inputs) == 1:
        open_source(args.inputs[0], args.fps)

    from maed_jax import jax_setup
    from maed_jax.prediction.predict import Options, predict_to
    from maed_jax.runs.restore import restore_estimator

    jax_setup.configure()
    estimator = restore_estimator(args.checkpoint, args.step, body=args.body)
    given = args.body if args.body != "mannequin" else None
    model = {
        "checkpoint": str(Path(args.checkpoint).resolve()),
        "body": estimator.body.name,
        "body_path": given and str(Path(given).expanduser().resolve()),
    }

    options = Options(
        boxes=boxes,
        detector=detector,
        batch=args.batch,
        focal=args.focal,
        smooth=args.smooth,
        one_shape=not args.shape_per_frame,
        exports=exports,
        attention=args.attention,
        overlay=not args.no_video,
        side_view=args.side_view,
    )

    def predict(path: str, out: Path) -> None:
        content = predict_to(
            out,
            open_source(path, args.fps),
            estimator,
            options,
            again=len(args.inputs) == 1,
            model=model,
            progress=progress_bar,
        )
        report(content, out)

    with stop_cleanly():
        if len(args.inputs) == 1:
            predict(args.inputs[0], Path(args.out))
        else:
            predict_all(args.inputs, Path(args.out), predict)


def predict_all(inputs: list[str], out: Path, predict: Callable[[str, Path], Any]) -> None:
    """Predicts each input into its own directory; if one fails, the others still run.

    Raises:
      UserError: an input has failed; its own error has already been printed.
    """
    failed = 0
    for path, name in zip(inputs, names_of(inputs)):
        print(f"{path}:")
        try:
            predict(path, out / name)
        except UserError as error:
            failed += 1
            print(f"maed: {error}", file=sys.stderr)
    if failed:
        rest = "; the others are done" if failed < len(inputs) else ""
        raise UserError(f"{failed} of {len(inputs)} inputs failed (see above){rest}")


def names_of(inputs: list[str]) -> list[str]:
    """Returns a directory name for each input, numbered if repeated: its own, without a suffix."""
    names: list[str] = []
    for path in map(Path, inputs):
        path = Path(os.path.abspath(path))  # not of what a link leads to
        stem = re.sub(r"^\.+", "", path.name if os.path.isdir(path) else path.stem) or "input"
        name, count = stem, 1
        while name in names:
            count += 1
            name = f"{stem}_{count}"
        names.append(name)
    return names


def report(content: dict, out: Path) -> None:
    """Prints what was found and where it was written."""
    video, people = content["video"], content["people"]
    count = len(people)
    frames = "1 frame" if video["frames"] == 1 else f"{video['frames']} frames"
    print(f"{count} {'person' if count == 1 else 'people'} in {frames}:")
    for person in people:
        interpolated = person["frames"] - person["detected"]
        note = f", {interpolated} of them with an interpolated box" if interpolated else ""
        print(
            f"  {person['file']}: frames {person['first_frame']} to {person['last_frame']}, "
            f"{person['frames']} reconstructed{note}"
        )
    empty = sum(not ids for ids in content["people_in_frame"])
    if empty:
        by_hog = content["boxes"] == {"detector": "hog"}
        hint = "; a better detector may find somebody (--detector FILE.onnx)" if by_hog else ""
        print(f"  nobody in {empty} {'frame' if empty == 1 else 'frames'}{hint}")
    damaged = len(video["damaged_frames"])
    if damaged:
        verb = "frame is" if damaged == 1 else "frames are"
        note = "" if "file" in content["boxes"] else ", with interpolated boxes"
        print(f"  {damaged} {verb} damaged{note}")
    if video["frames"] < 0.95 * video["announced_frames"] - 1:
        print(
            f"maed: {video['path']} ends after {video['frames']} of the "
            f"{video['announced_frames']} frames that it should have; is the file cut short?",
            file=sys.stderr,
        )
    if content["model"].get("body") == "mannequin":
        print("  (the body model is the built-in mannequin, not SMPL)")
    print(f"results: {out / 'results.json'}")
    if content["overlay"]:
        print(f"overlay: {out / content['overlay']}")
    if content["exports"]:
        print(f"exports: {', '.join(str(out / name) for name in content['exports'])}")
    if content["attention"]:
        print(f"attention: {', '.join(str(out / name) for name in content['attention'])}")
    print(f"page:    {out / 'index.html'}")


if __name__ == "__main__":
    from maed_jax.cli import run

    run(main)
