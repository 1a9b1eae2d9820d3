import struct
import zlib

import cv2
import jax.numpy as jnp
import numpy as np
import pytest
from examples import examples
from hypothesis import assume, example, given
from hypothesis import strategies as st

from maed_jax.data import images
from maed_jax.errors import UserError


@pytest.fixture(scope="module")
def golden(golden_dir):
    return np.load(golden_dir / "cropping.npz")


@pytest.fixture(scope="module")
def smooth():
    """Makes an image of smooth colours, so that neither JPEG nor resampling loses much."""
    y, x = np.mgrid[:96, :120]
    return np.stack([x * 2, y * 2, 255 - x - y], -1).astype(np.uint8)


def test_affine_is_that_of_the_original(golden):
    for box, (scale, degrees, *shift), affine, points, moved in zip(
        *(golden[name] for name in ("bbox", "scale_rot_shift", "affine", "kp_in", "kp_out"))
    ):
        ours = images.crop_affine(box, 224, scale, np.deg2rad(degrees), shift)
        np.testing.assert_allclose(ours, affine, atol=1e-4 * np.abs(affine).max())
        # The original rounds the corners to float32.
        np.testing.assert_allclose(images.transform_keypoints(points, ours), moved, atol=5e-3)


def test_crop_is_that_of_the_original(golden):
    crop = images.warp(golden["image"], images.crop_affine(golden["image_bbox"], 224), 224)
    difference = np.abs(crop[::4, ::4].astype(int) - golden["image_warped"])
    assert difference.max() <= 1 and (difference > 0).mean() < 0.05


def test_several_affines_at_once():
    rng = np.random.default_rng(0)
    points, affines = rng.normal(size=(5, 7, 3)), rng.normal(size=(5, 2, 3))
    together = images.transform_keypoints(points, affines)
    for one, point, affine in zip(together, points, affines):
        np.testing.assert_allclose(one, images.transform_keypoints(point, affine))


@examples(50)
@given(
    st.floats(0.7, 1.5),
    st.floats(-0.5, 0.5),
    st.tuples(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2)),
    st.booleans(),
    st.integers(0, 1000),
)
def test_a_spot_is_where_its_keypoint_goes(scale, rotation, shift, mirror, seed):
    rng = np.random.default_rng(seed)
    spot = rng.uniform(30, 70, 2)
    y, x = np.mgrid[:100, :90]
    blob = 255 * np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / 8)
    image = np.repeat(blob[..., None], 3, -1).astype(np.uint8)
    affine = images.crop_affine([45, 50, 60, 50], 128, scale, rotation, shift)
    affine = images.mirror_affine(affine, 128) if mirror else affine
    expected = images.transform_keypoints(spot[None], affine)[0]
    assume((expected > 24).all() and (expected < 104).all())
    weight = images.warp(image, affine, 128)[..., 0].astype(float)
    rows, columns = np.mgrid[:128, :128]
    found = [(weight * grid).sum() / weight.sum() for grid in (columns, rows)]
    np.testing.assert_allclose(found, expected, atol=0.15)


@given(
    st.tuples(*[st.floats(-500, 2000)] * 2, *[st.floats(2, 1500)] * 2),
    st.floats(0.5, 2),
    st.floats(-3, 3),
    st.booleans(),
)
def test_points_go_there_and_back(box, scale, rotation, mirror):
    affine = images.crop_affine(box, 224, scale, rotation)
    affine = images.mirror_affine(affine, 224) if mirror else affine
    points = np.random.default_rng(0).uniform(0, 224, (20, 2))
    pixels = images.transform_keypoints(points, cv2.invertAffineTransform(affine))
    np.testing.assert_allclose(images.transform_keypoints(pixels, affine), points, atol=1e-6)
    # All pixels of the crop have the same size in the image: the crop's side over 224.
    distances = np.linalg.norm(np.diff(pixels, axis=0), axis=-1)
    expected = np.linalg.norm(np.diff(points, axis=0), axis=-1) * max(box[2:]) * scale / 224
    np.testing.assert_allclose(distances, expected, rtol=1e-6)
    # The box's centre is the crop's centre, between its two middle pixels.
    middle = images.transform_keypoints(np.array([box[:2]]), affine)
    np.testing.assert_allclose(middle, [[111 if mirror else 112, 112]], atol=1e-6)


def test_mirrored_crop_is_the_crop_mirrored(smooth):
    affine = images.crop_affine([60, 48, 60, 80], 64)
    plain = images.warp(smooth, affine, 64)
    mirrored = images.warp(smooth, images.mirror_affine(affine, 64), 64)
    assert np.abs(plain[:, ::-1].astype(int) - mirrored).max() <= 2


@given(st.integers(-130, 130), st.integers(-130, 110), st.booleans())
@example(10, -90, False)
@example(-100, 20, True)
def test_copies_of_pixels_are_what_interpolation_gives(x, y, mirror):
    image = np.random.default_rng(0).integers(0, 256, (90, 110, 3), np.uint8)
    affine = np.array([[1.0, 0, -x], [0, 1.0, -y]])
    affine = images.mirror_affine(affine, 32) if mirror else affine
    expected = cv2.warpAffine(image, affine, (32, 32), flags=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(images.warp(image, affine, 32), expected)
    out = np.empty((2, 32, 32, 3), np.uint8)
    images.warp(image, affine, 32, out[1])
    np.testing.assert_array_equal(out[1], expected)


@given(st.floats(0.98, 1.02), st.floats(0, 90), st.floats(0, 90), st.booleans())
def test_crops_of_about_the_size_become_copies(zoom, x, y, mirror):
    affine = images.crop_affine([x, y, 40, 40], 64, 64 / 40 / zoom)
    affine = images.mirror_affine(affine, 64) if mirror else affine
    copy = images.to_whole_pixels(affine, 64)
    if abs(zoom - 1) > 0.0101:
        np.testing.assert_array_equal(copy, affine)
    elif abs(zoom - 1) < 0.0099:
        assert np.abs(copy[:, :2]).sum() == 2 and (copy == np.round(copy)).all()
        assert np.sign(copy[0, 0]) == np.sign(affine[0, 0])
        corners = np.array([[x + dx, y + dy] for dx in (-32, 0, 32) for dy in (-32, 0, 32)])
        moved = [images.transform_keypoints(corners, m) for m in (copy, affine)]
        assert np.abs(moved[0] - moved[1]).max() < 0.5 + 0.01 * 33


def test_turned_crops_are_left_alone():
    affine = images.crop_affine([40, 40, 40, 40], 64, 64 / 40, 0.1)
    np.testing.assert_array_equal(images.to_whole_pixels(affine, 64), affine)


def test_a_box_without_a_size_is_survived():
    assert np.isfinite(images.crop_affine([3, 4, 0, 0], 32)).all()


def test_keypoints_span_minus_one_to_one():
    points = np.array([[0.0, 32, 0.5], [64, 16, 1]])
    np.testing.assert_allclose(images.normalise_keypoints(points, 64), [[-1, 0, 0.5], [1, -0.5, 1]])


def test_jpeg_round_trip_keeps_colours(smooth):
    again = images.decode_image(images.encode_jpeg(smooth, 95))
    assert again.shape == smooth.shape
    assert np.abs(again.astype(int) - smooth).mean() < 3


@pytest.mark.parametrize("reduce", [2, 4, 8])
def test_reduced_decoding_is_an_average(smooth, reduce):
    small = images._decode(images.encode_jpeg(smooth), reduce)
    blocks = smooth.reshape(96 // reduce, reduce, 120 // reduce, reduce, 3).mean((1, 3))
    assert np.abs(small - blocks).mean() < 4


@pytest.mark.parametrize("out_size", [80, 40, 20, 10])
def test_decode_crop_is_the_crop_of_the_whole_image(smooth, out_size):
    """No shift by half a pixel, even if the image is decoded at a fraction of its size."""
    affine = images.crop_affine([60, 48, 64, 64], out_size, 1.0)
    crop = images.decode_crop(images.encode_jpeg(smooth, 98), affine, out_size)
    columns, rows = images.transform_keypoints(
        np.stack(np.meshgrid(np.arange(out_size), np.arange(out_size)), -1),
        cv2.invertAffineTransform(affine),
    ).transpose(2, 0, 1)
    exact = np.stack([columns * 2, rows * 2, 255 - columns - rows], -1)
    inside = (slice(1, -1), slice(1, -1))
    assert np.abs(np.clip(exact, 0, 255) - crop)[inside].mean() < 1.5


@pytest.mark.parametrize("shrink", [0.5, 1.0, 1.9])
@pytest.mark.parametrize("rotation", [0.0, 0.8])
def test_a_crop_that_shrinks_by_less_than_half_is_as_sharp_as_the_image(shrink, rotation):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (30, 40, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    data = images.encode_jpeg(noise)
    affine = images.crop_affine([230, 140, 50, 50], round(50 / shrink), 1.0, rotation)
    found = images.decode_crop(data, affine, round(50 / shrink))
    whole = images.warp(images.decode_image(data), affine, round(50 / shrink))
    np.testing.assert_array_equal(found, whole)


def test_out_receives_the_crop(smooth):
    clip = np.zeros((2, 32, 32, 3), np.uint8)
    affine = images.crop_affine([60, 48, 64, 64], 32)
    images.decode_crop(images.encode_jpeg(smooth), affine, 32, clip[1])
    assert clip[1].any() and not clip[0].any()


@examples(40)
@given(st.floats(0, 0.98))
def test_truncated_jpeg_is_refused(fraction):
    data = images.encode_jpeg(np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8))
    with pytest.raises(images.ImageError):
        images.decode_image(data[: int(fraction * len(data))])


def test_thumbnail_does_not_hide_the_truncation(smooth):
    """An EXIF segment contains another whole JPEG, including its end marker."""
    data, thumbnail = images.encode_jpeg(smooth), images.encode_jpeg(smooth[::4, ::4])
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    whole = data[:2] + segment + data[2:]
    assert images.decode_image(whole + b"junk").shape == smooth.shape
    filled = data[:2] + b"\xff" + whole[2:]  # fill bytes are allowed before a marker
    assert images.decode_image(filled + b"junk").shape == smooth.shape
    for cut in (whole, filled):
        with pytest.raises(images.ImageError, match="truncated"):
            images.decode_image(cut[:-200])


@pytest.mark.parametrize("shape, kind", [((8, 9), "u1"), ((8, 9, 4), "u1"), ((8, 9, 3), "f4")])
def test_what_is_not_rgb_is_not_encoded(shape, kind):
    with pytest.raises(images.ImageError, match="cannot encode an image of"):
        images.encode_jpeg(np.zeros(shape, kind))


@pytest.mark.parametrize("shape", [(1, 2, 8, 8, 4), (1, 2, 8, 8), (1, 2, 8, 8, 1)])
def test_clips_without_three_channels_are_refused(shape):
    with pytest.raises(UserError, match=r"takes clips \[b t h w 3\], not an array \[1, 2, 8, 8"):
        images.network_input(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("data", [b"", b"not an image", b"\xff\xd8\xff\xd9"])
def test_what_is_no_image_is_refused(data):
    with pytest.raises(images.ImageError):
        images.decode_image(data)


def empty_png(width, height):
    """A PNG that claims a size but contains nothing."""
    pieces = b"\x89PNG\r\n\x1a\n"
    for kind, data in (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")), (b"IEND", b""),
    ):  # fmt: skip
        pieces += struct.pack(">I", len(data)) + kind + data
        pieces += struct.pack(">I", zlib.crc32(kind + data))
    return pieces


def test_an_image_that_claims_more_than_opencv_takes_is_refused():
    with pytest.raises(images.ImageError, match="65 bytes that start with .*PNG' are not an ima"):
        images.decode_image(empty_png(40_000, 30_000))
    wide = cv2.imencode(".png", np.zeros((8, images.MAX_SIDE + 1, 3), np.uint8))[1].tobytes()
    with pytest.raises(images.ImageError, match="more than 32766 pixels"):
        images.decode_crop(wide, images.crop_affine([9, 4, 30, 30], 32), 32)


def test_normalise_is_the_same_in_numpy_and_jax():
    values = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    exact = (values / 255.0 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    for array in (values, jnp.asarray(values)):
        ours = images.normalise(array)
        assert ours.dtype == np.float32
        np.testing.assert_allclose(np.asarray(ours), exact, atol=1e-5)
