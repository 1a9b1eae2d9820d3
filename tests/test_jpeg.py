"""Cut images are parts of the whole ones, and what cannot be cut is returned unchanged."""

import math

import cv2
import numpy as np
import pytest
from examples import examples
from hypothesis import assume, given
from hypothesis import strategies as st

from maed_jax.data import images, jpeg


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Blurred noise with an edge, RGB."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    image = cv2.GaussianBlur(noise, (0, 0), 2)
    image[height // 3 :, width // 2 :, seed % 3] //= 2
    return image


@examples(60)
@given(
    st.integers(1, 300),
    st.integers(1, 300),
    st.lists(st.floats(-100, 400), min_size=4, max_size=4),
    st.sampled_from([1, 2, 4, 8]),
)
def test_a_window_is_a_part_of_the_image(height, width, edges, reduce):
    data = images.encode_jpeg(photo(height, width))
    left, right = sorted(edges[:2])
    top, bottom = sorted(edges[2:])
    cut, (x, y) = jpeg.window(data, left, top, right, bottom)
    whole, part = images._decode(data, reduce), images._decode(cut, reduce)
    x, y = x // reduce, y // reduce
    assume(part.shape[1] > 4)  # the decoder interpolates chroma more simply in very narrow images
    same = (whole[y : y + len(part), x : x + part.shape[1]] == part).all(-1)
    inside = [  # including edges that are the whole image's
        slice(int(start > 0), None if start + n == total else -1)
        for start, n, total in zip((y, x), part.shape, whole.shape)
    ]
    assert same[tuple(inside)].all()
    for low, high, start, n, total in (
        (left, right, x, part.shape[1], width),
        (top, bottom, y, part.shape[0], height),
    ):
        assert start * reduce <= max(min(low, total - 1), 0)
        assert (start + n) * reduce >= min(math.floor(high) + 1, total)


def test_less_than_half_of_a_large_image_is_left():
    data = images.encode_jpeg(photo(1000, 1000))
    cut, _ = jpeg.window(data, 210, 210, 790, 790)
    assert len(cut) < 0.52 * len(data)
    assert images.decode_image(cut).shape == (592, 784, 3)


def test_pieces_divide_the_rows_and_are_few():
    for width in (1, 16, 17, 224, 344, 1000, 1280, 1920, 2048):
        units = -(-width // jpeg.UNIT)
        assert units % jpeg.restart_interval(width) == 0
        assert units // jpeg.restart_interval(width) <= 12


def test_marked_images_are_hardly_larger():
    image = photo(344, 344)
    plain = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    assert len(images.encode_jpeg(image, 90)) < 1.04 * len(plain)


@pytest.mark.parametrize(
    "options",
    [
        [cv2.IMWRITE_JPEG_RST_INTERVAL, 5],  # pieces that continue in the next row
        [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 2],
    ],
)
def test_other_jpegs_come_back_whole(options):
    data = cv2.imencode(".jpg", photo(100, 128), options)[1].tobytes()
    assert jpeg.window(data, 30, 30, 50, 50) == (data, (0, 0))


@pytest.mark.parametrize("reduce", [1, 2, 4])
def test_images_without_markers_end_early(reduce, capfd):
    data = cv2.imencode(".jpg", photo(400, 300)[..., ::-1])[1].tobytes()
    cut, corner = jpeg.window(data, 100, 100, 200, 250)
    assert corner == (0, 0)
    affine = images.crop_affine([150, 175, 100, 100], 130 // reduce, 1.3)
    crop = images.decode_crop(data, affine, 130 // reduce)
    part = cv2.imdecode(np.frombuffer(cut, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert part.shape == (256, 300, 3)
    np.testing.assert_array_equal(part[:-1], images.decode_image(data)[:255])
    assert crop.any() and capfd.readouterr().err == ""  # the decoder has not complained
    assert jpeg.window(data, 0, 0, 299, 399) == (data, (0, 0))


def test_grey_and_full_chroma():
    grey = cv2.imencode(".jpg", photo(64, 64)[..., 0], [cv2.IMWRITE_JPEG_RST_INTERVAL, 2])[1]
    assert jpeg.window(grey.tobytes(), 20, 20, 30, 30)[0] == grey.tobytes()
    full = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    data = cv2.imencode(".jpg", photo(64, 64), [*full, cv2.IMWRITE_JPEG_RST_INTERVAL, 2])[1]
    cut, corner = jpeg.window(data.tobytes(), 20, 20, 30, 30)
    assert corner == (16, 16) and images.decode_image(cut).shape == (16, 16, 3)
    whole = images.decode_image(data.tobytes())
    np.testing.assert_array_equal(images.decode_image(cut), whole[16:32, 16:32])


def test_damage_is_left_to_the_decoder():
    data = images.encode_jpeg(photo(200, 200))
    for broken in (data[:-40], data[:2], data[:30], b"", b"\xff\xd8\xff\xd9"):
        assert jpeg.window(broken, 50, 50, 60, 60) == (broken, (0, 0))
    lost = data.replace(b"\xff\xd3", b"\x00\x00", 1)  # without one of its markers
    assert jpeg.window(lost, 50, 50, 60, 60) == (lost, (0, 0))


@pytest.mark.parametrize("marked", [True, False])
def test_headers_of_strangers_are_left_to_the_decoder(marked):
    data = images.encode_jpeg(photo(200, 200))
    if not marked:
        data = cv2.imencode(".jpg", photo(200, 200))[1].tobytes()
    frame, scan = data.index(b"\xff\xc0"), data.index(b"\xff\xda")
    sampling, width = bytearray(data), bytearray(data)
    for component in range(3):
        sampling[frame + 11 + 3 * component] = 0
    width[frame + 7 : frame + 9] = bytes(2)
    cut = data[: scan + 2] + b"\xff\xd9"  # read as the length of the scan's header
    early = data[:2] + data[frame : frame + 2] + b"\0\2" + data[scan : scan + 2] + b"\xff\xd9"
    affine = images.crop_affine([50, 50, 20, 20], 16)
    for broken in (bytes(sampling), bytes(width), cut, early):
        assert jpeg.window(broken, 50, 50, 60, 60) == (broken, (0, 0))
        with pytest.raises(images.ImageError):
            images.decode_crop(broken, affine, 16)


@examples(30)
@given(st.floats(20, 500), st.floats(20, 300), st.floats(10, 400), st.floats(-1, 1), st.booleans())
def test_crops_are_bit_by_bit_those_of_images_that_cannot_be_cut(x, y, side, rotation, mirror):
    image = photo(320, 480, 1)
    options = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    plain = cv2.imencode(".jpg", image[..., ::-1], options)[1].tobytes()
    affine = images.crop_affine([x, y, side, side], 64, 1.3, rotation)
    affine = images.mirror_affine(affine, 64) if mirror else affine
    expected = images.decode_crop(plain, affine, 64)
    np.testing.assert_array_equal(
        images.decode_crop(images.encode_jpeg(image), affine, 64), expected
    )
