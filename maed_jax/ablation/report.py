"""The study's report in Markdown: tables of all measurements, with explanations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maed_jax.ablation.rows import LINE_OF, TABLE
from maed_jax.body.skeleton import JOINT_NAMES, LEVELS
from maed_jax.evaluation import table
from maed_jax.evaluation.protocols import METRICS
from maed_jax.evaluation.report import markdown_table, number

MANNEQUIN = (
    "Our figures are for mannequins, which are rendered dolls, and a small network trained for "
    "minutes; the paper's are for real people (3DPW) and a large network, pretrained and trained "
    "on 16 GPUs. Compare rows within one column, never ours with the paper's."
)


def report(summary: dict, plots: Sequence[str] = ()) -> str:
    """Returns the whole report.

    Args:
      summary: from `summary.summarise`.
      plots: names of the plots that were written.
    """
    parts = [
        _head(summary),
        "## Table 2\n\n" + table2(summary) + _plot(plots, "table.png"),
        _gates(summary) + _plot(plots, "gates.png"),
        _depth(summary) + _plot(plots, "depth.png"),
        _subsets(summary) + _plot(plots, "subsets.png"),
        _blanked(summary) + _plot(plots, "blanked.png"),
        _training(summary),
    ]
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def cell(stat: dict[str, Any] | None, digits: int = 1) -> str:
    """Formats a mean with its standard deviation over seeds, if there is one: `45.7 ± 0.3`."""
    if stat is None or stat["mean"] is None:
        return "-"
    text = f"{stat['mean']:.{digits}f}"
    return text if stat["sd"] is None else f"{text} ± {stat['sd']:.{digits}f}"


def table2(summary: dict) -> str:
    """Formats the paper's table with our columns next to its own, in the same three parts."""
    head = ["Encoder", "Decoder"]
    head += [f"paper, 3DPW: {name}" for name in ("PA-MPJPE", "MPJPE")]
    head += [f"ours, mannequins: {METRICS[m].title}" for m in _METRICS] + ["seeds"]
    rows: list[list[str]] = []
    for part in TABLE:
        if rows:
            rows.append([" "] * len(head))
        for line in part:
            ours = summary["rows"].get(line.row)
            figures = ours["subsets"][table.ALL] if ours else {}
            rows.append(
                [line.encoder, line.decoder, number(line.pa_mpjpe), number(line.mpjpe)]
                + [cell(figures.get(metric)) for metric in _METRICS]
                + [str(len(ours["seeds"])) if ours else "0"]
            )
    rows.append([" "] * len(head))
    mean_pose = summary["mean_pose"]["subsets"][table.ALL]
    rows.append(
        ["none: the mean pose", "", "-", "-", *(number(mean_pose[m]) for m in _METRICS), ""]
    )
    return (
        markdown_table([head, *rows], left=2) + "\n\nMean ± sample standard deviation over seeds. "
        "The decoder of the middle part is Iterative: its CNN and parallel V2 are rows of the "
        "first part. "
        f"Errors are in mm, under the protocol {summary['about']['protocol']}."
    )


_METRICS = ("pa_mpjpe", "mpjpe", "pve", "accel")


def _head(summary: dict) -> str:
    about, settings = summary["about"], summary["settings"]
    model, study = settings["model"], settings["study"]
    machines = "; ".join(
        f"{e['cores']} x {e['cpu']} ({e['device']}), JAX {e['jax']}, Flax {e['flax']}, "
        f"Python {e['python']}, maed_jax {e['maed_jax']}"
        for e in summary["environments"]
    )
    stages = "; ".join(
        f"{name}: {study[name]['steps']} steps of {study[name]['data']['clips_per_batch']} clips "
        f"and {study[name]['data']['images_per_batch']} images"
        for name in ("stage1", "stage2")
    )
    return (
        "# Table 2 of the paper, measured\n\n"
        f"{MANNEQUIN}\n\n"
        f"Data: `{about['dataset']}`, split `{about['split']}`. Network: "
        f"{model['image_size']} px, width {model['dim']}, {model['depth']} blocks, "
        f"{model['heads']} heads, clips of {model['clip_length']} frames. Training: {stages}. "
        f"Runs: {sum(len(r['seeds']) for r in summary['rows'].values())}, "
        f"{summary['seconds'] / 3600:.1f} hours in total on {machines}."
    )


def _gates(summary: dict) -> str:
    gates = summary["claims"]["gates"]
    if not gates:
        return ""
    text = [
        "## Occlusion and the gate\n\n"
        "The weight of the temporal branch in the attentive addition, averaged over channels (0: "
        "space alone, 1: time alone). In clear clips of the plain subset, more and more of the "
        "middle frame is blanked, from each of the four sides. `change`: from the smallest blanked "
        "fraction to the largest. `r`: correlation over clips and sides of the blanked fraction "
        "with the difference between the frame's weight and that of the other frames of its clip."
    ]
    for name, found in gates.items():
        fractions = found["fractions"]
        shown = sorted({0, len(fractions) // 3, 2 * len(fractions) // 3, len(fractions) - 1})
        head = ["block", "frame"] + [f"blanked {fractions[i]:.1f}" for i in shown]
        rows = []
        for block in range(len(found["change"])):
            for label, key in (("blanked", "gate"), ("others", "gate_others")):
                values = [cell(found[key][i][block], 3) for i in shown]
                own = label == "blanked"
                values.append(cell(found["change"][block], 3) if own else "")
                values.append(cell(found["correlation"][block], 2) if own else "")
                rows.append([str(block + 1), label, *values])
        text.append(
            f"**{label_of(name)}**\n\n" + markdown_table([[*head, "change", "r"], *rows], left=2)
        )
    head = ["network", "block"]
    names = list(dict.fromkeys(s for found in gates.values() for s in found["subsets"]))
    head += [*names, "occlusion - plain", "r"]
    rows = []
    for name, found in gates.items():
        for block in range(len(found["change"])):
            values = [cell(found["subsets"][s][block], 3) for s in names]
            less = found["occlusion_less_plain"]
            values.append(cell(less[block] if less else None, 3))
            values.append(cell(found["occlusion_correlation"][block], 2))
            rows.append([label_of(name), str(block + 1), *values])
    text.append(
        "The same weight, averaged over all frames of each subset of the test split; `r`: "
        "correlation over frames with belonging to `occlusion` rather than `plain`.\n\n"
        + markdown_table([head, *rows], left=2)
    )
    return "\n\n".join(text)


def _depth(summary: dict) -> str:
    rows_of, mean_pose = summary["rows"], summary["mean_pose"]["depth"]
    chosen = [n for n in DEPTH_ROWS if n in rows_of]
    if not chosen:
        return ""
    text = [
        "## Error by depth in the tree\n\n"
        "Joints by their number of ancestors in SMPL's tree. Differences are taken seed by seed: "
        "KTD is better below zero."
    ]
    titles = {
        "position_mm": "Position, with both bodies centred on the pelvis, mm",
        "rotation_deg": "Angle to the true rotation in the parent's frame, degrees",
    }
    for kind, title in titles.items():
        differences = summary["claims"]["decoders"]
        head = ["depth", "joints", *map(label_of, chosen)]
        head += [" - ".join(map(label_of, pair.split(" - "))) for pair in differences]
        rows = []
        for depth, level in enumerate(LEVELS):
            values = [cell(rows_of[n]["depth"][kind][depth]) for n in chosen]
            values += [cell(d[kind][depth]) for d in differences.values()]
            joints = ", ".join(JOINT_NAMES[j] for j in level)
            rows.append([str(depth), joints, *values, number(mean_pose[kind][depth])])
        text.append(f"{title}:\n\n" + markdown_table([[*head, "mean pose"], *rows], left=2))
    return "\n\n".join(text)


DEPTH_ROWS = ("ste-iterative", "ste-ktd", "cnn-iterative", "cnn-ktd")


def _subsets(summary: dict) -> str:
    text = ["## Error by subset of the test split"]
    mean_pose = summary["mean_pose"]["subsets"]
    for metric in ("pa_mpjpe", "mpjpe"):
        rows, fractions = [], []
        for name, row in summary["rows"].items():
            stats = {s: row["subsets"][s][metric] for s in mean_pose}
            rows.append([label_of(name), *map(cell, stats.values())])
            scaled = [_over(stat, mean_pose[s][metric]) for s, stat in stats.items()]
            fractions.append([label_of(name), *(cell(stat, 2) for stat in scaled)])
        rows.append(["mean pose", *(number(row[metric]) for row in mean_pose.values())])
        head, title = ["network", *mean_pose], METRICS[metric].title
        text.append(f"{title}, mm:\n\n" + markdown_table([head, *rows], left=1))
        text.append(
            f"{title} as a fraction of the mean pose's:\n\n"
            + markdown_table([head, *fractions], left=1)
        )
    return "\n\n".join(text)


def _over(stat: dict[str, Any], divisor: float) -> dict[str, Any]:
    """Divides a stat by `divisor`."""
    scaled = {key: stat[key] / divisor for key in ("mean", "sd") if stat[key] is not None}
    return stat | scaled


def _blanked(summary: dict) -> str:
    rows = list(summary["rows"].items())
    fractions = rows[0][1]["blanked"]["fractions"]
    shown = range(0, len(fractions), 3)
    lines = [
        [label_of(name), *(cell(row["blanked"]["pa_mpjpe"][i]) for i in shown)]
        for name, row in rows
    ]
    head = ["network", *(f"blanked {fractions[i]:.1f}" for i in shown)]
    return (
        "## Error in a blanked frame\n\n"
        "PA-MPJPE in mm of the middle frame of clear clips, by the fraction of that frame alone "
        "that is blanked. Encoders that see the other frames have an advantage here.\n\n"
        + markdown_table([head, *lines], left=1)
    )


def _training(summary: dict) -> str:
    rows = [
        [
            f"`{name}`",
            f"{row['parameters'] / 1e6:.2f}",
            *(cell(stat) for stat in row["last_losses"].values()),
            *(cell(stat, 0) for stat in row["seconds"].values()),
        ]
        for name, row in summary["rows"].items()
    ]
    first = next(iter(summary["rows"].values()))
    head = ["row", "parameters, millions"]
    head += [f"final loss, {stage}" for stage in first["last_losses"]]
    head += [f"seconds, {part}" for part in first["seconds"]]
    return "## Training\n\n" + markdown_table([head, *rows], left=1)


def label_of(row: str) -> str:
    """Returns encoder and decoder of a row, as labelled in the table."""
    line = LINE_OF[row]
    return f"{line.encoder} + {line.decoder}"


def _plot(plots: Sequence[str], name: str) -> str:
    return f"\n\n![{name.partition('.')[0]}]({name})" if name in plots else ""
