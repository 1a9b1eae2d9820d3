"""Contact sheets draw the right labels in the right place."""

import cv2
import numpy as np
import pytest

from maed_jax.body.skeleton import KEYPOINT_FLIP, KEYPOINT_NAMES
from maed_jax.data import sheet
from maed_jax.errors import UserError


def test_labels_are_drawn_on_a_copy_in_the_colours_of_their_side():
    image = np.zeros((100, 100, 3), np.uint8)
    points = np.zeros((49, 3))
    points[KEYPOINT_NAMES.index("lwrist")] = (70, 20, 1)
    points[KEYPOINT_NAMES.index("rwrist")] = (30, 20, 1)
    points[KEYPOINT_NAMES.index("headtop")] = (50, 10, 0)
    out = sheet.draw_labels(image, points, np.array([50, 50, 40, 80]))
    assert image.max() == 0
    assert tuple(out[20, 71]) == sheet.LEFT and tuple(out[20, 29]) == sheet.RIGHT
    assert out[10, 50].max() == 0 or tuple(out[10, 50]) == (255, 255, 0)
    assert tuple(out[50, 30]) == tuple(out[50, 70]) == (255, 255, 0)


def test_wild_labels_are_left_out_or_drawn_as_far_as_the_image_goes():
    image, points = np.zeros((100, 100, 3), np.uint8), np.zeros((49, 3))
    lwrist, lelbow, rwrist = (KEYPOINT_NAMES.index(n) for n in ("lwrist", "lelbow", "rwrist"))
    points[[lwrist, lelbow, rwrist]] = (70, 20, 1), (np.nan, 20, 1), (30, 20, np.nan)
    out = sheet.draw_labels(image, points, np.array([50, np.inf, 40, 80]))
    assert tuple(out[20, 71]) == sheet.LEFT
    assert not out[:, :60].any() and not out[40:].any()
    points[lelbow] = 1e12, 20, 1
    out = sheet.draw_labels(image, points, np.array([50, 50, 1e12, 60]))
    assert out[20, 99, 0] > 200
    assert not out[50].any()


@pytest.mark.parametrize("name", KEYPOINT_NAMES)
def test_sides_swap_with_the_mirror(name):
    partner = KEYPOINT_NAMES[KEYPOINT_FLIP[KEYPOINT_NAMES.index(name)]]
    swap = {sheet.LEFT: sheet.RIGHT, sheet.RIGHT: sheet.LEFT, sheet.MIDDLE: sheet.MIDDLE}
    assert sheet._color(partner) == swap[sheet._color(name)]


def test_a_sheet_of_a_dataset(tmp_path):
    from fake_dataset import write_fake_dataset

    folder = write_fake_dataset(tmp_path, [6, 5])
    sheet.write_sheet(folder, tmp_path / "sheet.png", "train", tracks=2)
    image = cv2.imread(str(tmp_path / "sheet.png"))
    assert image.shape[:2] == (2 * sheet.TILE, sheet.COLUMNS * sheet.TILE) and image.std() > 1


def test_a_track_of_one_frame_is_drawn_without_and_with_labels(tmp_path):
    from fake_dataset import write_fake_dataset

    folder = write_fake_dataset(tmp_path, [6, 1])
    sheet.write_sheet(folder, tmp_path / "sheet.png", "train", tracks=2)
    tiles = cv2.imread(str(tmp_path / "sheet.png"))[sheet.TILE :]
    assert tiles[:, sheet.TILE : 2 * sheet.TILE].any() and not tiles[:, 2 * sheet.TILE :].any()


@pytest.mark.parametrize("name", ["sheet.webp", "sheet.pbm"])
def test_a_sheet_that_its_format_cannot_hold(tmp_path, monkeypatch, name):
    from fake_dataset import write_fake_dataset

    monkeypatch.setattr(sheet, "TILE", 2200)
    folder = write_fake_dataset(tmp_path, [1])
    with pytest.raises(UserError, match=f"{name} cannot be an image of 17600 x 2200 pixels"):
        sheet.write_sheet(folder, tmp_path / name, "train", tracks=1)
    assert not (tmp_path / name).exists()
