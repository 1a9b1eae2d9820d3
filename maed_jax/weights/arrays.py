"""Reads files of named arrays, whatever wrote them, without running anything that they contain."""

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

LONGEST_HEADER = 100 << 20  # bytes, by the format's own rules
SAFETENSORS = {
    **{"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16},
    **{"I64": np.int64, "I32": np.int32, "I16": np.int16, "I8": np.int8},
    **{"U8": np.uint8, "BOOL": np.bool_},
}


def read_arrays(path: str | Path) -> Mapping[str, Any]:
    """The arrays in a .npz, a .safetensors or a file of PyTorch's (there under "state_dict" too).

    Raises:
      UserError: no such file, damaged, or it holds other things than arrays.
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
    except Exception as error:  # what a damaged file holds can be wrong in nearly any way
        raise UserError(
            f"{path} does not hold arrays alone, or is damaged ({reason(error)})"
        ) from None
    return inner_state_dict(load_torch(path), str(path))


def inner_state_dict(content: Any, what: str = "the checkpoint") -> Mapping[str, Any]:
    """The state dict itself, which a checkpoint may keep under "state_dict"; `what` names it.

    Raises:
      UserError: there is none.
    """
    if isinstance(content, Mapping):
        content = content.get("state_dict", content)
    if not isinstance(content, Mapping):
        raise UserError(f"{what} holds no state dict")
    return content


def is_npz(file) -> bool:
    """Whether it is a zip of arrays; PyTorch's are zips too, around a pickle."""
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith(".npy") for name in archive.namelist())


def load_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Its layout: the length of a JSON header, the header, the bytes that it divides up."""
    data = np.memmap(path, np.uint8, "r")
    end = 8 + int.from_bytes(data[:8].tobytes(), "little")
    if end > LONGEST_HEADER:
        raise ValueError("its header is too long")
    header = json.loads(data[8:end].tobytes())
    arrays = {}
    for name, about in header.items():
        if name == "__metadata__":
            continue
        dtype, shape = np.dtype(SAFETENSORS[about["dtype"]]), about["shape"]
        first, last = about["data_offsets"]
        values = data[end + first : end + last]
        if (
            first < 0
            or last - first != math.prod(shape) * dtype.itemsize
            or values.size != last - first
        ):
            raise ValueError(f"{name} is not where the header says")
        arrays[name] = values.view(dtype).reshape(shape)
    return arrays
