"""`maed eval`: the errors of a trained model on a split of a dataset."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import sys
from pathlib import Path

from maed_jax.errors import UserError

EPILOG = """\
The table has a row for each subset of the split and one for all of it. Below the model's rows
stand those of a predictor that never looks: it always answers with the mean pose and shape of the
training split. The last rows are the ratios of the two.

--predictions writes one .npz with a row for every frame, tracks one after another: `track` (name)
and `frame` (number within the track), `pose` [72] axis-angle, `shape` [10], `camera` [3],
`joints` and `target_joints` [14 3] metres, `mpjpe`, `pa_mpjpe`, `pve` in mm; NaN where a frame
has no labels or no readable picture.
"""


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="maed eval",
        description=__doc__.partition(": ")[2].capitalize(),
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--checkpoint", required=True, metavar="WORKDIR", help="of maed train")
    parser.add_argument("--step", type=int, help="which checkpoint (default: the latest)")
    parser.add_argument("--data_dir", help="where datasets live (default: as in training)")
    parser.add_argument("--dataset", help="NAME/CONFIG (default: the first of training)")
    parser.add_argument("--split", default="test", help="default: test")
    parser.add_argument("--body", help="another body than in training: a name or path")
    parser.add_argument("--batch", type=int, default=128, help="frames at a time (default: 128)")
    parser.add_argument("--predictions", metavar="FILE.npz", help="write what was predicted")
    parser.add_argument("--json", metavar="FILE", help="write the table as JSON too")
    options = parser.parse_args(argv)
    for file in (options.predictions, options.json):
        _check_writable(file)  # before the work, not after it

    from tqdm import tqdm

    from maed_jax import jax_setup
    from maed_jax.body.smpl import keypoint_body
    from maed_jax.data.eval_clips import evaluation_clips
    from maed_jax.data.records import dataset_directory
    from maed_jax.evaluation import scoring, table
    from maed_jax.training.checkpoints import open_run

    jax_setup.configure()
    run = open_run(options.checkpoint, options.step, body=options.body)
    estimator, body, data = run.estimator, run.estimator.body, run.config.data
    dataset = options.dataset or (data.clips or data.images)[0][0]
    directory = dataset_directory(options.data_dir or data.data_dir, dataset)
    clips = evaluation_clips(
        directory,
        options.split,
        estimator.clip_length,
        estimator.image_size,
        stride=data.eval_interval,
        batch_size=max(1, options.batch // estimator.clip_length),
        margin=data.augment.margin,
    )
    found = scoring.evaluate(
        dataclasses.replace(estimator, body=keypoint_body(body)),
        clips,
        body,
        baseline=_mean_pose(directory, data.train_split),
        progress=lambda batches: tqdm(batches, desc="evaluate", unit="batch"),
    )
    groups = [table.rows("model", found.scores)]
    if found.baseline is not None:
        groups.append(table.rows("mean pose", found.baseline))
        groups.append(table.ratios("model / mean pose", *groups))

    title = f"{dataset}, split {options.split}: {len(clips.tracks)} tracks"
    print(f"{title}; {options.checkpoint}, step {run.step}\n")
    print(table.render(groups))
    print(f"\n{scoring.PROTOCOL}")
    if clips.skipped:
        print(f"{clips.skipped} frames with unreadable pictures are left out.")
    if body.name == "mannequin":
        print(
            "Mannequins are rendered dolls: never compare these figures with those of benchmarks "
            "of real people."
        )
    if options.predictions:
        _write_predictions(options.predictions, found)
        print(f"wrote {options.predictions}")
    if options.json:
        about = {"dataset": dataset, "split": options.split, "checkpoint": options.checkpoint}
        about |= {"step": run.step, "body": body.name, "protocol": scoring.PROTOCOL}
        _write_json(options.json, about | {"rows": [row for group in groups for row in group]})
        print(f"wrote {options.json}")


def _mean_pose(directory: Path, split: str):
    """The mean pose of the training split, or None where the dataset has none."""
    from tqdm import tqdm

    from maed_jax.data.records import Records
    from maed_jax.evaluation.baseline import mean_pose

    try:
        records = Records(directory, split)
    except UserError as error:
        print(f"maed: without the rows of the mean pose: {error}", file=sys.stderr)
        return None
    numbers = tqdm(range(len(records)), desc="mean pose", unit="frame", leave=False)
    return mean_pose(records[i] for i in numbers)


def _check_writable(file: str | None) -> None:
    if file:
        folder = Path(file).absolute().parent
        if Path(file).is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
            raise UserError(f"cannot write {file}: its folder is missing or closed, or it is one")


def _write_predictions(file: str, found) -> None:
    import numpy as np

    columns: dict[str, list] = {"track": [], "frame": []}
    for scores, predicted in zip(found.scores, found.predictions):
        length = len(scores.mpjpe)
        values = {"track": np.full(length, scores.name), "frame": np.arange(length), **predicted}
        values |= {name: getattr(scores, name) for name in ("mpjpe", "pa_mpjpe", "pve")}
        for name, value in values.items():
            columns.setdefault(name, []).append(value)
    part = Path(f"{file}.part")
    with part.open("wb") as out:  # np.savez would add a suffix of its own
        np.savez_compressed(out, **{name: np.concatenate(v) for name, v in columns.items()})
    part.replace(file)


def _write_json(file: str, content: dict) -> None:
    for row in content["rows"]:  # JSON knows no NaN
        row.update({k: None for k, v in row.items() if isinstance(v, float) and math.isnan(v)})
    Path(file).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    from maed_jax.cli import run

    run(main)
