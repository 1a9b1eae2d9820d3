"""`maed eval`: evaluate a trained model on a split of a dataset, under a protocol."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from maed_jax.arguments import Parser, add_step, positive
from maed_jax.errors import UserError
from maed_jax.files.atomic import check_writable
from maed_jax.files.json import write_json

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from maed_jax.estimator import Estimator
    from maed_jax.evaluation.scoring import Bodies

EPILOG = """\
protocols (--protocol A,B or all; DATASET/NAME applies another dataset's):
{protocols}

Any choice of a protocol can be changed, for example --protocol.root=pelvis:
{choices}

--out writes to DIR: table.txt, table.md, table.csv, sequences.csv, joints.csv, results.json,
and with matplotlib (extra viz) errors.png, the errors over time, and worst.png, the worst frames.
maed compare reads results.json.

--predictions writes one .npz with one row per frame, track after track: `track`, `frame` (number
in the video), `pose` [72] axis-angle, `shape` [10], `camera` [3], `joints` and `target_joints`
[joints 3] metres relative to the root, and each error; NaN where there is none. With several
protocols, it holds the results of the first.

On datasets without a published protocol, the rows below the model's are those of a baseline that
ignores the images: it always predicts the mean pose and shape of the training split.
"""
MANNEQUINS_NOTE = (
    "Mannequins are rendered dolls: never compare these figures with those of benchmarks "
    "on real people."
)


def main(argv: list[str]) -> None:
    options, rest = _parser().parse_known_args(argv)
    from maed_jax.evaluation.protocol_choice import parse_settings

    settings = parse_settings(rest)
    with only_run_into(options.out):
        for file in (options.predictions, options.json):
            check_writable(file)
        _evaluate(options, settings)


def _evaluate(options: argparse.Namespace, settings: list[tuple[str, str]]) -> None:
    from maed_jax import jax_setup
    from maed_jax.data.pipeline import dataset_to_evaluate
    from maed_jax.evaluation.protocol_choice import choose

    jax_setup.configure()
    opened = open_checkpoint(options.checkpoint, options.step, options.body)
    data = opened.config.data
    if not options.dataset and not opened.config.steps:
        raise UserError(
            f"{options.checkpoint} was converted or saved, not trained here: pass the dataset to "
            "evaluate on, --dataset NAME/CONFIG"
        )
    dataset = options.dataset or dataset_to_evaluate(data)
    protocols = choose(dataset, options.protocol, settings)
    content, results = measure(
        opened,
        options.data_dir or data.data_dir,
        dataset,
        options.split,
        protocols,
        windows=options.windows,
        every=options.interpolate,
        batch=options.batch,
    )
    from maed_jax.evaluation import report, report_files

    print(report.as_text(content))
    written = []
    if options.out:
        written += report_files.write_directory(options.out, content, results)
    if options.predictions:
        written.append(report_files.write_predictions(options.predictions, results[0]))
    if options.json:
        write_json(options.json, content)
        written.append(options.json)
    for file in written:
        print(f"wrote {file}")


def _parser() -> argparse.ArgumentParser:
    from maed_jax.evaluation.protocols import CHOICES, PRESETS

    parser = Parser(
        prog="maed eval",
        usage="maed eval --checkpoint WORKDIR [--dataset NAME/CONFIG] [--split test] "
        "[--protocol NAME] [--protocol.FIELD=VALUE ...] [...]",
        description=__doc__.partition(": ")[2].capitalize(),
        epilog=EPILOG.format(
            protocols="\n".join(
                f"  {key:<14}{', '.join(p.name for p in presets)}"
                for key, presets in PRESETS.items()
            ),
            choices="\n".join(f"  {name:<14}{', '.join(of)}" for name, of in CHOICES.items())
            + "\n  accel_trim, frame_rate, tracks, flip, metrics: see docs/evaluation.md",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="WORKDIR",
        help="work directory of maed train or convert",
    )
    add_step(parser)
    parser.add_argument("--data_dir", help="where the datasets are (default: as in training)")
    parser.add_argument(
        "--dataset",
        help="NAME/CONFIG (default: what training validated on, else the first it trained on; "
        "none for converted weights)",
    )
    parser.add_argument("--split", default="test", help="default: test")
    parser.add_argument("--protocol", default="maed", metavar="A,B", help="default: maed")
    parser.add_argument("--body", help="use another body: a path, or mannequin")
    parser.add_argument(
        "--windows",
        choices=("interleaved", "consecutive"),
        default="interleaved",
        help="clips with the same frame interval as in training (default) or of consecutive frames",
    )
    parser.add_argument(
        "--interpolate", type=positive(int), default=1, metavar="K",
        help="predict every K-th frame and interpolate, as the original does (default: 1, all)",
    )  # fmt: skip
    parser.add_argument(
        "--batch", type=positive(int), default=128, help="frames per batch (default: 128)"
    )
    parser.add_argument("--out", metavar="DIR", help="write tables, plots and results to DIR")
    parser.add_argument("--json", metavar="FILE", help="write results.json alone, to FILE")
    parser.add_argument("--predictions", metavar="FILE.npz", help="write the predictions")
    return parser


class Opened(NamedTuple):
    """A trained model, ready for evaluation."""

    checkpoint: str
    step: int
    config: ConfigDict
    estimator: Estimator
    bodies: Bodies


def open_checkpoint(
    checkpoint: str, step: int | str | None = None, body: str | None = None
) -> Opened:
    """Opens a checkpoint for evaluation.

    Raises:
      UserError: the checkpoint or the body does not exist.
    """
    import dataclasses

    from maed_jax.body.smpl import keypoint_body
    from maed_jax.evaluation.scoring import Bodies
    from maed_jax.runs.restore import open_run

    run = open_run(checkpoint, step, body=body)
    estimator = dataclasses.replace(run.estimator, body=keypoint_body(run.estimator.body))
    bodies = Bodies(run.estimator.body, body or run.config.body)
    return Opened(checkpoint, run.step, run.config, estimator, bodies)


def measure(
    opened: Opened,
    data_dir: str,
    dataset: str,
    split: str,
    protocols: Sequence,
    *,
    windows: str = "interleaved",
    every: int = 1,
    batch: int = 128,
) -> tuple[dict, list]:
    """Evaluates a model under each of `protocols`, with progress on stderr.

    Args:
      windows: "interleaved" or "consecutive" frames in a clip.
      every: predict every n-th frame and interpolate.
      batch: frames per batch.

    Returns:
      The content of a results file (see `report`), and a `protocol_run.Result` for each protocol.

    Raises:
      UserError: something needed is missing, or `every` does not divide the frame interval.
    """
    from maed_jax.data.records import Records, dataset_directory, dataset_name
    from maed_jax.evaluation import protocol_run, report
    from maed_jax.evaluation.protocol_choice import family

    stride = opened.config.data.eval_interval if windows == "interleaved" else 1
    if stride % every:
        raise UserError(
            f"--interpolate {every} does not divide the interval of {stride} between the frames "
            "of a clip"
        )
    directory = dataset_directory(data_dir, dataset)
    records = Records(directory, split)
    margin = opened.config.data.augment.margin
    settings = protocol_run.ClipSettings(stride, margin, batch, every)
    mean_pose = None
    if family(dataset) == "other":
        mean_pose = _mean_pose(directory, opened.config.data.train_split)
    results = protocol_run.run(
        opened.estimator, opened.bodies, records, protocols, settings,
        baseline=mean_pose, progress=_progress,
    )  # fmt: skip
    about = {
        "dataset": dataset_name(data_dir, directory.parent),
        "dataset_version": directory.name,
        "dataset_directory": str(directory.absolute()),
        "split": split,
        **provenance(opened),
        "windows": f"clips of {opened.estimator.clip_length} frames, {stride} apart",
        "interpolate": every,
        "margin": margin,
        "notes": _notes(opened, results, every),
    }
    return report.content(results, about), results


def provenance(opened: Opened) -> dict:
    """Returns what produced the results: checkpoint, configuration, body and machine."""
    from maed_jax.machine import environment

    config = Path(opened.checkpoint) / "config.json"
    return {
        "checkpoint": str(opened.checkpoint),
        "step": opened.step,
        "config_sha256": hashlib.sha256(config.read_bytes()).hexdigest(),
        "body": opened.bodies.of("neutral").name,
        "environment": environment(),
    }


def _notes(opened: Opened, results: Sequence, every: int) -> list[str]:
    import numpy as np

    notes = []
    if every > 1:
        notes.append(f"One frame in {every} predicted, the others interpolated.")
    if skipped := max(result.clips.skipped for result in results):
        notes.append(f"{skipped} frames with unreadable images are left out.")
    for scores in (result.scores for result in results):
        labelled = np.any([np.isfinite(t.joint_errors).any(0) for t in scores.tracks], axis=0)
        if absent := [n for n, k in zip(scores.protocol.joint_set.names, labelled) if not k]:
            notes.append(f"{scores.protocol.label}: without labels: {', '.join(absent)}.")
    if opened.bodies.of("neutral").name == "mannequin":
        notes.append(MANNEQUINS_NOTE)
    return notes


def _progress(items: Iterable, what: str) -> Iterable:
    from tqdm import tqdm

    units = {"evaluate": "batch", "labels": "track", "mean pose": "frame"}
    return tqdm(items, desc=what, unit=units[what])


def _mean_pose(directory: Path, split: str):
    """Returns the mean pose of the training split, or None if there is none."""
    from maed_jax.data.records import Records
    from maed_jax.evaluation.baseline import FIELDS, mean_pose

    try:
        records = Records(directory, split)
        numbers = _progress(range(len(records)), "mean pose")
        return mean_pose(records.read(i, FIELDS) for i in numbers)
    except UserError as error:
        print(f"maed: skipping the rows of the mean pose: {error}", file=sys.stderr)
        return None


def only_run_into(directory: str | None) -> contextlib.AbstractContextManager[None]:
    """Creates the directory passed as `--out`, if any, and keeps other runs out of it.

    Raises:
      UserError: it cannot be created, or another run is using it.
    """
    from maed_jax.files.locks import only_run_in

    return only_run_in(directory, "--out") if directory else contextlib.nullcontext()


if __name__ == "__main__":
    from maed_jax.cli import run

    run(main)
