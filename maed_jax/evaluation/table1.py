"""`maed table1`: print the paper's Table 1 with rows for a checkpoint."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

from maed_jax.arguments import Parser, add_step, positive
from maed_jax.errors import UserError
from maed_jax.evaluation import evaluate
from maed_jax.evaluation.protocols import METRICS, PRESETS, Protocol
from maed_jax.evaluation.published import COLUMNS, TABLE_1, TITLES
from maed_jax.files.json import write_json

SOURCE = (
    "Other rows: Wan et al., ICCV 2021, Table 1, as printed. Each system was evaluated with its "
    "own code; our row `maed` follows the code behind the paper's MAED rows."
)


def main(argv: list[str]) -> None:
    parser = Parser(
        prog="maed table1",
        description="Print the paper's Table 1 with our rows for the datasets that are prepared.",
        epilog=SOURCE,
    )
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="WORKDIR",
        help="work directory of maed train or convert",
    )
    add_step(parser)
    parser.add_argument("--data_dir", help="where the datasets are (default: as in training)")
    parser.add_argument("--config", default="crops", help="config of the datasets (default: crops)")
    parser.add_argument("--split", default="test", help="default: test")
    parser.add_argument(
        "--protocols", choices=("maed", "all"), default="maed",
        help="all: also a row for every other protocol",
    )  # fmt: skip
    parser.add_argument("--body", help="use another body: a path, or mannequin")
    parser.add_argument(
        "--batch", type=positive(int), default=128, help="frames per batch (default: 128)"
    )
    parser.add_argument("--out", metavar="DIR", help="write table1.md, .csv and .json to DIR")
    options = parser.parse_args(argv)
    with evaluate.only_run_into(options.out):
        _evaluate(options)


def _evaluate(options: argparse.Namespace) -> None:
    """Evaluates on the prepared datasets, prints the table and writes it."""
    from maed_jax import jax_setup

    jax_setup.configure()
    opened = evaluate.open_checkpoint(options.checkpoint, options.step, options.body)
    data_dir = options.data_dir or opened.config.data.data_dir
    datasets, notes = prepared(data_dir, options.config)
    results = {}
    for dataset in datasets:
        protocols, skipped = _available(PRESETS[dataset], opened.bodies, options.protocols)
        notes += skipped
        results[dataset], _ = evaluate.measure(
            opened,
            data_dir,
            f"{dataset}/{options.config}",
            options.split,
            protocols,
            batch=options.batch,
        )
    _write(rows(results), [*notes, *_remarks(results), SOURCE], results, options.out)


def prepared(data_dir: str, config: str) -> tuple[list[str], list[str]]:
    """Returns the datasets of the table that are prepared, and notes about the others.

    Raises:
      UserError: none is prepared.
    """
    from maed_jax.data.records import dataset_directory

    ready, notes = [], []
    for name, title in TITLES.items():
        try:
            dataset_directory(data_dir, f"{name}/{config}")
            ready.append(name)
        except UserError as error:
            notes.append(f"{title}: not evaluated: {error}")
    if not ready:
        raise UserError(
            f"none of {', '.join(TITLES.values())} is prepared in {data_dir}; "
            f"`maed data build NAME --manual_dir RAW --data_dir {data_dir} --partial`, with NAME "
            f"one of {', '.join(TITLES)}, prepares one from its test files (docs/evaluation.md)"
        )
    return ready, notes


def _available(presets: Iterable[Protocol], bodies, which: str) -> tuple[list[Protocol], list[str]]:
    """Returns the protocols whose bodies are available, and notes about the others."""
    kept, notes = [], []
    for protocol in presets:
        if which != "all" and protocol.name != which:
            continue
        try:
            if protocol.truth == "gendered":
                bodies.of("male"), bodies.of("female")
            kept.append(protocol)
        except UserError as error:
            notes.append(f"skipping the row {protocol.name}: {error}")
    return kept, notes


def rows(found: dict[str, dict]) -> list[dict]:
    """Returns the table: the published rows, then ours, one for each protocol name.

    Args:
      found: contents of results files (see `report`), by dataset.

    Returns:
      Rows with `system`, `training`, `input` and "dataset metric" for each column; None where
      there is no figure.
    """
    keys = [f"{dataset} {name}" for dataset, names in COLUMNS.items() for name in names]
    table = [
        {"system": s.name, "training": s.training, "input": s.input, **dict(zip(keys, s.figures))}
        for s in TABLE_1
    ]
    ours: dict[str, dict] = {}
    for dataset, results in found.items():
        for row in results["rows"]:
            if row["predictor"] != "model" or row["subset"] != "all":
                continue
            line = ours.setdefault(
                row["protocol"],
                {"system": f"ours, {row['protocol']}", "training": "", "input": "video"}
                | dict.fromkeys(keys),
            )
            line |= {f"{dataset} {name}": row.get(name) for name in COLUMNS[dataset]}
    return table + list(ours.values())


def _remarks(found: dict[str, dict]) -> list[str]:
    from maed_jax.evaluation.report import number

    notes = []
    for dataset, results in found.items():
        notes += [f"{TITLES[dataset]}, ours, {p['text']}." for p in results["protocols"]]
        for row in results["rows"]:
            if "accel_frame" in row and row["subset"] == "all":
                notes.append(
                    f"{TITLES[dataset]}, ours, {row['protocol']}: ACCEL within sequences "
                    f"{number(row['accel_frame'])} mm/frame^2, {number(row['accel_second'])} m/s^2."
                )
        notes += [why for reasons in results["missing"].values() for why in reasons.values()]
        notes += results["about"]["notes"]
    return list(dict.fromkeys(notes))


def _write(table: Sequence[dict], notes: Sequence[str], found: dict, out: str | None) -> None:
    from maed_jax.evaluation import report

    first = ["", "", ""]
    for dataset, names in COLUMNS.items():
        first += [TITLES[dataset], *[""] * (len(names) - 1)]
    names = [name for of in COLUMNS.values() for name in of]
    lines = [["system", "", "input", *(METRICS[name].title for name in names)]]
    for row in table:
        words = [row["system"], row["training"], row["input"]]
        figures = [value for key, value in row.items() if " " in key]
        lines.append([*words, *map(report.number, figures)])
    print(report.text_table([first, *lines]))
    print("\n" + "\n".join(notes))
    if out:
        titled = [[f"{a} {b}".strip() for a, b in zip(_repeated(first), lines[0])], *lines[1:]]
        listed = "\n".join(f"- {note}" for note in notes)
        folder = Path(out)
        report.write_text(folder / "table1.md", f"{report.markdown_table(titled)}\n\n{listed}\n")
        report.write_text(folder / "table1.csv", report.as_csv(table))
        write_json(folder / "table1.json", {"rows": table, "results": found})
        print(f"wrote table1.md, table1.csv and table1.json in {out}")


def _repeated(titles: Sequence[str]) -> Iterable[str]:
    """Repeats titles that span several columns over each of them."""
    return itertools.accumulate(titles, lambda last, title: title or last)


if __name__ == "__main__":
    from maed_jax.cli import run

    run(main)
