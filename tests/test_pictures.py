import cv2
import numpy as np
import pytest

from maed_jax.errors import UserError
from maed_jax.inference.pictures import is_still, open_source


def save(path, value, size=(40, 60)):
    cv2.imwrite(str(path), np.full((*size, 3), value, np.uint8))
    return path


def test_a_folder_is_a_video(tmp_path):
    for number in (10, 2, 1):
        save(tmp_path / f"frame_{number}.png", number)
    (tmp_path / "notes.txt").write_text("not a picture")
    video = open_source(tmp_path, fps=10)
    assert video.size == (60, 40) and video.announced == 3 and not is_still(video)
    frames = list(video.frames())
    assert [frame.image()[0, 0, 0] for frame in frames] == [1, 2, 10]
    np.testing.assert_allclose([frame.time for frame in frames], [0, 0.1, 0.2])
    assert frames[0].image(30).shape == (20, 30, 3)


def test_a_picture_keeps_its_colours_and_stands_upright(tmp_path):
    image = np.zeros((40, 60, 3), np.uint8)
    image[:, :30] = (0, 0, 255)  # BGR: red on the left
    data = cv2.imencode(".jpg", image)[1].tobytes()
    # EXIF: turn by 90 degrees clockwise to see it upright
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    path = tmp_path / "phone.JPG"
    path.write_bytes(data[:2] + segment + data[2:])
    video = open_source(path)
    assert is_still(video) and video.size == (40, 60)
    (frame,) = video.frames()
    assert frame.image()[5, 20, 0] > 200 and frame.image()[55, 20, 0] < 50  # red is on top


def test_pictures_that_cannot_be_read_are_damaged_frames(tmp_path):
    for number in (0, 2, 4):
        (tmp_path / f"{number}.jpg").write_bytes(b"" if number else b"no picture")
    for number in (1, 3):
        save(tmp_path / f"{number}.png", 50 * number)
    frames = list(open_source(tmp_path).frames())
    assert [frame.damaged for frame in frames] == [True, False, True, False, True]
    assert [frame.image()[0, 0, 0] for frame in frames] == [50, 50, 50, 150, 150]
    assert [frame.index for frame in frames] == list(range(5))


def test_mistakes(tmp_path):
    with pytest.raises(UserError, match="holds no pictures"):
        open_source(tmp_path)
    with pytest.raises(UserError, match="there is no picture"):
        open_source(tmp_path / "a.png")
    (tmp_path / "a.png").touch()
    with pytest.raises(UserError, match="is empty"):
        open_source(tmp_path / "a.png")
    (tmp_path / "a.png").write_text("hello")
    for path in (tmp_path, tmp_path / "a.png"):
        with pytest.raises(UserError, match="can be decoded"):
            open_source(path)
    save(tmp_path / "b.png", 1)
    save(tmp_path / "c.png", 1, (40, 40))
    with pytest.raises(UserError, match="c.png is 40 x 40, but .* 60 x 40"):
        list(open_source(tmp_path).frames())
