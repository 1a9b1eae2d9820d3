"""Measures how often two people who walk past each other keep their identity.

    python scripts/prove_crossing.py [--seeds 40 56] [--detector FILE.onnx] [--workdir DIR]

Each seed renders a video of 84 frames with two people, as `maed data video` does; one occludes the
other for a while. Each person should have one track, from nearly the first frame to the last. Needs
the extra `viz`; takes some ten seconds of one core per video.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import tqdm

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--seeds", nargs=2, type=int, default=(40, 56), metavar=("FIRST", "STOP"),
        help="seeds of the videos (default: 40 to 55; the tracker was tuned on 0 to 26)",
    )  # fmt: skip
    parser.add_argument(
        "--detector", default="hog", metavar="NAME|FILE.onnx", help="as for maed predict"
    )
    parser.add_argument("--workdir", type=Path, default="proofs/crossing")
    options = parser.parse_args()
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    from crossing import film, mistakes

    options.workdir.mkdir(parents=True, exist_ok=True)
    seeds, kept = range(*options.seeds), 0
    for seed in tqdm.tqdm(seeds, unit=" videos"):
        found = mistakes(*film(options.workdir, seed, detector=options.detector))
        kept += not found
        tqdm.tqdm.write(f"seed {seed}: {'; '.join(found) or 'both keep their identity'}")
    print(f"both keep their identity in {kept} of {len(seeds)} videos")


if __name__ == "__main__":
    main()
