"""datasets/matlab.py: equal content in both formats gives equal results."""

import h5py
import numpy as np
import pytest
import scipy.io

from maed_jax.datasets.matlab import read_cells, read_mat
from maed_jax.errors import UserError

NUMBERS = np.arange(24.0).reshape(2, 3, 4)
CELLS = [np.full((2, 3), i, np.uint8) for i in range(4)]


def write_v5(path):
    cells = np.empty((2, 2), object)
    for i, cell in enumerate(CELLS):
        cells[i % 2, i // 2] = cell  # MATLAB's order: columns first
    people = np.zeros((1, 2), [("name", object), ("height", object)])
    people[0, 0] = ("one", 1.5)
    people[0, 1] = ("two", 1.75)
    content = {"numbers": NUMBERS, "text": "walking", "cells": cells, "people": people}
    scipy.io.savemat(path, content | {"one": {"height": 2.0}, "none": np.zeros((0, 0))})


def write_v73(path):
    with h5py.File(path, "w", userblock_size=512) as file:
        file["numbers"] = NUMBERS.T
        text = file.create_dataset("text", data=np.array([[ord(c)] for c in "walking"], np.uint16))
        text.attrs["MATLAB_class"] = np.bytes_("char")
        hidden = [file.create_dataset(f"#refs#/{i}", data=cell.T) for i, cell in enumerate(CELLS)]
        cells = np.array([[hidden[0].ref, hidden[1].ref], [hidden[2].ref, hidden[3].ref]])
        cells = file.create_dataset("cells", data=cells.astype(h5py.ref_dtype))
        cells.attrs["MATLAB_class"] = np.bytes_("cell")
        names, heights = [], []
        for name, height in (("one", 1.5), ("two", 1.75)):
            letters = file.create_dataset(
                f"#refs#/{name}", data=np.array([[ord(c)] for c in name], np.uint16)
            )
            letters.attrs["MATLAB_class"] = np.bytes_("char")
            names.append([letters.ref])
            heights.append([file.create_dataset(f"#refs#/h{name}", data=[[height]]).ref])
        file.create_dataset("people/name", data=np.array(names, h5py.ref_dtype))
        file.create_dataset("people/height", data=np.array(heights, h5py.ref_dtype))
        file["one/height"] = [[2.0]]
        none = file.create_dataset("none", data=np.array([0, 0], np.uint64))
        none.attrs["MATLAB_empty"] = 1
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file")


@pytest.fixture(params=[write_v5, write_v73])
def path(request, tmp_path):
    request.param(tmp_path / "annot.mat")
    return tmp_path / "annot.mat"


def test_both_versions_mean_the_same(path):
    found = read_mat(path, ["numbers", "text", "cells", "people", "one", "none"])
    np.testing.assert_array_equal(found["numbers"], NUMBERS)
    assert found["text"] == "walking"
    assert len(found["cells"]) == 4
    for cell, expected in zip(found["cells"], CELLS):
        np.testing.assert_array_equal(cell, expected)
    assert [person["name"] for person in found["people"]] == ["one", "two"]
    assert [float(person["height"].item()) for person in found["people"]] == [1.5, 1.75]
    assert found["one"]["height"].item() == 2.0
    assert found["none"].size == 0


def test_errors_name_file_and_field(path):
    with pytest.raises(UserError, match=r"annot\.mat lacks the variable annot9"):
        read_mat(path, ["annot9"])


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_truncated_files_are_told_from_whole_ones(path, keep):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    fields = ["numbers", "text", "cells", "people", "one", "none"]
    with pytest.raises(UserError, match=r"annot\.mat"):
        read_mat(path, fields)


def test_what_is_no_matlab_file(tmp_path):
    (tmp_path / "a.mat").write_text("<html>not logged in</html>" * 20)
    (tmp_path / "b.mat").write_bytes(b"")
    for name in ("a.mat", "b.mat", "absent.mat"):
        with pytest.raises(UserError, match=name):
            read_mat(tmp_path / name, ["x"])
        with pytest.raises(UserError, match=name):
            next(read_cells(tmp_path / name, "x", [0]))


def test_cells_one_at_a_time(tmp_path):
    write_v73(tmp_path / "masks.mat")
    found = list(read_cells(tmp_path / "masks.mat", "cells", [1, 3]))
    np.testing.assert_array_equal(found, [CELLS[1], CELLS[3]])
    assert list(read_cells(tmp_path / "masks.mat", "cells", [9])) == [None]
    with pytest.raises(UserError, match="numbers is not an array of cells"):
        list(read_cells(tmp_path / "masks.mat", "numbers", [0]))


def test_hostile_files_reach_nothing_outside_themselves(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(64))
    with h5py.File(tmp_path / "hostile.mat", "w") as file:
        file["link"] = h5py.ExternalLink(tmp_path / "other.h5", "x")
        file.create_dataset("outside", (8,), "f8", external=[(tmp_path / "secret", 0, 64)])
        file.create_dataset("huge", (1 << 40,), "f8", chunks=(1 << 10,))
        itself = file.create_dataset("itself", (1, 1), h5py.ref_dtype)
        itself[0, 0] = itself.ref
        file.create_dataset("nowhere", (1, 1), h5py.ref_dtype)
    for name, reason in {
        "link": "another file",
        "outside": "another file",
        "huge": "unpacks to far more than its size",
        "itself": "cannot be read",
        "nowhere": "is an empty reference",
    }.items():
        with pytest.raises(UserError, match=reason):
            read_mat(tmp_path / "hostile.mat", [name])
