import os

import cv2
import numpy as np
import pytest
import raw_dots
from test_images import empty_png

from maed_jax.data.images import crop_affine
from maed_jax.datasets import pictures
from maed_jax.errors import UserError
from maed_jax.inference.pictures import open_source


def test_the_first_picture_that_can_be_read_tells_the_size(tmp_path):
    data = raw_dots.jpeg(np.zeros((20, 30, 3), np.uint8))
    other = raw_dots.jpeg(np.zeros((40, 50, 3), np.uint8))
    (tmp_path / "x.jpg").write_bytes(data)
    assert pictures.first_size([b"", data[:-2], data, other]) == (20, 30)
    assert pictures.first_size([tmp_path / "none.jpg", tmp_path / "x.jpg"]) == (20, 30)
    assert pictures.first_size([tmp_path / "none.jpg", b"x", empty_png(40_000, 30_000)]) is None


def test_an_image_too_large_for_opencv_counts_as_damaged(tmp_path):
    (tmp_path / "a.png").write_bytes(empty_png(40_000, 30_000))
    with pytest.raises(UserError, match="a.png contains no image that can be decoded"):
        open_source(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_bytes(raw_dots.jpeg(np.zeros((20, 30, 3), np.uint8)))
    frames = list(open_source(tmp_path).frames())
    assert [frame.damaged for frame in frames] == [True, False] and frames[0].size == (30, 20)


def test_a_picture_whose_read_would_never_end(tmp_path):
    (tmp_path / "a.jpg").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "b.jpg")
    assert pictures.first_size([tmp_path / "a.jpg", tmp_path / "b.jpg"]) is None


@pytest.mark.parametrize("height, width, offset", [(224, 224, (0, 0)), (120, 160, (-20, 0))])
def test_a_crop_of_the_whole_picture(height, width, offset):
    affine = crop_affine(pictures.whole_picture((height, width)), min(height, width))
    np.testing.assert_allclose(affine, [[1, 0, offset[0]], [0, 1, offset[1]]], atol=1e-12)


def test_frames_of_a_folder_are_sorted_by_number_and_hidden_files_ignored(tmp_path):
    for name in ("10.png", "2.png", "\u00b21.png"):
        _, data = cv2.imencode(".png", np.zeros((4, 6, 3), np.uint8))
        (tmp_path / name).write_bytes(data)
    (tmp_path / "._2.png").write_bytes(b"of macOS")
    video = open_source(tmp_path)
    assert [file.name for file in video.files] == ["2.png", "10.png", "\u00b21.png"]
    assert not any(frame.damaged for frame in video.frames())
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "._2.png").touch()
    with pytest.raises(UserError, match="contains no images"):
        open_source(tmp_path / "a")
