"""Runs a model written by `maed export`; needs jax, numpy and flatbuffers, but not maed_jax.

    python scripts/run_exported.py maed.stablehlo clips.npy outputs.npz

clips.npy holds square RGB crops of people, uint8 [clips frames height width 3], larger than the
person by the factor that `maed export` prints. docs/prediction.md explains the arrays in
outputs.npz, which are [clips frames ...] here.
"""

import struct
import sys

import jax
import numpy as np


def main(model_file: str, clips_file: str, outputs_file: str) -> None:
    with open(model_file, "rb") as file:
        data = bytearray(file.read())
    try:
        with open(clips_file, "rb") as file:
            clips = np.lib.format.read_array(file)
    except ValueError:
        sys.exit(f"{clips_file} is not a .npy file of numbers")
    try:
        exported = jax.export.deserialize(data)
        outputs = jax.jit(exported.call)(clips)
    except ImportError as error:  # flatbuffers
        sys.exit(str(error))
    except (TypeError, ValueError) as error:
        sys.exit(f"{clips_file} does not fit the model: {str(error).splitlines()[0]}")
    except (jax.errors.JaxRuntimeError, struct.error) as error:
        said = str(error).splitlines()[0]
        sys.exit(
            f"{model_file} is damaged, or was written by a JAX newer than {jax.__version__}: {said}"
        )
    np.savez_compressed(outputs_file, **outputs)
    for name, array in sorted(outputs.items()):
        print(name, *array.shape)


if len(sys.argv) != 4:
    sys.exit(__doc__)
try:
    main(*sys.argv[1:])
except OSError as error:  # a file that is missing or cannot be written
    sys.exit(str(error))
