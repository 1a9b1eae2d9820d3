import numpy as np
import pytest

from maed_jax.datasets import checked
from maed_jax.errors import UserError


def test_numbers():
    found = checked.numbers([[1, 2]], (1, 2), "x.json", "bbox")
    assert found.dtype == np.float64 and found.tolist() == [[1, 2]]
    assert checked.numbers([[1, 2]], (2,), "x.json", "bbox", any_layout=True).tolist() == [1, 2]
    assert checked.numbers(3, (), "x.json", "scale").shape == ()
    assert np.isnan(checked.numbers([float("nan")], (1,), "x.json", "bbox", finite=False)).all()
    for wrong in (None, [None, 1], "a"):
        with pytest.raises(UserError, match=r"x.json: scale is .* one numbers"):
            checked.numbers(wrong, (), "x.json", "scale", finite=False)


@pytest.mark.parametrize("value, message", [
    ([[1, 2]], r"is not \[2\]"), ([1, float("nan")], "is not"), (["a", "b"], "is not"),
    (None, "is missing"), ({}, "is not"), ([1, [2]], "is not"), ([10**400, 1], "is not"),
])  # fmt: skip
def test_wrong_numbers_are_named(value, message):
    with pytest.raises(UserError, match=rf"x.json, row 3: bbox {message}.* finite numbers"):
        checked.numbers(value, (2,), "x.json, row 3", "bbox")


def test_rows():
    found = checked.rows(np.ones((3, 2), np.uint8), (2,), "x.npz", "center")
    assert found.shape == (3, 2) and found.dtype == np.float32
    for wrong in (np.ones((2, 3)), np.ones(2), np.array([["a", "b"]]), None, [{}]):
        with pytest.raises(UserError, match=r"x.npz: center is \[.*not \[n 2\] numbers"):
            checked.rows(wrong, (2,), "x.npz", "center")
    with pytest.raises(UserError, match="x.npz: center is not an array: .* different lengths"):
        checked.rows([[1, 2], [3]], (2,), "x.npz", "center")


def test_json(tmp_path):
    path = tmp_path / "x.json"
    for content in ("{", "[" * 100_000, "\xff"):
        path.write_text(content, encoding="latin1")
        with pytest.raises(UserError, match="x.json is not JSON"):
            checked.read_json(path)
    with pytest.raises(UserError, match="none.json cannot be read: no such file"):
        checked.read_json(tmp_path / "none.json")


@pytest.mark.parametrize(
    "name", ["/etc/a.jpg", "../a.jpg", "a/../../b.jpg", "", ".", "a\0b", 3, None]
)
def test_images_lie_below_their_folder(tmp_path, name):
    with pytest.raises(UserError, match="labels: .* is not an image's name"):
        checked.image_path(tmp_path, name, "labels")
    assert checked.image_path(tmp_path, "a/b.jpg", "labels") == tmp_path / "a" / "b.jpg"
