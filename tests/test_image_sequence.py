import cv2
import numpy as np
import pytest
import raw_dots
from test_images import empty_png

from maed_jax.errors import UserError
from maed_jax.inference.image_sequence import open_source


def test_an_image_too_large_for_opencv_counts_as_damaged(tmp_path):
    (tmp_path / "a.png").write_bytes(empty_png(40_000, 30_000))
    with pytest.raises(UserError, match="a.png contains no image that can be decoded"):
        open_source(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_bytes(raw_dots.jpeg(np.zeros((20, 30, 3), np.uint8)))
    frames = list(open_source(tmp_path).frames())
    assert [frame.damaged for frame in frames] == [True, False] and frames[0].size == (30, 20)


def test_frames_of_a_folder_are_sorted_by_number_and_hidden_files_ignored(tmp_path):
    for name in ("10.png", "2.png", "\u00b21.png"):
        _, data = cv2.imencode(".png", np.zeros((4, 6, 3), np.uint8))
        (tmp_path / name).write_bytes(data)
    (tmp_path / "._2.png").write_bytes(b"of macOS")
    video = open_source(tmp_path)
    assert [file.name for file in video.files] == ["2.png", "10.png", "\u00b21.png"]
    assert not any(frame.damaged for frame in video.frames())
    (tmp_path / "attention_1.png").write_bytes(data)
    (tmp_path / "results.json").touch()
    assert len(open_source(tmp_path).files) == 3  # without what `maed predict` has written
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "._2.png").touch()
    with pytest.raises(UserError, match="contains no images"):
        open_source(tmp_path / "a")


@pytest.mark.parametrize("name", ["a" * 300 + ".mp4", "a" * 300 + ".jpg", "a" * 300])
def test_a_name_that_is_too_long_is_a_users_mistake(tmp_path, name):
    with pytest.raises(UserError, match="cannot be read: file name too long"):
        open_source(tmp_path / name)
