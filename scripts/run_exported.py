"""Runs a model that `maed export` wrote; needs JAX and NumPy, and not maed_jax.

    python scripts/run_exported.py maed.stablehlo clips.npy answers.npz

clips.npy holds RGB crops of people, uint8 [clips frames height width 3], square and as much larger
than the person as `maed export` says. answers.npz: docs/prediction.md explains its arrays, here
[clips frames ...].
"""

import sys

import jax
import numpy as np


def main(model_file: str, clips_file: str, answers_file: str) -> None:
    with open(model_file, "rb") as file:
        model = jax.export.deserialize(bytearray(file.read()))
    answers = jax.jit(model.call)(np.load(clips_file))
    np.savez_compressed(answers_file, **answers)
    for name, array in sorted(answers.items()):
        print(name, *array.shape)


if len(sys.argv) != 4:
    sys.exit(__doc__)
try:
    main(*sys.argv[1:])
except OSError as error:  # a file that is not there, or cannot be written
    sys.exit(str(error))
