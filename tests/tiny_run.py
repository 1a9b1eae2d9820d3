"""`maed train` with the tiny model instead of MAED, run as a process by test_scaling.py."""

import sys

import absl.flags
import jax
import tiny

from maed_jax.training import train

absl.flags.FLAGS.mark_as_parsed()


def model(clip_length, encoder, **_):
    return tiny.TinyModel(tiny.SIZE, clip_length, encoder == "cnn")


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_default_matmul_precision", "highest")
    from maed_jax.models import maed

    maed.MAED = model
    train.main(sys.argv[1:])
