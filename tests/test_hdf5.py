import h5py
import numpy as np
import pytest

from maed_jax.datasets.hdf5 import Hdf5, is_hdf5
from maed_jax.errors import UserError
from maed_jax.files import bounds


def test_tables_have_their_own_axes_and_variables_matlabs(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.arange(6).reshape(2, 3)
        file["names"] = np.array([b"ab", b"c"])
        file["objects"] = ["variable", "length"]
    assert is_hdf5(path)
    with Hdf5(path) as file:
        assert "x" in file and "y" not in file
        np.testing.assert_array_equal(file.table("x"), [[0, 1, 2], [3, 4, 5]])
        np.testing.assert_array_equal(file.variable("x"), [[0, 3], [1, 4], [2, 5]])
        assert file.table("names").tolist() == [b"ab", b"c"]
        with pytest.raises(UserError, match="objects is not an array of numbers or text"):
            file.table("objects")


def test_small_files_never_take_much(tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "FREE", 1 << 20)
    monkeypatch.setattr(bounds, "RATIO", 1)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("claimed", (1 << 40,), "f8", chunks=(1 << 10,))
        file.create_dataset("packed", data=np.zeros(1 << 20), compression=9, chunks=(1 << 20,))
        cells = file.create_dataset("often", (1, 900), h5py.ref_dtype)
        cells[0] = [file.create_dataset("zeros", data=np.zeros(1 << 10)).ref] * 900
        deep = file.create_dataset("deep0", data=np.zeros(1))
        for level in range(1, 30):  # 2 ** 30 cells, if each were visited
            deep = file.create_dataset(f"deep{level}", (1, 2), h5py.ref_dtype)
            deep[0] = [file[f"deep{level - 1}"].ref] * 2
    for name in ("claimed", "packed", "often", "deep29"):
        with pytest.raises(UserError, match="far more than its size"), Hdf5(path) as file:
            file.variable(name)


def test_cells_that_are_not_kept_do_not_add_up(tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "FREE", 1 << 20)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        cells = file.create_dataset("cells", (1, 300), h5py.ref_dtype)
        cells[0] = [file.create_dataset("zeros", data=np.zeros(1 << 12)).ref] * 300
    with Hdf5(path) as file:
        assert sum(file.cell(cell, "cells").size for cell in file.cells("cells")) == 300 << 12


def test_errors_of_the_library_become_ours(tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(UserError, match="a.h5 cannot be read as HDF5"), Hdf5(path) as file:
        file.table("x")
    with pytest.raises(UserError, match="does not exist"):
        is_hdf5(tmp_path / "none.h5")
