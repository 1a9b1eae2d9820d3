"""A text summary of a prepared dataset."""

from __future__ import annotations

import contextlib
from pathlib import Path

from maed_jax.data import schema
from maed_jax.files.json import check_form, read_json

ORDER = ("train", "validation", "test")
_COUNTS = {"people": int, "frames": int, "with_smpl": int, "with_3d": int, "dropped": dict,
           "mended": dict}  # fmt: skip


def summary(directory: str | Path) -> str:
    """Returns a table of the tracks and frames in each split and subset of a prepared dataset."""
    directory = Path(directory)
    lines = [f"{directory}", f"{'split':<12}{'subset':<12}{'tracks':>8}{'frames':>10}"]
    splits = [path.stem.removeprefix("tracks-") for path in directory.glob("tracks-*.json")]
    for split in sorted(splits, key=_split_order):
        tracks = schema.read_tracks(directory, split)
        groups = {"": tracks} | {
            subset: [t for t in tracks if t.subset == subset]
            for subset in dict.fromkeys(t.subset for t in tracks)
            if subset
        }
        for subset, group in groups.items():
            frames = sum(track.length for track in group)
            lines.append(f"{split:<12}{subset:<12}{len(group):>8}{frames:>10}")
    return "\n".join(lines + _report_lines(directory))


def _split_order(split: str) -> tuple[int, str]:
    """Returns a sort key for splits: `ORDER`, then others by name."""
    return ORDER.index(split) if split in ORDER else len(ORDER), split


def _report_lines(directory: Path) -> list[str]:
    """Returns lines about what a build from real images kept and dropped; else none."""
    lines = []
    with contextlib.suppress(OSError, ValueError, TypeError):
        for split, counts in read_json(directory / "report.json", dict).items():
            check_form(counts, _COUNTS)
            lines.append(
                f"{split}: {counts['people']} people in {counts['frames']} images, "
                f"{counts['with_smpl']} with SMPL, {counts['with_3d']} with 3D keypoints"
            )
            lines += [f"  {n:>9} left out: {why}" for why, n in counts["dropped"].items()]
            lines += [f"  {n:>9} labels ignored: {why}" for why, n in counts["mended"].items()]
    return lines
