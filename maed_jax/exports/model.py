"""`maed export`: a trained model as one file that runs without this package.

The file is a StableHLO program written by `jax.export`, with the weights inside, for any number of
clips and for CPUs, CUDA GPUs and TPUs. scripts/run_exported.py runs it with jax, numpy and
flatbuffers.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from maed_jax.arguments import BODY_HELP, CHECKPOINT_HELP, Parser, add_step
from maed_jax.errors import UserError, reason
from maed_jax.files.atomic import atomic_write

if TYPE_CHECKING:
    import jax.export

    from maed_jax.estimator import Estimator

PLATFORMS = ("cpu", "cuda", "tpu")


def exported(estimator: Estimator, *, vertices: bool = False) -> jax.export.Exported:
    """Returns the model as a `jax.export.Exported`.

    Its `call` maps RGB crops uint8 `[b t h w 3]`, for any b, to a dict of float32 arrays
    `[b t ...]`: camera, pose, rotmat, shape, keypoints_3d, keypoints_2d and, with `vertices`,
    verts, as in `maed_jax.Prediction`. It normalises images itself.
    """
    import jax
    import jax.numpy as jnp

    from maed_jax.data.images import normalise
    from maed_jax.inference.reconstruct import OUTPUTS
    from maed_jax.models import flash

    names = (*OUTPUTS, "verts") if vertices else tuple(OUTPUTS)
    # Captured as constants: as arguments, users of the file would have to pass them too.
    model, variables = estimator.model, estimator.inference_variables
    body = jax.tree.map(jnp.asarray, estimator.body)

    def apply(images: jax.Array) -> dict[str, jax.Array]:
        clip = normalise(images)
        with flash.disabled():
            prediction = model.apply(variables, clip, body, vertices=vertices)
        return {name: getattr(prediction, name) for name in names}

    (b,) = jax.export.symbolic_shape("b")
    side = estimator.image_size
    images = jax.ShapeDtypeStruct((b, estimator.clip_length, side, side, 3), jnp.uint8)
    return jax.export.export(jax.jit(apply), platforms=PLATFORMS)(images)


def write_model(path: str | Path, estimator: Estimator, *, vertices: bool = False) -> None:
    """Writes the model of an estimator to one file, atomically.

    Raises:
      UserError: the file cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {reason(error)}") from None
    with atomic_write(path) as file:
        file.write(exported(estimator, vertices=vertices).serialize())


def parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="maed export",
        description="Write a trained model as one file that runs without this package, on CPUs, "
        "GPUs and TPUs: a StableHLO program with the weights inside, for any number of clips. "
        "scripts/run_exported.py in the source folder shows how to run it.",
    )
    parser.add_argument("--checkpoint", required=True, metavar="DIR", help=CHECKPOINT_HELP)
    add_step(parser)
    parser.add_argument("--body", metavar="PATH", help=BODY_HELP)
    parser.add_argument(
        "--out", required=True, metavar="FILE", help="file to write, such as maed.stablehlo"
    )
    parser.add_argument("--vertices", action="store_true", help="also return the mesh's vertices")
    return parser


def main(argv: list[str]) -> None:
    args = parser().parse_args(argv)
    if Path(args.out).is_dir():
        raise UserError(f"{args.out} is a directory; give the name of a file")
    from maed_jax import jax_setup
    from maed_jax.runs.restore import restore_estimator

    jax_setup.configure()
    estimator = restore_estimator(args.checkpoint, args.step, body=args.body)
    write_model(args.out, estimator, vertices=args.vertices)
    size, length = estimator.image_size, estimator.clip_length
    megabytes = Path(args.out).stat().st_size / 1e6
    print(
        f"{args.out}: {megabytes:.1f} MB; takes clips uint8 [any {length} {size} {size} 3] of "
        f"frames {estimator.interval} apart, in square crops {estimator.margin:g} times as large "
        "as the person"
    )


if __name__ == "__main__":
    from maed_jax.cli import run

    run(main)
