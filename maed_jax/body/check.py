"""`maed body check PATH...`: what a body's files contain, what is missing, and what needs it."""

from __future__ import annotations

import os
import sys

from maed_jax.arguments import Parser
from maed_jax.errors import UserError

_SPIN = "SPIN's data, see docs/body.md"
# Field of the body -> the file that provides it, what it is, what needs it.
PARTS = {
    "landmark_regressor": (
        "J_regressor_extra.npy",
        "49 keypoints",
        "training, evaluation, prediction and export need them",
    ),
    "h36m_regressor": (
        "J_regressor_h36m.npy",
        "Human3.6M's joints",
        "all evaluation except MPI-INF-3DHP's protocols maed and tcmr needs them",
    ),
    "mean_pose6d": (
        "smpl_mean_params.npz",
        "mean pose, shape and camera",
        "only the iterative decoder needs them",
    ),
}


def report(source: str | os.PathLike) -> str:
    """Describes the body at `source`, one fact per line.

    Args:
      source: a path, or "mannequin".

    Raises:
      UserError: it is not a body.
    """
    import numpy as np

    from maed_jax.body.files import find_model_file, load_body

    body = load_body(source)
    template, weights = np.asarray(body.template), np.asarray(body.skin_weights)
    verts, _, betas = body.shape_dirs.shape
    low, high = template.min(axis=0), template.max(axis=0)
    lines = [
        "the built-in mannequin" if source == "mannequin" else str(find_model_file(source)),
        f"  {'kind':<12}{body.name}",
        f"  {'vertices':<12}{verts}",
        f"  {'faces':<12}{body.faces.shape[0]}",
        f"  {'joints':<12}{body.rest_joints.shape[0]}",
        f"  {'betas':<12}{betas}",
        f"  {'pose dirs':<12}{body.pose_dirs.shape[-1]}",
        f"  {'height':<12}{high[1] - low[1]:.2f} m, of the mean body",
    ]
    for field, (file, content, need) in PARTS.items():
        if getattr(body, field) is not None:
            lines.append(f"  {'found':<12}{content}")
        else:
            lines.append(f"  {'missing':<12}{content}: {need}; put {file} beside it ({_SPIN})")
    lines += [f"  {'warning':<12}{warning}" for warning in _warnings(body, weights, high - low)]
    return "\n".join(lines)


def _warnings(body, weights, extent) -> list[str]:
    """Warnings about values that are valid but implausible."""
    import numpy as np

    warnings = []
    if not 0.5 < extent[1] < 2.5:
        warnings.append(f"the mean body is {extent[1]:.2f} tall: is this in metres, with y up?")
    wrong = int((np.abs(weights.sum(axis=1) - 1) > 1e-3).sum())
    if wrong or weights.min() < 0:
        warnings.append(
            f"the skin weights of {wrong} vertices do not add up to one, or are negative"
        )
    for name in ("landmark_regressor", "h36m_regressor"):
        regressor = getattr(body, name)
        if regressor is not None and np.abs(np.asarray(regressor).sum(axis=1) - 1).max() > 1e-2:
            warnings.append(f"rows of the {name.replace('_', ' ')} do not add up to one")
    return warnings


def main(argv: list[str]) -> None:
    """The verb `body`.

    Raises:
      UserError: a path has no readable body; the paths after it are still reported.
    """
    parser = Parser(
        prog="maed body",
        description="Inspect body models: SMPL's files, which you must download yourself "
        "(docs/body.md), and the built-in mannequin.",
    )
    actions = parser.add_subparsers(required=True, metavar="check")
    check = actions.add_parser(
        "check",
        help="print what a body's files contain and what is missing",
        description="Print what a body's files contain, what is missing, what needs it and where "
        "to get it. Nothing in the files is executed. Exits with status 1 if one is not a body.",
    )
    check.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="a .pkl or .npz file, a directory with SMPL_NEUTRAL.pkl or .npz, or mannequin",
    )
    errors = []
    for path in parser.parse_args(argv).paths:
        try:
            print(report(path))
        except UserError as error:
            errors.append(str(error))
    for error in errors[:-1]:
        print(f"maed: {error}", file=sys.stderr)
    if errors:
        raise UserError(errors[-1])


if __name__ == "__main__":
    from maed_jax.cli import run

    run(main)
