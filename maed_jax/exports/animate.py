"""`maed animate`: exports people from earlier results of `maed predict`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from maed_jax.arguments import RESULTS_BODY_HELP, Parser

if TYPE_CHECKING:
    from maed_jax.body.smpl import Body


def animate_results(
    out: str | Path, formats: tuple[str, ...], body: Body | str | Path | None = None
) -> list[str]:
    """Exports the people in a results folder of `maed predict`; earlier exports are kept.

    Args:
      formats: from `maed_jax.exports.people.FORMATS`.
      body: as in `results.load_results_body`.

    Returns:
      The names of what was written.

    Raises:
      UserError: there are no results, or no body for them, or the folder cannot be written.
    """
    from maed_jax.exports.people import export_people
    from maed_jax.inference import results
    from maed_jax.inference.unfinished import stage_beside
    from maed_jax.visual.index_page import write_page

    out = Path(out)
    content, people = results.load_results(out)
    body = results.load_results_body(content, body)
    with stage_beside(out) as stage:
        names = export_people(formats, people, body, stage)
        content["exports"] = list(dict.fromkeys([*content["exports"], *names]))
        write_page(stage / results.PAGE, content)
        results.write_summary(stage, content)
        results.publish(stage, out, replace=False)
    return names


def parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="maed animate",
        description="Export the people that maed predict found, for animation software: animated "
        "GLB (Blender, browsers), BVH (skeleton), OBJ (the exact mesh of every frame), PC2 (the "
        "exact mesh as a point cache for the GLB), AMASS (SMPL's parameters over time).",
    )
    parser.add_argument("results", metavar="DIR", help="folder that maed predict wrote")
    parser.add_argument(
        "--export",
        default="glb",
        metavar="LIST",
        help="any of glb,bvh,obj,pc2,amass (default: glb)",
    )
    parser.add_argument("--body", metavar="PATH", help=RESULTS_BODY_HELP)
    return parser


def main(argv: list[str]) -> None:
    args = parser().parse_args(argv)
    from maed_jax.exports.people import parse_formats

    formats = parse_formats(args.export)
    for name in animate_results(args.results, formats, args.body):
        print(Path(args.results) / name)


if __name__ == "__main__":
    from maed_jax.cli import run

    run(main)
