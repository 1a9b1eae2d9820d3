"""`maed bench predict`: a video end to end, compared with the network alone on the same clips.

The video is synthetic: a person crosses the image. Each row is measured separately in every round:
the network alone on the same clips in memory; decoding the video; finding people with the built-in
detector, including decoding; cutting clips, with a network that returns at once; reconstructing;
and everything, as `maed predict` does it, without and with the overlay video. The network has the
paper's size and random weights. Brackets give the interquartile range over rounds.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maed_jax.arguments import positive
from maed_jax.bench import record
from maed_jax.errors import UserError

if TYPE_CHECKING:
    from ml_collections import ConfigDict


def main(argv: list[str]) -> None:
    parser = record.timed_parser("predict", __doc__)
    record.add_config(parser)
    parser.add_argument(
        "--frames", type=positive(int), default=128, help="frames of the video; default: 128"
    )
    parser.add_argument("--size", default="1280x720", metavar="WxH", help="default: 1280x720")
    parser.add_argument(
        "--batch", type=positive(int), default=2, help="clips per batch; default: 2"
    )
    options, overrides = parser.parse_known_args(argv)
    record.check(options)
    width, _, height = options.size.partition("x")
    if not (width.isdecimal() and height.isdecimal() and min(int(width), int(height)) >= 16):
        raise UserError(f"--size must look like 1280x720, not {options.size!r}")
    from maed_jax.bench import stages

    config = record.load(options.config, overrides)
    with tempfile.TemporaryDirectory() as folder:
        cases = make_cases(
            config, Path(folder), options.frames, (int(width), int(height)), options.batch
        )
        result = stages.measure(cases, options.rounds, record.clock_of(options))
    print(stages.text(result))
    settings = {name: getattr(options, name) for name in ("frames", "size", "batch", "cpu")}
    settings["model"] = config.model.to_dict()
    record.write(options.json, "predict", settings=settings, **result)
    if options.plot:
        from maed_jax.bench.plots import plot_bars

        plot_bars(options.plot, result["rows"], stages.TIMES, stages.TIMES)


def make_cases(
    config: ConfigDict, folder: Path, frames: int, size: tuple[int, int], batch: int
) -> dict[str, Any]:
    """Returns the stages of a prediction as functions, on a video that it writes to `folder`."""
    from maed_jax.bench import network, stages
    from maed_jax.bench.footage import write_walk
    from maed_jax.data.windows import eval_windows
    from maed_jax.estimator import Estimator
    from maed_jax.inference.detect import make_detector
    from maed_jax.inference.people import find_people
    from maed_jax.inference.reconstruct import reconstruct
    from maed_jax.inference.video import open_video
    from maed_jax.prediction.predict import Options, predict_to

    write_walk(folder / "walk.mp4", frames, size)
    video = open_video(folder / "walk.mp4")
    net = network.make(config)
    body = network.load_body(config.body)
    data = config.data
    estimator = Estimator(net.model, net.variables, body, data.augment.margin, data.eval_interval)
    found = find_people(video, make_detector("hog"))
    clips = sum(
        len(eval_windows(part.stop - part.start, estimator.clip_length, estimator.interval)[0])
        for track in found.tracks
        for part in track.runs()
    )

    def decoding():
        for frame in video.frames():
            frame.image()

    def reconstructing(with_estimator):
        reconstruct(video, found.tracks, with_estimator, num_frames=found.num_frames, batch=batch)

    def everything(overlay: bool):
        predict_to(folder / "out", video, estimator, Options(batch=batch, overlay=overlay))

    return {
        stages.ALONE: stages.alone(estimator, clips, batch),
        "decoding the video": decoding,
        "finding people": lambda: find_people(video, make_detector("hog")),
        "cutting clips": lambda: reconstructing(stages.Idle(estimator)),
        "reconstructing": lambda: reconstructing(estimator),
        "everything but the overlay": lambda: everything(False),
        "everything": lambda: everything(True),
    }


if __name__ == "__main__":
    from maed_jax.cli import run

    run(main)
