import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from maed_jax.files.numpy import HoldsObjects, check_axes, npy_header, open_npz, read_npy

ARRAYS = {
    "float": np.arange(24.0).reshape(2, 12),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big endian": np.arange(3, dtype=">i4"), "text": np.array(["a", "bcd"]), "single": np.array(3),
    "bytes": np.array([b"x"]), "empty": np.zeros((0, 4)), "bool": np.array([True]),
}  # fmt: skip


def npy(array=None, header: str = "", data: bytes = b"", version=b"\1\0") -> bytes:
    """Returns an array as written by NumPy, or `data` after a custom header."""
    if array is not None:
        out = io.BytesIO()
        np.save(out, array)
        return out.getvalue()
    return b"\x93NUMPY" + version + len(header).to_bytes(2, "little") + header.encode() + data


def header(descr="'<f8'", shape="(2,)", rest="'fortran_order': False") -> str:
    return f"{{'descr': {descr}, {rest}, 'shape': {shape}}}"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_writes(tmp_path, save):
    save(tmp_path / "a.npz", **ARRAYS)
    with open_npz(tmp_path / "a.npz") as file:
        assert list(file) == list(ARRAYS) and len(file) == len(ARRAYS)
        assert "float" in file and "absent" not in file
        for name, expected in ARRAYS.items():
            assert file[name].dtype == expected.dtype
            np.testing.assert_array_equal(file[name], expected)
        file["float"][0, 0] = 9  # it is not shared
        with pytest.raises(KeyError):
            file["absent"]
    for version in ((1, 0), (2, 0), (3, 0)):
        with (tmp_path / "a.npy").open("wb") as file:
            np.lib.format.write_array(file, ARRAYS["float"], version)
        np.testing.assert_array_equal(read_npy(tmp_path / "a.npy"), ARRAYS["float"])


HOSTILE = {
    "more than there is": npy(header=header(shape="(1000000000000000,)"), data=bytes(16)),
    "less than there is": npy(header=header(shape="(1,)"), data=bytes(16)),
    "a negative shape": npy(header=header(shape="(-1, -2)"), data=bytes(16)),
    "no bytes a number": npy(header=header("'<U0'", "(1000000000000,)")),
    "records": npy(np.zeros(2, [("a", "f8"), ("b", "O")])),
    "plain records": npy(np.zeros(2, [("a", "f8")])),
    "bytes of no kind": npy(np.zeros(2, "V8")),
    "no such type": npy(header=header("'<f3'"), data=bytes(6)),
    "another beginning": npy(np.ones(2)).replace(b"NUMPY", b"NUMPI"),
    "a header cut short": npy(header=header(shape="(0,)")).replace(b"NUMPY\1\0", b"NUMPY\1\0\xff"),
    "dates": npy(np.array(["2020-01-01"], "datetime64[D]")),
    "code as header": npy(header="__import__('os').system('true')"),
    "code as type": npy(header=header("__import__('os')")),
    "a header without end": npy(header="(" * 9000),
    "tuples in the type": npy(header=header("('<f8', " * 80 + "(2,)" + ")" * 80)),
    "a wide type": npy(header=header("('<f8', (1000000000,))", "(0,)")),
    "another version": npy(header=header(), data=bytes(16), version=b"\3\0"),
    "cut short": npy(np.ones(3))[:-3],
    "nothing": b"",
    "text": b"hello",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_arrays_are_refused(tmp_path, name):
    path = tmp_path / "a.npz"
    (tmp_path / "a.npy").write_bytes(HOSTILE[name])
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", HOSTILE[name])
    tracemalloc.start()
    try:
        with pytest.raises(ValueError) as caught:
            read_npy(tmp_path / "a.npy")
        with open_npz(path) as file, pytest.raises(ValueError):
            file["x"]
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)


def test_objects_are_told_apart_and_never_loaded(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([{"a": 1}], object), y=np.ones(2))
    with open_npz(tmp_path / "a.npz") as file:
        with pytest.raises(HoldsObjects, match="Python objects"):
            file["x"]
        assert file["y"].sum() == 2


def test_what_is_no_array_in_an_archive_is_left_alone(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", npy(np.ones(2)))
        archive.writestr("inner.npz", b"PK")
    with open_npz(tmp_path / "a.npz") as file:
        assert list(file) == ["x"]


def test_headers_are_read_without_the_array():
    file = io.BytesIO(npy(np.zeros((2, 3), np.float32)))
    assert npy_header(file) == ((2, 3), False, np.dtype("f4"))
    assert len(file.read()) == 24


def test_axes():
    axes = {"a": "float n 3", "b": "int n", "c": "bool", "d": "any m"}
    good = {"a": np.ones((2, 3)), "b": np.arange(2), "c": np.array(True), "d": np.arange(5)}
    check_axes(good, axes)
    for name, wrong in {
        "a": np.ones((2, 4)), "b": np.arange(3), "c": np.array(1), "d": np.array(["x"] * 5),
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match=f"^{name} is "):
            check_axes(good | {name: wrong}, axes)
    check_axes({"b": np.arange(2, dtype=np.uint8)}, axes)
    for wrong in (np.nan, -np.inf):
        with pytest.raises(ValueError, match="a has values that are not finite"):
            check_axes({"a": np.full((1, 3), wrong)}, axes)
