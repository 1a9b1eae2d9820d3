"""`maed convert`: turn other people's weights into a work directory of ours."""

from __future__ import annotations

import argparse

from maed_jax.arguments import Parser, seed

DESCRIPTION = """\
Turn other people's weights into a work directory that `maed eval`, `maed predict` and
`config.init_from` of `maed train` accept. What SOURCE holds is found out from what is in it:

  the original MAED's checkpoint (.pth.tar)         all of it
  timm's vit_base_resnet50_224_in21k (.pth)         the encoder, ImageNet-21k
  Google's R50+ViT-B_16.npz                         the same numbers in another layout
  torchvision's resnet50 (.pth)                     the encoder of the CNN baseline, ImageNet

It prints what was taken, initialised anew and left out. docs/weights.md says where to get the
files.
"""
EPILOG = """\
examples:
  maed convert maed.pth.tar --out runs/original --body path/to/smpl
  maed predict dance.mp4 --checkpoint runs/original --out dance

  maed convert R50+ViT-B_16.npz --out runs/imagenet
  maed train --config stage1 --workdir runs/stage1 --config.init_from=runs/imagenet

No file is trusted: torch files, .npz and .safetensors are read without running their contents.
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
        "--out", required=True, metavar="WORKDIR", help="work directory to make; must be new"
    )
    parser.add_argument("--encoder", help="default: the one that the weights fit")
    parser.add_argument(
        "--mode",
        help="attention of the encoder's blocks; needed for the original's weights where they fit "
        "several (series and coupling; vanilla and temporal), else found out; ImageNet weights "
        "start parallel unless told otherwise",
    )
    parser.add_argument("--decoder", help="default: the one that the weights fit, or ktd")
    parser.add_argument(
        "--body",
        default="mannequin",
        metavar="PATH",
        help="body that the model poses; default: mannequin, while the original's were trained "
        "with SMPL (docs/body.md)",
    )
    parser.add_argument(
        "--seed", type=seed, default=0, help="of what is initialised anew; default: 0"
    )
    options = parser.parse_args(argv)

    from maed_jax import jax_setup
    from maed_jax.weights.conversion import convert

    jax_setup.configure()
    found = convert(
        options.source,
        options.out,
        encoder=options.encoder,
        mode=options.mode,
        decoder=options.decoder,
        body=options.body,
        seed=options.seed,
    )
    print(found.report)
    model = found.model
    mode = f", mode {model.mode}" if model.encoder == "ste" else ""
    print(f"wrote {options.out}: encoder {model.encoder}{mode}, decoder {model.decoder}")


if __name__ == "__main__":
    from maed_jax.cli import run

    run(main)
