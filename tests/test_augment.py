import colorsys

import numpy as np
import pytest
from examples import examples
from fake_dataset import UNCHANGED
from hypothesis import given
from hypothesis import strategies as st
from mirror_vertices import mirror_vertices

from maed_jax.body.mannequin import mannequin
from maed_jax.body.rotations import matrix_from_axis_angle
from maed_jax.body.skeleton import KEYPOINT_FLIP
from maed_jax.body.smpl import pose_body
from maed_jax.data import augment, images
from maed_jax.data.augment import Augment, Changes, draw
from maed_jax.errors import UserError

MIRROR = np.diag([-1.0, 1, 1])


@pytest.fixture(scope="module")
def golden(golden_dir):
    return np.load(golden_dir / "keypoints.npz")


def surface(pose: np.ndarray) -> np.ndarray:
    """Returns vertices [n verts 3] relative to the pelvis; the last joints move nothing else."""
    rotations = matrix_from_axis_angle(pose.reshape(-1, 24, 3))
    posed = pose_body(mannequin(), rotations, np.zeros((len(pose), 10)))
    return np.asarray(posed.verts - posed.joints[:, :1])


def some_poses(seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=(3, 72)) * 0.7).astype(np.float32)


def test_flipped_poses_are_those_of_the_mirrored_body():
    poses = some_poses(0)
    flipped = surface(augment.pose(poses, Changes(flip=True)))
    # The mannequin is symmetric to a few micrometres.
    np.testing.assert_allclose(flipped, surface(poses)[:, mirror_vertices()] @ MIRROR, atol=1e-4)
    assert np.linalg.norm(flipped - surface(poses), axis=-1).max() > 0.1


@pytest.mark.parametrize("flip", [False, True])
def test_turned_poses_turn_the_body_about_the_camera(flip):
    poses, changes = some_poses(1), Changes(rotation=0.7, flip=flip)
    turned = surface(poses) @ augment.in_plane(0.7).T
    expected = turned[:, mirror_vertices()] @ MIRROR if flip else turned
    np.testing.assert_allclose(surface(augment.pose(poses, changes)), expected, atol=1e-4)


def test_flips_of_keypoints_are_those_of_the_original(golden):
    changes = Changes(flip=True)
    identity = np.array([[1.0, 0, 0], [0, 1, 0]])
    flipped = augment.keypoints_2d(
        golden["hflip2d_in"], changes, images.mirror_affine(identity, 224)
    )
    np.testing.assert_allclose(flipped, golden["hflip2d"], atol=1e-4)


@examples(40)
@given(
    st.floats(0.7, 1.3),
    st.floats(-1, 1),
    st.tuples(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2)),
    st.booleans(),
)
def test_points_in_space_follow_those_in_the_image(scale, rotation, shift, flip):
    """From far away, the changed 2D keypoints are the changed 3D ones, scaled and shifted."""
    rng = np.random.default_rng(0)
    space = np.concatenate([rng.normal(size=(49, 3)), np.ones((49, 1))], 1).astype(np.float32)
    image = np.concatenate([20 * space[:, :2] + (100, 80), space[:, 3:]], 1)
    changes, box = Changes(scale, rotation, shift, flip), np.array([104.0, 77, 90, 120])
    affine = augment.affine(changes, box, 64)
    moved = augment.keypoints_2d(image, changes, affine)[:, :2]
    moved_space = augment.keypoints_3d(space, changes)[:, :2]
    enlarged = 20 * 64 / (120 * scale) * (moved_space - moved_space.mean(0))
    np.testing.assert_allclose(moved - moved.mean(0), enlarged, atol=1e-3)
    depth = space[KEYPOINT_FLIP] if flip else space
    np.testing.assert_allclose(augment.keypoints_3d(space, changes)[:, 2:], depth[:, 2:])


@given(st.integers(0, 10**6))
def test_no_changes_change_nothing(seed):
    rng = np.random.default_rng(seed)
    changes = draw(rng, UNCHANGED, 4)
    assert changes == Changes()
    clip = rng.integers(0, 255, (2, 8, 8, 3), np.uint8)
    kept = augment.erase(augment.recolour(clip.copy(), changes), changes)
    np.testing.assert_array_equal(kept, clip)
    pose = some_poses(seed)
    np.testing.assert_array_equal(augment.pose(pose, changes), pose)


def test_draws_keep_to_their_ranges_and_probabilities():
    options = Augment(rotation=30)
    drawn = [draw(np.random.default_rng(seed), options, 16) for seed in range(2000)]
    cropped = [c for c in drawn if c.scale != options.margin]
    assert 0.16 < len(cropped) / 2000 < 0.24
    assert all(0.7 <= c.scale <= 1.3 for c in cropped)
    assert 0.05 < max(abs(v) for c in cropped for v in c.shift) <= 0.1
    assert all(c.shift == (0, 0) for c in drawn if c not in cropped)
    assert 0.4 < max(abs(c.rotation) for c in drawn) <= np.deg2rad(30)
    assert 0.45 < np.mean([c.flip for c in drawn]) < 0.55
    erased = [c.erased[0] for c in drawn if c.erased[0][1] > 0]
    assert 0.26 < len(erased) / 2000 < 0.34 and max(part for _, part in erased) <= 0.7
    assert {side for side, _ in erased} == set(augment.SIDES)
    assert all(len(c.erased) == 1 for c in drawn)  # one draw for all frames
    orders = {tuple(name for name, _ in c.colour) for c in drawn}
    assert len(orders) == 24
    assert all(0.7 <= a <= 1.3 for c in drawn for name, a in c.colour if name != "hue")
    assert all(abs(a) <= 0.3 for c in drawn for name, a in c.colour if name == "hue")


def test_the_same_generator_draws_the_same():
    options = Augment(rotation=20, erase_per_frame=True)
    a, b = (draw(np.random.default_rng(5), options, 16) for _ in range(2))
    assert a == b and len(a.erased) == 16
    assert len({part for _, part in a.erased}) > 3  # frame by frame
    assert draw(np.random.default_rng(6), options, 16) != a


@pytest.mark.parametrize("side", augment.SIDES)
def test_one_side_is_blanked_and_its_keypoints_hidden(side):
    clip = np.full((2, 40, 40, 3), 7, np.uint8)
    changes = Changes(erased=((side, 0.3),))
    blank = (augment.erase(clip, changes) != 7).any(-1)
    assert (blank == blank[:1]).all() and blank[0].sum() == 12 * 40
    far = {"left": (0, -1), "right": (-1, 0), "top": (0, -1), "bottom": (-1, 0)}[side]
    for position, expected in zip(far, (True, False)):
        row = (slice(None), position) if side in ("left", "right") else (position, slice(None))
        assert (blank[0][row] == expected).all()
    # Pixel centres are at whole numbers.
    for first, within in ((1, 0), (0, -0.4), (2, -0.4), (3, -0.4), (1, 0.4), (9, 0.4)):
        y, x = (grid.ravel() for grid in np.mgrid[:7, :7] * 5 + first)
        points = np.stack([x + within, y + within, np.ones(49)], -1)[None].repeat(2, 0)
        hidden = augment.hide_erased(points, changes, 40)[..., 2] == 0
        np.testing.assert_array_equal(hidden[0], blank[0][y, x])


def test_blanked_parts_are_zero_for_the_network():
    clip = augment.erase(np.zeros((1, 10, 10, 3), np.uint8), Changes(erased=(("top", 0.5),)))
    assert np.abs(images.normalise(clip[0, :5])).max() < 0.01


COLOURS = np.array([[200, 40, 90], [30, 180, 60], [90, 100, 220], [128, 128, 128]], np.uint8)


def recoloured(*colour):
    clip = np.tile(COLOURS[None, :, None], (2, 1, 4, 1)).repeat(8, 1)
    return augment.recolour(clip, Changes(colour=colour))[0, ::8, 0].astype(float)


def test_brightness_scales():
    np.testing.assert_allclose(recoloured(("brightness", 0.8)), COLOURS * 0.8, atol=1)
    assert recoloured(("brightness", 1.3)).max() == 255  # 286 does not wrap


def test_an_image_is_recoloured_as_a_clip_of_it_is():
    clip = np.tile(COLOURS[None, :, None], (3, 1, 4, 1))
    changes = Changes(colour=(("contrast", 0.5), ("hue", 0.1)))
    one = augment.recolour(clip[:1].copy(), changes)
    np.testing.assert_array_equal(augment.recolour(clip.copy(), changes), one.repeat(3, 0))


def test_contrast_is_about_the_mean_grey():
    grey = np.mean(COLOURS @ [0.299, 0.587, 0.114])
    expected = grey + 0.5 * (COLOURS - grey)
    np.testing.assert_allclose(recoloured(("contrast", 0.5)), expected, atol=1)


def test_no_saturation_is_grey():
    grey = COLOURS @ np.array([[0.299], [0.587], [0.114]])
    np.testing.assert_allclose(recoloured(("saturation", 0.0)), grey.repeat(3, 1), atol=1)


def test_turning_the_hue_keeps_grey_and_brightness():
    before, after = COLOURS[:3] / 255, recoloured(("hue", 1 / 3))[:3] / 255
    np.testing.assert_allclose(recoloured(("hue", 1 / 3))[3], 128, atol=1)
    for b, a in zip(before[2:], after[2:]):
        turned = (colorsys.rgb_to_hsv(*a)[0] - colorsys.rgb_to_hsv(*b)[0]) % 1
        assert min(turned, 1 - turned) > 0.2
    np.testing.assert_allclose(recoloured(("hue", 1.0)), COLOURS, atol=1)


@given(st.permutations(["brightness", "contrast", "saturation", "hue"]), st.floats(0.7, 1.3))
def test_colours_change_one_after_the_other(order, amount):
    mean = np.array([100.0, 110, 120])
    whole = augment.colour_matrix(tuple((name, amount) for name in order), mean)
    colour, middle = COLOURS[0].astype(float), mean
    for name in order:
        step = augment.colour_matrix(((name, amount),), middle)
        colour, middle = (step[:, :3] @ c + step[:, 3] for c in (colour, middle))
    np.testing.assert_allclose(whole[:, :3] @ COLOURS[0] + whole[:, 3], colour, atol=1e-6)


def test_unknown_options_are_named():
    with pytest.raises(UserError, match="no 'flipp'"):
        Augment.from_config({"flipp": 1})
    with pytest.raises(UserError, match="config.data.augment has no 'section'"):
        Augment.from_config({"section": "x"})


@pytest.mark.parametrize(
    "name, value, needed",
    [
        ("margin", 0.0, "above 0"),
        ("margin", float("inf"), "above 0"),
        ("erase_max", 1.5, "between 0 and 1"),
        ("flip", float("nan"), "between 0 and 1"),
        ("rotation", -10.0, "at least 0"),
        ("hue", -0.1, "at least 0"),
        ("scale", (0.7,), "two numbers above 0, the smaller first"),
        ("scale", (1.3, 0.7), "two numbers above 0, the smaller first"),
        ("scale", (0.7, 1.0, 1.3), "two numbers above 0, the smaller first"),
    ],
)
def test_values_that_cannot_be_are_refused(name, value, needed):
    with pytest.raises(UserError, match=f"config.data.augment.{name} must be {needed}"):
        Augment(**{name: value})


@pytest.mark.parametrize(
    "common, own, message",
    [
        ({}, {"flip": 7}, "config.data.augment_images.flip must be"),
        ({"flip": 7}, {"erase": 0.0}, "config.data.augment.flip must be"),
        ({}, {"flipp": 0}, "config.data.augment_images has no 'flipp'"),
    ],
)
def test_mistakes_are_said_of_the_section_that_they_are_in(common, own, message):
    with pytest.raises(UserError, match=message):
        Augment.of_part({"augment": common, "augment_images": own}, "images")


def test_a_part_has_what_is_common_and_its_own():
    data = {"augment": {"flip": 0.1, "erase": 0.2}, "augment_images": {"erase": 0.0}}
    assert Augment.of_part(data, "images") == Augment(flip=0.1, erase=0.0)
    assert Augment.of_part(data, "clips") == Augment(flip=0.1, erase=0.2)
