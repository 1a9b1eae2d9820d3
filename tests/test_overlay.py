import dataclasses
import sys

import cv2
import jax
import numpy as np
import pytest
from small_videos import write_video
from test_results import person as random_person

from maed_jax.body.camera import camera_from_crop_to_image, project
from maed_jax.body.mannequin import mannequin
from maed_jax.body.smpl import pose_body
from maed_jax.data.pixels import project as project_pixels
from maed_jax.inference.video import open_video
from maed_jax.visual import overlay
from maed_jax.visual.render import Renderer

SIZE = (200, 160)  # width, height
FOCAL = 256.0


@pytest.fixture(scope="module")
def body():
    return mannequin()


def standing(id=1, frames=(0, 1, 2), crop=(100, 80, 140), camera=(0.9, 0.02, 0.0)):
    """Somebody upright in every frame."""
    n = len(frames)
    rotmat = np.tile(np.eye(3, dtype=np.float32), (n, 24, 1, 1))
    rotmat[:, 0] = np.diag([1, -1, -1])
    crops = np.tile(np.array(crop, np.float32), (n, 1))
    cameras = np.tile(np.array(camera, np.float32), (n, 1))
    side = crop[2] / 1.3
    intrinsics = np.array([FOCAL, FOCAL, SIZE[0] / 2, SIZE[1] / 2], np.float32)
    return dataclasses.replace(
        random_person(id, frames),
        boxes=np.tile(np.array([crop[0], crop[1], side / 2, side], np.float32), (n, 1)),
        crops=crops,
        rotmat=rotmat,
        shape=np.zeros((n, 10), np.float32),
        camera=cameras,
        translation=np.asarray(camera_from_crop_to_image(cameras, crops, intrinsics)),
        intrinsics=intrinsics,
    )


def test_vertices_lie_where_the_crop_camera_sees_them(body):
    people = standing(frames=np.arange(overlay.CHUNK + 3), crop=(60, 90, 120))
    moved = list(overlay.camera_verts(people, body))
    assert len(moved) == len(people)
    posed = jax.jit(pose_body)(body, people.rotmat[:1], people.shape[:1])
    verts = np.asarray(posed.verts)[0]
    expected = np.array([60, 90]) + np.asarray(project(verts, people.camera[0])) * 60
    for got in (moved[0], moved[-1]):
        np.testing.assert_allclose(project_pixels(got, people.intrinsics), expected, atol=1e-2)
        np.testing.assert_allclose(got[:, 2], verts[:, 2] + people.translation[0, 2], rtol=1e-4)


def draw(people, body, scale=(1.0, 1.0)):
    size = (round(SIZE[1] * scale[1]), round(SIZE[0] * scale[0]))
    here = [(p, 0, next(overlay.camera_verts(p, body))) for p in people]
    image = np.full((*size, 3), 200, np.uint8)
    with Renderer(size) as renderer:
        overlay.draw_people(image, here, np.asarray(body.faces), np.array(scale), renderer)
    return image


def covered(image):
    return np.abs(image.astype(int) - 200).sum(-1) > 60


def test_bodies_are_drawn_in_place_at_every_scale(body):
    mask = covered(draw([standing(crop=(70, 80, 120))], body))
    rows, columns = np.nonzero(mask)
    assert columns.mean() == pytest.approx(71, abs=2)
    assert 80 < np.ptp(rows) < 120 and mask.mean() > 0.02
    half = covered(draw([standing(crop=(70, 80, 120))], body, (0.5, 0.5)))
    assert np.nonzero(half)[1].mean() == pytest.approx(35, abs=1.5)
    assert half.sum() == pytest.approx(mask.sum() / 4, rel=0.15)


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_pixels_centres_stay_at_whole_numbers_at_every_scale(body, scale):
    """The centre of the first pixel is at 1 in an image 3 times as large."""
    someone = dataclasses.replace(standing(), boxes=np.float32([[60, 70, 40, 80]] * 3))
    verts = next(overlay.camera_verts(someone, body))
    cameras = []

    class Watching:
        def render(self, bodies, faces, colors, intrinsics, window):
            cameras.append(intrinsics)
            left, top, right, bottom = window
            alpha = np.zeros((bottom - top, right - left), np.uint8)
            return np.stack([alpha] * 3, -1), alpha

    image = np.zeros((round(SIZE[1] * scale), round(SIZE[0] * scale), 3), np.uint8)
    scales = np.array([scale, scale])
    overlay.draw_people(image, [(someone, 0, verts)], None, scales, Watching())
    expected = (project_pixels(verts, someone.intrinsics) + 0.5) * scale - 0.5
    np.testing.assert_allclose(project_pixels(verts, cameras[0]), expected, atol=1e-3)

    overlay.draw_label(image, someone, 0, scales)
    lines = (image.sum((axis, 2)) for axis in (0, 1))  # smooth: bright in the middle
    right, bottom = (np.flatnonzero(line > line.max() / 2)[-1] for line in lines)
    np.testing.assert_allclose([right, bottom], np.array([80.5, 110.5]) * scale - 0.5, atol=0.5)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_nearer_person_hides_the_other(body, order):
    near = standing(1, crop=(100, 80, 150))
    far = standing(2, crop=(100, 80, 90))
    people = [near, far]
    image = draw([people[i] for i in order], body).astype(int)
    chest = image[76:84, 98:106].mean((0, 1))
    # the first colour is blue, the second orange
    assert chest[2] > chest[0]


def test_labels_stay_in_the_image():
    image = np.full((60, 80, 3), 200, np.uint8)
    someone = dataclasses.replace(standing(12), boxes=np.array([[-5, -5, 60, 90]] * 3, np.float32))
    overlay.draw_label(image, someone, 0, np.ones(2))
    color = np.array(overlay.color_of(12))
    assert (np.abs(image[:10, :12].astype(int) - color).sum(-1) < 10).any()


def test_interpolated_boxes_are_dashed():
    someone = dataclasses.replace(
        standing(1),
        boxes=np.array([[100, 100, 120, 160]] * 3, np.float32),
        detected=np.array([True, False, True]),
    )
    drawn = []
    for row in (0, 1):
        image = np.zeros((200, 200, 3), np.uint8)
        overlay.draw_label(image, someone, row, np.ones(2))
        drawn.append(image[60:175, 160].any(-1).mean())  # along the right edge
    assert drawn[0] == 1 and 0.4 < drawn[1] < 0.8


def test_colors_of_the_first_people_differ():
    colors = np.array([overlay.color_of(i) for i in range(1, 11)])
    distance = np.linalg.norm(colors[:, None] - colors[None], axis=-1) + 1e3 * np.eye(10)
    assert distance.min() > 40
    assert overlay.color_of(11) == overlay.color_of(1)


def test_the_video_has_every_frame(tmp_path, body):
    grey = np.full((160, 200, 3), 200, np.uint8)
    video = open_video(write_video(tmp_path / "in.mp4", [grey] * 6))
    people = [standing(1, (1, 2, 3)), standing(2, (3, 4), crop=(40, 80, 100))]
    out = tmp_path / "out.mp4"
    overlay.write_overlay(out, video, people, body, num_frames=6)
    frames = list(open_video(out).frames())
    np.testing.assert_allclose([f.time for f in frames], np.arange(6) / 10, atol=1e-3)
    area = [covered(frame.image()).mean() for frame in frames]
    assert area[0] < 0.001 and area[5] < 0.001
    assert min(area[1:5]) > 0.02 and area[3] > max(area[2], area[4])


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no file has such a name")
def test_an_image_whose_name_is_not_unicode(tmp_path):
    path = tmp_path / "caf\udce9.jpg"
    with overlay.ImageWriter(path) as writer:
        writer.write(np.full((20, 30, 3), 90, np.uint8), 0)
    assert cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR).shape == (20, 30, 3)


def test_side_view(tmp_path, body):
    grey = np.full((160, 200, 3), 200, np.uint8)
    video = open_video(write_video(tmp_path / "in.mp4", [grey] * 2))
    out = tmp_path / "out.mp4"
    overlay.write_overlay(out, video, [standing(1, (0,))], body, num_frames=2, side_view=True)
    first, second = (frame.image() for frame in open_video(out).frames())
    assert first.shape == (160, 400, 3)
    shown = np.abs(first[:, 200:].astype(int) - overlay.BACKGROUND).max(-1) > 40
    front = covered(first[:, :200])
    assert 0.2 < shown.sum() / front.sum() < 0.9  # people are narrower from the side
    assert np.abs(np.mean(np.nonzero(shown), 1) - np.mean(np.nonzero(front), 1)).max() < 8
    assert (np.abs(second[:, 200:].astype(int) - overlay.BACKGROUND) < 8).all()
