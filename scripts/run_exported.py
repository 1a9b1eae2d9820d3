"""Runs a model written by `maed export`; needs jax, numpy and flatbuffers, but not maed_jax.

    python scripts/run_exported.py maed.stablehlo clips.npy answers.npz

clips.npy holds square RGB crops of people, uint8 [clips frames height width 3], larger than the
person by the factor that `maed export` prints. docs/prediction.md explains the arrays in
answers.npz, which are [clips frames ...] here.
"""

import struct
import sys

import jax
import numpy as np


def main(model_file: str, clips_file: str, answers_file: str) -> None:
    with open(model_file, "rb") as file:
        data = bytearray(file.read())
    try:
        model = jax.jit(jax.export.deserialize(data).call)
        answers = model(np.load(clips_file))
    except ImportError as error:  # flatbuffers
        sys.exit(str(error))
    except (jax.errors.JaxRuntimeError, struct.error) as error:
        said = str(error).splitlines()[0]
        sys.exit(
            f"{model_file} is damaged, or was written by a JAX newer than {jax.__version__}: {said}"
        )
    np.savez_compressed(answers_file, **answers)
    for name, array in sorted(answers.items()):
        print(name, *array.shape)


if len(sys.argv) != 4:
    sys.exit(__doc__)
try:
    main(*sys.argv[1:])
except OSError as error:  # a file that is missing or cannot be written
    sys.exit(str(error))
