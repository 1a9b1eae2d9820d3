import os

import numpy as np
import pytest
import raw_dots
from test_images import empty_png

from maed_jax.data.images import crop_affine
from maed_jax.datasets import image_files


def test_the_first_image_that_can_be_read_tells_the_size(tmp_path):
    data = raw_dots.jpeg(np.zeros((20, 30, 3), np.uint8))
    other = raw_dots.jpeg(np.zeros((40, 50, 3), np.uint8))
    (tmp_path / "x.jpg").write_bytes(data)
    assert image_files.first_size([b"", data[:-2], data, other]) == (20, 30)
    assert image_files.first_size([tmp_path / "none.jpg", tmp_path / "x.jpg"]) == (20, 30)
    assert image_files.first_size([tmp_path / "none.jpg", b"x", empty_png(40_000, 30_000)]) is None


def test_an_image_whose_read_would_never_end(tmp_path):
    (tmp_path / "a.jpg").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "b.jpg")
    assert image_files.first_size([tmp_path / "a.jpg", tmp_path / "b.jpg"]) is None


@pytest.mark.parametrize("height, width, offset", [(224, 224, (0, 0)), (120, 160, (-20, 0))])
def test_a_crop_of_the_whole_image(height, width, offset):
    affine = crop_affine(image_files.whole_image_box((height, width)), min(height, width))
    np.testing.assert_allclose(affine, [[1, 0, offset[0]], [0, 1, offset[1]]], atol=1e-12)
