"""Reads files of named arrays in several formats, without executing anything in them."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from maed_jax.errors import UserError, reason
from maed_jax.files.numpy import open_npz
from maed_jax.files.torch import load_torch

LONGEST_HEADER = 100 << 20  # bytes; the format's own limit
SAFETENSORS = {
    **{"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16},
    **{"I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8},
    **{"U8": np.uint8, "BOOL": np.bool_},
}


def read_arrays(path: str | Path) -> Mapping[str, Any]:
    """Returns the arrays in an .npz, .safetensors or PyTorch file (also if under "state_dict").

    Raises:
      UserError: the file is missing, damaged, or holds something other than arrays.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise UserError(f"{path} is a directory; give the file with the weights")
    try:
        with path.open("rb") as file:
            if is_npz(file):
                with open_npz(path) as arrays:
                    return dict(arrays)
            if path.suffix == ".safetensors":
                return load_safetensors(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {reason(error)}") from None
    except Exception as error:  # a damaged file can raise nearly anything
        raise UserError(f"{path} holds more than arrays, or is damaged ({reason(error)})") from None
    return inner_state_dict(load_torch(path), str(path))


def inner_state_dict(content: Any, what: str = "the checkpoint") -> Mapping[str, Any]:
    """Returns the state dict, which may be `content` or its entry "state_dict".

    Args:
      what: what to call the checkpoint in messages.

    Raises:
      UserError: there is none.
    """
    if isinstance(content, Mapping):
        content = content.get("state_dict", content)
    if not isinstance(content, Mapping):
        raise UserError(f"{what} holds no state dict")
    return content


def is_npz(file) -> bool:
    """Returns whether a file is a zip of arrays; PyTorch's are zips too, but contain a pickle."""
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith(".npy") for name in archive.namelist())


def load_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Reads a .safetensors file: the length of a JSON header, the header, the arrays' bytes."""
    data = np.memmap(path, np.uint8, "r")
    end = 8 + int.from_bytes(data[:8].tobytes(), "little")
    if end > LONGEST_HEADER:
        raise ValueError("its header is too long")
    header = json.loads(data[8:end].tobytes())
    arrays = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        dtype, shape = np.dtype(SAFETENSORS[entry["dtype"]]), entry["shape"]
        start, stop = entry["data_offsets"]
        values = data[end + start : end + stop]
        if (
            start < 0
            or stop - start != math.prod(shape) * dtype.itemsize
            or values.size != stop - start
        ):
            raise ValueError(f"{name} is not where the header says")
        arrays[name] = values.view(dtype).reshape(shape)
    return arrays
