"""`maed bench eval`: evaluation end to end, compared with the network alone on the same clips.

The dataset is synthetic: one track of crops with labels, as `maed data build` stores them. Each row
is measured separately in every round: the network alone on the same clips in memory; reading and
decoding them; the pass, which overlaps the two; scoring the predictions; and everything, as `maed
eval` does it. The network has the paper's size and random weights. Brackets give the interquartile
range over rounds.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maed_jax.arguments import positive
from maed_jax.bench import record

if TYPE_CHECKING:
    from ml_collections import ConfigDict


def main(argv: list[str]) -> None:
    parser = record.timed_parser("eval", __doc__)
    record.add_config(parser)
    parser.add_argument(
        "--frames", type=positive(int), default=128, help="frames of the track; default: 128"
    )
    parser.add_argument(
        "--batch", type=positive(int), default=32, help="frames per batch; default: 32"
    )
    options, overrides = parser.parse_known_args(argv)
    record.check(options)
    from maed_jax.bench import stages

    config = record.load(options.config, overrides)
    with tempfile.TemporaryDirectory() as folder:
        cases = make_cases(config, Path(folder), options.frames, options.batch)
        result = stages.measure(cases, options.rounds, record.clock_of(options))
    print(stages.text(result))
    settings = {name: getattr(options, name) for name in ("frames", "batch", "cpu")}
    settings["model"] = config.model.to_dict()
    record.write(options.json, "eval", settings=settings, **result)
    if options.plot:
        from maed_jax.bench.plots import plot_bars

        plot_bars(options.plot, result["rows"], stages.TIMES, stages.TIMES)


def make_cases(config: ConfigDict, folder: Path, frames: int, batch: int) -> dict[str, Any]:
    """Returns the stages of an evaluation as functions, on a dataset that it writes to `folder`."""
    import numpy as np

    from maed_jax.bench import network, stages, synthetic
    from maed_jax.bench.readers import CROP, crop_of
    from maed_jax.data.eval_clips import EvaluationClips
    from maed_jax.estimator import Estimator
    from maed_jax.evaluation import protocol_run
    from maed_jax.evaluation.predictions import predict
    from maed_jax.evaluation.protocol_choice import choose
    from maed_jax.evaluation.scoring import Bodies, score

    rng = np.random.default_rng(0)
    crops = [crop_of(synthetic.photo(1000, seed)) for seed in range(2)]
    files = [crops[i % 2] for i in range(frames)]
    boxes = [synthetic.box(CROP, 0.5, rng) for _ in files]
    records = synthetic.write_dataset(folder / "dataset", files, boxes, CROP)

    net = network.make(config)
    estimator = Estimator(net.model, net.variables, net.body)
    bodies = Bodies(network.load_body(config.body), config.body)
    (protocol,) = choose("bench", "maed")
    stride, margin = config.data.eval_interval, config.data.augment.margin
    size = max(1, batch // estimator.clip_length)
    clips = EvaluationClips(
        records,
        records.tracks,
        estimator.clip_length,
        estimator.image_size,
        stride=stride,
        batch_size=size,
        margin=margin,
    )
    predicted = predict(stages.Idle(estimator), clips)
    settings = protocol_run.ClipSettings(stride, margin, batch)
    return {
        stages.ALONE: stages.alone(estimator, len(clips) * size, size),
        "reading clips": lambda: [None for _ in clips],
        "the pass": lambda: predict(estimator, clips),
        "scoring": lambda: score(predicted, clips, bodies, protocol),
        "everything": lambda: protocol_run.run(estimator, bodies, records, [protocol], settings),
    }


if __name__ == "__main__":
    from maed_jax.cli import run

    run(main)
