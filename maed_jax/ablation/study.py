"""`maed ablate`: train and compare every row of the paper's Table 2."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ml_collections import ConfigDict

from maed_jax.ablation.files import (
    RESULT,
    claim_directory,
    last_loss,
    read_json,
    read_results,
    result_path,
    timed,
)
from maed_jax.ablation.rows import (
    ROWS,
    STAGES,
    choose_rows,
    choose_seeds,
    load_study,
    stage_config,
)
from maed_jax.arguments import Parser
from maed_jax.errors import UserError
from maed_jax.files.atomic import atomic_write
from maed_jax.files.json import write_json
from maed_jax.files.locks import InUse, only_run_in
from maed_jax.machine import environment

if TYPE_CHECKING:
    from maed_jax.data.eval_clips import EvaluationClips

EPILOG = """\
rows:
  {rows}

DIR/ROW/SEED/ holds stage1/ and stage2/ (work directories of maed train), train.log and result.json.
The same command resumes where the study stopped. Runs with a result.json are not repeated: delete
that file to measure a trained row again. DIR/report.md, results.json and the plots are written at
the end; --report_only writes them from the existing results.

Any setting can be changed as in maed train, for example --config.study.stage1.steps=1000.
"""


def main(argv: list[str]) -> None:
    parser = Parser(
        prog="maed ablate",
        usage="maed ablate --config ablation --workdir DIR [--rows A,B] [--seeds 0,1] "
        "[--report_only] [--config.KEY=VALUE ...]",
        description="Train and evaluate every row of the paper's Table 2, and write the report.",
        epilog=EPILOG.format(rows="\n  ".join(ROWS)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="NAME", help="name or file (default: ablation)")
    parser.add_argument("--workdir", required=True, metavar="DIR", help="directory of the study")
    parser.add_argument("--rows", metavar="A,B", help="only these rows (default: all)")
    parser.add_argument("--seeds", metavar="0,1", help="only these seeds (default: all)")
    parser.add_argument(
        "--report_only", action="store_true", help="only write the report, without training"
    )
    options, overrides = parser.parse_known_args(argv)
    workdir = Path(options.workdir)
    if options.report_only:
        given = {"--config": options.config, "--rows": options.rows, "--seeds": options.seeds}
        for word in (*(name for name in given if given[name] is not None), *overrides):
            raise UserError(f"--report_only takes no settings: {word} would have no effect")
        write_report(workdir)
        return
    rows = choose_rows(options.rows)
    config = load_study(options.config or "ablation", overrides)
    stopped_by = run_study(config, workdir, rows, choose_seeds(options.seeds, config))
    if not stopped_by or read_results(workdir):
        write_report(workdir)
    if stopped_by:
        print("stopped; the same command resumes", file=sys.stderr)
        sys.exit(128 + stopped_by)


def run_study(config: ConfigDict, workdir: Path, rows: list[str], seeds: list[int]) -> int:
    """Trains and measures all runs without a result: every row with one seed, then the next seed.

    Runs that another process is working on are skipped.

    Returns:
      0, or the number of the signal that stopped it.

    Raises:
      UserError: the settings are impossible, or the directory is another study's.
    """
    from maed_jax import jax_setup
    from maed_jax.data.pipeline import dataset_to_evaluate
    from maed_jax.data.records import dataset_directory
    from maed_jax.runs.settings import check_settings

    jax_setup.configure()
    if not seeds:
        raise UserError("there is nothing to do: config.study.seeds is empty")
    if config.study.blank_clips < 1:
        raise UserError(
            f"config.study.blank_clips must be at least 1, not {config.study.blank_clips}"
        )
    for name in rows:
        for stage, before in (("stage1", ""), ("stage2", "stage1")):
            check_settings(stage_config(config, ROWS[name], 0, stage, before))
    dataset_directory(config.data.data_dir, dataset_to_evaluate(config.data))  # raises if missing
    new_study = not (workdir / "mean_pose.json").exists()
    mean_pose = measure_mean_pose(config) if new_study else None
    claim_directory(config, workdir)  # only after all checks, so that settings can still change
    if new_study:
        write_json(workdir / "mean_pose.json", mean_pose)
    runs = [(name, seed) for seed in seeds for name in rows]
    remaining = [run for run in runs if not result_path(workdir, *run).exists()]
    if done := len(runs) - len(remaining):
        print(f"{done} of {len(runs)} runs are already done", flush=True)
    for count, (name, seed) in enumerate(remaining, start=1):
        try:
            with only_run_in(workdir / name / str(seed)):
                if result_path(workdir, name, seed).exists():  # another process was faster
                    continue
                result = run_row(config, workdir, name, seed)
        except InUse:
            message = f"[{count}/{len(remaining)}] {name}, seed {seed}: running in another process"
            print(message, flush=True)
            continue
        except UserError as error:
            raise UserError(f"row {name}, seed {seed}: {error}") from None
        if isinstance(result, int):
            return result
        print(_progress(workdir, name, seed, result, count, len(remaining)), flush=True)
    return 0


def _progress(workdir: Path, name: str, seed: int, result: dict, count: int, waiting: int) -> str:
    """Returns the line to print for a finished run."""
    everything = result["subsets"]["all"]
    took = [sum(r["seconds"].values()) for _, _, r in read_results(workdir)]
    left = waiting - count
    minutes = left * sum(took) / len(took) / 60
    return (
        f"[{count}/{waiting}] {name}, seed {seed}: PA-MPJPE {everything['pa_mpjpe']:.1f}, "
        f"MPJPE {everything['mpjpe']:.1f} mm; {sum(result['seconds'].values()):.0f} s"
        + (f"; {left} left, about {max(1, round(minutes))} min" if left else "")
    )


def run_row(config: ConfigDict, workdir: Path, name: str, seed: int) -> dict | int:
    """Trains both stages of one row, measures it, and writes its result.

    Returns:
      The result, or the number of the signal that stopped it.
    """
    import jax

    from maed_jax.training.train import train

    row, directory = ROWS[name], workdir / name / str(seed)
    jax.clear_caches()  # otherwise compiled programs of earlier runs would pile up
    for i, stage in enumerate(STAGES):
        init_from = str(directory / STAGES[i - 1]) if i else ""
        settings = stage_config(config, row, seed, stage, init_from)
        with timed(directory, stage), (directory / "train.log").open("a") as log:
            with contextlib.redirect_stderr(log):
                stopped_by = train(settings, directory / stage)
        if stopped_by:
            return stopped_by
    begin = time.monotonic()
    result = {"row": name, **dataclasses.asdict(row), "seed": seed}
    result |= measure_run(directory / STAGES[-1], config)
    result["last_losses"] = {s: last_loss(directory / s, config.log_every) for s in STAGES}
    result["seconds"] = read_json(directory / "seconds.json")
    result["seconds"]["evaluation"] = round(time.monotonic() - begin, 1)
    result["environment"] = environment()
    write_json(directory / RESULT, result)
    return result


def measure_run(workdir: str | Path, config: ConfigDict) -> dict:
    """Measures everything on the model trained in `workdir`."""
    import jax

    from maed_jax.ablation import measure
    from maed_jax.body.smpl import keypoint_body
    from maed_jax.evaluation.predictions import predict
    from maed_jax.runs.restore import open_run

    run = open_run(workdir)
    body = run.estimator.body
    points_body = keypoint_body(body, h36m=True)
    estimator = dataclasses.replace(run.estimator, body=points_body)
    clips = test_clips(config)
    results = measure.errors(predict(estimator, clips), clips, body)
    clear = clear_test_clips(config, clips)
    images, labels = measure.clear_clips(clear, config.study.blank_clips)
    results["blanked"] = measure.blanked_frame(estimator, points_body, images, labels)
    if measure.has_gates(estimator.model):
        results["gates"] = measure.gates_by_subset(estimator, clips)
    leaves = jax.tree.leaves(estimator.variables["params"])
    return {"parameters": int(sum(leaf.size for leaf in leaves)), "steps": run.step} | results


def measure_mean_pose(config: ConfigDict) -> dict:
    """Measures a predictor that always returns the mean pose of the training split.

    Raises:
      UserError: the test split lacks what the measurements after training need.
    """
    from maed_jax.ablation.measure import errors
    from maed_jax.body.files import load_body
    from maed_jax.data.pipeline import dataset_to_evaluate
    from maed_jax.data.records import Records, dataset_directory
    from maed_jax.evaluation.baseline import FIELDS, mean_pose
    from maed_jax.evaluation.predictions import constant

    data, clips = config.data, test_clips(config)
    clear = clear_test_clips(config, clips)
    if not clear.num_whole:
        length, interval = config.model.clip_length, data.eval_interval
        raise UserError(
            "the test split has no whole clip in which to blank a frame: its longest track has "
            f"{max(track.length for track in clear.tracks)} frames, and {length} frames "
            f"(config.model.clip_length), {interval} apart (config.data.eval_interval), need "
            f"{(length - 1) * interval + 1}"
        )
    trained_on = dataset_to_evaluate({**data, "val_dataset": ""})
    directory = dataset_directory(data.data_dir, trained_on)
    records = Records(directory, data.train_split)
    mean = mean_pose(records.read(i, FIELDS) for i in range(len(records)))
    return errors(constant(*mean, clips), clips, load_body(config.body))


def clear_test_clips(config: ConfigDict, clips: EvaluationClips) -> EvaluationClips:
    """Returns the clips of the subset "plain", or `clips` if the split has no such subset."""
    subsets = {track.subset for track in clips.tracks}
    return test_clips(config, "plain") if "plain" in subsets else clips


def test_clips(config: ConfigDict, subset: str | None = None) -> EvaluationClips:
    """Returns the clips of the test split, with the same length and interval as in training."""
    from maed_jax.data.eval_clips import evaluation_clips
    from maed_jax.data.pipeline import dataset_to_evaluate
    from maed_jax.data.records import dataset_directory

    data, length = config.data, config.model.clip_length
    return evaluation_clips(
        dataset_directory(data.data_dir, dataset_to_evaluate(data)),
        config.study.test_split,
        length,
        config.model.image_size,
        subset,
        stride=config.data.eval_interval,
        batch_size=max(1, 128 // length),
        margin=data.augment.margin,
    )


def write_report(workdir: Path) -> None:
    """Writes results.json, report.md and the plots from the results in `workdir`.

    Raises:
      UserError: there are none.
    """
    from maed_jax.ablation import plots, report

    summary = summarise(workdir)
    write_json(workdir / "results.json", summary)
    drawn = plots.draw(summary, workdir)
    with atomic_write(workdir / "report.md", "w") as file:
        file.write(report.report(summary, drawn))
    print(f"wrote {workdir / 'report.md'}, results.json, {', '.join(drawn) or 'no plots'}")


def summarise(workdir: Path) -> dict:
    """Returns the content of a study's results.json, from the results in `workdir`.

    Raises:
      UserError: there are none, or one is malformed.
    """
    from maed_jax.ablation import summary
    from maed_jax.runs.checkpoints import read_config

    results = [result for _, _, result in read_results(workdir)]
    if not results:
        raise UserError(f"{workdir} holds no finished row: run maed ablate --workdir {workdir}")
    if (config := read_config(workdir)) is None:
        raise UserError(f"{workdir} holds results but no config.json with the study's settings")
    mean_pose = read_json(workdir / "mean_pose.json")
    try:
        return summary.summarise(results, mean_pose, config.to_dict())
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise UserError(
            f"a result.json or mean_pose.json in {workdir} is malformed "
            f"({type(error).__name__}: {error}); delete it and run again"
        ) from None


if __name__ == "__main__":
    from maed_jax.cli import run

    run(main)
