import json

import ml_dtypes
import numpy as np
import pytest
from torch_writer import write_torch

from maed_jax.errors import UserError
from maed_jax.weights.arrays import inner_state_dict, read_arrays

ARRAYS = {
    "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "n": np.array(3.0, np.float32),
}


def safetensors(arrays):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    names = {"float32": "F32", "bfloat16": "BF16"}
    for name, array in arrays.items():
        offsets = [len(data), len(data) + array.nbytes]
        header[name] = {
            "dtype": names[str(array.dtype)],
            "shape": array.shape,
            "data_offsets": offsets,
        }
        data += array.tobytes()
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize("suffix", ["npz", "pth", "pth.tar", "safetensors"])
def test_every_kind_of_file_holds_the_same(suffix, tmp_path):
    path = tmp_path / f"w.{suffix}"
    if suffix == "npz":
        np.savez(path, **ARRAYS)
    elif suffix == "safetensors":
        path.write_bytes(safetensors(ARRAYS))
    else:
        write_torch(path, {"state_dict": ARRAYS} if suffix == "pth.tar" else ARRAYS)
    found = read_arrays(path)
    assert set(found) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


def test_half_precision(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors({"x": np.array([1.5, -2], ml_dtypes.bfloat16)}))
    np.testing.assert_array_equal(read_arrays(path)["x"].astype(np.float32), [1.5, -2])


def test_python_objects_are_refused(tmp_path):
    np.savez(tmp_path / "w.npz", x=np.array([{}], object))
    with pytest.raises(UserError, match="w.npz holds more than arrays"):
        read_arrays(tmp_path / "w.npz")


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_a_truncated_file_is_refused(suffix, tmp_path):
    path = tmp_path / f"w.{suffix}"
    if suffix == "npz":
        np.savez(path, **ARRAYS)
    else:
        path.write_bytes(safetensors(ARRAYS))
    intact = path.read_bytes()
    for size in range(0, len(intact), 13):
        path.write_bytes(intact[:size])
        with pytest.raises(UserError, match=f"w.{suffix}") as error:
            read_arrays(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "about",
    [
        {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4 * 10**9]},
        {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]},
        {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": ["1"], "data_offsets": [0, 4]},
        [],
    ],
    ids=str,
)
def test_a_header_that_lies_is_refused(about, tmp_path):
    text = json.dumps({"x": about}).encode()
    (tmp_path / "w.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    with pytest.raises(UserError, match="w.safetensors holds more than arrays, or is damaged"):
        read_arrays(tmp_path / "w.safetensors")


def test_what_is_no_file_of_weights(tmp_path):
    with pytest.raises(UserError, match="cannot be read: no such file"):
        read_arrays(tmp_path / "none.npz")
    with pytest.raises(UserError, match="is a directory"):
        read_arrays(tmp_path)
    with pytest.raises(UserError, match="holds no state dict"):
        inner_state_dict({"state_dict": 3})
