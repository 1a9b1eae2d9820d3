"""datasets/footage.py: finds a frame's image, whatever else is missing."""

import numpy as np
import pytest
from small_videos import damage, write_video

from maed_jax.datasets.footage import check_image_size, numbered_files, video_frames
from maed_jax.datasets.source import Dropped
from maed_jax.errors import UserError

IMAGES = [np.full((48, 64, 3), 20 * t + 10, np.uint8) for t in range(10)]


def test_frames_that_are_wanted(tmp_path):
    video = write_video(tmp_path / "a.avi", IMAGES, 25, "ffv1", pix_fmt="bgr0")
    dropped = Dropped()
    found = dict(video_frames(video, [0, 3, 9, 10, 12], [(64, 48)], dropped))
    assert {t: int(image.mean()) for t, image in found.items()} == {0: 10, 3: 70, 9: 190}
    assert +dropped == {"missing image": 2}
    with pytest.raises(UserError, match="has 64x48 pixels, but its labels are for 48x64"):
        next(video_frames(video, [0], [(48, 64)], dropped))


def test_damaged_frames_are_not_taken_for_others(tmp_path):
    video = write_video(tmp_path / "a.avi", IMAGES, 25, "mjpeg", pix_fmt="yuvj420p")
    dropped = Dropped()
    found = dict(video_frames(damage(video, [3]), range(10), [(64, 48)], dropped))
    assert +dropped == {"unreadable image": 1} and sorted(found) == [0, 1, 2, *range(4, 10)]
    assert all(abs(image.mean() - 20 * t - 10) < 3 for t, image in found.items())


@pytest.mark.parametrize("first", [0, 1])
def test_numbers_come_from_names(tmp_path, first):
    for frame in (0, 1, 3, 10):
        (tmp_path / f"frame_{frame + first:06d}.jpg").touch()
    (tmp_path / "notes.txt").touch()
    found = numbered_files(tmp_path)
    assert {t: path.name for t, path in found.items()} == {
        t: f"frame_{t + first:06d}.jpg" for t in (0, 1, 3, 10)
    }
    (tmp_path / "frame_11.jpg").touch()
    (tmp_path / "other_11.jpg").touch()
    with pytest.raises(UserError, match="both have the number 11"):
        numbered_files(tmp_path)


def test_unreadable_images_have_no_wrong_size(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8 cut short")
    check_image_size(tmp_path / "a.jpg", [(1, 1)])
    check_image_size(tmp_path / "absent.jpg", [(1, 1)])
