"""The TFDS builder `mannequins`: rendered people with the built-in body and full ground truth."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import tensorflow_datasets as tfds
import tqdm

from maed_jax.arguments import seed
from maed_jax.data import schema
from maed_jax.data.parallel import in_order
from maed_jax.errors import UserError

from . import film, motion

# Kinds of motion of consecutive tracks; the test split's subsets, except "extreme", have everyday
# motions.
MIXED = (
    "walking", "reaching", "dancing", "sitting", "extreme", "running", "dancing", "reaching",
    "extreme", "walking",
)  # fmt: skip
SUBSETS = ("plain", "clutter", "occlusion", "extreme")


@dataclasses.dataclass
class MannequinsConfig(tfds.core.BuilderConfig):
    """What to make; `train`, `validation` and `test` are numbers of tracks."""

    train: int = 240
    validation: int = 24
    test: int = 48
    frames: tuple[int, int] = (128, 192)
    """shortest and longest track, before `every`"""
    train_every: int = 1
    """render every n-th frame of the train split's tracks"""
    size: int = 288
    """side of the stored images, pixels"""
    clutter: tuple[float, float, float] = film.Plan.clutter
    occluded: float = film.Plan.occluded
    """see `film.Plan`; the test split's subsets have their own values"""
    kit: str = ""
    """see `film.Plan`"""


class Mannequins(tfds.core.GeneratorBasedBuilder):
    """Rendered people of varied shape in motion, before cluttered backgrounds; see docs/data.md."""

    VERSION = tfds.core.Version("1.3.0")
    RELEASE_NOTES = {
        "1.3.0": "`demo_stills` has three images of a person; the other datasets are unchanged.",
        "1.2.0": "`demo` with a harlequin kit, and `demo_stills`; the former demo is now `study`.",
        "1.1.0": "Adds frame rate and the owner's mask.",
        "1.0.0": "First version.",
    }
    BUILDER_CONFIGS = [
        MannequinsConfig(name="crops", description="for real training, images of 288 px"),
        MannequinsConfig(
            name="demo",
            description="what a laptop renders and learns from in minutes, with `demo_stills`: "
            "people in a harlequin kit, mostly in plain view; in train only every 8th frame",
            train=1200, validation=8, test=48, frames=(64, 64), train_every=8, size=96,
            clutter=(0.6, 0.3, 0.1), occluded=0.15, kit="harlequin",
        ),
        MannequinsConfig(
            name="demo_stills",
            description="many more people like those of `demo`, each in three images",
            train=12_000, validation=0, test=0, frames=(60, 60), train_every=20, size=96,
            clutter=(0.6, 0.3, 0.1), occluded=0.15, kit="harlequin",
        ),
        MannequinsConfig(
            name="study",
            description="what `maed ablate` trains on: people in a team kit, mostly in plain view; "
            "in train only every 8th frame",
            train=2000, validation=8, test=48, frames=(64, 64), train_every=8, size=128,
            clutter=(0.6, 0.3, 0.1), occluded=0.15, kit="team",
        ),
        MannequinsConfig(
            name="tiny", description="a few short tracks, for a first look and for tests",
            train=2, validation=1, test=4, frames=(16, 24), size=96,
        ),
    ]  # fmt: skip

    def __init__(
        self,
        *,
        seed: int = 0,
        motions: str | Path | None = None,
        processes: int | None = None,
        **kwargs,
    ):
        """
        Args:
          seed: for everything random.
          motions: folder of BVH or ASF/AMC files for half of the tracks.
          processes: number of processes; default: one per core.
          kwargs: passed to TFDS (data_dir, config, ...).
        """
        super().__init__(file_format="array_record", **kwargs)
        self.seed, self.motions, self.processes = seed, motions, processes

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Adds the options of `maed data build mannequins`, which become builder arguments."""
        parser.add_argument("--seed", type=seed, default=0, help="another seed gives other people")
        parser.add_argument(
            "--motions", metavar="DIR",
            help="folder of BVH or ASF/AMC motion capture: half of the tracks move as recorded",
        )  # fmt: skip

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=schema.features(),
            disable_shuffling=True,  # frames of a track stay together
        )

    def _split_generators(self, _):
        plans = plan(self.builder_config, self.seed, self.motions)
        *_, self._last = plans
        total = sum(-(-p.frames // p.every) for part in plans.values() for p in part)
        self._progress = tqdm.tqdm(
            total=total, desc="rendering", unit=" frames", smoothing=0.05, mininterval=0.5
        )
        # One pool for all splits: TFDS asks for the records in this order.
        self._records = in_order(
            film.track, [p for part in plans.values() for p in part], self.processes
        )
        return {split: self._generate_examples(split, part) for split, part in plans.items()}

    def _generate_examples(self, split: str, plans: list[film.Plan]):
        tracks, start = [], 0
        for each in plans:
            try:
                records = next(self._records)
            except BaseException:
                self._progress.close()  # so that the error message begins on a new line
                raise
            yield from enumerate(records, start)
            self._progress.update(len(records))
            tracks.append(schema.Track(each.name, start, len(records), each.subset))
            start += len(records)
        # TFDS moves the whole folder into place at the end, so no dataset lacks its tables.
        schema.write_tracks(self.data_dir, split, tracks)
        if split == self._last:
            self._progress.close()
            self._records.close()


def plan(
    config: MannequinsConfig, seed: int = 0, folder: str | Path | None = None
) -> dict[str, list[film.Plan]]:
    """Plans the tracks of each split; splits without tracks are left out.

    Raises:
      UserError: there are no usable motions in the folder.
    """
    recordings: dict[str, list] = {}
    if folder is not None:
        from . import mocap

        recordings = mocap.split(mocap.find(folder), config.frames[0], fps=30.0)
        if not recordings["train"]:
            raise UserError(
                f"no motion in {folder} is as long as {config.frames[0]} frames at 30 per second"
            )
    plans = {split: [] for split in ("train", "validation", "test") if getattr(config, split)}
    for split in plans:
        for number in range(getattr(config, split)):
            subset = SUBSETS[number % len(SUBSETS)] if split == "test" else ""
            kinds = MIXED
            if subset:
                kinds = ("extreme",) if subset == "extreme" else motion.EVERYDAY
            turn = number // len(SUBSETS) if subset else number
            each = film.Plan(
                split,
                number,
                seed,
                subset,
                kinds[turn % len(kinds)],
                every=config.train_every if split == "train" else 1,
                size=config.size,
                clutter=config.clutter,
                occluded=config.occluded,
                kit=config.kit,
            )
            frames = int(each.rng().integers(config.frames[0], config.frames[1] + 1))
            each = dataclasses.replace(each, frames=frames)
            if recordings.get(split) and turn % 2 and subset != "extreme":
                parts = recordings[split]
                path, start, length = parts[turn // 2 % len(parts)]
                each = dataclasses.replace(
                    each, kind="recorded", recording=(path, start), frames=min(frames, length)
                )
            plans[split].append(each)
    return plans
