"""`maed convert`: convert other people's weights into a work directory."""

from __future__ import annotations

import argparse

from maed_jax.arguments import Parser, seed

DESCRIPTION = """\
Convert other people's weights into a work directory that `maed eval`, `maed predict` and
`config.init_from` of `maed train` accept. SOURCE is recognised by its content:

  the original MAED's checkpoint (.pth.tar)         everything
  timm's vit_base_resnet50_224_in21k (.pth)         the encoder, ImageNet-21k
  Google's R50+ViT-B_16.npz                         the same weights in another layout
  torchvision's resnet50 (.pth)                     the encoder of the CNN baseline, ImageNet

The command prints what was taken, initialised anew and left out. docs/weights.md says where to get
the files.
"""
EPILOG = """\
examples:
  maed convert maed.pth.tar --out runs/original --body path/to/smpl
  maed predict dance.mp4 --checkpoint runs/original --out dance

  maed convert R50+ViT-B_16.npz --out runs/imagenet
  maed train --config stage1 --workdir runs/stage1 --config.init_from=runs/imagenet

Files need not be trusted: PyTorch files, .npz and .safetensors are read without executing anything
in them.
"""


def main(argv: list[str]) -> None:
    parser = Parser(
        prog="maed convert",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SOURCE", help="the file with the weights")
    parser.add_argument(
        "--out", required=True, metavar="WORKDIR", help="work directory to create; must be new"
    )
    parser.add_argument("--encoder", help="default: the one that the weights fit")
    parser.add_argument(
        "--mode",
        help="attention of the encoder's blocks; required for weights of the original that fit "
        "several modes (series, coupling and parallel_v1; vanilla and temporal), otherwise "
        "detected; default for ImageNet weights: parallel",
    )
    parser.add_argument("--decoder", help="default: the one that the weights fit, or ktd")
    parser.add_argument(
        "--body",
        default="mannequin",
        metavar="PATH",
        help="body that the model poses; default: mannequin, although the original was trained "
        "with SMPL (docs/body.md)",
    )
    parser.add_argument(
        "--seed", type=seed, default=0, help="for newly initialised parameters; default: 0"
    )
    options = parser.parse_args(argv)

    from maed_jax import jax_setup
    from maed_jax.weights.conversion import convert

    jax_setup.configure()
    converted = convert(
        options.source,
        options.out,
        encoder=options.encoder,
        mode=options.mode,
        decoder=options.decoder,
        body=options.body,
        seed=options.seed,
    )
    print(converted.report)
    model = converted.model
    mode = f", mode {model.mode}" if model.encoder == "ste" else ""
    print(f"wrote {options.out}: encoder {model.encoder}{mode}, decoder {model.decoder}")


if __name__ == "__main__":
    from maed_jax.cli import run

    run(main)
