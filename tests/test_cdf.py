"""Files written by cdflib, and damaged ones."""

import struct
import tracemalloc

import numpy as np
import pytest
from cdflib.cdfwrite import CDF

from maed_jax.datasets.cdf import read_variable
from maed_jax.files import bounds

VALUES = np.arange(2 * 3 * 5, dtype=np.float32).reshape(2, 3, 5)


def write(path, values, name="Pose", whole=0, packed=0, column=False, kind=CDF.CDF_REAL4, **spec):
    values = values.copy()
    path.unlink(missing_ok=True)
    majority = "column_major" if column else "row_major"
    file = CDF(str(path), cdf_spec={"Compressed": whole, "Majority": majority, "rDim_sizes": [3]})
    if column:  # cdflib does not transpose them
        values = np.stack([each.ravel("F").reshape(each.shape) for each in values])
    for label, array in (("Other", values * 0 - 1), (name, values)):
        file.write_var(
            {"Variable": label, "Data_Type": kind, "Num_Elements": 1, "Rec_Vary": True,
             "Dim_Sizes": list(values.shape[1:]), "Compress": packed} | spec, var_data=array,
        )  # fmt: skip
    file.close()
    return path


@pytest.mark.parametrize("packed", [0, 6])
@pytest.mark.parametrize("whole", [0, 6])
@pytest.mark.parametrize("column", [False, True])
def test_what_cdflib_writes(tmp_path, whole, packed, column):
    path = write(tmp_path / "a.cdf", VALUES, whole=whole, packed=packed, column=column)
    found = read_variable(path, "Pose")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, VALUES)
    np.testing.assert_array_equal(read_variable(path, "Other"), -np.ones_like(VALUES))


def test_other_kinds_of_numbers_and_variables(tmp_path):
    path = write(tmp_path / "a.cdf", VALUES.astype(np.float64), kind=CDF.CDF_DOUBLE)
    np.testing.assert_array_equal(read_variable(path, "Pose"), VALUES)
    path = write(tmp_path / "b.cdf", VALUES.astype(np.int32), kind=CDF.CDF_INT4)
    np.testing.assert_array_equal(read_variable(path, "Pose"), VALUES)
    shared = np.arange(6, dtype=np.float32).reshape(2, 3)
    path = write(tmp_path / "c.cdf", shared, Var_Type="rVariable", Dim_Vary=[True], Dim_Sizes=[])
    np.testing.assert_array_equal(read_variable(path, "Pose"), shared)


def test_many_records_are_listed_in_several_places(tmp_path):
    values = np.random.default_rng(0).normal(size=(4000, 8)).astype(np.float32)
    path = write(tmp_path / "a.cdf", values, packed=6, Block_Factor=16)
    np.testing.assert_array_equal(read_variable(path, "Pose"), values)


def test_other_files(tmp_path):
    path = tmp_path / "x.cdf"
    begin = struct.pack(">II", 0xCDF30001, 0xFFFF)
    others = {b"": "damaged", b"text, and more": "not a CDF file", begin: "points outside"}
    for content, message in others.items():
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read_variable(path, "Pose")
    with pytest.raises(ValueError, match="no variable Rose"):
        read_variable(write(path, VALUES), "Rose")
    with pytest.raises(OSError):
        read_variable(tmp_path / "none.cdf", "Pose")


def test_circles_and_bombs_come_to_an_end(tmp_path, monkeypatch):
    path = write(tmp_path / "a.cdf", VALUES, name="Late")
    data = bytearray(path.read_bytes())
    (first,) = struct.unpack_from(">q", data, struct.unpack_from(">q", data, 20)[0] + 20)
    struct.pack_into(">q", data, first + 12, first)  # the first variable's successor is itself
    path.write_bytes(data)
    with pytest.raises(ValueError, match="far more than its size"):
        read_variable(path, "Late")
    monkeypatch.setattr(bounds, "FREE", 1 << 16)
    for where in ("whole", "packed"):
        write(path, np.zeros((1, 1 << 17), np.float32), **{where: 9})
        with pytest.raises(ValueError, match="far more than its size"):
            read_variable(path, "Pose")


def test_an_index_that_leads_back_to_itself_takes_neither_memory_nor_time(tmp_path, monkeypatch):
    monkeypatch.setattr(bounds, "FREE", 1 << 24)
    path = write(tmp_path / "a.cdf", VALUES)
    data, many = bytearray(path.read_bytes()), 2000

    def number(offset, layout="q"):
        return struct.unpack_from(f">{layout}", data, offset)[0]

    pose = number(number(number(20) + 20) + 12)  # the second variable
    index = number(pose + 28)
    records = number(index + 28 + 8 * number(index + 20, "i"))
    struct.pack_into(">q", data, pose + 28, len(data))
    size = 28 + 16 * many
    data += struct.pack(">qiqii", size, 6, len(data), many, many) + bytes(8 * many)
    data += struct.pack(f">{many}q", *[records] * many)
    path.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(ValueError, match="far more than its size"):
        read_variable(path, "Pose")
    assert tracemalloc.get_traced_memory()[1] < 1 << 25
    tracemalloc.stop()


def test_random_damage_never_gets_further_than_a_value_error(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "a.cdf"
    for packed in (0, 6):
        data = write(path, VALUES, packed=packed).read_bytes()
        for _ in range(200):
            damaged = bytearray(data)
            for offset in rng.integers(0, len(data), 3):
                damaged[offset] = rng.integers(256)
            path.write_bytes(damaged)
            try:
                read_variable(path, "Pose")
            except ValueError:
                pass
