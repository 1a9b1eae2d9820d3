"""Files written by SciPy, in both byte orders, compressed or not; and damaged ones."""

import io
import struct
import zlib

import numpy as np
import pytest
import scipy.io

from maed_jax.datasets.matlab5 import read_variables
from maed_jax.files import bounds

CELL = np.empty((2, 2), object)
CELL[:] = [["a", np.eye(2)], [np.zeros((0, 3)), {"deep": np.float32(2)}]]
CONTENT = {
    "float": np.arange(24.0).reshape(2, 3, 4), "bytes": np.uint8([[1, 2, 255]]),
    "whole": np.int64([[-5, 2**40]]), "small": np.float32([[1.5]]), "complex": np.array([[1 + 2j]]),
    "flag": np.array([[True, False]]), "text": "wälk", "lines": np.array(["ab", "cd"]), "none": "",
    "cell": CELL, "a_variable_with_a_long_name": np.zeros((0, 0)),
}  # fmt: skip
NAMES = [*CONTENT, "absent"]


def write(path, content=CONTENT, **options):
    scipy.io.savemat(path, content, **options)
    return path


@pytest.mark.parametrize("packed", [False, True])
def test_what_scipy_writes(tmp_path, packed):
    found = read_variables(write(tmp_path / "a.mat", do_compression=packed), NAMES)
    assert found.keys() == CONTENT.keys()
    for name in ("float", "bytes", "whole", "small", "complex", "flag"):
        np.testing.assert_array_equal(found[name], CONTENT[name])
    assert found["text"] == "wälk" and found["lines"] == ["ab", "cd"] and found["none"] == ""
    first, second, third, fourth = found["cell"]  # columns first
    assert first == "a" and second.shape == (0, 3) and fourth["deep"].item() == 2
    np.testing.assert_array_equal(third, np.eye(2))
    assert found["a_variable_with_a_long_name"].shape == (0, 0)


def test_structs(tmp_path):
    people = np.zeros((1, 3), [("name", object), ("age", object)])
    people[0] = [("one", 1), ("two", 2), ("three", np.zeros((0, 0)))]
    found = read_variables(write(tmp_path / "a.mat", {"s": people, "one": {"x": 1}}), ["s", "one"])
    assert [person["name"] for person in found["s"]] == ["one", "two", "three"]
    assert found["s"][1]["age"].item() == 2 and found["s"][2]["age"].size == 0
    assert found["one"]["x"].item() == 1


def element(kind: int, data: bytes, order=">") -> bytes:
    return struct.pack(f"{order}II", kind, len(data)) + data + b"\0" * (-len(data) % 8)


def matrix(kind: int, shape: tuple, *parts: bytes, order=">") -> bytes:
    head = element(6, struct.pack(f"{order}II", kind, 0), order)
    dims = element(5, struct.pack(f"{order}{len(shape)}i", *shape), order)
    return element(14, head + dims + element(1, b"x", order) + b"".join(parts), order)


def file_of(data: bytes, order=">") -> bytes:
    return b"MATLAB 5.0".ljust(124) + struct.pack(f"{order}H", 0x100) + {
        ">": b"MI", "<": b"IM"}[order] + data  # fmt: skip


@pytest.mark.parametrize("order", "<>")
def test_both_orders_of_bytes(tmp_path, order):
    path = tmp_path / "a.mat"
    numbers = element(9, struct.pack(f"{order}2d", 1.5, -2), order)
    path.write_bytes(file_of(matrix(6, (1, 2), numbers, order=order), order))
    np.testing.assert_array_equal(read_variables(path, ["x"])["x"], [[1.5, -2]])
    text = element(17, "hé".encode({"<": "utf-16-le", ">": "utf-16-be"}[order]), order)
    path.write_bytes(file_of(matrix(4, (1, 2), text, order=order), order))
    assert read_variables(path, ["x"]) == {"x": "hé"}


def test_a_stream_that_matlab_did_not_end(tmp_path):
    """As in two files of Penn Action, whose variables take 16384 bytes, MATLAB's buffer."""
    numbers = np.arange(2040.0)
    variable = matrix(6, (1, 2040), element(9, numbers.astype(">f8").tobytes()))
    stream = zlib.compressobj()
    packed = stream.compress(variable) + stream.flush(zlib.Z_SYNC_FLUSH)
    path = tmp_path / "a.mat"
    path.write_bytes(file_of(struct.pack(">II", 15, len(packed)) + packed))
    np.testing.assert_array_equal(read_variables(path, ["x"])["x"], numbers[None])
    packed = packed[: len(packed) // 2]
    path.write_bytes(file_of(struct.pack(">II", 15, len(packed)) + packed))
    with pytest.raises(ValueError, match="it ends early"):
        read_variables(path, ["x"])


EMPTY = element(1, b"")
HOSTILE = {
    "an array of more numbers than there are": matrix(6, (1 << 30, 1 << 30), element(9, bytes(8))),
    "a negative shape": matrix(6, (-1, -1), element(9, bytes(8))),
    "no shape": matrix(6, (), element(9, bytes(8))),
    "cells without end": matrix(1, (1 << 30, 1 << 30)),
    "structs of nothing": matrix(2, (1 << 30, 1 << 30), element(5, b"\0\0\0\x08"), EMPTY),
    "names of no letters": matrix(2, (1, 1), element(5, bytes(4)), element(1, b"ab")),
    "names of half a letter": matrix(2, (1, 1), element(7, struct.pack(">f", 1.5)), EMPTY),
    "an object": matrix(3, (1, 1), element(1, b"class")),
    "a function": matrix(16, (1, 1)),
    "a sparse array": matrix(5, (1, 1)),
    "an element that goes on after the end": struct.pack(">II", 14, 1 << 30),
    "a small element of many bytes": matrix(6, (1, 1), struct.pack(">HHI", 200, 9, 0)),
    "a compressed element of nothing": element(15, zlib.compress(b"")),
    "a compressed element of numbers": element(15, zlib.compress(element(9, bytes(80)))),
    "no compressed element": element(15, b"something"),
    "nothing": element(14, b""),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(tmp_path, name):
    path = tmp_path / "a.mat"
    path.write_bytes(file_of(HOSTILE[name]))
    with pytest.raises(ValueError):
        read_variables(path, ["x"])


def test_cells_in_cells_without_end_are_refused(tmp_path):
    inner = element(14, b"")
    for _ in range(3000):
        inner = matrix(1, (1, 1), inner)
    path = tmp_path / "a.mat"
    path.write_bytes(file_of(inner))
    with pytest.raises(ValueError):
        read_variables(path, ["x"])


def test_bombs_are_refused_where_they_are_wanted(tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "FREE", 1 << 16)
    content = {"bomb": np.zeros((1, 1 << 20)), "x": np.ones((1, 2))}
    path = write(tmp_path / "a.mat", content, do_compression=True)
    np.testing.assert_array_equal(read_variables(path, ["x"])["x"], [[1, 1]])
    with pytest.raises(ValueError, match="far more than its size"):
        read_variables(path, ["bomb"])


def test_random_damage_never_gets_further_than_a_value_error(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "a.mat"
    for packed in (False, True):
        data = io.BytesIO()
        scipy.io.savemat(data, CONTENT, do_compression=packed)
        for _ in range(200):
            damaged = bytearray(data.getvalue())
            for offset in rng.integers(128, len(damaged), 3):
                damaged[offset] = rng.integers(256)
            path.write_bytes(damaged)
            try:
                read_variables(path, NAMES)
            except ValueError:
                pass
